//! Documents that were good and are not any more: cut, doubled, and with what parsers stumble over put in.
//! For the tests of every parser.

use proptest::{collection::vec, prelude::*, sample::Index};

/// What is put into a document.
const NASTY: [&[u8]; 22] = [
    b"",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[[[[[[[[[[[[[[[[[[[[",
    b",",
    b":",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"99999999999999999999999999999999999999999999",
    b"0.1",
    b"\\ud800",
    b"\\u0000",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3\xa9",
    b"\r\nX-Canary: 1",
    b"\"order\":{},",
];

/// Any of these documents after one to four changes; now and then whole, or any bytes at all.
pub(crate) fn mutated(documents: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), 0_usize..30, any::<Index>(), any::<bool>());
    prop_oneof![
        1 => vec(any::<u8>(), 0..300),
        1 => prop::sample::select(documents.clone()),
        8 => (prop::sample::select(documents), vec(change, 1..5)).prop_map(|(document, changes)| {
            changes.into_iter().fold(document, |document, (at, length, nasty, doubled)| {
                changed(document, at, length, NASTY[nasty.index(NASTY.len())], doubled)
            })
        }),
        1 => (0_usize..100_000).prop_map(|depth| [vec![b'['; depth], vec![b']'; depth]].concat()),
    ]
}

fn changed(mut document: Vec<u8>, at: Index, length: usize, nasty: &[u8], doubled: bool) -> Vec<u8> {
    let start = at.index(document.len() + 1);
    let end = (start + length).min(document.len());
    let cut: Vec<u8> = document.splice(start..end, nasty.iter().copied()).collect();
    if doubled {
        document.splice(start..start, [cut.clone(), cut].concat());
    }
    document
}

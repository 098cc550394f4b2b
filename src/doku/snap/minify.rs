//! JSON without the white space between its tokens, as SNAP's signatures are made over it.
//!
//! By bytes, in one pass: a body is never parsed and printed again, since parsers and printers differ about
//! escapes, numbers and text that is not UTF-8, and what is hashed must be what DOKU hashed.

use std::borrow::Cow;

/// Takes JSON's four white-space bytes out where they stand outside strings. Everything else stays, a byte order mark
/// and invalid text included; a body without such bytes is not copied.
pub fn minify(body: &[u8]) -> Cow<'_, [u8]> {
    let mut scan = Scan::default();
    let Some(first) = body.iter().position(|byte| scan.drops(*byte)) else {
        return Cow::Borrowed(body);
    };
    let mut kept = Vec::with_capacity(body.len());
    kept.extend_from_slice(&body[..first]);
    kept.extend(body[first + 1..].iter().filter(|byte| !scan.drops(**byte)));
    Cow::Owned(kept)
}

/// Where in the JSON text the next byte stands.
#[derive(Default)]
struct Scan {
    in_string: bool,
    after_backslash: bool,
}

impl Scan {
    /// Takes one byte in; true if it is white space between tokens.
    fn drops(&mut self, byte: u8) -> bool {
        if self.in_string {
            if self.after_backslash {
                self.after_backslash = false;
            } else {
                self.after_backslash = byte == b'\\';
                self.in_string = byte != b'"';
            }
            return false;
        }
        self.in_string = byte == b'"';
        matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_between_tokens_goes() {
        for (body, minified) in [
            (b"{}".as_slice(), b"{}".as_slice()),
            (b" { \"a\" :\t1 ,\r\n\"b c\" : [ ] } ", b"{\"a\":1,\"b c\":[]}"),
            (b"\"a \\\" b\" c", b"\"a \\\" b\"c"),
            (b"\"a\\\\\" b", b"\"a\\\\\"b"),
            (b"\xef\xbb\xbf{ }", b"\xef\xbb\xbf{}"),
            (b"{\"a\":\"\xff \"} ", b"{\"a\":\"\xff \"}"),
            ("{\"a\": \"\u{a0}\"}\u{a0}".as_bytes(), "{\"a\":\"\u{a0}\"}\u{a0}".as_bytes()),
            (b"10000.00 ", b"10000.00"),
            (b"\"\\/\" \x0b", b"\"\\/\"\x0b"),
            (b"\"never closed ", b"\"never closed "),
            (b"", b""),
        ] {
            assert_eq!(minify(body), minified, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_body_without_white_space_is_not_copied() {
        assert!(matches!(minify(b"{\"a\":\" \"}"), Cow::Borrowed(_)));
    }

    /// Another way to the same: odd and even pieces between the quotes that no backslash escapes.
    fn by_pieces(body: &[u8]) -> Vec<u8> {
        let mut pieces = vec![Vec::new()];
        let mut backslashes = 0_usize;
        for byte in body {
            let is_inside = pieces.len() % 2 == 0;
            if *byte == b'"' && !(is_inside && backslashes % 2 == 1) {
                pieces.push(Vec::new());
            } else if let Some(piece) = pieces.last_mut() {
                piece.push(*byte);
            }
            backslashes = if *byte == b'\\' { backslashes + 1 } else { 0 };
        }
        for outside in pieces.iter_mut().step_by(2) {
            outside.retain(|byte| !b" \t\r\n".contains(byte));
        }
        pieces.join(&b'"')
    }

    #[test]
    fn a_hundred_thousand_generated_bodies_agree_with_another_way() {
        const PARTS: [&[u8]; 9] = [b"\"", b"\"", b"\\", b" ", b"\n", b"\t", b"\r", b"{\"a\": ", b"\xff,"];
        let mut dice = fastrand::Rng::with_seed(7);
        for _ in 0..100_000 {
            let parts: Vec<&[u8]> = (0..dice.usize(..24)).map(|_| PARTS[dice.usize(..PARTS.len())]).collect();
            let body = parts.concat();
            assert_eq!(minify(&body), by_pieces(&body), "{}", String::from_utf8_lossy(&body));
        }
    }
}

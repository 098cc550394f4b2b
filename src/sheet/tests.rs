//! Files as people and attackers make them: read as they are meant, or limited and named.

use super::*;
use crate::domain::settlement::table::{Table, TableLine};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

const HEADER: &str = "INVOICE NUMBER,PAYMENT CHANNEL,TRANSACTION DATE,AMOUNT,PAY OUT DATE";
const ROW: &str = "INV-1,Jenius Pay,02-01-2026,50000,06-01-2026";

/// What the rows of a file are, in words; or why it is refused.
fn rows_of(bytes: &[u8]) -> Result<Vec<String>, String> {
    rows_from(Cursor::new(bytes))
}

fn rows_from(mut source: impl Read + std::io::Seek) -> Result<Vec<String>, String> {
    let profile = Profile::doku();
    let mut probe = Probe::default();
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = source.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        probe.take(&piece[..count]).map_err(|e| e.to_string())?;
    }
    let shape = probe.shape().map_err(|e| e.to_string())?;
    source.rewind().unwrap();
    let mut table = Table::new(&profile, "2026-01-07".parse().unwrap());
    let mut found = Vec::new();
    let mut take = |line: u64, cells: &[Cell], gap: bool| {
        match table.take(line, cells, gap).map_err(|e| refused(e.to_string()))? {
            TableLine::Ours(row) => {
                let account = Some(&row.sub_account).filter(|name| !name.is_empty());
                let account = account.map(|name| format!(" of {name}")).unwrap_or_default();
                found.push(format!("{} {}{account}", row.invoice_number, row.gross));
            }
            TableLine::UnreadableLine(bad) => {
                found.push(format!("line {}: {}", bad.line, bad.why.split(':').next().unwrap()))
            }
            TableLine::Nothing | TableLine::Header | TableLine::UnknownChannel { .. } => {}
        }
        Ok(())
    };
    read(source, shape, &profile, &mut take).map_err(|e| e.to_string())?;
    table.end().map_err(|e| e.to_string())?;
    Ok(found)
}

#[test]
fn separators_line_ends_and_encodings_are_found() {
    let text = format!("{HEADER}\n{ROW}\n");
    let expected = Ok(vec!["INV-1 50000".to_owned()]);
    for separator in [",", ";", "\t", "|"] {
        assert_eq!(rows_of(text.replace(',', separator).as_bytes()), expected, "{separator:?}");
    }
    for file in [
        text.replace('\n', "\r\n").into_bytes(),
        text.replace('\n', "\r").into_bytes(),
        text.replace(',', "\",\"")
            .replace('\n', "\"\n\"")
            .trim_end_matches('"')
            .replacen("INV", "\"INV", 1)
            .into_bytes(),
        [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat(),
        [b"\xff\xfe".to_vec(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat(),
        [b"\xfe\xff".to_vec(), text.encode_utf16().flat_map(u16::to_be_bytes).collect()].concat(),
        // A name in windows-1252, which is no UTF-8.
        [b"MERCHANT,Caf\xe9\n\n".as_slice(), text.as_bytes()].concat(),
    ] {
        assert_eq!(rows_of(&file), expected, "{}", String::from_utf8_lossy(&file));
    }
}

#[test]
fn letters_of_another_encoding_are_read_as_they_were_written() {
    let written =
        |account: &[u8]| [format!("{HEADER},SUB ACCOUNT\n{ROW},").as_bytes(), account, b"\n"].concat();
    let expected = Ok(vec!["INV-1 50000 of Café".to_owned()]);
    assert_eq!(rows_of(&written("Café".as_bytes())), expected);
    assert_eq!(rows_of(&written(b"Caf\xe9")), expected);
    // The last byte alone is no UTF-8.
    assert_eq!(rows_of(&[written(b"Caf\xe9"), b"\nEND \xe9".to_vec()].concat()), expected);
}

#[test]
fn a_character_that_two_pieces_share_is_no_other_encoding() {
    let mut probe = Probe::default();
    for piece in ["é".as_bytes()[..1].to_vec(), "é".as_bytes()[1..].to_vec()] {
        probe.take(&piece).unwrap();
    }
    assert_eq!(probe.shape().unwrap().encoding, Encoding::Utf8);
}

#[test]
fn an_empty_line_ends_the_table_though_cells_have_lines_of_their_own() {
    let two_lines = format!(
        "{HEADER},NOTE\n{ROW},\"two\nlines\"\n{}\n\nINV-3,Jenius Pay,02-01-2026,1,06-01-2026\n",
        ROW.replace("INV-1", "INV-2")
    );
    for end in ["\n", "\r\n", "\r"] {
        assert_eq!(
            rows_of(two_lines.replace('\n', end).as_bytes()).unwrap(),
            ["INV-1 50000", "INV-2 50000", "line 6: stands below the table's end"],
            "{end:?}"
        );
    }
}

/// One that two pieces share is one as well.
#[test]
fn a_line_is_named_by_its_number_whatever_ends_lines() {
    let bad = ROW.replace("50000", "?");
    for end in ["\n", "\r\n", "\r"] {
        let rows = format!("{ROW}{end}").repeat(5_000);
        let file = format!("{HEADER}{end}{rows}{bad}{end}{ROW}{end}");
        let found = rows_of(file.as_bytes()).unwrap();
        assert_eq!((found.len(), &*found[5_000]), (5_002, "line 5002: amount"), "{end:?}");
    }
}

#[test]
fn formulas_are_texts_and_no_invoice_that_a_sheet_could_run_is_hidden() {
    let rows = rows_of(format!("{HEADER}\n{}\n{ROW}\n", ROW.replace("INV-1", "=1+1")).as_bytes()).unwrap();
    assert_eq!(rows, ["=1+1 50000", "INV-1 50000"]);
}

#[test]
fn what_is_no_table_is_named() {
    for (file, expected) in [
        (b"".to_vec(), "an empty file"),
        (b"%PDF-1.7".to_vec(), "PDF"),
        (b"\xd0\xcf\x11\xe0abc".to_vec(), "Excel"),
        (b"\x1f\x8b\x08".to_vec(), "gzip"),
        (b"PK\x03\x04 nothing".to_vec(), "damaged"),
        (b"one line".to_vec(), "no header"),
        (vec![0; 100_000], "a quote may be open"),
        (format!("{HEADER}\n\"{}", format!("{ROW}\n").repeat(100_000)).into_bytes(), "a quote may be open"),
        (format!("{HEADER}\n{}", ",".repeat(300)).into_bytes(), "more than 256 columns"),
    ] {
        let refused = rows_of(&file).unwrap_err();
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
}

/// A file without an end, that holds nothing in memory.
struct Endless {
    at: u64,
    length: u64,
}

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = out.len().min(usize::try_from(self.length - self.at).unwrap());
        out[..count].fill(b'x');
        self.at += count as u64;
        Ok(count)
    }
}

impl std::io::Seek for Endless {
    fn seek(&mut self, _: std::io::SeekFrom) -> std::io::Result<u64> {
        self.at = 0;
        Ok(0)
    }
}

#[test]
fn a_gibibyte_is_refused_and_one_line_of_what_is_allowed_too() {
    let refused = rows_from(Endless { at: 0, length: 1 << 30 }).unwrap_err();
    assert!(refused.contains("larger than 512 MiB"), "{refused}");
    let refused = rows_from(Endless { at: 0, length: 32 << 20 }).unwrap_err();
    assert!(refused.contains("64 KiB"), "{refused}");
}

fn zipped(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A workbook with one sheet of these rows, written as a spreadsheet does; `date1904`: the other date system.
fn workbook(rows: &str, date1904: bool) -> Vec<u8> {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let book = format!(
        r#"<workbook xmlns="{main}" xmlns:r="{office}"><workbookPr date1904="{}"/><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>"#,
        u8::from(date1904)
    );
    let links = format!(
        r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/s.xml"/></Relationships>"#
    );
    let styles = format!(
        r#"<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#
    );
    let sheet = format!(r#"<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>"#);
    let package = format!(
        r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#
    );
    zipped(&[
        ("_rels/.rels", &package),
        ("xl/workbook.xml", &book),
        ("xl/_rels/workbook.xml.rels", &links),
        ("xl/styles.xml", &styles),
        ("xl/worksheets/s.xml", &sheet),
    ])
}

fn sheet_row(number: u32, cells: &[&str]) -> String {
    let cell = |(at, content): (usize, &&str)| {
        let place = format!("{}{number}", char::from(b'A' + u8::try_from(at).unwrap()));
        match content.strip_prefix('#') {
            Some(number) => format!(r#"<c r="{place}"><v>{number}</v></c>"#),
            None => match content.strip_prefix('@') {
                Some(day) => format!(r#"<c r="{place}" s="1"><v>{day}</v></c>"#),
                None => format!(r#"<c r="{place}" t="inlineStr"><is><t>{content}</t></is></c>"#),
            },
        }
    };
    format!(r#"<row r="{number}">{}</row>"#, cells.iter().enumerate().map(cell).collect::<String>())
}

#[test]
fn a_spreadsheet_is_read_with_both_date_systems() {
    let header: Vec<&str> = HEADER.split(',').collect();
    for (is_1904, day, paid_out) in [(false, "@46024", "@46028.75"), (true, "@44562", "@44566")] {
        let rows = sheet_row(1, &header)
            + &sheet_row(2, &["INV-1", "Jenius Pay", day, "#50000", paid_out])
            + &sheet_row(3, &["#20260100012345", "Jenius Pay", "02-01-2026", "#50000.0", "06-01-2026"])
            + &sheet_row(4, &["#2026010001234567", "Jenius Pay", day, "#1", paid_out])
            + &sheet_row(5, &["INV-4", "Jenius Pay", day, "#1.5", paid_out])
            + &sheet_row(7, &["INV-5", "Jenius Pay", day, "#1", paid_out]);
        let expected = [
            "INV-1 50000",
            "20260100012345 50000",
            "line 4: invoice",
            "line 5: amount",
            "line 7: stands below the table's end",
        ];
        assert_eq!(rows_of(&workbook(&rows, is_1904)).unwrap(), expected);
    }
}

#[test]
fn a_bomb_and_a_cell_far_away_are_refused() {
    let bomb = zipped(&[("xl/worksheets/s.xml", &"x".repeat(65 << 20))]);
    assert!(bomb.len() < 1 << 20);
    let refused = rows_of(&bomb).unwrap_err();
    assert!(refused.contains("64 MiB unpacked"), "{refused}");
    let far =
        r#"<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>"#;
    let refused = rows_of(&workbook(far, false)).unwrap_err();
    assert!(refused.contains("more than 256 columns"), "{refused}");
}

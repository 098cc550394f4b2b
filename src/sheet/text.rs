//! CSV: the separator is found by the header unless the profile names it, and a line has a limit, so that a quote that never
//! closes costs no more than that.

use super::{CELLS_MAX, Encoding, LINE_BYTES_MAX, LINES_MAX, SheetError, Take, decode::Decoded, refused};
use crate::domain::settlement::{
    profile::{Profile, SEPARATORS},
    table::{Cell, PREAMBLE_LINES_MAX, header},
};
use csv::{ByteRecord, ReaderBuilder};
use std::{
    cell::Cell as Shared,
    io::{self, Read},
    rc::Rc,
};

/// The header stands within these bytes, or there is none.
const HEAD_BYTES_MAX: u64 = 64 * 1024;

pub fn read(
    source: impl Read,
    encoding: Encoding,
    profile: &Profile,
    take: Take<'_>,
) -> Result<(), SheetError> {
    let mut text = Decoded::new(source, encoding);
    let mut head = Vec::new();
    text.by_ref().take(HEAD_BYTES_MAX).read_to_end(&mut head).map_err(SheetError::Source)?;
    let separator = profile.separator.unwrap_or_else(|| separator_of(&head, profile));
    let since_line = Rc::new(Shared::new(0));
    // The last line ends too: its place is known by what comes after it.
    let source = io::Cursor::new(head).chain(text).chain(b"\n".as_slice());
    let bounded = Bounded { source, since_line: Rc::clone(&since_line) };
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .buffer_capacity(8 * 1024)
        .from_reader(bounded);
    let mut record = ByteRecord::new();
    let mut line_after = 1;
    loop {
        let is_read = reader.read_byte_record(&mut record).map_err(|error| fault(error, line_after))?;
        if !is_read {
            return Ok(());
        }
        since_line.set(0);
        let began_at = record.position().map_or(line_after, csv::Position::line);
        let after = reader.position().line();
        // Each line within a cell is one. The reader shows no empty lines, but begins a record before them.
        let within: u64 = record.iter().map(newlines).sum();
        let is_after_gap = after > began_at + within + 1;
        let line = if is_after_gap { after - within - 1 } else { began_at };
        let cells = cells(&record, line)?;
        line_after = after;
        if line > LINES_MAX {
            return Err(refused(format!("more than {LINES_MAX} lines: ask DOKU for one file a batch")));
        }
        take(line, &cells, is_after_gap)?;
    }
}

fn newlines(field: &[u8]) -> u64 {
    field.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn cells(record: &ByteRecord, line: u64) -> Result<Vec<Cell>, SheetError> {
    if record.len() > CELLS_MAX {
        return Err(refused(format!("line {line} has more than {CELLS_MAX} columns")));
    }
    Ok(record.iter().map(|field| Cell::Text(String::from_utf8_lossy(field).into_owned())).collect())
}

/// The separator by which a header is found in the file's beginning; a comma where none is.
fn separator_of(head: &[u8], profile: &Profile) -> u8 {
    let finds = |separator: &u8| {
        let reader =
            ReaderBuilder::new().has_headers(false).flexible(true).delimiter(*separator).from_reader(head);
        let mut lines = reader.into_byte_records().take(PREAMBLE_LINES_MAX + 1).map_while(Result::ok);
        lines.any(|record| cells(&record, 0).is_ok_and(|cells| !matches!(header(profile, &cells), Ok(None))))
    };
    SEPARATORS.into_iter().find(finds).unwrap_or(b',')
}

fn fault(error: csv::Error, line: u64) -> SheetError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::InvalidData => refused(format!(
            "the line that begins at line {line} has more than {} KiB: a quote may be open that never closes",
            LINE_BYTES_MAX / 1024
        )),
        csv::ErrorKind::Io(error) => SheetError::Source(error),
        other => refused(format!("line {line}: {other:?}")),
    }
}

/// Hands over no more bytes than a line may have before that line's end was seen.
struct Bounded<R> {
    source: R,
    since_line: Rc<Shared<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.since_line.get() > LINE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let count = self.source.read(out)?;
        self.since_line.set(self.since_line.get() + count);
        Ok(count)
    }
}

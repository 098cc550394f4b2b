//! XLSX: unpacked to nowhere first, so that a small file that holds a large one is refused before anything reads it; then its
//! first sheet, cell by cell, so that a cell far away makes no room for all between.

use super::{CELLS_MAX, LINES_MAX, SheetError, Take, UNPACKED_BYTES_MAX, XLSX_BYTES_MAX, refused};
use crate::domain::settlement::table::Cell;
use calamine::{DataRef, Reader, Xlsx};
use std::io::{self, Cursor, Read};

/// A workbook has some dozens.
const PARTS_MAX: usize = 1_000;

pub fn read(source: impl Read, take: Take<'_>) -> Result<(), SheetError> {
    let mut bytes = Vec::new();
    source.take(XLSX_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(SheetError::Source)?;
    unpack_to_nowhere(&bytes)?;
    let damaged = |_| refused("a spreadsheet that cannot be read: export CSV");
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(damaged)?;
    let first =
        book.sheet_names().first().cloned().ok_or_else(|| refused("a spreadsheet without a sheet"))?;
    let mut cells = book.worksheet_cells_reader(&first).map_err(damaged)?;
    let mut row = SheetRow::default();
    while let Some(cell) = cells.next_cell().map_err(damaged)? {
        let (line, at) = cell.get_position();
        let line = u64::from(line) + 1;
        if line != row.line {
            row.hand_over(take)?;
            if line < row.line {
                return Err(refused("a spreadsheet with rows in no order: export CSV"));
            }
            row.begin(line)?;
        }
        row.put(usize::try_from(at).unwrap_or(usize::MAX), content(cell.get_value()))?;
    }
    row.hand_over(take)
}

/// The row under way.
#[derive(Default)]
struct SheetRow {
    line: u64,
    /// The row before it that held something.
    before: u64,
    cells: Vec<Cell>,
}

impl SheetRow {
    fn begin(&mut self, line: u64) -> Result<(), SheetError> {
        if line > LINES_MAX {
            return Err(refused(format!("more than {LINES_MAX} rows: ask DOKU for one file a batch")));
        }
        (self.before, self.line) = (self.line, line);
        Ok(())
    }

    fn put(&mut self, at: usize, cell: Option<Cell>) -> Result<(), SheetError> {
        let Some(cell) = cell else { return Ok(()) };
        if at >= CELLS_MAX {
            return Err(refused(format!("row {} has more than {CELLS_MAX} columns", self.line)));
        }
        while self.cells.len() <= at {
            self.cells.push(Cell::Text(String::new()));
        }
        if let Some(place) = self.cells.get_mut(at) {
            *place = cell;
        }
        Ok(())
    }

    /// A row whose cells are all empty is none.
    fn hand_over(&mut self, take: Take<'_>) -> Result<(), SheetError> {
        if self.cells.is_empty() {
            self.line = self.before.max(self.line);
            return Ok(());
        }
        let is_after_gap = self.before > 0 && self.line > self.before + 1;
        let handed = take(self.line, &self.cells, is_after_gap);
        self.cells.clear();
        handed
    }
}

/// `None`: nothing stands there. Of a formula this is what the spreadsheet last made of it.
fn content(value: &DataRef<'_>) -> Option<Cell> {
    Some(match value {
        DataRef::Empty => return None,
        DataRef::Int(number) => Cell::Number(number.to_string()),
        DataRef::Float(number) => Cell::Number(number.to_string()),
        DataRef::String(text) => Cell::Text(text.clone()),
        DataRef::SharedString(text) => Cell::Text((*text).to_owned()),
        DataRef::Bool(flag) => Cell::Text(flag.to_string()),
        DataRef::DateTime(at) => match at.as_datetime().filter(|_| at.is_datetime()) {
            Some(at) => Cell::Date(at.date()),
            None => Cell::Text("no date".to_owned()),
        },
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Cell::Text(text.clone()),
        DataRef::Error(_) => Cell::Text("an error of the spreadsheet".to_owned()),
    })
}

/// Counts what is really there: what the archive says of itself may be anything.
fn unpack_to_nowhere(bytes: &[u8]) -> Result<(), SheetError> {
    let damaged = || refused("a ZIP file that is no spreadsheet, or is damaged: export CSV");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|_| damaged())?;
    if archive.len() > PARTS_MAX {
        return Err(refused(format!("a spreadsheet of more than {PARTS_MAX} parts: export CSV")));
    }
    let mut left = UNPACKED_BYTES_MAX;
    for at in 0..archive.len() {
        let part = archive.by_index(at).map_err(|_| damaged())?;
        let unpacked = io::copy(&mut part.take(left + 1), &mut io::sink()).map_err(|_| damaged())?;
        left = left.checked_sub(unpacked).ok_or_else(|| {
            refused(format!(
                "a spreadsheet of more than {} MiB unpacked: export CSV",
                UNPACKED_BYTES_MAX >> 20
            ))
        })?;
    }
    Ok(())
}

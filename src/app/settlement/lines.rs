//! Reads a file's lines in a thread of its own, and hands them over in groups.

use crate::{
    domain::settlement::{
        profile::Profile,
        table::{Table, TableLine},
    },
    postgres::{FileEnd, FileKey, RowGroup, SettlementStore},
    sheet::{self, Shape, SheetError},
};
use chrono::NaiveDate;
use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::PathBuf,
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{Receiver, channel},
    task::JoinHandle,
};

/// Rows of one group: so many are written in one transaction.
const GROUP_ROWS: usize = 2_000;
/// Lines of one group, where most are other channels'.
const GROUP_LINES: u64 = 10_000;
/// A file with more of them is of another form than its profile.
const UNREADABLE_MAX: i64 = 10_000;
const UNKNOWN_CHANNELS_MAX: usize = 100;
/// Groups that are read ahead.
const AHEAD: usize = 2;

/// Where a file's bytes are read again.
#[derive(Debug, Clone)]
pub enum Place {
    /// As they are kept.
    Database,
    /// In a directory of ours, for a user who may not read what is kept.
    File(PathBuf),
}

/// Begins to read; groups come from the receiver, the end from the task.
pub fn read(
    settlement: &SettlementStore,
    file: FileKey,
    place: &Place,
    shape: Shape,
    profile: &Profile,
    received_on: NaiveDate,
) -> (Receiver<RowGroup>, JoinHandle<Result<FileEnd, SheetError>>) {
    let (sender, receiver) = channel(AHEAD);
    let profile = profile.clone();
    let (settlement, place, runtime) = (settlement.clone(), place.clone(), Handle::current());
    let task = tokio::task::spawn_blocking(move || {
        let table = (&profile, received_on);
        let each = &mut |group| sender.blocking_send(group).map_err(|_| SheetError::Stopped);
        match place {
            Place::Database => groups(Pieces::new(settlement, file, runtime), shape, table, each),
            Place::File(path) => groups(File::open(path).map_err(SheetError::Source)?, shape, table, each),
        }
    });
    (receiver, task)
}

/// All groups of a file, and what it says as a whole.
fn groups(
    source: impl Read,
    shape: Shape,
    (profile, received_on): (&Profile, NaiveDate),
    each: &mut dyn FnMut(RowGroup) -> Result<(), SheetError>,
) -> Result<FileEnd, SheetError> {
    let refused = |error: String| SheetError::Refused(error);
    let mut table = Table::new(profile, received_on);
    let mut end = FileEnd::default();
    let mut group = RowGroup::default();
    sheet::read(source, shape, profile, &mut |line, cells, gap| {
        match table.take(line, cells, gap).map_err(|error| refused(error.to_string()))? {
            TableLine::Nothing | TableLine::Header => {}
            TableLine::Ours(row) => group.rows.push(row),
            TableLine::UnreadableLine(bad) => end.unreadable.push(bad),
            TableLine::UnknownChannel { word, gross } => {
                *end.unknown_channels.entry(word).or_default() += gross;
                if end.unknown_channels.len() > UNKNOWN_CHANNELS_MAX {
                    return Err(refused(format!(
                        "more than {UNKNOWN_CHANNELS_MAX} unknown channels: is the profile right?"
                    )));
                }
            }
        }
        if table.sums.unreadable > UNREADABLE_MAX {
            return Err(refused(format!(
                "more than {UNREADABLE_MAX} rows cannot be read: is the profile right?"
            )));
        }
        group.last_line = line;
        let is_full = group.rows.len() >= GROUP_ROWS || line >= group.after_line + GROUP_LINES;
        if is_full {
            let next = RowGroup { after_line: line, last_line: line, rows: Vec::new() };
            each(std::mem::replace(&mut group, next))?;
        }
        Ok(())
    })?;
    table.end().map_err(|error| refused(error.to_string()))?;
    if group.last_line > group.after_line {
        each(group)?;
    }
    (end.stated, end.sums) = (table.stated, table.sums);
    Ok(end)
}

/// The pieces of a file, one after the other.
struct Pieces {
    settlement: SettlementStore,
    file: FileKey,
    runtime: Handle,
    next: i32,
    piece: Cursor<Vec<u8>>,
}

impl Pieces {
    fn new(settlement: SettlementStore, file: FileKey, runtime: Handle) -> Self {
        Self { settlement, file, runtime, next: 0, piece: Cursor::default() }
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(out)?;
            if count > 0 || out.is_empty() {
                return Ok(count);
            }
            let piece = self.runtime.block_on(self.settlement.piece(self.file, self.next));
            let Some(piece) = piece.map_err(io::Error::other)? else { return Ok(0) };
            self.next += 1;
            self.piece = Cursor::new(piece);
        }
    }
}

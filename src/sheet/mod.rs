//! Reads a settlement file's bytes into lines of cells, in bounded memory: CSV in any of its encodings, and XLSX. What the
//! cells mean is the domain's.
//!
//! Never: a file whole in memory (a spreadsheet's at most `XLSX_BYTES_MAX` of it); a line, a cell or a number of them
//! without a limit; a value in an error's text.

mod decode;
mod probe;
#[cfg(test)]
mod tests;
mod text;
mod xlsx;

pub use probe::{Encoding, FileForm, Probe, Shape};

use crate::domain::settlement::{profile::Profile, table::Cell};
use std::io::Read;

const MIB: u64 = 1024 * 1024;
/// A spreadsheet is read whole.
pub const XLSX_BYTES_MAX: u64 = 32 * MIB;
/// What a spreadsheet holds unpacked: counted before anything reads it.
pub const UNPACKED_BYTES_MAX: u64 = 64 * MIB;
/// A quote that never closes makes one line of all that follows.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
pub const CELLS_MAX: usize = 256;
pub const LINES_MAX: u64 = 10_000_000;

/// Why a file is not read, in words for its sender.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    #[error("{0}")]
    Refused(String),
    /// The bytes could not be fetched: the file may be well.
    #[error("the file's bytes cannot be read: {0}")]
    Source(std::io::Error),
    /// The taker of the lines wants no more of them.
    #[error("stopped")]
    Stopped,
}

/// Takes one line: its number from 1, its cells, and whether an empty line stands before it. An error ends the reading.
pub type Take<'t> = &'t mut dyn FnMut(u64, &[Cell], bool) -> Result<(), SheetError>;

/// Reads all lines of a file whose shape the probe found.
///
/// # Errors
/// A limit is passed, the file is no such file, or its bytes cannot be fetched.
pub fn read(source: impl Read, shape: Shape, profile: &Profile, take: Take<'_>) -> Result<(), SheetError> {
    match shape.form {
        FileForm::Csv => text::read(source, shape.encoding, profile, take),
        FileForm::Xlsx => xlsx::read(source, take),
    }
}

fn refused(what: impl Into<String>) -> SheetError {
    SheetError::Refused(what.into())
}

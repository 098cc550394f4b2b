//! Looks at a file's bytes as they come in: what sort of file it is, and in which encoding its text is.

use super::{SheetError, XLSX_BYTES_MAX, refused};
use crate::domain::settlement::FILE_BYTES_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileForm {
    Csv,
    Xlsx,
}

impl FileForm {
    pub const ALL: [Self; 2] = [Self::Csv, Self::Xlsx];

    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
        }
    }
}

/// How a text's characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
    /// What is no UTF-8 and has no mark: what spreadsheets write on Windows.
    Windows1252,
}

impl Encoding {
    pub const ALL: [Self; 4] = [Self::Utf8, Self::Utf16Le, Self::Utf16Be, Self::Windows1252];

    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Windows1252 => "windows-1252",
        }
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub form: FileForm,
    pub encoding: Encoding,
}

/// What files begin with that are no tables, and what to do.
const NO_TABLES: [(&[u8], &str); 3] = [
    (b"%PDF", "a PDF holds no table that can be read: ask DOKU for the CSV, or export it"),
    (b"\xd0\xcf\x11\xe0", "an old or encrypted Excel file (.xls): export CSV"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
];

/// Fed with all bytes of a file, in pieces.
#[derive(Debug, Default)]
pub struct Probe {
    head: Vec<u8>,
    bytes: u64,
    /// An unfinished character at the end of the last piece.
    rest: Vec<u8>,
    is_no_utf8: bool,
}

impl Probe {
    /// Takes the next piece.
    ///
    /// # Errors
    /// The file is too large, or no table.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), SheetError> {
        let missing = 4_usize.saturating_sub(self.head.len());
        self.head.extend(piece.iter().take(missing));
        self.bytes += piece.len() as u64;
        if self.bytes > FILE_BYTES_MAX {
            return Err(refused(format!(
                "larger than {} MiB: ask DOKU for one file a batch",
                FILE_BYTES_MAX >> 20
            )));
        }
        if let Some((_, why)) = NO_TABLES.iter().find(|(magic, _)| self.head.starts_with(magic)) {
            return Err(refused(*why));
        }
        if self.is_xlsx() && self.bytes > XLSX_BYTES_MAX {
            return Err(refused(format!(
                "a spreadsheet of more than {} MiB: export CSV",
                XLSX_BYTES_MAX >> 20
            )));
        }
        if !self.is_no_utf8 {
            self.look_for_utf8(piece);
        }
        Ok(())
    }

    /// What the file is, once all of it came.
    ///
    /// # Errors
    /// There was nothing in it.
    pub fn shape(&self) -> Result<Shape, SheetError> {
        if self.bytes == 0 {
            return Err(refused("an empty file"));
        }
        let form = if self.is_xlsx() { FileForm::Xlsx } else { FileForm::Csv };
        let encoding = match self.head.as_slice() {
            [0xff, 0xfe, ..] => Encoding::Utf16Le,
            [0xfe, 0xff, ..] => Encoding::Utf16Be,
            [0xef, 0xbb, 0xbf, ..] => Encoding::Utf8,
            _ if self.is_no_utf8 || !self.rest.is_empty() => Encoding::Windows1252,
            _ => Encoding::Utf8,
        };
        Ok(Shape { form, encoding })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn is_xlsx(&self) -> bool {
        self.head.starts_with(b"PK\x03\x04")
    }

    fn look_for_utf8(&mut self, piece: &[u8]) {
        self.rest.extend(piece);
        match std::str::from_utf8(&self.rest) {
            Ok(_) => self.rest.clear(),
            Err(fault) if fault.error_len().is_none() => drop(self.rest.drain(..fault.valid_up_to())),
            Err(_) => {
                self.is_no_utf8 = true;
                self.rest = Vec::new();
            }
        }
    }
}

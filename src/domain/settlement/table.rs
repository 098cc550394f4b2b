//! Makes rows of the lines of a file: finds the header by its content, reads what stands above it, and ends with the foot.
//! A line that cannot be read is reported, and the next one goes on.

use super::{
    super::ids::InvoiceNumber,
    dates,
    profile::{ChannelOf, Column, Profile},
    row::{RowKind, SettlementRow, batch_of_day},
    totals::{Stated, Sums, is_batch},
};
use chrono::{Days, NaiveDate};

/// Lines above the table: a header that comes later is none.
pub const PREAMBLE_LINES_MAX: usize = 100;
/// Digits that a spreadsheet keeps of a number.
const SPREADSHEET_DIGITS_MAX: usize = 15;
const SUB_ACCOUNT_CHARS_MAX: usize = 100;
/// A pay-out so many days after its file came is a slip of the pen, by which every payment until then would be late.
const AHEAD_DAYS_MAX: u64 = 60;
/// A word of the file that is kept for a person.
const WORD_CHARS_MAX: usize = 64;

/// What stands in one place of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    /// A spreadsheet's number, in digits as they are: it may have lost some.
    Number(String),
    Date(NaiveDate),
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) => text.trim().to_owned(),
            Self::Date(day) => day.to_string(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) | Self::Number(text) => text.trim().is_empty(),
            Self::Date(_) => false,
        }
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableLine {
    /// Above the table, its header, below it, or a row of another channel.
    Nothing,
    /// The header: what was stated above it is read.
    Header,
    Ours(SettlementRow),
    UnknownChannel {
        word: String,
        gross: i64,
    },
    UnreadableLine(UnreadableLine),
}

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLine {
    pub line: u64,
    /// The batch, as far as it is known.
    pub batch: Option<String>,
    /// Only where it is an invoice number.
    pub invoice_number: Option<String>,
    /// Which column, and why. Never the value: it may be a customer's.
    pub why: String,
    /// Its amount, where that could be read.
    pub gross: i64,
}

/// Why a file is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error(
        "no header was found: allowed is a line within the first {PREAMBLE_LINES_MAX} that names an invoice and an amount \
         column; a profile may name them (settlement.profile.<name>.columns)"
    )]
    NoHeader,
    #[error("the header has no column for {0}: name it in settlement.profile.<name>.columns")]
    NoColumn(&'static str),
    #[error("the header has two columns for {0}: name the right one in settlement.profile.<name>.columns")]
    TwoColumns(&'static str),
}

/// Reads one file, line by line.
pub struct Table<'p> {
    profile: &'p Profile,
    /// Where each column stands, once the header is found.
    columns: Option<Vec<(Column, usize)>>,
    lines_above: usize,
    is_foot: bool,
    /// A pay-out after that is none.
    last_day: NaiveDate,
    pub stated: Stated,
    pub sums: Sums,
}

impl<'p> Table<'p> {
    /// `received_on`: the day on which the file came.
    pub fn new(profile: &'p Profile, received_on: NaiveDate) -> Self {
        let last_day = received_on.checked_add_days(Days::new(AHEAD_DAYS_MAX)).unwrap_or(NaiveDate::MAX);
        let (stated, sums) = (Stated::default(), Sums::default());
        Self { profile, columns: None, lines_above: 0, is_foot: false, last_day, stated, sums }
    }

    /// Takes the next line. `after_gap`: an empty line stands before it.
    ///
    /// # Errors
    /// The file is none that this profile reads.
    pub fn take(&mut self, line: u64, cells: &[Cell], after_gap: bool) -> Result<TableLine, TableError> {
        let Some(columns) = &self.columns else { return self.above(cells) };
        let cells = Cells { columns, cells };
        if cells.cells.iter().all(Cell::is_empty) {
            self.is_foot = true;
            return Ok(TableLine::Nothing);
        }
        self.is_foot = self.is_foot || after_gap || cells.is_total();
        let read = cells.row(self.profile, &self.stated, self.last_day);
        if self.is_foot {
            // Sums and remarks stand there. A row that is hidden there is reported.
            let Ok(Read { row, channel: ChannelOf::Ours | ChannelOf::Unknown, .. }) = read else {
                return Ok(TableLine::Nothing);
            };
            let why = "stands below the table's end".to_owned();
            return Ok(self.unreadable(line, Some(row.batch), Some(row.invoice_number), why, row.gross));
        }
        let Read { row, channel, word } = match read {
            Ok(read) => read,
            Err(_) if self.profile.channel(&cells.channel_word()) == ChannelOf::Other => {
                self.sums.unread_others += 1;
                return Ok(TableLine::Nothing);
            }
            Err(fault) => {
                // By its day it is the same row in another form of the same file.
                let day = cells.day(self.profile, Column::PaidOut).ok().filter(|day| *day <= self.last_day);
                let batch = cells.batch(&self.stated, day);
                let invoice = cells.invoice().ok();
                let gross = cells.amount(self.profile, Column::Amount).ok().flatten().unwrap_or_default();
                return Ok(self.unreadable(line, batch, invoice, fault, gross));
            }
        };
        self.sums.add(&row);
        Ok(match channel {
            ChannelOf::Ours => TableLine::Ours(row),
            ChannelOf::Other => TableLine::Nothing,
            ChannelOf::Unknown => TableLine::UnknownChannel { word, gross: row.gross },
        })
    }

    /// # Errors
    /// There was no header.
    pub fn end(&self) -> Result<(), TableError> {
        if self.columns.is_some() { Ok(()) } else { Err(TableError::NoHeader) }
    }

    fn above(&mut self, cells: &[Cell]) -> Result<TableLine, TableError> {
        if let Some(columns) = header(self.profile, cells)? {
            self.columns = Some(columns);
            return Ok(TableLine::Header);
        }
        self.lines_above += 1;
        if self.lines_above > PREAMBLE_LINES_MAX {
            return Err(TableError::NoHeader);
        }
        if let [label, value, ..] = cells {
            self.stated.read(&label.text(), &value.text(), self.profile.marks);
        }
        Ok(TableLine::Nothing)
    }

    fn unreadable(
        &mut self,
        line: u64,
        batch: Option<String>,
        invoice_number: Option<String>,
        why: String,
        gross: i64,
    ) -> TableLine {
        self.sums.unreadable += 1;
        TableLine::UnreadableLine(UnreadableLine { line, batch, invoice_number, why, gross })
    }
}

/// Where the columns stand, if this line is the header.
pub fn header(profile: &Profile, cells: &[Cell]) -> Result<Option<Vec<(Column, usize)>>, TableError> {
    let found: Vec<(Column, usize)> =
        cells.iter().enumerate().filter_map(|(at, cell)| Some((profile.column(&cell.text())?, at))).collect();
    let count = |wanted: Column| found.iter().filter(|(column, _)| *column == wanted).count();
    if count(Column::Invoice) == 0 || count(Column::Amount) == 0 {
        return Ok(None);
    }
    if let Some(twice) = Column::ALL.into_iter().find(|column| count(*column) > 1) {
        return Err(TableError::TwoColumns(twice.name()));
    }
    let is_one_channel = profile.channels.iter().any(|word| word == "*");
    for needed in [Column::Transaction, Column::PaidOut, Column::Channel] {
        if count(needed) == 0 && !(needed == Column::Channel && is_one_channel) {
            return Err(TableError::NoColumn(needed.name()));
        }
    }
    Ok(Some(found))
}

struct Read {
    row: SettlementRow,
    channel: ChannelOf,
    word: String,
}

struct Cells<'a> {
    columns: &'a [(Column, usize)],
    cells: &'a [Cell],
}

impl Cells<'_> {
    fn get(&self, wanted: Column) -> Option<&Cell> {
        let (_, at) = self.columns.iter().find(|(column, _)| *column == wanted)?;
        self.cells.get(*at).filter(|cell| !cell.is_empty())
    }

    fn channel_word(&self) -> String {
        self.get(Column::Channel).map(Cell::text).unwrap_or_default()
    }

    fn has(&self, wanted: Column) -> bool {
        self.columns.iter().any(|(column, _)| *column == wanted)
    }

    /// A line of sums: no invoice, no days, and a word for it. A customer's name may have that word as well.
    fn is_total(&self) -> bool {
        let nothing_in = [Column::Invoice, Column::Transaction, Column::PaidOut];
        nothing_in.into_iter().all(|column| self.get(column).is_none())
            && self.cells.iter().any(|cell| cell.text().to_uppercase().contains("TOTAL"))
    }

    fn row(&self, profile: &Profile, stated: &Stated, last_day: NaiveDate) -> Result<Read, String> {
        let invoice_number = self.invoice()?;
        let word = self.channel_word();
        let type_cell =
            self.has(Column::Type).then(|| self.get(Column::Type).map(Cell::text).unwrap_or_default());
        let kind = profile.kind(type_cell.as_deref());
        let transaction_on = self.day(profile, Column::Transaction)?;
        let paid_out_on = self.day(profile, Column::PaidOut)?;
        if paid_out_on > last_day {
            return Err(format!("paid_out: lies in the future: allowed are days until {last_day}"));
        }
        let gross =
            self.amount(profile, Column::Amount)?.ok_or("amount: is empty: allowed are whole rupiah")?;
        let fee = self.amount(profile, Column::Fee)?.unwrap_or_default();
        let discount = self.amount(profile, Column::Discount)?.unwrap_or_default();
        let net = self.amount(profile, Column::Net)?;
        if net.is_none() && self.has(Column::Net) {
            return Err("net: is empty: allowed are whole rupiah".to_owned());
        }
        let sub_account = self.get(Column::SubAccount).map(Cell::text).unwrap_or_default();
        if sub_account.chars().count() > SUB_ACCOUNT_CHARS_MAX || sub_account.chars().any(char::is_control) {
            return Err(format!(
                "sub_account: allowed are at most {SUB_ACCOUNT_CHARS_MAX} visible characters"
            ));
        }
        let batch = self.batch(stated, Some(paid_out_on)).ok_or("batch: is no batch's name")?;
        let type_word = match kind {
            RowKind::Purchase | RowKind::Refund => String::new(),
            RowKind::Unknown => bounded(&type_cell.unwrap_or_default()),
        };
        let mut row = SettlementRow {
            batch,
            invoice_number,
            kind,
            type_word,
            sub_account: if sub_account == "-" { String::new() } else { sub_account },
            gross,
            fee,
            discount,
            net: net.unwrap_or(match kind {
                RowKind::Purchase | RowKind::Unknown => gross - fee - discount,
                RowKind::Refund => gross.abs() + fee.abs() - discount.abs(),
            }),
            transaction_on,
            paid_out_on,
        };
        deduct(&mut row);
        Ok(Read { row, channel: profile.channel(&word), word: bounded(&word) })
    }

    /// A number that a spreadsheet may have rounded or rewritten is none.
    fn invoice(&self) -> Result<String, String> {
        let cell = self.get(Column::Invoice).ok_or("invoice: is empty")?;
        let text = cell.text();
        let is_number = matches!(cell, Cell::Number(_));
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let is_whole = text.bytes().all(|b| b.is_ascii_digit());
        if is_number && (digits > SPREADSHEET_DIGITS_MAX || !is_whole) || has_exponent(&text) {
            return Err(
                "invoice: a spreadsheet made a number of it and may have lost digits: export it as text"
                    .to_owned(),
            );
        }
        InvoiceNumber::parse(text)
            .map(|number| number.to_string())
            .map_err(|e| format!("invoice: allowed are {}", e.allowed))
    }

    fn day(&self, profile: &Profile, column: Column) -> Result<NaiveDate, String> {
        let text = match self.get(column) {
            Some(Cell::Date(day)) => return Ok(*day),
            Some(cell) => cell.text(),
            None => String::new(),
        };
        dates::read(&text, &profile.dates, profile.zone).map_err(|e| format!("{}: {e}", column.name()))
    }

    /// `None`: there is none. A dash stands for none as well.
    fn amount(&self, profile: &Profile, column: Column) -> Result<Option<i64>, String> {
        let fault = |e| format!("{}: {e}", column.name());
        match self.get(column) {
            None => Ok(None),
            Some(Cell::Text(text)) if text.trim() == "-" => Ok(None),
            // A spreadsheet's own number has no marks but the point.
            Some(Cell::Number(text)) => {
                let marks = super::amount::Marks { decimal: '.', thousands: None };
                marks.row(text).map(Some).map_err(fault)
            }
            Some(Cell::Text(text)) => profile.marks.row(text).map(Some).map_err(fault),
            Some(Cell::Date(_)) => Err(format!("{}: is a date", column.name())),
        }
    }

    /// The row's own batch, else the file's, else the pay-out of that day.
    fn batch(&self, stated: &Stated, paid_out_on: Option<NaiveDate>) -> Option<String> {
        match self.get(Column::Batch).map(Cell::text) {
            Some(own) => is_batch(&own).then_some(own),
            None => stated.batch.clone().or_else(|| paid_out_on.map(batch_of_day)),
        }
    }
}

/// How a refund's amounts are signed was never seen: whatever the signs, its amount is positive and its net deducts.
fn deduct(row: &mut SettlementRow) {
    if row.kind == RowKind::Refund {
        row.gross = row.gross.abs();
        row.net = -row.net.abs();
    }
}

/// `2.02601E+14`.
fn has_exponent(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    let is_signed = exponent.starts_with(['+', '-']);
    are_digits(whole)
        && are_digits(fraction)
        && are_digits(exponent.trim_start_matches(['+', '-']))
        && (is_signed || mantissa.len() != whole.len())
}

fn bounded(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(WORD_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;

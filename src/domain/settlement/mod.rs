//! Settlement: DOKU's book and ours, compared. Pure: a file's lines come in as cells, an invoice with all that is known of it
//! as a case; rows and breaks go out.
//!
//! A *batch* is one pay-out of DOKU's, a *break* is something that does not fit.

pub mod amount;
pub mod breaks;
pub mod calendar;
pub mod case;
pub mod dates;
pub mod fees;
pub mod judge;
#[cfg(test)]
mod order_tests;
pub mod profile;
pub mod row;
pub mod table;
pub mod totals;

/// Of so many rows one may be without an order, or not be read, before a person is asked.
const DOUBT_SHARE: i64 = 10;

/// Whether a person looks at a file before anything of it counts: another merchant's, or one of another form than its profile.
/// Rows that cannot be read are none of `own_rows`, and whether they have an order is not known.
pub fn is_doubtful(own_rows: i64, without_order: i64, unreadable: i64) -> bool {
    (without_order + unreadable) * DOUBT_SHARE > own_rows + unreadable
}

/// A month of some millions of payments has less.
pub const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

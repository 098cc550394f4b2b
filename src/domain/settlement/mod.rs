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

/// A month of some millions of payments has less.
pub const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

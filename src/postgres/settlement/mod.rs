//! Settlement's tables: files as they came, their rows, and what does not fit.
//!
//! Never: a change of an order or a command; a transaction of more than one group of rows; a file that counts before its last
//! row is kept.

mod account;
mod ask;
mod batches;
mod breaks;
mod close;
mod events;
mod files;
mod gauges;
mod group;
mod keep;
mod looks;
mod rows;
mod search;
mod shares;
mod views;
mod writes;

pub use account::ImportingAccount;
pub use close::Closing;
pub(super) use files::empty_old_files;
pub use files::{FileKey, FileState, KeptFile, MerchantLock, ReceivedBytes};
pub use gauges::OpenBreaks;
pub use group::{GroupCounts, SettledSlice};
pub use rows::{FileEnd, GroupKept, RowGroup};
pub(super) use shares::keep_shares;
pub(super) use views::row_of_order;

use super::{PostgresStore, StoreContext, error::TxResult};
use crate::domain::settlement::case::Rules;
use chrono::FixedOffset;
use sqlx::PgConnection;
use std::sync::Arc;

/// Settlement's part of the store.
#[derive(Clone)]
pub struct SettlementStore {
    context: Arc<StoreContext>,
}

impl PostgresStore {
    pub fn settlement(&self) -> SettlementStore {
        SettlementStore { context: Arc::clone(&self.context) }
    }
}

/// The commit of this transaction does not wait for the disk, so that payments' commits find it free. A server that dies a
/// moment later has lost the group whole, with the note that it was done: the import goes on with it. Never for what the
/// outside has seen.
async fn commit_later(c: &mut PgConnection) -> TxResult<()> {
    sqlx::query("SET LOCAL synchronous_commit = off").execute(c).await?;
    Ok(())
}

/// What invoices are judged by.
#[derive(Debug, Clone)]
pub struct Judging {
    pub rules: Rules,
    /// In which a day begins and ends.
    pub zone: FixedOffset,
    pub by: By,
}

/// What made an invoice be judged: it closes what fits again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    File,
    /// Check Status, or a day that passed.
    Check,
}

impl By {
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Check => "check",
        }
    }
}

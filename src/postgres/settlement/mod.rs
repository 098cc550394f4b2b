//! Settlement's tables: files as they came, their rows, and what does not fit.
//!
//! Never: a change of an order or a command; a transaction of more than one group of rows; a file that counts before its last
//! row is kept.

mod account;
mod ask;
mod breaks;
mod close;
mod events;
mod files;
mod gauges;
mod group;
mod looks;
mod rows;
mod search;
mod shares;
mod views;

pub use account::ImportingAccount;
pub use close::Closing;
pub(super) use files::empty_old_files;
pub use files::{FileKey, FileState, KeptFile, MerchantLock};
pub use gauges::OpenBreaks;
pub use group::GroupCounts;
pub use rows::{FileEnd, RowGroup};
pub(super) use shares::keep_shares;
pub(super) use views::row_of_order;
pub use views::{BatchView, BreakFilter, BreakView, FileView};

use super::{PostgresStore, StoreContext};
use crate::domain::settlement::case::Rules;
use chrono::FixedOffset;
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

//! What the judge is given about one invoice, and what it says of it.

use super::{
    super::{Time, order::OrderState},
    breaks::Break,
    calendar::Calendar,
    fees::FeeRule,
    row::SettlementRow,
};
use chrono::NaiveDate;
use std::collections::{BTreeMap, BTreeSet};

/// An order, as far as it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderFacts {
    /// Whole rupiah.
    pub amount: i64,
    pub state: OrderState,
    /// The day on which it became that state, in the profile's zone.
    pub state_since: NaiveDate,
    /// The day on which it was first paid, in the same zone. Only known of an order without a payment's row.
    pub paid_on: NaiveDate,
    /// Its command asked for a split settlement.
    pub has_shares: bool,
    /// It was paid before this service ran, by whatever account: no row is expected.
    pub is_imported: bool,
}

/// A row, with the files that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRow {
    pub row: SettlementRow,
    /// Among rows with equal values of one file: 1, 2, ….
    pub number: u32,
    pub files: BTreeSet<i64>,
    /// When the first of them was read.
    pub seen_at: Time,
}

/// What is known of the merchant's account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFacts {
    /// The first payment in our rows of the first pay-out in all its files: earlier ones expect no row.
    pub first_transaction_on: Option<NaiveDate>,
    /// The latest pay-out of our rows in all its files. A file without any says nothing about what ours are late with.
    pub latest_paid_out_on: Option<NaiveDate>,
    /// A channel's name is neither ours nor another's: what is missing may stand there.
    pub has_unknown_channel: bool,
    /// The files of each batch.
    pub forms: BTreeMap<String, BTreeSet<i64>>,
}

/// What is configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    pub calendar: Calendar,
    pub fees: Vec<FeeRule>,
    /// The profile's `split`.
    pub split: bool,
}

/// Everything that is known of one invoice.
#[derive(Debug)]
pub struct Case<'a> {
    pub invoice_number: &'a str,
    pub order: Option<OrderFacts>,
    pub rows: &'a [KnownRow],
    pub account: &'a AccountFacts,
    pub rules: &'a Rules,
    pub now: Time,
}

/// The judgement of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    pub breaks: Vec<Break>,
    /// Which of the rows fit, and which older ones they replace, by their place in `Case::rows`.
    pub fits: Vec<Fit>,
    /// DOKU is asked about the order.
    pub asks: bool,
    /// When it is judged again, though no file comes.
    pub look_again_at: Option<Time>,
}

/// A row that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    pub at: usize,
    /// The rows of earlier forms of its batch, which it makes void.
    pub replaces: Vec<usize>,
}

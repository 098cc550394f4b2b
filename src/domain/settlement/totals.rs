//! What a file states about itself, and what its rows add up to.

use super::{
    amount::Marks,
    profile::normalised,
    row::{RowKind, SettlementRow},
};
use chrono::NaiveDate;

/// The sums of a file's readable rows, of all channels. Refunds count as positive amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub rows: i64,
    pub purchases: i64,
    pub purchase_amount: i64,
    pub refunds: i64,
    pub refund_amount: i64,
    pub fee: i64,
    pub discount: i64,
    pub net: i64,
    pub latest_paid_out_on: Option<NaiveDate>,
    /// Rows that could not be read: the sums are without them.
    pub unreadable: i64,
    /// Rows of other channels that could not be read: no break of ours, and the sums are without them too.
    pub unread_others: i64,
}

impl Sums {
    fn are_whole(&self) -> bool {
        self.unreadable == 0 && self.unread_others == 0
    }
}

impl Sums {
    pub fn add(&mut self, row: &SettlementRow) {
        let SettlementRow { kind, gross, fee, discount, net, paid_out_on, .. } = *row;
        self.rows += 1;
        self.latest_paid_out_on = self.latest_paid_out_on.max(Some(paid_out_on));
        match kind {
            RowKind::Purchase => {
                self.purchases += 1;
                self.purchase_amount = self.purchase_amount.saturating_add(gross);
            }
            RowKind::Refund => {
                self.refunds += 1;
                self.refund_amount = self.refund_amount.saturating_add(gross.abs());
            }
            RowKind::Unknown => {}
        }
        self.fee = self.fee.saturating_add(fee);
        self.discount = self.discount.saturating_add(discount);
        self.net = self.net.saturating_add(net);
    }
}

/// What stands above the table; `None`: nothing readable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stated {
    pub batch: Option<String>,
    sums: [Option<i64>; LABELS.len()],
}

/// A label, what the rows make of it, and whether it is a count of rows.
type Label = (&'static str, fn(&Sums) -> i64, bool);

const LABELS: [Label; 8] = [
    ("TOTAL TRANSACTIONS", |sums| sums.rows + sums.unreadable + sums.unread_others, true),
    ("TOTAL PURCHASE", |sums| sums.purchases, false),
    ("TOTAL AMOUNT PURCHASE", |sums| sums.purchase_amount, false),
    ("TOTAL REFUND", |sums| sums.refunds, false),
    ("TOTAL AMOUNT REFUND", |sums| sums.refund_amount, false),
    ("TOTAL FEE", |sums| sums.fee, false),
    ("TOTAL DISCOUNT", |sums| sums.discount, false),
    ("TOTAL SETTLEMENT AMOUNT", |sums| sums.net, false),
];
/// Where `LABELS` has the sum that is paid out.
const NET: usize = 7;
const BATCH: &str = "BATCH ID";
/// Longer names are no batch's.
pub const BATCH_CHARS_MAX: usize = 200;

impl Stated {
    /// Reads a line above the table.
    pub fn read(&mut self, label: &str, value: &str, marks: Marks) {
        let label = normalised(label);
        let value = value.trim();
        if label == BATCH && is_batch(value) {
            self.batch.get_or_insert_with(|| value.to_owned());
        }
        if let Some(at) = LABELS.iter().position(|(name, _, _)| *name == label) {
            self.sums[at] = self.sums[at].or_else(|| marks.sum(value).ok());
        }
    }

    /// The pay-out that it states.
    pub fn net(&self) -> Option<i64> {
        self.sums[NET]
    }

    /// What does not add up: `TOTAL FEE 7995, rows 7990; …`. With a row that cannot be read only the count is compared:
    /// without its amounts every sum would be another.
    pub fn mismatch(&self, sums: &Sums) -> Option<String> {
        let faults: Vec<String> = LABELS
            .iter()
            .zip(self.sums)
            .filter(|((_, _, is_count), _)| *is_count || sums.are_whole())
            .filter_map(|((name, of_rows, _), stated)| {
                let (stated, found) = (stated?, of_rows(sums));
                (stated.abs() != found.abs())
                    .then(|| format!("{} {stated}, rows {found}", name.to_lowercase()))
            })
            .collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }

    /// The largest difference, in rupiah where it is one.
    pub fn at_stake(&self, sums: &Sums) -> i64 {
        let stated = self.net().unwrap_or(sums.net);
        (stated.abs() - sums.net.abs()).abs()
    }
}

/// Whether a text names a batch: visible characters, spaces within.
pub fn is_batch(text: &str) -> bool {
    (1..=BATCH_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

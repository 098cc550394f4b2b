//! Settlement as people and programs are shown it: files, batches with both sums, and what does not fit.

use crate::domain::{Time, ids::MerchantName};
use chrono::NaiveDate;
use serde::Serialize;
use uuid::Uuid;

/// A file that came in. Amounts are whole rupiah.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileView {
    pub number: i64,
    pub merchant: String,
    pub name: String,
    pub profile: String,
    /// Hexadecimal.
    pub sha256: Option<String>,
    pub state: String,
    pub received_at: Time,
    pub done_at: Option<Time>,
    pub batch: Option<String>,
    pub rows: i64,
    /// Of our channel, as far as they are kept.
    pub own_rows: i64,
    /// Of the purchases among them.
    pub own_gross: i64,
    pub own_refunded: i64,
    /// Of all of them.
    pub own_fee: i64,
    pub own_discount: i64,
    pub own_net: i64,
    /// Of our rows, those without an order here.
    pub without_order: i64,
    pub unreadable: i64,
    /// Of all channels, and what the file states.
    pub net: i64,
    pub stated_net: Option<i64>,
    /// How the file contradicts itself.
    pub totals_fault: Option<String>,
    pub open_breaks: i64,
}

/// One batch: what DOKU says of our channel, and what our orders say of the same invoices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchView {
    pub merchant: String,
    pub batch: String,
    pub paid_out_on: Option<NaiveDate>,
    pub purchases: i64,
    pub gross: i64,
    pub fee: i64,
    pub discount: i64,
    pub net: i64,
    pub refunds: i64,
    pub refunded: i64,
    /// Of the same purchases, those that are paid here, and their orders' amounts.
    pub own_purchases: i64,
    pub own_gross: i64,
    pub own_refunds: i64,
    pub own_refunded: i64,
    /// What the whole file states that is paid out, with all channels.
    pub stated_net: Option<i64>,
    pub forms: i64,
    pub open_breaks: i64,
}

/// Which breaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BreakFilter {
    pub merchant: Option<MerchantName>,
    pub open: bool,
    pub cause: Option<String>,
    pub batch: Option<String>,
    pub limit: u32,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakView {
    /// By which it is closed.
    pub number: i64,
    pub merchant: String,
    pub cause: String,
    /// `operator` or `finance`.
    pub owner: String,
    /// The row, the order or the batch: by cause and subject a break is the same one, also in a database that went back.
    pub subject: String,
    pub invoice_number: Option<String>,
    pub batch: Option<String>,
    /// Whole rupiah, in digits.
    pub at_stake: String,
    pub found: String,
    /// Of a break that opened again: when it did. The history has what was before.
    pub first_seen_at: Time,
    pub closed_at: Option<Time>,
    /// `file`, `check` or `person`.
    pub closed_by: Option<String>,
    pub history: Vec<HistoryEntry>,
}

impl BreakView {
    /// What a person saw of it, as a short name beside its number: a file may change its values meanwhile, and in a database that went
    /// back the number may be another break's.
    pub fn name(&self) -> String {
        const NAMESPACE: Uuid = uuid::uuid!("5c6c3f0e-8a0b-5d52-9d3b-2f7c4d1e6a90");
        let Self { merchant, cause, subject, at_stake, found, .. } = self;
        // No text of the database has such a byte.
        let parts = [merchant, cause, subject, at_stake, found].map(String::as_str).join("\0");
        Uuid::new_v5(&NAMESPACE, parts.as_bytes()).to_string()
    }

    /// Who closed it and why, where a person did.
    pub fn closed_by_person(&self) -> Option<(&str, &str)> {
        let entry = self.history.iter().rev().find(|entry| entry.reason.is_some());
        let entry = entry.filter(|_| self.closed_by.as_deref() == Some("person"))?;
        Some((entry.done_by.as_deref().unwrap_or_default(), entry.reason.as_deref().unwrap_or_default()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    pub at: Time,
    pub what: String,
    pub at_stake: i64,
    pub found: String,
    pub done_by: Option<String>,
    pub reason: Option<String>,
}

#[cfg(test)]
pub mod sample {
    use super::BatchView;

    /// Two purchases and a refund, of which one purchase is ours.
    pub fn batch() -> BatchView {
        BatchView {
            merchant: "default".to_owned(),
            batch: "B-1".to_owned(),
            paid_out_on: Some("2026-01-08".parse().unwrap()),
            purchases: 2,
            gross: 100_000,
            fee: 3_000,
            discount: 0,
            net: 47_000,
            refunds: 1,
            refunded: 50_000,
            own_purchases: 1,
            own_gross: 50_000,
            own_refunds: 1,
            own_refunded: 50_000,
            stated_net: Some(47_000),
            forms: 1,
            open_breaks: 1,
        }
    }
}

//! One row of a settlement file, as it counts: of our channel, with all its values read. What makes a row the same one
//! in another file is all of its values, not its line.

use super::super::ids::MerchantName;
use chrono::NaiveDate;
use uuid::Uuid;

/// What a row says DOKU did with the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKind {
    Purchase,
    Refund,
    /// A word that no profile knows.
    Unknown,
}

impl RowKind {
    pub const ALL: [Self; 3] = [Self::Purchase, Self::Refund, Self::Unknown];

    /// As it is stored, and published (an unknown one never is).
    pub fn name(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Refund => "refund",
            Self::Unknown => "unknown",
        }
    }
}

/// A row. Amounts are whole rupiah; what is deducted is negative in `net` alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SettlementRow {
    /// The pay-out that it belongs to.
    pub batch: String,
    pub invoice_number: String,
    pub kind: RowKind,
    /// The file's own word; empty unless the kind is unknown.
    pub type_word: String,
    /// Of a split settlement; empty: the merchant's own account.
    pub sub_account: String,
    pub gross: i64,
    pub fee: i64,
    pub discount: i64,
    pub net: i64,
    pub transaction_on: NaiveDate,
    pub paid_out_on: NaiveDate,
}

/// Names a row by what it says: the `id` of its event.
pub type RowId = Uuid;

/// The batch of rows for which no file names one: the pay-out of their day.
pub fn batch_of_day(paid_out_on: NaiveDate) -> String {
    format!("PAYOUT-{paid_out_on}")
}

/// Whether a name is a day's.
pub fn is_batch_of_day(batch: &str) -> bool {
    let day = batch.strip_prefix("PAYOUT-").and_then(|day| day.parse().ok());
    day.is_some_and(|day| batch == batch_of_day(day))
}

impl SettlementRow {
    /// Whether the batch is a day's. It may come in several files, each with a part of it.
    pub fn is_of_day(&self) -> bool {
        self.batch == batch_of_day(self.paid_out_on)
    }

    /// The same for equal rows of the same merchant and batch, in whatever file, and after a restore.
    pub fn id(&self, merchant: &MerchantName) -> RowId {
        const NAMESPACE: Uuid = uuid::uuid!("8a1a3f53-0f3e-5c1b-9f0e-6d2f6c9a4b27");
        let [transaction_on, paid_out_on] =
            [self.transaction_on, self.paid_out_on].map(|day| day.to_string());
        let amounts = [self.gross, self.fee, self.discount, self.net].map(|amount| amount.to_string());
        let texts = [
            merchant.as_str(),
            &self.batch,
            &self.invoice_number,
            self.kind.name(),
            &self.type_word,
            &self.sub_account,
            &transaction_on,
            &paid_out_on,
        ];
        // Length-prefixed, so that no two rows make the same name.
        let parts = texts.into_iter().chain(amounts.iter().map(String::as_str));
        let name: String = parts.map(|part| format!("{}:{part}", part.len())).collect();
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }

    /// What a person compares, and what a closed break is compared with: the amounts and days, nothing of a customer.
    pub fn values(&self) -> String {
        let Self { gross, fee, discount, net, transaction_on, paid_out_on, .. } = self;
        format!(
            "amount {gross} fee {fee} discount {discount} net {net} of {transaction_on} paid out {paid_out_on}"
        )
    }
}

//! Invoices that are judged again though no file comes.

use super::SettlementStore;
use crate::{domain::ids::MerchantName, flow::ports::StoreError, postgres::tx::answered};

impl SettlementStore {
    /// A merchant's invoices whose time has come, the longest waiting first.
    pub async fn due_looks(&self, merchant: &MerchantName, limit: u32) -> Result<Vec<String>, StoreError> {
        answered!(self.context.pool, |c| sqlx::query_scalar(
            "SELECT invoice_number FROM settlement_looks
             WHERE merchant = $1 AND look_at <= (SELECT jenius_now()) ORDER BY look_at LIMIT $2"
        )
        .bind(merchant.as_str())
        .bind(i64::from(limit))
        .fetch_all(c))
    }

    /// One that could not be judged is looked at again in an hour.
    pub async fn put_off(&self, merchant: &MerchantName, invoice: &str) -> Result<(), StoreError> {
        answered!(self.context.pool, |c| sqlx::query(
            "UPDATE settlement_looks SET look_at = jenius_now() + interval '1 hour'
             WHERE merchant = $1 AND invoice_number = $2"
        )
        .bind(merchant.as_str())
        .bind(invoice)
        .execute(c))?;
        Ok(())
    }
}

//! Who pays an order: read from the request that is kept until it is pruned. A person who reads it as it is leaves a row.

use crate::{
    domain::ids::{InvoiceNumber, MerchantName},
    flow::ports::{OrderCustomer, StoreError},
    postgres::{PostgresStore, tx::answered},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct StoredRequestBody {
    customer: StoredCustomer,
}

#[derive(Deserialize)]
struct StoredCustomer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    phone: String,
    email: Option<String>,
}

impl PostgresStore {
    /// `None`: the order is not known, or its request was pruned.
    pub async fn customer(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
    ) -> Result<Option<OrderCustomer>, StoreError> {
        let body: Option<Option<Vec<u8>>> = answered!(self.context.pool, |c| sqlx::query_scalar(
            "SELECT c.request_body FROM orders o JOIN commands c ON c.key = o.payment
             WHERE o.merchant = $1 AND o.invoice_number = $2"
        )
        .bind(merchant.as_str())
        .bind(invoice.as_str())
        .fetch_optional(c))?;
        let body = body.flatten().unwrap_or_default();
        let read = serde_json::from_slice::<StoredRequestBody>(&body).ok();
        Ok(read.map(|StoredRequestBody { customer: StoredCustomer { name, phone, email } }| OrderCustomer {
            name,
            phone,
            email,
        }))
    }
}

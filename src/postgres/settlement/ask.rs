//! Has DOKU asked about orders that a row puts in doubt: an inquiry that is due now. Nothing else of an order is written.

use super::writes::AskedOrder;
use crate::{
    domain::{ids::MerchantName, schedule::InquiryRank},
    flow::ports::StoreError,
    postgres::{StoreContext, error::TxResult},
};
use sqlx::PgConnection;
use std::sync::Arc;

/// Orders of one transaction: it holds their locks.
const ORDERS_MAX: usize = 100;

/// Makes an inquiry of each order due now, and says of how many. Its look notes then that it was asked for.
pub(super) async fn ask(
    context: &Arc<StoreContext>,
    merchant: &MerchantName,
    mut asks: Vec<AskedOrder>,
) -> Result<u64, StoreError> {
    // In one order everywhere, so that two who lock do not wait for each other.
    asks.sort_unstable();
    let mut asked = 0;
    for chunk in asks.chunks(ORDERS_MAX) {
        let (keys, invoices): (Vec<i64>, Vec<String>) = chunk.iter().cloned().unzip();
        let merchant = merchant.clone();
        asked += context
            .transaction(move |c| {
                Box::pin(async move {
                    let made = make_due(c, &keys).await?;
                    sqlx::query(
                        "UPDATE settlement_looks SET ask = false WHERE merchant = $1 AND invoice_number = ANY ($2)",
                    )
                    .bind(merchant.as_str())
                    .bind(&invoices)
                    .execute(c)
                    .await?;
                    Ok(made)
                })
            })
            .await?;
    }
    if asked > 0 {
        context.due_changed.notify_one();
    }
    Ok(asked)
}

/// They stay due until they are made, whatever else is written before.
async fn make_due(c: &mut PgConnection, order_keys: &[i64]) -> TxResult<u64> {
    sqlx::query("SELECT order_key FROM orders WHERE order_key = ANY ($1) ORDER BY order_key FOR UPDATE")
        .bind(order_keys)
        .execute(&mut *c)
        .await?;
    let made = sqlx::query(
        "WITH clock AS MATERIALIZED (SELECT jenius_now() AS now)
         INSERT INTO due (order_key, merchant, inquire_at, inquire_rank, prompted_at)
         SELECT order_key, merchant, now, $2, now FROM clock, orders WHERE order_key = ANY ($1)
         ON CONFLICT (order_key) DO UPDATE
         SET inquire_at = least(due.inquire_at, excluded.inquire_at),
             prompted_at = least(due.prompted_at, excluded.prompted_at)",
    )
    .bind(order_keys)
    .bind(InquiryRank::Afterwards.number())
    .execute(c)
    .await?;
    Ok(made.rows_affected())
}

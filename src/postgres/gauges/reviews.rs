//! Orders that wait for a person. Nothing may be due for them, and the orders have no index on their state: they are
//! found through the few events that ask for a person.

use crate::{
    domain::ids::MerchantName,
    flow::ports::StoreError,
    postgres::{PostgresStore, rows, tx::answered},
};
use sqlx::FromRow;

/// The orders of one merchant in review.
#[derive(Debug, Clone, PartialEq)]
pub struct Reviews {
    pub merchant: MerchantName,
    pub count: i64,
    pub rupiah: i64,
    /// Since the oldest came into review.
    pub oldest_seconds: f64,
}

#[derive(FromRow)]
struct ReviewsRow {
    merchant: String,
    count: i64,
    rupiah: i64,
    oldest_seconds: f64,
}

impl PostgresStore {
    /// One for each merchant that has any.
    pub async fn reviews(&self) -> Result<Vec<Reviews>, StoreError> {
        let pool = &self.context.pool;
        let found: Vec<ReviewsRow> = answered!(pool, |c| {
            sqlx::query_as(
            "SELECT o.merchant, count(*) AS count, sum(o.amount)::bigint AS rupiah,
                    greatest(0, extract(epoch FROM jenius_now() - min(o.state_since)))::float8 AS oldest_seconds
             FROM (SELECT DISTINCT order_key FROM events
                   WHERE type IN ('order.review', 'payment.unresolved', 'refund.unresolved')) AS asked
             CROSS JOIN LATERAL (
                 SELECT merchant, amount, state_since FROM orders
                 WHERE order_key = asked.order_key AND state = 'review' OFFSET 0) AS o
             GROUP BY o.merchant",
        )
        .fetch_all(c)
        })?;
        let reviews = |row: ReviewsRow| {
            let ReviewsRow { merchant, count, rupiah, oldest_seconds } = row;
            Ok(Reviews { merchant: rows::merchant(&merchant)?, count, rupiah, oldest_seconds })
        };
        found.into_iter().map(reviews).collect()
    }
}

//! The console's list of orders. A look at all of them takes too long: it walks from the latest back, by key, and reads so
//! many rows at most; then it says how far it came. Open orders are found by what is due, those in review by what asked for a
//! person.

use super::views::{SummaryRow, select_summary};
use crate::{
    domain::{Time, ids::MerchantName, order::OrderState},
    flow::ports::{OrderFilter, OrderPage, StoreError},
    postgres::{operators::listing::list_orders, pool::PgPool, tx::answered},
};
use sqlx::FromRow;
use std::time::Duration;

/// Rows that one page reads.
const READ_MAX: i64 = 10_000;

/// What is walked over, and then what of it is wanted.
macro_rules! walk {
    ($source:literal) => {
        concat!(
            "WITH walked AS MATERIALIZED (",
            $source,
            ") SELECT (SELECT count(*) FROM walked) AS read, (SELECT min(order_key) FROM walked) AS last_key,
                      (SELECT min(created_at) FROM walked) AS last_at,
                      ARRAY(SELECT order_key FROM walked
                            WHERE (cardinality($3::text[]) = 0 OR state = ANY ($3))
                              AND ($4::text IS NULL OR merchant = $4)
                              AND ($5::float8 IS NULL
                                   OR created_at > (SELECT jenius_now()) - make_interval(secs => $5))
                              AND ($6::bigint IS NULL OR amount >= $6) AND ($7::bigint IS NULL OR amount <= $7)
                            ORDER BY order_key DESC LIMIT $8) AS keys"
        )
    };
}

const ALL: &str = walk!(
    "SELECT order_key, merchant, state, amount, created_at FROM orders
     WHERE order_key < $1 ORDER BY order_key DESC LIMIT $2"
);
const OPEN_OR_IN_REVIEW: &str = walk!(
    "SELECT o.* FROM (
         SELECT order_key FROM (
             (SELECT order_key FROM due WHERE order_key < $1 ORDER BY order_key DESC LIMIT $2)
             UNION
             (SELECT order_key FROM events
              WHERE type IN ('order.review', 'payment.unresolved', 'refund.unresolved') AND order_key < $1
              ORDER BY order_key DESC LIMIT $2)) AS both_of_them
         ORDER BY order_key DESC LIMIT $2) AS asked
     CROSS JOIN LATERAL (
         SELECT order_key, merchant, state, amount, created_at FROM orders
         WHERE order_key = asked.order_key OFFSET 0) AS o"
);

#[derive(FromRow)]
struct WalkedRow {
    read: i64,
    last_key: Option<i64>,
    last_at: Option<Time>,
    keys: Vec<i64>,
}

/// The latest orders that are wanted, newest first.
pub async fn walk_orders(pool: &PgPool, filter: &OrderFilter) -> Result<OrderPage, StoreError> {
    if filter.search.is_some() {
        return Ok(OrderPage { orders: list_orders(pool, filter).await?, stopped: None });
    }
    let has_index = |state: &String| {
        OrderState::ALL
            .iter()
            .any(|known| known.name() == state && (known.is_open() || known.review_cause().is_some()))
    };
    let is_few = !filter.states.is_empty() && filter.states.iter().all(has_index);
    let walk = sqlx::query_as(if is_few { OPEN_OR_IN_REVIEW } else { ALL })
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(READ_MAX)
        .bind(&filter.states)
        .bind(filter.merchant.as_ref().map(MerchantName::as_str))
        .bind(filter.younger_than.map(|age: Duration| age.as_secs_f64()))
        .bind(filter.min_amount)
        .bind(filter.max_amount)
        .bind(i64::from(filter.limit));
    let walked: WalkedRow = answered!(pool, |c| walk.fetch_one(c))?;
    let found = sqlx::query_as(select_summary!("WHERE o.order_key = ANY ($1) ORDER BY o.order_key DESC"));
    let rows: Vec<SummaryRow> = answered!(pool, |c| found.bind(&walked.keys).fetch_all(c))?;
    let orders: Vec<_> = rows.into_iter().map(SummaryRow::summary).collect::<Result<_, _>>()?;
    let is_full = orders.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let stopped = walked.last_key.zip(walked.last_at).filter(|_| walked.read == READ_MAX && !is_full);
    Ok(OrderPage { orders, stopped })
}

//! The console's list of orders. A look at all of them takes too long: it walks from the latest back, by key, and reads so
//! many rows at most; then it says how far it came. Open orders are found by what is due, those in review by what asked for a
//! person.

use super::views::select_summary;
use crate::{
    domain::{Time, ids::MerchantName, order::OrderState},
    flow::{
        ports::{OrderFilter, OrderPage, StoppedAt, StoreError},
        view::OrderSummary,
    },
    postgres::{operators::listing::list_orders, pool::PgPool, tx::answered},
};
use chrono::TimeDelta;
use sqlx::FromRow;
use std::time::Duration;

/// Rows that one page reads.
const READ_MAX: i64 = 10_000;
/// The same where each row's events are read for a decline code.
const READ_MAX_BY_CODE: i64 = 2_000;
/// Orders that are claimed at once get keys that lie a little out of the order of time.
const OUT_OF_ORDER_MAX: TimeDelta = TimeDelta::minutes(1);

/// What is walked over, and then what of it is wanted.
macro_rules! walk {
    ($source:literal, $order:literal) => {
        concat!(
            "WITH walked AS MATERIALIZED (",
            $source,
            ") SELECT (SELECT count(*) FROM walked) AS read,
                      (SELECT order_key FROM walked ORDER BY order_key ",
            $order,
            " OFFSET $2 - 1 LIMIT 1) AS last_key,
                      (SELECT created_at FROM walked ORDER BY order_key ",
            $order,
            " OFFSET $2 - 1 LIMIT 1) AS last_at,
                      ARRAY(SELECT order_key FROM walked
                            WHERE (cardinality($3::text[]) = 0 OR state = ANY ($3))
                              AND ($4::text IS NULL OR merchant = $4)
                              AND ($5::float8 IS NULL
                                   OR created_at > (SELECT jenius_now()) - make_interval(secs => $5))
                              AND ($6::bigint IS NULL OR amount >= $6) AND ($7::bigint IS NULL OR amount <= $7)
                              AND ($9::timestamptz IS NULL OR created_at >= $9)
                              AND ($10::timestamptz IS NULL OR created_at < $10)
                              AND ($11::text IS NULL OR EXISTS (
                                  SELECT FROM events e
                                  WHERE e.order_key = walked.order_key
                                    AND e.type IN ('payment.declined', 'refund.declined')
                                    AND convert_from(e.body, 'UTF8')::jsonb #>> '{data,error,code}' = $11))
                            ORDER BY order_key ",
            $order,
            " LIMIT $8) AS keys"
        )
    };
}

const ALL: &str = walk!(
    "SELECT order_key, merchant, state, amount, created_at FROM orders
     WHERE order_key < $1 ORDER BY order_key DESC LIMIT $2",
    "DESC"
);
const ALL_OLDEST_FIRST: &str = walk!(
    "SELECT order_key, merchant, state, amount, created_at FROM orders
     WHERE order_key > $1 ORDER BY order_key LIMIT $2",
    "ASC"
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
         WHERE order_key = asked.order_key OFFSET 0) AS o",
    "DESC"
);
const OPEN_OR_IN_REVIEW_OLDEST_FIRST: &str = walk!(
    "SELECT o.* FROM (
         SELECT order_key FROM (
             (SELECT order_key FROM due WHERE order_key > $1 ORDER BY order_key LIMIT $2)
             UNION
             (SELECT order_key FROM events
              WHERE type IN ('order.review', 'payment.unresolved', 'refund.unresolved') AND order_key > $1
              ORDER BY order_key LIMIT $2)) AS both_of_them
         ORDER BY order_key LIMIT $2) AS asked
     CROSS JOIN LATERAL (
         SELECT order_key, merchant, state, amount, created_at FROM orders
         WHERE order_key = asked.order_key OFFSET 0) AS o",
    "ASC"
);

/// However many others are due: who waits for a person is among these.
const IN_REVIEW: &str = walk!(
    "SELECT o.* FROM (
         SELECT DISTINCT order_key FROM events
         WHERE type IN ('order.review', 'payment.unresolved', 'refund.unresolved') AND order_key < $1
         ORDER BY order_key DESC LIMIT $2) AS asked
     CROSS JOIN LATERAL (
         SELECT order_key, merchant, state, amount, created_at FROM orders
         WHERE order_key = asked.order_key OFFSET 0) AS o",
    "DESC"
);
const IN_REVIEW_OLDEST_FIRST: &str = walk!(
    "SELECT o.* FROM (
         SELECT DISTINCT order_key FROM events
         WHERE type IN ('order.review', 'payment.unresolved', 'refund.unresolved') AND order_key > $1
         ORDER BY order_key LIMIT $2) AS asked
     CROSS JOIN LATERAL (
         SELECT order_key, merchant, state, amount, created_at FROM orders
         WHERE order_key = asked.order_key OFFSET 0) AS o",
    "ASC"
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
        return list_orders(pool, filter).await;
    }
    let has_index = |state: &String| {
        OrderState::ALL
            .iter()
            .any(|known| known.name() == state && (known.is_open() || known.review_cause().is_some()))
    };
    let is_few = !filter.states.is_empty() && filter.states.iter().all(has_index);
    let is_review = !filter.states.is_empty() && filter.states.iter().all(|state| state == "review");
    let sql = match (is_review, is_few, filter.oldest_first) {
        (true, _, false) => IN_REVIEW,
        (true, _, true) => IN_REVIEW_OLDEST_FIRST,
        (false, true, false) => OPEN_OR_IN_REVIEW,
        (false, true, true) => OPEN_OR_IN_REVIEW_OLDEST_FIRST,
        (false, false, false) => ALL,
        (false, false, true) => ALL_OLDEST_FIRST,
    };
    let read_max = if filter.declined.is_some() { READ_MAX_BY_CODE } else { READ_MAX };
    let walk = sqlx::query_as(sql)
        .bind(start(pool, filter).await?)
        .bind(read_max)
        .bind(&filter.states)
        .bind(filter.merchant.as_ref().map(MerchantName::as_str))
        .bind(filter.younger_than.map(|age: Duration| age.as_secs_f64()))
        .bind(filter.min_amount)
        .bind(filter.max_amount)
        .bind(i64::from(filter.limit))
        .bind(filter.created_from)
        .bind(filter.created_until)
        .bind(filter.declined.as_deref());
    let walked: WalkedRow = answered!(pool, |c| walk.fetch_one(c))?;
    let found = sqlx::query_as(select_summary!("WHERE o.order_key = ANY ($1) ORDER BY o.order_key DESC"));
    let mut orders: Vec<OrderSummary> = answered!(pool, |c| found.bind(&walked.keys).fetch_all(c))?;
    if filter.oldest_first {
        orders.reverse();
    }
    let is_full = orders.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let last = walked.last_key.zip(walked.last_at).filter(|_| walked.read == read_max && !is_full);
    let is_past = |at: Time| {
        let edge = if filter.oldest_first { filter.created_until } else { filter.created_from };
        edge.is_some_and(|edge| if filter.oldest_first { at > edge } else { at < edge })
    };
    let stopped = last.filter(|(_, at)| !is_past(*at));
    let stopped = stopped.map(|(key, at)| StoppedAt { key, at, read: walked.read });
    Ok(OrderPage { orders, stopped, is_search_cut: false })
}

/// The key behind which the walk begins.
async fn start(pool: &PgPool, filter: &OrderFilter) -> Result<i64, StoreError> {
    match (filter.before, filter.oldest_first) {
        (Some(last), _) => Ok(last),
        (None, false) => match filter.created_until {
            Some(until) => key_at(pool, until + OUT_OF_ORDER_MAX).await,
            None => Ok(i64::MAX),
        },
        (None, true) => match filter.created_from {
            Some(from) => Ok(key_at(pool, from - OUT_OF_ORDER_MAX).await? - 1),
            None => Ok(i64::MIN),
        },
    }
}

/// The first key of this time or later. No index has the time, but keys grow with it: some twenty looks find it.
async fn key_at(pool: &PgPool, at: Time) -> Result<i64, StoreError> {
    let (first, last): (Option<i64>, Option<i64>) = answered!(pool, |c| sqlx::query_as(
        "SELECT (SELECT order_key FROM orders WHERE order_key > $1 ORDER BY order_key LIMIT 1),
                (SELECT order_key FROM orders WHERE order_key < $2 ORDER BY order_key DESC LIMIT 1)"
    )
    .bind(i64::MIN)
    .bind(i64::MAX)
    .fetch_one(c))?;
    let (mut low, mut high) = (first.unwrap_or(0), last.unwrap_or(0) + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let next: Option<(i64, Time)> = answered!(pool, |c| sqlx::query_as(
            "SELECT order_key, created_at FROM orders WHERE order_key >= $1 ORDER BY order_key LIMIT 1"
        )
        .bind(middle)
        .fetch_optional(c))?;
        match next {
            Some((key, created)) if created < at => low = key + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

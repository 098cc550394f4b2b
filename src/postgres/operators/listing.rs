//! Which orders an operator wants to see (`orders list`), and finding them by what a person has in hand: the beginning of an
//! invoice number, a command's id, a Request-Id, an event's id. Each way has an index; none reads all orders.

use super::views::select_summary;
use crate::{
    domain::ids::MerchantName,
    flow::{
        ports::{FOUND_MAX, OrderFilter, OrderPage, StoreError},
        view::OrderSummary,
    },
    postgres::{pool::PgPool, tx::answered},
};
use std::time::Duration;
use uuid::Uuid;

/// Two statements: in one that may be given keys or not, the server would not look them up.
macro_rules! wanted {
    ($which:literal) => {
        concat!(
            "WHERE ",
            $which,
            " AND (cardinality($1::text[]) = 0 OR o.state = ANY ($1)) AND ($2::text IS NULL OR o.merchant = $2)
              AND ($3::float8 IS NULL OR o.created_at <= (SELECT jenius_now()) - make_interval(secs => $3))
              AND ($4::float8 IS NULL OR o.created_at > (SELECT jenius_now()) - make_interval(secs => $4))
              AND ($5::bigint IS NULL OR o.amount >= $5) AND ($6::bigint IS NULL OR o.amount <= $6)
              AND o.order_key < $7
              ORDER BY o.order_key DESC LIMIT $8"
        )
    };
}

const OF_ALL: &str = select_summary!(wanted!("true"));
const OF_FOUND: &str = select_summary!(wanted!("o.order_key = ANY ($9)"));

/// The latest orders, newest first.
pub async fn list_orders(pool: &PgPool, filter: &OrderFilter) -> Result<OrderPage, StoreError> {
    let mut found = match &filter.search {
        Some(search) => Some(find_keys(pool, search).await?),
        None => None,
    };
    let is_search_cut = found.as_ref().is_some_and(|keys| keys.len() > FOUND_MAX);
    found.iter_mut().for_each(|keys| keys.truncate(FOUND_MAX));
    let seconds = |age: Option<Duration>| age.map(|age| age.as_secs_f64());
    let query = sqlx::query_as(if found.is_some() { OF_FOUND } else { OF_ALL })
        .bind(&filter.states)
        .bind(filter.merchant.as_ref().map(MerchantName::as_str))
        .bind(seconds(filter.older_than))
        .bind(seconds(filter.younger_than))
        .bind(filter.min_amount)
        .bind(filter.max_amount)
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(i64::from(filter.limit));
    let query = match found {
        Some(keys) => query.bind(keys),
        None => query,
    };
    let orders: Vec<OrderSummary> = answered!(pool, |c| query.fetch_all(c))?;
    Ok(OrderPage { orders, stopped: None, is_search_cut })
}

/// The keys of the orders that a text names. A command's id is unique for each source: sources are few, and found one
/// after another by their index. An invoice number has no character behind `~`. Of a beginning, those with the last numbers;
/// one more than are looked at says that there are more.
async fn find_keys(pool: &PgPool, search: &str) -> Result<Vec<i64>, StoreError> {
    let keys = answered!(pool, |c| {
        sqlx::query_scalar(
        "WITH RECURSIVE sources AS (
             (SELECT source FROM commands ORDER BY source LIMIT 1)
             UNION ALL
             SELECT (SELECT c.source FROM commands c WHERE c.source > s.source ORDER BY c.source LIMIT 1)
             FROM sources s WHERE s.source IS NOT NULL),
         named AS (
             SELECT c.merchant, c.invoice_number FROM sources s JOIN commands c ON c.source = s.source AND c.id = $1
             WHERE c.outcome IS DISTINCT FROM 'rejected'
             UNION
             SELECT merchant, invoice_number FROM commands WHERE kind = 'refund' AND request_id = $1)
         SELECT order_key FROM (
             (SELECT order_key FROM orders WHERE invoice_number >= $1 AND invoice_number < ($1 || chr(127))
              ORDER BY invoice_number DESC LIMIT $3)
             UNION
             SELECT o.order_key FROM named JOIN orders o USING (merchant, invoice_number)
             UNION
             SELECT order_key FROM events WHERE event_id = $2 AND order_key IS NOT NULL) AS all_of_them
         ORDER BY order_key DESC LIMIT $3",
    )
    .bind(search)
    .bind(Uuid::try_parse(search).ok())
    .bind(i64::try_from(FOUND_MAX + 1).unwrap_or(i64::MAX))
    .fetch_all(c)
    })?;
    Ok(keys)
}

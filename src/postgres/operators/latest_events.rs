//! The console's list of events, the latest first. Ids are UUIDv7, which lie in the order of time: it walks back by id, reads
//! so many rows at most, and says how far it came. Ids of settled rows lie in no order, and these have a list of their own.

use super::{replay::first_id, settled_events::settled_events};
use crate::{
    domain::{Time, event::EventType, ids::MerchantName},
    flow::ports::{EventFilter, EventPage, EventView, StoreError},
    postgres::{pool::PgPool, tx::answered},
};
use sqlx::FromRow;
use std::time::Duration;
use uuid::Uuid;

/// Rows that one page reads.
pub(super) const READ_MAX: i64 = 10_000;

/// The rows that are walked, then those of them that are wanted, then what is shown of these. A rejection has no order: its
/// body says what it is about. That is found as we write it, without being read as JSON: a sender's text in it may hold what no
/// text of the database may, and in a text of JSON a quotation mark is never alone.
macro_rules! latest {
    ($source:literal) => {
        concat!(
            "WITH walked AS MATERIALIZED (",
            $source,
            "), wanted AS MATERIALIZED (
                SELECT * FROM walked
                WHERE ($3::text IS NULL OR type = $3)
                  AND ($4::float8 IS NULL OR created_at > (SELECT jenius_now()) - make_interval(secs => $4))
                  AND ($5::text IS NULL
                       OR EXISTS (
                           SELECT FROM orders o WHERE o.order_key = walked.order_key AND o.merchant = $5)
                       OR walked.order_key IS NULL AND EXISTS (
                           SELECT FROM events e
                           WHERE e.event_id = walked.event_id
                             AND position(convert_to('\"data\":{\"merchant\":\"' || $5 || '\"', 'UTF8') IN e.body) > 0))
                ORDER BY event_id DESC LIMIT $6)
            SELECT w.event_id, w.type, w.version, w.created_at, p.published_at, o.merchant, o.invoice_number,
                   CASE WHEN w.order_key IS NULL THEN (
                       SELECT convert_from(e.body, 'UTF8') FROM events e WHERE e.event_id = w.event_id) END AS body
            FROM wanted w
            LEFT JOIN LATERAL (SELECT merchant, invoice_number FROM orders
                               WHERE order_key = w.order_key OFFSET 0) AS o ON true
            LEFT JOIN LATERAL (SELECT published_at FROM publications
                               WHERE event_id = w.event_id OFFSET 0) AS p ON true
            ORDER BY w.event_id DESC"
        )
    };
}

pub(in crate::postgres) const ALL: &str = latest!(
    "SELECT event_id, order_key, version, type, created_at FROM events
     WHERE event_id < $1 AND type <> 'settlement.matched' ORDER BY event_id DESC LIMIT $2"
);
pub(in crate::postgres) const OF_ORDER: &str = latest!(
    "SELECT event_id, order_key, version, type, created_at FROM events
     WHERE order_key = (SELECT order_key FROM orders WHERE merchant = $7 AND invoice_number = $8)
       AND event_id < $1 ORDER BY version DESC LIMIT $2"
);

#[derive(FromRow)]
struct EventRow {
    event_id: Uuid,
    #[sqlx(rename = "type")]
    event_type: String,
    version: Option<i32>,
    created_at: Time,
    published_at: Option<Time>,
    merchant: Option<String>,
    invoice_number: Option<String>,
    body: Option<String>,
}

impl EventRow {
    fn view(self) -> EventView {
        let body = self.body.and_then(|body| serde_json::from_str::<serde_json::Value>(&body).ok());
        let of = |pointer: &str| Some(body.as_ref()?.pointer(pointer)?.as_str()?.to_owned());
        EventView {
            event_id: self.event_id,
            event_type: self.event_type,
            merchant: self.merchant.or_else(|| of("/data/merchant")),
            invoice_number: self.invoice_number.or_else(|| of("/data/invoice_number")),
            version: self.version,
            at: self.created_at,
            published_at: self.published_at,
        }
    }
}

/// The latest events that are wanted, newest first.
pub async fn latest_events(pool: &PgPool, filter: &EventFilter) -> Result<EventPage, StoreError> {
    if filter.event_type == Some(EventType::SettlementMatched) {
        return settled_events(pool, filter).await;
    }
    let before = match filter.before {
        Some(before) => before,
        None => soon(pool).await?,
    };
    let query = sqlx::query_as(if filter.order.is_some() { OF_ORDER } else { ALL })
        .bind(before)
        .bind(READ_MAX)
        .bind(filter.event_type.map(EventType::routing_key))
        .bind(filter.younger_than.map(|age: Duration| age.as_secs_f64()))
        .bind(filter.merchant.as_ref().map(MerchantName::as_str))
        .bind(i64::from(filter.limit));
    let query = match &filter.order {
        None => query,
        Some((merchant, invoice)) => query.bind(merchant.as_str()).bind(invoice.as_str()),
    };
    let rows: Vec<EventRow> = answered!(pool, |c| query.fetch_all(c))?;
    let events: Vec<EventView> = rows.into_iter().map(EventRow::view).collect();
    let is_full = events.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let stopped = if is_full || filter.order.is_some() { None } else { stop(pool, before, filter).await? };
    Ok(EventPage { events, stopped })
}

/// No event that has its time in its id has a later one: above it lie settled rows' alone.
async fn soon(pool: &PgPool) -> Result<Uuid, StoreError> {
    let tomorrow =
        answered!(pool, |c| sqlx::query_scalar("SELECT jenius_now() + interval '1 day'").fetch_one(c))?;
    Ok(first_id(tomorrow))
}

/// The last row that a page reads, if there are so many, and if it is not past the time that is asked for.
async fn stop(pool: &PgPool, before: Uuid, filter: &EventFilter) -> Result<Option<(Uuid, Time)>, StoreError> {
    let last: Option<(Uuid, Time)> = answered!(pool, |c| {
        sqlx::query_as(
            "SELECT event_id, created_at FROM (
             SELECT event_id, created_at FROM events WHERE event_id < $1 AND type <> 'settlement.matched'
             ORDER BY event_id DESC OFFSET $2 LIMIT 1
         ) AS last
         WHERE $3::float8 IS NULL OR created_at > (SELECT jenius_now()) - make_interval(secs => $3)",
        )
        .bind(before)
        .bind(READ_MAX - 1)
        .bind(filter.younger_than.map(|age| age.as_secs_f64()))
        .fetch_optional(c)
    })?;
    Ok(last)
}

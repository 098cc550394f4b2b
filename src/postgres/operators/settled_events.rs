//! The console's list of events of settled rows. Their ids are made of what the rows say and lie in no order of time: it
//! walks back by the rows' keys, which follow the files.

use super::latest_events::READ_MAX;
use crate::{
    domain::{Time, event::EventType, ids::MerchantName},
    flow::ports::{EventFilter, EventPage, EventView, StoreError},
    postgres::{pool::PgPool, tx::answered},
};
use sqlx::FromRow;
use std::time::Duration;
use uuid::Uuid;

/// The rows that are walked, then those of them that have an event which is wanted.
macro_rules! settled {
    ($which:literal) => {
        concat!(
            "WITH walked AS MATERIALIZED (
                SELECT key, id, merchant, invoice_number FROM settlement_rows
                WHERE key < $1 AND number = 1 ",
            $which,
            " ORDER BY key DESC LIMIT $2)
             SELECT w.key, w.id, w.merchant, w.invoice_number, e.created_at, p.published_at
             FROM walked w
             JOIN LATERAL (SELECT created_at FROM events WHERE event_id = w.id OFFSET 0) AS e ON true
             LEFT JOIN LATERAL (SELECT published_at FROM publications WHERE event_id = w.id OFFSET 0) AS p ON true
             WHERE ($3::text IS NULL OR w.merchant = $3)
               AND ($4::float8 IS NULL OR e.created_at > (SELECT jenius_now()) - make_interval(secs => $4))
             ORDER BY w.key DESC LIMIT $5"
        )
    };
}

pub(in crate::postgres) const SETTLED: &str = settled!("");
pub(in crate::postgres) const SETTLED_OF_ORDER: &str = settled!("AND merchant = $3 AND invoice_number = $6");

#[derive(FromRow)]
struct SettledRow {
    id: Uuid,
    merchant: String,
    invoice_number: String,
    created_at: Time,
    published_at: Option<Time>,
}

impl SettledRow {
    fn view(self) -> EventView {
        EventView {
            event_id: self.id,
            event_type: EventType::SettlementMatched.routing_key().to_owned(),
            merchant: Some(self.merchant),
            invoice_number: Some(self.invoice_number),
            version: None,
            at: self.created_at,
            published_at: self.published_at,
        }
    }
}

/// The latest rows' events that are wanted.
pub(super) async fn settled_events(pool: &PgPool, filter: &EventFilter) -> Result<EventPage, StoreError> {
    let before = match filter.before {
        Some(id) => key_of(pool, id).await?,
        None => i64::MAX,
    };
    let of_order = filter.order.as_ref();
    let merchant = of_order.map(|(merchant, _)| merchant).or(filter.merchant.as_ref());
    let query = sqlx::query_as(if of_order.is_some() { SETTLED_OF_ORDER } else { SETTLED })
        .bind(before)
        .bind(READ_MAX)
        .bind(merchant.map(MerchantName::as_str))
        .bind(filter.younger_than.map(|age: Duration| age.as_secs_f64()))
        .bind(i64::from(filter.limit));
    let query = match of_order {
        Some((_, invoice)) => query.bind(invoice.as_str()),
        None => query,
    };
    let rows: Vec<SettledRow> = answered!(pool, |c| query.fetch_all(c))?;
    let events: Vec<EventView> = rows.into_iter().map(SettledRow::view).collect();
    let is_full = events.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let stopped = if is_full || of_order.is_some() { None } else { stop(pool, before).await? };
    Ok(EventPage { events, stopped })
}

/// The last row that a page reads, if there are so many. It may have no event: its key stands for one.
async fn stop(pool: &PgPool, before: i64) -> Result<Option<(Uuid, Time)>, StoreError> {
    let last: Option<(i64, Time)> = answered!(pool, |c| sqlx::query_as(
        "SELECT key, seen_at FROM settlement_rows WHERE key < $1 AND number = 1
         ORDER BY key DESC OFFSET $2 LIMIT 1"
    )
    .bind(before)
    .bind(READ_MAX - 1)
    .fetch_optional(c))?;
    Ok(last.map(|(key, seen_at)| (Uuid::from_u128(u128::from(key.unsigned_abs())), seen_at)))
}

/// The key of an event's row; 0, before all of them, where there is none.
async fn key_of(pool: &PgPool, id: Uuid) -> Result<i64, StoreError> {
    if let Ok(key) = i64::try_from(id.as_u128()) {
        return Ok(key);
    }
    let key: Option<i64> = answered!(pool, |c| sqlx::query_scalar(
        "SELECT min(r.key) FROM events e
         JOIN settlement_rows r ON r.id = e.event_id
          AND r.invoice_number = convert_from(e.body, 'UTF8')::jsonb #>> '{data,invoice_number}'
         WHERE e.event_id = $1 AND e.type = $2"
    )
    .bind(id)
    .bind(EventType::SettlementMatched.routing_key())
    .fetch_one(c))?;
    Ok(key.unwrap_or(0))
}

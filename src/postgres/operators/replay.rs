//! Events that are published again, for a subscriber that lost its queue: rows of their own in the outbox,
//! with the same event and its id, that hold no order back. Only what was published before: what was not is
//! in the outbox already, and has its turn.
//!
//! A long time is walked in slices of event ids, which are UUIDv7 and so lie in the order of time. A slice
//! ends between two milliseconds: within one, ids are in no order.

use crate::postgres::{
    PostgresStore,
    error::store_error,
    tx::answered,
    wake::{self, OUTBOX},
};
use crate::{
    domain::{
        Time,
        event::EventType,
        ids::{InvoiceNumber, MerchantName},
    },
    flow::ports::StoreError,
};
use sqlx::{Postgres, Row, postgres::PgArguments, query::Query};
use uuid::Uuid;

/// Where the random part of a UUIDv7 ends, from the right.
const RANDOM_BITS: u32 = 80;

/// Which events.
#[derive(Debug, Clone, Copy)]
pub enum Replayed {
    Order {
        order_key: i64,
    },
    /// Committed from `since` on, and before `until`.
    Time {
        since: Time,
        until: Time,
    },
}

/// A part of them that one statement takes.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    of: Replayed,
    from: Uuid,
    /// Not in it.
    to: Uuid,
}

/// What became of a slice: the rows of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutBack {
    pub count: i64,
    first: i64,
    last: i64,
}

macro_rules! count {
    ($which:literal) => {
        concat!(
            "SELECT count(*) FROM events e JOIN publications p USING (event_id)
             WHERE ($1::text IS NULL OR e.type = $1) AND ",
            $which
        )
    };
}

macro_rules! put_back {
    ($which:literal) => {
        concat!(
            "WITH again AS (
                 INSERT INTO outbox (event_id)
                 SELECT e.event_id FROM events e JOIN publications p USING (event_id)
                 WHERE ($1::text IS NULL OR e.type = $1) AND ",
            $which,
            " ORDER BY e.created_at, e.order_key, e.version
                 RETURNING sequence)
             SELECT count(*), coalesce(min(sequence), 0) AS first, coalesce(max(sequence), 0) AS last
             FROM again"
        )
    };
}

const COUNT_OF_ORDER: &str = count!("e.order_key = $2");
const COUNT_OF_TIME: &str =
    count!("e.event_id >= $2 AND e.event_id < $3 AND e.created_at >= $4 AND e.created_at < $5");
const PUT_BACK_ORDER: &str = put_back!("e.order_key = $2");
const PUT_BACK_TIME: &str =
    put_back!("e.event_id >= $2 AND e.event_id < $3 AND e.created_at >= $4 AND e.created_at < $5");

impl PostgresStore {
    /// `None` if there is no such order.
    pub async fn order_to_replay(
        &self,
        merchant: &MerchantName,
        invoice_number: &InvoiceNumber,
    ) -> Result<Option<Replayed>, StoreError> {
        let found: Option<i64> = answered!(&self.context.pool, |c| sqlx::query_scalar(
            "SELECT order_key FROM orders WHERE merchant = $1 AND invoice_number = $2",
        )
        .bind(merchant.as_str())
        .bind(invoice_number.as_str())
        .fetch_optional(c))?;
        Ok(found.map(|order_key| Replayed::Order { order_key }))
    }

    /// The database's clock, which gave events their times.
    pub async fn now(&self) -> Result<Time, StoreError> {
        answered!(&self.context.pool, |c| sqlx::query_scalar("SELECT jenius_now()").fetch_one(c))
    }

    /// The slice after one, of about this many events of any type; `None` after the last.
    pub async fn next_slice(
        &self,
        of: Replayed,
        after: Option<Slice>,
        events: u32,
    ) -> Result<Option<Slice>, StoreError> {
        let (start, end) = match of {
            Replayed::Order { .. } => (Uuid::nil(), Uuid::max()),
            Replayed::Time { since, until } => (first_id(since), next_millisecond(first_id(until))),
        };
        let from = after.map_or(start, |slice| slice.to);
        if from >= end {
            return Ok(None);
        }
        let to = match of {
            Replayed::Order { .. } => end,
            Replayed::Time { .. } => self.cut(from, end, events).await?,
        };
        Ok(Some(Slice { of, from, to }))
    }

    /// Before the millisecond of the first event that is too many, unless that is the first one too.
    async fn cut(&self, from: Uuid, end: Uuid, events: u32) -> Result<Uuid, StoreError> {
        let too_many: Option<Uuid> = answered!(&self.context.pool, |c| sqlx::query_scalar(
            "SELECT event_id FROM events WHERE event_id >= $1 AND event_id < $2
             ORDER BY event_id OFFSET $3 LIMIT 1",
        )
        .bind(from)
        .bind(end)
        .bind(i64::from(events))
        .fetch_optional(c))?;
        Ok(too_many.map_or(end, |id| {
            let before = millisecond(id);
            if before > from { before } else { next_millisecond(before) }
        }))
    }

    /// How many of a slice would be published again.
    pub async fn count_published(
        &self,
        slice: Slice,
        event_type: Option<EventType>,
    ) -> Result<i64, StoreError> {
        let sql = match slice.of {
            Replayed::Order { .. } => COUNT_OF_ORDER,
            Replayed::Time { .. } => COUNT_OF_TIME,
        };
        let row = answered!(&self.context.pool, |c| slice.bind(sql, event_type).fetch_one(c))?;
        row.try_get("count").map_err(|e| store_error(&e))
    }

    /// Puts a slice into the outbox again, in the order of its commits.
    pub async fn put_back(&self, slice: Slice, event_type: Option<EventType>) -> Result<PutBack, StoreError> {
        let sql = match slice.of {
            Replayed::Order { .. } => PUT_BACK_ORDER,
            Replayed::Time { .. } => PUT_BACK_TIME,
        };
        let row = answered!(&self.context.pool, |c| slice.bind(sql, event_type).fetch_one(c))?;
        let number = |column: &str| row.try_get::<i64, _>(column).map_err(|e| store_error(&e));
        let done = PutBack { count: number("count")?, first: number("first")?, last: number("last")? };
        // It looks every second too, and what is committed must not look as if it were not.
        let _ = wake::tell(&self.context.pool, OUTBOX).await;
        Ok(done)
    }

    /// How much of what was put back is not published yet.
    pub async fn left_of(&self, put: PutBack) -> Result<i64, StoreError> {
        answered!(&self.context.pool, |c| sqlx::query_scalar(
            "SELECT count(*) FROM outbox WHERE sequence BETWEEN $1 AND $2",
        )
        .bind(put.first)
        .bind(put.last)
        .fetch_one(c))
    }
}

impl Slice {
    /// Where it begins: a replay that ended before it goes on from here.
    pub fn since(&self) -> Time {
        let milliseconds = i64::try_from(self.from.as_u128() >> RANDOM_BITS).unwrap_or_default();
        Time::from_timestamp_millis(milliseconds).unwrap_or_default()
    }

    fn bind(self, sql: &'static str, event_type: Option<EventType>) -> Query<'static, Postgres, PgArguments> {
        let query = sqlx::query(sql).bind(event_type.map(EventType::routing_key));
        match self.of {
            Replayed::Order { order_key } => query.bind(order_key),
            Replayed::Time { since, until } => query.bind(self.from).bind(self.to).bind(since).bind(until),
        }
    }
}

/// No event of this time has a smaller id.
fn first_id(at: Time) -> Uuid {
    let milliseconds = u128::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(milliseconds << RANDOM_BITS)
}

fn millisecond(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128() >> RANDOM_BITS << RANDOM_BITS)
}

fn next_millisecond(id: Uuid) -> Uuid {
    Uuid::from_u128(millisecond(id).as_u128().saturating_add(1 << RANDOM_BITS))
}

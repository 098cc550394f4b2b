//! Events that are published again, for a subscriber that lost its queue: rows of their own in the outbox,
//! with the same event and its id, that hold no order back. Only what was published before: what was not is
//! in the outbox already, and has its turn.
//!
//! A long time is walked in slices of event ids, which are UUIDv7 and so lie in the order of time. A slice
//! ends between two milliseconds: within one, ids are in no order. Ids of settled rows lie in no order at all: after the
//! others these are walked by the keys of their rows.

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
    part: SlicePart,
}

/// From its first on, and before its last.
#[derive(Debug, Clone, Copy)]
enum SlicePart {
    All,
    Ids(Uuid, Uuid),
    /// Keys of settled rows.
    Rows(i64, i64),
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

macro_rules! of_order {
    ($statement:ident) => {
        $statement!(
            "e.event_id IN (
                 SELECT event_id FROM events WHERE order_key = $2
                 UNION ALL
                 SELECT r.id FROM orders o
                 JOIN settlement_rows r ON r.merchant = o.merchant AND r.invoice_number = o.invoice_number
                 WHERE o.order_key = $2)"
        )
    };
}

macro_rules! of_ids {
    ($statement:ident) => {
        $statement!(
            "e.event_id >= $2 AND e.event_id < $3 AND e.created_at >= $4 AND e.created_at < $5
             AND e.type <> 'settlement.matched'"
        )
    };
}

macro_rules! of_rows {
    ($statement:ident) => {
        $statement!(
            "e.event_id IN (SELECT id FROM settlement_rows WHERE key >= $2 AND key < $3)
             AND e.created_at >= $4 AND e.created_at < $5"
        )
    };
}

const COUNT_OF_ORDER: &str = of_order!(count);
const COUNT_OF_IDS: &str = of_ids!(count);
const COUNT_OF_ROWS: &str = of_rows!(count);
const PUT_BACK_ORDER: &str = of_order!(put_back);
const PUT_BACK_IDS: &str = of_ids!(put_back);
const PUT_BACK_ROWS: &str = of_rows!(put_back);

/// Rows that one slice walks, however few of them have an event that is wanted.
const ROWS_MAX: i64 = 20_000;

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

    /// The slice after one, of about this many events; `None` after the last.
    pub async fn next_slice(
        &self,
        of: Replayed,
        event_type: Option<EventType>,
        after: Option<Slice>,
        events: u32,
    ) -> Result<Option<Slice>, StoreError> {
        let Replayed::Time { since, until } = of else {
            return Ok(after.is_none().then_some(Slice { of, part: SlicePart::All }));
        };
        let end = next_millisecond(first_id(until));
        let are_settled = event_type == Some(EventType::SettlementMatched);
        let from = match after.map(|slice| slice.part) {
            Some(SlicePart::Rows(_, to)) => return self.next_rows(of, to, events).await,
            Some(SlicePart::Ids(_, to)) => to,
            Some(SlicePart::All) | None if are_settled => end,
            Some(SlicePart::All) | None => first_id(since),
        };
        if from < end {
            let to = self.cut(from, end, events).await?;
            return Ok(Some(Slice { of, part: SlicePart::Ids(from, to) }));
        }
        if event_type.is_some() && !are_settled {
            return Ok(None);
        }
        self.next_rows(of, 0, events).await
    }

    async fn next_rows(&self, of: Replayed, from: i64, events: u32) -> Result<Option<Slice>, StoreError> {
        let Replayed::Time { since, until } = of else { return Ok(None) };
        let (first, too_many): (Option<i64>, Option<i64>) =
            answered!(&self.context.pool, |c| sqlx::query_as(
                "WITH first AS MATERIALIZED (SELECT min(key) AS key FROM settlement_rows WHERE key >= $1)
             SELECT (SELECT key FROM first), (
                 SELECT r.key FROM settlement_rows r
                 JOIN LATERAL (SELECT created_at FROM events WHERE event_id = r.id OFFSET 0) AS e ON true
                 WHERE r.key >= (SELECT key FROM first) AND r.key < (SELECT key FROM first) + $2
                   AND e.created_at >= $3 AND e.created_at < $4
                 ORDER BY r.key OFFSET $5 LIMIT 1)",
            )
            .bind(from)
            .bind(ROWS_MAX)
            .bind(since)
            .bind(until)
            .bind(i64::from(events))
            .fetch_one(c))?;
        let part =
            first.map(|first| SlicePart::Rows(first, too_many.unwrap_or(first.saturating_add(ROWS_MAX))));
        Ok(part.map(|part| Slice { of, part }))
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
        let sql = match slice.part {
            SlicePart::All => COUNT_OF_ORDER,
            SlicePart::Ids(..) => COUNT_OF_IDS,
            SlicePart::Rows(..) => COUNT_OF_ROWS,
        };
        let row = answered!(&self.context.pool, |c| slice.bind(sql, event_type).fetch_one(c))?;
        row.try_get("count").map_err(|e| store_error(&e))
    }

    /// Puts a slice into the outbox again, in the order of its commits.
    pub async fn put_back(&self, slice: Slice, event_type: Option<EventType>) -> Result<PutBack, StoreError> {
        let sql = match slice.part {
            SlicePart::All => PUT_BACK_ORDER,
            SlicePart::Ids(..) => PUT_BACK_IDS,
            SlicePart::Rows(..) => PUT_BACK_ROWS,
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
        match (self.part, self.of) {
            (SlicePart::Ids(from, _), _) => {
                let milliseconds = i64::try_from(from.as_u128() >> RANDOM_BITS).unwrap_or_default();
                Time::from_timestamp_millis(milliseconds).unwrap_or_default()
            }
            (SlicePart::Rows(..), Replayed::Time { since, .. }) => since,
            (SlicePart::All | SlicePart::Rows(..), _) => Time::default(),
        }
    }

    fn bind(self, sql: &'static str, event_type: Option<EventType>) -> Query<'static, Postgres, PgArguments> {
        let query = sqlx::query(sql).bind(event_type.map(EventType::routing_key));
        let query = match self.part {
            SlicePart::All => query,
            SlicePart::Ids(from, to) => query.bind(from).bind(to),
            SlicePart::Rows(from, to) => query.bind(from).bind(to),
        };
        match self.of {
            Replayed::Order { order_key } => query.bind(order_key),
            Replayed::Time { since, until } => query.bind(since).bind(until),
        }
    }
}

/// No event of this time has a smaller id.
pub(super) fn first_id(at: Time) -> Uuid {
    let milliseconds = u128::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(milliseconds << RANDOM_BITS)
}

fn millisecond(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128() >> RANDOM_BITS << RANDOM_BITS)
}

fn next_millisecond(id: Uuid) -> Uuid {
    Uuid::from_u128(millisecond(id).as_u128().saturating_add(1 << RANDOM_BITS))
}

//! Figures about everything at once, for `/metrics` and `/readyz`. What is open is counted through `due`,
//! so that old orders cost nothing.

use super::{PostgresStore, pool::PgPool, tx::answered};
use crate::{
    domain::{ids::MerchantName, order::OrderState},
    flow::ports::StoreError,
};
use sqlx::FromRow;

/// What there is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauges {
    /// One for each merchant and open state that has orders.
    pub open_orders: Vec<OpenOrders>,
    pub outbox_events: i64,
    /// 0 where the outbox is empty.
    pub outbox_oldest_seconds: f64,
    /// Above some thousands as many as the server believes.
    pub parked_notifications: i64,
    /// Due orders with a command that was made for an account or host that is not configured.
    pub stranded_orders: i64,
    pub due_sends: Vec<DueSends>,
}

/// The sends of one merchant that are due now and have not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct DueSends {
    pub merchant: MerchantName,
    pub is_stranded: bool,
    pub count: i64,
    pub oldest_seconds: f64,
}

/// The orders of one merchant in one open state.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenOrders {
    pub merchant: MerchantName,
    pub state: OrderState,
    pub count: i64,
    pub rupiah: i64,
    /// Since it became this state.
    pub oldest_seconds: f64,
    pub in_doubt: InDoubt,
}

/// Commands in doubt: it is not known whether DOKU acted. Of orders that are `submitting` or `refunding`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InDoubt {
    pub count: i64,
    /// Since the claim.
    pub oldest_seconds: f64,
}

#[derive(FromRow)]
struct OpenRow {
    merchant: String,
    state: String,
    count: i64,
    rupiah: i64,
    oldest_seconds: f64,
    in_doubt: i64,
    in_doubt_oldest_seconds: f64,
}

/// Parked rows are counted up to this number.
const COUNTED_MAX: i64 = 10_000;

#[derive(FromRow)]
struct CountRow {
    outbox_events: i64,
    outbox_oldest_seconds: f64,
    parked: i64,
    stranded: i64,
}

impl PostgresStore {
    /// Counts what is open, waiting, parked and stranded.
    pub async fn gauges(&self) -> Result<Gauges, StoreError> {
        let pool = &self.context.pool;
        let open = open_orders(pool).await?;
        let due_sends = due_sends(pool).await?;
        let counts: CountRow = answered!(pool, |c| {
            sqlx::query_as(
            "SELECT (SELECT count(*) FROM outbox) AS outbox_events,
                    coalesce((SELECT extract(epoch FROM jenius_now() - created_at)::float8
                              FROM outbox ORDER BY sequence LIMIT 1), 0) AS outbox_oldest_seconds,
                    (SELECT count(*) FROM (SELECT FROM notifications WHERE order_key IS NULL LIMIT $1) few) AS parked,
                    (SELECT count(*) FROM due WHERE stranded_at IS NOT NULL) AS stranded",
        )
        .bind(COUNTED_MAX)
        .fetch_one(c)
        })?;
        let parked = if counts.parked < COUNTED_MAX { counts.parked } else { many_parked(pool).await? };
        Ok(Gauges {
            open_orders: open,
            outbox_events: counts.outbox_events,
            outbox_oldest_seconds: counts.outbox_oldest_seconds.max(0.0),
            parked_notifications: parked,
            stranded_orders: counts.stranded,
            due_sends,
        })
    }
}

/// The magnitude of a flood is enough: what autovacuum found last.
async fn many_parked(pool: &PgPool) -> Result<i64, StoreError> {
    answered!(pool, |c| sqlx::query_scalar(
        "SELECT greatest($1, reltuples::bigint) FROM pg_class WHERE oid = 'notifications_parked'::regclass"
    )
    .bind(COUNTED_MAX)
    .fetch_one(c))
}

/// OFFSET 0 makes each look for an order one into the index, and for a command only where one is open.
async fn open_orders(pool: &PgPool) -> Result<Vec<OpenOrders>, StoreError> {
    let rows: Vec<OpenRow> = answered!(pool, |c| sqlx::query_as(
        "SELECT o.merchant, o.state, count(*) AS count, sum(o.amount)::bigint AS rupiah,
                greatest(0, extract(epoch FROM jenius_now() - min(o.state_since)))::float8 AS oldest_seconds,
                count(doubt.since) AS in_doubt,
                coalesce(greatest(0, extract(epoch FROM jenius_now() - min(doubt.since))), 0)::float8
                    AS in_doubt_oldest_seconds
         FROM due d
         CROSS JOIN LATERAL (
             SELECT merchant, state, amount, state_since, payment, refund FROM orders
             WHERE order_key = d.order_key AND state IN ('submitting', 'awaiting_payment', 'refunding')
             OFFSET 0) AS o
         LEFT JOIN LATERAL (
             SELECT c.claimed_at AS since FROM commands c
             WHERE o.state <> 'awaiting_payment'
               AND c.key = CASE WHEN o.state = 'refunding' THEN o.refund ELSE o.payment END
               AND c.outcome IS NULL AND c.maybe_acted_at IS NOT NULL
             OFFSET 0) AS doubt ON true
         GROUP BY o.merchant, o.state",
    )
    .fetch_all(c))?;
    rows.into_iter().map(OpenRow::orders).collect()
}

async fn due_sends(pool: &PgPool) -> Result<Vec<DueSends>, StoreError> {
    let rows: Vec<(String, bool, i64, f64)> = answered!(pool, |c| sqlx::query_as(
        "WITH clock AS MATERIALIZED (SELECT jenius_now() AS now)
         SELECT merchant, stranded_at IS NOT NULL, count(*),
                extract(epoch FROM (SELECT now FROM clock) - min(send_at))::float8
         FROM due
         WHERE send_at <= (SELECT now FROM clock) AND token IS NULL
           AND (sends_end_at > (SELECT now FROM clock) OR stranded_at IS NOT NULL)
         GROUP BY merchant, stranded_at IS NOT NULL",
    )
    .fetch_all(c))?;
    let read = |(merchant, is_stranded, count, oldest_seconds): (String, bool, i64, f64)| {
        let merchant = super::rows::merchant(&merchant)?;
        Ok(DueSends { merchant, is_stranded, count, oldest_seconds: oldest_seconds.max(0.0) })
    };
    rows.into_iter().map(read).collect()
}

impl OpenRow {
    fn orders(self) -> Result<OpenOrders, StoreError> {
        Ok(OpenOrders {
            merchant: super::rows::merchant(&self.merchant)?,
            state: OrderState::from_names(&self.state, None)
                .ok_or_else(|| super::error::unknown_value("state"))?,
            count: self.count,
            rupiah: self.rupiah,
            oldest_seconds: self.oldest_seconds,
            in_doubt: InDoubt { count: self.in_doubt, oldest_seconds: self.in_doubt_oldest_seconds },
        })
    }
}

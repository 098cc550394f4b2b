//! Figures about everything at once, for `/metrics` and `/readyz`. What is open is counted through `due`,
//! so that old orders cost nothing.

mod balance;
mod reviews;

pub use reviews::Reviews;

use super::{
    PostgresStore,
    pool::PgPool,
    slices::{CountingPace, SLICE, Slices},
    tx::answered,
};
use crate::{
    domain::{ids::MerchantName, order::OrderState},
    flow::ports::StoreError,
};
use sqlx::FromRow;
use std::collections::BTreeMap;

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
    /// Since the first send that left it in doubt.
    pub oldest_seconds: f64,
}

/// Parked rows are counted up to this number.
const COUNTED_MAX: i64 = 10_000;

#[derive(FromRow)]
struct CountRow {
    outbox_events: i64,
    outbox_oldest_seconds: f64,
    parked: i64,
}

impl PostgresStore {
    /// Counts what is open, waiting, parked and stranded.
    pub async fn gauges(&self, pace: CountingPace) -> Result<Gauges, StoreError> {
        let pool = &self.context.pool;
        let open = count_open(pool, pace).await?;
        let counts: CountRow = answered!(pool, |c| {
            sqlx::query_as(
            "SELECT (SELECT count(*) FROM outbox) AS outbox_events,
                    coalesce((SELECT extract(epoch FROM jenius_now() - created_at)::float8
                              FROM outbox ORDER BY sequence LIMIT 1), 0) AS outbox_oldest_seconds,
                    (SELECT count(*) FROM (SELECT FROM notifications WHERE order_key IS NULL LIMIT $1) few) AS parked",
        )
        .bind(COUNTED_MAX)
        .fetch_one(c)
        })?;
        let parked = if counts.parked < COUNTED_MAX { counts.parked } else { many_parked(pool).await? };
        Ok(Gauges {
            open_orders: open.orders.into_values().collect(),
            outbox_events: counts.outbox_events,
            outbox_oldest_seconds: counts.outbox_oldest_seconds.max(0.0),
            parked_notifications: parked,
            stranded_orders: open.stranded,
            due_sends: open.sends.into_values().collect(),
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

/// What is due, a slice after the other: the counting of very many open orders must not keep payments from the
/// server for long. OFFSET 0 makes each look for an order one into the index, and for a command only where one is
/// open.
const OPEN: &str = "
    WITH clock AS MATERIALIZED (SELECT jenius_now() AS now)
    SELECT d.order_key, d.merchant, d.stranded_at IS NOT NULL AS is_stranded,
           CASE WHEN d.send_at <= now AND d.token IS NULL AND (d.sends_end_at > now OR d.stranded_at IS NOT NULL)
                THEN extract(epoch FROM now - d.send_at)::float8 END AS send_waits,
           o.state, o.amount, extract(epoch FROM now - o.state_since)::float8 AS state_lasts,
           extract(epoch FROM now - doubt.since)::float8 AS doubt_lasts
    FROM clock
    CROSS JOIN LATERAL (SELECT * FROM due WHERE order_key > $1 ORDER BY order_key LIMIT $2) AS d
    LEFT JOIN LATERAL (
        SELECT state, amount, state_since, payment, refund FROM orders
        WHERE order_key = d.order_key AND state IN ('submitting', 'awaiting_payment', 'refunding')
        OFFSET 0) AS o ON true
    LEFT JOIN LATERAL (
        SELECT coalesce(c.doubted_at, c.maybe_acted_at) AS since FROM commands c
        WHERE o.state <> 'awaiting_payment'
          AND c.key = CASE WHEN o.state = 'refunding' THEN o.refund ELSE o.payment END
          AND c.outcome IS NULL AND c.maybe_acted_at IS NOT NULL
        OFFSET 0) AS doubt ON true
    ORDER BY d.order_key";

#[derive(FromRow)]
struct OpenRow {
    order_key: i64,
    merchant: String,
    is_stranded: bool,
    send_waits: Option<f64>,
    state: Option<String>,
    amount: Option<i64>,
    state_lasts: Option<f64>,
    doubt_lasts: Option<f64>,
}

/// What the rows of all slices come to.
#[derive(Default)]
struct OpenCounts {
    orders: BTreeMap<(String, String), OpenOrders>,
    sends: BTreeMap<(String, bool), DueSends>,
    stranded: i64,
}

async fn count_open(pool: &PgPool, pace: CountingPace) -> Result<OpenCounts, StoreError> {
    let mut counts = OpenCounts::default();
    let mut slices = Slices::new(pace);
    loop {
        let rows: Vec<OpenRow> =
            answered!(pool, |c| sqlx::query_as(OPEN).bind(slices.after).bind(SLICE).fetch_all(c))?;
        let (found, last) =
            (i64::try_from(rows.len()).unwrap_or(SLICE), rows.last().map(|row| row.order_key));
        for row in rows {
            counts.add(row)?;
        }
        if !slices.go_on(found, last).await {
            return Ok(counts);
        }
    }
}

impl OpenCounts {
    fn add(&mut self, row: OpenRow) -> Result<(), StoreError> {
        let merchant = super::rows::merchant(&row.merchant)?;
        self.stranded += i64::from(row.is_stranded);
        if let Some(waits) = row.send_waits {
            let (merchant, is_stranded) = (merchant.clone(), row.is_stranded);
            let sends = self.sends.entry((row.merchant.clone(), is_stranded));
            let none = DueSends { merchant, is_stranded, count: 0, oldest_seconds: 0.0 };
            let sends = sends.or_insert(none);
            sends.count += 1;
            sends.oldest_seconds = sends.oldest_seconds.max(waits);
        }
        let (Some(name), Some(amount), Some(lasts)) = (row.state, row.amount, row.state_lasts) else {
            return Ok(());
        };
        let state =
            OrderState::from_names(&name, None).ok_or_else(|| super::error::unknown_value("state"))?;
        let none = || OpenOrders {
            merchant,
            state,
            count: 0,
            rupiah: 0,
            oldest_seconds: 0.0,
            in_doubt: InDoubt::default(),
        };
        let orders = self.orders.entry((row.merchant, name)).or_insert_with(none);
        orders.count += 1;
        orders.rupiah = orders.rupiah.saturating_add(amount);
        orders.oldest_seconds = orders.oldest_seconds.max(lasts);
        if let Some(lasts) = row.doubt_lasts {
            orders.in_doubt.count += 1;
            orders.in_doubt.oldest_seconds = orders.in_doubt.oldest_seconds.max(lasts);
        }
        Ok(())
    }
}

//! The balance of commands: what came in is rejected, final or open. It is counted from the first command
//! that is not settled, so that years of settled ones cost nothing. And orphans: rows that point to nothing, which no
//! foreign key refuses, for it would be a query for each row of the hot path.

use crate::{
    flow::ports::StoreError,
    postgres::{PostgresStore, tx::answered},
};

/// A command that was received longer ago is committed, or never will be: no transaction of ours lasts that
/// long. Above the first younger one a smaller key may still appear.
const UNCOMMITTED_FOR: &str = "5 minutes";

/// How many settled commands one statement passes, and how many statements one look makes: a table
/// that was filled by another version, or while no process looked, is walked in pieces.
const WALK_ROWS: i64 = 100_000;
const WALKS_MAX: u32 = 20;

/// Passes settled commands, from the first that was not; true if there may be more of them behind.
const WALK: &str = "
    WITH walked AS MATERIALIZED (
        SELECT key, outcome IS NULL OR received_at > (SELECT jenius_now()) - $2::interval AS is_unsettled
        FROM commands WHERE key >= (SELECT settled_below FROM balance) ORDER BY key LIMIT $1),
    seen AS (
        SELECT min(key) FILTER (WHERE is_unsettled) AS unsettled, max(key) AS last, count(*) AS passed FROM walked),
    moved AS (
        UPDATE balance SET settled_below = coalesce(unsettled, last) FROM seen
        WHERE settled_below < coalesce(unsettled, last))
    SELECT unsettled IS NULL AND passed = $1 FROM seen";

/// Orphans are looked for in what waits, and in as many of the latest rows.
const LATEST_ROWS: i64 = 100_000;

const ORPHANS: &str = "
    WITH first AS MATERIALIZED (
        SELECT (SELECT coalesce(max(key), 0) - $1 FROM commands) AS command,
               (SELECT coalesce(max(order_key), 0) - $1 FROM orders) AS of_orders)
    SELECT (SELECT count(*) FROM outbox o WHERE NOT EXISTS (SELECT FROM events e WHERE e.event_id = o.event_id))
         + (SELECT count(*) FROM due d WHERE NOT EXISTS (SELECT FROM orders o WHERE o.order_key = d.order_key))
         + (SELECT count(*) FROM orders o WHERE o.order_key > (SELECT of_orders FROM first)
              AND NOT EXISTS (SELECT FROM commands c WHERE c.key = o.payment))
         + (SELECT count(*) FROM orders o WHERE o.order_key > (SELECT of_orders FROM first) AND o.refund IS NOT NULL
              AND NOT EXISTS (SELECT FROM commands c WHERE c.key = o.refund))
         + (SELECT count(*) FROM attempts a WHERE a.command_key > (SELECT command FROM first)
              AND NOT EXISTS (SELECT FROM commands c WHERE c.key = a.command_key))
         + (SELECT count(*) FROM commands c WHERE c.key > (SELECT command FROM first) AND c.outcome_event IS NOT NULL
              AND NOT EXISTS (SELECT FROM events e WHERE e.event_id = c.outcome_event))";

impl PostgresStore {
    /// Rows that point to nothing: anything but 0 is a bug.
    pub async fn orphans(&self) -> Result<i64, StoreError> {
        answered!(self.context.pool, |c| sqlx::query_scalar(ORPHANS).bind(LATEST_ROWS).fetch_one(c))
    }

    /// Commands claimed + rejected − settled − open: anything but 0 is a bug. `None`: there are more settled ones
    /// than one look passes, and the next look goes on.
    pub async fn balance(&self) -> Result<Option<i64>, StoreError> {
        let pool = &self.context.pool;
        for _ in 0..WALKS_MAX {
            let walk = sqlx::query_scalar(WALK).bind(WALK_ROWS).bind(UNCOMMITTED_FOR);
            let is_more: bool = answered!(pool, |c| walk.fetch_one(c))?;
            if !is_more {
                return self.count_unsettled().await.map(Some);
            }
        }
        Ok(None)
    }

    async fn count_unsettled(&self) -> Result<i64, StoreError> {
        answered!(self.context.pool, |c| {
            sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM commands
                     WHERE key >= (SELECT settled_below FROM balance) AND outcome IS NULL)
                    - (SELECT count(*) FROM due d
                       CROSS JOIN LATERAL (
                           SELECT FROM orders
                           WHERE order_key = d.order_key AND state IN ('submitting', 'refunding') OFFSET 0) AS o)",
        )
        .fetch_one(c)
        })
    }
}

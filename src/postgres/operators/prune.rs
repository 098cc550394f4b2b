//! Retention: what is not needed any more of orders that ended long ago. A command's request is emptied, its attempts and its
//! order's notifications that repeat another go. Rows that carry an identity stay, and so do events: each is what a second delivery is
//! answered with, and an event's deletion would read all commands to see that none of them names it.
//!
//! Never: an order that is open, in review or has something due; a row of an order that another transaction has locked.

use crate::postgres::{pool::PgPool, settlement, tx::answered};
use crate::{domain::Time, flow::ports::StoreError};
use sqlx::FromRow;

/// Commands of one transaction: it holds their orders' locks for milliseconds.
const BATCH: i64 = 1000;

/// Where a run is, and what is old to it.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct PruneRun {
    old_before: Time,
    next: i64,
    last: i64,
}

/// What was taken away, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Pruned {
    pub requests: i64,
    pub request_bytes: i64,
    pub attempts: i64,
    pub notifications: i64,
}

impl Pruned {
    pub fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.request_bytes += more.request_bytes;
        self.attempts += more.attempts;
        self.notifications += more.notifications;
    }
}

/// The notifications that repeat another of the same order. One of each stays: by it an old one that comes again is
/// known, and does not undo what was decided meanwhile.
macro_rules! repeats {
    ($of:literal) => {
        concat!(
            "FROM notifications n WHERE n.order_key ",
            $of,
            " AND EXISTS (
                 SELECT FROM notifications e
                 WHERE e.order_key = n.order_key AND e.key < n.key AND e.report_key = n.report_key
                   AND (coalesce(e.reason, '') = 'other_request') = (coalesce(n.reason, '') = 'other_request')
                   AND (coalesce(e.reason, '') = 'not_bound') = (coalesce(n.reason, '') = 'not_bound')) "
        )
    };
}

/// Of the commands from $1 up to $2, those of orders that ended before $3 of which something can go: a command without a
/// request may have been asked about since. OFFSET 0 makes each look one into the index.
macro_rules! of_old_commands {
    ($lock:literal, $rest:literal) => {
        concat!(
            "WITH old AS MATERIALIZED (
                 SELECT c.key, o.order_key, octet_length(c.request_body) AS bytes
                 FROM commands c JOIN orders o USING (merchant, invoice_number)
                 WHERE c.key >= $1 AND c.key < $2 AND c.settled_at < $3 AND c.outcome <> 'rejected'
                   AND (octet_length(c.request_body) > 0
                        OR EXISTS (SELECT FROM attempts WHERE command_key = c.key OFFSET 0)
                        OR EXISTS (SELECT ",
            repeats!("= o.order_key"),
            "OFFSET 0))
                   AND o.state IN ('paid', 'failed', 'expired', 'abandoned', 'refunded') AND o.state_since < $3
                   AND NOT EXISTS (SELECT FROM due d WHERE d.order_key = o.order_key) ",
            $lock,
            ") ",
            $rest
        )
    };
}

const COUNT: &str = concat!(
    of_old_commands!(
        "",
        "SELECT count(*) FILTER (WHERE bytes > 0) AS requests, coalesce(sum(bytes), 0)::bigint AS request_bytes,
                (SELECT count(*) FROM attempts WHERE command_key IN (SELECT key FROM old)) AS attempts,
                (SELECT count(*) "
    ),
    repeats!("IN (SELECT order_key FROM old)"),
    ") AS notifications FROM old"
);

const PRUNE: &str = concat!(
    of_old_commands!(
        "FOR UPDATE OF o SKIP LOCKED",
        ", emptied AS (UPDATE commands SET request_body = '' FROM old WHERE commands.key = old.key AND bytes > 0
                       RETURNING bytes),
           made AS (DELETE FROM attempts WHERE command_key IN (SELECT key FROM old) RETURNING 1),
           repeated AS (DELETE "
    ),
    repeats!("IN (SELECT order_key FROM old)"),
    "RETURNING 1)
     SELECT count(*) AS requests, coalesce(sum(bytes), 0)::bigint AS request_bytes,
            (SELECT count(*) FROM made) AS attempts, (SELECT count(*) FROM repeated) AS notifications
     FROM emptied"
);

impl PruneRun {
    /// Begins: what ended more than this many days ago is old.
    pub async fn begin(pool: &PgPool, days: u32) -> Result<Self, StoreError> {
        answered!(pool, |c| sqlx::query_as(
            "SELECT jenius_now() - make_interval(days => $1) AS old_before,
                    (SELECT coalesce(min(key), 1) FROM commands) AS next,
                    (SELECT coalesce(max(key), 0) FROM commands) AS last",
        )
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .fetch_one(c))
    }

    /// Empties settlement files as they came, once they are as old as configured; or says how many it would.
    pub async fn settlement_files(pool: &PgPool, days: u32, dry_run: bool) -> Result<i64, StoreError> {
        settlement::empty_old_files(pool, days, dry_run).await
    }

    pub fn is_done(&self) -> bool {
        self.next > self.last
    }

    /// The next batch, in one transaction; or what it would be.
    pub async fn batch(&mut self, pool: &PgPool, dry_run: bool) -> Result<Pruned, StoreError> {
        let end = self.next.saturating_add(BATCH);
        if !dry_run {
            settlement::keep_shares(pool, self.next, end).await?;
        }
        let pruned = answered!(pool, |c| sqlx::query_as(if dry_run { COUNT } else { PRUNE })
            .bind(self.next)
            .bind(end)
            .bind(self.old_before)
            .fetch_one(c))?;
        self.next = end;
        Ok(pruned)
    }
}

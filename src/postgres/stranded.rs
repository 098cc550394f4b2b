//! Orders made for an account or a host that is not configured now. They are sent to no other; their budget
//! stands still until it is configured again, and an `expirytime` does not.

use super::{
    PostgresStore,
    pool::PgPool,
    slices::{CountingPace, SLICE, Slices},
    tx::answered,
};
use crate::flow::ports::{Account, StoreError};
use std::ops::RangeInclusive;

/// The keys of one slice of all that is due: how many, and the last one.
const SLICE_OF_DUE: &str = "SELECT count(*), max(order_key)
    FROM (SELECT order_key FROM due WHERE order_key > $1 ORDER BY order_key LIMIT $2) AS slice";

/// The account that counts is that of the command that `due` would send or ask about. OFFSET 0 and ANY keep the server
/// from holding all orders against all commands: it looks up the order, and then the command, of what is due. An
/// order that was written meanwhile has another revision, and its turn at the next look; so has one whose mark another
/// process has set or taken away meanwhile: `w` is read again once it is locked, or a budget would be given back twice.
macro_rules! due_and_known {
    ($those:literal, $rest:literal) => {
        concat!(
            "WITH clock AS MATERIALIZED (SELECT jenius_now() AS now),
             known AS MATERIALIZED (
                 SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS a (merchant, client_id, base_url)),
             seen AS MATERIALIZED (
                 SELECT d.order_key, o.revision, c.key, c.outcome, d.stranded_at, now
                 FROM clock CROSS JOIN due d
                 CROSS JOIN LATERAL (
                     SELECT revision, CASE
                         WHEN state = 'refunding' OR review_cause = 'refund_unresolved' THEN refund
                         ELSE payment END AS command
                     FROM orders WHERE order_key = d.order_key OFFSET 0) AS o
                 CROSS JOIN LATERAL (
                     SELECT key, outcome, merchant, client_id, base_url FROM commands
                     WHERE key = o.command OFFSET 0) AS c
                 WHERE d.order_key BETWEEN $4 AND $5 AND ",
            $those,
            "),
             found AS MATERIALIZED (
                 SELECT seen.* FROM seen JOIN orders o USING (order_key)
                 JOIN due w ON w.order_key = o.order_key AND w.stranded_at IS NOT DISTINCT FROM seen.stranded_at
                 WHERE o.order_key = ANY (ARRAY(SELECT order_key FROM seen)) AND o.revision = seen.revision
                   AND w.order_key = ANY (ARRAY(SELECT order_key FROM seen))
                 FOR UPDATE OF o, w SKIP LOCKED)",
            $rest
        )
    };
}

/// An attempt under way belongs to a process that has the account.
const STRAND: &str = due_and_known!(
    "d.stranded_at IS NULL AND (d.token IS NULL OR d.lease_ends_at <= now)
         AND (c.merchant, c.client_id, c.base_url) NOT IN (SELECT * FROM known)",
    "UPDATE due SET stranded_at = found.now FROM found WHERE due.order_key = found.order_key"
);

const LET_GO: &str = due_and_known!(
    "d.stranded_at IS NOT NULL AND (c.merchant, c.client_id, c.base_url) IN (SELECT * FROM known)",
    ",
     moved AS (
         UPDATE commands SET sends_end_at =
             least(sends_end_at + (found.now - found.stranded_at), coalesce(expires_at, 'infinity'))
         FROM found
         WHERE commands.key = found.key AND found.outcome IS NULL
           AND commands.key = ANY (ARRAY(SELECT key FROM found))
         RETURNING commands.key, commands.sends_end_at)
     UPDATE due SET stranded_at = NULL,
                    sends_end_at = CASE WHEN send_at IS NOT NULL
                                        THEN coalesce(moved.sends_end_at, due.sends_end_at) END,
                    -- What concludes after the end comes as much later as the end does; what was asked for does not.
                    inquire_at = CASE WHEN inquire_rank = 2 AND moved.sends_end_at > due.sends_end_at
                                      THEN least(inquire_at + (moved.sends_end_at - due.sends_end_at), prompted_at)
                                      ELSE inquire_at END
     FROM found LEFT JOIN moved USING (key) WHERE due.order_key = found.order_key"
);

impl PostgresStore {
    /// Marks what is stranded now, and lets go what is not any more.
    pub async fn look_for_stranded(&self, accounts: &[Account]) -> Result<(), StoreError> {
        let pool = &self.context.pool;
        let mut slices = Slices::new(CountingPace::Gentle);
        loop {
            let (found, last): (i64, Option<i64>) = answered!(pool, |c| sqlx::query_as(SLICE_OF_DUE)
                .bind(slices.after)
                .bind(SLICE)
                .fetch_one(c))?;
            if let Some(last) = last {
                let keys = slices.after.saturating_add(1)..=last;
                run(pool, STRAND, accounts, &keys).await?;
                if run(pool, LET_GO, accounts, &keys).await? > 0 {
                    self.context.due_changed.notify_one();
                }
            }
            if !slices.go_on(found, last).await {
                return Ok(());
            }
        }
    }
}

async fn run(
    pool: &PgPool,
    statement: &'static str,
    accounts: &[Account],
    keys: &RangeInclusive<i64>,
) -> Result<u64, StoreError> {
    let done = answered!(pool, |c| sqlx::query(statement)
        .bind(accounts.iter().map(|a| a.merchant.as_str()).collect::<Vec<_>>())
        .bind(accounts.iter().map(|a| a.client_id.as_str()).collect::<Vec<_>>())
        .bind(accounts.iter().map(|a| a.base_url.as_str()).collect::<Vec<_>>())
        .bind(keys.start())
        .bind(keys.end())
        .execute(c))?;
    Ok(done.rows_affected())
}

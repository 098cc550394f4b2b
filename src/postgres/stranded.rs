//! Orders made for an account or a host that is not configured now. They are sent to no other; their budget
//! stands still until it is configured again, and an `expirytime` does not.

use super::{PostgresStore, tx::answered};
use crate::flow::ports::{Account, StoreError};
use sqlx::PgPool;

/// So many in one statement; the rest have their turn at the next look.
const BATCH_MAX: i64 = 1000;

/// The command whose account counts is the one that `due` would send or ask about.
macro_rules! due_and_known {
    ($rest:literal) => {
        concat!(
            "WITH clock AS MATERIALIZED (SELECT jenius_now() AS now),
             known AS MATERIALIZED (
                 SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS a (merchant, client_id, base_url)),
             found AS MATERIALIZED (
                 SELECT d.order_key, c.key, c.outcome, d.stranded_at, now
                 FROM clock, due d JOIN orders o USING (order_key)
                 JOIN commands c ON c.key = CASE
                     WHEN o.state = 'refunding' OR o.review_cause = 'refund_unresolved' THEN o.refund
                     ELSE o.payment END
                 WHERE ",
            $rest
        )
    };
}

/// An attempt under way belongs to a process that has the account.
const STRAND: &str = due_and_known!(
    "d.stranded_at IS NULL AND (d.token IS NULL OR d.at <= now)
         AND (c.merchant, c.client_id, c.base_url) NOT IN (SELECT * FROM known)
     ORDER BY d.order_key LIMIT $4 FOR UPDATE OF o SKIP LOCKED)
     UPDATE due SET stranded_at = found.now FROM found WHERE due.order_key = found.order_key"
);

const LET_GO: &str = due_and_known!(
    "d.stranded_at IS NOT NULL AND (c.merchant, c.client_id, c.base_url) IN (SELECT * FROM known)
     ORDER BY d.order_key LIMIT $4 FOR UPDATE OF o SKIP LOCKED),
     moved AS (
         UPDATE commands SET sends_end_at =
             least(sends_end_at + (found.now - found.stranded_at), coalesce(expires_at, 'infinity'))
         FROM found WHERE commands.key = found.key AND found.outcome IS NULL
         RETURNING commands.key, commands.sends_end_at)
     UPDATE due SET stranded_at = NULL,
                    sends_end_at = CASE WHEN kind = 'send' THEN coalesce(moved.sends_end_at, due.sends_end_at) END
     FROM found LEFT JOIN moved USING (key) WHERE due.order_key = found.order_key"
);

impl PostgresStore {
    /// Marks what is stranded now, and lets go what is not any more.
    pub async fn look_for_stranded(&self, accounts: &[Account]) -> Result<(), StoreError> {
        run(&self.inner.pool, STRAND, accounts).await?;
        if run(&self.inner.pool, LET_GO, accounts).await? > 0 {
            self.inner.due_changed.notify_one();
        }
        Ok(())
    }
}

async fn run(pool: &PgPool, statement: &'static str, accounts: &[Account]) -> Result<u64, StoreError> {
    let done = answered!(pool, |c| sqlx::query(statement)
        .bind(accounts.iter().map(|a| a.merchant.as_str()).collect::<Vec<_>>())
        .bind(accounts.iter().map(|a| a.client_id.as_str()).collect::<Vec<_>>())
        .bind(accounts.iter().map(|a| a.base_url.as_str()).collect::<Vec<_>>())
        .bind(BATCH_MAX)
        .execute(c))?;
    Ok(done.rows_affected())
}

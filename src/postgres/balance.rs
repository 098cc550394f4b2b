//! The balance of commands: what came in is rejected, final or open. It is counted from the first command
//! that is not settled, so that years of settled ones cost nothing.

use super::{PostgresStore, tx::answered};
use crate::flow::ports::StoreError;

/// A command that was received so long ago is committed, or never will be: no transaction of ours lasts as
/// long. Above the first younger one a smaller key may still appear.
const UNCOMMITTED_FOR: &str = "5 minutes";

impl PostgresStore {
    /// Commands claimed + rejected − settled − open: anything but 0 is a bug.
    pub async fn balance(&self) -> Result<i64, StoreError> {
        let pool = &self.inner.pool;
        let balance = answered!(pool, |c| sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM commands
                     WHERE key >= (SELECT settled_below FROM balance) AND outcome IS NULL)
                    - (SELECT count(*) FROM due JOIN orders USING (order_key)
                       WHERE state IN ('submitting', 'refunding'))",
        )
        .fetch_one(c))?;
        answered!(pool, |c| sqlx::query(
            "UPDATE balance SET settled_below = first.unsettled
             FROM (SELECT coalesce(min(key), (SELECT max(key) FROM commands)) AS unsettled FROM commands
                   WHERE key >= (SELECT settled_below FROM balance)
                     AND (outcome IS NULL OR received_at > (SELECT jenius_now()) - $1::interval)) AS first
             WHERE settled_below < first.unsettled",
        )
        .bind(UNCOMMITTED_FOR)
        .execute(c))?;
        Ok(balance)
    }
}

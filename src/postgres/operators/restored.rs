//! The database went back in time, and an operator says so: what DOKU may have done since is asked about, an order at a
//! time, in short transactions.

use super::actions;
use crate::postgres::{
    PostgresStore, StoreContext,
    error::TxResult,
    orders::{self, CommitEffects},
    tx::answered,
};
use crate::{
    domain::{action::Action, schedule::AttemptSchedule},
    flow::ports::StoreError,
};
use sqlx::PgConnection;
use std::sync::Arc;

/// How many keys one statement reads, and how many orders one transaction writes.
const KEYS_MAX: i64 = 20_000;
const ORDERS_MAX: usize = 250;

impl PostgresStore {
    /// Keeps that it went back, from now on, and has DOKU asked about every order that may be otherwise; says how many
    /// these are. Done again, it asks again.
    pub async fn went_back(&self, action: Action) -> Result<u64, StoreError> {
        self.context.transaction(move |c| Box::pin(async move { keep(c, &action).await })).await?;
        let (mut next, last): (i64, i64) = answered!(self.context.pool, |c| sqlx::query_as(
            "SELECT (SELECT coalesce(min(order_key), 1) FROM orders),
                    (SELECT coalesce(max(order_key), 0) FROM orders)",
        )
        .fetch_one(c))?;
        let mut asked_about = 0;
        while next <= last {
            let keys = self.may_be_otherwise(next).await?;
            for keys in keys.chunks(ORDERS_MAX) {
                asked_about += self.ask_about(keys.to_vec()).await?;
            }
            next += KEYS_MAX;
        }
        self.context.due_changed.notify_one();
        Ok(asked_about)
    }

    /// The domain says which of them are asked about; these are all that it may choose from.
    async fn may_be_otherwise(&self, from: i64) -> Result<Vec<i64>, StoreError> {
        let give_up_after = crate::postgres::requests::micros(self.context.schedule.check.give_up_after);
        answered!(self.context.pool, |c| sqlx::query_scalar(
            "SELECT order_key FROM orders
             WHERE order_key >= $1 AND order_key < $1 + $2
               AND (state IN ('submitting', 'awaiting_payment', 'refunding')
                    OR (state IN ('failed', 'expired', 'abandoned')
                        AND state_since >= (SELECT jenius_now()) - $3 * interval '1 microsecond'))
             ORDER BY order_key",
        )
        .bind(from)
        .bind(KEYS_MAX)
        .bind(give_up_after)
        .fetch_all(c))
    }

    async fn ask_about(&self, order_keys: Vec<i64>) -> Result<u64, StoreError> {
        let context: &Arc<StoreContext> = &self.context;
        let schedule = context.schedule.clone();
        let written = context
            .transaction(move |c| Box::pin(async move { ask_about(c, &order_keys, &schedule).await }))
            .await?;
        Ok(u64::try_from(written.len()).unwrap_or(u64::MAX))
    }
}

async fn keep(connection: &mut PgConnection, action: &Action) -> TxResult<()> {
    sqlx::query(
        "INSERT INTO restored (at) VALUES (jenius_now()) ON CONFLICT (only_row) DO UPDATE SET at = excluded.at",
    )
    .execute(&mut *connection)
    .await?;
    actions::write(connection, action).await
}

async fn ask_about(
    connection: &mut PgConnection,
    order_keys: &[i64],
    schedule: &AttemptSchedule,
) -> TxResult<Vec<CommitEffects>> {
    let orders = orders::lock_all(connection, order_keys).await?;
    extend_stranded(connection, order_keys).await?;
    let changes: Vec<_> = orders
        .iter()
        .filter_map(|order| Some((order, order.record.clone().after_going_back(schedule, order.now)?)))
        .collect();
    let changes: Vec<_> = changes.iter().map(|(order, change)| (*order, change)).collect();
    orders::write_all(connection, &changes, Vec::new()).await
}

/// What is written in place of a stranded row forgets since when it was stranded: the time that its budget stood still is
/// given back first, as when its account is configured again. The orders are locked.
async fn extend_stranded(connection: &mut PgConnection, order_keys: &[i64]) -> TxResult<()> {
    sqlx::query(
        "UPDATE commands c
         SET sends_end_at = least(c.sends_end_at + (jenius_now() - d.stranded_at), coalesce(c.expires_at, 'infinity'))
         FROM due d JOIN orders o USING (order_key)
         WHERE d.order_key = ANY ($1) AND d.stranded_at IS NOT NULL AND c.outcome IS NULL
           AND c.key = CASE o.state WHEN 'submitting' THEN o.payment WHEN 'refunding' THEN o.refund END",
    )
    .bind(order_keys)
    .execute(connection)
    .await?;
    Ok(())
}

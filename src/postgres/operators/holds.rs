//! Who is busy with an order in review: a word to the others for a quarter of an hour. It forbids nothing.

use crate::{
    domain::Time,
    flow::ports::{Hold, StoreError},
    postgres::{PostgresStore, tx::answered},
};

/// Who says nothing more after that is no longer busy with it.
const HOLD_LASTS: &str = "15 minutes";

impl PostgresStore {
    /// A person takes an order on. One that another person has stays theirs.
    pub async fn hold(&self, order_key: i64, by: &str) -> Result<(), StoreError> {
        answered!(self.context.pool, |c| sqlx::query(
            "WITH ended AS (DELETE FROM review_holds WHERE ends_at <= jenius_now() AND order_key <> $1)
             INSERT INTO review_holds AS held (order_key, held_by, ends_at)
             VALUES ($1, $2, jenius_now() + $3::interval)
             ON CONFLICT (order_key) DO UPDATE SET held_by = excluded.held_by, ends_at = excluded.ends_at
             WHERE held.held_by = excluded.held_by OR held.ends_at <= jenius_now()"
        )
        .bind(order_key)
        .bind(by)
        .bind(HOLD_LASTS)
        .execute(c))?;
        Ok(())
    }

    /// Who is busy with these orders now.
    pub async fn holds(&self, order_keys: &[i64]) -> Result<Vec<Hold>, StoreError> {
        let rows: Vec<(i64, String, Time)> = answered!(self.context.pool, |c| sqlx::query_as(
            "SELECT order_key, held_by, ends_at FROM review_holds
             WHERE order_key = ANY ($1) AND ends_at > jenius_now()"
        )
        .bind(order_keys)
        .fetch_all(c))?;
        Ok(rows.into_iter().map(|(order_key, by, until)| Hold { order_key, by, until }).collect())
    }
}

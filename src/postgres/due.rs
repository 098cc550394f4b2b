//! What is due: rows in and out, and which of them are wanted now. Whoever writes a row holds its
//! order's row lock.

use super::{
    Inner,
    error::store_error,
    orders,
    rows::{attempt_kind, merchant},
    tx::answered,
    whose::Whose,
    writes::Statement,
};
use crate::{
    domain::{Time, ids::MerchantName, plan::Due},
    flow::ports::{Claim, ClaimError, DueFilter, DueOrder, StoreError},
};
use sqlx::{PgPool, Row};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// What an order waits for. With `claim` an attempt is under way since that time, and `due.at` is the end
/// of its lease.
pub(super) struct NewDue<'a> {
    pub order_key: i64,
    pub merchant: &'a MerchantName,
    pub due: &'a Due,
    pub claim: Option<(Uuid, Time)>,
}

/// The columns of `writes::WRITE` for what orders wait for.
pub(super) fn bind<'q>(statement: Statement<'q>, all: &'q [NewDue<'_>]) -> Statement<'q> {
    statement
        .bind(all.iter().map(|new| new.order_key).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.merchant.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.due.kind.name()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.due.at).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.due.sends_end_at).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.claim.map(|(token, _)| token)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.claim.map(|(_, since)| since)).collect::<Vec<_>>())
}

/// Gives a claim back whose attempt was not started: due again now. One that is lost already stays so.
pub(super) async fn give_back(inner: &Arc<Inner>, claim: &Claim) -> Result<(), ClaimError> {
    let (whose, token) = (Whose::of(claim), claim.token);
    let order_key = whose.order_key;
    let is_known = inner
        .transaction(move |connection| {
            Box::pin(async move {
                if orders::lock_if_known(connection, order_key).await?.is_none() {
                    return Ok(false);
                }
                // The revision is raised as by every write: whoever rests on the claim finds that it is gone.
                let freed = sqlx::query(
                    "WITH freed AS (
                         UPDATE due SET at = jenius_now(), token = NULL, claimed_at = NULL
                         WHERE order_key = $1 AND token = $2
                         RETURNING order_key)
                     UPDATE orders SET revision = revision + 1 WHERE order_key = (SELECT order_key FROM freed)",
                )
                .bind(order_key)
                .bind(token)
                .execute(&mut *connection)
                .await?;
                Ok(freed.rows_affected() == 1 || whose.is_known(connection).await?)
            })
        })
        .await
        .map_err(StoreError::from)?;
    inner.due_changed.notify_one();
    if is_known { Ok(()) } else { Err(inner.forgotten()) }
}

/// Reads the index of due times from its start. An order whose command was made for an account or a host
/// that is not configured now is stranded: it is not asked about under another. A send whose time is over
/// cannot be sent any more, so it counts as an inquiry, also for those whose sends are stopped.
pub(super) const LIST: &str = "
    WITH clock AS MATERIALIZED (SELECT jenius_now() AS now)
    SELECT d.order_key, d.merchant,
           CASE WHEN d.sends_end_at <= (SELECT now FROM clock) THEN 'inquiry' ELSE d.kind END AS kind
    FROM due d
    WHERE d.at <= (SELECT now FROM clock)
      AND d.stranded_at IS NULL
      AND (d.kind = 'inquiry' OR d.sends_end_at <= (SELECT now FROM clock)
           OR NOT ($2 OR d.merchant = ANY ($3)))
      AND EXISTS (
          SELECT FROM orders o
          JOIN commands c ON c.key = CASE
              WHEN o.state = 'refunding' OR o.review_cause = 'refund_unresolved' THEN o.refund
              ELSE o.payment END
          JOIN unnest($4::text[], $5::text[], $6::text[]) AS a (merchant, client_id, base_url)
              ON a.merchant = c.merchant AND a.client_id = c.client_id AND a.base_url = c.base_url
          WHERE o.order_key = d.order_key
          OFFSET 0)
    ORDER BY d.at
    LIMIT $1";

/// Orders whose time has come, oldest first.
pub(super) async fn list(pool: &PgPool, filter: &DueFilter) -> Result<Vec<DueOrder>, StoreError> {
    let rows = answered!(pool, |c| sqlx::query(LIST)
        .bind(i64::from(filter.limit))
        .bind(filter.no_sends)
        .bind(filter.no_sends_for.iter().map(MerchantName::as_str).collect::<Vec<_>>())
        .bind(filter.accounts.iter().map(|a| a.merchant.as_str()).collect::<Vec<_>>())
        .bind(filter.accounts.iter().map(|a| a.client_id.as_str()).collect::<Vec<_>>())
        .bind(filter.accounts.iter().map(|a| a.base_url.as_str()).collect::<Vec<_>>())
        .fetch_all(c))?;
    rows.iter().map(read).collect::<Result<_, _>>()
}

fn read(row: &sqlx::postgres::PgRow) -> Result<DueOrder, StoreError> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(|e| store_error(&e));
    Ok(DueOrder {
        order_key: row.try_get("order_key").map_err(|e| store_error(&e))?,
        merchant: merchant(&text("merchant")?)?,
        kind: attempt_kind(&text("kind")?)?,
    })
}

/// How long until another order becomes due; those that are due already are not counted.
pub(super) async fn next_in(pool: &PgPool) -> Result<Option<Duration>, StoreError> {
    let next: Option<(Time, Time)> = answered!(pool, |c| sqlx::query_as(
        "WITH clock AS MATERIALIZED (SELECT jenius_now() AS now)
         SELECT at, (SELECT now FROM clock) FROM due
         WHERE at > (SELECT now FROM clock) ORDER BY at LIMIT 1",
    )
    .fetch_optional(c))?;
    Ok(next.map(|(at, now)| (at - now).to_std().unwrap_or_default()))
}

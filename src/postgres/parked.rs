//! Notifications that came before their order was known: applied before its first send.
//!
//! A notification is committed as parked first, and a claim is committed before this looks: whichever
//! commits last sees the other.

use super::{
    Inner,
    error::{Done, store_error},
    orders::{self, Brought},
};
use crate::{
    domain::{
        learned::{Report, ReportedStatus},
        money::ReportedAmount,
        plan::Plan,
    },
    flow::ports::{Claim, StoreError},
};
use sqlx::{FromRow, PgConnection};
use std::sync::Arc;

/// So many parked notifications of one invoice are applied with its claim: DOKU sends a handful.
const PARKED_MAX: i64 = 100;

#[derive(FromRow)]
struct ParkedRow {
    key: i64,
    status: Option<String>,
    amount: Option<String>,
}

impl ParkedRow {
    /// `None` where the status or the amount is missing.
    fn report(&self) -> Option<Report> {
        let (word, amount) = (self.status.clone()?, self.amount.as_deref()?);
        Some(Report { status: ReportedStatus::read(&word), word, amount: ReportedAmount::read(amount) })
    }
}

/// Applies what was parked for a claimed order. True where the claim is not its any more: that decided it.
pub(super) async fn apply(inner: &Arc<Inner>, claim: &Claim) -> Result<bool, StoreError> {
    let parked: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM notifications
                        WHERE merchant = $1 AND invoice_number = $2 AND order_key IS NULL)",
    )
    .bind(claim.request.merchant.as_str())
    .bind(claim.request.invoice_number.as_str())
    .fetch_one(&inner.pool)
    .await
    .map_err(|e| store_error(&e))?;
    if !parked {
        return Ok(false);
    }
    let (order_key, token, plan) = (claim.order_key, claim.token, inner.plan.clone());
    let (decided, brought) = inner
        .transaction(move |c| {
            Box::pin(async move {
                let brought = apply_all(c, order_key, &plan).await?;
                let order = orders::lock(c, order_key).await?;
                Ok((!order.is_claimed_by(token), brought))
            })
        })
        .await?;
    brought.iter().for_each(|brought| inner.committed(brought));
    Ok(decided)
}

async fn apply_all(connection: &mut PgConnection, order_key: i64, plan: &Plan) -> Done<Vec<Brought>> {
    let order = orders::lock(connection, order_key).await?;
    let rows: Vec<ParkedRow> = sqlx::query_as(
        "SELECT key, status, amount FROM notifications
         WHERE merchant = $1 AND invoice_number = $2 AND order_key IS NULL
         ORDER BY key LIMIT $3 FOR UPDATE",
    )
    .bind(order.record.merchant.as_str())
    .bind(order.record.invoice_number.as_str())
    .bind(PARKED_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let mut brought = Vec::with_capacity(rows.len());
    for row in rows {
        let order = orders::lock(connection, order_key).await?;
        let reason = match row.report() {
            None => Some("incomplete"),
            Some(report) => {
                let change = order.record.clone().after_notification(&report, plan, order.now);
                brought.push(order.write(connection, &change).await?);
                if !report.amount.is(order.record.amount) {
                    Some("amount_mismatch")
                } else if change.order.state == order.record.state {
                    Some("no_change")
                } else {
                    None
                }
            }
        };
        sqlx::query("UPDATE notifications SET order_key = $2, applied = $3, reason = $4 WHERE key = $1")
            .bind(row.key)
            .bind(order_key)
            .bind(reason.is_none())
            .bind(reason)
            .execute(&mut *connection)
            .await?;
    }
    Ok(brought)
}

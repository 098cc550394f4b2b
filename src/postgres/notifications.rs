//! Verified notifications: each is recorded with what it changes, in one transaction under its order's row
//! lock; or parked, where this merchant has no such order yet.

use super::{
    Inner,
    error::{Done, store_error},
    orders::{self, Brought, LockedOrder},
    parked,
    rows::storable,
};
use crate::{
    domain::{
        ids::{InvoiceNumber, MerchantName},
        notification::{NotApplied, Notification},
        plan::Plan,
    },
    flow::ports::{Reconciled, StoreError},
};
use sqlx::PgConnection;
use std::sync::Arc;

/// So many notifications of one order are kept; DOKU sends a handful, a back office now and then one more.
/// Of further ones only those that changed something.
const KEPT_MAX: i64 = 100;
/// Longer texts of DOKU's are cut.
const TEXT_CHARS_MAX: usize = 512;

/// One verified notification on its way into the store.
struct Verified {
    merchant: MerchantName,
    /// `None`: no order of ours can have that number.
    invoice_number: Option<InvoiceNumber>,
    notification: Notification,
}

/// What the first look found.
enum Looked {
    Known(Marked),
    /// Parked, under this key.
    Parked(i64),
}

/// What became of one notification of a known order.
pub(super) struct Marked {
    pub reason: Option<NotApplied>,
    pub brought: Brought,
}

impl Marked {
    pub fn reconciled(&self) -> Reconciled {
        match self.reason {
            None => Reconciled::Applied,
            Some(NotApplied::AmountMismatch) => Reconciled::Mismatch,
            Some(NotApplied::Duplicate | NotApplied::NoChange | NotApplied::Incomplete) => {
                Reconciled::NoChange
            }
        }
    }
}

/// Records a notification with all that follows from it, or parks it. Asked again after an error, it finds
/// a duplicate of what it recorded.
pub(super) async fn reconcile(
    inner: &Arc<Inner>,
    merchant: &MerchantName,
    notification: &Notification,
) -> Result<Reconciled, StoreError> {
    let verified = Arc::new(Verified {
        merchant: merchant.clone(),
        invoice_number: InvoiceNumber::parse(notification.invoice_number.as_str()).ok(),
        notification: notification.clone(),
    });
    let (one, plan) = (Arc::clone(&verified), inner.plan.clone());
    let looked =
        inner.transaction(move |c| Box::pin(async move { record_or_park(c, &one, &plan).await })).await?;
    let parked_key = match looked {
        Looked::Known(marked) => {
            inner.committed(&marked.brought);
            return Ok(marked.reconciled());
        }
        Looked::Parked(key) => key,
    };
    // The order may have been claimed since we looked, by somebody who looked for parked rows before ours
    // was committed: whoever commits last sees the other.
    let Some(order_key) = find_order(inner, &verified).await? else { return Ok(Reconciled::Parked) };
    let applied = parked::apply_to(inner, order_key).await?;
    Ok(applied.into_iter().find(|(key, _)| *key == parked_key).map_or(Reconciled::Parked, |(_, r)| r))
}

async fn record_or_park(connection: &mut PgConnection, one: &Verified, plan: &Plan) -> Done<Looked> {
    let order = match &one.invoice_number {
        Some(number) => orders::lock_invoice(connection, &one.merchant, number).await?,
        None => None,
    };
    let Some(order) = order else { return Ok(Looked::Parked(insert(connection, one, None).await?)) };
    let said = &one.notification;
    let told = told_before(connection, order.order_key, said).await?;
    let marked = mark(connection, &order, said, told.same, plan).await?;
    if told.kept < KEPT_MAX || marked.reconciled() != Reconciled::NoChange {
        insert(connection, one, Some((&order, marked.reason))).await?;
    }
    Ok(Looked::Known(marked))
}

async fn find_order(inner: &Arc<Inner>, one: &Verified) -> Result<Option<i64>, StoreError> {
    let Some(number) = &one.invoice_number else { return Ok(None) };
    sqlx::query_scalar("SELECT order_key FROM orders WHERE merchant = $1 AND invoice_number = $2")
        .bind(one.merchant.as_str())
        .bind(number.as_str())
        .fetch_optional(&inner.pool)
        .await
        .map_err(|e| store_error(&e))
}

/// Writes what a notification changes about its locked order.
pub(super) async fn mark(
    connection: &mut PgConnection,
    order: &LockedOrder,
    said: &Notification,
    told_before: bool,
    plan: &Plan,
) -> Done<Marked> {
    let (change, reason) = order.record.clone().after_notified(said, told_before, plan, order.now);
    let brought = order.write(connection, &change).await?;
    Ok(Marked { reason, brought })
}

/// What is recorded about an order already.
pub(super) struct Told {
    pub kept: i64,
    /// One of them said the same.
    pub same: bool,
}

/// The same content: a Request-Id tells no duplicates, DOKU was seen to use the payment's.
pub(super) async fn told_before(
    connection: &mut PgConnection,
    order_key: i64,
    said: &Notification,
) -> Done<Told> {
    let (kept, same) = sqlx::query_as(
        "SELECT count(*), coalesce(bool_or(status = $2 AND amount = $3), false)
         FROM notifications WHERE order_key = $1",
    )
    .bind(order_key)
    .bind(stored(said.status.as_deref()))
    .bind(stored(said.amount.as_deref()))
    .fetch_one(connection)
    .await?;
    Ok(Told { kept, same })
}

/// Without an order it is parked. With one, it came when its event was made: the cause is not told as the
/// later of the two.
async fn insert(
    connection: &mut PgConnection,
    one: &Verified,
    marked: Option<(&LockedOrder, Option<NotApplied>)>,
) -> Done<i64> {
    let said = &one.notification;
    let reason = marked.and_then(|(_, reason)| reason);
    let key = sqlx::query_scalar(
        "INSERT INTO notifications
             (merchant, invoice_number, order_key, request_id, status, amount, applied, reason, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, jenius_now()))
         RETURNING key",
    )
    .bind(one.merchant.as_str())
    .bind(storable(&said.invoice_number, TEXT_CHARS_MAX))
    .bind(marked.map(|(order, _)| order.order_key))
    .bind(storable(&said.request_id, TEXT_CHARS_MAX))
    .bind(stored(said.status.as_deref()))
    .bind(stored(said.amount.as_deref()))
    .bind(marked.is_some() && reason.is_none())
    .bind(reason.map(NotApplied::name))
    .bind(marked.map(|(order, _)| order.now))
    .fetch_one(connection)
    .await?;
    Ok(key)
}

fn stored(text: Option<&str>) -> Option<String> {
    text.map(|text| storable(text, TEXT_CHARS_MAX))
}

//! Notifications that DOKU's own key signed: no account is bound to them, so they decide nothing. Of an order that is
//! known here one is recorded, and makes an inquiry due now; follow-up makes it, within all limits of inquiries.
//!
//! Never: a row for an order that is not known; more than one such inquiry a minute for an order; a notification with no
//! inquiry after it.

use super::{
    StoreContext,
    error::TxResult,
    notifications::{KEPT_MAX, text},
    orders::{self, LoadedOrder},
};
use crate::{
    domain::{
        ids::{InvoiceNumber, MerchantName},
        notification::{NotApplied, Notification},
        schedule::InquiryRank,
    },
    flow::ports::{Reconciled, StoreError},
};
use sqlx::PgConnection;
use std::sync::Arc;

/// Records it and makes an inquiry due, where the named merchant has such an order.
pub(super) async fn ask_about(
    context: &Arc<StoreContext>,
    merchant: &MerchantName,
    notification: &Notification,
) -> Result<Reconciled, StoreError> {
    let Ok(number) = InvoiceNumber::parse(notification.invoice_number.as_str()) else {
        return Ok(Reconciled::NoChange);
    };
    let (merchant, notification) = (merchant.clone(), notification.clone());
    let is_due = context
        .transaction(move |c| {
            Box::pin(async move {
                let Some(order) = orders::lock_invoice(c, &merchant, &number).await? else {
                    return Ok(false);
                };
                keep(c, &order, &notification).await?;
                prompt(c, &order).await
            })
        })
        .await?;
    if is_due {
        context.due_changed.notify_one();
    }
    Ok(Reconciled::NoChange)
}

/// The same one is kept once. A person who decides about the order has not seen it.
async fn keep(
    connection: &mut PgConnection,
    order: &LoadedOrder,
    notification: &Notification,
) -> TxResult<()> {
    let kept = sqlx::query(
        "INSERT INTO notifications
             (merchant, invoice_number, order_key, request_id, status, amount, applied, reason, received_at,
              request, report_key, form)
         SELECT $1, $2, $3, $4, $5, $6, false, $7, $8, $9, $10, $11
         WHERE NOT EXISTS (SELECT FROM notifications WHERE order_key = $3 AND report_key = $10 AND reason = $7)
           AND (SELECT count(*) FROM notifications WHERE order_key = $3) < $12",
    )
    .bind(order.record.merchant.as_str())
    .bind(order.record.invoice_number.as_str())
    .bind(order.order_key)
    .bind(text(&notification.request_id))
    .bind(notification.status.as_deref().map(text))
    .bind(notification.amount.as_deref().map(text))
    .bind(NotApplied::NotBound.name())
    .bind(order.now)
    .bind(notification.request.as_deref().map(text))
    .bind(text(&notification.report_key()))
    .bind(notification.form.name())
    .bind(KEPT_MAX)
    .execute(&mut *connection)
    .await?;
    if kept.rows_affected() == 0 {
        return Ok(());
    }
    orders::raise(connection, &[order.order_key]).await
}

/// Makes an inquiry due now, or, less than a minute after one that another notification made due, when that minute ends:
/// the two may say different things. What else is due stays due, and the inquiry too, whatever else is written before it
/// is made. Says whether one is due now.
async fn prompt(connection: &mut PgConnection, order: &LoadedOrder) -> TxResult<bool> {
    let is_due = sqlx::query_scalar(
        "WITH prompted AS (
             UPDATE orders
             SET prompted_at = CASE
                 WHEN prompted_at BETWEEN $3 AND $3::timestamptz + interval '1 minute' THEN prompted_at
                 WHEN prompted_at BETWEEN $3::timestamptz - interval '1 minute' AND $3
                     THEN prompted_at + interval '1 minute'
                 ELSE $3 END
             WHERE order_key = $1
             RETURNING order_key, merchant, prompted_at)
         INSERT INTO due (order_key, merchant, inquire_at, inquire_rank, prompted_at)
         SELECT order_key, merchant, prompted_at, $2, prompted_at FROM prompted
         ON CONFLICT (order_key) DO UPDATE
         SET inquire_at = least(due.inquire_at, excluded.inquire_at),
             prompted_at = least(due.prompted_at, excluded.prompted_at)
         RETURNING token IS NULL AND inquire_at <= $3",
    )
    .bind(order.order_key)
    .bind(InquiryRank::Afterwards.number())
    .bind(order.now)
    .fetch_one(connection)
    .await?;
    Ok(is_due)
}

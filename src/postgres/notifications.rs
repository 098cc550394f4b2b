//! Verified notifications: each is recorded with what it changes, in one transaction under its order's row
//! lock; or parked, where this merchant has no such order yet. Those of known orders are recorded together.

use super::{
    StoreContext,
    batch::{Batch, Group},
    error::TxResult,
    orders::{self, CommitEffects, LoadedOrder, raise, write_all},
    parked,
    rows::storable,
    tx::answered,
};
use crate::{
    domain::{
        change::Change,
        ids::{InvoiceNumber, MerchantName},
        notification::{NotApplied, Notification},
        schedule::AttemptSchedule,
    },
    failpoint::{Failpoint, failpoint},
    flow::ports::{Reconciled, StoreError},
};
use sqlx::PgConnection;
use std::{collections::HashMap, sync::Arc};

/// How many notifications of one order are kept; DOKU sends a handful, a back office now and then one more.
/// Beyond it none that repeats another is kept.
pub(super) const KEPT_MAX: i64 = 100;
/// Beyond this many, only those that changed something are kept.
const DIFFERENT_MAX: i64 = 1000;
/// Longer texts of DOKU's are cut.
const TEXT_CHARS_MAX: usize = 512;

/// One verified notification on its way into the store.
struct PendingNotification {
    merchant: MerchantName,
    /// `None`: no order of ours can have that number.
    invoice_number: Option<InvoiceNumber>,
    notification: Notification,
}

/// What the first look found.
enum Looked {
    Known(Marked),
    /// Parked, under this key; `None`: the same report was parked before.
    Parked(Option<i64>),
}

/// What became of one notification of a known order.
pub(super) struct Marked {
    pub reason: Option<NotApplied>,
    pub effects: CommitEffects,
}

impl Marked {
    /// Whether it is worth a row beside the reports about its order that are recorded already.
    pub fn is_kept(&self, prior: &PriorReports) -> bool {
        let repeats = prior.same || self.reason == Some(NotApplied::Incomplete);
        let most = if repeats { KEPT_MAX } else { DIFFERENT_MAX };
        prior.kept < most || self.reconciled() != Reconciled::NoChange
    }

    pub fn reconciled(&self) -> Reconciled {
        match self.reason {
            None => Reconciled::Applied,
            Some(NotApplied::AmountMismatch) => Reconciled::Mismatch,
            Some(NotApplied::OtherRequest) if !self.effects.events.is_empty() => Reconciled::Mismatch,
            Some(
                NotApplied::OtherRequest
                | NotApplied::Duplicate
                | NotApplied::NoChange
                | NotApplied::Incomplete
                | NotApplied::NotBound,
            ) => Reconciled::NoChange,
        }
    }
}

/// Records notifications.
#[derive(Clone)]
pub(super) struct Notifications(Batch<OfKnownOrders>);

impl Notifications {
    pub fn new(context: Arc<StoreContext>) -> Self {
        Self(Batch::new(OfKnownOrders(context)))
    }

    /// Records a notification with all that follows from it, or parks it. Asked again after an error, it
    /// finds a duplicate of what it recorded.
    pub async fn reconcile(
        &self,
        merchant: &MerchantName,
        notification: &Notification,
    ) -> Result<Reconciled, StoreError> {
        let verified = PendingNotification {
            merchant: merchant.clone(),
            invoice_number: InvoiceNumber::parse(notification.invoice_number.as_str()).ok(),
            notification: notification.clone(),
        };
        self.0.add(verified).await
    }
}

/// Notifications are recorded together if their orders are known and free.
struct OfKnownOrders(Arc<StoreContext>);

impl Group for OfKnownOrders {
    type Item = PendingNotification;
    type Key = (MerchantName, String);
    type Reply = Reconciled;

    fn key(one: &PendingNotification) -> Self::Key {
        (one.merchant.clone(), one.notification.invoice_number.clone())
    }

    async fn together(
        self: Arc<Self>,
        all: Vec<Arc<PendingNotification>>,
    ) -> TxResult<Vec<Option<Reconciled>>> {
        let schedule = self.0.schedule.clone();
        let marked = self
            .0
            .transaction(move |c| Box::pin(async move { record_known(c, &all, &schedule).await }))
            .await?;
        failpoint(Failpoint::NotificationsCommitted).await;
        Ok(marked
            .into_iter()
            .map(|marked| {
                let marked = marked?;
                self.0.committed(&marked.effects);
                Some(marked.reconciled())
            })
            .collect())
    }

    async fn alone(self: Arc<Self>, one: Arc<PendingNotification>) -> Result<Reconciled, StoreError> {
        reconcile_one(&self.0, one).await
    }
}

async fn record_known(
    connection: &mut PgConnection,
    all: &[Arc<PendingNotification>],
    schedule: &AttemptSchedule,
) -> TxResult<Vec<Option<Marked>>> {
    let numbered =
        || all.iter().filter_map(|one| Some((one.merchant.as_str(), one.invoice_number.as_ref()?)));
    let (merchants, numbers): (Vec<&str>, Vec<&str>) =
        numbered().map(|(merchant, number)| (merchant, number.as_str())).unzip();
    let orders = orders::lock_free_invoices(connection, &merchants, &numbers).await?;
    let mut orders: HashMap<_, _> = orders
        .into_iter()
        .map(|order| ((order.record.merchant.clone(), order.record.invoice_number.clone()), order))
        .collect();
    let known: Vec<Option<LoadedOrder>> =
        all.iter().map(|one| orders.remove(&(one.merchant.clone(), one.invoice_number.clone()?))).collect();
    let pairs: Vec<(&LoadedOrder, &PendingNotification)> =
        known.iter().zip(all).filter_map(|(order, one)| Some((order.as_ref()?, one.as_ref()))).collect();
    let mut marked = mark_all(connection, &pairs, schedule).await?.into_iter();
    Ok(known.iter().map(|order| order.as_ref().and_then(|_| marked.next())).collect())
}

async fn mark_all(
    connection: &mut PgConnection,
    pairs: &[(&LoadedOrder, &PendingNotification)],
    schedule: &AttemptSchedule,
) -> TxResult<Vec<Marked>> {
    let notifications: Vec<_> =
        pairs.iter().map(|(order, one)| (order.order_key, &one.notification)).collect();
    let prior = already_reported(connection, &notifications, schedule).await?;
    let decided: Vec<(Change, Option<NotApplied>)> = pairs
        .iter()
        .zip(&prior)
        .map(|((order, one), prior)| {
            order.record.clone().apply_notification(&one.notification, prior.same, schedule, order.now)
        })
        .collect();
    let changes: Vec<_> =
        pairs.iter().zip(&decided).map(|((order, _), (change, _))| (*order, change)).collect();
    let effects = write_all(connection, &changes, Vec::new()).await?;
    let marked: Vec<Marked> = decided
        .iter()
        .zip(effects)
        .map(|((_, reason), effects)| Marked { reason: *reason, effects })
        .collect();
    let kept: Vec<NewRow<'_>> = pairs
        .iter()
        .zip(&prior)
        .zip(&marked)
        .filter(|((_, prior), marked)| marked.is_kept(prior))
        .map(|(((order, one), _), marked)| NewRow { one, marked: Some((order, marked.reason)) })
        .collect();
    insert(connection, &kept).await?;
    let news = changes.iter().zip(&prior).zip(&marked).filter(|(((order, change), prior), marked)| {
        !prior.same && marked.is_kept(prior) && order.stays_in_review(change)
    });
    let news: Vec<i64> = news.map(|(((order, _), _), _)| order.order_key).collect();
    raise(connection, &news).await?;
    Ok(marked)
}

async fn reconcile_one(
    context: &Arc<StoreContext>,
    verified: Arc<PendingNotification>,
) -> Result<Reconciled, StoreError> {
    let (one, schedule) = (Arc::clone(&verified), context.schedule.clone());
    let looked = context
        .transaction(move |c| Box::pin(async move { record_or_park(c, &one, &schedule).await }))
        .await?;
    let parked_key = match looked {
        Looked::Known(marked) => {
            context.committed(&marked.effects);
            return Ok(marked.reconciled());
        }
        Looked::Parked(key) => key,
    };
    // The order may have been claimed since we looked, by a process that looked for parked rows before ours
    // was committed: the one that commits last sees the other.
    let Some(order_key) = find_order(context, &verified).await? else { return Ok(Reconciled::Parked) };
    let applied = parked::apply_to(context, order_key).await?;
    Ok(applied.into_iter().find(|(key, _)| Some(*key) == parked_key).map_or(Reconciled::Parked, |(_, r)| r))
}

async fn record_or_park(
    connection: &mut PgConnection,
    one: &PendingNotification,
    schedule: &AttemptSchedule,
) -> TxResult<Looked> {
    let order = match &one.invoice_number {
        Some(number) => orders::lock_invoice(connection, &one.merchant, number).await?,
        None => None,
    };
    let unmarked = || StoreError::Refused("a notification was not judged".to_owned());
    match order {
        Some(order) => {
            let marked = mark_all(connection, &[(&order, one)], schedule).await?.pop();
            Ok(Looked::Known(marked.ok_or_else(unmarked)?))
        }
        None => {
            let key = insert(connection, &[NewRow { one, marked: None }]).await?.pop();
            Ok(Looked::Parked(key))
        }
    }
}

async fn find_order(
    context: &Arc<StoreContext>,
    one: &PendingNotification,
) -> Result<Option<i64>, StoreError> {
    let Some(number) = &one.invoice_number else { return Ok(None) };
    answered!(context.pool, |c| sqlx::query_scalar(
        "SELECT order_key FROM orders WHERE merchant = $1 AND invoice_number = $2"
    )
    .bind(one.merchant.as_str())
    .bind(number.as_str())
    .fetch_optional(c))
}

/// What is recorded about an order already.
pub(super) struct PriorReports {
    pub kept: i64,
    /// One of them was the same report.
    pub same: bool,
}

/// The same content: duplicates are not recognised by Request-Id, because DOKU was seen to use the payment's. One
/// answer for each, in the same order. If `match_request_id` is off, a report that was left aside as another request's
/// is still to be judged; one that was not bound to an account was never judged.
pub(super) async fn already_reported(
    connection: &mut PgConnection,
    notifications: &[(i64, &Notification)],
    schedule: &AttemptSchedule,
) -> TxResult<Vec<PriorReports>> {
    let rows: Vec<(i64, bool)> = sqlx::query_as(
        "SELECT prior.kept, prior.same
         FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS s (order_key, report_key, ordinal),
              LATERAL (SELECT count(*) AS kept,
                              coalesce(bool_or(n.report_key = s.report_key AND n.reason IS DISTINCT FROM $5
                                               AND ($3 OR n.reason IS DISTINCT FROM $4)), false) AS same
                       FROM notifications n WHERE n.order_key = s.order_key) AS prior
         ORDER BY s.ordinal",
    )
    .bind(notifications.iter().map(|(order_key, _)| *order_key).collect::<Vec<_>>())
    .bind(notifications.iter().map(|(_, one)| text(&one.report_key())).collect::<Vec<_>>())
    .bind(schedule.match_request_id)
    .bind(NotApplied::OtherRequest.name())
    .bind(NotApplied::NotBound.name())
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(kept, same)| PriorReports { kept, same }).collect())
}

/// A notification on its way into its table.
struct NewRow<'a> {
    one: &'a PendingNotification,
    /// `None`: parked.
    marked: Option<(&'a LoadedOrder, Option<NotApplied>)>,
}

/// Without an order it is parked, unless the same report is parked already: then there is no key for it. With an
/// order its time is that of its event, so that the cause does not seem later than the event.
async fn insert(connection: &mut PgConnection, all: &[NewRow<'_>]) -> TxResult<Vec<i64>> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let reason = |row: &NewRow<'_>| row.marked.and_then(|(_, reason)| reason);
    let keys = sqlx::query_scalar(
        "INSERT INTO notifications
             (merchant, invoice_number, order_key, request_id, status, amount, applied, reason, received_at,
              request, report_key, form)
         SELECT merchant, invoice_number, order_key, request_id, status, amount,
                order_key IS NOT NULL AND reason IS NULL, reason, coalesce(at, jenius_now()), request, report_key, form
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::timestamptz[], $9::text[], $10::text[], $11::text[])
              AS n (merchant, invoice_number, order_key, request_id, status, amount, reason, at, request, report_key,
                    form)
         ON CONFLICT (merchant, invoice_number, report_key) WHERE order_key IS NULL DO NOTHING
         RETURNING key",
    )
    .bind(all.iter().map(|row| row.one.merchant.as_str()).collect::<Vec<_>>())
    .bind(all.iter().map(|row| text(&row.one.notification.invoice_number)).collect::<Vec<_>>())
    .bind(all.iter().map(|row| row.marked.map(|(order, _)| order.order_key)).collect::<Vec<_>>())
    .bind(all.iter().map(|row| text(&row.one.notification.request_id)).collect::<Vec<_>>())
    .bind(all.iter().map(|row| row.one.notification.status.as_deref().map(text)).collect::<Vec<_>>())
    .bind(all.iter().map(|row| row.one.notification.amount.as_deref().map(text)).collect::<Vec<_>>())
    .bind(all.iter().map(|row| reason(row).map(NotApplied::name)).collect::<Vec<_>>())
    .bind(all.iter().map(|row| row.marked.map(|(order, _)| order.now)).collect::<Vec<_>>())
    .bind(all.iter().map(|row| row.one.notification.request.as_deref().map(text)).collect::<Vec<_>>())
    .bind(all.iter().map(|row| text(&row.one.notification.report_key())).collect::<Vec<_>>())
    .bind(all.iter().map(|row| row.one.notification.form.name()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(keys)
}

pub(super) fn text(text: &str) -> String {
    storable(text, TEXT_CHARS_MAX)
}

//! Notifications that came before their order was known: applied before its first send, or once a minute,
//! or dropped after a week.
//!
//! A notification is committed as parked first, and then the order is looked for; a claim is committed, and
//! then this looks: whichever commits last sees the other.

use super::{
    StoreContext,
    batch::{Batch, Group},
    claim_identity::ClaimIdentity,
    error::{TxResult, unknown_value},
    notifications::{self, Marked},
    orders,
    tx::answered,
};
use crate::{
    domain::{
        Time,
        ids::{InvoiceNumber, MerchantName},
        notification::Notification,
        schedule::AttemptSchedule,
        signed::Form,
    },
    flow::ports::{Claim, ClaimError, Reconciled, StoreError},
};
use parking_lot::Mutex;
use sqlx::{FromRow, PgConnection};
use std::sync::Arc;

/// At most this many parked notifications of one invoice are applied in one transaction: DOKU sends a handful.
const PARKED_MAX: i64 = 25;
/// How many parked rows one look compares with the orders, and how many looks are one round of the sweep.
const LOOKED_AT_MAX: i64 = 1000;
const LOOKS_MAX: usize = 50;
/// This many orders that cannot be written end a round: the next round goes on behind them.
const FAILED_MAX: usize = 20;
/// How many rows one statement drops, and how many statements are one round.
const DROPPED_MAX: i64 = 10_000;
const DROPS_MAX: usize = 100;

#[derive(FromRow)]
struct ParkedRow {
    key: i64,
    request_id: String,
    invoice_number: String,
    status: Option<String>,
    amount: Option<String>,
    request: Option<String>,
    form: String,
}

impl ParkedRow {
    fn into_notification(self) -> Result<Notification, StoreError> {
        let Self { key: _, request_id, invoice_number, status, amount, request, form } = self;
        let form = Form::ALL.into_iter().find(|known| known.name() == form);
        let form = form.ok_or_else(|| unknown_value("form of a notification"))?;
        Ok(Notification { form, request_id, invoice_number, status, amount, request })
    }
}

/// Looks before every send whether anything is parked for its order; many share a look.
#[derive(Clone)]
pub(super) struct Parked {
    context: Arc<StoreContext>,
    looks: Batch<Looks>,
    /// Where the last round of the net ended.
    net: Arc<Mutex<ParkedPosition>>,
}

/// The merchant and invoice number of the last row that was looked at; empty before the first.
type ParkedPosition = (String, String);

impl Parked {
    pub fn new(context: Arc<StoreContext>) -> Self {
        Self { looks: Batch::new(Looks(Arc::clone(&context))), context, net: Arc::default() }
    }

    /// Applies what was parked for a claimed order. True if the claim is not its any more: that decided
    /// it.
    pub async fn apply(&self, claim: &Claim) -> Result<bool, ClaimError> {
        if claim.fresh.as_ref().is_some_and(|fresh| fresh.nothing_parked) {
            return Ok(false);
        }
        let order = (claim.request.merchant.clone(), claim.request.invoice_number.clone());
        if !self.looks.add(order).await? {
            return Ok(false);
        }
        let identity = ClaimIdentity::from_claim(claim);
        // What is parked for an invoice is only ever applied to the order of that invoice, under any claim.
        let (is_known, _) = identity.is_known_and_holds(&self.context, claim.token).await?;
        if !is_known {
            return Err(self.context.forgotten());
        }
        apply_to(&self.context, claim.order_key).await?;
        let (is_known, holds) = identity.is_known_and_holds(&self.context, claim.token).await?;
        if is_known { Ok(!holds) } else { Err(self.context.forgotten()) }
    }
}

struct Looks(Arc<StoreContext>);

impl Group for Looks {
    type Item = (MerchantName, InvoiceNumber);
    type Key = (MerchantName, InvoiceNumber);
    type Reply = bool;

    fn key(order: &Self::Item) -> Self::Key {
        order.clone()
    }

    async fn together(self: Arc<Self>, all: Vec<Arc<Self::Item>>) -> TxResult<Vec<Option<bool>>> {
        let look_for_all = async move |c: &mut PgConnection| {
            let orders: Vec<_> = all.iter().map(|order| (order.0.as_str(), order.1.as_str())).collect();
            look(c, &orders).await
        };
        let parked = self.0.statement(move |c| Box::pin(async move { look_for_all(c).await })).await?;
        Ok(parked.into_iter().map(Some).collect())
    }

    async fn alone(self: Arc<Self>, order: Arc<Self::Item>) -> Result<bool, StoreError> {
        let parked = self.together(vec![order]).await?.pop().flatten();
        parked.ok_or_else(|| StoreError::Refused("a look for parked notifications had no answer".to_owned()))
    }
}

/// Whether anything is parked for each of these orders, by merchant and invoice number, which are committed.
pub(super) async fn look(connection: &mut PgConnection, orders: &[(&str, &str)]) -> TxResult<Vec<bool>> {
    let parked = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM notifications n
                        WHERE n.merchant = o.merchant AND n.invoice_number = o.invoice_number
                          AND n.order_key IS NULL OFFSET 0)
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS o (merchant, invoice_number, ordinal)
         ORDER BY o.ordinal",
    )
    .bind(orders.iter().map(|(merchant, _)| *merchant).collect::<Vec<_>>())
    .bind(orders.iter().map(|(_, invoice_number)| *invoice_number).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(parked)
}

/// Applies all that was parked for an order; says what became of each, by its key.
pub(super) async fn apply_to(
    context: &Arc<StoreContext>,
    order_key: i64,
) -> Result<Vec<(i64, Reconciled)>, StoreError> {
    let mut applied = Vec::new();
    loop {
        let schedule = context.schedule.clone();
        let marked = context
            .transaction(move |c| Box::pin(async move { apply_some(c, order_key, &schedule).await }))
            .await?;
        marked.iter().for_each(|(_, marked)| context.committed(&marked.effects));
        let is_all = marked.len() < usize::try_from(PARKED_MAX).unwrap_or_default();
        applied.extend(marked.into_iter().map(|(key, marked)| (key, marked.reconciled())));
        if is_all {
            return Ok(applied);
        }
    }
}

async fn apply_some(
    connection: &mut PgConnection,
    order_key: i64,
    schedule: &AttemptSchedule,
) -> TxResult<Vec<(i64, Marked)>> {
    let order = orders::lock(connection, order_key).await?;
    let rows: Vec<ParkedRow> = sqlx::query_as(
        "SELECT key, request_id, invoice_number, status, amount, request, form FROM notifications
         WHERE merchant = $1 AND invoice_number = $2 AND order_key IS NULL
         ORDER BY key LIMIT $3 FOR UPDATE",
    )
    .bind(order.record.merchant.as_str())
    .bind(order.record.invoice_number.as_str())
    .bind(PARKED_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let key = row.key;
        let marked = apply(connection, order_key, row, schedule).await?;
        all.push((key, marked));
    }
    Ok(all)
}

async fn apply(
    connection: &mut PgConnection,
    order_key: i64,
    row: ParkedRow,
    schedule: &AttemptSchedule,
) -> TxResult<Marked> {
    let (key, order) = (row.key, orders::lock(connection, order_key).await?);
    let notification = row.into_notification()?;
    let prior =
        notifications::already_reported(connection, &[(order_key, &notification)], schedule).await?.pop();
    let prior = prior
        .ok_or_else(|| StoreError::Refused("the reports that were recorded before are missing".to_owned()))?;
    let (change, reason) =
        order.record.clone().apply_notification(&notification, prior.same, schedule, order.now);
    let marked = Marked { reason, effects: order.write(connection, &change).await? };
    if !prior.same && marked.is_kept(&prior) && order.stays_in_review(&change) {
        orders::raise(connection, &[order_key]).await?;
    }
    let write = if marked.is_kept(&prior) {
        sqlx::query("UPDATE notifications SET order_key = $2, applied = $3, reason = $4 WHERE key = $1")
            .bind(key)
            .bind(order_key)
            .bind(marked.reason.is_none())
            .bind(marked.reason.map(|reason| reason.name()))
    } else {
        sqlx::query("DELETE FROM notifications WHERE key = $1").bind(key)
    };
    write.execute(connection).await?;
    Ok(marked)
}

/// Once a minute: drops old reports that no order came for, and applies what is parked though its order is known.
/// Neither waits for the other to succeed.
pub(super) async fn tend(parked: &Parked) -> Result<(), StoreError> {
    let dropped = drop_old(&parked.context).await;
    let applied = parked.net().await;
    dropped.and(applied)
}

/// A round ends after this many statements: more than any account's channels park in a minute.
async fn drop_old(context: &Arc<StoreContext>) -> Result<(), StoreError> {
    let mut from: Option<Time> = None;
    for _ in 0..DROPS_MAX {
        // From where the statement before ended: what was dropped is still in the index, and would be read again.
        let (dropped, last): (i64, Option<Time>) = answered!(context.pool, |c| sqlx::query_as(
            "WITH dropped AS (
                 DELETE FROM notifications WHERE key = ANY (ARRAY(
                     SELECT key FROM notifications
                     WHERE coalesce(order_key, 0) = 0
                       AND received_at < (SELECT jenius_now()) - interval '7 days'
                       AND received_at >= coalesce($2, '-infinity')
                     ORDER BY received_at LIMIT $1 FOR UPDATE SKIP LOCKED))
                 RETURNING received_at)
             SELECT count(*), max(received_at) FROM dropped",
        )
        .bind(DROPPED_MAX)
        .bind(from)
        .fetch_one(c))?;
        if dropped < DROPPED_MAX {
            return Ok(());
        }
        from = last;
    }
    Ok(())
}

impl Parked {
    /// Holds parked rows against the orders, invoice by invoice, and goes on where the round before ended. An order
    /// that cannot be written holds up no other.
    async fn net(&self) -> Result<(), StoreError> {
        let mut failed = Vec::new();
        for _ in 0..LOOKS_MAX {
            let from = self.net.lock().clone();
            let (orders, next) = known_orders(&self.context, &from).await?;
            let is_end = next.is_none();
            *self.net.lock() = next.unwrap_or_default();
            for order_key in orders {
                if let Err(error) = apply_to(&self.context, order_key).await {
                    tracing::warn!(order_key, %error, "parked notifications of an order cannot be applied now; the next sweep tries again");
                    failed.push(error);
                }
            }
            if is_end || failed.len() >= FAILED_MAX {
                break;
            }
        }
        failed.into_iter().next().map_or(Ok(()), Err)
    }
}

/// The orders that are known of the next parked rows, and the invoice of the last of them; `None` at the end.
async fn known_orders(
    context: &Arc<StoreContext>,
    from: &ParkedPosition,
) -> Result<(Vec<i64>, Option<ParkedPosition>), StoreError> {
    let rows: Vec<(String, String, Option<i64>)> = answered!(context.pool, |c| sqlx::query_as(
        "SELECT n.merchant, n.invoice_number, o.order_key
         FROM (SELECT merchant, invoice_number FROM notifications
               WHERE order_key IS NULL AND (merchant, invoice_number) > ($1, $2)
               ORDER BY merchant, invoice_number LIMIT $3) AS n
         LEFT JOIN LATERAL (SELECT order_key FROM orders
                            WHERE merchant = n.merchant AND invoice_number = n.invoice_number OFFSET 0) AS o
              ON true
         ORDER BY n.merchant, n.invoice_number",
    )
    .bind(&from.0)
    .bind(&from.1)
    .bind(LOOKED_AT_MAX)
    .fetch_all(c))?;
    let is_end = rows.len() < usize::try_from(LOOKED_AT_MAX).unwrap_or_default();
    let last = rows.last().map(|(merchant, invoice_number, _)| (merchant.clone(), invoice_number.clone()));
    let mut orders: Vec<i64> = rows.into_iter().filter_map(|(.., order_key)| order_key).collect();
    orders.dedup();
    Ok((orders, last.filter(|_| !is_end)))
}

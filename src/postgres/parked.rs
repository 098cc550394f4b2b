//! Notifications that came before their order was known: applied before its first send, or once a minute,
//! or dropped after a week.
//!
//! A notification is committed as parked first, and then the order is looked for; a claim is committed, and
//! then this looks: whichever commits last sees the other.

use super::{
    Inner,
    batch::{Batch, Group},
    error::Done,
    notifications::{self, Marked},
    orders,
    tx::answered,
    whose::Whose,
};
use crate::{
    domain::{
        ids::{InvoiceNumber, MerchantName},
        notification::Notification,
        plan::Plan,
    },
    flow::ports::{Claim, ClaimError, Reconciled, StoreError},
};
use sqlx::{FromRow, PgConnection};
use std::sync::Arc;

/// So many parked notifications of one invoice are applied at a time: DOKU sends a handful.
const PARKED_MAX: i64 = 100;
/// So many orders are joined with what was parked for them, in one look.
const ORDERS_MAX: i64 = 1000;
/// So many rows are dropped by one statement.
const DROPPED_MAX: i64 = 10_000;

#[derive(FromRow)]
struct ParkedRow {
    key: i64,
    request_id: String,
    invoice_number: String,
    status: Option<String>,
    amount: Option<String>,
}

impl ParkedRow {
    fn said(self) -> Notification {
        let Self { key: _, request_id, invoice_number, status, amount } = self;
        Notification { request_id, invoice_number, status, amount }
    }
}

/// Looks before every send whether anything is parked for its order; many share a look.
#[derive(Clone)]
pub(super) struct Parked {
    inner: Arc<Inner>,
    looks: Batch<Looks>,
}

impl Parked {
    pub fn new(inner: Arc<Inner>) -> Self {
        Self { looks: Batch::new(Looks(Arc::clone(&inner))), inner }
    }

    /// Applies what was parked for a claimed order. True where the claim is not its any more: that decided
    /// it.
    pub async fn apply(&self, claim: &Claim) -> Result<bool, ClaimError> {
        if claim.fresh.as_ref().is_some_and(|fresh| fresh.nothing_parked) {
            return Ok(false);
        }
        let order = (claim.request.merchant.clone(), claim.request.invoice_number.clone());
        if !self.looks.add(order).await? {
            return Ok(false);
        }
        let whose = Whose::of(claim);
        // What is parked for an invoice is only ever applied to the order of that invoice, whoever claimed it.
        let (is_known, _) = whose.is_known_and_holds(&self.inner, claim.token).await?;
        if !is_known {
            return Err(self.inner.forgotten());
        }
        apply_to(&self.inner, claim.order_key).await?;
        let (is_known, holds) = whose.is_known_and_holds(&self.inner, claim.token).await?;
        if is_known { Ok(!holds) } else { Err(self.inner.forgotten()) }
    }
}

struct Looks(Arc<Inner>);

impl Group for Looks {
    type Item = (MerchantName, InvoiceNumber);
    type Key = (MerchantName, InvoiceNumber);
    type Answer = bool;

    fn key(order: &Self::Item) -> Self::Key {
        order.clone()
    }

    async fn together(self: Arc<Self>, all: Vec<Arc<Self::Item>>) -> Done<Vec<Option<bool>>> {
        let orders: Vec<_> = all.iter().map(|order| Self::Item::clone(order)).collect();
        let parked = self.0.statement(move |c| Box::pin(async move { look(c, &orders).await })).await?;
        Ok(parked.into_iter().map(Some).collect())
    }

    async fn alone(self: Arc<Self>, order: Arc<Self::Item>) -> Result<bool, StoreError> {
        let parked = self.together(vec![order]).await?.pop().flatten();
        parked.ok_or_else(|| StoreError::Refused("a look for parked notifications said nothing".to_owned()))
    }
}

/// Whether anything is parked for each of these orders, which are committed.
pub(super) async fn look(
    connection: &mut PgConnection,
    orders: &[(MerchantName, InvoiceNumber)],
) -> Done<Vec<bool>> {
    let parked = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM notifications n
                        WHERE n.merchant = o.merchant AND n.invoice_number = o.invoice_number
                          AND n.order_key IS NULL OFFSET 0)
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS o (merchant, invoice_number, place)
         ORDER BY o.place",
    )
    .bind(orders.iter().map(|(merchant, _)| merchant.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|(_, invoice_number)| invoice_number.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(parked)
}

/// Applies what was parked for an order; says what became of each, by its key.
pub(super) async fn apply_to(
    inner: &Arc<Inner>,
    order_key: i64,
) -> Result<Vec<(i64, Reconciled)>, StoreError> {
    let plan = inner.plan.clone();
    let marked =
        inner.transaction(move |c| Box::pin(async move { apply_all(c, order_key, &plan).await })).await?;
    marked.iter().for_each(|(_, marked)| inner.committed(&marked.brought));
    Ok(marked.into_iter().map(|(key, marked)| (key, marked.reconciled())).collect())
}

async fn apply_all(connection: &mut PgConnection, order_key: i64, plan: &Plan) -> Done<Vec<(i64, Marked)>> {
    let order = orders::lock(connection, order_key).await?;
    let rows: Vec<ParkedRow> = sqlx::query_as(
        "SELECT key, request_id, invoice_number, status, amount FROM notifications
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
        let (key, order) = (row.key, orders::lock(connection, order_key).await?);
        let said = row.said();
        let told = notifications::told_before(connection, &[(order_key, &said)]).await?;
        let told_same = told.iter().any(|told| told.same);
        let (change, reason) = order.record.clone().after_notified(&said, told_same, plan, order.now);
        let marked = Marked { reason, brought: order.write(connection, &change).await? };
        sqlx::query("UPDATE notifications SET order_key = $2, applied = $3, reason = $4 WHERE key = $1")
            .bind(key)
            .bind(order_key)
            .bind(marked.reason.is_none())
            .bind(marked.reason.map(|reason| reason.name()))
            .execute(&mut *connection)
            .await?;
        all.push((key, marked));
    }
    Ok(all)
}

/// The net: applies what is parked though its order is known, and drops what nobody's order came for.
pub(super) async fn tend(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let orders: Vec<i64> = answered!(inner.pool, |c| sqlx::query_scalar(
        "SELECT DISTINCT o.order_key
         FROM notifications n JOIN orders o USING (merchant, invoice_number)
         WHERE n.order_key IS NULL LIMIT $1",
    )
    .bind(ORDERS_MAX)
    .fetch_all(c))?;
    for order_key in orders {
        apply_to(inner, order_key).await?;
    }
    answered!(inner.pool, |c| sqlx::query(
        "DELETE FROM notifications WHERE key = ANY (ARRAY(
             SELECT key FROM notifications
             WHERE coalesce(order_key, 0) = 0 AND received_at < (SELECT jenius_now()) - interval '7 days'
             LIMIT $1 FOR UPDATE SKIP LOCKED))",
    )
    .bind(DROPPED_MAX)
    .execute(c))?;
    Ok(())
}

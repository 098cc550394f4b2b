//! An order under its row lock: reading it, alone or with others, and everything that hangs on it.
//! `write` writes what the domain decided about it.

mod changes;

pub(super) use changes::{CommitEffects, raise, write_all, write_all_or_nothing};

use super::{
    claim_identity::ClaimIdentity,
    error::TxResult,
    rows::{DueColumns, DueRow, OrderRow, ProgressRow, request_id},
};
use crate::{
    domain::{
        Time,
        change::Change,
        command::TraceContext,
        ids::{InvoiceNumber, MerchantName, RequestId},
        order::{OrderState, ReviewCause},
        record::OrderRecord,
    },
    flow::ports::{FreshOrder, StoreError},
};
use chrono::{SubsecRound, TimeDelta};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};
use std::collections::HashMap;
use uuid::Uuid;

/// An order and everything that hangs on it. This transaction has locked its row, or writes nothing unless it still
/// finds the row as it is here.
pub(super) struct LoadedOrder {
    pub order_key: i64,
    pub revision: i64,
    pub payment_key: i64,
    pub refund_key: Option<i64>,
    pub record: OrderRecord,
    pub due: Option<DueRow>,
    /// The token of the attempt under way.
    claimed_by: Option<Uuid>,
    /// The database's clock, read under the lock.
    pub now: Time,
    payment_trace: TraceContext,
    refund_trace: TraceContext,
    payment_published_at: Option<Time>,
    refund_published_at: Option<Time>,
}

macro_rules! select_order {
    ($rest:literal) => {
        concat!(
            "SELECT o.order_key, o.merchant, o.invoice_number, o.amount, o.state, o.review_cause, o.state_since,
                    o.version, o.revision, o.announced_paid, o.announced_failed, o.announced_expired,
                    o.announced_refunded, o.doku_status, o.evidence, o.checks_made, o.payment, o.refund
             FROM orders o ",
            $rest
        )
    };
}

/// Locks an order; waits while another transaction has it.
pub(super) async fn lock(connection: &mut PgConnection, order_key: i64) -> TxResult<LoadedOrder> {
    lock_if_known(connection, order_key).await?.ok_or_else(orphan)
}

/// The same; `None` if there is none.
pub(super) async fn lock_if_known(
    connection: &mut PgConnection,
    order_key: i64,
) -> TxResult<Option<LoadedOrder>> {
    let row = sqlx::query_as(select_order!("WHERE order_key = $1 FOR UPDATE"))
        .bind(order_key)
        .fetch_optional(&mut *connection)
        .await?;
    Ok(read_locked(connection, row.into_iter().collect()).await?.pop())
}

/// Locks an order by its number; waits while another transaction has it; `None` if there is none.
pub(super) async fn lock_invoice(
    connection: &mut PgConnection,
    merchant: &MerchantName,
    invoice_number: &InvoiceNumber,
) -> TxResult<Option<LoadedOrder>> {
    let row = sqlx::query_as(select_order!("WHERE merchant = $1 AND invoice_number = $2 FOR UPDATE"))
        .bind(merchant.as_str())
        .bind(invoice_number.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    Ok(read_locked(connection, row.into_iter().collect()).await?.pop())
}

/// An order as it is now, without a lock: nothing may be decided for it.
pub(super) async fn look(
    connection: &mut PgConnection,
    merchant: &MerchantName,
    invoice_number: &InvoiceNumber,
) -> TxResult<Option<OrderRecord>> {
    let row = sqlx::query_as(select_order!("WHERE merchant = $1 AND invoice_number = $2"))
        .bind(merchant.as_str())
        .bind(invoice_number.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let found = read_locked(connection, row.into_iter().collect()).await?.pop();
    Ok(found.map(|order| order.record))
}

/// Locks those that no other transaction has, in one order everywhere.
pub(super) async fn lock_free(
    connection: &mut PgConnection,
    order_keys: &[i64],
) -> TxResult<Vec<LoadedOrder>> {
    let condition = select_order!("WHERE order_key = ANY ($1) ORDER BY order_key FOR UPDATE SKIP LOCKED");
    let rows = sqlx::query_as(condition).bind(order_keys).fetch_all(&mut *connection).await?;
    read_locked(connection, rows).await
}

/// The same; waits while another transaction has one of them.
pub(super) async fn lock_all(
    connection: &mut PgConnection,
    order_keys: &[i64],
) -> TxResult<Vec<LoadedOrder>> {
    let condition = select_order!("WHERE order_key = ANY ($1) ORDER BY order_key FOR UPDATE");
    let rows = sqlx::query_as(condition).bind(order_keys).fetch_all(&mut *connection).await?;
    read_locked(connection, rows).await
}

/// The same by merchants and invoice numbers, which are as many.
pub(super) async fn lock_free_invoices(
    connection: &mut PgConnection,
    merchants: &[&str],
    invoice_numbers: &[&str],
) -> TxResult<Vec<LoadedOrder>> {
    let condition = select_order!(
        "JOIN unnest($1::text[], $2::text[]) AS wanted (merchant, invoice_number)
             USING (merchant, invoice_number)
         ORDER BY order_key FOR UPDATE OF o SKIP LOCKED"
    );
    let rows =
        sqlx::query_as(condition).bind(merchants).bind(invoice_numbers).fetch_all(&mut *connection).await?;
    read_locked(connection, rows).await
}

/// Reads the rest in a statement of its own: the one that waited for the lock would show the commands
/// and the due row as they were before the wait. OFFSET 0 makes each look one into the index: if nothing was
/// due when the server last counted, it would read all that is due now for each order.
async fn read_locked(connection: &mut PgConnection, orders: Vec<OrderRow>) -> TxResult<Vec<LoadedOrder>> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let payments = orders.iter().map(|order| (order.order_key, order.payment));
    let refunds = orders.iter().filter_map(|order| Some((order.order_key, order.refund?)));
    let (order_keys, command_keys): (Vec<i64>, Vec<i64>) = payments.chain(refunds).unzip();
    let rows = sqlx::query(
        "SELECT c.key, c.source, c.id, c.kind, c.traceparent, c.tracestate, c.request_id, c.claimed_at,
                c.sends_end_at, c.sends, c.last_send_at, c.maybe_acted_at, c.doubted_at,
                c.inquired_at,
                c.failed_inquiries, c.contradictions, c.outcome,
                c.published_at, c.ask_first, c.imported,
                CASE WHEN c.kind = 'refund' THEN ARRAY(
                    SELECT request_id FROM commands e
                    WHERE e.merchant = c.merchant AND e.invoice_number = c.invoice_number AND e.kind = 'refund'
                      AND e.key <> c.key AND e.request_id IS NOT NULL
                    ORDER BY e.key) END AS earlier_refunds,
                d.*, (SELECT jenius_now()) AS now
         FROM unnest($1::bigint[], $2::bigint[]) AS of (order_key, command_key)
         JOIN commands c ON c.key = of.command_key
         LEFT JOIN LATERAL (SELECT inquire_at, inquire_rank, send_at, sends_end_at AS due_sends_end_at, send_rank,
                                   token, claimed_at AS due_claimed_at, attempt, lease_ends_at, stranded_at
                            FROM due WHERE order_key = of.order_key OFFSET 0) d ON true",
    )
    .bind(&order_keys)
    .bind(&command_keys)
    .fetch_all(&mut *connection)
    .await?;
    let mut commands = HashMap::with_capacity(rows.len());
    for row in &rows {
        let command = ProgressRow::from_row(row)?;
        commands.insert(command.key, (command, row));
    }
    orders.into_iter().map(|order| with_its_rows(&order, &commands)).collect()
}

fn with_its_rows(order: &OrderRow, commands: &HashMap<i64, (ProgressRow, &PgRow)>) -> TxResult<LoadedOrder> {
    let (payment, beside) = commands.get(&order.payment).ok_or_else(orphan)?;
    let refund = match order.refund {
        Some(key) => Some(commands.get(&key).ok_or_else(orphan)?),
        None => None,
    };
    let earlier_refunds = refund.map(|(_, beside)| earlier_refunds(beside)).transpose()?.unwrap_or_default();
    let refund = refund.map(|(row, _)| row);
    let refund_progress = refund.map(ProgressRow::progress).transpose()?;
    let due = due_of(beside)?;
    Ok(LoadedOrder {
        order_key: order.order_key,
        revision: order.revision,
        payment_key: order.payment,
        refund_key: order.refund,
        record: order.record(payment.origin()?, payment.progress()?, refund_progress, earlier_refunds)?,
        claimed_by: due.as_ref().and_then(|due| due.lease).map(|lease| lease.token),
        due,
        now: beside.try_get("now")?,
        payment_trace: payment.trace(),
        refund_trace: refund.map(ProgressRow::trace).unwrap_or_default(),
        payment_published_at: payment.published_at,
        refund_published_at: refund.and_then(|row| row.published_at),
    })
}

fn earlier_refunds(beside: &PgRow) -> TxResult<Vec<RequestId>> {
    let ids: Option<Vec<String>> = beside.try_get("earlier_refunds")?;
    Ok(ids.unwrap_or_default().iter().map(|id| request_id(id)).collect::<Result<_, _>>()?)
}

fn orphan() -> super::error::TxError {
    StoreError::Refused("an order without its command".to_owned()).into()
}

fn due_of(row: &PgRow) -> TxResult<Option<DueRow>> {
    if row.try_get::<Option<Time>, _>("inquire_at")?.is_none() {
        return Ok(None);
    }
    Ok(Some(DueColumns::from_row(row)?.read()?))
}

impl LoadedOrder {
    /// The order of a first send, as its claim was committed. Nothing is read: the statement that writes it finds out whether that
    /// is still so.
    pub fn as_claimed(identity: &ClaimIdentity, token: Uuid, fresh: &FreshOrder) -> Self {
        let since = TimeDelta::from_std(fresh.asked_at.elapsed()).unwrap_or(TimeDelta::MAX);
        let now = fresh.claimed_at.checked_add_signed(since).unwrap_or(fresh.claimed_at);
        Self {
            order_key: identity.order_key,
            revision: 0,
            payment_key: identity.command_key,
            refund_key: None,
            record: fresh.record.clone(),
            due: None,
            claimed_by: Some(token),
            // As exact as the database keeps it.
            now: now.trunc_subsecs(6),
            payment_trace: fresh.trace.clone(),
            refund_trace: TraceContext::default(),
            payment_published_at: fresh.published_at,
            refund_published_at: None,
        }
    }

    /// Whether it was claimed, or its command published, before the database went back in time.
    pub fn is_from_before(&self, restored_at: Time) -> bool {
        self.record.payment.claimed_at <= restored_at
            || self.payment_published_at.is_some_and(|published| published <= restored_at)
    }

    /// Whether an attempt with this token is the one under way.
    pub fn is_claimed_by(&self, token: Uuid) -> bool {
        self.claimed_by == Some(token)
    }

    /// The command whose request and account an attempt uses now: the open one, or a refund that is unresolved; else the
    /// payment.
    pub fn command_to_ask_about(&self) -> i64 {
        match self.record.state {
            OrderState::Refunding | OrderState::Review(ReviewCause::RefundUnresolved) => {
                self.refund_key.unwrap_or(self.payment_key)
            }
            OrderState::Submitting
            | OrderState::AwaitingPayment
            | OrderState::Paid
            | OrderState::Failed
            | OrderState::Expired
            | OrderState::Abandoned
            | OrderState::Refunded
            | OrderState::Review(
                ReviewCause::PaymentUnresolved
                | ReviewCause::CheckGaveUp
                | ReviewCause::AmountMismatch
                | ReviewCause::OtherRequest,
            ) => self.payment_key,
        }
    }

    /// The trace of one of its commands.
    pub fn traceparent_of(&self, command_key: i64) -> Option<String> {
        let is_refund = self.refund_key == Some(command_key);
        let trace = if is_refund { &self.refund_trace } else { &self.payment_trace };
        trace.traceparent.clone()
    }

    /// Writes what follows for this order alone.
    pub async fn write(&self, connection: &mut PgConnection, change: &Change) -> TxResult<CommitEffects> {
        let effects = write_all(connection, &[(self, change)], Vec::new()).await;
        effects.map(|mut effects| effects.pop().unwrap_or_default())
    }
}

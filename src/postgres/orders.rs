//! An order under its row lock: reading it, and writing what the domain decided about it.

use super::{
    due,
    error::Done,
    events,
    rows::{DueRow, OrderRow, ProgressRow, attempt_kind, storable, stored_count},
};
use crate::{
    domain::{
        Time,
        command::{CommandKind, Outcome, TraceContext},
        event::OrderEvent,
        ids::{InvoiceNumber, MerchantName},
        learned::{AttemptClass, AttemptKind},
        order::{OrderState, ReviewCause},
        record::{Change, DueChange, OrderRecord, Progress},
    },
    flow::ports::StoreError,
};
use sqlx::{FromRow, PgConnection, Row};
use std::time::Duration;
use uuid::Uuid;

/// DOKU's status words are short; longer ones are cut in the table, not in the event.
const STATUS_CHARS_MAX: usize = 64;

/// An order whose row this transaction has locked, and everything that hangs on it.
pub(super) struct LockedOrder {
    pub order_key: i64,
    pub revision: i64,
    pub payment_key: i64,
    pub refund_key: Option<i64>,
    pub record: OrderRecord,
    pub due: Option<DueRow>,
    /// The database's clock, read under the lock.
    pub now: Time,
    payment_trace: TraceContext,
    refund_trace: TraceContext,
}

/// Follow-up looks once a second by itself: only what is due sooner is worth a wake-up.
const WAKE_WITHIN: Duration = Duration::from_secs(1);

/// What a commit will have brought, for those who wait for it and those who count.
#[derive(Debug, Default)]
pub(super) struct Brought {
    pub events: bool,
    pub due: bool,
    /// The command that has its outcome now, and how long after its claim.
    pub settled: Option<(CommandKind, Outcome, Duration)>,
    pub attempts: Vec<(AttemptKind, AttemptClass)>,
}

macro_rules! select_order {
    ($condition:literal) => {
        concat!(
            "SELECT order_key, merchant, invoice_number, amount, state, review_cause, state_since,
                    version, revision, announced_paid, announced_failed, announced_refunded,
                    doku_status, evidence, checks_made, payment, refund
             FROM orders WHERE ",
            $condition
        )
    };
}

/// Locks an order, waiting for whoever has it.
pub(super) async fn lock(connection: &mut PgConnection, order_key: i64) -> Done<LockedOrder> {
    let row = sqlx::query_as(select_order!("order_key = $1 FOR UPDATE"))
        .bind(order_key)
        .fetch_one(&mut *connection)
        .await?;
    read_locked(connection, row).await
}

/// Locks an order by its number; `None` where there is none.
pub(super) async fn lock_invoice(
    connection: &mut PgConnection,
    merchant: &MerchantName,
    invoice_number: &InvoiceNumber,
) -> Done<Option<LockedOrder>> {
    let row = sqlx::query_as(select_order!("merchant = $1 AND invoice_number = $2 FOR UPDATE"))
        .bind(merchant.as_str())
        .bind(invoice_number.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    match row {
        Some(row) => read_locked(connection, row).await.map(Some),
        None => Ok(None),
    }
}

/// Locks an order unless another transaction has it.
pub(super) async fn lock_if_free(connection: &mut PgConnection, order_key: i64) -> Done<Option<LockedOrder>> {
    let row = sqlx::query_as(select_order!("order_key = $1 FOR UPDATE SKIP LOCKED"))
        .bind(order_key)
        .fetch_optional(&mut *connection)
        .await?;
    match row {
        Some(row) => read_locked(connection, row).await.map(Some),
        None => Ok(None),
    }
}

/// Reads the rest in a statement of its own: the one that waited for the lock would show the commands
/// and the due row as they were before the wait.
async fn read_locked(connection: &mut PgConnection, order: OrderRow) -> Done<LockedOrder> {
    let rows = sqlx::query(
        "SELECT c.key, c.source, c.id, c.kind, c.traceparent, c.tracestate, c.request_id, c.claimed_at,
                c.sends_end_at, c.sends, c.last_send_at, c.maybe_acted_at, c.inquired,
                c.failed_inquiries, c.contradictions, c.outcome,
                d.kind AS due_kind, d.at AS due_at, d.token AS due_token, d.claimed_at AS due_claimed_at,
                jenius_now() AS now
         FROM commands c LEFT JOIN due d ON d.order_key = $1
         WHERE c.key = $2 OR c.key = $3",
    )
    .bind(order.order_key)
    .bind(order.payment)
    .bind(order.refund)
    .fetch_all(&mut *connection)
    .await?;
    let orphan = || StoreError::Refused("an order without its command".to_owned());
    let (mut payment, mut refund) = (None, None);
    for row in &rows {
        let command = ProgressRow::from_row(row)?;
        if command.key == order.payment {
            payment = Some(command);
        } else {
            refund = Some(command);
        }
    }
    let payment = payment.ok_or_else(orphan)?;
    let beside = rows.first().ok_or_else(orphan)?;
    let refund_progress = refund.as_ref().map(ProgressRow::progress).transpose()?;
    Ok(LockedOrder {
        order_key: order.order_key,
        revision: order.revision,
        payment_key: order.payment,
        refund_key: order.refund,
        record: order.record(payment.progress()?, refund_progress)?,
        due: due_of(beside)?,
        now: beside.try_get("now")?,
        payment_trace: payment.trace(),
        refund_trace: refund.as_ref().map(ProgressRow::trace).unwrap_or_default(),
    })
}

fn due_of(row: &sqlx::postgres::PgRow) -> Done<Option<DueRow>> {
    let Some(kind) = row.try_get::<Option<String>, _>("due_kind")? else { return Ok(None) };
    Ok(Some(DueRow {
        kind: attempt_kind(&kind)?,
        at: row.try_get("due_at")?,
        token: row.try_get("due_token")?,
        claimed_at: row.try_get("due_claimed_at")?,
    }))
}

impl LockedOrder {
    /// Whether an attempt with this token is the one under way.
    pub fn is_claimed_by(&self, token: Uuid) -> bool {
        self.due.as_ref().is_some_and(|due| due.token == Some(token))
    }

    /// The command whose request and account an attempt uses now: the open one's, or the one whose
    /// outcome nobody knows; else the payment's.
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
                ReviewCause::PaymentUnresolved | ReviewCause::CheckGaveUp | ReviewCause::AmountMismatch,
            ) => self.payment_key,
        }
    }

    fn trace(&self, event: &OrderEvent) -> &TraceContext {
        if event.event_type.is_about_refund() { &self.refund_trace } else { &self.payment_trace }
    }

    /// Writes a change: events and outbox, commands, order, due; all that follows, or an error.
    pub async fn write(&self, connection: &mut PgConnection, change: &Change) -> Done<Brought> {
        let told = change
            .events
            .iter()
            .map(|e| events::of_order(self.order_key, &change.order, e, self.trace(e), self.now))
            .collect::<Result<Vec<_>, _>>()?;
        events::insert(connection, &told).await?;
        let outcome_event = |kind: CommandKind| {
            told.iter().find(|e| e.event_type.settles().is_some_and(|(of, _)| of == kind)).map(|e| e.event_id)
        };
        let (was, is) = (&self.record, &change.order);
        if is.payment != was.payment {
            let told = outcome_event(CommandKind::Payment);
            update_progress(connection, self.payment_key, &is.payment, told, self.now).await?;
        }
        if let (Some(key), Some(refund)) = (self.refund_key, &is.refund)
            && is.refund != was.refund
        {
            let told = outcome_event(CommandKind::Refund);
            update_progress(connection, key, refund, told, self.now).await?;
        }
        if is != was {
            self.update_order(connection, is).await?;
        }
        let due = match &change.due {
            DueChange::Keep => false,
            DueChange::Replace(None) => {
                due::delete(connection, self.order_key).await?;
                false
            }
            DueChange::Replace(Some(due)) => {
                due::put(connection, self.order_key, &is.merchant, due, None).await?;
                due.at <= self.now + WAKE_WITHIN
            }
        };
        let settled = change.settled.map(|(kind, outcome)| (kind, outcome, self.since_claim(kind)));
        Ok(Brought { events: !told.is_empty(), due, settled, attempts: Vec::new() })
    }

    fn since_claim(&self, kind: CommandKind) -> Duration {
        let command = match kind {
            CommandKind::Payment => Some(&self.record.payment),
            CommandKind::Refund => self.record.refund.as_ref(),
        };
        command.and_then(|c| (self.now - c.claimed_at).to_std().ok()).unwrap_or_default()
    }

    /// The claim of a refund, which has been stored: the paid order moves to `refunding`.
    pub async fn open_refund(&self, connection: &mut PgConnection, command_key: i64) -> Done<()> {
        let updated = sqlx::query(
            "UPDATE orders SET state = $4, state_since = $5, refund = $3, checks_made = 0,
                    revision = revision + 1
             WHERE order_key = $1 AND revision = $2 AND state = $6",
        )
        .bind(self.order_key)
        .bind(self.revision)
        .bind(command_key)
        .bind(OrderState::Refunding.name())
        .bind(self.now)
        .bind(OrderState::Paid.name())
        .execute(connection)
        .await?;
        exactly_one(updated.rows_affected(), "order")
    }

    async fn update_order(&self, connection: &mut PgConnection, is: &OrderRecord) -> Done<()> {
        let updated = sqlx::query(
            "UPDATE orders SET state = $3, review_cause = $4, state_since = $5, version = $6,
                    announced_paid = $7, announced_failed = $8, announced_refunded = $9,
                    doku_status = $10, evidence = $11, checks_made = $12, revision = revision + 1
             WHERE order_key = $1 AND revision = $2",
        )
        .bind(self.order_key)
        .bind(self.revision)
        .bind(is.state.name())
        .bind(is.state.review_cause().map(ReviewCause::name))
        .bind(is.state_since)
        .bind(stored_count(is.version))
        .bind(is.announced.paid)
        .bind(is.announced.failed)
        .bind(is.announced.refunded)
        .bind(is.doku_status.as_deref().map(|word| storable(word, STATUS_CHARS_MAX)))
        .bind(is.evidence.map(|e| e.name()))
        .bind(stored_count(is.checks_made))
        .execute(connection)
        .await?;
        exactly_one(updated.rows_affected(), "order")
    }
}

async fn update_progress(
    connection: &mut PgConnection,
    key: i64,
    is: &Progress,
    outcome_event: Option<Uuid>,
    now: Time,
) -> Done<()> {
    let updated = sqlx::query(
        "UPDATE commands SET sends = $2, last_send_at = $3, maybe_acted_at = $4, inquired = $5,
                failed_inquiries = $6, contradictions = $7, outcome = $8,
                outcome_event = coalesce(outcome_event, $9),
                settled_at = CASE WHEN $9 IS NULL THEN settled_at ELSE coalesce(settled_at, $10) END
         WHERE key = $1 AND (outcome IS NULL OR outcome = $8)",
    )
    .bind(key)
    .bind(stored_count(is.sends))
    .bind(is.last_send_at)
    .bind(is.maybe_acted_at)
    .bind(is.inquired)
    .bind(stored_count(is.failed_inquiries))
    .bind(stored_count(is.contradictions))
    .bind(is.outcome.map(|o| o.name()))
    .bind(outcome_event)
    .bind(now)
    .execute(connection)
    .await?;
    exactly_one(updated.rows_affected(), "command")
}

/// A guarded update that found nothing, or too much, is a bug: nothing of it may be committed.
pub(super) fn exactly_one(rows: u64, what: &str) -> Done<()> {
    match rows {
        1 => Ok(()),
        _ => Err(StoreError::Refused(format!("an update of one {what} changed {rows} rows")).into()),
    }
}

//! What the domain decided about orders, as what is to be written.

use super::LoadedOrder;
use crate::{
    domain::{
        Time,
        change::{Change, DueChange, RequestOf},
        command::{CommandKind, Outcome, TraceContext},
        event::{EventType, OrderEvent},
        finding::{AttemptClass, AttemptKind},
        ids::MerchantName,
        order::OrderState,
    },
    flow::ports::StoreError,
    postgres::{
        attempts::NewAttempt,
        claim_identity::ClaimIdentity,
        due::NewDue,
        error::TxResult,
        event_log::{self, LoggedEvent},
        events::{self, NewEvent},
        rejections,
        write_statement::{Moved, Progressed, Writes},
    },
};
use sqlx::PgConnection;
use std::time::Duration;

/// Follow-up looks once a second by itself: only what is due sooner is worth a wake-up.
const WAKE_WITHIN: Duration = Duration::from_secs(1);

/// What a commit does to those who wait for it and to the metrics.
#[derive(Debug, Default)]
pub(in crate::postgres) struct CommitEffects {
    pub events: Vec<LoggedEvent>,
    pub due: bool,
    pub settled: Option<Settled>,
    pub attempts: Vec<(AttemptKind, AttemptClass)>,
    /// The merchant, and which request a report was about.
    pub reported: Option<(MerchantName, RequestOf)>,
}

/// The command that has its outcome now, and how long after its claim and its publication.
#[derive(Debug)]
pub(in crate::postgres) struct Settled {
    pub kind: CommandKind,
    pub outcome: Outcome,
    pub since_claim: Duration,
    /// `None` if its sender gave no time of publication.
    pub since_publication: Option<Duration>,
}

/// Writes all that follows from each change, and the attempts that taught it, or an error. No order is there
/// twice.
pub(in crate::postgres) async fn write_all<'a>(
    connection: &mut PgConnection,
    all: &[(&'a LoadedOrder, &'a Change)],
    attempts: Vec<NewAttempt<'a>>,
) -> TxResult<Vec<CommitEffects>> {
    let (writes, effects) = collect_writes(all, attempts)?;
    writes.write(connection).await?;
    for (order, change) in all {
        if let (Some(refusal), Some(refund_key)) = (change.refused, order.refund_key) {
            rejections::refuse_claimed(connection, order.order_key, refund_key, refusal, order.now).await?;
        }
    }
    Ok(effects)
}

/// Raises the revisions of locked orders in review about which evidence is kept that changes nothing: a person who decides
/// for what was shown before has not seen it.
pub(in crate::postgres) async fn raise(connection: &mut PgConnection, order_keys: &[i64]) -> TxResult<()> {
    if order_keys.is_empty() {
        return Ok(());
    }
    sqlx::query("UPDATE orders SET revision = revision + 1 WHERE order_key = ANY ($1) AND state = 'review'")
        .bind(order_keys)
        .execute(connection)
        .await?;
    Ok(())
}

/// The same for orders that are not locked, as the claims of their first sends left them; nothing if one of them has changed
/// since. `identity`: these claims, one for each order.
pub(in crate::postgres) async fn write_all_or_nothing<'a>(
    connection: &mut PgConnection,
    all: &[(&'a LoadedOrder, &'a Change)],
    attempts: Vec<NewAttempt<'a>>,
    identity: &[&ClaimIdentity],
    now: Time,
) -> TxResult<Vec<CommitEffects>> {
    let (writes, effects) = collect_writes(all, attempts)?;
    writes.write_or_nothing(identity, now, connection).await?;
    Ok(effects)
}

fn collect_writes<'a>(
    all: &[(&'a LoadedOrder, &'a Change)],
    attempts: Vec<NewAttempt<'a>>,
) -> TxResult<(Writes<'a>, Vec<CommitEffects>)> {
    let mut writes = Writes { attempts, ..Writes::default() };
    let mut effects = Vec::with_capacity(all.len());
    for (order, change) in all {
        let events = order.events_of(change)?;
        order.progress_of(change, &events, &mut writes.commands);
        let settled = change.settled.map(|(kind, outcome)| order.settled_command(kind, outcome));
        let due = order.is_due_soon(change);
        let reported = change.reported.map(|of| (change.order.merchant.clone(), of));
        let logged = change.events.iter().map(|event| order.logged(change, event)).collect();
        effects.push(CommitEffects { events: logged, due, settled, attempts: Vec::new(), reported });
        writes.events.extend(events);
        match &change.due {
            DueChange::Keep => {}
            DueChange::Replace(None) => writes.done.push(order.order_key),
            DueChange::Replace(Some(due)) => {
                let (order_key, merchant) = (order.order_key, &change.order.merchant);
                writes.due.push(NewDue { order_key, merchant, due, lease: None });
            }
        }
        if order.record != change.order {
            let (order_key, revision) = (order.order_key, order.revision);
            writes.orders.push(Moved { order_key, revision, is: &change.order });
        }
    }
    Ok((writes, effects))
}

impl LoadedOrder {
    /// Evidence of this change leaves its revision as it is, and a person is to decide.
    pub(in crate::postgres) fn stays_in_review(&self, change: &Change) -> bool {
        self.record.state.review_cause().is_some() && self.record == change.order
    }

    fn events_of(&self, change: &Change) -> Result<Vec<NewEvent>, StoreError> {
        let written = |e| events::order_event(self.order_key, &change.order, e, self.trace(e), self.now);
        change.events.iter().map(written).collect()
    }

    fn logged(&self, change: &Change, event: &OrderEvent) -> LoggedEvent {
        let took =
            event.event_type.settles().map(|(kind, outcome)| self.settled_command(kind, outcome).since_claim);
        let is_decline = matches!(event.event_type, EventType::PaymentDeclined | EventType::RefundDeclined);
        LoggedEvent {
            merchant: change.order.merchant.clone(),
            invoice_number: change.order.invoice_number.clone(),
            event: event.event_type,
            state: event.state.name(),
            evidence: event.evidence.name(),
            rupiah: change.order.amount.get(),
            declined: event.error.as_ref().filter(|_| is_decline).map(|error| error.code.clone()),
            took,
            trace_id: event_log::trace_id(self.trace(event)).map(str::to_owned),
            at: self.now,
        }
    }

    fn trace(&self, event: &OrderEvent) -> &TraceContext {
        if event.event_type.is_about_refund() { &self.refund_trace } else { &self.payment_trace }
    }

    fn progress_of<'a>(&self, change: &'a Change, events: &[NewEvent], progressed: &mut Vec<Progressed<'a>>) {
        let outcome_event = |kind: CommandKind| {
            let settles = |e: &&NewEvent| e.event_type.settles().is_some_and(|(of, _)| of == kind);
            events.iter().find(settles).map(|e| e.event_id)
        };
        let (was, is, now) = (&self.record, &change.order, self.now);
        if is.payment != was.payment {
            let outcome_event = outcome_event(CommandKind::Payment);
            progressed.push(Progressed { key: self.payment_key, is: &is.payment, outcome_event, now });
        }
        if let (Some(key), Some(refund)) = (self.refund_key, &is.refund)
            && is.refund != was.refund
        {
            let outcome_event = outcome_event(CommandKind::Refund);
            progressed.push(Progressed { key, is: refund, outcome_event, now });
        }
    }

    fn is_due_soon(&self, change: &Change) -> bool {
        match &change.due {
            DueChange::Replace(Some(due)) => due.first_at() <= self.now + WAKE_WITHIN,
            DueChange::Replace(None) | DueChange::Keep => false,
        }
    }

    fn settled_command(&self, kind: CommandKind, outcome: Outcome) -> Settled {
        let (command, published_at) = match kind {
            CommandKind::Payment => (Some(&self.record.payment), self.payment_published_at),
            CommandKind::Refund => (self.record.refund.as_ref(), self.refund_published_at),
        };
        // A sender's clock that is ahead makes no negative time.
        let since = |then: Time| (self.now - then).to_std().unwrap_or_default();
        Settled {
            kind,
            outcome,
            since_claim: command.map(|c| since(c.claimed_at)).unwrap_or_default(),
            since_publication: published_at.map(since),
        }
    }

    /// The claim of a refund, which has been stored: the paid order moves to `refunding`.
    pub(in crate::postgres) async fn open_refund(
        &self,
        connection: &mut PgConnection,
        command_key: i64,
    ) -> TxResult<()> {
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
        match updated.rows_affected() {
            1 => Ok(()),
            rows => Err(StoreError::Refused(format!("the claim of a refund moved {rows} orders")).into()),
        }
    }
}

//! What the domain decided about orders, written for all of them with one statement a table: events and
//! outbox, commands, due, orders.

use super::LockedOrder;
use crate::{
    domain::{
        Time,
        command::{CommandKind, Outcome, TraceContext},
        event::OrderEvent,
        learned::{AttemptClass, AttemptKind},
        order::{OrderState, ReviewCause},
        record::{Change, DueChange, OrderRecord, Progress},
    },
    flow::ports::StoreError,
    postgres::{
        due::{self, NewDue},
        error::Done,
        events::{self, NewEvent},
        rows::{storable, stored_count},
    },
};
use sqlx::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// DOKU's status words are short; longer ones are cut in the table, not in the event.
const STATUS_CHARS_MAX: usize = 64;
/// Follow-up looks once a second by itself: only what is due sooner is worth a wake-up.
const WAKE_WITHIN: Duration = Duration::from_secs(1);

/// What a commit will have brought, for those who wait for it and those who count.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Brought {
    pub events: bool,
    pub due: bool,
    /// The command that has its outcome now, and how long after its claim.
    pub settled: Option<(CommandKind, Outcome, Duration)>,
    pub attempts: Vec<(AttemptKind, AttemptClass)>,
}

/// A command that came further.
struct Progressed<'a> {
    key: i64,
    is: &'a Progress,
    outcome_event: Option<Uuid>,
    now: Time,
}

/// Writes all that follows from each change, or an error. No order is there twice.
pub(in crate::postgres) async fn write_all(
    connection: &mut PgConnection,
    all: &[(&LockedOrder, &Change)],
) -> Done<Vec<Brought>> {
    let (mut told, mut progressed, mut brought) = (Vec::new(), Vec::new(), Vec::with_capacity(all.len()));
    for (order, change) in all {
        let events = order.events_of(change)?;
        order.progress_of(change, &events, &mut progressed);
        let settled = change.settled.map(|(kind, outcome)| (kind, outcome, order.since_claim(kind)));
        let due = order.is_due_soon(change);
        brought.push(Brought { events: !events.is_empty(), due, settled, attempts: Vec::new() });
        told.extend(events);
    }
    events::insert(connection, &told).await?;
    update_commands(connection, &progressed).await?;
    // What an order waits for is there before the order says that it waits, and goes after it.
    due::put_all(
        connection,
        &all.iter().filter_map(|(order, change)| order.new_due(change)).collect::<Vec<_>>(),
    )
    .await?;
    let moved: Vec<_> = all.iter().filter(|(order, change)| order.record != change.order).collect();
    update_orders(connection, &moved).await?;
    let done = all.iter().filter(|(_, change)| change.due == DueChange::Replace(None));
    due::delete_all(connection, &done.map(|(order, _)| order.order_key).collect::<Vec<_>>()).await?;
    Ok(brought)
}

impl LockedOrder {
    fn events_of(&self, change: &Change) -> Result<Vec<NewEvent>, StoreError> {
        let written = |e| events::of_order(self.order_key, &change.order, e, self.trace(e), self.now);
        change.events.iter().map(written).collect()
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

    fn new_due<'a>(&self, change: &'a Change) -> Option<NewDue<'a>> {
        match &change.due {
            DueChange::Replace(Some(due)) => {
                Some(NewDue { order_key: self.order_key, merchant: &change.order.merchant, due, claim: None })
            }
            DueChange::Replace(None) | DueChange::Keep => None,
        }
    }

    fn is_due_soon(&self, change: &Change) -> bool {
        match &change.due {
            DueChange::Replace(Some(due)) => due.at <= self.now + WAKE_WITHIN,
            DueChange::Replace(None) | DueChange::Keep => false,
        }
    }

    fn since_claim(&self, kind: CommandKind) -> Duration {
        let command = match kind {
            CommandKind::Payment => Some(&self.record.payment),
            CommandKind::Refund => self.record.refund.as_ref(),
        };
        command.and_then(|c| (self.now - c.claimed_at).to_std().ok()).unwrap_or_default()
    }

    /// The claim of a refund, which has been stored: the paid order moves to `refunding`.
    pub(in crate::postgres) async fn open_refund(
        &self,
        connection: &mut PgConnection,
        command_key: i64,
    ) -> Done<()> {
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
        exactly(1, updated.rows_affected(), "order")
    }
}

async fn update_orders(connection: &mut PgConnection, all: &[&(&LockedOrder, &Change)]) -> Done<()> {
    if all.is_empty() {
        return Ok(());
    }
    let is =
        |of: fn(&OrderRecord) -> Option<String>| all.iter().map(|(_, c)| of(&c.order)).collect::<Vec<_>>();
    let flag = |of: fn(&OrderRecord) -> bool| all.iter().map(|(_, c)| of(&c.order)).collect::<Vec<_>>();
    let updated = sqlx::query(
        "UPDATE orders o
         SET state = n.state, review_cause = n.review_cause, state_since = n.state_since, version = n.version,
             announced_paid = n.paid, announced_failed = n.failed, announced_refunded = n.refunded,
             doku_status = n.doku_status, evidence = n.evidence, checks_made = n.checks_made,
             revision = o.revision + 1
         FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::integer[],
                     $7::boolean[], $8::boolean[], $9::boolean[], $10::text[], $11::text[], $12::integer[])
              AS n (order_key, revision, state, review_cause, state_since, version, paid, failed, refunded,
                    doku_status, evidence, checks_made)
         WHERE o.order_key = n.order_key AND o.revision = n.revision",
    )
    .bind(all.iter().map(|(order, _)| order.order_key).collect::<Vec<_>>())
    .bind(all.iter().map(|(order, _)| order.revision).collect::<Vec<_>>())
    .bind(all.iter().map(|(_, c)| c.order.state.name()).collect::<Vec<_>>())
    .bind(all.iter().map(|(_, c)| c.order.state.review_cause().map(ReviewCause::name)).collect::<Vec<_>>())
    .bind(all.iter().map(|(_, c)| c.order.state_since).collect::<Vec<_>>())
    .bind(all.iter().map(|(_, c)| stored_count(c.order.version)).collect::<Vec<_>>())
    .bind(flag(|order| order.announced.paid))
    .bind(flag(|order| order.announced.failed))
    .bind(flag(|order| order.announced.refunded))
    .bind(is(|order| order.doku_status.as_deref().map(|word| storable(word, STATUS_CHARS_MAX))))
    .bind(all.iter().map(|(_, c)| c.order.evidence.map(|e| e.name())).collect::<Vec<_>>())
    .bind(all.iter().map(|(_, c)| stored_count(c.order.checks_made)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    exactly(all.len(), updated.rows_affected(), "orders")
}

async fn update_commands(connection: &mut PgConnection, all: &[Progressed<'_>]) -> Done<()> {
    if all.is_empty() {
        return Ok(());
    }
    let updated = sqlx::query(
        "UPDATE commands c
         SET sends = n.sends, last_send_at = n.last_send_at, maybe_acted_at = n.maybe_acted_at,
             inquired = n.inquired, failed_inquiries = n.failed_inquiries, contradictions = n.contradictions,
             outcome = n.outcome, outcome_event = coalesce(c.outcome_event, n.outcome_event),
             settled_at = CASE WHEN n.outcome_event IS NULL THEN c.settled_at
                               ELSE coalesce(c.settled_at, n.now) END
         FROM unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::boolean[],
                     $6::integer[], $7::integer[], $8::text[], $9::uuid[], $10::timestamptz[])
              AS n (key, sends, last_send_at, maybe_acted_at, inquired, failed_inquiries, contradictions,
                    outcome, outcome_event, now)
         WHERE c.key = n.key AND (c.outcome IS NULL OR c.outcome = n.outcome)",
    )
    .bind(all.iter().map(|p| p.key).collect::<Vec<_>>())
    .bind(all.iter().map(|p| stored_count(p.is.sends)).collect::<Vec<_>>())
    .bind(all.iter().map(|p| p.is.last_send_at).collect::<Vec<_>>())
    .bind(all.iter().map(|p| p.is.maybe_acted_at).collect::<Vec<_>>())
    .bind(all.iter().map(|p| p.is.inquired).collect::<Vec<_>>())
    .bind(all.iter().map(|p| stored_count(p.is.failed_inquiries)).collect::<Vec<_>>())
    .bind(all.iter().map(|p| stored_count(p.is.contradictions)).collect::<Vec<_>>())
    .bind(all.iter().map(|p| p.is.outcome.map(|o| o.name())).collect::<Vec<_>>())
    .bind(all.iter().map(|p| p.outcome_event).collect::<Vec<_>>())
    .bind(all.iter().map(|p| p.now).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    exactly(all.len(), updated.rows_affected(), "commands")
}

/// A guarded update that found too few or too many is a bug: nothing of it may be committed.
pub(in crate::postgres) fn exactly(wanted: usize, rows: u64, what: &str) -> Done<()> {
    if u64::try_from(wanted) == Ok(rows) {
        return Ok(());
    }
    Err(StoreError::Refused(format!("an update of {wanted} {what} changed {rows} rows")).into())
}

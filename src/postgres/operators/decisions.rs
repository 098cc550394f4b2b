//! Decisions of operators about orders in review, kept with their reasons. A decision is evidence like any
//! other: the domain says what it changes, under the order's row lock.

use super::{
    actions,
    proposals::{self, Agreement},
};
use crate::postgres::{
    PostgresStore, StoreContext,
    error::TxResult,
    orders::{self, CommitEffects, LoadedOrder},
    pool::PgPool,
    rows::{read_straight, storable},
    tx::answered,
};
use crate::{
    domain::{
        action::{DONE_BY_CHARS_MAX, PLACE_CHARS_MAX, REASON_CHARS_MAX},
        change::Change,
        event::EventType,
        order::{ReviewCause, Verdict},
        schedule::AttemptSchedule,
    },
    flow::{
        ports::{Decision, FormEnd, Mark, Resolved, SentForm, StoreError},
        view::DecisionView,
    },
};
use sqlx::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

/// Decides for an order, and keeps why.
pub(in crate::postgres) async fn resolve(
    context: &Arc<StoreContext>,
    decision: Decision,
) -> Result<Resolved, StoreError> {
    let schedule = context.schedule.clone();
    let (resolved, effects) = context
        .transaction(move |c| {
            Box::pin(async move {
                let found = lock(c, &decision).await?;
                resolve_one(c, found, &decision, &schedule, None).await
            })
        })
        .await?;
    context.committed(&effects);
    Ok(resolved)
}

impl PostgresStore {
    /// The same as `resolve`, as a form of the console asks for it: only for the order that the form showed, and once.
    pub async fn resolve_by_form(&self, decision: Decision, form: SentForm) -> Result<FormEnd, StoreError> {
        let decision = Decision { seen: Some(form.revision), ..decision };
        let schedule = self.context.schedule.clone();
        let sent = self.context.transaction(move |c| {
            Box::pin(async move {
                let found = lock(c, &decision).await?;
                let id = form.mark.action_id;
                let was_decided = is_decided_by(c, id).await?;
                if was_decided || actions::is_done(c, id).await? {
                    return Ok((FormEnd::Repeated { was_decided }, CommitEffects::default()));
                }
                let (resolved, effects) =
                    resolve_one(c, found, &decision, &schedule, Some(&form.mark)).await?;
                Ok((FormEnd::Resolved(resolved), effects))
            })
        });
        let (end, effects) = sent.await?;
        self.context.committed(&effects);
        Ok(end)
    }

    /// What `resolve` would do with the decision now. Nothing is written.
    pub async fn foresee(&self, decision: Decision) -> Result<Resolved, StoreError> {
        let schedule = self.context.schedule.clone();
        let foreseen = self.context.transaction(move |c| {
            Box::pin(async move {
                let judged = match judge(lock(c, &decision).await?, &decision, &schedule) {
                    Ok(judged) => judged,
                    Err(refused) => return Ok(refused),
                };
                Ok(match proposals::agreement(c, &judged.order, judged.cause, &decision).await? {
                    Agreement::NotNeeded | Agreement::Agreed(_) => Resolved::Done(judged.events()),
                    Agreement::Missing(_) => Resolved::Proposed(judged.order.now),
                })
            })
        });
        Ok(foreseen.await?)
    }
}

/// An order, locked, and what a decision changes about it.
struct Judged {
    order: LoadedOrder,
    cause: ReviewCause,
    change: Change,
}

impl Judged {
    fn events(&self) -> Vec<EventType> {
        self.change.events.iter().map(|event| event.event_type).collect()
    }
}

async fn lock(connection: &mut PgConnection, decision: &Decision) -> TxResult<Option<LoadedOrder>> {
    orders::lock_invoice(connection, &decision.merchant, &decision.invoice_number).await
}

fn judge(
    found: Option<LoadedOrder>,
    decision: &Decision,
    schedule: &AttemptSchedule,
) -> Result<Judged, Resolved> {
    let order = found.ok_or(Resolved::UnknownOrder)?;
    let state = order.record.state;
    let cause = state.review_cause().ok_or(Resolved::NotInReview(state))?;
    if decision.seen.is_some_and(|seen| seen != order.revision) {
        return Err(Resolved::Moved);
    }
    if !cause.verdicts().contains(&decision.verdict) {
        return Err(Resolved::NotOfCause(cause));
    }
    let allows_refund = decision.verdict == Verdict::Paid;
    if allows_refund && order.record.refund_is_unresolved() && !decision.checked_doku {
        return Err(Resolved::RefundUnresolved);
    }
    let change = order.record.clone().after_verdict(decision.verdict, schedule, order.now);
    Ok(Judged { order, cause, change })
}

async fn resolve_one(
    connection: &mut PgConnection,
    found: Option<LoadedOrder>,
    decision: &Decision,
    schedule: &AttemptSchedule,
    mark: Option<&Mark>,
) -> TxResult<(Resolved, CommitEffects)> {
    let judged = match judge(found, decision, schedule) {
        Ok(judged) => judged,
        Err(refused) => return Ok((refused, CommitEffects::default())),
    };
    let reason = match proposals::agreement(connection, &judged.order, judged.cause, decision).await? {
        Agreement::NotNeeded => decision.reason.clone(),
        Agreement::Agreed(open) => open.and_reason(&decision.reason),
        Agreement::Missing(open) => {
            let until = proposals::propose(connection, &judged.order, open, decision, mark).await?;
            return Ok((Resolved::Proposed(until), CommitEffects::default()));
        }
    };
    let effects = judged.order.write(connection, &judged.change).await?;
    keep(connection, &judged.order, judged.cause, decision, &reason, mark).await?;
    proposals::forget(connection, judged.order.order_key).await?;
    Ok((Resolved::Done(judged.events()), effects))
}

async fn keep(
    connection: &mut PgConnection,
    order: &LoadedOrder,
    cause: ReviewCause,
    decision: &Decision,
    reason: &str,
    mark: Option<&Mark>,
) -> TxResult<()> {
    sqlx::query(
        "INSERT INTO decisions
             (order_key, at, review_cause, state, reason, decided_by, checked_doku, done_from, action_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(order.order_key)
    .bind(order.now)
    .bind(cause.name())
    .bind(decision.verdict.state().name())
    .bind(storable(reason, REASON_CHARS_MAX))
    .bind(decision.decided_by.as_deref().map(|name| storable(name, DONE_BY_CHARS_MAX)))
    .bind(decision.checked_doku)
    .bind(mark.map(|mark| storable(&mark.from, PLACE_CHARS_MAX)))
    .bind(mark.map(|mark| mark.action_id))
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether a form has decided already.
async fn is_decided_by(connection: &mut PgConnection, action_id: Uuid) -> TxResult<bool> {
    let found =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM decisions WHERE action_id = $1)").bind(action_id);
    Ok(found.fetch_one(connection).await?)
}

/// What was decided about an order, oldest first.
pub(in crate::postgres) async fn decisions_of_order(
    pool: &PgPool,
    order_key: i64,
) -> Result<Vec<DecisionView>, StoreError> {
    answered!(pool, |c| {
        sqlx::query_as(
        "SELECT at, review_cause, state, reason, decided_by FROM decisions WHERE order_key = $1 ORDER BY key",
    )
    .bind(order_key)
    .fetch_all(c)
    })
}

read_straight!(DecisionView { at, review_cause, state, reason, decided_by });

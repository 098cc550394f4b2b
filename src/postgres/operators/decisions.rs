//! Decisions of operators about orders in review, kept with their reasons. A decision is evidence like any
//! other: the domain says what it changes, under the order's row lock.

use crate::postgres::{
    PostgresStore, StoreContext,
    error::TxResult,
    orders::{self, CommitEffects, LoadedOrder},
    pool::PgPool,
    rows::storable,
    tx::answered,
};
use crate::{
    domain::{
        change::Change,
        event::EventType,
        order::{ReviewCause, Verdict},
        schedule::AttemptSchedule,
    },
    flow::{
        ports::{Decision, Resolved, StoreError},
        view::DecisionView,
    },
};
use sqlx::{FromRow, PgConnection};
use std::sync::Arc;

/// As long as the table's columns take.
const REASON_CHARS_MAX: usize = 500;
const NAME_CHARS_MAX: usize = 300;

/// Decides for an order, and keeps why.
pub(in crate::postgres) async fn resolve(
    context: &Arc<StoreContext>,
    decision: Decision,
) -> Result<Resolved, StoreError> {
    let schedule = context.schedule.clone();
    let (resolved, effects) = context
        .transaction(move |c| Box::pin(async move { resolve_one(c, &decision, &schedule).await }))
        .await?;
    context.committed(&effects);
    Ok(resolved)
}

impl PostgresStore {
    /// What `resolve` would do with the decision now. Nothing is written.
    pub async fn foresee(&self, decision: Decision) -> Result<Resolved, StoreError> {
        let schedule = self.context.schedule.clone();
        let foreseen = self.context.transaction(move |c| {
            Box::pin(async move {
                Ok(match judge(c, &decision, &schedule).await? {
                    Ok(judged) => Resolved::Done(judged.events()),
                    Err(refused) => refused,
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

async fn judge(
    connection: &mut PgConnection,
    decision: &Decision,
    schedule: &AttemptSchedule,
) -> TxResult<Result<Judged, Resolved>> {
    let found = orders::lock_invoice(connection, &decision.merchant, &decision.invoice_number).await?;
    let Some(order) = found else { return Ok(Err(Resolved::UnknownOrder)) };
    let state = order.record.state;
    let Some(cause) = state.review_cause() else { return Ok(Err(Resolved::NotInReview(state))) };
    let allows_refund = decision.verdict == Verdict::Paid;
    if allows_refund && order.record.refund_is_unresolved() && !decision.checked_doku {
        return Ok(Err(Resolved::RefundUnresolved));
    }
    let change = order.record.clone().after_verdict(decision.verdict, schedule, order.now);
    Ok(Ok(Judged { order, cause, change }))
}

async fn resolve_one(
    connection: &mut PgConnection,
    decision: &Decision,
    schedule: &AttemptSchedule,
) -> TxResult<(Resolved, CommitEffects)> {
    let judged = match judge(connection, decision, schedule).await? {
        Ok(judged) => judged,
        Err(refused) => return Ok((refused, CommitEffects::default())),
    };
    let effects = judged.order.write(connection, &judged.change).await?;
    keep(connection, &judged.order, judged.cause, decision).await?;
    Ok((Resolved::Done(judged.events()), effects))
}

async fn keep(
    connection: &mut PgConnection,
    order: &LoadedOrder,
    cause: ReviewCause,
    decision: &Decision,
) -> TxResult<()> {
    sqlx::query(
        "INSERT INTO decisions (order_key, at, review_cause, state, reason, decided_by, checked_doku)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(order.order_key)
    .bind(order.now)
    .bind(cause.name())
    .bind(decision.verdict.state().name())
    .bind(storable(&decision.reason, REASON_CHARS_MAX))
    .bind(decision.decided_by.as_deref().map(|name| storable(name, NAME_CHARS_MAX)))
    .bind(decision.checked_doku)
    .execute(connection)
    .await?;
    Ok(())
}

/// What was decided about an order, oldest first.
pub(in crate::postgres) async fn decisions_of_order(
    pool: &PgPool,
    order_key: i64,
) -> Result<Vec<DecisionView>, StoreError> {
    #[derive(FromRow)]
    struct DecisionRow {
        at: crate::domain::Time,
        review_cause: String,
        state: String,
        reason: String,
        decided_by: Option<String>,
    }
    let rows: Vec<DecisionRow> = answered!(pool, |c| {
        sqlx::query_as(
        "SELECT at, review_cause, state, reason, decided_by FROM decisions WHERE order_key = $1 ORDER BY key",
    )
    .bind(order_key)
    .fetch_all(c)
    })?;
    let view = |row: DecisionRow| DecisionView {
        at: row.at,
        review_cause: row.review_cause,
        state: row.state,
        reason: row.reason,
        decided_by: row.decided_by,
    };
    Ok(rows.into_iter().map(view).collect())
}

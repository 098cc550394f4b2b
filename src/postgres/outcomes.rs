//! Records: what one attempt taught us, with all that follows from it, in one transaction. Attempts whose
//! claims hold are recorded together; a late worker's is judged alone.

use super::{
    Inner,
    attempts::{self, NewAttempt},
    batch::{Batch, Group},
    error::Done,
    orders::{self, Brought, LockedOrder, write_all},
};
use crate::{
    crash::{self, Point},
    domain::{
        Time,
        attempt::{AttemptMade, AttemptOf, AttemptTime},
        command::CommandKind,
        plan::Plan,
        record::Change,
    },
    flow::ports::{Claim, Learned, StoreError},
};
use chrono::TimeDelta;
use sqlx::PgConnection;
use std::{collections::HashMap, sync::Arc, time::Duration};
use uuid::Uuid;

/// Records attempts.
#[derive(Clone)]
pub(super) struct Records {
    inner: Arc<Inner>,
    attempts: Batch<Attempts>,
}

/// One attempt on its way into the store.
struct Attempt {
    order_key: i64,
    command_key: i64,
    kind: CommandKind,
    token: Uuid,
    learned: Learned,
    took: TimeDelta,
    /// In [0, 1), for the jitter.
    chance: f64,
}

impl Records {
    pub fn new(inner: Arc<Inner>) -> Self {
        Self { attempts: Batch::new(Attempts(Arc::clone(&inner))), inner }
    }

    /// Records one attempt. Asked again after an error, it writes nothing twice.
    pub async fn record(&self, claim: &Claim, learned: &Learned, took: Duration) -> Result<(), StoreError> {
        let attempt = Attempt {
            order_key: claim.order_key,
            command_key: claim.command_key,
            kind: claim.request.kind,
            token: claim.token,
            learned: learned.clone(),
            took: TimeDelta::from_std(took).unwrap_or(TimeDelta::MAX),
            chance: (self.inner.dice)(),
        };
        let brought = self.attempts.add(attempt).await?;
        self.inner.committed(&brought);
        Ok(())
    }
}

/// Attempts that are recorded together.
struct Attempts(Arc<Inner>);

impl Group for Attempts {
    type Item = Attempt;
    type Key = i64;
    type Answer = Brought;

    fn key(attempt: &Attempt) -> i64 {
        attempt.order_key
    }

    async fn together(self: Arc<Self>, all: Vec<Arc<Attempt>>) -> Done<Vec<Option<Brought>>> {
        let plan = self.0.plan.clone();
        let recorded =
            self.0.transaction(move |c| Box::pin(async move { record_held(c, &all, &plan).await })).await?;
        crash::point(Point::RecordsCommitted).await;
        Ok(recorded)
    }

    async fn alone(self: Arc<Self>, attempt: Arc<Attempt>) -> Result<Brought, StoreError> {
        let plan = self.0.plan.clone();
        let done =
            self.0.transaction(move |c| Box::pin(async move { record_one(c, &attempt, &plan).await })).await;
        Ok(done?)
    }
}

/// Records those whose order is free and whose claim holds.
async fn record_held(
    connection: &mut PgConnection,
    all: &[Arc<Attempt>],
    plan: &Plan,
) -> Done<Vec<Option<Brought>>> {
    let order_keys: Vec<i64> = all.iter().map(|attempt| attempt.order_key).collect();
    let mut orders: HashMap<i64, LockedOrder> = orders::lock_free(connection, &order_keys)
        .await?
        .into_iter()
        .map(|order| (order.order_key, order))
        .collect();
    let recorded: Vec<Option<Recorded<'_>>> = all
        .iter()
        .map(|attempt| {
            let order = orders.remove(&attempt.order_key)?;
            order.is_claimed_by(attempt.token).then(|| Recorded::new(attempt, order, plan))
        })
        .collect();
    let mut brought = write(connection, recorded.iter().flatten()).await?.into_iter();
    Ok(recorded.iter().map(|one| one.as_ref().and_then(|_| brought.next())).collect())
}

async fn record_one(connection: &mut PgConnection, attempt: &Attempt, plan: &Plan) -> Done<Brought> {
    let order = orders::lock(connection, attempt.order_key).await?;
    let is_late = !order.is_claimed_by(attempt.token);
    if is_late && attempts::is_recorded(connection, attempt.command_key, attempt.token).await? {
        return Ok(Brought::default());
    }
    let recorded = Recorded::new(attempt, order, plan);
    Ok(write(connection, std::iter::once(&recorded)).await?.pop().unwrap_or_default())
}

/// An attempt, and what it changes about its locked order.
struct Recorded<'a> {
    attempt: &'a Attempt,
    order: LockedOrder,
    change: Change,
    made: AttemptMade,
    started_at: Time,
}

impl<'a> Recorded<'a> {
    fn new(attempt: &'a Attempt, order: LockedOrder, plan: &Plan) -> Self {
        let started_at = order.now.checked_sub_signed(attempt.took).unwrap_or(order.now);
        let claim_held = order.is_claimed_by(attempt.token);
        let time = AttemptTime { started_at, now: order.now, claim_held, chance: attempt.chance };
        let record = order.record.clone();
        let (change, made) = match &attempt.learned {
            Learned::Send(learned) => record.after_send(whose(&order, attempt), learned, time, plan),
            Learned::Inquiry(learned) => record.after_inquiry(learned, time, plan),
        };
        Self { attempt, order, change, made, started_at }
    }
}

async fn write<'a>(
    connection: &mut PgConnection,
    all: impl Iterator<Item = &'a Recorded<'a>> + Clone,
) -> Done<Vec<Brought>> {
    let changes: Vec<_> = all.clone().map(|one| (&one.order, &one.change)).collect();
    let made = all.clone().map(|one| NewAttempt {
        command_key: one.attempt.command_key,
        made: &one.made,
        started_at: one.started_at,
        finished_at: one.order.now,
        token: Some(one.attempt.token),
    });
    let mut brought = write_all(connection, &changes, made.collect()).await?;
    for (one, brought) in all.zip(&mut brought) {
        brought.attempts.push((one.made.kind, one.made.class));
    }
    Ok(brought)
}

fn whose(order: &LockedOrder, attempt: &Attempt) -> AttemptOf {
    match attempt.kind {
        CommandKind::Payment => AttemptOf::Payment,
        CommandKind::Refund if order.refund_key == Some(attempt.command_key) => AttemptOf::Refund,
        CommandKind::Refund => AttemptOf::EarlierRefund,
    }
}

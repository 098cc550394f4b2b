//! Records: what one attempt taught us, with all that follows from it, in one transaction. Attempts whose
//! claims hold are recorded together; a late worker's is judged alone.

use super::{
    Inner,
    attempts::{self, NewAttempt},
    batch::{Batch, Group},
    error::{Done, Undone},
    orders::{self, Brought, LockedOrder, write_all},
    whose::Whose,
};
use crate::{
    crash::{self, Point},
    domain::{
        Time,
        attempt::{AttemptMade, AttemptOf, AttemptTime},
        change::Change,
        command::CommandKind,
        schedule::AttemptSchedule,
    },
    flow::ports::{Claim, ClaimError, Finding, FreshOrder, StoreError},
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
    whose: Whose,
    token: Uuid,
    finding: Finding,
    took: TimeDelta,
    /// What its claim knew, where that was the order's first.
    fresh: Option<Arc<FreshOrder>>,
    /// In [0, 1), for the jitter.
    chance: f64,
}

/// What became of it.
enum Recorded {
    Now(Brought),
    /// It was recorded already, and its answer lost.
    Before,
    /// Its claim is forgotten: nothing was written.
    Nowhere,
}

impl Records {
    pub fn new(inner: Arc<Inner>) -> Self {
        Self { attempts: Batch::new(Attempts(Arc::clone(&inner))), inner }
    }

    /// Records one attempt. Asked again after an error, it writes nothing twice.
    pub async fn record(&self, claim: &Claim, finding: &Finding, took: Duration) -> Result<(), ClaimError> {
        let attempt = Attempt {
            whose: Whose::of(claim),
            token: claim.token,
            finding: finding.clone(),
            took: TimeDelta::from_std(took).unwrap_or(TimeDelta::MAX),
            fresh: claim.fresh.clone(),
            chance: (self.inner.dice)(),
        };
        match self.attempts.add(attempt).await? {
            Recorded::Now(brought) => self.inner.committed(&brought),
            Recorded::Before => {}
            Recorded::Nowhere => return Err(self.inner.forgotten()),
        }
        Ok(())
    }
}

/// Attempts that are recorded together.
struct Attempts(Arc<Inner>);

impl Group for Attempts {
    type Item = Attempt;
    type Key = i64;
    type Answer = Recorded;

    fn key(attempt: &Attempt) -> i64 {
        attempt.whose.order_key
    }

    /// Those of first claims are written as they were claimed, without a look, in one statement; should another
    /// have changed one of their orders meanwhile, all are recorded as the rest are, under their locks.
    async fn together(self: Arc<Self>, all: Vec<Arc<Attempt>>) -> Done<Vec<Option<Recorded>>> {
        let (fresh, mut rest): (Vec<_>, Vec<_>) = (0..all.len()).partition(|at| all[*at].fresh.is_some());
        let mut answers: Vec<Option<Recorded>> = all.iter().map(|_| None).collect();
        let of = |places: &[usize]| places.iter().map(|at| Arc::clone(&all[*at])).collect::<Vec<_>>();
        match self.record_fresh(of(&fresh)).await {
            Ok(brought) => fresh
                .iter()
                .zip(brought)
                .for_each(|(at, brought)| answers[*at] = Some(Recorded::Now(brought))),
            Err(Undone::Raced | Undone::Contended(_)) => rest.extend(fresh),
            Err(Undone::Failed(error)) => return Err(error.into()),
        }
        match self.record_rest(of(&rest)).await {
            Ok(recorded) => {
                rest.iter().zip(recorded).for_each(|(at, brought)| answers[*at] = brought.map(Recorded::Now));
            }
            // What is committed is told and counted; the rest are recorded alone, and find out for themselves.
            Err(_) if answers.iter().any(Option::is_some) => {}
            Err(undone) => return Err(undone),
        }
        crash::point(Point::RecordsCommitted).await;
        Ok(answers)
    }

    async fn alone(self: Arc<Self>, attempt: Arc<Attempt>) -> Result<Recorded, StoreError> {
        let schedule = self.0.schedule.clone();
        let done = self
            .0
            .transaction(move |c| Box::pin(async move { record_one(c, &attempt, &schedule).await }))
            .await;
        Ok(done?)
    }
}

impl Attempts {
    async fn record_fresh(&self, all: Vec<Arc<Attempt>>) -> Done<Vec<Brought>> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let schedule = self.0.schedule.clone();
        self.0.statement(move |c| Box::pin(async move { record_fresh(c, &all, &schedule).await })).await
    }

    async fn record_rest(&self, all: Vec<Arc<Attempt>>) -> Done<Vec<Option<Brought>>> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let schedule = self.0.schedule.clone();
        self.0.transaction(move |c| Box::pin(async move { record_held(c, &all, &schedule).await })).await
    }
}

/// Records those whose orders are as their claims left them: all, or none.
async fn record_fresh(
    connection: &mut PgConnection,
    all: &[Arc<Attempt>],
    schedule: &AttemptSchedule,
) -> Done<Vec<Brought>> {
    let judged: Vec<Judged<'_>> = all
        .iter()
        .filter_map(|attempt| {
            let order = LockedOrder::as_claimed(&attempt.whose, attempt.token, attempt.fresh.as_ref()?);
            Some(Judged::new(attempt, order, schedule))
        })
        .collect();
    let Some(now) = judged.iter().map(|one| one.order.now).min() else { return Ok(Vec::new()) };
    let (changes, made) = parts(judged.iter());
    let whose: Vec<&Whose> = judged.iter().map(|one| &one.attempt.whose).collect();
    let brought = orders::write_all_or_nothing(connection, &changes, made, &whose, now).await?;
    Ok(with_attempts(brought, judged.iter()))
}

/// Records those whose order is free and whose claim holds. A token is drawn once: where the order still has it, it is
/// the order that the claim is for.
async fn record_held(
    connection: &mut PgConnection,
    all: &[Arc<Attempt>],
    schedule: &AttemptSchedule,
) -> Done<Vec<Option<Brought>>> {
    let order_keys: Vec<i64> = all.iter().map(|attempt| attempt.whose.order_key).collect();
    let mut orders: HashMap<i64, LockedOrder> = orders::lock_free(connection, &order_keys)
        .await?
        .into_iter()
        .map(|order| (order.order_key, order))
        .collect();
    let judged: Vec<Option<Judged<'_>>> = all
        .iter()
        .map(|attempt| {
            let order = orders.remove(&attempt.whose.order_key)?;
            order.is_claimed_by(attempt.token).then(|| Judged::new(attempt, order, schedule))
        })
        .collect();
    let mut brought = write(connection, judged.iter().flatten()).await?.into_iter();
    Ok(judged.iter().map(|one| one.as_ref().and_then(|_| brought.next())).collect())
}

async fn record_one(
    connection: &mut PgConnection,
    attempt: &Attempt,
    schedule: &AttemptSchedule,
) -> Done<Recorded> {
    let whose = &attempt.whose;
    let Some(order) = orders::lock_if_known(connection, whose.order_key).await? else {
        return Ok(Recorded::Nowhere);
    };
    if !whose.is_known(connection).await? {
        return Ok(Recorded::Nowhere);
    }
    let is_late = !order.is_claimed_by(attempt.token);
    if is_late && attempts::is_recorded(connection, whose.command_key, attempt.token).await? {
        return Ok(Recorded::Before);
    }
    let judged = Judged::new(attempt, order, schedule);
    let brought = write(connection, std::iter::once(&judged)).await?.pop();
    Ok(Recorded::Now(brought.unwrap_or_default()))
}

/// An attempt, and what it changes about its locked order.
struct Judged<'a> {
    attempt: &'a Attempt,
    order: LockedOrder,
    change: Change,
    made: AttemptMade,
    started_at: Time,
}

impl<'a> Judged<'a> {
    fn new(attempt: &'a Attempt, order: LockedOrder, schedule: &AttemptSchedule) -> Self {
        let started_at = order.now.checked_sub_signed(attempt.took).unwrap_or(order.now);
        let claim_held = order.is_claimed_by(attempt.token);
        let send_at = order.due.as_ref().and_then(|row| row.due.send).map(|send| send.at);
        let time = AttemptTime { started_at, now: order.now, claim_held, send_at, chance: attempt.chance };
        let record = order.record.clone();
        let (change, made) = match &attempt.finding {
            Finding::Send(finding) => record.after_send(whose(&order, attempt), finding, time, schedule),
            Finding::Inquiry(finding) => record.after_inquiry(finding, time, schedule),
        };
        Self { attempt, order, change, made, started_at }
    }
}

async fn write<'a>(
    connection: &mut PgConnection,
    all: impl Iterator<Item = &'a Judged<'a>> + Clone,
) -> Done<Vec<Brought>> {
    let (changes, made) = parts(all.clone());
    let brought = write_all(connection, &changes, made).await?;
    Ok(with_attempts(brought, all))
}

/// What changes, and the attempts that taught it.
fn parts<'a>(
    all: impl Iterator<Item = &'a Judged<'a>> + Clone,
) -> (Vec<(&'a LockedOrder, &'a Change)>, Vec<NewAttempt<'a>>) {
    let changes = all.clone().map(|one| (&one.order, &one.change)).collect();
    let made = all.map(|one| NewAttempt {
        command_key: one.attempt.whose.command_key,
        made: &one.made,
        started_at: one.started_at,
        finished_at: one.order.now,
        token: Some(one.attempt.token),
    });
    (changes, made.collect())
}

fn with_attempts<'a>(mut brought: Vec<Brought>, all: impl Iterator<Item = &'a Judged<'a>>) -> Vec<Brought> {
    for (one, brought) in all.zip(&mut brought) {
        brought.attempts.push((one.made.kind, one.made.class));
    }
    brought
}

fn whose(order: &LockedOrder, attempt: &Attempt) -> AttemptOf {
    match attempt.whose.kind {
        CommandKind::Payment => AttemptOf::Payment,
        CommandKind::Refund if order.refund_key == Some(attempt.whose.command_key) => AttemptOf::Refund,
        CommandKind::Refund => AttemptOf::EarlierRefund,
    }
}

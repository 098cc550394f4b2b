//! Records what one attempt taught us, with all that follows from it, in one transaction. Attempts are recorded
//! together if their claims hold; the attempt of a late worker is judged alone.

use super::{
    StoreContext,
    attempts::{self, NewAttempt},
    batch::{Batch, Group},
    claim_identity::ClaimIdentity,
    due_claims::DUE_GATHER,
    error::{TxError, TxResult},
    orders::{self, CommitEffects, LoadedOrder, write_all},
};
use crate::{
    domain::{
        Time,
        attempt::{AttemptMade, AttemptOf, AttemptTime, Attempted, after_inquiry, after_send},
        change::Change,
        command::CommandKind,
        schedule::AttemptSchedule,
    },
    failpoint::{Failpoint, failpoint},
    flow::ports::{Claim, ClaimError, Finding, FreshOrder, StoreError},
};
use chrono::TimeDelta;
use sqlx::PgConnection;
use std::{collections::HashMap, sync::Arc, time::Duration};
use uuid::Uuid;

/// Records attempts.
#[derive(Clone)]
pub(super) struct Records {
    context: Arc<StoreContext>,
    fresh: Batch<FreshAttempts>,
    due: Batch<DueAttempts>,
}

/// One attempt on its way into the store.
struct Attempt {
    identity: ClaimIdentity,
    token: Uuid,
    finding: Finding,
    took: TimeDelta,
    /// What its claim knew, where nothing was sent before.
    fresh: Option<Arc<FreshOrder>>,
    /// In [0, 1), for the jitter.
    chance: f64,
}

/// What became of it.
enum Recorded {
    Now(CommitEffects),
    /// It was recorded already, and its answer lost.
    Before,
    /// Its claim is forgotten: nothing was written.
    Nowhere,
}

impl Records {
    pub fn new(context: Arc<StoreContext>) -> Self {
        Self {
            fresh: Batch::new(FreshAttempts(Arc::clone(&context))),
            due: Batch::new(DueAttempts(Arc::clone(&context))),
            context,
        }
    }

    /// Records one attempt. Asked again after an error, it writes nothing twice.
    pub async fn record(&self, claim: &Claim, finding: &Finding, took: Duration) -> Result<(), ClaimError> {
        let attempt = Attempt {
            identity: ClaimIdentity::from_claim(claim),
            token: claim.token,
            finding: finding.clone(),
            took: TimeDelta::from_std(took).unwrap_or(TimeDelta::MAX),
            fresh: claim.fresh.clone(),
            chance: (self.context.jitter)(),
        };
        let recorded = match attempt.fresh {
            Some(_) => self.fresh.add(attempt).await?,
            None => self.due.add(attempt).await?,
        };
        match recorded {
            Recorded::Now(effects) => self.context.committed(&effects),
            Recorded::Before => {}
            Recorded::Nowhere => return Err(self.context.forgotten()),
        }
        Ok(())
    }
}

/// First sends: a customer waits for their end.
struct FreshAttempts(Arc<StoreContext>);

/// All others.
struct DueAttempts(Arc<StoreContext>);

impl Group for FreshAttempts {
    type Item = Attempt;
    type Key = i64;
    type Reply = Recorded;

    fn key(attempt: &Attempt) -> i64 {
        attempt.identity.order_key
    }

    /// They are written as they were claimed, without a look, in one statement; should another have changed one of
    /// their orders meanwhile, all are recorded as those of due orders are, under their locks.
    async fn together(self: Arc<Self>, all: Vec<Arc<Attempt>>) -> TxResult<Vec<Option<Recorded>>> {
        let (context, these) = (Arc::clone(&self.0), all.clone());
        let written = self
            .0
            .statement(move |c| Box::pin(async move { record_fresh(c, &these, &context.schedule).await }));
        match written.await {
            Err(TxError::Raced | TxError::Contended(_)) => record_due(&self.0, all).await,
            written => Ok(committed(written?.into_iter().map(Some)).await),
        }
    }

    async fn alone(self: Arc<Self>, attempt: Arc<Attempt>) -> Result<Recorded, StoreError> {
        record_alone(&self.0, attempt).await
    }
}

impl Group for DueAttempts {
    type Item = Attempt;
    type Key = i64;
    type Reply = Recorded;

    const GATHER: Duration = DUE_GATHER;

    fn key(attempt: &Attempt) -> i64 {
        attempt.identity.order_key
    }

    async fn together(self: Arc<Self>, all: Vec<Arc<Attempt>>) -> TxResult<Vec<Option<Recorded>>> {
        record_due(&self.0, all).await
    }

    async fn alone(self: Arc<Self>, attempt: Arc<Attempt>) -> Result<Recorded, StoreError> {
        record_alone(&self.0, attempt).await
    }
}

async fn record_due(context: &Arc<StoreContext>, all: Vec<Arc<Attempt>>) -> TxResult<Vec<Option<Recorded>>> {
    let judge = Arc::clone(context);
    let written = context
        .transaction(move |c| Box::pin(async move { record_held(c, &all, &judge.schedule).await }))
        .await?;
    Ok(committed(written.into_iter()).await)
}

async fn record_alone(context: &Arc<StoreContext>, attempt: Arc<Attempt>) -> Result<Recorded, StoreError> {
    let judge = Arc::clone(context);
    let recorded = context
        .transaction(move |c| Box::pin(async move { record_one(c, &attempt, &judge.schedule).await }))
        .await;
    Ok(recorded?)
}

async fn committed(written: impl Iterator<Item = Option<CommitEffects>>) -> Vec<Option<Recorded>> {
    let recorded = written.map(|effects| effects.map(Recorded::Now)).collect();
    failpoint(Failpoint::RecordsCommitted).await;
    recorded
}

/// Records attempts on orders that are as their claims left them: all, or none.
async fn record_fresh(
    connection: &mut PgConnection,
    all: &[Arc<Attempt>],
    schedule: &AttemptSchedule,
) -> TxResult<Vec<CommitEffects>> {
    let judged: Vec<Judged<'_>> = all
        .iter()
        .filter_map(|attempt| {
            let order = LoadedOrder::as_claimed(&attempt.identity, attempt.token, attempt.fresh.as_ref()?);
            Some(Judged::new(attempt, order, schedule))
        })
        .collect();
    let Some(now) = judged.iter().map(|one| one.order.now).min() else { return Ok(Vec::new()) };
    let (changes, made) = changes_and_attempts(judged.iter());
    let identity: Vec<&ClaimIdentity> = judged.iter().map(|one| &one.attempt.identity).collect();
    let effects = orders::write_all_or_nothing(connection, &changes, made, &identity, now).await?;
    Ok(with_attempts(effects, judged.iter()))
}

/// Records each attempt if its order is free and its claim holds. A token is drawn once: if the order still has it, it
/// is the order that the claim is for.
async fn record_held(
    connection: &mut PgConnection,
    all: &[Arc<Attempt>],
    schedule: &AttemptSchedule,
) -> TxResult<Vec<Option<CommitEffects>>> {
    let order_keys: Vec<i64> = all.iter().map(|attempt| attempt.identity.order_key).collect();
    let mut orders: HashMap<i64, LoadedOrder> = orders::lock_free(connection, &order_keys)
        .await?
        .into_iter()
        .map(|order| (order.order_key, order))
        .collect();
    let judged: Vec<Option<Judged<'_>>> = all
        .iter()
        .map(|attempt| {
            let order = orders.remove(&attempt.identity.order_key)?;
            order.is_claimed_by(attempt.token).then(|| Judged::new(attempt, order, schedule))
        })
        .collect();
    let mut effects = write(connection, judged.iter().flatten()).await?.into_iter();
    Ok(judged.iter().map(|one| one.as_ref().and_then(|_| effects.next())).collect())
}

async fn record_one(
    connection: &mut PgConnection,
    attempt: &Attempt,
    schedule: &AttemptSchedule,
) -> TxResult<Recorded> {
    let identity = &attempt.identity;
    let Some(order) = orders::lock_if_known(connection, identity.order_key).await? else {
        return Ok(Recorded::Nowhere);
    };
    if !identity.is_known(connection).await? {
        return Ok(Recorded::Nowhere);
    }
    let is_late = !order.is_claimed_by(attempt.token);
    if is_late && attempts::is_recorded(connection, identity.command_key, attempt.token).await? {
        return Ok(Recorded::Before);
    }
    let judged = Judged::new(attempt, order, schedule);
    let effects = write(connection, std::iter::once(&judged)).await?.pop();
    Ok(Recorded::Now(effects.unwrap_or_default()))
}

/// An attempt, and what it changes about its locked order.
struct Judged<'a> {
    attempt: &'a Attempt,
    order: LoadedOrder,
    change: Change,
    made: AttemptMade,
    started_at: Time,
}

impl<'a> Judged<'a> {
    fn new(attempt: &'a Attempt, order: LoadedOrder, schedule: &AttemptSchedule) -> Self {
        let started_at = order.now.checked_sub_signed(attempt.took).unwrap_or(order.now);
        let claim_held = order.is_claimed_by(attempt.token);
        let due = order.due.as_ref().map(|row| row.due);
        let send_at = due.and_then(|due| due.send).map(|send| send.at);
        let (inquiry, chance) = (due.map(|due| due.inquiry.rank), attempt.chance);
        let time = AttemptTime { started_at, now: order.now, claim_held, send_at, inquiry, chance };
        let record = order.record.clone();
        let Attempted { change, made } = match &attempt.finding {
            Finding::Send(finding) => {
                after_send(record, attempt_of(&order, attempt), finding, time, schedule)
            }
            Finding::Inquiry(finding) => after_inquiry(record, finding, time, schedule),
        };
        Self { attempt, order, change, made, started_at }
    }
}

async fn write<'a>(
    connection: &mut PgConnection,
    all: impl Iterator<Item = &'a Judged<'a>> + Clone,
) -> TxResult<Vec<CommitEffects>> {
    let mut news = Vec::new();
    for one in all.clone().filter(|one| one.order.stays_in_review(&one.change)) {
        if attempts::is_news(connection, one.attempt.identity.command_key, &one.made).await? {
            news.push(one.order.order_key);
        }
    }
    let (changes, made) = changes_and_attempts(all.clone());
    let effects = write_all(connection, &changes, made).await?;
    orders::raise(connection, &news).await?;
    Ok(with_attempts(effects, all))
}

/// What changes, and the attempts that taught it.
fn changes_and_attempts<'a>(
    all: impl Iterator<Item = &'a Judged<'a>> + Clone,
) -> (Vec<(&'a LoadedOrder, &'a Change)>, Vec<NewAttempt<'a>>) {
    let changes = all.clone().map(|one| (&one.order, &one.change)).collect();
    let made = all.map(|one| NewAttempt {
        command_key: one.attempt.identity.command_key,
        made: &one.made,
        started_at: one.started_at,
        finished_at: one.order.now,
        token: Some(one.attempt.token),
    });
    (changes, made.collect())
}

fn with_attempts<'a>(
    mut effects: Vec<CommitEffects>,
    all: impl Iterator<Item = &'a Judged<'a>>,
) -> Vec<CommitEffects> {
    for (one, effects) in all.zip(&mut effects) {
        effects.attempts.push((one.made.kind, one.made.class));
    }
    effects
}

fn attempt_of(order: &LoadedOrder, attempt: &Attempt) -> AttemptOf {
    match attempt.identity.kind {
        CommandKind::Payment => AttemptOf::Payment,
        CommandKind::Refund if order.refund_key == Some(attempt.identity.command_key) => AttemptOf::Refund,
        CommandKind::Refund => AttemptOf::EarlierRefund,
    }
}

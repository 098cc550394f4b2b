//! Records: what one attempt taught us, with all that follows from it, in one transaction.
//!
//! `Records` takes one attempt at a time; that several share a transaction would be its own affair.

use super::{
    Inner, attempts,
    error::Done,
    orders::{self, Brought, LockedOrder},
};
use crate::{
    domain::{
        attempt::{AttemptOf, AttemptTime},
        command::CommandKind,
        plan::Plan,
    },
    flow::ports::{Claim, Learned, StoreError},
};
use chrono::TimeDelta;
use sqlx::PgConnection;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Records attempts.
#[derive(Clone)]
pub(super) struct Records {
    inner: Arc<Inner>,
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
        Self { inner }
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
        let plan = self.inner.plan.clone();
        let brought = self
            .inner
            .transaction(move |c| Box::pin(async move { record_one(c, &attempt, &plan).await }))
            .await?;
        self.inner.committed(&brought);
        Ok(())
    }
}

async fn record_one(connection: &mut PgConnection, attempt: &Attempt, plan: &Plan) -> Done<Brought> {
    let order = orders::lock(connection, attempt.order_key).await?;
    let claim_held = order.is_claimed_by(attempt.token);
    if !claim_held && attempts::is_recorded(connection, attempt.command_key, attempt.token).await? {
        return Ok(Brought::default());
    }
    let started_at = order.now.checked_sub_signed(attempt.took).unwrap_or(order.now);
    let time = AttemptTime { started_at, now: order.now, claim_held, chance: attempt.chance };
    let record = order.record.clone();
    let (change, made) = match &attempt.learned {
        Learned::Send(learned) => record.after_send(whose(&order, attempt), learned, time, plan),
        Learned::Inquiry(learned) => record.after_inquiry(learned, time, plan),
    };
    let mut brought = order.write(connection, &change).await?;
    attempts::insert(connection, attempt.command_key, &made, started_at, order.now, Some(attempt.token))
        .await?;
    brought.attempts.push((made.kind, made.class));
    Ok(brought)
}

fn whose(order: &LockedOrder, attempt: &Attempt) -> AttemptOf {
    match attempt.kind {
        CommandKind::Payment => AttemptOf::Payment,
        CommandKind::Refund if order.refund_key == Some(attempt.command_key) => AttemptOf::Refund,
        CommandKind::Refund => AttemptOf::EarlierRefund,
    }
}

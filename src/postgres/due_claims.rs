//! Claims of due orders: whatever died with its last attempt is made up for first, then what to do is
//! judged anew, since an order may be picked up long after its time.

use super::{
    StoreContext,
    attempts::NewAttempt,
    due::NewDue,
    error::TxResult,
    orders::{self, CommitEffects, LoadedOrder},
    requests::{self, instant},
    rows::{DueRow, Lease},
    write_statement::Writes,
};
use crate::{
    domain::{
        Time,
        attempt::AttemptMade,
        change::{Change, DueChange},
        finding::AttemptKind,
        ids::{InvoiceNumber, MerchantName},
        record::OrderRecord,
        schedule::{Due, LostAttempt},
    },
    flow::ports::{Claim, DueClaim, DueNeed, DueOrder, StoreError},
};
use sqlx::PgConnection;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// What the caller takes on, and how long an attempt may take.
struct Wanted {
    order_key: i64,
    merchant: MerchantName,
    what: DueNeed,
    lease: Duration,
    asked_at: Instant,
}

/// Claims what a due order needs, unless another process did.
pub(super) async fn claim_due(
    context: &Arc<StoreContext>,
    due: &DueOrder,
    what: DueNeed,
    lease: Duration,
) -> Result<DueClaim, StoreError> {
    let (order_key, merchant) = (due.order_key, due.merchant.clone());
    let wanted = Wanted { order_key, merchant, what, lease, asked_at: Instant::now() };
    let judge = Arc::clone(context);
    let (taken, effects) =
        context.transaction(move |c| Box::pin(async move { claim_one(c, &judge, &wanted).await })).await?;
    context.committed(&effects);
    Ok(taken)
}

async fn claim_one(
    connection: &mut PgConnection,
    context: &StoreContext,
    wanted: &Wanted,
) -> TxResult<(DueClaim, CommitEffects)> {
    let Some(order) = orders::lock_free(connection, &[wanted.order_key]).await?.pop() else {
        return Ok((DueClaim::Gone, CommitEffects::default()));
    };
    // Listed before the database went back in time, its key may be another's by now: the permit is for its merchant.
    if order.record.merchant != wanted.merchant {
        return Ok((DueClaim::Gone, CommitEffects::default()));
    }
    let Some(found) = with_lost_attempt(&order, context) else {
        return Ok((DueClaim::Gone, CommitEffects::default()));
    };
    let kind = found.kind_of(wanted.what, order.now);
    let effects = found.write(connection, &order, kind.is_none()).await?;
    match kind {
        Some(kind) => {
            let claim = grant(connection, &order, &found, kind, wanted).await?;
            Ok((DueClaim::Attempt(Box::new(claim)), effects))
        }
        None => Ok((DueClaim::Gone, effects)),
    }
}

/// The right to inquire about an order now; see `OperatorStore`.
pub(super) async fn inquire_now(
    context: &Arc<StoreContext>,
    merchant: &MerchantName,
    invoice_number: &InvoiceNumber,
    lease: Duration,
) -> Result<Option<Claim>, StoreError> {
    let (merchant, invoice_number) = (merchant.clone(), invoice_number.clone());
    let asked_at = Instant::now();
    let judge = Arc::clone(context);
    let (claim, effects) = context
        .transaction(move |c| {
            Box::pin(async move {
                let Some(order) = orders::lock_invoice(c, &merchant, &invoice_number).await? else {
                    return Ok((None, CommitEffects::default()));
                };
                let what = DueNeed::Inquiry;
                let wanted = Wanted { order_key: order.order_key, merchant, what, lease, asked_at };
                let (claim, effects) = ask(c, &judge, &order, &wanted).await?;
                Ok((Some(claim), effects))
            })
        })
        .await?;
    context.committed(&effects);
    Ok(claim)
}

/// Asked before its time, a question must not move the schedule: an operator who asks often would push
/// the next inquiry, or a resend that DOKU wants later, to another time.
async fn ask(
    connection: &mut PgConnection,
    context: &StoreContext,
    order: &LoadedOrder,
    wanted: &Wanted,
) -> TxResult<(Claim, CommitEffects)> {
    let found = with_lost_attempt(order, context).filter(|found| found.due.inquiry.at <= order.now);
    if let Some(found) = found {
        let effects = found.write(connection, order, false).await?;
        let claim = grant(connection, order, &found, AttemptKind::Inquiry, wanted).await?;
        return Ok((claim, effects));
    }
    let command_key = order.command_to_ask_about();
    let (request, birth) = requests::read(connection, command_key, order.record.amount).await?;
    let claim = Claim {
        order_key: order.order_key,
        command_key,
        kind: AttemptKind::Inquiry,
        token: Uuid::new_v4(),
        birth,
        request: Arc::new(request),
        lease_ends: wanted.asked_at + wanted.lease,
        sends_end: wanted.asked_at,
        traceparent: order.traceparent_of(command_key),
        fresh: None,
    };
    Ok((claim, CommitEffects::default()))
}

/// A due order as its claim finds it.
struct FoundOrder {
    record: OrderRecord,
    due: Due,
    /// An attempt whose lease ran out without a record.
    lost: Option<(LostAttempt, AttemptMade)>,
}

/// `None` if nothing is due, or an attempt is under way. What is stranded waits for its account, whatever the
/// time: a claim would forget how long its budget stood still.
fn with_lost_attempt(order: &LoadedOrder, context: &StoreContext) -> Option<FoundOrder> {
    let DueRow { due, lease, is_stranded } = order.due.clone()?;
    if is_stranded {
        return None;
    }
    let record = order.record.clone();
    let Some(lease) = lease else { return Some(FoundOrder { record, due, lost: None }) };
    if lease.ends_at > order.now {
        return None;
    }
    let (kind, started_at, lease_ended_at) = (lease.kind, lease.claimed_at, lease.ends_at);
    let lost = LostAttempt { kind, started_at, lease_ended_at, now: order.now };
    let (record, made) = record.after_lost(&lost);
    let due = context.schedule.after_lost(&record, &lost, &due, (context.jitter)());
    Some(FoundOrder { record, due, lost: Some((lost, made)) })
}

impl FoundOrder {
    /// Which attempt may be made of what is wanted; `None`: none now.
    fn kind_of(&self, what: DueNeed, now: Time) -> Option<AttemptKind> {
        match what {
            DueNeed::Lost => None,
            DueNeed::Send { inquiry_held_back } => {
                let goes = self.due.sends_at(now) && (inquiry_held_back || !self.due.asks_first(now));
                goes.then_some(AttemptKind::Send)
            }
            DueNeed::Inquiry => (self.due.inquiry.at <= now).then_some(AttemptKind::Inquiry),
        }
    }

    /// Writes what a lost attempt left behind, and, where no other follows at once, what is due now.
    async fn write(
        &self,
        connection: &mut PgConnection,
        order: &LoadedOrder,
        is_all: bool,
    ) -> TxResult<CommitEffects> {
        let Some((lost, made)) = &self.lost else { return Ok(CommitEffects::default()) };
        let new = NewAttempt {
            command_key: order.command_to_ask_about(),
            made,
            started_at: lost.started_at,
            finished_at: lost.lease_ended_at,
            token: None,
        };
        let due = if is_all { DueChange::Replace(Some(self.due)) } else { DueChange::Keep };
        let change = Change { due, ..Change::none(self.record.clone()) };
        let effects = orders::write_all(connection, &[(order, &change)], vec![new]).await?.pop();
        let mut effects = effects.unwrap_or_default();
        effects.attempts.push((made.kind, made.class));
        Ok(effects)
    }
}

async fn grant(
    connection: &mut PgConnection,
    order: &LoadedOrder,
    found: &FoundOrder,
    kind: AttemptKind,
    wanted: &Wanted,
) -> TxResult<Claim> {
    let (command_key, record) = (order.command_to_ask_about(), &found.record);
    let (token, now) = (Uuid::new_v4(), order.now);
    let sends_end = record.open_command().map(|command| command.sends_end_at);
    let lease = Lease { kind, token, claimed_at: now, ends_at: now + wanted.lease };
    let (merchant, due) = (&record.merchant, &found.due);
    let new = NewDue { order_key: order.order_key, merchant, due, lease: Some(lease) };
    Writes { due: vec![new], ..Writes::default() }.write(connection).await?;
    let (request, birth) = requests::read(connection, command_key, record.amount).await?;
    Ok(Claim {
        order_key: order.order_key,
        command_key,
        kind,
        token,
        birth,
        request: Arc::new(request),
        lease_ends: instant(wanted.asked_at, lease.ends_at - now),
        sends_end: instant(wanted.asked_at, sends_end.map_or(chrono::TimeDelta::zero(), |end| end - now)),
        traceparent: order.traceparent_of(command_key),
        fresh: None,
    })
}

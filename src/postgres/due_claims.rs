//! Claims of due orders: whatever died with its last attempt is made up for first, then what to do is
//! judged anew, since an order may be picked up long after its time.

mod first_sends;

use super::{
    StoreContext,
    attempts::NewAttempt,
    batch::{Batch, Group},
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
        attempt::{AttemptMade, after_lost},
        change::{Change, DueChange},
        command::StoredRequest,
        finding::AttemptKind,
        ids::{InvoiceNumber, MerchantName},
        record::OrderRecord,
        schedule::{Due, LostAttempt, SendRank},
    },
    flow::ports::{Claim, DueClaim, DueNeed, DueOrder, DueWhat, StoreError},
};
use first_sends::FirstSends;
use sqlx::PgConnection;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// A merchant at its rate limit resends one after the other, evenly: without a wait each claim would be a transaction by
/// itself, and so would be its record. A longer wait makes larger groups, whose sends leave in one burst: what others send
/// meanwhile waits behind it.
pub(super) const DUE_GATHER: Duration = Duration::from_millis(10);

/// Claims due orders. Those that are claimed at the same time share a transaction: a merchant with thousands of due
/// sends would otherwise hold every connection of the pool, each for the wait of its own commit.
#[derive(Clone)]
pub(super) struct DueClaims {
    context: Arc<StoreContext>,
    first_sends: Batch<FirstSends>,
    orders: Batch<DueOrders>,
}

/// What the caller wants of a due order, and how long an attempt may take.
struct Wanted {
    order_key: i64,
    merchant: MerchantName,
    what: DueNeed,
    lease: Duration,
    asked_at: Instant,
}

impl DueClaims {
    pub fn new(context: Arc<StoreContext>) -> Self {
        let first_sends = Batch::new(FirstSends(Arc::clone(&context)));
        Self { first_sends, orders: Batch::new(DueOrders(Arc::clone(&context))), context }
    }

    /// Claims what a due order needs, unless another process did.
    pub async fn claim(
        &self,
        due: &DueOrder,
        what: DueNeed,
        lease: Duration,
    ) -> Result<DueClaim, StoreError> {
        let (order_key, merchant) = (due.order_key, due.merchant.clone());
        let wanted = Wanted { order_key, merchant, what, lease, asked_at: Instant::now() };
        let first = DueWhat::Send { rank: SendRank::First, asks_first: false };
        let (claim, effects) = if due.what == first && matches!(what, DueNeed::Send { .. }) {
            self.first_sends.add(wanted).await?
        } else {
            self.orders.add(wanted).await?
        };
        self.context.committed(&effects);
        Ok(claim)
    }
}

/// Due orders that are claimed together.
struct DueOrders(Arc<StoreContext>);

impl Group for DueOrders {
    type Item = Wanted;
    type Key = i64;
    type Reply = (DueClaim, CommitEffects);

    const GATHER: Duration = DUE_GATHER;

    fn key(wanted: &Wanted) -> i64 {
        wanted.order_key
    }

    async fn together(self: Arc<Self>, all: Vec<Arc<Wanted>>) -> TxResult<Vec<Option<Self::Reply>>> {
        let context = Arc::clone(&self.0);
        let claims =
            self.0.transaction(move |c| Box::pin(async move { claim_all(c, &context, &all).await })).await?;
        Ok(claims.into_iter().map(Some).collect())
    }

    async fn alone(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Self::Reply, StoreError> {
        claim_one(&self.0, wanted).await
    }
}

async fn claim_one(
    context: &Arc<StoreContext>,
    wanted: Arc<Wanted>,
) -> Result<(DueClaim, CommitEffects), StoreError> {
    let judge = Arc::clone(context);
    let claims =
        context.transaction(move |c| Box::pin(async move { claim_all(c, &judge, &[wanted]).await })).await?;
    Ok(claims.into_iter().next().unwrap_or((DueClaim::Gone, CommitEffects::default())))
}

/// One answer for each, in the same order. An order that another transaction holds is not waited for.
async fn claim_all(
    connection: &mut PgConnection,
    context: &StoreContext,
    all: &[Arc<Wanted>],
) -> TxResult<Vec<(DueClaim, CommitEffects)>> {
    let order_keys: Vec<i64> = all.iter().map(|wanted| wanted.order_key).collect();
    let mut orders: HashMap<i64, LoadedOrder> =
        orders::lock_free(connection, &order_keys).await?.into_iter().map(|o| (o.order_key, o)).collect();
    let found: Vec<Option<DueCase<'_>>> =
        all.iter().map(|wanted| DueCase::new(wanted, orders.remove(&wanted.order_key)?, context)).collect();
    let mut effects = write_lost(connection, found.iter().flatten()).await?.into_iter();
    let grants = found.iter().flatten().filter_map(DueCase::grant).collect();
    let mut claims = write_grants(connection, grants).await?.into_iter();
    let answer = |case: Option<DueCase<'_>>| {
        let Some(case) = case else { return (DueClaim::Gone, CommitEffects::default()) };
        let effects = case.found.lost.and_then(|_| effects.next()).unwrap_or_default();
        let claim = case.kind.and_then(|_| claims.next());
        (claim.map_or(DueClaim::Gone, |claim| DueClaim::Attempt(Box::new(claim))), effects)
    };
    Ok(found.into_iter().map(answer).collect())
}

/// A due order under its lock, and what may be made of it now.
struct DueCase<'a> {
    wanted: &'a Wanted,
    order: LoadedOrder,
    found: FoundOrder,
    /// `None`: no attempt follows now.
    kind: Option<AttemptKind>,
}

impl<'a> DueCase<'a> {
    /// `None` if nothing is due. A due order was listed before: if the database went back in time since, its key may
    /// be another order's by now, and the permit is for its merchant.
    fn new(wanted: &'a Wanted, order: LoadedOrder, context: &StoreContext) -> Option<Self> {
        if order.record.merchant != wanted.merchant {
            return None;
        }
        let found = with_lost_attempt(&order, context)?;
        let kind = found.kind_of(wanted.what, order.now);
        Some(Self { wanted, order, found, kind })
    }

    fn grant(&self) -> Option<Grant<'_>> {
        Some(Grant::new(&self.order, &self.found, self.kind?, self.wanted))
    }
}

/// Writes what lost attempts left behind, and, for those that no other attempt follows at once, what is due now. One
/// effect for each that has a lost attempt.
async fn write_lost<'a>(
    connection: &mut PgConnection,
    cases: impl Iterator<Item = &'a DueCase<'a>>,
) -> TxResult<Vec<CommitEffects>> {
    let lost: Vec<LostWrite<'_>> =
        cases.filter_map(|case| LostWrite::new(&case.order, &case.found, case.kind.is_none())).collect();
    LostWrite::write_all(connection, &lost).await
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
        let lost: Vec<_> = LostWrite::new(order, &found, false).into_iter().collect();
        let effects = LostWrite::write_all(connection, &lost).await?.pop().unwrap_or_default();
        let grant = Grant::new(order, &found, AttemptKind::Inquiry, wanted);
        if let Some(claim) = write_grants(connection, vec![grant]).await?.pop() {
            return Ok((claim, effects));
        }
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
    let (record, made) = after_lost(record, &lost);
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
}

/// What a lost attempt changes about its order.
struct LostWrite<'a> {
    order: &'a LoadedOrder,
    change: Change,
    attempt: NewAttempt<'a>,
}

impl<'a> LostWrite<'a> {
    /// `is_all`: no other attempt follows at once, so that what is due now is written too.
    fn new(order: &'a LoadedOrder, found: &'a FoundOrder, is_all: bool) -> Option<Self> {
        let (lost, made) = found.lost.as_ref()?;
        let due = if is_all { DueChange::Replace(Some(found.due)) } else { DueChange::Keep };
        let change = Change { due, ..Change::none(found.record.clone()) };
        let attempt = NewAttempt {
            command_key: order.command_to_ask_about(),
            made,
            started_at: lost.started_at,
            finished_at: lost.lease_ended_at,
            token: None,
        };
        Some(Self { order, change, attempt })
    }

    async fn write_all(connection: &mut PgConnection, all: &[Self]) -> TxResult<Vec<CommitEffects>> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let changes: Vec<_> = all.iter().map(|one| (one.order, &one.change)).collect();
        let attempts = all.iter().map(|one| one.attempt).collect();
        let mut effects = orders::write_all(connection, &changes, attempts).await?;
        for (one, effects) in all.iter().zip(&mut effects) {
            effects.attempts.push((one.attempt.made.kind, one.attempt.made.class));
        }
        Ok(effects)
    }
}

/// A claim that is going to be written.
struct Grant<'a> {
    order: &'a LoadedOrder,
    found: &'a FoundOrder,
    lease: Lease,
    wanted: &'a Wanted,
}

impl<'a> Grant<'a> {
    fn new(order: &'a LoadedOrder, found: &'a FoundOrder, kind: AttemptKind, wanted: &'a Wanted) -> Self {
        let (token, now) = (Uuid::new_v4(), order.now);
        Self {
            order,
            found,
            lease: Lease { kind, token, claimed_at: now, ends_at: now + wanted.lease },
            wanted,
        }
    }

    fn claim(&self, request: StoredRequest, birth: Uuid) -> Claim {
        let Self { order, found, lease, wanted } = self;
        let command_key = order.command_to_ask_about();
        let sends_left = found.record.open_command().map(|command| command.sends_end_at - order.now);
        Claim {
            order_key: order.order_key,
            command_key,
            kind: lease.kind,
            token: lease.token,
            birth,
            request: Arc::new(request),
            lease_ends: instant(wanted.asked_at, lease.ends_at - order.now),
            sends_end: instant(wanted.asked_at, sends_left.unwrap_or_default()),
            traceparent: order.traceparent_of(command_key),
            fresh: None,
        }
    }
}

/// Writes the claims and reads their requests. One claim for each, in the same order.
async fn write_grants(connection: &mut PgConnection, all: Vec<Grant<'_>>) -> TxResult<Vec<Claim>> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let due = all
        .iter()
        .map(|Grant { order, found, lease, .. }| NewDue {
            order_key: order.order_key,
            merchant: &found.record.merchant,
            due: &found.due,
            lease: Some(*lease),
        })
        .collect();
    Writes { due, ..Writes::default() }.write(connection).await?;
    let wanted: Vec<_> =
        all.iter().map(|grant| (grant.order.command_to_ask_about(), grant.found.record.amount)).collect();
    let requests = requests::read_all(connection, &wanted).await?;
    Ok(all.iter().zip(requests).map(|(grant, (request, birth))| grant.claim(request, birth)).collect())
}

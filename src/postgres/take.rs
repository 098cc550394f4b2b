//! Taking on a due order: whatever died with its last attempt is made up for first, then what to do is
//! judged anew, since an order may be picked up long after its time.

use super::{
    Inner,
    attempts::NewAttempt,
    due::NewDue,
    error::Done,
    orders::{self, Brought, LockedOrder},
    requests::{self, instant},
    rows::DueRow,
    writes::Writes,
};
use crate::{
    domain::{
        attempt::AttemptMade,
        ids::{InvoiceNumber, MerchantName},
        learned::AttemptKind,
        plan::{Due, Next},
        record::{Change, DueChange, OrderRecord},
    },
    flow::ports::{Claim, DueOrder, StoreError, Taken},
};
use sqlx::PgConnection;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// What the caller has a permit for, and how long an attempt may take.
struct Wanted {
    order_key: i64,
    merchant: MerchantName,
    kind: AttemptKind,
    lease: Duration,
    asked_at: Instant,
}

/// Takes on what a due order needs, unless another did.
pub(super) async fn take(inner: &Arc<Inner>, due: &DueOrder, lease: Duration) -> Result<Taken, StoreError> {
    let DueOrder { order_key, merchant, kind } = due.clone();
    let wanted = Wanted { order_key, merchant, kind, lease, asked_at: Instant::now() };
    let judge = Arc::clone(inner);
    let (taken, brought) =
        inner.transaction(move |c| Box::pin(async move { take_one(c, &judge, &wanted).await })).await?;
    inner.committed(&brought);
    Ok(taken)
}

async fn take_one(connection: &mut PgConnection, inner: &Inner, wanted: &Wanted) -> Done<(Taken, Brought)> {
    let gone = (Taken::Gone, Brought::default());
    let Some(order) = orders::lock_free(connection, &[wanted.order_key]).await?.pop() else {
        return Ok(gone);
    };
    // Listed before the database went back in time, its key may be another's by now: the permit is for its merchant.
    if order.record.merchant != wanted.merchant {
        return Ok(gone);
    }
    let Some(due) = order.due.clone().filter(|due| due.has_come(order.now)) else { return Ok(gone) };
    let (record, lost) = as_found(&order, &due);
    keep_lost(connection, &order, &due, lost.as_ref()).await?;
    let lost = lost.map(|made| (made.kind, made.class));
    let with_lost = |brought: Brought| Brought { attempts: lost.into_iter().collect(), ..brought };
    let kind = match inner.plan.next(&record, order.now) {
        Next::Abandon => {
            let change = record.after_end_without_act(&inner.plan, order.now);
            return Ok((Taken::Concluded, with_lost(order.write(connection, &change).await?)));
        }
        // A permit for an inquiry is none for a send: it is listed as one.
        Next::Send if wanted.kind == AttemptKind::Inquiry => {
            let send = sends_end(&record).map(|end| Due::send(order.now, end));
            let change = Change { due: DueChange::Replace(send), ..Change::none(record) };
            return Ok((Taken::Gone, with_lost(order.write(connection, &change).await?)));
        }
        Next::Send => AttemptKind::Send,
        Next::Inquire => AttemptKind::Inquiry,
    };
    let brought = order.write(connection, &Change::none(record.clone())).await?;
    let claim = grant(connection, &order, &record, kind, wanted).await?;
    Ok((Taken::Attempt(Box::new(claim)), with_lost(brought)))
}

/// The right to inquire about an order now; see `OperatorStore`.
pub(super) async fn inquire_now(
    inner: &Arc<Inner>,
    merchant: &MerchantName,
    invoice_number: &InvoiceNumber,
    lease: Duration,
) -> Result<Option<Claim>, StoreError> {
    let (merchant, invoice_number) = (merchant.clone(), invoice_number.clone());
    let asked_at = Instant::now();
    let judge = Arc::clone(inner);
    let (claim, brought) = inner
        .transaction(move |c| {
            Box::pin(async move {
                let Some(order) = orders::lock_invoice(c, &merchant, &invoice_number).await? else {
                    return Ok((None, Brought::default()));
                };
                let kind = AttemptKind::Inquiry;
                let wanted = Wanted { order_key: order.order_key, merchant, kind, lease, asked_at };
                let (claim, brought) = ask(c, &judge, &order, &wanted).await?;
                Ok((Some(claim), brought))
            })
        })
        .await?;
    inner.committed(&brought);
    Ok(claim)
}

/// Asked before its time, a question must not move the schedule: an operator who asks often would push
/// the next inquiry, or a resend that DOKU wants later, to another time.
async fn ask(
    connection: &mut PgConnection,
    inner: &Inner,
    order: &LockedOrder,
    wanted: &Wanted,
) -> Done<(Claim, Brought)> {
    if let Some(due) = order.due.as_ref().filter(|due| due.has_come(order.now)) {
        let (record, lost) = as_found(order, due);
        if inner.plan.next(&record, order.now) == Next::Inquire {
            keep_lost(connection, order, due, lost.as_ref()).await?;
            let brought = order.write(connection, &Change::none(record.clone())).await?;
            let claim = grant(connection, order, &record, AttemptKind::Inquiry, wanted).await?;
            let attempts = lost.into_iter().map(|made| (made.kind, made.class)).collect();
            return Ok((claim, Brought { attempts, ..brought }));
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
    Ok((claim, Brought::default()))
}

/// The order as whoever takes it on finds it: with a token, the lease of its last attempt ran out without
/// a record.
fn as_found(order: &LockedOrder, due: &DueRow) -> (OrderRecord, Option<AttemptMade>) {
    let record = order.record.clone();
    match due.token {
        Some(_) => {
            let (record, made) = record.after_lost(due.kind, due.at);
            (record, Some(made))
        }
        None => (record, None),
    }
}

async fn keep_lost(
    connection: &mut PgConnection,
    order: &LockedOrder,
    due: &DueRow,
    lost: Option<&AttemptMade>,
) -> Done<()> {
    let Some(made) = lost else { return Ok(()) };
    let started_at = due.claimed_at.unwrap_or(due.at);
    let command_key = order.command_to_ask_about();
    let lost = NewAttempt { command_key, made, started_at, finished_at: due.at, token: None };
    Writes { attempts: vec![lost], ..Writes::default() }.write(connection).await
}

async fn grant(
    connection: &mut PgConnection,
    order: &LockedOrder,
    record: &OrderRecord,
    kind: AttemptKind,
    wanted: &Wanted,
) -> Done<Claim> {
    let command_key = order.command_to_ask_about();
    let (token, now) = (Uuid::new_v4(), order.now);
    let sends_end = sends_end(record);
    let lease_end = now + wanted.lease;
    let due = match kind {
        AttemptKind::Send => Due { kind, at: lease_end, sends_end_at: sends_end },
        AttemptKind::Inquiry => Due::inquiry(lease_end),
    };
    let claim = Some((token, now));
    let new = NewDue { order_key: order.order_key, merchant: &record.merchant, due: &due, claim };
    Writes { due: vec![new], ..Writes::default() }.write(connection).await?;
    let (request, birth) = requests::read(connection, command_key, record.amount).await?;
    Ok(Claim {
        order_key: order.order_key,
        command_key,
        kind,
        token,
        birth,
        request: Arc::new(request),
        lease_ends: instant(wanted.asked_at, lease_end - now),
        sends_end: instant(wanted.asked_at, sends_end.map_or(chrono::TimeDelta::zero(), |end| end - now)),
        traceparent: order.traceparent_of(command_key),
        fresh: None,
    })
}

fn sends_end(record: &OrderRecord) -> Option<crate::domain::Time> {
    record.open_command().map(|command| command.sends_end_at)
}

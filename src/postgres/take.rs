//! Taking on a due order: whatever died with its last attempt is made up for first, then what to do is
//! judged anew, since an order may be picked up long after its time.

use super::{
    Inner, attempts, due,
    error::Done,
    orders::{self, Brought, LockedOrder},
    requests::{self, instant},
    rows::DueRow,
};
use crate::{
    domain::{
        learned::{AttemptClass, AttemptKind},
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
    kind: AttemptKind,
    lease: Duration,
    asked_at: Instant,
}

/// Takes on what a due order needs, unless another did.
pub(super) async fn take(inner: &Arc<Inner>, due: &DueOrder, lease: Duration) -> Result<Taken, StoreError> {
    let wanted = Wanted { order_key: due.order_key, kind: due.kind, lease, asked_at: Instant::now() };
    let judge = Arc::clone(inner);
    let (taken, brought) =
        inner.transaction(move |c| Box::pin(async move { take_one(c, &judge, &wanted).await })).await?;
    inner.committed(&brought);
    Ok(taken)
}

async fn take_one(connection: &mut PgConnection, inner: &Inner, wanted: &Wanted) -> Done<(Taken, Brought)> {
    let gone = (Taken::Gone, Brought::default());
    let Some(order) = orders::lock_if_free(connection, wanted.order_key).await? else { return Ok(gone) };
    let Some(due) = order.due.clone().filter(|due| due.at <= order.now) else { return Ok(gone) };
    let (record, lost) = match due.token {
        Some(_) => lost(connection, &order, &due).await?,
        None => (order.record.clone(), None),
    };
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

/// The lease of the last attempt ran out without a record.
async fn lost(
    connection: &mut PgConnection,
    order: &LockedOrder,
    due: &DueRow,
) -> Done<(OrderRecord, Option<(AttemptKind, AttemptClass)>)> {
    let (record, made) = order.record.clone().after_lost(due.kind, due.at);
    let started_at = due.claimed_at.unwrap_or(due.at);
    attempts::insert(connection, order.command_to_ask_about(), &made, started_at, due.at, None).await?;
    Ok((record, Some((made.kind, made.class))))
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
    due::put(connection, order.order_key, &record.merchant, &due, Some((token, now))).await?;
    Ok(Claim {
        order_key: order.order_key,
        command_key,
        kind,
        token,
        request: requests::read(connection, command_key, record.amount).await?,
        lease_ends: instant(wanted.asked_at, lease_end - now),
        sends_end: instant(wanted.asked_at, sends_end.map_or(chrono::TimeDelta::zero(), |end| end - now)),
    })
}

fn sends_end(record: &OrderRecord) -> Option<crate::domain::Time> {
    record.open_command().map(|command| command.sends_end_at)
}

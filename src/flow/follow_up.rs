//! Everything that has a due time: resends, inquiries, and attempts that were lost. No task sleeps while it holds a
//! delivery; what waits, waits in a row, and this role picks it up: each merchant's sends and inquiries by
//! themselves.

mod in_flight;

use super::{
    attempt::Attempts,
    gate::{Gate, NoPermit, Permit},
    ports::{DueClaim, DueFilter, DueNeed, DueOf, DueOrder, DueWhat, Gateway, Store, StoreError},
};
use crate::{
    domain::{finding::AttemptKind, ids::MerchantName, schedule::SendRank, turns::Turns},
    failpoint::{Failpoint, failpoint},
    metric::PanicIn,
    panics::caught,
    telemetry::span::Span,
};
use in_flight::{IN_FLIGHT_MAX, InFlight};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

/// The longest sleep: other processes make orders due without waking this one.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How often parked notifications are joined with orders that have appeared.
const PARKED_EVERY: Duration = Duration::from_secs(60);
/// How long a due order waits for its permit before others have their turn.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(1);
/// Between two looks: as long as DOKU is asked, and while nothing goes. A wake-up comes with every command that is
/// claimed, also while its send is stopped, and must not make a look each.
const LOOK_EVERY: Duration = Duration::from_millis(25);
const IDLE_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Follows up what is due, until the stop.
pub struct FollowUp<S, G> {
    pub attempts: Arc<Attempts<S, G>>,
    pub gate: Arc<Gate>,
    /// Woken when something in this process became due.
    pub due_changed: Arc<Notify>,
}

/// What follow-up remembers from one look to the next.
#[derive(Default)]
struct Picking {
    in_flight: Arc<InFlight>,
    turns: HashMap<MerchantName, Turns>,
    /// DOKU was asked since the last look.
    asked: Arc<AtomicBool>,
}

/// What became of a due order that was picked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Followed {
    /// An attempt was made, or what a lost one left was written down.
    Done,
    /// It is stopped, or not ours to do now.
    Left,
    /// No permit became free in time: it still waits.
    Waits,
}

impl<S: Store, G: Gateway> FollowUp<S, G> {
    /// Runs until the stop, then until what is in flight is recorded.
    pub async fn run(self) {
        let tracker = TaskTracker::new();
        let mut picking = Picking::default();
        while !self.attempts.stop.is_cancelled() {
            let looked_at = Instant::now();
            picking.asked.store(false, Ordering::Relaxed);
            // Nothing is in flight before it is spawned: a stop need not wait for a database that is away.
            let picking_up = self.pick_up(&tracker, &mut picking);
            let sleep = match self.attempts.stop.run_until_cancelled(picking_up).await {
                None => break,
                Some(Ok(sleep)) => sleep,
                Some(Err(error)) => {
                    tracing::debug!(%error, "follow-up waits for the database");
                    SLEEP_MAX
                }
            };
            let waiting = self.until_next_look(looked_at, sleep, &picking.asked);
            self.attempts.stop.run_until_cancelled(waiting).await;
        }
        tracker.close();
        tracker.wait().await;
    }

    /// Waits until something is due or changed, and at least for the time between two looks.
    async fn until_next_look(&self, looked_at: Instant, sleep: Duration, asked: &AtomicBool) {
        let _ = timeout(sleep, self.due_changed.notified()).await;
        let every = if asked.load(Ordering::Relaxed) { LOOK_EVERY } else { IDLE_LOOK_EVERY };
        sleep_until(looked_at + every).await;
    }

    /// Starts what is due and has room; says how long there is nothing to do.
    async fn pick_up(&self, tracker: &TaskTracker, picking: &mut Picking) -> Result<Duration, StoreError> {
        let filter = self.filter(&picking.in_flight);
        let due = self.attempts.store.due(&filter).await?;
        for order in self.in_turn(due, &filter, picking) {
            let Some(guard) = picking.in_flight.take(&order) else { continue };
            let (attempts, gate) = (Arc::clone(&self.attempts), Arc::clone(&self.gate));
            let (changed, asked) = (Arc::clone(&self.due_changed), Arc::clone(&picking.asked));
            tracker.spawn(async move {
                // Its claim, if there is one, ends with its lease.
                let followed = caught(PanicIn::Order, Box::pin(follow_one(&attempts, &gate, &order))).await;
                let followed = followed.unwrap_or_else(|| {
                    let (merchant, order) = (&order.merchant, order.order_key);
                    tracing::error!(%merchant, order, "the task of a due order panicked; the order stays due");
                    Followed::Left
                });
                asked.fetch_or(followed == Followed::Done, Ordering::Relaxed);
                // It still waits, and only the next look finds it.
                if guard.leaves_room_for_more() || followed == Followed::Waits {
                    changed.notify_one();
                }
            });
        }
        Ok(self.attempts.store.next_due_in(&filter).await?.unwrap_or(SLEEP_MAX).min(SLEEP_MAX))
    }

    /// What there is room for.
    fn filter(&self, in_flight: &InFlight) -> DueFilter {
        let of = |account: super::ports::Account| {
            let wanted = |kind| {
                let (wanted, held) =
                    (self.gate.wanted(&account.merchant, kind), in_flight.held(&account.merchant, kind));
                // Those in hand that wait for their permit are found again: else a look would find hardly any other. Those
                // that DOKU keeps waiting take nothing of what may go meanwhile.
                let most = wanted.saturating_add(held).min(wanted.max(2 * held)).min(IN_FLIGHT_MAX);
                if held < most { most } else { 0 }
            };
            let (sends, inquiries) = (wanted(AttemptKind::Send), wanted(AttemptKind::Inquiry));
            DueOf { account, sends, inquiries }
        };
        let merchants = self.attempts.gateway.accounts().into_iter().map(of).collect();
        DueFilter { merchants, lost: IN_FLIGHT_MAX }
    }

    /// What is picked up of what was found, in the order in which it goes.
    fn in_turn(&self, due: Vec<DueOrder>, filter: &DueFilter, picking: &mut Picking) -> Vec<DueOrder> {
        let (lost, due): (Vec<_>, Vec<_>) = due.into_iter().partition(|order| order.what == DueWhat::Lost);
        let mut by_merchant: HashMap<MerchantName, Vec<DueOrder>> = HashMap::new();
        for order in due {
            by_merchant.entry(order.merchant.clone()).or_default().push(order);
        }
        let mut picked = lost;
        for of in &filter.merchants {
            let merchant = &of.account.merchant;
            let due = by_merchant.remove(merchant).unwrap_or_default();
            let (sends, inquiries): (Vec<_>, Vec<_>) = due.into_iter().partition(is_send);
            self.gate.set_inquiries_due(merchant, !inquiries.is_empty());
            let (sends, sends_max) = picking.in_flight.others(merchant, AttemptKind::Send, sends, of.sends);
            let (inquiries, inquiries_max) =
                picking.in_flight.others(merchant, AttemptKind::Inquiry, inquiries, of.inquiries);
            let turns = picking.turns.entry(merchant.clone()).or_default();
            let sends = match self.gate.probes_without(merchant) {
                None => sends_in_turn(sends, turns, sends_max),
                // One at a time tries, best one that nothing refused before.
                Some(was_refused) => {
                    let mut sends = sends_in_turn(sends, turns, usize::MAX);
                    sends.sort_by_key(|order| was_refused(order.order_key));
                    sends.truncate(1);
                    sends
                }
            };
            picked.extend(sends);
            picked.extend(by_rank(inquiries).into_iter().take(inquiries_max));
        }
        picked
    }
}

fn is_send(order: &DueOrder) -> bool {
    match order.what {
        DueWhat::Send { .. } => true,
        DueWhat::Inquiry(_) | DueWhat::Lost => false,
    }
}

fn sends_in_turn(sends: Vec<DueOrder>, turns: &mut Turns, limit: usize) -> Vec<DueOrder> {
    let mut lists = SendRank::ALL.map(|_| Vec::new());
    for order in sends {
        if let DueWhat::Send { rank, .. } = order.what {
            let list = match rank {
                SendRank::First => &mut lists[0],
                SendRank::Again => &mut lists[1],
                SendRank::Refund => &mut lists[2],
            };
            list.push(order);
        }
    }
    let [first, again, refunds] = lists;
    turns.next(first, again, refunds, limit)
}

/// Those of one rank stay in their order.
fn by_rank(mut inquiries: Vec<DueOrder>) -> Vec<DueOrder> {
    inquiries.sort_by_key(|order| match order.what {
        DueWhat::Inquiry(rank) => Some(rank),
        DueWhat::Send { .. } | DueWhat::Lost => None,
    });
    inquiries
}

/// Joins parked notifications with orders that have appeared: a net under those who look when it happens.
/// Runs for ever.
pub async fn sweep_parked<S: Store>(store: Arc<S>) {
    loop {
        if let Err(error) = store.sweep_parked().await {
            tracing::warn!(%error, "parked notifications wait for the next look");
        }
        failpoint(Failpoint::AfterTending).await;
        sleep(PARKED_EVERY).await;
    }
}

async fn follow_one<S: Store, G: Gateway>(
    attempts: &Attempts<S, G>,
    gate: &Arc<Gate>,
    due: &DueOrder,
) -> Followed {
    let without = |refused| match refused {
        NoPermit::Busy => Followed::Waits,
        NoPermit::Stopped => Followed::Left,
    };
    let permit = async |kind| gate.permit(&due.merchant, kind, PERMIT_WAIT_MAX).await;
    // 1 Permit first, as for every attempt; a lost attempt needs none, since DOKU is not asked.
    let (permit, what) = match due.what {
        DueWhat::Lost => (None, DueNeed::Lost),
        DueWhat::Inquiry(_) => match permit(AttemptKind::Inquiry).await {
            Ok(permit) => (Some(permit), DueNeed::Inquiry),
            Err(refused) => return without(refused),
        },
        DueWhat::Send { asks_first, .. } => {
            let inquiry = if asks_first { permit(AttemptKind::Inquiry).await.ok() } else { None };
            match inquiry {
                Some(permit) => (Some(permit), DueNeed::Inquiry),
                // Held back, the inquiry must not block the send: the replay of its answer is the quickest proof.
                None => match permit(AttemptKind::Send).await {
                    Ok(permit) => (Some(permit), DueNeed::Send { inquiry_held_back: asks_first }),
                    Err(refused) => return without(refused),
                },
            }
        }
    };
    take(attempts, due, what, permit).await
}

async fn take<S: Store, G: Gateway>(
    attempts: &Attempts<S, G>,
    due: &DueOrder,
    what: DueNeed,
    permit: Option<Permit>,
) -> Followed {
    failpoint(Failpoint::BeforeTake).await;
    // 2 Claim, unless another process was faster.
    let taken = attempts.store.claim_due(due, what, attempts.lease()).await;
    failpoint(Failpoint::AfterTake).await;
    match (taken, permit) {
        // 3 Ask and record.
        (Ok(DueClaim::Attempt(claim)), Some(permit)) => {
            let span = Span::follow_up(claim.kind.name(), claim.traceparent.as_deref());
            // There is no delivery to give back: what the store has forgotten stands in the log.
            let _ = span.around(attempts.make(*claim, permit)).await;
            Followed::Done
        }
        (Ok(DueClaim::Attempt(claim)), None) => {
            let _ = attempts.release_claim(&claim).await;
            Followed::Left
        }
        (Ok(DueClaim::Gone), _) if what == DueNeed::Lost => Followed::Done,
        (Ok(DueClaim::Gone), _) => Followed::Left,
        (Err(error), _) => {
            tracing::warn!(%error, order = due.order_key, "a due order could not be claimed; it stays due");
            Followed::Left
        }
    }
}

#[cfg(test)]
mod tests;

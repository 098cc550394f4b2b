//! Everything that has a due time: resends, inquiries, and the end of a command's sends. Nobody sleeps
//! while holding a delivery; what waits, waits in a row, and this role picks it up.

use super::{
    attempt::Attempts,
    gate::{Gate, NoPermit},
    ports::{DueFilter, DueOrder, Gateway, Store, StoreError, Taken},
};
use crate::{
    crash::{self, Point},
    domain::learned::AttemptKind,
    telemetry::span::Span,
};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

/// The longest sleep: other processes make orders due without waking this one.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// So many due orders are in hand at most; more wait in the table.
const IN_HAND_MAX: u32 = 256;
/// How often parked notifications are joined with orders that have appeared: a net under those who look
/// when it happens.
const PARKED_EVERY: Duration = Duration::from_secs(60);
/// So long a due order waits for its permit before others have their turn.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(1);

/// Follows up what is due, until it is told to stop.
pub struct FollowUp<S, G> {
    pub attempts: Arc<Attempts<S, G>>,
    pub gate: Arc<Gate>,
    /// Woken when something in this process became due.
    pub due_changed: Arc<Notify>,
}

impl<S: Store, G: Gateway> FollowUp<S, G> {
    /// Runs until the stop, then until what is in hand is recorded.
    pub async fn run(self) {
        let tracker = TaskTracker::new();
        let hand = Arc::new(Hand::new());
        let mut parked_at: Option<Instant> = None;
        while !self.attempts.stop.is_cancelled() {
            if parked_at.is_none_or(|at| at.elapsed() >= PARKED_EVERY) {
                parked_at = Some(Instant::now());
                let store = Arc::clone(&self.attempts.store);
                tracker.spawn(async move { tend_parked(&*store).await });
            }
            // Nothing is in hand before it is spawned: a stop need not wait for a database that is away.
            let picking_up = self.pick_up(&tracker, &hand);
            let sleep = match self.attempts.stop.run_until_cancelled(picking_up).await {
                None => break,
                Some(Ok(sleep)) => sleep,
                Some(Err(error)) => {
                    tracing::debug!(%error, "follow-up waits for the database");
                    SLEEP_MAX
                }
            };
            tokio::select! {
                () = self.attempts.stop.cancelled() => {}
                _ = timeout(sleep, self.due_changed.notified()) => {}
            }
        }
        tracker.close();
        tracker.wait().await;
    }

    /// Starts what is due and has room; says how long there is nothing to do.
    async fn pick_up(&self, tracker: &TaskTracker, hand: &Arc<Hand>) -> Result<Duration, StoreError> {
        let stopped = self.gate.sends_stopped();
        let filter = DueFilter {
            no_sends_for: stopped.merchants,
            no_sends: stopped.all,
            accounts: self.attempts.gateway.accounts(),
            limit: IN_HAND_MAX,
        };
        let due = self.attempts.store.due(&filter).await?;
        self.gate.set_inquiries_due(due.iter().any(|d| d.kind == AttemptKind::Inquiry));
        hand.more_waits.store(due.len() >= IN_HAND_MAX as usize, Ordering::Relaxed);
        for order in due {
            let Some(held) = hand.take(order.order_key).await else { continue };
            let (attempts, gate) = (Arc::clone(&self.attempts), Arc::clone(&self.gate));
            let changed = Arc::clone(&self.due_changed);
            tracker.spawn(async move {
                let had_its_turn = follow_one(&attempts, &gate, &order).await;
                // It still waits, and nobody for it until the next look.
                if held.leaves_room_for_more() || !had_its_turn {
                    changed.notify_one();
                }
            });
        }
        if hand.is_full() {
            return Ok(SLEEP_MAX);
        }
        Ok(self.attempts.store.next_due_in().await?.unwrap_or(SLEEP_MAX).min(SLEEP_MAX))
    }
}

async fn tend_parked<S: Store>(store: &S) {
    if let Err(error) = store.tend_parked().await {
        tracing::warn!(%error, "parked notifications wait for the next look");
    }
    crash::point(Point::AfterTending).await;
}

/// False where no permit became free for it in time.
async fn follow_one<S: Store, G: Gateway>(
    attempts: &Attempts<S, G>,
    gate: &Arc<Gate>,
    due: &DueOrder,
) -> bool {
    // 1 Permit first, as for every attempt.
    let permit = match gate.permit(&due.merchant, due.kind, PERMIT_WAIT_MAX).await {
        Ok(permit) => permit,
        Err(NoPermit::Busy) => return false,
        Err(NoPermit::Stopped) => return true,
    };
    crash::point(Point::BeforeTake).await;
    // 2 Claim, unless another process was faster.
    let taken = attempts.store.take(due, attempts.lease()).await;
    crash::point(Point::AfterTake).await;
    match taken {
        // 3 Ask and record.
        Ok(Taken::Attempt(claim)) => {
            let span = Span::follow_up(claim.kind.name(), claim.traceparent.as_deref());
            // There is no delivery to give back: what the store has forgotten stands in the log.
            let _ = span.around(attempts.make(*claim, permit)).await;
        }
        Ok(Taken::Concluded | Taken::Gone) => {}
        Err(error) => tracing::warn!(%error, order = due.order_key, "a due order could not be taken"),
    }
    true
}

/// The orders this process has in hand: none of them is picked up twice, and there are not too many.
struct Hand {
    room: Arc<Semaphore>,
    orders: Mutex<HashSet<i64>>,
    /// The table had more than could be picked up.
    more_waits: AtomicBool,
}

impl Hand {
    fn new() -> Self {
        Self {
            room: Arc::new(Semaphore::new(IN_HAND_MAX as usize)),
            orders: Mutex::default(),
            more_waits: AtomicBool::new(false),
        }
    }

    fn is_full(&self) -> bool {
        self.room.available_permits() == 0
    }

    /// `None` where the order is in hand already.
    async fn take(self: &Arc<Self>, order_key: i64) -> Option<Held> {
        let new = self.orders.lock().unwrap_or_else(PoisonError::into_inner).insert(order_key);
        if !new {
            return None;
        }
        let mut held = Held { hand: Arc::clone(self), order_key, room: None };
        held.room = Some(Arc::clone(&self.room).acquire_owned().await.ok()?);
        Some(held)
    }
}

struct Held {
    hand: Arc<Hand>,
    order_key: i64,
    room: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Held {
    /// Puts the order down. True where it is worth to look for more: half of the hand is free, and what
    /// was not picked up would otherwise wait for the next look.
    fn leaves_room_for_more(self) -> bool {
        let hand = Arc::clone(&self.hand);
        drop(self);
        hand.more_waits.load(Ordering::Relaxed) && hand.room.available_permits() >= IN_HAND_MAX as usize / 2
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hand.orders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.order_key);
    }
}

#[cfg(test)]
mod tests;

//! The store is away, or takes no change: how long work is held and tried again, what the process knows of the
//! store meanwhile, and which deliveries stall. All handlers of deliveries share it.

use super::{disposition::Disposition, ports::StoreError};
use crate::{chance, domain::retry::RetryPolicy};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// How long a delivery without a claim is held before it goes back to the broker, by how often it went back.
const GIVE_BACK: RetryPolicy = RetryPolicy {
    initial: Duration::from_secs(1),
    multiplier: 2.0,
    jitter: 0.0,
    max_interval: Duration::from_secs(60),
};
/// If deliveries are held and no change was committed for this long, this process is not ready.
const NOTHING_COMMITTED_MAX: Duration = Duration::from_secs(15);

/// How long work is held; after that the broker, or the lease, takes it over. Under the broker's default ack
/// timeout of 30 minutes.
const HOLD_MAX: Duration = Duration::from_secs(1500);
/// Between two tries of a change that the store did not take.
const TRY_AGAIN: RetryPolicy = RetryPolicy {
    initial: Duration::from_millis(200),
    multiplier: 2.0,
    jitter: 0.5,
    max_interval: Duration::from_secs(5),
};

/// Whether the store can be worked with. From `Away` it comes back by way of `Recovering`: one delivery at a time,
/// until a claim has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// It cannot be reached, or is not migrated: nothing is taken from the broker. What is in hand waits.
    Away,
    Recovering,
    Up,
}

/// The availability of the store, shared by all handlers of deliveries.
#[derive(Debug, Clone)]
pub struct StoreOutage {
    /// While the store is `Away`, the consumers take nothing from the broker.
    pub store_state: watch::Sender<StoreState>,
    pub stalled: Arc<StalledDeliveries>,
    /// Ends every wait.
    pub stop: CancellationToken,
}

impl StoreOutage {
    /// Waits before the store is asked again; after too long the broker keeps the delivery instead. What the store
    /// refuses for good (a missing right, a text that it cannot hold) waits too: a person mends it, and the broker's
    /// delivery limit leaves more than four hours for that. Held for longer at a time, it would outlast the ack timeout,
    /// which gives back all deliveries of the channel. Only a store that is away keeps others from being taken: an order that another
    /// transaction holds is waited for by its own delivery alone.
    pub async fn on(&self, retry: &mut StoreRetry, error: &StoreError) -> Option<Disposition> {
        let (StoreError::Away(detail) | StoreError::Contended(detail) | StoreError::Refused(detail)) = error;
        let is_away = matches!(error, StoreError::Away(_));
        if is_away {
            self.store_state.send_replace(StoreState::Away);
        }
        let is_news = retry.stall(&self.stalled, detail, is_away);
        if is_news && matches!(error, StoreError::Refused(_)) {
            tracing::error!(
                detail,
                "the database refused the change of a delivery; the delivery is held and the change is tried again"
            );
        }
        if retry.wait(&self.stop).await {
            return None;
        }
        tracing::warn!(
            detail,
            "the database took no change for too long; the delivery goes back to the broker"
        );
        Some(Disposition::Requeue)
    }

    /// A claim is asked for, until the guard is dropped: `/readyz` asks by the path of the work.
    pub fn claiming(&self) -> Claiming {
        let mut state = self.stalled.0.lock();
        if state.claiming == 0 {
            state.claiming_since = Some(Instant::now());
        }
        state.claiming += 1;
        Claiming(Arc::clone(&self.stalled))
    }

    /// Requeues a delivery that has lost its claim. The broker counts how often that happens, and gives up after a
    /// few times: so the wait before it grows.
    pub async fn requeue(&self, came_before: u64) -> Disposition {
        self.stop.run_until_cancelled(sleep(wait_before_giving_back(came_before))).await;
        Disposition::Requeue
    }

    /// A change has committed: deliveries may come as fast as configured again.
    pub fn store_is_back(&self) {
        let now = Instant::now();
        let mut state = self.stalled.0.lock();
        state.committed_at = Some(now);
        if state.claiming > 0 {
            state.claiming_since = Some(now);
        }
        drop(state);
        self.store_state.send_if_modified(|state| std::mem::replace(state, StoreState::Up) != StoreState::Up);
    }
}

/// The retries of one change that the store did not take.
pub struct StoreRetry {
    since: Instant,
    tries: u32,
    stalled: Option<StalledDelivery>,
}

impl StoreRetry {
    pub fn start() -> Self {
        Self { since: Instant::now(), tries: 0, stalled: None }
    }

    /// It is a delivery's, which is held from now to its end.
    /// True if why is news.
    fn stall(&mut self, stalled: &Arc<StalledDeliveries>, why: &str, away: bool) -> bool {
        self.stalled.get_or_insert_with(|| StalledDelivery::new(stalled)).set_reason(why, away)
    }

    /// Waits before the next try; false when it has lasted long enough, or the process stops.
    pub async fn wait(&mut self, stopping: &CancellationToken) -> bool {
        if self.since.elapsed() >= HOLD_MAX {
            return false;
        }
        self.tries += 1;
        let wait = TRY_AGAIN.wait(self.tries, chance::draw(), None);
        stopping.run_until_cancelled(sleep(wait)).await.is_some()
    }
}

fn wait_before_giving_back(came_before: u64) -> Duration {
    let times = u32::try_from(came_before).unwrap_or(u32::MAX).saturating_add(1);
    GIVE_BACK.wait(times, 0.0, None)
}

/// The deliveries that are held now. A database may answer every look and still take no change: a
/// table is locked, a disk is full. Then these deliveries show it.
#[derive(Debug, Default)]
pub struct StalledDeliveries(Mutex<Stalled>);

#[derive(Debug, Default)]
struct Stalled {
    deliveries: usize,
    why: String,
    /// The reason was that the store is away, not that it refused.
    away: bool,
    held_since: Option<Instant>,
    /// Claims that are asked for now, and since when none was answered.
    claiming: usize,
    claiming_since: Option<Instant>,
    committed_at: Option<Instant>,
}

/// One claim that is asked for.
#[derive(Debug)]
pub struct Claiming(Arc<StalledDeliveries>);

impl Drop for Claiming {
    fn drop(&mut self) {
        self.0.0.lock().claiming -= 1;
    }
}

impl StalledDeliveries {
    /// For a person; `None` if nothing is held.
    pub fn fault(&self) -> Option<String> {
        self.fault_at(Instant::now())
    }

    fn fault_at(&self, now: Instant) -> Option<String> {
        let state = self.0.lock();
        let Stalled { deliveries, why, away, .. } = &*state;
        let is_long = |since: Option<Instant>| since.is_some_and(|at| now - at > NOTHING_COMMITTED_MAX);
        let is_silent = state.committed_at.is_none_or(|at| now - at > NOTHING_COMMITTED_MAX);
        if *deliveries > 0 && (*away || is_silent && is_long(state.held_since)) {
            return Some(format!("deliveries held, their changes not taken: {deliveries}; {why}"));
        }
        if state.claiming > 0 && is_silent && is_long(state.claiming_since) {
            let (claims, seconds) = (state.claiming, NOTHING_COMMITTED_MAX.as_secs());
            return Some(format!(
                "deliveries held: {claims} claims wait, and none was committed for {seconds} s"
            ));
        }
        None
    }

    /// What is held although others are taken, for a person.
    pub fn note(&self) -> Option<String> {
        let state = self.0.lock();
        let Stalled { deliveries, why, .. } = &*state;
        (*deliveries > 0).then(|| format!("deliveries held: {deliveries}; {why}"))
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
struct StalledDelivery(Arc<StalledDeliveries>);

impl StalledDelivery {
    pub fn new(stalled: &Arc<StalledDeliveries>) -> Self {
        let mut state = stalled.0.lock();
        if state.deliveries == 0 {
            state.held_since = Some(Instant::now());
            state.why.clear();
        }
        state.deliveries += 1;
        drop(state);
        Self(Arc::clone(stalled))
    }

    /// True if it was not known.
    pub fn set_reason(&self, why: &str, away: bool) -> bool {
        let mut state = self.0.0.lock();
        state.away = away;
        let is_news = state.why != why;
        why.clone_into(&mut state.why);
        is_news
    }
}

impl Drop for StalledDelivery {
    fn drop(&mut self) {
        self.0.0.lock().deliveries -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The broker counts: ten times in a row must not be over in a moment.
    #[test]
    fn the_wait_before_a_delivery_is_given_back_grows_from_a_second_to_a_minute() {
        let waits = [0, 1, 2, 5, 6, 10, u64::MAX].map(|before| wait_before_giving_back(before).as_secs());
        assert_eq!(waits, [1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn what_is_held_is_told_until_its_end() {
        let stalled = Arc::new(StalledDeliveries::default());
        assert_eq!(stalled.fault(), None);
        let (one, other) = (StalledDelivery::new(&stalled), StalledDelivery::new(&stalled));
        assert!(one.set_reason("locked", true) && !one.set_reason("locked", true));
        assert!(stalled.fault().unwrap().contains("not taken: 2"));
        drop(other);
        assert!(stalled.fault().unwrap().ends_with("locked"));
        drop(one);
        assert_eq!(stalled.fault(), None);
    }
    #[test]
    fn one_that_is_refused_is_told_as_a_fault_only_where_nothing_else_is_committed() {
        let outage = outage();
        let one = StalledDelivery::new(&outage.stalled);
        one.set_reason("42501", false);
        outage.store_is_back();
        assert_eq!((outage.stalled.fault(), outage.stalled.note().is_some()), (None, true));
        let later = Instant::now() + NOTHING_COMMITTED_MAX * 2;
        assert!(outage.stalled.fault_at(later).unwrap().contains("42501"));
    }

    #[test]
    fn claims_that_wait_for_long_are_a_fault_until_one_is_committed() {
        let outage = outage();
        let waits = [outage.claiming(), outage.claiming()];
        assert_eq!(outage.stalled.fault(), None);
        let later = Instant::now() + NOTHING_COMMITTED_MAX * 2;
        assert!(outage.stalled.fault_at(later).unwrap().contains("2 claims wait"));
        outage.store_is_back();
        assert_eq!(outage.stalled.fault(), None);
        drop(waits);
        assert_eq!(outage.stalled.fault_at(later), None);
    }

    fn outage() -> StoreOutage {
        StoreOutage {
            store_state: watch::Sender::new(StoreState::Up),
            stalled: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn waits_grow_up_to_the_longest() {
        let stopping = CancellationToken::new();
        stopping.cancel();
        let mut retry = StoreRetry::start();
        let mut waits = Vec::new();
        for _ in 0..6 {
            assert!(!retry.wait(&stopping).await, "nobody waits after the stop");
            waits.push(TRY_AGAIN.wait(retry.tries, 0.5, None).as_millis());
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000]);
    }
}

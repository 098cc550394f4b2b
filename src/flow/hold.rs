//! Holding a delivery while the store is away: the same for everybody who works on deliveries.

use super::{disposition::Disposition, patience::Patience, ports::StoreError, store_state::StoreState};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

/// So long a delivery is held before it is given back whose claim is gone: the first time, and at most.
const GIVE_BACK_FIRST: Duration = Duration::from_secs(1);
const GIVE_BACK_MAX: Duration = Duration::from_secs(60);
const GIVE_BACK_DOUBLINGS_MAX: u32 = 6;

/// What those who work on deliveries see of the store, and tell each other about it.
#[derive(Debug, Clone)]
pub struct Hold {
    /// While it says that the store is away, nothing is taken from the broker.
    pub store_state: watch::Sender<StoreState>,
    pub held: Arc<Held>,
    /// Nobody waits any more after it.
    pub stop: CancellationToken,
}

impl Hold {
    /// Waits before the store is asked again; after too long the broker keeps the delivery instead.
    pub async fn on(&self, patience: &mut Patience, error: &StoreError) -> Option<Disposition> {
        if let StoreError::Away(detail) = error {
            self.store_state.send_replace(StoreState::Away);
            patience.holds(&self.held, detail);
        }
        match error {
            StoreError::Away(_) if patience.wait(&self.stop).await => None,
            StoreError::Away(detail) => {
                tracing::warn!(detail, "the database is away: a delivery goes back to the broker");
                Some(Disposition::Requeue)
            }
            StoreError::Refused(detail) => {
                tracing::error!(detail, "the database refused a delivery's change: a fault of this program");
                Some(Disposition::Requeue)
            }
        }
    }

    /// Gives a delivery back whose claim is gone. The broker counts how often that happens, and gives up after a
    /// few times: so the wait before it grows.
    pub async fn give_back(&self, came_before: u64) -> Disposition {
        self.stop.run_until_cancelled(sleep(wait_before_giving_back(came_before))).await;
        Disposition::Requeue
    }

    /// A change has committed: deliveries may come as fast as configured again.
    pub fn store_is_back(&self) {
        self.store_state.send_if_modified(|state| std::mem::replace(state, StoreState::Up) != StoreState::Up);
    }
}

fn wait_before_giving_back(came_before: u64) -> Duration {
    let doublings = u32::try_from(came_before).unwrap_or(u32::MAX).min(GIVE_BACK_DOUBLINGS_MAX);
    (GIVE_BACK_FIRST * 2_u32.pow(doublings)).min(GIVE_BACK_MAX)
}

/// The deliveries that are held now. A database may answer whoever looks at it and still take no change: a
/// table is locked, a disk is full. Then these are what says so.
#[derive(Debug, Default)]
pub struct Held(Mutex<Holding>);

#[derive(Debug, Default)]
struct Holding {
    deliveries: usize,
    why: String,
}

impl Held {
    /// For a person; `None` where nothing is held.
    pub fn fault(&self) -> Option<String> {
        let holding = self.lock();
        let Holding { deliveries, why } = &*holding;
        (*deliveries > 0).then(|| format!("deliveries held, their changes not taken: {deliveries}; {why}"))
    }

    fn lock(&self) -> MutexGuard<'_, Holding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct OneHeld(Arc<Held>);

impl OneHeld {
    pub fn new(held: &Arc<Held>) -> Self {
        held.lock().deliveries += 1;
        Self(Arc::clone(held))
    }

    pub fn because(&self, why: &str) {
        why.clone_into(&mut self.0.lock().why);
    }
}

impl Drop for OneHeld {
    fn drop(&mut self) {
        self.0.lock().deliveries -= 1;
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
        let held = Arc::new(Held::default());
        assert_eq!(held.fault(), None);
        let (one, other) = (OneHeld::new(&held), OneHeld::new(&held));
        one.because("locked");
        assert!(held.fault().unwrap().contains("not taken: 2"));
        drop(other);
        assert!(held.fault().unwrap().ends_with("locked"));
        drop(one);
        assert_eq!(held.fault(), None);
    }
}

//! How long work in hand is held while the store is away: growing waits, jittered, up to a limit.

use super::store_outage::{StalledDeliveries, StalledDelivery};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long work is held; after that the broker, or the lease, takes it over. Under the broker's default ack
/// timeout of 30 minutes.
const HOLD_MAX: Duration = Duration::from_secs(1500);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The retries of one change that the store did not take.
pub struct StoreRetry {
    since: Instant,
    wait: Duration,
    stalled: Option<StalledDelivery>,
}

impl StoreRetry {
    pub fn start() -> Self {
        Self { since: Instant::now(), wait: FIRST_WAIT, stalled: None }
    }

    /// It is a delivery's, which is held from now to its end.
    /// True where why is news.
    pub(super) fn stall(&mut self, stalled: &Arc<StalledDeliveries>, why: &str, away: bool) -> bool {
        self.stalled.get_or_insert_with(|| StalledDelivery::new(stalled)).set_reason(why, away)
    }

    /// Waits before the next try; false when it has lasted long enough, or the process stops.
    pub async fn wait(&mut self, stopping: &CancellationToken) -> bool {
        if self.since.elapsed() >= HOLD_MAX {
            return false;
        }
        let jittered = self.wait.mul_f64(0.5 + fastrand::f64());
        self.wait = (self.wait * 2).min(WAIT_MAX);
        tokio::select! {
            () = stopping.cancelled() => false,
            () = sleep(jittered) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_grow_up_to_the_longest() {
        let stopping = CancellationToken::new();
        stopping.cancel();
        let mut retry = StoreRetry::start();
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(retry.wait.as_millis());
            assert!(!retry.wait(&stopping).await, "nobody waits after the stop");
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000]);
    }
}

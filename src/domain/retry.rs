//! How long to wait before the next attempt: exponential backoff with jitter. The only place that uses
//! the `backoff` crate, and only as a schedule: nothing here sleeps or counts time.

use backoff::{ExponentialBackoff, backoff::Backoff};
use std::time::Duration;

/// The schedule of resends: `retry.initial_ms`, `retry.multiplier`, `retry.jitter`,
/// `retry.max_interval_ms`.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// The wait after the first attempt.
    pub initial: Duration,
    /// Each further wait is this many times the one before.
    pub multiplier: f64,
    /// The share of a wait that chance adds or takes: 0.5 means between half and one and a half times.
    pub jitter: f64,
    /// No wait is longer, jitter included.
    pub max_interval: Duration,
}

impl RetryPolicy {
    /// After this many attempts every schedule has reached its cap; counting further would cost for nothing.
    const STEPS_MAX: u32 = 64;

    /// The wait after `attempts` attempts (at least one), with `chance` in [0, 1) as the dice. DOKU's
    /// `Retry-After` is a lower bound, and not jittered down.
    pub fn wait(&self, attempts: u32, chance: f64, retry_after: Option<Duration>) -> Duration {
        let base = self.interval(attempts);
        let factor = 1.0 + self.jitter * (2.0 * chance - 1.0);
        base.mul_f64(factor.max(0.0)).min(self.max_interval).max(retry_after.unwrap_or_default())
    }

    fn interval(&self, attempts: u32) -> Duration {
        let mut schedule = ExponentialBackoff {
            current_interval: self.initial,
            initial_interval: self.initial,
            randomization_factor: 0.0,
            multiplier: self.multiplier,
            max_interval: self.max_interval,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let steps = attempts.clamp(1, Self::STEPS_MAX);
        (0..steps).filter_map(|_| schedule.next_backoff()).last().unwrap_or(self.max_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            initial: Duration::from_millis(500),
            multiplier: 2.0,
            jitter: 0.5,
            max_interval: Duration::from_secs(300),
        }
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let middle = |n| policy().wait(n, 0.5, None).as_millis();
        assert_eq!([1, 2, 3, 4].map(middle), [500, 1000, 2000, 4000]);
        assert_eq!(middle(11), 300_000);
        assert_eq!(middle(u32::MAX), 300_000);
    }

    #[test]
    fn jitter_spreads_a_wait_by_its_share() {
        assert_eq!(policy().wait(1, 0.0, None), Duration::from_millis(250));
        let high = policy().wait(1, 0.999_999, None);
        assert!(high > Duration::from_millis(749) && high <= Duration::from_millis(750), "{high:?}");
    }

    #[test]
    fn retry_after_is_a_lower_bound_even_beyond_the_cap() {
        let hour = Duration::from_secs(3600);
        assert_eq!(policy().wait(1, 0.0, Some(hour)), hour);
        assert_eq!(policy().wait(11, 0.5, Some(Duration::from_secs(1))), Duration::from_secs(300));
    }

    /// Longer than the schedule's own defaults: half a second at first, a quarter of an hour in all.
    #[test]
    fn long_waits_are_kept_as_they_are_configured() {
        let second = Duration::from_secs;
        let long = RetryPolicy { initial: second(1000), max_interval: second(3000), ..policy() };
        assert_eq!([1, 2, 3].map(|n| long.wait(n, 0.5, None)), [1000, 2000, 3000].map(second));
    }
}

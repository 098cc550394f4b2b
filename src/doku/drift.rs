//! How far DOKU's clock is from ours: it refuses requests that are an hour off, and says its own time in
//! every answer.

use crate::{domain::Time, metric};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Beyond this a person should set a clock; DOKU tolerates sixty times as much.
const WARN_ABOVE: Duration = Duration::from_secs(60);

/// A warning for every answer would bury everything else.
const WARN_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Drift {
    warned_at: Mutex<Option<Instant>>,
}

impl Drift {
    /// `theirs`: DOKU's time in an answer that arrived at `ours`.
    pub fn note(&self, theirs: Time, ours: Time) {
        let drift = theirs - ours;
        let millis = i32::try_from(drift.num_milliseconds())
            .unwrap_or(if drift > chrono::TimeDelta::zero() { i32::MAX } else { i32::MIN });
        metric::clock_drift(f64::from(millis) / 1000.0);
        if drift.abs().to_std().is_ok_and(|drift| drift > WARN_ABOVE) && self.may_warn(Instant::now()) {
            let drift_seconds = drift.num_seconds();
            tracing::warn!(drift_seconds, "DOKU's clock and this machine's differ; DOKU refuses an hour");
        }
    }

    fn may_warn(&self, now: Instant) -> bool {
        let mut warned_at = self.warned_at.lock();
        let quiet = warned_at.is_some_and(|at| now.saturating_duration_since(at) < WARN_EVERY);
        if !quiet {
            *warned_at = Some(now);
        }
        !quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_warns_once_a_minute() {
        let (drift, now) = (Drift::default(), Instant::now());
        let warned = [0, 1, 59, 60, 61, 119, 121].map(|s| drift.may_warn(now + Duration::from_secs(s)));
        assert_eq!(warned, [true, false, false, true, false, false, true]);
    }
}

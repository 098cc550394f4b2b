//! When a link that broke is made again. Pure: time and chance are parameters.

use crate::domain::retry::RetryPolicy;
use std::time::Duration;

/// A link that worked this long was no accident: when it breaks, another one is tried at once. A broker that
/// was killed may let clients in and throw them out again and again, each time within a second.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// Between two tries to connect; there is no limit on tries. The longest is short: a broker that is back
/// has work waiting.
const RECONNECT: RetryPolicy = RetryPolicy {
    initial: Duration::from_millis(250),
    multiplier: 2.0,
    jitter: 0.5,
    max_interval: Duration::from_secs(5),
};

/// How a link ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkEnd {
    /// How long what the link is for worked; `None`: it never did.
    pub worked_for: Option<Duration>,
    /// The broker is well: one message could not be read, and its delivery limit bounds how often.
    pub is_by_message: bool,
}

/// The tries that failed in a row.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// How long to wait before the next try.
    pub fn after(&mut self, end: LinkEnd, chance: f64) -> Duration {
        if end.worked_for.is_some_and(|worked| worked >= SETTLED_AFTER) {
            self.0 = 0;
            return Duration::ZERO;
        }
        self.0 = if end.is_by_message { 1 } else { self.0.saturating_add(1) };
        RECONNECT.wait(self.0, chance, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_worked_is_made_again_at_once_and_a_broker_that_throws_us_out_is_left_alone() {
        const NO_JITTER: f64 = 0.5;
        let end = |worked_for| LinkEnd { worked_for, is_by_message: false };
        let (never, thrown_out) = (end(None), end(Some(Duration::from_millis(300))));
        let worked = end(Some(SETTLED_AFTER));
        let by_message = LinkEnd { worked_for: None, is_by_message: true };
        let mut tries = Tries::default();
        for (end, expected_ms) in [
            (worked, 0),
            (never, 250),
            (thrown_out, 500),
            (thrown_out, 1000),
            (never, 2000),
            (never, 4000),
            (never, 5000),
            (thrown_out, 5000),
            (by_message, 250),
            (never, 500),
            // Two nodes of a cluster that restart one after the other.
            (worked, 0),
            (worked, 0),
            (never, 250),
        ] {
            let wait = tries.after(end, NO_JITTER);
            assert_eq!(wait, Duration::from_millis(expected_ms), "{end:?}");
        }
    }
}

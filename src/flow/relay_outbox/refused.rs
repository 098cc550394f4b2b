//! Events that the broker refused: a subscriber's queue is full, or has no leader. They are published again after a while that
//! grows, and meanwhile keep nothing back but their own orders.

use super::EventKey;
use crate::flow::ports::LeftOut;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });
const WAIT_MAX: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 10_000 });
/// If more than these are refused, the oldest are tried again at each look.
const KEPT_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct RefusedEvents(HashMap<i64, RefusedEvent>);

struct RefusedEvent {
    order_key: Option<i64>,
    wait: Duration,
    until: Instant,
}

impl RefusedEvents {
    /// Whether the event waits from now on; false where too many do.
    pub fn note_refused(&mut self, (sequence, order_key): EventKey, now: Instant) -> bool {
        let before = self.0.get(&sequence).map(|event| event.wait);
        if before.is_none() && self.0.len() >= KEPT_MAX {
            return false;
        }
        let wait = before.map_or(FIRST_WAIT, |wait| (wait * 2).min(WAIT_MAX));
        self.0.insert(sequence, RefusedEvent { order_key, wait, until: now + wait });
        true
    }

    /// One that was refused is taken: the queue has room again, and all are tried at once.
    pub fn confirmed(&mut self, sequences: &[i64]) {
        if sequences.iter().any(|sequence| self.0.contains_key(sequence)) {
            self.0.clear();
        }
    }

    /// What is not tried now: events, and orders whose later events wait for them.
    pub fn waiting(&self, now: Instant) -> LeftOut {
        let waiting = || self.0.iter().filter(|(_, event)| event.until > now);
        let sequences = waiting().map(|(sequence, _)| *sequence).collect();
        LeftOut { sequences, orders: waiting().filter_map(|(_, event)| event.order_key).collect() }
    }
}

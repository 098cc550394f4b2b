//! What became of money through this process since it last reported: counts and rupiah by event, and DOKU's decline codes.
//! Prometheus has the counts by event too; a console has no Prometheus to ask.

use crate::domain::event::EventType;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// DOKU's codes are few; what a broken answer makes of them must not fill the memory.
const CODES_MAX: usize = 50;
const CODE_CHARS_MAX: usize = 64;
/// Codes for which there is no room.
const OTHERS: &str = "others";

/// Counts, as a report carries them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// By routing key: how many, and how much in whole rupiah.
    pub events: BTreeMap<String, (u64, u64)>,
    pub declines: BTreeMap<String, u64>,
}

impl Happened {
    pub fn add(&mut self, other: Self) {
        for (event, (count, rupiah)) in other.events {
            let sum = self.events.entry(event).or_default();
            *sum = (sum.0.saturating_add(count), sum.1.saturating_add(rupiah));
        }
        for (code, count) in other.declines {
            self.decline(code, count);
        }
    }

    fn decline(&mut self, code: String, count: u64) {
        let is_known = self.declines.contains_key(&code) || self.declines.len() < CODES_MAX;
        let code = if is_known { code } else { OTHERS.to_owned() };
        let sum = self.declines.entry(code).or_default();
        *sum = sum.saturating_add(count);
    }
}

static HAPPENED: Mutex<Happened> =
    Mutex::new(Happened { events: BTreeMap::new(), declines: BTreeMap::new() });

/// An event about this much money was committed; `code`: DOKU's, where it declined.
pub fn event_happened(event: EventType, rupiah: u64, code: Option<&str>) {
    let mut happened = HAPPENED.lock();
    let sum = match happened.events.get_mut(event.routing_key()) {
        Some(sum) => sum,
        None => happened.events.entry(event.routing_key().to_owned()).or_default(),
    };
    *sum = (sum.0.saturating_add(1), sum.1.saturating_add(rupiah));
    if let Some(code) = code {
        happened.decline(code.chars().take(CODE_CHARS_MAX).collect(), 1);
    }
}

/// Everything since it was last taken. A report that fails gives it back.
pub fn take_happened() -> Happened {
    std::mem::take(&mut *HAPPENED.lock())
}

pub fn give_back_happened(happened: Happened) {
    HAPPENED.lock().add(happened);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_kept_by_event_and_codes_are_bounded() {
        let mut all = Happened::default();
        let one = Happened {
            events: [("order.paid".to_owned(), (1, 50_000))].into(),
            declines: (0..200).map(|n| (format!("code-{n}"), 1)).collect(),
        };
        all.add(one.clone());
        all.add(one);
        assert_eq!(all.events["order.paid"], (2, 100_000));
        assert!(all.declines.len() <= CODES_MAX + 1, "{}", all.declines.len());
        assert_eq!(all.declines.values().sum::<u64>(), 400, "none is lost");
    }
}

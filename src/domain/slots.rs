//! How many attempts of one merchant may be under way at once (`doku.concurrency`), and how sends and inquiries
//! share these slots. Pure.
//!
//! Inquiries hold half of them at most, at least one: a Check Status that hangs keeps no send waiting. While
//! inquiries wait, sends hold no more than the other half.

use super::finding::AttemptKind;

#[derive(Debug, Clone)]
pub struct AttemptSlots {
    all: u32,
    sends: u32,
    inquiries: u32,
    /// Which kind took the last one: if there is one slot only, they take turns.
    last: Option<AttemptKind>,
}

impl AttemptSlots {
    pub fn new(all: u32) -> Self {
        Self { all: all.max(1), sends: 0, inquiries: 0, last: None }
    }

    /// Takes a slot; false if there is none for this kind now. `other_waits`: the other kind wants one too.
    pub fn take(&mut self, kind: AttemptKind, other_waits: bool) -> bool {
        let half = (self.all / 2).max(1);
        let is_full = self.sends + self.inquiries >= self.all;
        let is_others_turn = self.all == 1 && other_waits && self.last == Some(kind);
        let has_share = match kind {
            AttemptKind::Inquiry => self.inquiries < half,
            AttemptKind::Send => !other_waits || self.sends < (self.all - half).max(1),
        };
        if is_full || is_others_turn || !has_share {
            return false;
        }
        *self.held(kind) += 1;
        self.last = Some(kind);
        true
    }

    pub fn release(&mut self, kind: AttemptKind) {
        let held = self.held(kind);
        *held = held.saturating_sub(1);
    }

    fn held(&mut self, kind: AttemptKind) -> &mut u32 {
        match kind {
            AttemptKind::Send => &mut self.sends,
            AttemptKind::Inquiry => &mut self.inquiries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttemptKind::{Inquiry, Send};

    /// How many slots each kind gets of those that are free, this one asking first.
    fn shared(all: u32, first: AttemptKind, both_wait: bool) -> (u32, u32) {
        let mut slots = AttemptSlots::new(all);
        let second = if first == Send { Inquiry } else { Send };
        let mut taken = |kind| (0..=2 * all).map(|_| u32::from(slots.take(kind, both_wait))).sum();
        let (one, two) = (taken(first), taken(second));
        if first == Send { (one, two) } else { (two, one) }
    }

    #[test]
    fn inquiries_hold_half_of_the_places_and_sends_leave_them_that_while_they_wait() {
        for (all, first, both_wait, expected) in [
            (128, Send, true, (64, 64)),
            (128, Inquiry, true, (64, 64)),
            (128, Send, false, (128, 0)),
            (128, Inquiry, false, (64, 64)),
            (3, Send, true, (2, 1)),
            (2, Send, true, (1, 1)),
            (1, Send, true, (1, 0)),
            (1, Inquiry, true, (0, 1)),
            (0, Send, false, (1, 0)),
        ] {
            assert_eq!(shared(all, first, both_wait), expected, "{all} {first:?} {both_wait}");
        }
    }

    #[test]
    fn the_only_place_goes_in_turns() {
        let mut slots = AttemptSlots::new(1);
        for kind in [Send, Inquiry, Send, Inquiry] {
            let other = if kind == Send { Inquiry } else { Send };
            assert!(slots.take(kind, true));
            assert!(!slots.take(other, true), "it is taken");
            slots.release(kind);
            assert!(!slots.take(kind, true), "it is the other's turn");
        }
        assert!(slots.take(Inquiry, false), "nobody else waits");
    }
}

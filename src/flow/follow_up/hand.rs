//! The due orders that this process has in hand: none of them is picked up twice, and there are not too many of
//! one merchant and one kind, so that nobody's backlog fills the hands of another.

use crate::{
    domain::{finding::AttemptKind, ids::MerchantName},
    flow::ports::{DueOrder, DueWhat},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So many due orders of one merchant and one kind are in hand at most; more wait in the table.
pub(super) const IN_HAND_MAX: u32 = 256;

/// Whose and which: `None` for lost attempts, which nobody waits for.
type Which = (MerchantName, Option<AttemptKind>);

#[derive(Default)]
pub(super) struct Hand(Mutex<InHand>);

#[derive(Default)]
struct InHand {
    orders: HashSet<i64>,
    counts: HashMap<Which, u32>,
    /// Of these the table had more than could be picked up.
    more_waits: HashSet<Which>,
}

impl Hand {
    /// How many more may be picked up.
    pub fn room(&self, merchant: &MerchantName, kind: AttemptKind) -> u32 {
        let held = self.lock().counts.get(&(merchant.clone(), Some(kind))).copied();
        IN_HAND_MAX.saturating_sub(held.unwrap_or_default())
    }

    /// Whether the table has more of these than were picked up.
    pub fn note_more(&self, merchant: &MerchantName, kind: AttemptKind, more: bool) {
        let which = (merchant.clone(), Some(kind));
        let mut in_hand = self.lock();
        if more {
            in_hand.more_waits.insert(which);
        } else {
            in_hand.more_waits.remove(&which);
        }
    }

    /// `None` where the order is in hand already.
    pub fn take(self: &Arc<Self>, order: &DueOrder) -> Option<Held> {
        let kind = match order.what {
            DueWhat::Lost => None,
            DueWhat::Send { .. } => Some(AttemptKind::Send),
            DueWhat::Inquiry(_) => Some(AttemptKind::Inquiry),
        };
        let which = (order.merchant.clone(), kind);
        let mut in_hand = self.lock();
        if !in_hand.orders.insert(order.order_key) {
            return None;
        }
        *in_hand.counts.entry(which.clone()).or_default() += 1;
        drop(in_hand);
        Some(Held { hand: Arc::clone(self), order_key: order.order_key, which })
    }

    fn lock(&self) -> MutexGuard<'_, InHand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Held {
    hand: Arc<Hand>,
    order_key: i64,
    which: Which,
}

impl Held {
    /// Puts the order down. True where it is worth to look for more: half of the hand is free, and what
    /// was not picked up would otherwise wait for the next look.
    pub fn leaves_room_for_more(self) -> bool {
        let (hand, which) = (Arc::clone(&self.hand), self.which.clone());
        drop(self);
        let in_hand = hand.lock();
        let held = in_hand.counts.get(&which).copied().unwrap_or_default();
        in_hand.more_waits.contains(&which) && held <= IN_HAND_MAX / 2
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut in_hand = self.hand.lock();
        in_hand.orders.remove(&self.order_key);
        if let Some(held) = in_hand.counts.get_mut(&self.which) {
            *held -= 1;
            if *held == 0 {
                in_hand.counts.remove(&self.which);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schedule::{InquiryRank, SendRank};

    fn order(order_key: i64, merchant: &str, what: DueWhat) -> DueOrder {
        DueOrder { order_key, merchant: MerchantName::parse(merchant).unwrap(), what }
    }

    const SEND: DueWhat = DueWhat::Send { rank: SendRank::First, asks_first: false };
    const INQUIRY: DueWhat = DueWhat::Inquiry(InquiryRank::Waiting);

    #[test]
    fn an_order_in_hand_is_not_picked_up_again_before_it_is_put_down() {
        let hand = Arc::new(Hand::default());
        let held = hand.take(&order(1, "one", SEND));
        assert!(held.is_some());
        assert!(hand.take(&order(1, "one", INQUIRY)).is_none());
        assert!(hand.take(&order(2, "one", SEND)).is_some(), "another order is not in the way");
        drop(held);
        assert!(hand.take(&order(1, "one", INQUIRY)).is_some());
    }

    #[test]
    fn one_merchants_full_hand_of_one_kind_is_nobody_elses() {
        let (hand, one, two) = (Arc::new(Hand::default()), "one", MerchantName::parse("two").unwrap());
        let mut held: Vec<Held> =
            (1..=i64::from(IN_HAND_MAX)).map(|key| hand.take(&order(key, one, SEND)).unwrap()).collect();
        let one = MerchantName::parse(one).unwrap();
        assert_eq!(hand.room(&one, AttemptKind::Send), 0);
        assert_eq!(hand.room(&one, AttemptKind::Inquiry), IN_HAND_MAX);
        assert_eq!(hand.room(&two, AttemptKind::Send), IN_HAND_MAX);
        hand.note_more(&one, AttemptKind::Send, true);
        for held in held.split_off(IN_HAND_MAX as usize / 2 + 1) {
            assert!(!held.leaves_room_for_more());
        }
        assert!(held.pop().unwrap().leaves_room_for_more(), "half of the hand is free");
        hand.note_more(&one, AttemptKind::Send, false);
        assert!(!held.pop().unwrap().leaves_room_for_more(), "nothing was left in the table");
    }
}

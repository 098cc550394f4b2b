//! The due orders that this process works on now: none of them is picked up twice, and there are not too many of
//! one merchant and one kind, so that the backlog of one merchant leaves room for the others.

use crate::{
    domain::{finding::AttemptKind, ids::MerchantName},
    flow::ports::{DueOrder, DueWhat},
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// At most this many due orders of one merchant and one kind are in flight; more wait in the table.
pub(super) const IN_FLIGHT_MAX: u32 = 256;

/// The kind is `None` for lost attempts.
type MerchantAndKind = (MerchantName, Option<AttemptKind>);

#[derive(Default)]
pub(super) struct InFlight(Mutex<InFlightOrders>);

#[derive(Default)]
struct InFlightOrders {
    orders: HashSet<i64>,
    counts: HashMap<MerchantAndKind, u32>,
    /// Of these the table may have more than were picked up: when no more than this are left, it is looked at again.
    more_waits: HashMap<MerchantAndKind, u32>,
}

impl InFlight {
    /// How many are in hand.
    pub fn held(&self, merchant: &MerchantName, kind: AttemptKind) -> u32 {
        self.0.lock().counts.get(&(merchant.clone(), Some(kind))).copied().unwrap_or_default()
    }

    /// Those that were found and are not in hand, and how many of them may be picked up where at most `of` are to be in hand.
    /// 0: none was looked for.
    pub fn others(
        &self,
        merchant: &MerchantName,
        kind: AttemptKind,
        mut found: Vec<DueOrder>,
        of: u32,
    ) -> (Vec<DueOrder>, usize) {
        let which = (merchant.clone(), Some(kind));
        let count = |of: u32| usize::try_from(of).unwrap_or(usize::MAX);
        let mut orders_in_flight = self.0.lock();
        if of > 0 && found.len() >= count(of) {
            orders_in_flight.more_waits.insert(which.clone(), of / 2);
        } else if of > 0 {
            orders_in_flight.more_waits.remove(&which);
        }
        found.retain(|order| !orders_in_flight.orders.contains(&order.order_key));
        let held = orders_in_flight.counts.get(&which).copied().unwrap_or_default();
        (found, count(of.saturating_sub(held)))
    }

    /// `None` if the order is in flight already.
    pub fn take(self: &Arc<Self>, order: &DueOrder) -> Option<InFlightGuard> {
        let kind = match order.what {
            DueWhat::Lost => None,
            DueWhat::Send { .. } => Some(AttemptKind::Send),
            DueWhat::Inquiry(_) => Some(AttemptKind::Inquiry),
        };
        let which = (order.merchant.clone(), kind);
        let mut orders_in_flight = self.0.lock();
        if !orders_in_flight.orders.insert(order.order_key) {
            return None;
        }
        *orders_in_flight.counts.entry(which.clone()).or_default() += 1;
        drop(orders_in_flight);
        Some(InFlightGuard { in_flight: Arc::clone(self), order_key: order.order_key, which })
    }
}

pub(super) struct InFlightGuard {
    in_flight: Arc<InFlight>,
    order_key: i64,
    which: MerchantAndKind,
}

impl InFlightGuard {
    /// Lets the order go. True if it is worth to look for more: half of them are done, and what was not picked up
    /// would otherwise wait for the next look.
    pub fn leaves_room_for_more(self) -> bool {
        let (in_flight, which) = (Arc::clone(&self.in_flight), self.which.clone());
        drop(self);
        let orders_in_flight = in_flight.0.lock();
        let held = orders_in_flight.counts.get(&which).copied().unwrap_or_default();
        orders_in_flight.more_waits.get(&which).is_some_and(|few| held <= *few)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut orders_in_flight = self.in_flight.0.lock();
        orders_in_flight.orders.remove(&self.order_key);
        if let Some(held) = orders_in_flight.counts.get_mut(&self.which) {
            *held -= 1;
            if *held == 0 {
                orders_in_flight.counts.remove(&self.which);
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
        let in_flight = Arc::new(InFlight::default());
        let held = in_flight.take(&order(1, "one", SEND));
        assert!(held.is_some());
        assert!(in_flight.take(&order(1, "one", INQUIRY)).is_none());
        assert!(in_flight.take(&order(2, "one", SEND)).is_some(), "another order is not in the way");
        drop(held);
        assert!(in_flight.take(&order(1, "one", INQUIRY)).is_some());
    }

    #[test]
    fn one_merchants_full_hand_of_one_kind_is_nobody_elses() {
        let (in_flight, one, two) =
            (Arc::new(InFlight::default()), "one", MerchantName::parse("two").unwrap());
        let _held: Vec<InFlightGuard> = (1..=i64::from(IN_FLIGHT_MAX))
            .map(|key| in_flight.take(&order(key, one, SEND)).unwrap())
            .collect();
        let one = MerchantName::parse(one).unwrap();
        assert_eq!(in_flight.held(&one, AttemptKind::Send), IN_FLIGHT_MAX);
        assert_eq!(in_flight.held(&one, AttemptKind::Inquiry), 0);
        assert_eq!(in_flight.held(&two, AttemptKind::Send), 0);
    }

    #[test]
    fn a_look_finds_others_than_those_in_hand_and_the_next_one_waits_until_half_of_them_are_done() {
        let (in_flight, one) = (Arc::new(InFlight::default()), MerchantName::parse("one").unwrap());
        let found = |keys: std::ops::RangeInclusive<i64>| keys.map(|key| order(key, "one", SEND)).collect();
        let others = |found, of| {
            let (others, most) = in_flight.others(&one, AttemptKind::Send, found, of);
            (others.iter().map(|order| order.order_key).collect::<Vec<_>>(), most)
        };
        let mut held: Vec<_> = (1..=3).map(|key| in_flight.take(&order(key, "one", SEND)).unwrap()).collect();
        assert_eq!(others(found(1..=4), 4), (vec![4], 1), "a full list: there may be more");
        held.push(in_flight.take(&order(4, "one", SEND)).unwrap());
        assert_eq!(others(Vec::new(), 0), (Vec::new(), 0), "not looked for: what is known stays so");
        assert!(!held.pop().unwrap().leaves_room_for_more(), "three are left");
        assert!(held.pop().unwrap().leaves_room_for_more(), "two are left");
        assert_eq!(others(found(1..=3), 4), (vec![3], 2));
        assert!(!held.pop().unwrap().leaves_room_for_more(), "the list was not full");
    }
}

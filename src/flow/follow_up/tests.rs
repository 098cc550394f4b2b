//! What follow-up picks up, how often, and how long it sleeps.

use super::*;
use crate::{
    domain::{ids::MerchantName, learned::Health, pause::Paused},
    flow::{
        fake::{FakeGateway, FakeStore, Steps, worker},
        gate::Limits,
    },
};

const LIMITS: Limits = Limits {
    concurrency: 8,
    requests_per_second: 0,
    breaker_failures: 2,
    breaker_open: Duration::from_secs(15),
};

fn due(order_key: i64, kind: AttemptKind) -> DueOrder {
    DueOrder { order_key, merchant: MerchantName::default_account(), kind }
}

fn follow_up(
    limits: &Limits,
    store: impl FnOnce(&mut FakeStore),
) -> (FollowUp<FakeStore, FakeGateway>, Steps) {
    let (worker, steps, _) = worker(store, 1);
    let gate = Gate::new(limits, [MerchantName::default_account()]);
    gate.set_paused(Paused::default());
    (FollowUp { attempts: worker.attempts, gate, due_changed: Arc::default() }, steps)
}

async fn reached(steps: &Steps, step: &str, times: usize) {
    let enough = async {
        while steps.lock().unwrap().iter().filter(|s| **s == step).count() < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), enough).await.expect("the step is not reached");
}

fn count(steps: &Steps, step: &str) -> usize {
    steps.lock().unwrap().iter().filter(|s| **s == step).count()
}

#[tokio::test]
async fn what_is_due_is_taken_and_asked_until_the_stop_and_parked_ones_are_tended_once_a_minute() {
    let (follow_up, steps) = follow_up(&LIMITS, |store| {
        store.due = vec![due(1, AttemptKind::Send), due(2, AttemptKind::Inquiry)];
        store.next_due_in = Some(Duration::ZERO);
    });
    let stop = follow_up.attempts.stop.clone();
    let running = tokio::spawn(follow_up.run());
    for (step, times) in [("send", 2), ("inquire", 2), ("record", 4), ("look", 3)] {
        reached(&steps, step, times).await;
    }
    stop.cancel();
    timeout(Duration::from_secs(60), running).await.expect("it ends with the stop").unwrap();
    assert_eq!(count(&steps, "record"), count(&steps, "take") - count(&steps, "give back"));
    assert_eq!(count(&steps, "tend parked"), 1);
}

#[tokio::test]
async fn an_order_in_hand_is_not_picked_up_again_before_it_is_put_down() {
    let hand = Arc::new(Hand::new());
    let held = hand.take(1).await;
    assert!(held.is_some());
    assert!(hand.take(1).await.is_none());
    assert!(hand.take(2).await.is_some(), "another order is not in the way");
    drop(held);
    assert!(hand.take(1).await.is_some());
}

#[tokio::test]
async fn follow_up_leaves_alone_what_it_has_in_hand() {
    let (follow_up, steps) = follow_up(&LIMITS, |store| store.due = vec![due(1, AttemptKind::Send)]);
    let (tracker, hand) = (TaskTracker::new(), Arc::new(Hand::new()));
    let held = hand.take(1).await;
    follow_up.pick_up(&tracker, &hand).await.unwrap();
    tracker.close();
    tracker.wait().await;
    assert_eq!(*steps.lock().unwrap(), ["look"]);
    drop(held);
}

#[tokio::test]
async fn a_full_hand_sleeps_and_one_that_is_half_free_looks_for_what_was_left() {
    let hand = Arc::new(Hand::new());
    let mut held = Vec::new();
    for order_key in 1..=i64::from(IN_HAND_MAX) {
        assert!(!hand.is_full());
        held.extend(hand.take(order_key).await);
    }
    assert!(hand.is_full());
    let (follow_up, _) = follow_up(&LIMITS, |store| store.next_due_in = Some(Duration::ZERO));
    assert_eq!(follow_up.pick_up(&TaskTracker::new(), &hand).await.unwrap(), SLEEP_MAX);
    hand.more_waits.store(true, Ordering::Relaxed);
    let first_half = held.split_off(IN_HAND_MAX as usize / 2 + 1);
    for held in first_half {
        assert!(!held.leaves_room_for_more());
    }
    assert!(held.pop().unwrap().leaves_room_for_more(), "half of the hand is free");
    hand.more_waits.store(false, Ordering::Relaxed);
    assert!(!held.pop().unwrap().leaves_room_for_more(), "nothing was left in the table");
}

#[tokio::test]
async fn it_sleeps_until_the_next_is_due_but_never_long() {
    let ms = Duration::from_millis;
    for (next_due_in, expected) in [(None, SLEEP_MAX), (Some(ms(40)), ms(40)), (Some(ms(5000)), SLEEP_MAX)] {
        let (follow_up, _) = follow_up(&LIMITS, |store| store.next_due_in = next_due_in);
        let hand = Arc::new(Hand::new());
        assert_eq!(follow_up.pick_up(&TaskTracker::new(), &hand).await.unwrap(), expected);
        assert!(!hand.more_waits.load(Ordering::Relaxed), "nothing was left in the table");
    }
}

/// Of a merchant who has no lane: nobody is asked, only the limit hears of it.
#[tokio::test]
async fn what_is_left_in_the_table_is_remembered() {
    let nobody = MerchantName::parse("nobody").unwrap();
    let many = (1..=i64::from(IN_HAND_MAX))
        .map(|key| DueOrder { merchant: nobody.clone(), ..due(key, AttemptKind::Send) })
        .collect();
    let (follow_up, _) = follow_up(&LIMITS, |store| store.due = many);
    let (tracker, hand) = (TaskTracker::new(), Arc::new(Hand::new()));
    follow_up.pick_up(&tracker, &hand).await.unwrap();
    assert!(hand.more_waits.load(Ordering::Relaxed));
}

/// A token is kept for an inquiry as long as one is due: see the gate.
#[tokio::test]
async fn the_gate_hears_whether_an_inquiry_is_due() {
    let nobody = MerchantName::parse("nobody").unwrap();
    for (kind, kept) in [(AttemptKind::Inquiry, true), (AttemptKind::Send, false)] {
        let one = DueOrder { merchant: nobody.clone(), ..due(1, kind) };
        let limits = Limits { requests_per_second: 5, ..LIMITS };
        let (follow_up, _) = follow_up(&limits, |store| store.due = vec![one]);
        let tracker = TaskTracker::new();
        follow_up.pick_up(&tracker, &Arc::new(Hand::new())).await.unwrap();
        let merchant = MerchantName::default_account();
        follow_up.gate.hold(&merchant, 5);
        let ask = async |kind| {
            let permit = follow_up.gate.permit(&merchant, kind, Duration::ZERO).await;
            permit.map(|permit| permit.learned(Health::Well)).is_ok()
        };
        while ask(AttemptKind::Send).await {}
        assert_eq!(ask(AttemptKind::Inquiry).await, kept, "{kind:?}");
    }
}

//! What follow-up picks up, how often, and how long it sleeps.

use super::*;
use crate::{
    domain::{ids::MerchantName, pause::Paused, schedule::InquiryRank},
    flow::{
        fake::{FakeGateway, FakeStore, Steps, worker},
        gate::GateLimits,
    },
};

const LIMITS: GateLimits = GateLimits {
    prefetch: 16,
    concurrency: 8,
    requests_per_second: 0,
    breaker_failures: 2,
    breaker_open: Duration::from_secs(15),
};

const SEND: DueWhat = DueWhat::Send { rank: SendRank::First, asks_first: false };
const INQUIRY: DueWhat = DueWhat::Inquiry(InquiryRank::Waiting);

fn due(order_key: i64, what: DueWhat) -> DueOrder {
    DueOrder { order_key, merchant: MerchantName::default_account(), what }
}

fn follow_up(
    limits: &GateLimits,
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
async fn what_is_due_is_taken_and_asked_until_the_stop() {
    let (follow_up, steps) = follow_up(&LIMITS, |store| {
        store.due = vec![due(1, SEND), due(2, INQUIRY)];
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
}

#[tokio::test]
async fn parked_notifications_are_tended_once_a_minute() {
    let (follow_up, steps) = follow_up(&LIMITS, |_| {});
    let tending = tokio::spawn(sweep_parked(Arc::clone(&follow_up.attempts.store)));
    reached(&steps, "tend parked", 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(count(&steps, "tend parked"), 1);
    tending.abort();
}

#[tokio::test]
async fn follow_up_leaves_alone_what_it_has_in_hand() {
    let (follow_up, steps) = follow_up(&LIMITS, |store| store.due = vec![due(1, SEND)]);
    let (tracker, mut picking) = (TaskTracker::new(), Picking::default());
    let held = picking.in_flight.take(&due(1, INQUIRY));
    follow_up.pick_up(&tracker, &mut picking).await.unwrap();
    tracker.close();
    tracker.wait().await;
    assert_eq!(*steps.lock().unwrap(), ["look"]);
    drop(held);
}

#[tokio::test]
async fn a_send_in_doubt_goes_behind_its_inquiry_and_without_it_where_that_is_held_back() {
    let doubted = DueWhat::Send { rank: SendRank::Again, asks_first: true };
    for (is_held_back, expected) in [
        (false, vec!["take", "inquire", "record"]),
        (true, vec!["take without its inquiry", "parked", "send", "record"]),
    ] {
        let (follow_up, steps) = follow_up(&LIMITS, |_| {});
        let merchant = MerchantName::default_account();
        for _ in 0..if is_held_back { LIMITS.breaker_failures } else { 0 } {
            let hung = follow_up.gate.permit(&merchant, AttemptKind::Inquiry, Duration::ZERO).await;
            hung.unwrap().inquired(true);
        }
        let followed = follow_one(&follow_up.attempts, &follow_up.gate, &due(1, doubted)).await;
        assert_eq!(followed, Followed::Done);
        assert_eq!(*steps.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn what_was_lost_is_taken_up_without_a_permit() {
    let (follow_up, steps) = follow_up(&GateLimits { concurrency: 1, ..LIMITS }, |_| {});
    let merchant = MerchantName::default_account();
    let _only = follow_up.gate.permit(&merchant, AttemptKind::Send, Duration::ZERO).await.unwrap();
    let followed = follow_one(&follow_up.attempts, &follow_up.gate, &due(1, DueWhat::Lost)).await;
    assert_eq!(followed, Followed::Done);
    assert_eq!(*steps.lock().unwrap(), ["take up what was lost"]);
}

#[tokio::test]
async fn it_sleeps_until_the_next_is_due_but_never_long() {
    let ms = Duration::from_millis;
    for (next_due_in, expected) in [(None, SLEEP_MAX), (Some(ms(40)), ms(40)), (Some(ms(5000)), SLEEP_MAX)] {
        let (follow_up, _) = follow_up(&LIMITS, |store| store.next_due_in = next_due_in);
        let picked_up = follow_up.pick_up(&TaskTracker::new(), &mut Picking::default()).await;
        assert_eq!(picked_up.unwrap(), expected);
    }
}

/// A token is kept for an inquiry as long as one of this merchant's is due: see the gate.
#[tokio::test]
async fn the_gate_hears_whether_an_inquiry_is_due() {
    for (what, kept) in [(INQUIRY, true), (SEND, false)] {
        let limits = GateLimits { requests_per_second: 5, ..LIMITS };
        let (follow_up, _) = follow_up(&limits, |store| store.due = vec![due(1, what)]);
        let mut picking = Picking::default();
        let _in_hand = picking.in_flight.take(&due(1, what));
        follow_up.pick_up(&TaskTracker::new(), &mut picking).await.unwrap();
        let merchant = MerchantName::default_account();
        follow_up.gate.hold(&merchant, 5);
        let ask = async |kind| {
            let permit = follow_up.gate.permit(&merchant, kind, Duration::ZERO).await;
            permit.map(|mut permit| permit.used()).is_ok()
        };
        while ask(AttemptKind::Send).await {}
        assert_eq!(ask(AttemptKind::Inquiry).await, kept, "{what:?}");
    }
}

/// Follow-up for a second, woken all the time: how often it looked.
async fn looks(follow_up: FollowUp<FakeStore, FakeGateway>, steps: &Steps) -> usize {
    let (stop, changed) = (follow_up.attempts.stop.clone(), Arc::clone(&follow_up.due_changed));
    let running = tokio::spawn(follow_up.run());
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        changed.notify_one();
        sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    timeout(Duration::from_secs(60), running).await.expect("it ends with the stop").unwrap();
    count(steps, "look")
}

/// A command that is claimed while sends are stopped wakes follow-up, and so does one that finds no room: that must
/// cost no look each, whatever is due.
#[tokio::test]
async fn wake_ups_while_nothing_goes_make_few_looks() {
    let limit =
        usize::try_from(Duration::from_secs(1).as_millis() / IDLE_LOOK_EVERY.as_millis()).unwrap() + 2;
    let many: Vec<DueOrder> = (1..=300).map(|key| due(key, SEND)).collect();
    for (what, found, pauses) in [
        ("nothing is due", vec![], false),
        ("what is due may not be sent", many.clone(), true),
        ("the next one is due in a moment, always", vec![], false),
    ] {
        let (follow_up, steps) = follow_up(&LIMITS, |store| {
            store.due = found;
            store.next_due_in = Some(Duration::from_micros(10));
        });
        if pauses {
            let since = crate::domain::Time::from_timestamp(0, 0);
            follow_up.gate.set_paused(Paused { all: since, ..Paused::default() });
        }
        let looks = looks(follow_up, &steps).await;
        assert!((1..=limit).contains(&looks), "{what}: {looks} looks in a second, at most {limit}");
        assert_eq!(count(&steps, "take"), 0, "{what}");
    }
}

/// One in whose way the store is, alone in a list that is full: each try wakes the next look.
#[tokio::test]
async fn an_order_that_cannot_be_taken_makes_few_looks() {
    let limits = GateLimits { concurrency: 1, ..LIMITS };
    let (follow_up, steps) = follow_up(&limits, |store| {
        store.due = (1..=300).map(|key| due(key, SEND)).collect();
        store.takes_none = true;
        store.next_due_in = None;
    });
    let limit =
        usize::try_from(Duration::from_secs(1).as_millis() / IDLE_LOOK_EVERY.as_millis()).unwrap() + 2;
    let looks = looks(follow_up, &steps).await;
    assert!((1..=limit).contains(&looks), "{looks} looks in a second, at most {limit}");
}

#[tokio::test]
async fn a_look_asks_for_those_in_hand_too_and_what_hangs_takes_nothing_of_what_may_go_meanwhile() {
    for (per_second, held, looked_for) in
        [(5, 0, 2), (5, 5, 7), (5, 100, 102), (200, 100, 150), (200, 128, 178), (0, 0, 256), (0, 256, 0)]
    {
        let (follow_up, _) = follow_up(&GateLimits { requests_per_second: per_second, ..LIMITS }, |_| {});
        let picking = Picking::default();
        let _held: Vec<_> = (1..=held).map(|key| picking.in_flight.take(&due(key, SEND)).unwrap()).collect();
        let sends = follow_up.filter(&picking.in_flight).merchants[0].sends;
        assert_eq!(sends, looked_for, "{held} in hand at {per_second} a second");
    }
}

//! The order of steps, and what is not done: no step of these stories needs a server.

use super::{
    attempt::Kept,
    disposition::Disposition,
    fake::{claim, refund, worker},
    gate::Permit,
    ports::{ClaimError, StoreError},
    process_command::Worker,
    store_outage::StoreState,
};
use crate::domain::{
    finding::AttemptKind,
    ids::MerchantName,
    validate::{Code, Violation},
};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(45);

async fn permit<S, G>(worker: &Worker<S, G>, kind: AttemptKind) -> Permit {
    worker.gate.permit(&MerchantName::default_account(), kind, LONG).await.unwrap()
}

#[tokio::test]
async fn a_command_is_claimed_before_doku_is_asked_and_acked_after_the_record() {
    let (worker, steps, _) = worker(|_| {}, 1);
    assert_eq!(worker.process(refund()).await, Disposition::Ack);
    assert_eq!(*steps.lock().unwrap(), ["claim", "parked", "send", "record"]);
}

#[tokio::test]
async fn what_breaks_a_rule_or_names_nobody_is_rejected_and_goes_no_further() {
    let (worker, steps, _) = worker(|_| {}, 1);
    let mut nobody = refund();
    nobody.command.merchant = "nobody".to_owned();
    let mut broken = refund();
    broken.data = crate::domain::document::Document::Null;
    let mut late = refund();
    late.violations = vec![Violation {
        code: Code::InvalidFormat,
        field: "expirytime".to_owned(),
        message: "a time".to_owned(),
    }];
    for incoming in [nobody, broken, late] {
        assert_eq!(worker.process(incoming).await, Disposition::Ack);
    }
    assert_eq!(*steps.lock().unwrap(), ["reject", "reject", "reject"]);
}

#[tokio::test]
async fn without_a_permit_a_command_is_claimed_for_follow_up_and_not_sent() {
    let (worker, steps, _) = worker(|_| {}, 1);
    let _taken = permit(&worker, AttemptKind::Send).await;
    assert_eq!(worker.process(refund()).await, Disposition::Ack);
    assert_eq!(*steps.lock().unwrap(), ["claim without a lease"]);
}

#[tokio::test]
async fn what_a_parked_notification_decided_is_not_sent() {
    let (worker, steps, _) = worker(|store| store.decided_by_parked = true, 1);
    assert_eq!(worker.process(refund()).await, Disposition::Ack);
    assert_eq!(*steps.lock().unwrap(), ["claim", "parked"]);
}

#[tokio::test]
async fn while_the_store_is_away_the_delivery_is_held_and_nothing_is_sent() {
    let (worker, steps, _) = worker(|store| store.away = 2.into(), 1);
    assert_eq!(worker.process(refund()).await, Disposition::Ack);
    assert_eq!(*steps.lock().unwrap(), ["claim away", "claim away", "claim", "parked", "send", "record"]);
}

#[tokio::test]
async fn a_stop_gives_what_is_held_to_the_broker() {
    let (worker, steps, stop) = worker(|store| store.away = u32::MAX.into(), 1);
    stop.cancel();
    assert_eq!(worker.process(refund()).await, Disposition::Requeue);
    assert_eq!(*steps.lock().unwrap(), ["claim away"]);
}

/// DOKU is given 30 s: with less than that and a margin left of the lease, another may take over meanwhile.
#[tokio::test]
async fn an_attempt_that_may_outlast_its_claim_is_given_back_unsent() {
    let (short, late) = (Duration::from_secs(34), Duration::ZERO);
    for (kind, lease, sends, expected) in [
        (AttemptKind::Send, LONG, LONG, vec!["parked", "send", "record"]),
        (AttemptKind::Send, short, LONG, vec!["parked", "give back"]),
        (AttemptKind::Send, LONG, late, vec!["parked", "give back"]),
        (AttemptKind::Inquiry, LONG, late, vec!["inquire", "record"]),
        (AttemptKind::Inquiry, short, LONG, vec!["give back"]),
    ] {
        let (worker, steps, _) = worker(|_| {}, 1);
        let permit = permit(&worker, kind).await;
        let kept = worker.attempts.make(claim(kind, lease, sends), permit).await;
        assert_eq!(kept, Kept::ByTheStore);
        assert_eq!(*steps.lock().unwrap(), expected, "{kind:?} {lease:?} {sends:?}");
    }
}

#[tokio::test]
async fn after_the_stop_nothing_is_started() {
    let (worker, steps, stop) = worker(|_| {}, 1);
    let permit = permit(&worker, AttemptKind::Inquiry).await;
    stop.cancel();
    let kept = worker.attempts.make(claim(AttemptKind::Inquiry, LONG, LONG), permit).await;
    assert_eq!(kept, Kept::ByTheStore);
    assert_eq!(*steps.lock().unwrap(), ["give back"]);
}

fn away() -> ClaimError {
    StoreError::Away("gone".to_owned()).into()
}

fn refused() -> ClaimError {
    StoreError::Refused("no".to_owned()).into()
}

#[tokio::test]
async fn an_attempt_waits_for_the_store_before_it_asks_and_after() {
    let (worker, steps, _) = worker(
        |store| {
            store.parked_errors = vec![away()].into();
            store.record_errors = vec![away()].into();
        },
        1,
    );
    assert_eq!(worker.process(refund()).await, Disposition::Ack);
    assert_eq!(*steps.lock().unwrap(), ["claim", "parked", "parked", "send", "record", "record"]);
}

#[tokio::test]
async fn what_the_store_refuses_is_asked_of_it_again_for_a_person_may_mend_it() {
    let (first, steps, _) = worker(|store| store.parked_errors = vec![refused()].into(), 1);
    assert_eq!(first.process(refund()).await, Disposition::Ack);
    assert_eq!(*steps.lock().unwrap(), ["claim", "parked", "parked", "send", "record"]);
    let (second, steps, _) = worker(|store| store.record_errors = vec![refused()].into(), 1);
    assert_eq!(second.process(refund()).await, Disposition::Ack);
    assert_eq!(*steps.lock().unwrap(), ["claim", "parked", "send", "record", "record"]);
}

#[tokio::test]
async fn an_answer_in_hand_is_recorded_after_the_stop_too() {
    let (worker, steps, stop) = worker(|store| store.record_errors = vec![away()].into(), 1);
    let permit = permit(&worker, AttemptKind::Inquiry).await;
    let attempt = worker.attempts.make(claim(AttemptKind::Inquiry, LONG, LONG), permit);
    let stop_at_the_record = async {
        while !steps.lock().unwrap().contains(&"record") {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (kept, ()) = tokio::join!(attempt, stop_at_the_record);
    assert_eq!(kept, Kept::ByTheStore);
    assert_eq!(*steps.lock().unwrap(), ["inquire", "record", "record"]);
}

#[tokio::test]
async fn the_consumers_hear_that_the_store_is_away_and_that_it_is_back() {
    let (worker, _, _) = worker(|store| store.away = 1.into(), 1);
    let mut state = worker.outage.store_state.subscribe();
    let heard = async {
        let away = state.wait_for(|state| *state == StoreState::Away).await.is_ok();
        away && state.wait_for(|state| *state == StoreState::Up).await.is_ok()
    };
    let (disposition, heard) = tokio::join!(worker.process(refund()), heard);
    assert_eq!((disposition, heard), (Disposition::Ack, true));
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_the_store_and_gives_the_claim_back() {
    let (worker, steps, stop) = worker(|store| store.parked_errors = vec![away(), away()].into(), 1);
    let permit = permit(&worker, AttemptKind::Send).await;
    stop.cancel();
    let kept = worker.attempts.make(claim(AttemptKind::Send, LONG, LONG), permit).await;
    assert_eq!(kept, Kept::ByTheStore);
    assert_eq!(*steps.lock().unwrap(), ["parked", "give back"]);
}

/// Its permit is a place at DOKU: it is not held for a send that can come no more.
#[tokio::test]
async fn the_wait_for_the_store_ends_where_it_is_too_late_to_ask() {
    const TOO_LATE: Duration = Duration::from_secs(34);
    for (lease, sends) in [(TOO_LATE, LONG), (LONG, Duration::ZERO)] {
        let (worker, steps, _) = worker(|store| store.parked_errors = vec![away(), away()].into(), 1);
        let permit = permit(&worker, AttemptKind::Send).await;
        let kept = worker.attempts.make(claim(AttemptKind::Send, lease, sends), permit).await;
        assert_eq!(kept, Kept::ByTheStore);
        assert_eq!(*steps.lock().unwrap(), ["parked", "give back"]);
    }
}

/// The broker has the only copy of a command whose claim the store has forgotten, wherever that comes out.
#[tokio::test]
async fn a_delivery_whose_claim_is_forgotten_is_given_back_and_never_acked() {
    let forgotten = || vec![ClaimError::Forgotten].into();
    let (at_the_look, steps, _) = worker(|store| store.parked_errors = forgotten(), 1);
    assert_eq!(at_the_look.process(refund()).await, Disposition::Requeue);
    assert_eq!(*steps.lock().unwrap(), ["claim", "parked"]);
    let (at_the_record, steps, _) = worker(|store| store.record_errors = forgotten(), 1);
    assert_eq!(at_the_record.process(refund()).await, Disposition::Requeue);
    assert_eq!(*steps.lock().unwrap(), ["claim", "parked", "send", "record"]);
    let (unsent, steps, stop) = worker(|store| store.forgets = true, 1);
    stop.cancel();
    assert_eq!(unsent.process(refund()).await, Disposition::Requeue);
    assert_eq!(*steps.lock().unwrap(), ["claim", "parked", "give back"]);
}

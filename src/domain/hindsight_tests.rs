//! What turns out later: the database went back in time, an inquiry fails that nothing follows, an order is paid that was
//! not.

use super::{
    attempt::{AttemptTime, after_inquiry},
    attempt_tests::{order, progress, schedule, seconds},
    change::{Change, DueChange},
    command::{CommandKind, Outcome, RefundRefusal},
    event::EventType,
    finding::*,
    money::{ReportedAmount, Rupiah},
    order::{OrderState, ReviewCause, Verdict},
    record::{Announced, OrderRecord, Progress},
    record_tests::time,
    schedule::{AttemptSchedule, CheckSchedule, Due, InquiryRank},
};
use std::time::Duration;

fn opened_in(state: OrderState) -> OrderRecord {
    let kind = if state == OrderState::Refunding { CommandKind::Refund } else { CommandKind::Payment };
    OrderRecord { state, ..order(kind) }
}

#[test]
fn after_going_back_whatever_is_open_or_ended_lately_is_asked_about() {
    use OrderState::{Abandoned, AwaitingPayment, Expired, Failed, Refunding, Submitting};
    let (lately, long_after) = (seconds(259_200), seconds(259_201));
    for state in OrderState::ALL {
        let open = [Submitting, AwaitingPayment, Refunding].contains(&state);
        let ended = [Failed, Expired, Abandoned].contains(&state);
        for (now, is_lately) in [(lately, true), (long_after, false)] {
            let change = opened_in(state).after_going_back(&schedule(), now);
            assert_eq!(change.is_some(), open || (ended && is_lately), "{state:?} {is_lately}");
            let Some(change) = change else { continue };
            let due = Due::inquiry(now, InquiryRank::Restored);
            assert_eq!(change.due, DueChange::Replace(Some(due)), "nothing is sent before");
            assert_eq!((change.order.state, change.events.len()), (state, 0));
            if let Some(command) = change.order.open_command() {
                assert_eq!(command.maybe_acted_at, Some(now), "{state:?}");
                assert_eq!(command.ask_first, state == Refunding, "{state:?}");
            }
        }
    }
}

/// A refund of an order from before the database went back in time.
fn unsent_refund() -> OrderRecord {
    let mut order = order(CommandKind::Refund);
    order.refund = order.refund.map(|refund| Progress { ask_first: true, ..refund });
    order
}

fn asked(order: OrderRecord, finding: InquiryFindingKind, started: i64) -> Change {
    let learned = InquiryFinding { kind: finding, http_status: Some(200), retry_after: None };
    after_inquiry(order, &learned, time(started), &schedule()).change
}

fn says(word: &str) -> InquiryFindingKind {
    let amount = ReportedAmount::Whole(Rupiah::new(50_000).unwrap());
    let (status, word) = (ReportedStatus::read(word), word.to_owned());
    InquiryFindingKind::Reported(Report { status, word, amount, request: None })
}

#[test]
fn an_unsent_refund_of_an_order_that_doku_has_refunded_is_rejected() {
    let change = asked(unsent_refund(), says("REFUNDED"), 10);
    assert_eq!(change.refused, Some(RefundRefusal::AlreadyRefunded));
    assert_eq!((change.order.state, change.order.refund), (OrderState::Refunded, None));
    assert_eq!(change.settled, Some((CommandKind::Refund, Outcome::Rejected)));
    let told: Vec<_> = change.events.iter().map(|e| (e.event_type, e.previous_state, &e.command)).collect();
    assert_eq!(told, [(EventType::OrderRefunded, OrderState::Paid, &None)]);
    // Once it may have been sent, Refunded may be its own.
    let mut doubted = unsent_refund();
    doubted.refund = doubted.refund.map(|refund| Progress { maybe_acted_at: Some(seconds(5)), ..refund });
    let change = asked(doubted, says("REFUNDED"), 10);
    assert_eq!((change.refused, change.order.state), (None, OrderState::Refunded));
    assert_eq!(change.events[0].event_type, EventType::RefundAccepted);
}

#[test]
fn an_unsent_refund_waits_until_doku_says_that_its_order_is_paid() {
    let failed = InquiryFindingKind::Failed { why: "HTTP 500".to_owned() };
    for finding in [failed, InquiryFindingKind::NotFound { proves: true }, says("PENDING"), says("FAILED")] {
        let change = asked(unsent_refund(), finding.clone(), 10);
        assert_eq!(change.order.state, OrderState::Refunding, "{finding:?}");
        let DueChange::Replace(Some(due)) = &change.due else { panic!("{finding:?}: {:?}", change.due) };
        assert_eq!(due.send, None, "{finding:?}");
    }
    let change = asked(unsent_refund(), says("SUCCESS"), 10);
    let DueChange::Replace(Some(due)) = &change.due else { panic!("{:?}", change.due) };
    assert!(due.sends_at(seconds(11)), "{due:?}");
    assert_eq!(change.order.state, OrderState::Refunding);
}

/// What an inquiry of this rank changes.
fn inquired(order: OrderRecord, rank: InquiryRank, finding: InquiryFindingKind, started: i64) -> Change {
    let learned = InquiryFinding { kind: finding, http_status: Some(200), retry_after: None };
    let time = AttemptTime { inquiry: Some(rank), ..time(started) };
    after_inquiry(order, &learned, time, &schedule()).change
}

fn failed(order: OrderRecord, rank: InquiryRank, started: i64) -> Change {
    inquired(order, rank, InquiryFindingKind::Failed { why: "HTTP 500".to_owned() }, started)
}

fn asked_again(at: i64, rank: InquiryRank) -> DueChange {
    DueChange::Replace(Some(Due::inquiry(seconds(at), rank)))
}

#[test]
fn what_a_restore_asks_about_is_asked_until_doku_answers_or_it_is_given_up() {
    use InquiryRank::{Afterwards, Restored};
    for (state, checks_made) in
        [(OrderState::Expired, 1), (OrderState::Abandoned, 0), (OrderState::Failed, 0)]
    {
        let mut order = OrderRecord { checks_made, ..opened_in(state) };
        for (started, wait) in [(100_000, 60), (100_100, 120), (100_300, 240), (100_900, 480), (259_198, 960)]
        {
            let change = failed(order, Restored, started);
            assert_eq!(change.due, asked_again(started + 1 + wait, Restored), "{state:?} {started}");
            assert_eq!(change.order.checks_made, checks_made, "it uses up no inquiry afterwards");
            order = change.order;
        }
        let last = failed(order.clone(), Restored, 259_199);
        let next = (checks_made == 0).then(|| Due::inquiry(seconds(3600), Afterwards));
        assert_eq!(last.due, DueChange::Replace(next), "{state:?}");

        let answered = inquired(order, Restored, says("EXPIRED"), 259_000);
        assert_eq!(answered.due, DueChange::Replace(next), "{state:?}");
        assert_eq!((answered.order.checks_made, answered.order.payment.failed_inquiries), (checks_made, 0));
    }
    // Asked about at the very end, it is asked about a few times all the same.
    let mut order = OrderRecord { checks_made: 1, ..opened_in(OrderState::Expired) };
    for wait in [60, 120] {
        let change = failed(order, Restored, 300_000);
        assert_eq!(change.due, asked_again(300_001 + wait, Restored));
        order = change.order;
    }
    assert_eq!(failed(order, Restored, 300_000).due, DueChange::Replace(None));
}

/// A report without an account may have made it due, and no schedule would bring another.
#[test]
fn the_last_inquiry_of_an_order_that_ended_is_made_again_where_it_fails() {
    use InquiryRank::Afterwards;
    for state in [OrderState::Paid, OrderState::Refunded, OrderState::Expired] {
        let mut order = OrderRecord { checks_made: 1, ..opened_in(state) };
        for wait in [60, 120] {
            let change = failed(order, Afterwards, 5000);
            assert_eq!(change.due, asked_again(5001 + wait, Afterwards), "{state:?}");
            order = change.order;
        }
        assert_eq!(failed(order.clone(), Afterwards, 5000).due, DueChange::Replace(None), "{state:?}");
        // In a row: an answer begins a new one.
        let answered = inquired(order, Afterwards, says("PENDING"), 5000);
        assert_eq!(answered.due, DueChange::Replace(None), "{state:?}");
        assert_eq!(failed(answered.order, Afterwards, 5000).due, asked_again(5061, Afterwards), "{state:?}");
    }
    // While another is to come, it waits for that one.
    let check = CheckSchedule {
        afterwards: vec![Duration::from_secs(60), Duration::from_secs(7200)],
        ..schedule().check
    };
    let two = AttemptSchedule { check, ..schedule() };
    let order = OrderRecord { checks_made: 1, ..opened_in(OrderState::Expired) };
    let next = two.after_failed(&order, Some(Afterwards), seconds(100));
    assert_eq!(next, Some(Due::inquiry(seconds(7200), Afterwards)));
}

/// A report without an account made it due before its time.
#[test]
fn an_inquiry_that_was_asked_for_takes_the_place_of_none_that_is_planned() {
    use InquiryRank::Afterwards;
    for state in [OrderState::Failed, OrderState::Expired, OrderState::Review(ReviewCause::OtherRequest)] {
        let early = inquired(opened_in(state), Afterwards, says("PENDING"), 3599);
        assert_eq!(early.due, asked_again(3600, Afterwards), "{state:?}");
        let early = failed(early.order, Afterwards, 3599);
        assert_eq!((&early.due, early.order.checks_made), (&asked_again(3600, Afterwards), 0), "{state:?}");
        let planned = inquired(early.order, Afterwards, says("PENDING"), 3600);
        assert_eq!((planned.due, planned.order.checks_made), (DueChange::Replace(None), 1), "{state:?}");
    }
}

fn reports(word: &str, amount: u64) -> Report {
    let amount = ReportedAmount::Whole(Rupiah::new(amount).unwrap());
    Report { status: ReportedStatus::read(word), word: word.to_owned(), amount, request: None }
}

#[test]
fn an_order_that_ended_unpaid_before_its_review_is_paid_late() {
    use OrderState::{Abandoned, AwaitingPayment, Expired, Failed};
    let abandoned = Progress { outcome: Some(Outcome::Abandoned), ..progress(CommandKind::Payment, "p") };
    let given_up = OrderRecord { payment: abandoned, ..opened_in(Abandoned) };
    for (before, word, late) in [
        (opened_in(AwaitingPayment), "EXPIRED", true),
        (opened_in(AwaitingPayment), "FAILED", true),
        (given_up, "PENDING", true),
        (opened_in(AwaitingPayment), "PENDING", false),
    ] {
        let state = before.state;
        let ended = before.apply_report(&reports(word, 50_000), &schedule(), seconds(10)).order;
        let review = ended.apply_report(&reports("SUCCESS", 60_000), &schedule(), seconds(20)).order;
        assert_eq!(review.state, OrderState::Review(ReviewCause::AmountMismatch));
        for (verdict, told) in
            [(Verdict::Paid, EventType::OrderPaid), (Verdict::Refunded, EventType::OrderRefunded)]
        {
            let change = review.clone().after_verdict(verdict, &schedule(), seconds(30));
            let events: Vec<_> = change.events.iter().map(|e| (e.event_type, e.late)).collect();
            assert_eq!(events, [(told, late)], "{state:?} {word}");
        }
    }
    // Once it was announced as paid, no later word of it is late.
    let announced = Announced { paid: true, failed: true, ..Announced::default() };
    let paid = OrderRecord { announced, ..opened_in(OrderState::Paid) };
    let refunded = paid.apply_report(&reports("REFUNDED", 50_000), &schedule(), seconds(10));
    assert!(!refunded.events[0].late && !matches!(refunded.order.state, Failed | Expired));
}

/// `order.resolved` is about the order: its command is the payment's, as its trace is.
#[test]
fn an_order_that_is_refunded_again_by_a_decision_names_its_payment() {
    let refunded = asked(order(CommandKind::Refund), says("REFUNDED"), 10).order;
    let review = refunded.apply_report(&reports("REFUNDED", 60_000), &schedule(), seconds(20)).order;
    let change = review.after_verdict(Verdict::Refunded, &schedule(), seconds(30));
    let [event] = change.events.as_slice() else { panic!("{:?}", change.events) };
    assert_eq!(event.event_type, EventType::OrderResolved);
    assert_eq!(event.command.as_ref(), Some(&change.order.payment.command));
}

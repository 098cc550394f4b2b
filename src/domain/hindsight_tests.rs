//! The database went back in time: what is asked about, and refunds that must not be sent again.

use super::{
    attempt_tests::{order, schedule, seconds},
    change::{Change, DueChange},
    command::{CommandKind, Outcome, RefundRefusal},
    event::EventType,
    finding::*,
    money::{ReportedAmount, Rupiah},
    order::OrderState,
    record::{OrderRecord, Progress},
    record_tests::time,
    schedule::{Due, InquiryRank},
};

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
    order.after_inquiry(&learned, time(started), &schedule()).0
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

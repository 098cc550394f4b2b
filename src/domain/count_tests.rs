//! What an attempt leaves behind on its command besides its outcome: how many sends there were, when the
//! last one was, whether an inquiry was answered since.

use super::{
    attempt::{AttemptOf, AttemptTime, Attempted, after_inquiry, after_lost, after_send},
    attempt_tests::{lost, order, progress, schedule, seconds},
    change::{Change, DueChange},
    command::CommandKind,
    finding::*,
    money::ReportedAmount,
    order::{OrderState, ReviewCause},
    record::{OrderRecord, Progress},
    schedule::{Due, InquiryRank},
};

fn time(started: i64, claim_held: bool) -> AttemptTime {
    let (started_at, now) = (seconds(started), seconds(started + 1));
    AttemptTime {
        started_at,
        now,
        claim_held,
        send_at: Some(seconds(started + 7)),
        inquiry: None,
        chance: 0.5,
    }
}

/// A payment that was sent once, at 100 s, and inquired since.
fn inquired() -> OrderRecord {
    let order = order(CommandKind::Payment);
    let payment = Progress {
        sends: 1,
        last_send_at: Some(seconds(100)),
        inquired_at: Some(seconds(150)),
        failed_inquiries: 1,
        ..progress(CommandKind::Payment, "p")
    };
    OrderRecord { payment, ..order }
}

fn inquire(order: OrderRecord, started: i64, finding: InquiryFindingKind) -> Change {
    let learned = InquiryFinding { kind: finding, http_status: Some(200), retry_after: None };
    after_inquiry(order, &learned, time(started, true), &schedule()).change
}

fn pending() -> InquiryFindingKind {
    InquiryFindingKind::Reported(Report {
        status: ReportedStatus::NotFinal,
        word: "PENDING".to_owned(),
        amount: ReportedAmount::read("50000"),
        request: None,
    })
}

#[test]
fn a_send_counts_for_whoever_holds_the_claim_and_its_time_for_anybody() {
    for (started, claim_held, sends, last_send_at) in
        [(200, true, 2, 200), (200, false, 1, 200), (50, true, 2, 100)]
    {
        let not_acted = SendFindingKind::NotActed { why: "refused".to_owned() };
        let learned =
            SendFinding { kind: not_acted, http_status: None, retry_after: None, health: DokuHealth::Well };
        let Attempted { change, made } =
            after_send(inquired(), AttemptOf::Payment, &learned, time(started, claim_held), &schedule());
        let payment = change.order.payment;
        assert_eq!((payment.sends, payment.last_send_at), (sends, Some(seconds(last_send_at))), "{started}");
        assert_eq!(payment.inquired_at, Some(seconds(150)), "a send asks nothing");
        assert_eq!(change.due != DueChange::Keep, claim_held, "{started}");
        assert_eq!(made.detail.as_deref(), Some("refused"));
    }
}

#[test]
fn an_order_that_is_refused_on_the_way_waits_longer_than_usual() {
    let after = |health| {
        let finding = SendFindingKind::NotActed { why: "HTTP 403".to_owned() };
        let learned = SendFinding { kind: finding, http_status: Some(403), retry_after: None, health };
        let change =
            after_send(inquired(), AttemptOf::Payment, &learned, time(200, true), &schedule()).change;
        let DueChange::Replace(Some(Due { send: Some(send), .. })) = change.due else { panic!("no send") };
        (send.at - seconds(201)).num_seconds()
    };
    assert_eq!([DokuHealth::Unwell, DokuHealth::OrderRefused].map(after), [1, 32]);
}

#[test]
fn a_lost_send_counts_and_may_have_acted_as_late_as_its_lease() {
    for (lease_end, last) in [(200, 200), (50, 100)] {
        let (lost, _) = after_lost(inquired(), &lost(AttemptKind::Send, lease_end - 45, lease_end));
        let payment = lost.payment;
        assert_eq!((payment.sends, payment.last_send_at), (2, Some(seconds(last))));
        let since = Some(seconds(lease_end));
        assert_eq!((payment.maybe_acted_at, payment.doubt_since()), (since, since));
    }
}

#[test]
fn an_inquiry_answered_or_not_lets_the_next_send_go_when_it_was_to_go() {
    let doubted = Progress { maybe_acted_at: Some(seconds(100)), ..inquired().payment };
    let before = OrderRecord { payment: doubted, ..inquired() };
    for (finding, failed_inquiries) in [
        (InquiryFindingKind::NotFound { proves: false }, 0),
        (InquiryFindingKind::Failed { why: String::new() }, 1),
    ] {
        let change = inquire(before.clone(), 200, finding);
        let payment = &change.order.payment;
        assert_eq!(payment.inquired_at, Some(seconds(200)));
        assert_eq!(payment.failed_inquiries, failed_inquiries, "in a row, and only after the end");
        assert_eq!(change.due, DueChange::Replace(Some(schedule().open(payment, 1, seconds(207)))));
        let DueChange::Replace(Some(due)) = change.due else { panic!("nothing is due") };
        assert!(due.sends_at(seconds(207)) && !due.asks_first(seconds(207)));
    }
}

#[test]
fn an_order_that_waits_is_asked_about_again_and_goes_to_review_when_three_last_questions_fail() {
    let mut order = OrderRecord { state: OrderState::AwaitingPayment, checks_made: 1, ..inquired() };
    let change = inquire(order.clone(), 200, pending());
    assert_eq!(change.order.checks_made, 2);
    assert_eq!(change.due, DueChange::Replace(Some(Due::inquiry(seconds(201 + 240), InquiryRank::Waiting))));
    let fail =
        |order, started| inquire(order, started, InquiryFindingKind::Failed { why: String::new() }).order;
    let early = fail(order.clone(), 200);
    assert_eq!((early.payment.failed_inquiries, early.checks_made), (0, 2), "asking on is of use");
    order.payment.failed_inquiries = 0;
    for failed in 1..=2 {
        order = fail(order, 300_000);
        assert_eq!((order.state, order.payment.failed_inquiries), (OrderState::AwaitingPayment, failed));
    }
    assert_eq!(fail(order, 300_000).state, OrderState::Review(ReviewCause::CheckGaveUp));
}

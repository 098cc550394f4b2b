//! What an order waits for, by tables: the times are seconds after the claim.

use super::{
    attempt::{AttemptOf, after_lost, after_send},
    attempt_tests::{lost, order, progress, schedule, seconds},
    command::CommandKind,
    finding::{AttemptKind, DokuHealth, ReportedStatus, SendFinding, SendFindingKind},
    order::{OrderState, ReviewCause, Verdict},
    reconcile::Evidence,
    record::{OrderRecord, Progress},
    record_tests::time,
    schedule::{AttemptSchedule, CheckSchedule, Due, InquiryRank, LostAttempt, SendRank},
};
use std::time::Duration;

/// The sends of an open payment end at 900 s; doubt is asked about 60 s after it began.
fn open(sent: Option<i64>, doubted: Option<i64>, inquired: Option<i64>) -> OrderRecord {
    let mut order = order(CommandKind::Payment);
    let (last_send_at, doubted_at, inquired_at) =
        (sent.map(seconds), doubted.map(seconds), inquired.map(seconds));
    let maybe_acted_at = last_send_at.filter(|_| doubted.is_some());
    let sends = u32::from(sent.is_some());
    order.payment =
        Progress { sends, last_send_at, maybe_acted_at, doubted_at, inquired_at, ..order.payment };
    order
}

#[test]
fn sends_and_inquiries_of_an_open_command_have_times_of_their_own() {
    use InquiryRank::{Conclusion, Doubt};
    type Row<'a> = (&'a str, OrderRecord, u32, i64, Option<i64>, (i64, InquiryRank));
    let table: &[Row<'_>] = &[
        ("fresh", open(None, None, None), 0, 1, Some(1), (960, Conclusion)),
        ("without doubt", open(Some(100), None, None), 0, 300, Some(300), (960, Conclusion)),
        ("in doubt, the send soon", open(Some(100), Some(100), None), 0, 109, Some(109), (160, Doubt)),
        (
            "a later send that did not act puts it not off",
            open(Some(150), Some(100), None),
            0,
            159,
            Some(159),
            (160, Doubt),
        ),
        ("the send late", open(Some(100), Some(100), None), 0, 300, Some(300), (160, Doubt)),
        (
            "asked only before the doubt",
            open(Some(100), Some(100), Some(90)),
            6,
            300,
            Some(300),
            (160, Doubt),
        ),
        ("asked once", open(Some(100), Some(100), Some(160)), 1, 300, Some(300), (280, Doubt)),
        ("asked twice", open(Some(100), Some(100), Some(280)), 2, 300, Some(300), (520, Doubt)),
        ("asked, and sent since", open(Some(200), Some(100), Some(160)), 1, 220, Some(220), (220, Doubt)),
        ("the same, the send later", open(Some(200), Some(100), Some(160)), 1, 300, Some(300), (280, Doubt)),
        ("at the end", open(Some(880), Some(100), Some(700)), 3, 890, Some(890), (890, Doubt)),
        ("asked, at the end", open(Some(600), Some(100), Some(880)), 3, 890, Some(890), (900, Doubt)),
        ("a send too late", open(Some(890), None, None), 0, 950, None, (960, Conclusion)),
        ("the same in doubt", open(Some(890), Some(890), None), 0, 900, None, (900, Doubt)),
    ];
    for (name, order, inquiries, send_at, send, (inquiry, rank)) in table {
        let due = schedule().open(&order.payment, *inquiries, seconds(*send_at));
        assert_eq!(due.send.map(|send| send.at), send.map(seconds), "{name}");
        assert_eq!((due.inquiry.at, due.inquiry.rank), (seconds(*inquiry), *rank), "{name}");
    }
}

/// The first inquiry about a doubt is followed by the second as soon as where nobody had asked before it.
#[test]
fn intervals_of_inquiries_begin_anew_where_doubt_begins() {
    let finding = SendFinding {
        kind: SendFindingKind::InDoubt { why: "timeout".to_owned() },
        http_status: None,
        retry_after: None,
        health: DokuHealth::Well,
    };
    let sent = |order: OrderRecord, kind| {
        let of = if kind == CommandKind::Refund { AttemptOf::Refund } else { AttemptOf::Payment };
        after_send(order, of, &finding, time(100), &schedule()).change.order
    };
    let was_lost = |order: OrderRecord| after_lost(order, &lost(AttemptKind::Send, 100, 145)).0;
    for kind in [CommandKind::Payment, CommandKind::Refund] {
        let asked = |order: OrderRecord| OrderRecord { checks_made: 6, ..order };
        for doubted in [sent(asked(order(kind)), kind), was_lost(asked(order(kind)))] {
            assert_eq!(doubted.checks_made, 0, "{kind:?}");
            assert_eq!(sent(asked(doubted.clone()), kind).checks_made, 6, "the same doubt");
            assert_eq!(was_lost(asked(doubted)).checks_made, 6, "the same doubt");
        }
    }
    // An earlier command's late answer is not about the one that is open.
    let refunding = OrderRecord { checks_made: 6, ..order(CommandKind::Refund) };
    assert_eq!(sent(refunding, CommandKind::Payment).checks_made, 6);
}

#[test]
fn a_send_goes_behind_an_inquiry_only_in_doubt_and_never_after_its_end() {
    let due = schedule().open(&open(Some(100), Some(100), None).payment, 0, seconds(150));
    for (now, sends, asks_first) in
        [(149, false, false), (150, true, false), (160, true, true), (899, true, true), (900, false, true)]
    {
        assert_eq!((due.sends_at(seconds(now)), due.asks_first(seconds(now))), (sends, asks_first), "{now}");
    }
    let due = schedule().open(&open(Some(100), None, None).payment, 0, seconds(150));
    assert!(!due.asks_first(seconds(1000)), "without doubt nobody is asked before a send");
}

#[test]
fn what_is_sent_is_ranked_by_what_it_is() {
    let rank = |kind, sends| {
        let command = Progress { sends, ..progress(kind, "x") };
        schedule().open(&command, 0, seconds(1)).send.unwrap().rank
    };
    assert_eq!(rank(CommandKind::Payment, 0), SendRank::First);
    assert_eq!(rank(CommandKind::Payment, 1), SendRank::Again);
    assert_eq!([0, 1].map(|sends| rank(CommandKind::Refund, sends)), [SendRank::Refund; 2]);
}

#[test]
fn an_attempt_that_was_lost_is_made_again_when_its_time_has_come() {
    let due = schedule().open(&open(Some(100), Some(100), None).payment, 0, seconds(300));
    let after = |order: OrderRecord, kind, started, ended, now| {
        let attempt = LostAttempt { now: seconds(now), ..lost(kind, started, ended) };
        let (order, _) = after_lost(order, &attempt);
        schedule().after_lost(&order, &attempt, &due, 0.5)
    };
    let fresh = after(open(None, None, None), AttemptKind::Send, 0, 45, 50);
    assert_eq!(fresh.send.map(|send| send.at), Some(seconds(50)), "a send goes again at once");
    assert_eq!(fresh.inquiry.at, seconds(105), "doubt began when its lease ran out");
    let late = after(open(None, None, None), AttemptKind::Send, 0, 45, 5000);
    assert_eq!((late.send, late.inquiry.at), (None, seconds(105)), "the sends have ended meanwhile");
    let asked = after(open(Some(100), Some(100), None), AttemptKind::Inquiry, 160, 205, 210);
    assert_eq!(asked.send.map(|send| send.at), Some(seconds(300)), "its send goes when it was to go");
    let ended = after(open(Some(100), Some(100), None), AttemptKind::Inquiry, 910, 915, 915);
    assert_eq!((ended.send, ended.inquiry.at), (None, seconds(940)), "half of the first wait apart");
    let waiting = OrderRecord { state: OrderState::AwaitingPayment, ..open(Some(100), None, None) };
    let due = after(waiting, AttemptKind::Inquiry, 160, 205, 210);
    assert_eq!(due.inquiry.at, seconds(210));
}

#[test]
fn inquiries_that_fail_after_the_end_are_made_again_at_a_distance() {
    let command = Progress { failed_inquiries: 1, ..open(Some(100), None, None).payment };
    for (asked, now, retry_after, expected) in
        [(960, 961, None, 990), (960, 1000, None, 1000), (960, 961, Some(300), 1261)]
    {
        let retry_after = retry_after.map(Duration::from_secs);
        let due = schedule().ask_again(&command, seconds(asked), seconds(now), retry_after, 0.5);
        let half = if now == 1000 { Duration::from_millis(500) } else { Duration::ZERO };
        assert_eq!(due.inquiry.at, seconds(expected) + half, "{asked} {now}");
        assert_eq!(due.send, None);
    }
}

#[test]
fn waits_between_sends_grow_with_them_and_dokus_wish_is_heard() {
    let half = Duration::from_millis(500);
    for (sends, retry_after, expected) in
        [(1, None, seconds(10) + half), (3, None, seconds(12)), (1, Some(60), seconds(70))]
    {
        let retry_after = retry_after.map(Duration::from_secs);
        assert_eq!(schedule().next_send(sends, seconds(10), retry_after, 0.5), expected);
    }
}

#[test]
fn an_order_that_waits_for_its_customer_is_asked_about_after_its_last_send_and_never_in_the_past() {
    let waiting = OrderRecord { state: OrderState::AwaitingPayment, ..open(Some(100), None, None) };
    for (now, expected) in [(101, 160), (500, 500)] {
        let due = schedule().on_entry(&waiting, seconds(now), Evidence::AnswerTaken);
        assert_eq!(due, Some(Due::inquiry(seconds(expected), InquiryRank::Waiting)), "{now}");
    }
}

#[test]
fn what_dokus_status_words_or_a_spent_budget_ended_is_looked_at_afterwards() {
    use Evidence::{AnswerDeclined, AnswerFailed, EndedInDoubt, EndedWithoutAct, Operator, Reported};
    use ReviewCause::{AmountMismatch, CheckGaveUp, OtherRequest, PaymentUnresolved, RefundUnresolved};
    let due = |state, checks_made, evidence| {
        let order = OrderRecord { state, checks_made, state_since: seconds(50), ..open(None, None, None) };
        schedule().on_entry(&order, seconds(50), evidence)
    };
    let afterwards = Some(Due::inquiry(seconds(3650), InquiryRank::Afterwards));
    for (state, evidence, expected) in [
        (OrderState::Failed, AnswerFailed, &afterwards),
        (OrderState::Failed, Reported(ReportedStatus::Failed), &afterwards),
        (OrderState::Expired, Reported(ReportedStatus::Expired), &afterwards),
        (OrderState::Review(PaymentUnresolved), EndedInDoubt, &afterwards),
        (OrderState::Review(RefundUnresolved), EndedInDoubt, &afterwards),
        (OrderState::Review(OtherRequest), Evidence::OtherRequestPaid, &afterwards),
        (OrderState::Failed, AnswerDeclined, &None),
        (OrderState::Failed, Operator(Verdict::Failed), &None),
        (OrderState::Abandoned, EndedWithoutAct, &None),
        (OrderState::Paid, Reported(ReportedStatus::Success), &None),
        (OrderState::Review(AmountMismatch), Evidence::OtherAmount, &None),
        (OrderState::Review(CheckGaveUp), Evidence::CheckGaveUp, &None),
    ] {
        assert_eq!(due(state, 0, evidence), *expected, "{state:?} {evidence:?}");
    }
    assert_eq!(due(OrderState::Failed, 1, AnswerFailed), None, "the schedule has one step");
}

#[test]
fn inquiries_of_a_waiting_order_double_up_to_the_longest() {
    let waiting = |checks_made| OrderRecord {
        state: OrderState::AwaitingPayment,
        checks_made,
        ..open(Some(100), None, None)
    };
    for (checks_made, wait) in
        [(0, 60), (1, 120), (2, 240), (5, 1920), (6, 3600), (31, 3600), (u32::MAX, 3600)]
    {
        let due = schedule().next_inquiry(&waiting(checks_made), seconds(1000));
        assert_eq!(due, Some(Due::inquiry(seconds(1000 + wait), InquiryRank::Waiting)), "{checks_made}");
    }
    let at_once = AttemptSchedule {
        check: CheckSchedule { first_after: Duration::ZERO, ..schedule().check },
        ..schedule()
    };
    let due = at_once.next_inquiry(&waiting(0), seconds(0)).unwrap();
    assert!(due.inquiry.at > seconds(0), "asking again at once, for ever, is no schedule");
}

#[test]
fn inquiries_of_an_order_that_ended_keep_to_their_own_schedule() {
    let ended = |checks_made| {
        let order = OrderRecord { state: OrderState::Expired, checks_made, ..open(None, None, None) };
        schedule().next_inquiry(&order, seconds(20))
    };
    assert_eq!(ended(0), Some(Due::inquiry(seconds(3600), InquiryRank::Afterwards)));
    assert_eq!(ended(1), None);
}

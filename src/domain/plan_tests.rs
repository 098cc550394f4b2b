//! What an order waits for, by tables: the times are seconds after the claim.

use super::{
    attempt_tests::{order, plan, seconds},
    command::CommandKind,
    learned::ReportedStatus,
    order::{OrderState, ReviewCause, Verdict},
    plan::{CheckPlan, Due, Next, Plan},
    reconcile::Evidence,
    record::{OrderRecord, Progress},
};
use std::time::Duration;

/// The sends of an open payment end at 900 s; an inquiry comes before a send that is 60 s late.
fn open(sent: Option<i64>, doubted: bool, inquired: bool) -> OrderRecord {
    let mut order = order(CommandKind::Payment);
    let last_send_at = sent.map(seconds);
    let maybe_acted_at = last_send_at.filter(|_| doubted);
    order.payment = Progress { last_send_at, maybe_acted_at, inquired, ..order.payment };
    order
}

#[test]
fn what_is_due_is_judged_again_when_its_time_has_come() {
    for (name, order, now, expected) in [
        ("fresh", open(None, false, false), 1, Next::Send),
        ("without doubt, however late", open(Some(100), false, false), 899, Next::Send),
        ("in doubt, and soon", open(Some(100), true, false), 159, Next::Send),
        ("in doubt, and late", open(Some(100), true, false), 160, Next::Inquire),
        ("in doubt, and inquired already", open(Some(100), true, true), 160, Next::Send),
        ("at the end without doubt", open(Some(100), false, false), 900, Next::Abandon),
        ("at the end in doubt", open(Some(100), true, true), 900, Next::Inquire),
        (
            "without an open command",
            OrderRecord { state: OrderState::AwaitingPayment, ..open(None, false, false) },
            1,
            Next::Inquire,
        ),
    ] {
        assert_eq!(plan().next(&order, seconds(now)), expected, "{name}");
    }
}

#[test]
fn an_open_command_is_attempted_again_after_its_wait_and_asked_about_where_a_send_would_be_late() {
    let half = Duration::from_millis(500);
    let end = seconds(900);
    let send = |at| Due::send(at, end);
    for (name, order, now, retry_after, expected) in [
        ("without doubt", open(Some(200), false, false), 200, None, send(seconds(200) + half)),
        ("in doubt, and soon", open(Some(199), true, false), 200, None, send(seconds(200) + half)),
        ("in doubt, and late", open(Some(140), true, false), 200, None, Due::inquiry(seconds(200) + half)),
        ("late without doubt", open(Some(140), false, false), 200, None, send(seconds(200) + half)),
        ("told to wait", open(Some(200), false, false), 200, Some(5), send(seconds(205))),
        ("told to wait beyond the end", open(Some(890), false, false), 890, Some(60), send(end)),
        ("the same in doubt", open(Some(890), true, true), 890, Some(60), Due::inquiry(end)),
        ("after the end", open(Some(890), false, false), 901, None, send(seconds(901))),
        ("after the end in doubt", open(Some(890), true, true), 900, None, Due::inquiry(end + half)),
    ] {
        let command = Progress { sends: 1, ..order.payment };
        let retry_after = retry_after.map(Duration::from_secs);
        let due = plan().next_attempt(&command, seconds(now), retry_after, 0.5);
        assert_eq!(due, expected, "{name}");
    }
}

#[test]
fn sends_and_failed_inquiries_together_lengthen_the_wait() {
    let command = Progress { sends: 2, failed_inquiries: 1, ..order(CommandKind::Payment).payment };
    let due = plan().next_attempt(&command, seconds(10), None, 0.5);
    assert_eq!(due, Due::send(seconds(12), seconds(900)));
}

#[test]
fn an_order_that_waits_for_its_customer_is_asked_about_after_its_last_send_and_never_in_the_past() {
    let waiting = OrderRecord { state: OrderState::AwaitingPayment, ..open(Some(100), false, false) };
    for (now, expected) in [(101, 160), (500, 500)] {
        let due = plan().on_entry(&waiting, seconds(now), Evidence::AnswerTaken);
        assert_eq!(due, Some(Due::inquiry(seconds(expected))), "{now}");
    }
}

#[test]
fn what_dokus_status_words_or_a_spent_budget_ended_is_looked_at_afterwards() {
    use Evidence::{AnswerDeclined, AnswerFailed, EndedInDoubt, EndedWithoutAct, Operator, Reported};
    use ReviewCause::{AmountMismatch, CheckGaveUp, PaymentUnresolved, RefundUnresolved};
    let due = |state, checks_made, evidence| {
        let order = OrderRecord { state, checks_made, state_since: seconds(50), ..open(None, false, false) };
        plan().on_entry(&order, seconds(50), evidence)
    };
    let afterwards = Some(Due::inquiry(seconds(3650)));
    for (state, evidence, expected) in [
        (OrderState::Failed, AnswerFailed, &afterwards),
        (OrderState::Failed, Reported(ReportedStatus::Failed), &afterwards),
        (OrderState::Expired, Reported(ReportedStatus::Expired), &afterwards),
        (OrderState::Review(PaymentUnresolved), EndedInDoubt, &afterwards),
        (OrderState::Review(RefundUnresolved), EndedInDoubt, &afterwards),
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
        ..open(Some(100), false, false)
    };
    for (checks_made, wait) in
        [(0, 60), (1, 120), (2, 240), (5, 1920), (6, 3600), (31, 3600), (u32::MAX, 3600)]
    {
        let due = plan().next_inquiry(&waiting(checks_made), seconds(1000));
        assert_eq!(due, Some(Due::inquiry(seconds(1000 + wait))), "{checks_made}");
    }
    let at_once = Plan { check: CheckPlan { first_after: Duration::ZERO, ..plan().check }, ..plan() };
    let due = at_once.next_inquiry(&waiting(0), seconds(0)).unwrap();
    assert!(due.at > seconds(0), "asking again at once, for ever, is no schedule");
}

#[test]
fn inquiries_of_an_order_that_ended_keep_to_their_own_schedule() {
    let ended = |checks_made| {
        let order = OrderRecord { state: OrderState::Expired, checks_made, ..open(None, false, false) };
        plan().next_inquiry(&order, seconds(20))
    };
    assert_eq!(ended(0), Some(Due::inquiry(seconds(3600))));
    assert_eq!(ended(1), None);
}

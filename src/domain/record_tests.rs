//! What an order makes of what it is told: refunds that may not start, notifications, answers that
//! contradict the request, attempts that were lost.

use super::{
    attempt::{AttemptOf, AttemptResult, AttemptTime, Attempted, after_inquiry, after_lost, after_send},
    attempt_tests::{lost, order, progress, schedule, seconds},
    change::{Change, DueChange, RequestOf},
    command::{CommandKind, Outcome, RefundRefusal},
    event::EventType,
    finding::*,
    ids::RequestId,
    money::{ReportedAmount, Rupiah},
    notification::{NotApplied, Notification},
    order::{OrderState, ReviewCause},
    record::{Announced, OrderRecord, Origin, Progress},
    schedule::{AttemptSchedule, Due, InquiryRank},
    signed::Form,
};
use AttemptOf::{Payment, Refund};

pub(super) fn time(started: i64) -> AttemptTime {
    let (started_at, now) = (seconds(started), seconds(started + 1));
    AttemptTime {
        started_at,
        now,
        claim_held: true,
        send_at: Some(seconds(started)),
        inquiry: None,
        chance: 0.5,
    }
}

fn sent(of: AttemptOf, order: OrderRecord, finding: SendFindingKind, schedule: &AttemptSchedule) -> Change {
    let learned =
        SendFinding { kind: finding, http_status: Some(200), retry_after: None, health: DokuHealth::Well };
    after_send(order, of, &learned, time(1), schedule).change
}

/// A command whose last send, at 100 s, may have acted; its sends end at 900 s, a payment's grace at 4000 s.
fn doubtful(kind: CommandKind) -> OrderRecord {
    let mut order = order(kind);
    let command = order.open_command_mut().unwrap();
    (command.last_send_at, command.maybe_acted_at) = (Some(seconds(100)), Some(seconds(100)));
    order
}

fn not_found(order: OrderRecord, proves: bool, time: AttemptTime) -> Change {
    let finding = InquiryFindingKind::NotFound { proves };
    let learned = InquiryFinding { kind: finding, http_status: Some(404), retry_after: None };
    after_inquiry(order, &learned, time, &schedule()).change
}

fn in_state(state: OrderState) -> OrderRecord {
    OrderRecord { state, ..order(CommandKind::Payment) }
}

#[test]
fn a_refund_starts_only_from_a_paid_order_and_for_its_amount() {
    use RefundRefusal::{AlreadyRefunded, AmountMismatch, OrderNotPaid, RefundInProgress};
    let (own, other) = (Rupiah::new(50_000).unwrap(), Rupiah::new(49_999).unwrap());
    for state in OrderState::ALL {
        let expected = match state {
            OrderState::Paid => (None, Some(AmountMismatch { paid: own, asked: other })),
            OrderState::Refunding => (Some(RefundInProgress(state)), Some(RefundInProgress(state))),
            OrderState::Refunded => (Some(AlreadyRefunded), Some(AlreadyRefunded)),
            OrderState::Submitting
            | OrderState::AwaitingPayment
            | OrderState::Failed
            | OrderState::Expired
            | OrderState::Abandoned
            | OrderState::Review(_) => (Some(OrderNotPaid(state)), Some(OrderNotPaid(state))),
        };
        let order = in_state(state);
        assert_eq!((order.refuses_refund(own), order.refuses_refund(other)), expected, "{state:?}");
    }
}

#[test]
fn while_nobody_knows_of_a_refund_no_other_starts() {
    for outcome in Outcome::ALL.map(Some).into_iter().chain([None]) {
        let refund = Progress { outcome, ..progress(CommandKind::Refund, "r") };
        let review = OrderState::Review(ReviewCause::RefundUnresolved);
        let order = OrderRecord { refund: Some(refund), ..in_state(review) };
        let unresolved = outcome == Some(Outcome::Unresolved);
        assert_eq!(order.refund_is_unresolved(), unresolved, "{outcome:?}");
        let refusal = if unresolved {
            RefundRefusal::RefundInProgress(review)
        } else {
            RefundRefusal::OrderNotPaid(review)
        };
        assert_eq!(order.refuses_refund(order.amount), Some(refusal), "{outcome:?}");
    }
}

#[test]
fn an_answer_that_contradicts_the_request_is_doubt_once_and_for_a_person_twice() {
    for (of, kind) in [(Payment, CommandKind::Payment), (Refund, CommandKind::Refund)] {
        let contradiction = || SendFindingKind::Contradiction { why: "another amount".to_owned() };
        let before = order(kind);
        let state = before.state;
        let once = sent(of, before, contradiction(), &schedule());
        assert_eq!((once.order.state, once.events.len()), (state, 0), "{kind:?}");
        assert!(once.order.open_command().unwrap().maybe_acted_at.is_some(), "{kind:?}");
        let twice = sent(of, once.order, contradiction(), &schedule());
        assert_eq!(twice.order.state, OrderState::Review(ReviewCause::AmountMismatch), "{kind:?}");
        let error = twice.events.last().unwrap().error.clone().unwrap();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("amount_mismatch", "another amount"));
    }
}

#[test]
fn a_synchronous_success_is_a_payment_only_where_it_is_trusted() {
    for (trust_response, word, expected) in [
        (false, "SUCCESS", OrderState::AwaitingPayment),
        (true, "PENDING", OrderState::AwaitingPayment),
        (true, "SUCCESS", OrderState::Paid),
        (true, "success", OrderState::Paid),
    ] {
        let schedule = AttemptSchedule { trust_response, ..schedule() };
        let finding = SendFindingKind::Accepted { status: word.to_owned() };
        let change = sent(Payment, order(CommandKind::Payment), finding, &schedule);
        assert_eq!(change.order.state, expected, "{trust_response} {word}");
    }
}

#[test]
fn a_lost_inquiry_counts_once_asking_on_is_of_no_use() {
    for (started, counted) in [(899, 0), (900, 1), (901, 1)] {
        let lost = lost(AttemptKind::Inquiry, started, started + 45);
        let (lost, _) = after_lost(order(CommandKind::Payment), &lost);
        assert_eq!((lost.payment.failed_inquiries, lost.payment.sends), (counted, 0), "{started}");
        assert_eq!(lost.payment.maybe_acted_at, None, "an inquiry moves no money");
    }
}

#[test]
fn a_notification_says_why_it_changed_nothing() {
    let tell = |state, told_before, status: Option<&str>, amount: Option<&str>, request: Option<&str>| {
        let notification = Notification {
            form: Form::Jenius,
            request_id: "R-1".to_owned(),
            invoice_number: "INV-1".to_owned(),
            status: status.map(str::to_owned),
            amount: amount.map(str::to_owned),
            request: request.map(str::to_owned),
        };
        let (change, reason) =
            in_state(state).apply_notification(&notification, told_before, &schedule(), seconds(1));
        (change.order.state, reason)
    };
    use OrderState::{AwaitingPayment as Waiting, Paid};
    let mismatch = OrderState::Review(ReviewCause::AmountMismatch);
    let (success, own) = (Some("SUCCESS"), Some("50000"));
    let (none, ours, anothers) = (None, Some("INV-1"), Some("VA-1"));
    let (other, elsewhere) = (Some(NotApplied::OtherRequest), OrderState::Review(ReviewCause::OtherRequest));
    for (state, told_before, status, amount, request, expected) in [
        (Waiting, false, None, own, none, (Waiting, Some(NotApplied::Incomplete))),
        (Waiting, false, success, None, anothers, (Waiting, Some(NotApplied::Incomplete))),
        (Waiting, false, success, own, anothers, (elsewhere, other)),
        (Waiting, true, success, own, anothers, (Waiting, other)),
        (Waiting, false, Some("EXPIRED"), Some("49999"), anothers, (Waiting, other)),
        (Paid, false, success, own, anothers, (Paid, other)),
        (Paid, false, Some("REFUND"), own, anothers, (elsewhere, other)),
        (Paid, true, Some("REFUND"), own, anothers, (Paid, other)),
        (Waiting, false, success, own, ours, (Paid, None)),
        (Waiting, true, success, own, ours, (Waiting, Some(NotApplied::Duplicate))),
        (Waiting, true, success, None, none, (Waiting, Some(NotApplied::Incomplete))),
        (Waiting, true, success, own, none, (Waiting, Some(NotApplied::Duplicate))),
        (Waiting, false, success, Some("49999"), none, (mismatch, Some(NotApplied::AmountMismatch))),
        (Waiting, false, Some("PENDING"), own, none, (Waiting, Some(NotApplied::NoChange))),
        (Paid, false, success, own, none, (Paid, Some(NotApplied::NoChange))),
        (Waiting, false, success, own, none, (Paid, None)),
    ] {
        let told = tell(state, told_before, status, amount, request);
        assert_eq!(told, expected, "{state:?} {status:?} {amount:?} {request:?}");
    }
}

#[test]
fn a_refusal_is_final_only_without_doubt_and_from_whoever_holds_the_claim() {
    let refuse = |order: OrderRecord, claim_held| {
        let finding =
            SendFindingKind::Declined(DokuError { code: "no".to_owned(), message: "no".to_owned() });
        let learned = SendFinding {
            kind: finding,
            http_status: Some(400),
            retry_after: None,
            health: DokuHealth::Well,
        };
        let time = AttemptTime { claim_held, ..time(200) };
        after_send(order, Payment, &learned, time, &schedule()).change.order.state
    };
    assert_eq!(refuse(order(CommandKind::Payment), true), OrderState::Failed);
    assert_eq!(refuse(order(CommandKind::Payment), false), OrderState::Submitting);
    assert_eq!(refuse(doubtful(CommandKind::Payment), true), OrderState::Submitting);
}

#[test]
fn not_found_ends_a_payment_only_signed_and_after_the_grace() {
    let ask = |proves, started| {
        let change = not_found(doubtful(CommandKind::Payment), proves, time(started));
        (change.order.state, change.due, change.order.payment.maybe_acted_at.is_some())
    };
    let inquire = |at| DueChange::Replace(Some(Due::inquiry(seconds(at), InquiryRank::Doubt)));
    let again = |at| {
        let order = doubtful(CommandKind::Payment);
        let asked = Progress { inquired_at: Some(seconds(at)), ..order.payment };
        DueChange::Replace(Some(schedule().open(&asked, 1, seconds(at))))
    };
    let open = OrderState::Submitting;
    for (proves, started, expected) in [
        (true, 899, (open, again(899), true)),
        (true, 900, (open, inquire(4000), true)),
        (true, 3999, (open, inquire(4000), true)),
        (true, 4000, (OrderState::Abandoned, DueChange::Replace(None), false)),
        (false, 3999, (open, inquire(4000), true)),
    ] {
        assert_eq!(ask(proves, started), expected, "{proves} {started}");
    }
}

#[test]
fn an_unsigned_not_found_after_the_grace_is_an_inquiry_that_failed() {
    let mut order = doubtful(CommandKind::Payment);
    for failed in 1..=2 {
        order = not_found(order, false, time(4000)).order;
        assert_eq!((order.state, order.payment.failed_inquiries), (OrderState::Submitting, failed));
    }
    let last = not_found(order, false, time(4000)).order;
    assert_eq!(last.state, OrderState::Review(ReviewCause::PaymentUnresolved));
}

#[test]
fn not_found_says_nothing_about_a_refund_and_a_late_worker_clears_no_doubt() {
    let refund = not_found(doubtful(CommandKind::Refund), true, time(4000));
    assert_eq!(refund.order.state, OrderState::Review(ReviewCause::RefundUnresolved));
    let before = doubtful(CommandKind::Payment);
    let late = not_found(before.clone(), true, AttemptTime { claim_held: false, ..time(4000) });
    assert_eq!((late.order, late.due), (before, DueChange::Keep));
}

#[test]
fn each_event_raises_the_version_and_tells_dokus_word_and_whether_it_is_late() {
    let told = |state, word: &str, status| {
        let before = OrderRecord { version: 3, ..in_state(state) };
        let report =
            Report { status, word: word.to_owned(), amount: ReportedAmount::read("50000"), request: None };
        let change = before.apply_report(&report, &schedule(), seconds(1));
        assert_eq!(change.order.doku_status.as_deref(), Some(word));
        assert!(change.events.iter().all(|event| event.doku_status.as_deref() == Some(word)));
        change.events.iter().map(|e| (e.version, e.event_type, e.late)).collect::<Vec<_>>()
    };
    use EventType::{OrderFailed, OrderPaid, OrderRefunded, PaymentAccepted};
    use ReportedStatus::{Failed, Refunded, Success};
    for (state, word, status, expected) in [
        (
            OrderState::Submitting,
            "SUCCESS",
            Success,
            vec![(4, PaymentAccepted, false), (5, OrderPaid, false)],
        ),
        (OrderState::AwaitingPayment, "SUCCESS", Success, vec![(4, OrderPaid, false)]),
        (OrderState::AwaitingPayment, "FAILED", Failed, vec![(4, OrderFailed, false)]),
        (OrderState::Failed, "SUCCESS", Success, vec![(4, OrderPaid, true)]),
        (OrderState::Expired, "REFUNDED", Refunded, vec![(4, OrderRefunded, true)]),
    ] {
        assert_eq!(told(state, word, status), expected, "{state:?} {word}");
    }
}

#[test]
fn a_report_is_about_the_orders_own_request_or_anothers_or_does_not_say() {
    let earlier = RequestId::parse("refund-1").unwrap();
    let order = OrderRecord { earlier_refunds: vec![earlier], ..order(CommandKind::Refund) };
    let of = |request: Option<&str>, schedule: &AttemptSchedule| {
        let (status, word) = (ReportedStatus::Refunded, "REFUNDED".to_owned());
        let amount = ReportedAmount::read("50000");
        order.request_of(&Report { status, word, amount, request: request.map(str::to_owned) }, schedule)
    };
    for own in ["INV-1", "refund-1"] {
        assert_eq!(of(Some(own), &schedule()), Some(RequestOf::Order), "{own}");
    }
    assert_eq!((of(Some("inv-1"), &schedule()), of(None, &schedule())), (Some(RequestOf::Another), None));
    assert_eq!(
        of(Some("VA-1"), &AttemptSchedule { match_request_id: false, ..schedule() }),
        None,
        "turned off"
    );
}

/// A file took it in: its own Request-Id is known only if the file names it, and no command asked for it.
#[test]
fn an_imported_order_has_no_command_and_maybe_no_request_of_its_own() {
    let imported = |names_request| OrderRecord {
        origin: Origin::Import { names_request },
        announced: Announced { paid: true, ..Announced::default() },
        ..in_state(OrderState::Paid)
    };
    let amount = ReportedAmount::read("50000");
    let (status, word) = (ReportedStatus::Refunded, "REFUNDED".to_owned());
    let report = Report { status, word, amount, request: Some("R-2".to_owned()) };
    assert_eq!(imported(true).request_of(&report, &schedule()), Some(RequestOf::Another));
    assert_eq!(imported(false).request_of(&report, &schedule()), None);
    assert_eq!(
        imported(false).apply_report(&report, &schedule(), seconds(1)).order.state,
        OrderState::Refunded
    );
    let other = Report { amount: ReportedAmount::read("50001"), ..report };
    let change = imported(false).apply_report(&other, &schedule(), seconds(1));
    let told: Vec<_> = change.events.iter().map(|event| (event.version, event.command.clone())).collect();
    assert_eq!(told, [(1, None)]);
    assert!(imported(false).is_paid_by_a_file_alone());
    // An unsent refund may have waited in vain to hear that it is paid; only then one is sent.
    for (sends, asks_first) in [(0, true), (1, false)] {
        let outcome = Some(Outcome::Abandoned);
        let refund = Progress { sends, outcome, ..progress(CommandKind::Refund, "r") };
        let order = OrderRecord { refund: Some(refund), ..imported(false) };
        assert_eq!(order.is_paid_by_a_file_alone(), asks_first, "{sends}");
    }
    assert!(!in_state(OrderState::Paid).is_paid_by_a_file_alone());
}

/// It was paid, then a refund elsewhere brought it into review: no word of DOKU's makes it unpaid.
#[test]
fn an_order_that_was_paid_is_not_failed_from_review() {
    let end = |paid, status| {
        let announced = Announced { paid, ..Announced::default() };
        let state = OrderState::Review(ReviewCause::OtherRequest);
        let order = OrderRecord { announced, ..in_state(state) };
        let (word, amount) = (String::new(), ReportedAmount::read("50000"));
        let report = Report { status, word, amount, request: None };
        order.apply_report(&report, &schedule(), seconds(1)).order.state
    };
    let review = OrderState::Review(ReviewCause::OtherRequest);
    for (status, unpaid) in
        [(ReportedStatus::Failed, OrderState::Failed), (ReportedStatus::Expired, OrderState::Expired)]
    {
        assert_eq!((end(true, status), end(false, status)), (review, unpaid));
    }
    assert_eq!(end(true, ReportedStatus::Success), OrderState::Paid);
    assert_eq!(end(true, ReportedStatus::Refunded), OrderState::Refunded);
}

#[test]
fn an_inquiry_that_tells_of_another_request_counts_as_one_that_failed() {
    let ask = |order: OrderRecord, status, started| {
        let (word, amount) = ("WORD".to_owned(), ReportedAmount::read("50000"));
        let report = Report { status, word, amount, request: Some("VA-1".to_owned()) };
        let learned = InquiryFinding {
            kind: InquiryFindingKind::Reported(report),
            http_status: Some(200),
            retry_after: None,
        };
        after_inquiry(order, &learned, time(started), &schedule())
    };
    for order in [order(CommandKind::Payment), doubtful(CommandKind::Payment), doubtful(CommandKind::Refund)]
    {
        let Attempted { change, made } = ask(order.clone(), ReportedStatus::Failed, 1000);
        assert_eq!((change.order.state, change.events.len()), (order.state, 0));
        assert_eq!(change.order.open_command().unwrap().failed_inquiries, 1);
        assert_eq!((made.class, made.result), (AttemptClass::Failed, AttemptResult::InquiryFailed));
    }
    let Attempted { change, made } = ask(doubtful(CommandKind::Payment), ReportedStatus::Success, 1000);
    assert_eq!(change.order.state, OrderState::Review(ReviewCause::OtherRequest));
    assert_eq!(change.settled, Some((CommandKind::Payment, Outcome::Unresolved)));
    assert_eq!(made.result, AttemptResult::InquiryFailed);
}

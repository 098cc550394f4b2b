//! What attempts lead to, played against a small model of DOKU that knows the truth.

use super::{
    Time,
    attempt::{AttemptOf, AttemptTime, after_inquiry, after_lost, after_send},
    change::{Change, DueChange},
    command::{CommandKind, CommandRef, Outcome},
    event::EventType,
    finding::*,
    ids::{CommandId, CommandSource, Identity, InvoiceNumber, MerchantName, payment_request_id},
    money::{ReportedAmount, Rupiah},
    order::{OrderState, ReviewCause},
    record::{Announced, OrderRecord, Origin, Progress},
    retry::RetryPolicy,
    schedule::{AttemptSchedule, CheckSchedule, Due, InquiryRank, LostAttempt},
};
use chrono::DateTime;
use std::time::Duration;

pub(super) fn seconds(n: i64) -> Time {
    DateTime::from_timestamp(1_700_000_000 + n, 0).unwrap()
}

pub(super) fn schedule() -> AttemptSchedule {
    AttemptSchedule {
        retry: RetryPolicy {
            initial: Duration::from_millis(500),
            multiplier: 2.0,
            jitter: 0.0,
            max_interval: Duration::from_secs(300),
        },
        check: CheckSchedule {
            first_after: Duration::from_secs(60),
            max_interval: Duration::from_secs(3600),
            not_found_grace: Duration::from_secs(3900),
            give_up_after: Duration::from_secs(259_200),
            afterwards: vec![Duration::from_secs(3600)],
        },
        trust_response: false,
        match_request_id: true,
    }
}

pub(super) fn progress(kind: CommandKind, id: &str) -> Progress {
    let identity =
        Identity { source: CommandSource::parse("/shop").unwrap(), id: CommandId::parse(id).unwrap() };
    let request_id = payment_request_id(&InvoiceNumber::parse("INV-1").unwrap());
    Progress {
        kind,
        command: CommandRef { identity, request_id },
        outcome: None,
        claimed_at: seconds(0),
        sends_end_at: seconds(900),
        sends: 0,
        last_send_at: None,
        maybe_acted_at: None,
        doubted_at: None,
        inquired_at: None,
        failed_inquiries: 0,
        contradictions: 0,
        ask_first: false,
    }
}

pub(super) fn order(kind: CommandKind) -> OrderRecord {
    let (state, refund) = match kind {
        CommandKind::Payment => (OrderState::Submitting, None),
        CommandKind::Refund => (OrderState::Refunding, Some(progress(CommandKind::Refund, "r"))),
    };
    OrderRecord {
        merchant: MerchantName::default_account(),
        invoice_number: InvoiceNumber::parse("INV-1").unwrap(),
        amount: Rupiah::new(50_000).unwrap(),
        state,
        state_since: seconds(0),
        version: 0,
        announced: Announced { paid: refund.is_some(), ..Announced::default() },
        doku_status: None,
        evidence: None,
        checks_made: 0,
        origin: Origin::Command,
        payment: progress(CommandKind::Payment, "p"),
        refund,
        earlier_refunds: vec![],
    }
}

pub(super) fn lost(kind: AttemptKind, started: i64, lease_ended: i64) -> LostAttempt {
    let (started_at, lease_ended_at) = (seconds(started), seconds(lease_ended));
    LostAttempt { kind, started_at, lease_ended_at, now: lease_ended_at }
}

/// What happens to one send.
#[derive(Debug, Clone, Copy)]
enum Fate {
    RefusedConnection,
    TimeoutThatActed,
    TimeoutThatDidNot,
    /// An error of DOKU's own. If DOKU had acted before it reads "already refunded", "duplicate".
    ErrorAnswer,
    StatusFailed,
    Accepted,
    /// The process dies after the send; its lease runs out.
    LostAfterActing,
}
const FATES: [Fate; 7] = [
    Fate::RefusedConnection,
    Fate::TimeoutThatActed,
    Fate::TimeoutThatDidNot,
    Fate::ErrorAnswer,
    Fate::StatusFailed,
    Fate::Accepted,
    Fate::LostAfterActing,
];

struct Played {
    order: OrderRecord,
    acted: bool,
    outcomes: Vec<Outcome>,
    due: Due,
    /// Asked after the sends had ended.
    asked_after_end: bool,
    asked: u32,
    now: i64,
}

impl Played {
    fn take(&mut self, change: Change) {
        self.outcomes.extend(change.settled.map(|(_, outcome)| outcome));
        let open = change.order.state.is_open();
        if let DueChange::Replace(due) = &change.due {
            assert!(!open || due.is_some(), "an open order has nothing due: {:?}", change.order.state);
            self.due = due.unwrap_or(self.due);
        }
        self.order = change.order;
    }

    fn time(&self) -> AttemptTime {
        AttemptTime {
            started_at: seconds(self.now),
            now: seconds(self.now + 1),
            claim_held: true,
            send_at: self.due.send.map(|send| send.at),
            inquiry: Some(self.due.inquiry.rank),
            chance: 0.5,
        }
    }

    fn send(&mut self, kind: CommandKind, fate: Fate) {
        let error = DokuError { code: "duplicate".to_owned(), message: "seen before".to_owned() };
        let why = String::new();
        let finding = match fate {
            Fate::RefusedConnection => SendFindingKind::NotActed { why },
            Fate::TimeoutThatDidNot => SendFindingKind::InDoubt { why },
            Fate::ErrorAnswer => SendFindingKind::Declined(error),
            // The same Request-Id gets the same answer: DOKU cannot fail what it did.
            Fate::StatusFailed if self.acted => SendFindingKind::Accepted { status: "SUCCESS".to_owned() },
            Fate::StatusFailed => SendFindingKind::Failed { status: "FAILED".to_owned() },
            Fate::Accepted => {
                self.acted = true;
                SendFindingKind::Accepted { status: "SUCCESS".to_owned() }
            }
            Fate::TimeoutThatActed => {
                self.acted = true;
                SendFindingKind::InDoubt { why }
            }
            Fate::LostAfterActing => {
                self.acted = true;
                self.now += 45;
                let lost = lost(AttemptKind::Send, self.now - 45, self.now);
                let (order, made) = after_lost(self.order.clone(), &lost);
                assert_eq!(made.class, AttemptClass::Lost);
                self.due = schedule().after_lost(&order, &lost, &self.due, 0.5);
                self.order = order;
                return;
            }
        };
        let of = match kind {
            CommandKind::Payment => AttemptOf::Payment,
            CommandKind::Refund => AttemptOf::Refund,
        };
        let learned =
            SendFinding { kind: finding, http_status: None, retry_after: None, health: DokuHealth::Well };
        let change = after_send(self.order.clone(), of, &learned, self.time(), &schedule()).change;
        self.take(change);
    }

    fn inquire(&mut self, kind: CommandKind, answers: bool) {
        self.asked_after_end |= self.now >= 900;
        self.asked += 1;
        let report = |status, word: &str| {
            InquiryFindingKind::Reported(Report {
                status,
                word: word.to_owned(),
                amount: ReportedAmount::read("50000"),
                request: None,
            })
        };
        let finding = match (answers, kind, self.acted) {
            (false, _, _) => InquiryFindingKind::Failed { why: String::new() },
            (true, CommandKind::Payment, true) => report(ReportedStatus::NotFinal, "PENDING"),
            (true, CommandKind::Payment, false) => InquiryFindingKind::NotFound { proves: true },
            (true, CommandKind::Refund, true) => report(ReportedStatus::Refunded, "REFUNDED"),
            (true, CommandKind::Refund, false) => report(ReportedStatus::Success, "SUCCESS"),
        };
        let learned = InquiryFinding { kind: finding, http_status: Some(200), retry_after: None };
        let change = after_inquiry(self.order.clone(), &learned, self.time(), &schedule()).change;
        self.take(change);
    }
}

/// Plays the fates, one send each, then time until the command is settled.
fn play(kind: CommandKind, fates: &[Fate], check_status_answers: bool) -> Played {
    let order = order(kind);
    let due = schedule().open(order.open_command().unwrap(), 0, seconds(0));
    let mut played =
        Played { order, acted: false, outcomes: Vec::new(), due, asked_after_end: false, asked: 0, now: 0 };
    let mut fates = fates.iter();
    for _ in 0..60 {
        if played.order.open_command().is_none() {
            break;
        }
        let now = seconds(played.now);
        if played.due.sends_at(now) && !played.due.asks_first(now) {
            let fate = fates.next().copied().unwrap_or(Fate::RefusedConnection);
            played.send(kind, fate);
        } else if played.due.inquiry.at <= now {
            played.inquire(kind, check_status_answers);
        }
        played.now += if fates.len() > 0 { 1 } else { 1000 };
    }
    played
}

/// Every sequence of fates of a length up to four.
fn sequences() -> Vec<Vec<Fate>> {
    let mut all: Vec<Vec<Fate>> = vec![vec![]];
    let mut longest = all.clone();
    for _ in 0..4 {
        longest = longest
            .iter()
            .flat_map(|s| FATES.map(|fate| s.iter().copied().chain([fate]).collect()))
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}

#[test]
fn whatever_happens_to_its_sends_what_doku_did_is_never_told_as_not_done() {
    for kind in CommandKind::ALL {
        for check_status_answers in [true, false] {
            for fates in sequences() {
                let played = play(kind, &fates, check_status_answers);
                let told = format!("{kind:?} {fates:?} {check_status_answers} {:?}", played.order.state);
                let [outcome] = played.outcomes[..] else { panic!("{told}: {:?}", played.outcomes) };
                let ended = [Outcome::Abandoned, Outcome::Unresolved].contains(&outcome);
                assert!(!ended || played.asked_after_end, "concluded without asking: {told}");
                match outcome {
                    Outcome::Accepted => assert!(played.acted, "{told}"),
                    Outcome::Abandoned | Outcome::Declined => assert!(!played.acted, "{told}"),
                    Outcome::Unresolved => {}
                    Outcome::Rejected => panic!("{told}"),
                }
            }
        }
    }
}

#[test]
fn a_lone_refused_connection_is_abandoned_once_doku_was_asked() {
    for answers in [true, false] {
        let played = play(CommandKind::Payment, &[Fate::RefusedConnection], answers);
        assert_eq!(played.order.state, OrderState::Abandoned);
        let asked = if answers { 1 } else { 3 };
        assert_eq!(played.asked, asked, "one answer is enough, and so are three failures");
    }
}

#[test]
fn failing_inquiries_never_make_a_payment_failed() {
    let played = play(CommandKind::Payment, &[Fate::TimeoutThatActed], false);
    assert_eq!(played.order.state, OrderState::Review(ReviewCause::PaymentUnresolved));
}

#[test]
fn a_late_worker_brings_its_answer_but_clears_no_doubt() {
    let late = AttemptTime {
        started_at: seconds(0),
        now: seconds(60),
        claim_held: false,
        send_at: None,
        inquiry: None,
        chance: 0.5,
    };
    let (lost, _) = after_lost(order(CommandKind::Payment), &lost(AttemptKind::Send, 0, 45));
    let send = |finding| SendFinding {
        kind: finding,
        http_status: None,
        retry_after: None,
        health: DokuHealth::Well,
    };
    let not_acted = send(SendFindingKind::NotActed { why: String::new() });
    let change = after_send(lost.clone(), AttemptOf::Payment, &not_acted, late, &schedule()).change;
    assert_eq!(change.due, DueChange::Keep);
    assert_eq!(change.order.payment.maybe_acted_at, Some(seconds(45)));
    let answer = send(SendFindingKind::Accepted { status: "PENDING".to_owned() });
    let change = after_send(lost, AttemptOf::Payment, &answer, late, &schedule()).change;
    assert_eq!(change.order.state, OrderState::AwaitingPayment);
}

/// A frozen worker brings it when nobody asks any more: its customer may have paid.
#[test]
fn what_was_given_up_and_doku_took_all_the_same_is_asked_about() {
    let (started_at, now) = (seconds(0), seconds(2000));
    let late = AttemptTime { started_at, now, claim_held: false, send_at: None, inquiry: None, chance: 0.5 };
    let answer = SendFinding {
        kind: SendFindingKind::Accepted { status: "SUCCESS".to_owned() },
        http_status: Some(200),
        retry_after: None,
        health: DokuHealth::Well,
    };
    for state in OrderState::ALL {
        let before = OrderRecord { state, ..order(CommandKind::Payment) };
        let change = after_send(before, AttemptOf::Payment, &answer, late, &schedule()).change;
        let is_ended = [OrderState::Abandoned, OrderState::Failed, OrderState::Expired].contains(&state);
        if is_ended {
            assert_eq!((change.order.state, change.events.len()), (state, 0));
            let asked = Due::inquiry(seconds(2060), InquiryRank::Afterwards);
            assert_eq!(change.due, DueChange::Replace(Some(asked)), "{state:?}");
        } else if change.order.state == state {
            assert_eq!(change.due, DueChange::Keep, "{state:?}");
        }
    }
}

#[test]
fn an_earlier_refunds_late_refusal_does_not_touch_the_refund_after_it() {
    let late = AttemptTime {
        started_at: seconds(0),
        now: seconds(60),
        claim_held: false,
        send_at: None,
        inquiry: None,
        chance: 0.5,
    };
    let refused = SendFinding {
        kind: SendFindingKind::Failed { status: "FAILED".to_owned() },
        http_status: Some(200),
        retry_after: None,
        health: DokuHealth::Well,
    };
    let before = order(CommandKind::Refund);
    let change = after_send(before.clone(), AttemptOf::EarlierRefund, &refused, late, &schedule()).change;
    assert_eq!((change.order, change.events.len()), (before, 0));
}

#[test]
fn an_order_nobody_pays_goes_to_review_after_its_time() {
    let waiting = OrderRecord { state: OrderState::AwaitingPayment, ..order(CommandKind::Payment) };
    let ask = |started: i64, finding| {
        let time = AttemptTime {
            started_at: seconds(started),
            now: seconds(started + 1),
            claim_held: true,
            send_at: None,
            inquiry: None,
            chance: 0.5,
        };
        let learned = InquiryFinding { kind: finding, http_status: None, retry_after: None };
        after_inquiry(waiting.clone(), &learned, time, &schedule()).change
    };
    let before = ask(259_199, InquiryFindingKind::NotFound { proves: true });
    assert_eq!(before.order.state, OrderState::AwaitingPayment);
    let after = ask(259_200, InquiryFindingKind::NotFound { proves: true });
    assert_eq!(after.order.state, OrderState::Review(ReviewCause::CheckGaveUp));
    assert_eq!(after.events[0].error.as_ref().unwrap().code, "check_gave_up");
    let failed = ask(259_200, InquiryFindingKind::Failed { why: String::new() });
    assert_eq!(failed.order.state, OrderState::AwaitingPayment);
}

#[test]
fn a_refund_made_in_the_back_office_names_no_command_of_ours() {
    let refunded = |outcome| {
        let mut paid = OrderRecord { state: OrderState::Paid, ..order(CommandKind::Refund) };
        paid.refund.as_mut().unwrap().outcome = Some(outcome);
        let report = Report {
            status: ReportedStatus::Refunded,
            word: "REFUNDED".to_owned(),
            amount: ReportedAmount::read("50000"),
            request: None,
        };
        let change = paid.apply_report(&report, &schedule(), seconds(1));
        (change.events[0].event_type, change.events[0].command.is_some())
    };
    assert_eq!(refunded(Outcome::Declined), (EventType::OrderRefunded, false));
    assert_eq!(refunded(Outcome::Abandoned), (EventType::OrderRefunded, false));
    assert_eq!(refunded(Outcome::Unresolved), (EventType::OrderRefunded, true));
}

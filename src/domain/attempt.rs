//! What one attempt teaches about an order: evidence for the table, doubt that sticks, and when to ask
//! again.
//!
//! Doubt is sticky. A send that may have acted marks its command, and only authority clears the mark: a
//! final answer, or, for a payment, a signed not-found after the grace. Otherwise a timeout that did act,
//! followed by a refused connection, would read as "nothing happened".

use super::{
    Time,
    command::CommandKind,
    event::{EventError, EvidenceSource},
    learned::{
        AttemptClass, AttemptKind, Health, InquiryFinding, InquiryLearned, ReportedStatus, SendFinding,
        SendLearned,
    },
    plan::{Due, InquiryRank, LostAttempt, Plan},
    reconcile::Evidence,
    record::{Brought, Change, DueChange, OrderRecord, Progress, RequestOf},
};
use std::time::Duration;

/// So many inquiries in a row that failed, after the sends have ended, are the end.
const FAILED_INQUIRIES_MAX: u32 = 3;
/// An order that something refuses, maybe for its content, waits as if it had been sent so many times more: a
/// firewall does not change its mind in a second.
const REFUSED_COUNTS_AS: u32 = 5;
/// So many answers that contradict the request are no accident.
const CONTRADICTIONS_MAX: u32 = 2;

/// Whose attempt it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOf {
    Payment,
    /// The order's latest refund.
    Refund,
    /// A refund that another has followed: a late worker brings its answer.
    EarlierRefund,
}

/// When an attempt was made, and whether its claim still held when it was recorded. A late worker brings
/// evidence, but schedules nothing and clears no doubt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttemptTime {
    pub started_at: Time,
    pub now: Time,
    pub claim_held: bool,
    /// When the next send may start, where the attempt is an inquiry and one is to follow.
    pub send_at: Option<Time>,
    /// In [0, 1), for the jitter of the next wait.
    pub chance: f64,
}

/// One attempt that was made, as it is kept for the person on call.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptMade {
    pub kind: AttemptKind,
    pub class: AttemptClass,
    /// `accepted`, `declined`, `not_acted`, `in_doubt`, `lost`; for inquiries DOKU's status word in lower
    /// case, `not_found`, `inquiry_failed`.
    pub result: String,
    pub http_status: Option<u16>,
    /// Why, where the result does not say it. No customer data.
    pub detail: Option<String>,
}

impl OrderRecord {
    /// What one send changes.
    pub fn after_send(
        mut self,
        of: AttemptOf,
        learned: &SendLearned,
        time: AttemptTime,
        plan: &Plan,
    ) -> (Change, AttemptMade) {
        if let Some(command) = self.command_mut(of) {
            command.last_send_at = command.last_send_at.max(Some(time.started_at));
            if time.claim_held {
                command.sends = command.sends.saturating_add(1);
            }
        }
        let doubted = self.command_mut(of).is_none_or(|c| c.maybe_acted_at.is_some()) || !time.claim_held;
        let brought = Brought::by(EvidenceSource::Response);
        match &learned.finding {
            SendFinding::Accepted { status } => {
                let change = Change::none(self).taken(of, status, plan, time.now);
                (change, sent(learned, AttemptClass::Answered, "accepted", None))
            }
            SendFinding::Failed { status } => {
                let change = Change::none(self);
                let change = match of {
                    AttemptOf::Payment => {
                        change.with(Evidence::AnswerFailed, brought.with_status(status), plan, time.now)
                    }
                    AttemptOf::Refund => {
                        change.with(Evidence::RefundAnswerFailed, brought.with_status(status), plan, time.now)
                    }
                    AttemptOf::EarlierRefund => change,
                };
                (change, sent(learned, AttemptClass::Answered, "declined", None))
            }
            SendFinding::Declined(error) if !doubted => {
                let evidence = match of {
                    AttemptOf::Payment => Evidence::AnswerDeclined,
                    AttemptOf::Refund | AttemptOf::EarlierRefund => Evidence::RefundAnswerDeclined,
                };
                let brought = brought.with_error(EventError::of_doku(error, learned.http_status));
                let change = Change::none(self).with(evidence, brought, plan, time.now);
                let detail = format!("{}: {}", error.code, error.message);
                (change, sent(learned, AttemptClass::Answered, "declined", Some(detail)))
            }
            SendFinding::Declined(error) => {
                let why = format!("{}: {}, but an earlier send may have acted", error.code, error.message);
                self.in_doubt(of, learned, why, time, plan)
            }
            SendFinding::InDoubt { why } => self.in_doubt(of, learned, why.clone(), time, plan),
            SendFinding::Contradiction { why } => self.contradicted(of, learned, why, time, plan),
            SendFinding::NotActed { why } => {
                let as_if = if learned.health == Health::OrderRefused { REFUSED_COUNTS_AS } else { 0 };
                let change = Change::none(self).again(learned.retry_after, as_if, time, plan);
                (change, sent(learned, AttemptClass::NotActed, "not_acted", Some(why.clone())))
            }
        }
    }

    fn in_doubt(
        mut self,
        of: AttemptOf,
        learned: &SendLearned,
        why: String,
        time: AttemptTime,
        plan: &Plan,
    ) -> (Change, AttemptMade) {
        if let Some(command) = self.command_mut(of) {
            command.doubt(time.started_at, time.now);
        }
        let change = Change::none(self).again(learned.retry_after, 0, time, plan);
        (change, sent(learned, AttemptClass::InDoubt, "in_doubt", Some(why)))
    }

    /// A verified answer that names another invoice or amount: once may be an accident of theirs.
    fn contradicted(
        mut self,
        of: AttemptOf,
        learned: &SendLearned,
        why: &str,
        time: AttemptTime,
        plan: &Plan,
    ) -> (Change, AttemptMade) {
        let times = self.command_mut(of).map_or(0, |command| {
            command.contradictions = command.contradictions.saturating_add(1);
            command.contradictions
        });
        if times < CONTRADICTIONS_MAX {
            return self.in_doubt(of, learned, why.to_owned(), time, plan);
        }
        let error = EventError::ours("amount_mismatch", why);
        let brought = Brought::by(EvidenceSource::Response).with_error(error);
        let change = Change::none(self).with(Evidence::OtherAmount, brought, plan, time.now);
        (change, sent(learned, AttemptClass::Answered, "in_doubt", Some(why.to_owned())))
    }

    /// What one inquiry changes.
    pub fn after_inquiry(
        self,
        learned: &InquiryLearned,
        time: AttemptTime,
        plan: &Plan,
    ) -> (Change, AttemptMade) {
        let (change, class, result, detail) = match &learned.finding {
            InquiryFinding::Reported(report) if self.request_of(report, plan) == Some(RequestOf::Another) => {
                let before = self.state;
                let change = Change::none(self).with_report(report, EvidenceSource::Check, plan, time.now);
                let change = change.unless_moved(before, report, learned.retry_after, time, plan);
                let why = format!("about another request, which it calls {}", report.word);
                (change, AttemptClass::Failed, "inquiry_failed".to_owned(), Some(why))
            }
            InquiryFinding::Reported(report) => {
                let before = self.state;
                let change = Change::none(self).with_report(report, EvidenceSource::Check, plan, time.now);
                let change = change.unless_moved(before, report, learned.retry_after, time, plan);
                (change, AttemptClass::Answered, report.word.to_ascii_lowercase(), None)
            }
            InquiryFinding::NotFound { proves } => {
                let change = Change::none(self).not_found(*proves, time, plan);
                (change, AttemptClass::Answered, "not_found".to_owned(), None)
            }
            InquiryFinding::Failed { why } => {
                let change = Change::none(self).inquiry_failed(learned.retry_after, time, plan);
                (change, AttemptClass::Failed, "inquiry_failed".to_owned(), Some(why.clone()))
            }
        };
        let http_status = learned.http_status;
        (change, AttemptMade { kind: AttemptKind::Inquiry, class, result, http_status, detail })
    }

    /// An attempt whose lease ran out without a record. A lost send may have acted, as late as the end of
    /// its lease, and doubt begins there.
    pub fn after_lost(mut self, lost: &LostAttempt) -> (Self, AttemptMade) {
        let LostAttempt { kind, started_at, lease_ended_at: lease_end, .. } = *lost;
        let state = self.state;
        if let Some(command) = self.open_command_mut() {
            match kind {
                AttemptKind::Send => {
                    command.sends = command.sends.saturating_add(1);
                    command.last_send_at = command.last_send_at.max(Some(lease_end));
                    command.doubt(lease_end, lease_end);
                }
                AttemptKind::Inquiry => {
                    command.inquired_at = command.inquired_at.max(Some(started_at));
                    if started_at >= command.sends_end_at {
                        command.failed_inquiries = command.failed_inquiries.saturating_add(1);
                    }
                }
            }
        }
        if kind == AttemptKind::Inquiry && state.open_command().is_some() {
            self.checks_made = self.checks_made.saturating_add(1);
        }
        let made = AttemptMade {
            kind,
            class: AttemptClass::Lost,
            result: "lost".to_owned(),
            http_status: None,
            detail: None,
        };
        (self, made)
    }

    fn command_mut(&mut self, of: AttemptOf) -> Option<&mut Progress> {
        match of {
            AttemptOf::Payment => Some(&mut self.payment),
            AttemptOf::Refund => self.refund.as_mut(),
            AttemptOf::EarlierRefund => None,
        }
    }
}

fn sent(learned: &SendLearned, class: AttemptClass, result: &str, detail: Option<String>) -> AttemptMade {
    let http_status = learned.http_status;
    AttemptMade { kind: AttemptKind::Send, class, result: result.to_owned(), http_status, detail }
}

impl Change {
    /// DOKU took the request. A synchronous Success is no payment yet, unless it is trusted.
    fn taken(self, of: AttemptOf, status: &str, plan: &Plan, now: Time) -> Self {
        let brought = || Brought::by(EvidenceSource::Response).with_status(status);
        match of {
            AttemptOf::Payment => {
                let change = self.with(Evidence::AnswerTaken, brought(), plan, now);
                if plan.trust_response && ReportedStatus::read(status) == ReportedStatus::Success {
                    change.with(Evidence::Reported(ReportedStatus::Success), brought(), plan, now)
                } else {
                    change.taken_after_its_end(plan, now)
                }
            }
            AttemptOf::Refund => self.with(Evidence::RefundAnswerSuccess, brought(), plan, now),
            AttemptOf::EarlierRefund => {
                self.with(Evidence::Reported(ReportedStatus::Refunded), brought(), plan, now)
            }
        }
    }

    /// The open command is sent again, later.
    fn again(mut self, retry_after: Option<Duration>, as_if: u32, time: AttemptTime, plan: &Plan) -> Self {
        if let (true, Some(command)) = (time.claim_held, self.order.open_command()) {
            let tries = command.sends.saturating_add(as_if);
            let send_at = plan.next_send(tries, time.now, retry_after, time.chance);
            self.due = DueChange::Replace(Some(plan.open(command, self.order.checks_made, send_at)));
        }
        self
    }

    /// An inquiry about an open command did not settle it: its send goes when it was to go.
    fn send_as_planned(mut self, time: AttemptTime, plan: &Plan) -> Self {
        if let Some(command) = self.order.open_command() {
            let send_at = time.send_at.unwrap_or(time.now);
            self.due = DueChange::Replace(Some(plan.open(command, self.order.checks_made, send_at)));
        }
        self
    }

    /// An inquiry was made, answered or not.
    fn inquired(&mut self, time: AttemptTime) {
        self.order.checks_made = self.order.checks_made.saturating_add(1);
        if let Some(command) = self.order.open_command_mut() {
            command.inquired_at = command.inquired_at.max(Some(time.started_at));
        }
    }

    /// DOKU answered an inquiry, and it decided nothing.
    pub(super) fn nothing_new(mut self, time: AttemptTime, plan: &Plan) -> Self {
        if !time.claim_held {
            return self;
        }
        if plan.gives_up(&self.order, time.started_at) {
            return self.gave_up(plan, time.now);
        }
        self.inquired(time);
        let Some(command) = self.order.open_command_mut() else {
            return self.inquire_later(time.now, plan);
        };
        command.failed_inquiries = 0;
        command.ask_first = false;
        if time.started_at >= plan.concludes_from(command) {
            return self.ended(plan, time.now);
        }
        self.send_as_planned(time, plan)
    }

    /// "Not found" allows a resend. After the end it is the answer where nothing can have acted by our records;
    /// where something may have, only signed, and late enough, does it prove for a payment that nothing did.
    fn not_found(mut self, proves: bool, time: AttemptTime, plan: &Plan) -> Self {
        if self.asks_first() {
            return self.inquiry_failed(None, time, plan);
        }
        let Some(command) = self.order.open_command_mut() else {
            return self.nothing_new(time, plan);
        };
        if !time.claim_held || command.kind == CommandKind::Refund {
            return self.nothing_new(time, plan);
        }
        let ended = time.started_at >= plan.concludes_from(command);
        let grace_is_over = plan.grace_is_over(command, time.started_at);
        if proves && grace_is_over {
            command.clear_doubt();
        }
        let is_doubted = command.maybe_acted_at.is_some();
        match (ended, is_doubted, grace_is_over) {
            (false, _, _) => self.nothing_new(time, plan),
            (true, false, _) => {
                self.inquired(time);
                self.ended(plan, time.now)
            }
            (true, true, false) => {
                let at = plan.grace_end(command).unwrap_or(time.now);
                command.failed_inquiries = 0;
                self.inquired(time);
                self.due = DueChange::Replace(Some(Due::inquiry(at, InquiryRank::Doubt)));
                self
            }
            (true, true, true) => self.inquiry_failed(None, time, plan),
        }
    }

    pub(super) fn inquiry_failed(
        mut self,
        retry_after: Option<Duration>,
        time: AttemptTime,
        plan: &Plan,
    ) -> Self {
        if !time.claim_held {
            return self;
        }
        let gives_up = plan.gives_up(&self.order, time.started_at);
        self.inquired(time);
        let Some(command) = self.order.open_command_mut() else {
            let payment = &mut self.order.payment;
            payment.failed_inquiries = if gives_up { payment.failed_inquiries.saturating_add(1) } else { 0 };
            if payment.failed_inquiries >= FAILED_INQUIRIES_MAX {
                return self.gave_up(plan, time.now);
            }
            return self.inquire_later(time.now, plan);
        };
        if time.started_at < plan.concludes_from(command) {
            if command.ask_first {
                let inquiries = self.order.checks_made;
                return self.again(retry_after, inquiries, time, plan);
            }
            return self.send_as_planned(time, plan);
        }
        command.failed_inquiries = command.failed_inquiries.saturating_add(1);
        if command.failed_inquiries >= FAILED_INQUIRIES_MAX {
            return self.ended(plan, time.now);
        }
        let due = plan.ask_again(command, time.started_at, time.now, retry_after, time.chance);
        self.due = DueChange::Replace(Some(due));
        self
    }

    fn inquire_later(mut self, now: Time, plan: &Plan) -> Self {
        self.due = DueChange::Replace(plan.next_inquiry(&self.order, now));
        self
    }

    /// The sends have ended, DOKU was asked since, and no more is to be learned.
    fn ended(self, plan: &Plan, now: Time) -> Self {
        let is_doubted = self.order.open_command().is_some_and(|command| command.maybe_acted_at.is_some());
        let evidence = if is_doubted { Evidence::EndedInDoubt } else { Evidence::EndedWithoutAct };
        self.with(evidence, Brought::by(EvidenceSource::Check), plan, now)
    }
}

//! What an order waits for after an attempt, and what ends its waiting.

use super::{Attribution, Change, DueChange, RequestOf};
use crate::domain::{
    Time,
    attempt::{AttemptOf, AttemptTime},
    command::CommandKind,
    event::{EventError, EvidenceSource},
    finding::{Report, ReportedStatus},
    order::OrderState,
    reconcile::Evidence,
    schedule::{AttemptSchedule, Due, FAILED_INQUIRIES_MAX, InquiryRank},
};
use std::time::Duration;

impl Change {
    /// DOKU took the request. A synchronous Success is no payment yet, unless it is trusted.
    pub(in crate::domain) fn taken(
        self,
        of: AttemptOf,
        status: &str,
        schedule: &AttemptSchedule,
        now: Time,
    ) -> Self {
        let attribution = || Attribution::by(EvidenceSource::Response).with_status(status);
        match of {
            AttemptOf::Payment => {
                let change = self.bring(Evidence::AnswerTaken, attribution(), schedule, now);
                if schedule.trust_response && ReportedStatus::read(status) == ReportedStatus::Success {
                    change.bring(Evidence::Reported(ReportedStatus::Success), attribution(), schedule, now)
                } else {
                    change.taken_after_its_end(schedule, now)
                }
            }
            AttemptOf::Refund => self.bring(Evidence::RefundAnswerSuccess, attribution(), schedule, now),
            AttemptOf::EarlierRefund => {
                self.bring(Evidence::Reported(ReportedStatus::Refunded), attribution(), schedule, now)
            }
        }
    }

    /// A late worker brings that DOKU took what was given up meanwhile: the customer may still pay, so it is asked
    /// about, whatever it waited for.
    fn taken_after_its_end(mut self, schedule: &AttemptSchedule, now: Time) -> Self {
        let is_ended =
            matches!(self.order.state, OrderState::Failed | OrderState::Expired | OrderState::Abandoned);
        if is_ended {
            let due = Due::inquiry(now + schedule.check.first_after, InquiryRank::Afterwards);
            self.due = DueChange::Replace(Some(due));
        }
        self
    }

    /// The open command is sent again, later.
    pub(in crate::domain) fn again(
        mut self,
        retry_after: Option<Duration>,
        as_if: u32,
        time: AttemptTime,
        schedule: &AttemptSchedule,
    ) -> Self {
        if let (true, Some(command)) = (time.claim_held, self.order.open_command()) {
            let tries = command.sends.saturating_add(as_if);
            let send_at = schedule.next_send(tries, time.now, retry_after, time.chance);
            self.due = DueChange::Replace(Some(schedule.open(command, self.order.checks_made, send_at)));
        }
        self
    }

    /// An inquiry about an open command did not settle it: its send goes when it was to go.
    fn send_as_planned(mut self, time: AttemptTime, schedule: &AttemptSchedule) -> Self {
        if let Some(command) = self.order.open_command() {
            let send_at = time.send_at.unwrap_or(time.now);
            self.due = DueChange::Replace(Some(schedule.open(command, self.order.checks_made, send_at)));
        }
        self
    }

    /// An inquiry was made, answered or not. One that a restore or a report asks for uses up none of
    /// `check.afterwards_ms`.
    fn inquired(&mut self, time: AttemptTime, schedule: &AttemptSchedule) {
        let planned = schedule.afterwards(&self.order).map(|due| due.inquiry.at);
        let is_afterwards = time.inquiry != Some(InquiryRank::Restored)
            && planned.is_some_and(|planned| planned <= time.started_at);
        if self.order.state.is_open() || is_afterwards {
            self.order.checks_made = self.order.checks_made.saturating_add(1);
        }
        if let Some(command) = self.order.open_command_mut() {
            command.inquired_at = command.inquired_at.max(Some(time.started_at));
        }
    }

    /// Whether nothing may be sent before DOKU says that the order is paid still.
    fn asks_first(&self) -> bool {
        self.order.open_command().is_some_and(|command| command.ask_first)
    }

    /// What a report changes that left the order in the state `before`. One about another request is no answer; where
    /// the order must be paid still, neither is another word.
    pub(in crate::domain) fn unless_moved(
        self,
        before: OrderState,
        report: &Report,
        retry_after: Option<Duration>,
        time: AttemptTime,
        schedule: &AttemptSchedule,
    ) -> Self {
        let is_anothers = self.reported == Some(RequestOf::Another);
        if self.order.state != before {
            self
        } else if is_anothers || (self.asks_first() && report.status != ReportedStatus::Success) {
            self.inquiry_failed(retry_after, time, schedule)
        } else {
            self.nothing_new(time, schedule)
        }
    }

    /// DOKU answered an inquiry, and it decided nothing.
    fn nothing_new(mut self, time: AttemptTime, schedule: &AttemptSchedule) -> Self {
        if !time.claim_held {
            return self;
        }
        if schedule.gives_up(&self.order, time.started_at) {
            return self.gave_up(schedule, time.now);
        }
        self.inquired(time, schedule);
        let Some(command) = self.order.open_command_mut() else {
            self.order.payment.failed_inquiries = 0;
            self.due = DueChange::Replace(schedule.next_inquiry(&self.order, time.now));
            return self;
        };
        command.failed_inquiries = 0;
        command.ask_first = false;
        if time.started_at >= schedule.concludes_from(command) {
            return self.conclude_after_end(schedule, time.now);
        }
        self.send_as_planned(time, schedule)
    }

    /// "Not found" allows a resend. After the end it is the answer where nothing can have acted by our records;
    /// where something may have, only signed, and late enough, does it prove for a payment that nothing did.
    pub(in crate::domain) fn not_found(
        mut self,
        proves: bool,
        time: AttemptTime,
        schedule: &AttemptSchedule,
    ) -> Self {
        if self.asks_first() {
            return self.inquiry_failed(None, time, schedule);
        }
        let Some(command) = self.order.open_command_mut() else {
            return self.nothing_new(time, schedule);
        };
        if !time.claim_held || command.kind == CommandKind::Refund {
            return self.nothing_new(time, schedule);
        }
        let ended = time.started_at >= schedule.concludes_from(command);
        let grace_is_over = schedule.grace_is_over(command, time.started_at);
        if proves && grace_is_over {
            command.clear_doubt();
        }
        let is_doubted = command.maybe_acted_at.is_some();
        match (ended, is_doubted, grace_is_over) {
            (false, _, _) => self.nothing_new(time, schedule),
            (true, false, _) => {
                self.inquired(time, schedule);
                self.conclude_after_end(schedule, time.now)
            }
            (true, true, false) => {
                let at = schedule.grace_end(command).unwrap_or(time.now);
                command.failed_inquiries = 0;
                self.inquired(time, schedule);
                self.due = DueChange::Replace(Some(Due::inquiry(at, InquiryRank::Doubt)));
                self
            }
            (true, true, true) => self.inquiry_failed(None, time, schedule),
        }
    }

    pub(in crate::domain) fn inquiry_failed(
        mut self,
        retry_after: Option<Duration>,
        time: AttemptTime,
        schedule: &AttemptSchedule,
    ) -> Self {
        if !time.claim_held {
            return self;
        }
        let gives_up = schedule.gives_up(&self.order, time.started_at);
        self.inquired(time, schedule);
        let Some(command) = self.order.open_command_mut() else {
            let counts = gives_up || !self.order.state.is_open();
            let payment = &mut self.order.payment;
            payment.failed_inquiries = if counts { payment.failed_inquiries.saturating_add(1) } else { 0 };
            if gives_up && payment.failed_inquiries >= FAILED_INQUIRIES_MAX {
                return self.gave_up(schedule, time.now);
            }
            self.due = DueChange::Replace(schedule.after_failed(&self.order, time.inquiry, time.now));
            return self;
        };
        if time.started_at < schedule.concludes_from(command) {
            if command.ask_first {
                let inquiries = self.order.checks_made;
                return self.again(retry_after, inquiries, time, schedule);
            }
            return self.send_as_planned(time, schedule);
        }
        command.failed_inquiries = command.failed_inquiries.saturating_add(1);
        if command.failed_inquiries >= FAILED_INQUIRIES_MAX {
            return self.conclude_after_end(schedule, time.now);
        }
        let due = schedule.ask_again(command, time.started_at, time.now, retry_after, time.chance);
        self.due = DueChange::Replace(Some(due));
        self
    }

    /// Check Status found nothing new for too long.
    fn gave_up(self, schedule: &AttemptSchedule, now: Time) -> Self {
        let message = "Check Status found nothing new for check.give_up_after_ms";
        let attribution =
            Attribution::by(EvidenceSource::Check).with_error(EventError::ours("check_gave_up", message));
        self.bring(Evidence::CheckGaveUp, attribution, schedule, now)
    }

    /// The sends have ended, DOKU was asked since, and no more is to be learned.
    fn conclude_after_end(self, schedule: &AttemptSchedule, now: Time) -> Self {
        let is_doubted = self.order.open_command().is_some_and(|command| command.maybe_acted_at.is_some());
        let evidence = if is_doubted { Evidence::EndedInDoubt } else { Evidence::EndedWithoutAct };
        self.bring(evidence, Attribution::by(EvidenceSource::Check), schedule, now)
    }
}

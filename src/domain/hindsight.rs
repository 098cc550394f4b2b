//! What turns out later: DOKU took what was given up, or the database went back in time and DOKU knows more than we do.

use super::{
    Time,
    attempt::AttemptTime,
    change::{Attribution, Change, DueChange, RequestOf},
    command::{CommandKind, Outcome, RefundRefusal},
    event::{EventError, EvidenceSource},
    finding::{Report, ReportedStatus},
    order::OrderState,
    reconcile::Evidence,
    record::{OrderRecord, Progress},
    schedule::{AttemptSchedule, Due, InquiryRank},
};
use std::time::Duration;

impl OrderRecord {
    /// What follows where the database went back in time: DOKU may have acted on whatever is open, and whatever ended
    /// lately may have ended otherwise. `None`: DOKU is not asked about it.
    pub fn after_going_back(mut self, schedule: &AttemptSchedule, now: Time) -> Option<Change> {
        match self.state {
            OrderState::Submitting | OrderState::AwaitingPayment | OrderState::Refunding => {}
            OrderState::Failed | OrderState::Expired | OrderState::Abandoned
                if now <= self.state_since + schedule.check.give_up_after => {}
            OrderState::Failed
            | OrderState::Expired
            | OrderState::Abandoned
            | OrderState::Paid
            | OrderState::Refunded
            | OrderState::Review(_) => return None,
        }
        if let Some(claimed_at) = self.open_command().map(|command| command.claimed_at) {
            self.doubt(Self::open_command_mut, claimed_at, now);
        }
        if let Some(command) = self.open_command_mut() {
            // Another refund may have been made since; another payment of the same invoice cannot.
            command.ask_first = command.kind == CommandKind::Refund;
        }
        let due = Due::inquiry(now, InquiryRank::Restored);
        Some(Change { due: DueChange::Replace(Some(due)), ..Change::none(self) })
    }
}

impl Change {
    /// A late worker brings that DOKU took what was given up meanwhile: the customer may still pay, so it is asked
    /// about, whatever it waited for.
    pub(super) fn taken_after_its_end(mut self, schedule: &AttemptSchedule, now: Time) -> Self {
        let is_ended =
            matches!(self.order.state, OrderState::Failed | OrderState::Expired | OrderState::Abandoned);
        if is_ended {
            let due = Due::inquiry(now + schedule.check.first_after, InquiryRank::Afterwards);
            self.due = DueChange::Replace(Some(due));
        }
        self
    }

    /// Whether nothing may be sent before DOKU says that the order is paid still.
    pub(super) fn asks_first(&self) -> bool {
        self.order.open_command().is_some_and(|command| command.ask_first)
    }

    /// What a report changes that left the order in the state `before`. One about another request is no answer; where
    /// the order must be paid still, neither is another word.
    pub(super) fn unless_moved(
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

    /// DOKU has refunded what our own refund was not sent for: the order is refunded by another, which this database has
    /// forgotten or never knew.
    pub(super) fn refuse_unsent_refund(&mut self) {
        if self.order.open_command().is_some_and(Progress::is_unsent) {
            self.order.state = OrderState::Paid;
            self.order.refund = None;
            self.refused = Some(RefundRefusal::AlreadyRefunded);
            self.settled = Some((CommandKind::Refund, Outcome::Rejected));
        }
    }

    /// Check Status found nothing new for too long.
    pub(super) fn gave_up(self, schedule: &AttemptSchedule, now: Time) -> Self {
        let message = "Check Status found nothing new for check.give_up_after_ms";
        let attribution =
            Attribution::by(EvidenceSource::Check).with_error(EventError::ours("check_gave_up", message));
        self.with(Evidence::CheckGaveUp, attribution, schedule, now)
    }
}

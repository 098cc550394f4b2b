//! What follows from one piece of evidence about one order: its new state, its events, and what it waits for
//! next. The table in `reconcile` decides; this writes down what follows.

mod after_attempt;

use super::{
    Time,
    command::{CommandKind, Outcome, RefundRefusal},
    event::{EventError, EventType, EvidenceSource, OrderEvent},
    finding::{Report, ReportedStatus},
    order::OrderState,
    reconcile::{Evidence, Step, reconcile},
    record::{OrderRecord, Origin, Progress},
    schedule::{AttemptSchedule, Due},
};

/// What follows; the store writes all of it in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub order: OrderRecord,
    pub events: Vec<OrderEvent>,
    pub settled: Option<(CommandKind, Outcome)>,
    /// The open refund was claimed, never sent, and cannot be made: it is rejected, for this.
    pub refused: Option<RefundRefusal>,
    pub due: DueChange,
    /// Which request the report that led to this change was about.
    pub reported: Option<RequestOf>,
}

/// Which request a report names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOf {
    /// One of the order's own.
    Order,
    Another,
}

#[derive(Debug, Clone, PartialEq)]
pub enum DueChange {
    /// Another attempt is under way, or nothing changed: what is due stays due.
    Keep,
    /// In place of whatever was due; a running attempt loses its claim.
    Replace(Option<Due>),
}

/// The code of an order's review, and why a notification was not applied.
pub(super) const OTHER_REQUEST: &str = "other_request";

/// Where a piece of evidence comes from, with DOKU's status and error beside it.
pub(super) struct Attribution {
    source: EvidenceSource,
    doku_status: Option<String>,
    error: Option<EventError>,
}

impl Attribution {
    pub(super) fn by(source: EvidenceSource) -> Self {
        Self { source, doku_status: None, error: None }
    }

    pub(super) fn with_status(self, word: &str) -> Self {
        Self { doku_status: Some(word.to_owned()), ..self }
    }

    pub(super) fn with_error(self, error: EventError) -> Self {
        Self { error: Some(error), ..self }
    }
}

impl Change {
    /// Nothing changes.
    pub fn none(order: OrderRecord) -> Self {
        Self { order, events: Vec::new(), settled: None, refused: None, due: DueChange::Keep, reported: None }
    }

    /// Brings one piece of evidence to the order: the table decides, and this writes down what follows.
    pub(super) fn bring(
        mut self,
        evidence: Evidence,
        attribution: Attribution,
        schedule: &AttemptSchedule,
        now: Time,
    ) -> Self {
        if self.order.stays_paid(evidence) {
            return self;
        }
        let Step::Move(to, events) = reconcile(self.order.state, evidence) else {
            return self;
        };
        let late = self.order.ended_unpaid();
        for event_type in events {
            self.announce(*event_type, to, &attribution, late);
        }
        self.order.state = to;
        self.order.state_since = now;
        self.order.payment.failed_inquiries = 0;
        self.order.checks_made = 0;
        self.order.evidence = Some(attribution.source);
        if attribution.doku_status.is_some() {
            self.order.doku_status = attribution.doku_status;
        }
        self.due = DueChange::Replace(schedule.on_entry(&self.order, now, evidence));
        self
    }

    fn announce(&mut self, event_type: EventType, to: OrderState, attribution: &Attribution, late: bool) {
        let announced_as = self.first_announcement_or_resolved(event_type);
        let previous_state = self.events.last().map_or(self.order.state, |e: &OrderEvent| e.state);
        let state = event_type.state_within(to);
        if let Some((kind, outcome)) = event_type.settles() {
            self.settle(kind, outcome);
        }
        let refund = self.refund_of_event(event_type, attribution.source).map(|r| r.command.clone());
        let payment = || (self.order.origin == Origin::Command).then(|| self.order.payment.command.clone());
        let command = if announced_as.is_about_refund() { refund } else { payment() };
        self.order.version += 1;
        self.events.push(OrderEvent {
            event_type: announced_as,
            version: self.order.version,
            previous_state,
            state,
            evidence: attribution.source,
            doku_status: attribution.doku_status.clone().or_else(|| self.order.doku_status.clone()),
            command,
            error: attribution.error.clone(),
            late: late && matches!(event_type, EventType::OrderPaid | EventType::OrderRefunded),
        });
    }

    /// The refund an event can be about: one that was declined or abandoned made nothing, so an
    /// `order.refunded` is then about a refund that was not commanded here, unless its own late answer reports it.
    fn refund_of_event(&self, event_type: EventType, source: EvidenceSource) -> Option<&Progress> {
        let refund = self.order.refund.as_ref()?;
        let made_nothing = match refund.outcome {
            Some(Outcome::Declined | Outcome::Abandoned) => true,
            Some(Outcome::Accepted | Outcome::Unresolved | Outcome::Rejected) | None => false,
        };
        let is_foreign_refund =
            event_type == EventType::OrderRefunded && made_nothing && source != EvidenceSource::Response;
        (!is_foreign_refund).then_some(refund)
    }

    /// A state that was announced before is announced as `order.resolved`.
    fn first_announcement_or_resolved(&mut self, event_type: EventType) -> EventType {
        let announced = &mut self.order.announced;
        let before = match event_type {
            EventType::OrderPaid => std::mem::replace(&mut announced.paid, true),
            EventType::OrderRefunded => std::mem::replace(&mut announced.refunded, true),
            EventType::OrderFailed | EventType::PaymentDeclined => {
                std::mem::replace(&mut announced.failed, true)
            }
            EventType::OrderExpired => std::mem::replace(&mut announced.expired, true),
            EventType::PaymentAccepted
            | EventType::PaymentUnresolved
            | EventType::PaymentAbandoned
            | EventType::RefundAccepted
            | EventType::RefundDeclined
            | EventType::RefundUnresolved
            | EventType::RefundAbandoned
            | EventType::OrderReview
            | EventType::OrderResolved
            | EventType::CommandRejected
            | EventType::SettlementMatched => false,
        };
        if before { EventType::OrderResolved } else { event_type }
    }

    fn settle(&mut self, kind: CommandKind, outcome: Outcome) {
        let progress = match kind {
            CommandKind::Payment => Some(&mut self.order.payment),
            CommandKind::Refund => self.order.refund.as_mut(),
        };
        if let Some(progress) = progress {
            progress.outcome = Some(outcome);
            self.settled = Some((kind, outcome));
        }
    }

    /// Brings what a notification or Check Status says.
    pub(super) fn with_report(
        self,
        report: &Report,
        source: EvidenceSource,
        schedule: &AttemptSchedule,
        now: Time,
    ) -> Self {
        let reported = self.order.request_of(report, schedule);
        let mut change = Self { reported, ..self };
        if reported == Some(RequestOf::Another) {
            return change.with_another_request(report.status, source, schedule, now);
        }
        if report.status == ReportedStatus::Refunded && report.amount.is(change.order.amount) {
            change.refuse_unsent_refund();
        }
        let attribution = Attribution::by(source).with_status(&report.word);
        if report.amount.is(change.order.amount) {
            return change.bring(Evidence::Reported(report.status), attribution, schedule, now);
        }
        let message = format!("DOKU named another amount than the order's {}", change.order.amount);
        change.bring(
            Evidence::OtherAmount,
            attribution.with_error(EventError::ours("amount_mismatch", message)),
            schedule,
            now,
        )
    }

    /// DOKU has refunded what our own refund was not sent for: the order is refunded by another, which this database has
    /// forgotten or never knew.
    fn refuse_unsent_refund(&mut self) {
        if self.order.open_command().is_some_and(Progress::is_unsent) {
            self.order.state = OrderState::Paid;
            self.order.refund = None;
            self.refused = Some(RefundRefusal::AlreadyRefunded);
            self.settled = Some((CommandKind::Refund, Outcome::Rejected));
        }
    }

    /// What another request for the invoice came to decides nothing here; that money moved is for a person.
    fn with_another_request(
        self,
        status: ReportedStatus,
        source: EvidenceSource,
        schedule: &AttemptSchedule,
        now: Time,
    ) -> Self {
        let (evidence, done) = match status {
            ReportedStatus::Success => (Evidence::OtherRequestPaid, "paid"),
            ReportedStatus::Refunded => (Evidence::OtherRequestRefunded, "refunded"),
            ReportedStatus::Failed | ReportedStatus::Expired | ReportedStatus::NotFinal => return self,
        };
        let message = format!("DOKU says that another request for this invoice was {done}");
        let error = EventError::ours(OTHER_REQUEST, message);
        self.bring(evidence, Attribution::by(source).with_error(error), schedule, now)
    }
}

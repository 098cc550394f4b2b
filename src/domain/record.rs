//! What follows from one thing that was learned about one order: its new state, its events, and what it
//! waits for next. The store reads an order, asks one of the functions `after_…` here, and writes the
//! `Change` that it gets back.

use super::{
    Time,
    command::{CommandKind, CommandRef, Order, Outcome, RefundRefusal},
    event::{EventError, EventType, EvidenceSource, OrderEvent},
    ids::RequestId,
    ids::{InvoiceNumber, MerchantName},
    learned::{Report, ReportedStatus},
    money::Rupiah,
    order::{OrderState, ReviewCause, Verdict},
    plan::{Due, Plan},
    reconcile::{Evidence, Step, reconcile},
};

/// An order as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderRecord {
    pub merchant: MerchantName,
    pub invoice_number: InvoiceNumber,
    pub amount: Rupiah,
    pub state: OrderState,
    /// When it became that state.
    pub state_since: Time,
    /// How many events of it there are.
    pub version: u32,
    /// Which states its `order.*` events have told of: none is announced twice.
    pub announced: Announced,
    pub doku_status: Option<String>,
    pub evidence: Option<EvidenceSource>,
    /// Inquiries made since it became this state.
    pub checks_made: u32,
    pub payment: Progress,
    /// The latest refund.
    pub refund: Option<Progress>,
    /// The Request-Ids of refunds before that one.
    pub earlier_refunds: Vec<RequestId>,
}

/// States that were announced by an `order.paid`, `order.failed`, `order.refunded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Announced {
    pub paid: bool,
    pub failed: bool,
    pub refunded: bool,
}

/// How far a command has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub kind: CommandKind,
    pub command: CommandRef,
    pub outcome: Option<Outcome>,
    pub claimed_at: Time,
    /// No send starts after it: its `expirytime`, or the end of its budget.
    pub sends_end_at: Time,
    pub sends: u32,
    pub last_send_at: Option<Time>,
    /// The last send that may have acted. Sticky: only authority clears it.
    pub maybe_acted_at: Option<Time>,
    /// The first send that left it in doubt.
    pub doubted_at: Option<Time>,
    /// The last inquiry that was made while it was open, answered or not.
    pub inquired_at: Option<Time>,
    /// Inquiries in a row from which nothing was learned, made when one could have concluded: after the
    /// sends had ended, or after `check.give_up_after_ms`.
    pub failed_inquiries: u32,
    /// Answers that named another invoice or amount.
    pub contradictions: u32,
    /// A refund of an order from before the database went back in time: what DOKU did since is not known here, so
    /// it must say that the order is paid still before anything is sent.
    pub ask_first: bool,
}

/// What follows; the store writes all of it in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub order: OrderRecord,
    pub events: Vec<OrderEvent>,
    pub settled: Option<(CommandKind, Outcome)>,
    /// The open refund was claimed, never sent, and cannot be made: it is rejected, for this.
    pub refused: Option<RefundRefusal>,
    pub due: DueChange,
    /// Whose request a report was about that brought it.
    pub reported: Option<RequestOf>,
}

/// Whose request a report names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOf {
    /// One of the order's own.
    Order,
    Another,
}

#[derive(Debug, Clone, PartialEq)]
pub enum DueChange {
    /// Somebody else's attempt is under way, or nothing changed: what is due stays due.
    Keep,
    /// In place of whatever was due; a running attempt loses its claim.
    Replace(Option<Due>),
}

/// The code of an order's review, and why a notification was not applied.
pub(super) const OTHER_REQUEST: &str = "other_request";

/// Evidence with what DOKU said beside it.
pub(super) struct Brought {
    source: EvidenceSource,
    doku_status: Option<String>,
    error: Option<EventError>,
}

impl Brought {
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

impl OrderRecord {
    /// The order of a payment that nobody has seen, as its claim opens it.
    pub fn opened(order: &Order, command: CommandRef, claimed_at: Time, sends_end_at: Time) -> Self {
        Self {
            merchant: order.merchant.clone(),
            invoice_number: order.invoice_number.clone(),
            amount: order.amount,
            state: OrderState::Submitting,
            state_since: claimed_at,
            version: 0,
            announced: Announced::default(),
            doku_status: None,
            evidence: None,
            checks_made: 0,
            payment: Progress {
                kind: CommandKind::Payment,
                command,
                outcome: None,
                claimed_at,
                sends_end_at,
                sends: 0,
                last_send_at: None,
                maybe_acted_at: None,
                doubted_at: None,
                inquired_at: None,
                failed_inquiries: 0,
                contradictions: 0,
                ask_first: false,
            },
            refund: None,
            earlier_refunds: Vec::new(),
        }
    }

    /// The command whose outcome is not known yet.
    pub fn open_command(&self) -> Option<&Progress> {
        match self.state {
            OrderState::Submitting => Some(&self.payment),
            OrderState::Refunding => self.refund.as_ref(),
            OrderState::AwaitingPayment
            | OrderState::Paid
            | OrderState::Failed
            | OrderState::Expired
            | OrderState::Abandoned
            | OrderState::Refunded
            | OrderState::Review(_) => None,
        }
    }

    pub(super) fn open_command_mut(&mut self) -> Option<&mut Progress> {
        match self.state {
            OrderState::Submitting => Some(&mut self.payment),
            OrderState::Refunding => self.refund.as_mut(),
            OrderState::AwaitingPayment
            | OrderState::Paid
            | OrderState::Failed
            | OrderState::Expired
            | OrderState::Abandoned
            | OrderState::Refunded
            | OrderState::Review(_) => None,
        }
    }

    /// When DOKU was last sent this order; its claim, where evidence came before any send.
    pub fn sent_at(&self) -> Time {
        self.payment.last_send_at.unwrap_or(self.payment.claimed_at)
    }

    /// Whether a refund may start: the state of the order is judged first, then the amount.
    pub fn refuses_refund(&self, amount: Rupiah) -> Option<RefundRefusal> {
        match self.state {
            OrderState::Refunding => Some(RefundRefusal::RefundInProgress(self.state)),
            OrderState::Review(_) if self.refund_is_unresolved() => {
                Some(RefundRefusal::RefundInProgress(self.state))
            }
            OrderState::Refunded => Some(RefundRefusal::AlreadyRefunded),
            OrderState::Paid if amount != self.amount => {
                Some(RefundRefusal::AmountMismatch { paid: self.amount, asked: amount })
            }
            OrderState::Paid => None,
            OrderState::Submitting
            | OrderState::AwaitingPayment
            | OrderState::Failed
            | OrderState::Expired
            | OrderState::Abandoned
            | OrderState::Review(_) => Some(RefundRefusal::OrderNotPaid(self.state)),
        }
    }

    /// Whether nobody knows what DOKU did with the latest refund.
    pub fn refund_is_unresolved(&self) -> bool {
        self.refund.as_ref().is_some_and(|refund| refund.outcome == Some(Outcome::Unresolved))
    }

    /// Whose request a report is about; `None` where it does not say, or it does not matter.
    pub fn request_of(&self, report: &Report, plan: &Plan) -> Option<RequestOf> {
        let named = report.request.as_deref().filter(|_| plan.match_request_id)?;
        let commanded = [Some(&self.payment), self.refund.as_ref()];
        let own = commanded.into_iter().flatten().map(|progress| &progress.command.request_id);
        let is_own = own.chain(&self.earlier_refunds).any(|own| own.as_str() == named);
        Some(if is_own { RequestOf::Order } else { RequestOf::Another })
    }

    /// What a verified notification changes.
    pub fn after_notification(self, report: &Report, plan: &Plan, now: Time) -> Change {
        Change::none(self).with_report(report, EvidenceSource::Notification, plan, now)
    }

    /// No word of DOKU's makes an order that was paid once unpaid: it may be in review, for a refund of another request,
    /// when a late Failed or Expired comes.
    fn stays_paid(&self, evidence: Evidence) -> bool {
        let unpaid = matches!(
            evidence,
            Evidence::AnswerFailed | Evidence::Reported(ReportedStatus::Failed | ReportedStatus::Expired)
        );
        unpaid && self.announced.paid && self.state == OrderState::Review(ReviewCause::OtherRequest)
    }

    /// What an operator's decision changes; nothing outside of review.
    pub fn after_verdict(self, verdict: Verdict, plan: &Plan, now: Time) -> Change {
        let brought = Brought::by(EvidenceSource::Operator);
        Change::none(self).with(Evidence::Operator(verdict), brought, plan, now)
    }
}

impl Change {
    /// Nothing changes.
    pub fn none(order: OrderRecord) -> Self {
        Self { order, events: Vec::new(), settled: None, refused: None, due: DueChange::Keep, reported: None }
    }

    /// Brings one piece of evidence to the order: the table decides, and this writes down what follows.
    pub(super) fn with(mut self, evidence: Evidence, brought: Brought, plan: &Plan, now: Time) -> Self {
        if self.order.stays_paid(evidence) {
            return self;
        }
        let Step::Move(to, events) = reconcile(self.order.state, evidence) else {
            return self;
        };
        let late =
            matches!(self.order.state, OrderState::Failed | OrderState::Expired | OrderState::Abandoned);
        for event_type in events {
            self.announce(*event_type, to, &brought, late);
        }
        self.order.state = to;
        self.order.state_since = now;
        self.order.checks_made = 0;
        self.order.evidence = Some(brought.source);
        if brought.doku_status.is_some() {
            self.order.doku_status = brought.doku_status;
        }
        self.due = DueChange::Replace(plan.on_entry(&self.order, now, evidence));
        self
    }

    fn announce(&mut self, told: EventType, to: OrderState, brought: &Brought, late: bool) {
        let event_type = self.once(told);
        let previous_state = self.events.last().map_or(self.order.state, |e: &OrderEvent| e.state);
        let state = told.state_within(to);
        if let Some((kind, outcome)) = told.settles() {
            self.settle(kind, outcome);
        }
        let refund = self.refund_spoken_of(told, brought.source).map(|r| r.command.clone());
        let command = if told.is_about_refund() { refund } else { Some(self.order.payment.command.clone()) };
        self.order.version += 1;
        self.events.push(OrderEvent {
            event_type,
            version: self.order.version,
            previous_state,
            state,
            evidence: brought.source,
            doku_status: brought.doku_status.clone().or_else(|| self.order.doku_status.clone()),
            command,
            error: brought.error.clone(),
            late: late && matches!(told, EventType::OrderPaid | EventType::OrderRefunded),
        });
    }

    /// The refund an event can be about: one that was declined or abandoned made nothing, so an
    /// `order.refunded` is then about a refund that nobody here commanded, unless its own late answer told.
    fn refund_spoken_of(&self, told: EventType, source: EvidenceSource) -> Option<&Progress> {
        let refund = self.order.refund.as_ref()?;
        let made_nothing = match refund.outcome {
            Some(Outcome::Declined | Outcome::Abandoned) => true,
            Some(Outcome::Accepted | Outcome::Unresolved | Outcome::Rejected) | None => false,
        };
        let is_anothers =
            told == EventType::OrderRefunded && made_nothing && source != EvidenceSource::Response;
        (!is_anothers).then_some(refund)
    }

    /// A state that was announced before is announced as `order.resolved`.
    fn once(&mut self, told: EventType) -> EventType {
        let announced = &mut self.order.announced;
        let before = match told {
            EventType::OrderPaid => std::mem::replace(&mut announced.paid, true),
            EventType::OrderRefunded => std::mem::replace(&mut announced.refunded, true),
            EventType::OrderFailed | EventType::PaymentDeclined => {
                std::mem::replace(&mut announced.failed, true)
            }
            EventType::PaymentAccepted
            | EventType::PaymentUnresolved
            | EventType::PaymentAbandoned
            | EventType::RefundAccepted
            | EventType::RefundDeclined
            | EventType::RefundUnresolved
            | EventType::RefundAbandoned
            | EventType::OrderExpired
            | EventType::OrderReview
            | EventType::OrderResolved
            | EventType::CommandRejected => false,
        };
        if before { EventType::OrderResolved } else { told }
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
    pub(super) fn with_report(self, report: &Report, source: EvidenceSource, plan: &Plan, now: Time) -> Self {
        let reported = self.order.request_of(report, plan);
        let mut change = Self { reported, ..self };
        if reported == Some(RequestOf::Another) {
            return change.with_another_request(report.status, source, plan, now);
        }
        if report.status == ReportedStatus::Refunded && report.amount.is(change.order.amount) {
            change.refuse_unsent_refund();
        }
        let brought = Brought::by(source).with_status(&report.word);
        if report.amount.is(change.order.amount) {
            return change.with(Evidence::Reported(report.status), brought, plan, now);
        }
        let message = format!("DOKU named another amount than the order's {}", change.order.amount);
        change.with(
            Evidence::OtherAmount,
            brought.with_error(EventError::ours("amount_mismatch", message)),
            plan,
            now,
        )
    }
    /// What another request for the invoice came to decides nothing here; that money moved is for a person.
    fn with_another_request(
        self,
        status: ReportedStatus,
        source: EvidenceSource,
        plan: &Plan,
        now: Time,
    ) -> Self {
        let (evidence, done) = match status {
            ReportedStatus::Success => (Evidence::OtherRequestPaid, "paid"),
            ReportedStatus::Refunded => (Evidence::OtherRequestRefunded, "refunded"),
            ReportedStatus::Failed | ReportedStatus::Expired | ReportedStatus::NotFinal => return self,
        };
        let message = format!("DOKU says that another request for this invoice was {done}");
        let error = EventError::ours(OTHER_REQUEST, message);
        self.with(evidence, Brought::by(source).with_error(error), plan, now)
    }
}

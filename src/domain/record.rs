//! An order as the store keeps it, and what can be read from it. The store asks one of its functions
//! `after_…` or `apply_…`, here and in `attempt`, and writes the `Change` that it gets back.

use super::{
    Time,
    attempt::AttemptOf,
    change::{Attribution, Change, DueChange, RequestOf},
    command::{CommandKind, CommandRef, Order, Outcome, RefundRefusal},
    event::EvidenceSource,
    finding::{Report, ReportedStatus},
    ids::{InvoiceNumber, MerchantName, RequestId},
    money::Rupiah,
    notification::{NotApplied, Notification},
    order::{OrderState, ReviewCause, Verdict},
    reconcile::Evidence,
    schedule::{AttemptSchedule, Due, InquiryRank},
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
    /// Which states its `order.*` events have announced: none is announced twice.
    pub announced: Announced,
    pub doku_status: Option<String>,
    pub evidence: Option<EvidenceSource>,
    /// Inquiries made since it became this state, or since its open command came into doubt.
    pub checks_made: u32,
    pub origin: Origin,
    pub payment: Progress,
    /// The latest refund.
    pub refund: Option<Progress>,
    /// The Request-Ids of refunds before that one.
    pub earlier_refunds: Vec<RequestId>,
}

/// Why there is an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A command asked for its payment.
    Command,
    /// It was paid before this service was there: an operator's file says so. What the payment's progress has as its
    /// command is none, and its Request-Id is DOKU's only if the file names it.
    Import { names_request: bool },
}

/// States that were announced by an `order.paid`, `order.failed`, `order.expired`, `order.refunded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Announced {
    pub paid: bool,
    pub failed: bool,
    pub expired: bool,
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

impl OrderRecord {
    /// The order of a new payment, as its claim opens it.
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
            origin: Origin::Command,
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

    /// The command that has no outcome yet.
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

    /// The command that an attempt was for.
    pub(super) fn command_mut(&mut self, of: AttemptOf) -> Option<&mut Progress> {
        match of {
            AttemptOf::Payment => Some(&mut self.payment),
            AttemptOf::Refund => self.refund.as_mut(),
            AttemptOf::EarlierRefund => None,
        }
    }

    /// As `Progress::doubt` of one of its commands. Where doubt of the open one begins, so do the intervals between its
    /// inquiries: those made before were about something else.
    pub(super) fn doubt(
        &mut self,
        command: impl FnOnce(&mut Self) -> Option<&mut Progress>,
        sent_at: Time,
        last: Time,
    ) {
        let is_doubted = |order: &Self| order.open_command().is_some_and(|c| c.maybe_acted_at.is_some());
        let was_doubted = is_doubted(self);
        if let Some(command) = command(self) {
            command.doubt(sent_at, last);
        }
        if !was_doubted && is_doubted(self) {
            self.checks_made = 0;
        }
    }

    /// When DOKU was last sent this order; its claim, where evidence came before any send.
    pub fn sent_at(&self) -> Time {
        self.payment.last_send_at.unwrap_or(self.payment.claimed_at)
    }

    /// Whether its events say that no money comes: by what it is now, or by what was announced before a review of it and
    /// not taken back since.
    pub(super) fn ended_unpaid(&self) -> bool {
        let is_unpaid =
            matches!(self.state, OrderState::Failed | OrderState::Expired | OrderState::Abandoned);
        let Announced { paid, failed, expired, .. } = self.announced;
        let is_abandoned = self.payment.outcome == Some(Outcome::Abandoned);
        is_unpaid || (!paid && (failed || expired || is_abandoned))
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

    /// Whether DOKU must say that it is paid before its next refund is sent: nothing here has seen the payment. A refund
    /// that was not sent may never have heard that it is paid.
    pub fn is_paid_by_a_file_alone(&self) -> bool {
        self.origin != Origin::Command && self.refund.as_ref().is_none_or(|refund| refund.sends == 0)
    }

    /// Whether it is not known what DOKU did with the latest refund.
    pub fn refund_is_unresolved(&self) -> bool {
        self.refund.as_ref().is_some_and(|refund| refund.outcome == Some(Outcome::Unresolved))
    }

    /// Which request a report is about; `None` if it does not name one, or it does not matter.
    pub fn request_of(&self, report: &Report, schedule: &AttemptSchedule) -> Option<RequestOf> {
        let is_known = self.origin != Origin::Import { names_request: false };
        let named = report.request.as_deref().filter(|_| schedule.match_request_id && is_known)?;
        let commanded = [Some(&self.payment), self.refund.as_ref()];
        let own = commanded.into_iter().flatten().map(|progress| &progress.command.request_id);
        let is_own = own.chain(&self.earlier_refunds).any(|own| own.as_str() == named);
        Some(if is_own { RequestOf::Order } else { RequestOf::Another })
    }

    /// What a verified notification about this order changes; `already_reported`: the same report came before. The
    /// same evidence again is no new evidence, also if a person has decided in between.
    pub fn apply_notification(
        self,
        notification: &Notification,
        already_reported: bool,
        schedule: &AttemptSchedule,
        now: Time,
    ) -> (Change, Option<NotApplied>) {
        let Some(report) = notification.report() else {
            return (Change::none(self), Some(NotApplied::Incomplete));
        };
        let is_anothers = self.request_of(&report, schedule) == Some(RequestOf::Another);
        match (is_anothers, already_reported) {
            (true, true) => return (Change::none(self), Some(NotApplied::OtherRequest)),
            (false, true) => return (Change::none(self), Some(NotApplied::Duplicate)),
            (true, false) => {
                let change = self.apply_report(&report, schedule, now);
                return (change, Some(NotApplied::OtherRequest));
            }
            (false, false) => {}
        }
        let (before, amount) = (self.state, self.amount);
        let change = self.apply_report(&report, schedule, now);
        let reason = if !report.amount.is(amount) {
            Some(NotApplied::AmountMismatch)
        } else if change.order.state == before {
            Some(NotApplied::NoChange)
        } else {
            None
        };
        (change, reason)
    }

    /// What a verified notification changes.
    pub fn apply_report(self, report: &Report, schedule: &AttemptSchedule, now: Time) -> Change {
        Change::none(self).with_report(report, EvidenceSource::Notification, schedule, now)
    }

    /// No word of DOKU's makes an order that was paid once unpaid: it may be in review, for a refund of another request,
    /// when a late Failed or Expired comes.
    pub(super) fn stays_paid(&self, evidence: Evidence) -> bool {
        let unpaid = matches!(
            evidence,
            Evidence::AnswerFailed | Evidence::Reported(ReportedStatus::Failed | ReportedStatus::Expired)
        );
        unpaid && self.announced.paid && self.state == OrderState::Review(ReviewCause::OtherRequest)
    }

    /// What an operator's decision changes; nothing outside of review.
    pub fn after_verdict(self, verdict: Verdict, schedule: &AttemptSchedule, now: Time) -> Change {
        let attribution = Attribution::by(EvidenceSource::Operator);
        Change::none(self).bring(Evidence::Operator(verdict), attribution, schedule, now)
    }

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

impl Progress {
    /// Since when it is not known whether DOKU acted; `None`: without doubt.
    pub fn doubt_since(&self) -> Option<Time> {
        self.maybe_acted_at.map(|last| self.doubted_at.unwrap_or(last))
    }

    /// A send that was made then may have acted as late as `last`.
    fn doubt(&mut self, sent_at: Time, last: Time) {
        self.doubted_at = self.doubt_since().or(Some(sent_at));
        self.maybe_acted_at = self.maybe_acted_at.max(Some(last));
    }

    /// Authority says that nothing acted.
    pub(super) fn clear_doubt(&mut self) {
        (self.maybe_acted_at, self.doubted_at) = (None, None);
    }

    /// Whether nothing of it can have been sent: it waits for DOKU's word, and waited for it all the time.
    pub fn is_unsent(&self) -> bool {
        self.ask_first && self.sends == 0 && self.maybe_acted_at.is_none()
    }
}

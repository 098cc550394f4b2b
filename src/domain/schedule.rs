//! What an order waits for, and when: the next send of its open command, and the next inquiry.
//!
//! Time and chance come in: `now` is the database's clock, `chance` a number in [0, 1).

use super::{
    Time,
    command::CommandKind,
    finding::AttemptKind,
    order::{OrderState, ReviewCause},
    reconcile::Evidence,
    record::{OrderRecord, Progress},
    retry::RetryPolicy,
};
use std::time::Duration;

/// After this many failed inquiries in a row, made after the sends have ended, we give up.
pub(super) const FAILED_INQUIRIES_MAX: u32 = 3;

/// Everything configured that decides when we ask DOKU again.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptSchedule {
    pub retry: RetryPolicy,
    pub check: CheckSchedule,
    /// `doku.trust_response`: a synchronous Success is a confirmed payment.
    pub trust_response: bool,
    /// `doku.match_request_id`: a report that names another request than the order's own is not about it.
    pub match_request_id: bool,
}

/// The schedule of Check Status (`check.*`).
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSchedule {
    /// The first inquiry of an order that waits, counted from its last send, and of a command in doubt, counted
    /// from the first send that left it so; then intervals double.
    pub first_after: Duration,
    pub max_interval: Duration,
    /// A signed not-found proves nothing before this has passed since the last send that may have acted.
    pub not_found_grace: Duration,
    /// An order that still waits for its customer after this goes to review, counted from its last send.
    pub give_up_after: Duration,
    /// Inquiries of orders that became `failed` by status, `expired`, or `review` by a spent budget or
    /// another request, counted from that change.
    pub afterwards: Vec<Duration>,
}

/// What an order waits for, and when: an inquiry always, since nothing is concluded without one, and a send
/// where one may still start. Each has a time of its own, and neither puts the other off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub inquiry: DueInquiry,
    pub send: Option<DueSend>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueInquiry {
    pub at: Time,
    pub rank: InquiryRank,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueSend {
    pub at: Time,
    /// No send starts after it.
    pub ends_at: Time,
    pub rank: SendRank,
}

/// Why an inquiry is due: while many are, they go in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InquiryRank {
    /// DOKU may have acted on a command, and it is not known whether it did.
    Doubt,
    /// The customer is to pay.
    Waiting,
    /// The sends of a command have ended, and none can have acted by our records.
    Conclusion,
    /// The order has ended: a late change is looked for.
    Afterwards,
    /// The database went back in time.
    Restored,
}

impl InquiryRank {
    pub const ALL: [Self; 5] =
        [Self::Doubt, Self::Waiting, Self::Conclusion, Self::Afterwards, Self::Restored];

    /// As it is stored.
    pub fn number(self) -> i16 {
        match self {
            Self::Doubt => 0,
            Self::Waiting => 1,
            Self::Conclusion => 2,
            Self::Afterwards => 3,
            Self::Restored => 4,
        }
    }
}

/// What a due send is: the kinds take turns in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SendRank {
    /// A payment that was not sent yet: those with most time left go first, so that a backlog does not make
    /// every payment late.
    First,
    /// A payment that was sent before.
    Again,
    /// A refund, sent before or not: the oldest goes first.
    Refund,
}

impl SendRank {
    pub const ALL: [Self; 3] = [Self::First, Self::Again, Self::Refund];

    /// As it is stored.
    pub fn number(self) -> i16 {
        match self {
            Self::First => 0,
            Self::Again => 1,
            Self::Refund => 2,
        }
    }

    fn for_command(command: &Progress) -> Self {
        match command.kind {
            CommandKind::Refund => Self::Refund,
            CommandKind::Payment if command.sends == 0 => Self::First,
            CommandKind::Payment => Self::Again,
        }
    }
}

/// An attempt whose lease ran out without a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostAttempt {
    pub kind: AttemptKind,
    pub started_at: Time,
    pub lease_ended_at: Time,
    pub now: Time,
}

impl Due {
    pub fn inquiry(at: Time, rank: InquiryRank) -> Self {
        Self { inquiry: DueInquiry { at, rank }, send: None }
    }

    /// The first of its times.
    pub fn first_at(&self) -> Time {
        self.send.map_or(self.inquiry.at, |send| send.at.min(self.inquiry.at))
    }

    /// Whether a send may start now.
    pub fn sends_at(&self, now: Time) -> bool {
        self.send.is_some_and(|send| send.at <= now && now < send.ends_at)
    }

    /// Whether an inquiry goes before the next send: DOKU may have acted, and it is time to ask.
    pub fn asks_first(&self, now: Time) -> bool {
        self.inquiry.rank == InquiryRank::Doubt && self.inquiry.at <= now
    }
}

impl AttemptSchedule {
    /// What an open command waits for, where its next send may start at `send_at` and `inquiries` were made
    /// since it was opened, or came into doubt.
    pub fn open(&self, command: &Progress, inquiries: u32, send_at: Time) -> Due {
        let send =
            DueSend { at: send_at, ends_at: command.sends_end_at, rank: SendRank::for_command(command) };
        if command.ask_first {
            return Due::inquiry(send_at, InquiryRank::Doubt);
        }
        let send = (send_at < command.sends_end_at).then_some(send);
        let inquiry = match command.doubt_since() {
            Some(since) => self.doubt_asked_at(command, inquiries, since, send),
            None => DueInquiry { at: self.concludes_from(command), rank: InquiryRank::Conclusion },
        };
        Due { inquiry, send }
    }

    /// What the claim of a refund waits for.
    pub fn opened_refund(&self, now: Time, sends_end_at: Time) -> Due {
        Due {
            inquiry: DueInquiry { at: sends_end_at + self.check.first_after, rank: InquiryRank::Conclusion },
            send: Some(DueSend { at: now, ends_at: sends_end_at, rank: SendRank::Refund }),
        }
    }

    /// The first inquiry a while after the doubt began, then at doubled intervals; a resend after that first
    /// time has an inquiry before it, and the end of the sends has one at once.
    fn doubt_asked_at(
        &self,
        command: &Progress,
        inquiries: u32,
        since: Time,
        send: Option<DueSend>,
    ) -> DueInquiry {
        let first = since + self.check.first_after;
        let asked = command.inquired_at.filter(|asked| *asked >= since);
        let scheduled = asked.map_or(first, |asked| asked + self.interval(inquiries));
        let is_asked = command.inquired_at >= command.last_send_at && command.inquired_at.is_some();
        let before_send = send.map(|send| send.at).filter(|at| *at >= first && !is_asked);
        let at = before_send.map_or(scheduled, |send| scheduled.min(send)).min(command.sends_end_at);
        DueInquiry { at, rank: InquiryRank::Doubt }
    }

    /// From when on an inquiry concludes about an open command: after its sends have ended. Where by our records
    /// nothing can have acted, a while later: then DOKU has had time to know what our records may have lost.
    pub fn concludes_from(&self, command: &Progress) -> Time {
        match command.maybe_acted_at {
            Some(_) => command.sends_end_at,
            None => command.sends_end_at + self.check.first_after,
        }
    }

    /// When an open command is sent again after `tries` tries that did not settle it.
    pub fn next_send(&self, tries: u32, now: Time, retry_after: Option<Duration>, chance: f64) -> Time {
        now + self.retry.wait(tries, chance, retry_after)
    }

    /// After the sends have ended, an inquiry that failed is made again.
    pub fn ask_again(
        &self,
        command: &Progress,
        asked_at: Time,
        now: Time,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Due {
        let wait = self.retry.wait(command.failed_inquiries, chance, retry_after);
        let rank = match command.maybe_acted_at {
            Some(_) => InquiryRank::Doubt,
            None => InquiryRank::Conclusion,
        };
        Due::inquiry((now + wait).max(asked_at + self.check.first_after / 2), rank)
    }

    /// What an order waits for after an attempt of it that was lost; `due` is what it waited for before.
    pub fn after_lost(&self, order: &OrderRecord, lost: &LostAttempt, due: &Due, chance: f64) -> Due {
        let now = lost.now;
        let Some(command) = order.open_command() else {
            return Due::inquiry(now, due.inquiry.rank);
        };
        match lost.kind {
            AttemptKind::Send => self.open(command, order.checks_made, now),
            AttemptKind::Inquiry if lost.started_at >= command.sends_end_at => {
                self.ask_again(command, lost.started_at, now, None, chance)
            }
            AttemptKind::Inquiry => {
                self.open(command, order.checks_made, due.send.map_or(now, |send| send.at))
            }
        }
    }

    /// Whether a signed not-found, asked for at `asked_at`, proves that a payment's send did not act.
    pub fn grace_is_over(&self, command: &Progress, asked_at: Time) -> bool {
        command.maybe_acted_at.is_none_or(|sent| asked_at >= sent + self.check.not_found_grace)
    }

    /// The end of that grace: asking earlier teaches nothing new.
    pub fn grace_end(&self, command: &Progress) -> Option<Time> {
        command.maybe_acted_at.map(|sent| sent + self.check.not_found_grace)
    }

    /// Whether an order has waited for its customer for too long.
    pub fn gives_up(&self, order: &OrderRecord, asked_at: Time) -> bool {
        order.state == OrderState::AwaitingPayment && asked_at >= order.sent_at() + self.check.give_up_after
    }

    /// What an order waits for when `evidence` has moved it to its state: an operator's decision and an
    /// error answer are not asked about again, DOKU's status words and a spent budget are.
    pub fn on_entry(&self, order: &OrderRecord, now: Time, evidence: Evidence) -> Option<Due> {
        match order.state {
            OrderState::AwaitingPayment => {
                let at = (order.sent_at() + self.check.first_after).max(now);
                Some(Due::inquiry(at, InquiryRank::Waiting))
            }
            OrderState::Failed | OrderState::Expired => match evidence {
                Evidence::AnswerFailed | Evidence::Reported(_) => self.afterwards(order),
                Evidence::AnswerTaken
                | Evidence::AnswerDeclined
                | Evidence::RefundAnswerSuccess
                | Evidence::RefundAnswerFailed
                | Evidence::RefundAnswerDeclined
                | Evidence::OtherAmount
                | Evidence::OtherRequestPaid
                | Evidence::OtherRequestRefunded
                | Evidence::EndedWithoutAct
                | Evidence::EndedInDoubt
                | Evidence::CheckGaveUp
                | Evidence::Operator(_) => None,
            },
            OrderState::Review(
                ReviewCause::PaymentUnresolved | ReviewCause::RefundUnresolved | ReviewCause::OtherRequest,
            ) => self.afterwards(order),
            OrderState::Submitting
            | OrderState::Refunding
            | OrderState::Paid
            | OrderState::Abandoned
            | OrderState::Refunded
            | OrderState::Review(ReviewCause::CheckGaveUp | ReviewCause::AmountMismatch) => None,
        }
    }

    /// The next inquiry of an order without an open command, after one that changed nothing.
    pub fn next_inquiry(&self, order: &OrderRecord, now: Time) -> Option<Due> {
        match order.state {
            OrderState::AwaitingPayment => {
                Some(Due::inquiry(now + self.interval(order.checks_made), InquiryRank::Waiting))
            }
            // One that DOKU's own key prompted: there is no schedule to go on with.
            OrderState::Paid | OrderState::Refunded => None,
            OrderState::Submitting
            | OrderState::Refunding
            | OrderState::Failed
            | OrderState::Expired
            | OrderState::Abandoned
            | OrderState::Review(_) => self.afterwards(order),
        }
    }

    /// The same after one that failed. If an order has ended and no other inquiry is to come, this one is made again, a
    /// few times: something made it due, and it may be all that tells of money. What a restore asks about is asked about
    /// until `check.give_up_after_ms`.
    pub fn after_failed(&self, order: &OrderRecord, rank: Option<InquiryRank>, now: Time) -> Option<Due> {
        let next = self.next_inquiry(order, now);
        let is_restored = rank == Some(InquiryRank::Restored);
        if order.state.is_open() || (next.is_some() && !is_restored) {
            return next;
        }
        let failed = order.payment.failed_inquiries;
        let goes_on = failed < FAILED_INQUIRIES_MAX
            || (is_restored && now < order.state_since + self.check.give_up_after);
        let wait = self.interval(failed.saturating_sub(1));
        let again = Due::inquiry(now + wait, rank.unwrap_or(InquiryRank::Afterwards));
        if goes_on { Some(again) } else { next }
    }

    /// The time between two inquiries after this many were made.
    fn interval(&self, inquiries: u32) -> Duration {
        let doublings = inquiries.min(u32::BITS - 1);
        let doubled = self.check.first_after.saturating_mul(1_u32 << doublings);
        doubled.min(self.check.max_interval).max(Duration::from_millis(1))
    }

    /// The next inquiry of an order that has ended.
    pub(super) fn afterwards(&self, order: &OrderRecord) -> Option<Due> {
        let step = usize::try_from(order.checks_made).ok()?;
        let at = |after: &Duration| order.state_since + *after;
        self.check.afterwards.get(step).map(|after| Due::inquiry(at(after), InquiryRank::Afterwards))
    }
}

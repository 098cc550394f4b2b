//! What an order waits for, and when: the next send of its open command, or the next inquiry.
//!
//! Time and chance come in: `now` is the database's clock, `chance` a number in [0, 1).

use super::{
    Time,
    learned::AttemptKind,
    order::{OrderState, ReviewCause},
    reconcile::Evidence,
    record::{OrderRecord, Progress},
    retry::RetryPolicy,
};
use std::time::Duration;

/// Everything configured that decides when we ask DOKU again.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub retry: RetryPolicy,
    pub check: CheckPlan,
    /// `doku.trust_response`: a synchronous Success is a confirmed payment.
    pub trust_response: bool,
}

/// The schedule of Check Status (`check.*`).
#[derive(Debug, Clone, PartialEq)]
pub struct CheckPlan {
    /// The first inquiry of an order that waits, counted from its last send; then intervals double.
    pub first_after: Duration,
    pub max_interval: Duration,
    /// A signed not-found proves nothing before this has passed since the last send that may have acted.
    pub not_found_grace: Duration,
    /// An order that still waits for its customer after this goes to review, counted from its last send.
    pub give_up_after: Duration,
    /// Inquiries of orders that became `failed` by status, `expired`, or `review` by a spent budget,
    /// counted from that change.
    pub afterwards: Vec<Duration>,
}

/// What an order waits for, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub kind: AttemptKind,
    pub at: Time,
    /// No send starts after it; only where `kind` is a send.
    pub sends_end_at: Option<Time>,
}

impl Due {
    pub fn send(at: Time, sends_end_at: Time) -> Self {
        Self { kind: AttemptKind::Send, at, sends_end_at: Some(sends_end_at) }
    }

    pub fn inquiry(at: Time) -> Self {
        Self { kind: AttemptKind::Inquiry, at, sends_end_at: None }
    }
}

/// What to do about an order whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Send,
    Inquire,
    /// The sends have ended and DOKU certainly did nothing: nobody needs to be asked.
    Abandon,
}

impl Plan {
    /// Judged again when the time has come: an order may be picked up long after its due time.
    pub fn next(&self, order: &OrderRecord, now: Time) -> Next {
        match order.open_command() {
            None => Next::Inquire,
            Some(command) if now >= command.sends_end_at => {
                if command.maybe_acted_at.is_some() {
                    Next::Inquire
                } else {
                    Next::Abandon
                }
            }
            Some(command) if self.asks_first(command, now) => Next::Inquire,
            Some(_) => Next::Send,
        }
    }

    /// A command in doubt whose last send is long ago is inquired before it is sent again.
    fn asks_first(&self, command: &Progress, at: Time) -> bool {
        command.maybe_acted_at.is_some()
            && !command.inquired
            && command.last_send_at.is_some_and(|sent| at >= sent + self.check.first_after)
    }

    /// When an open command is attempted again after one that did not settle it.
    pub fn next_attempt(
        &self,
        command: &Progress,
        now: Time,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Due {
        let tries = command.sends.saturating_add(command.failed_inquiries);
        let at = now + self.retry.wait(tries, chance, retry_after);
        if now >= command.sends_end_at {
            return self.after_end(command, now, at);
        }
        let at = at.min(command.sends_end_at);
        if command.maybe_acted_at.is_some() && (at == command.sends_end_at || self.asks_first(command, at)) {
            Due::inquiry(at)
        } else {
            Due::send(at, command.sends_end_at)
        }
    }

    fn after_end(&self, command: &Progress, now: Time, at: Time) -> Due {
        if command.maybe_acted_at.is_some() { Due::inquiry(at) } else { Due::send(now, command.sends_end_at) }
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
                Some(Due::inquiry((order.sent_at() + self.check.first_after).max(now)))
            }
            OrderState::Failed | OrderState::Expired => match evidence {
                Evidence::AnswerFailed | Evidence::Reported(_) => self.afterwards(order),
                Evidence::AnswerTaken
                | Evidence::AnswerDeclined
                | Evidence::RefundAnswerSuccess
                | Evidence::RefundAnswerFailed
                | Evidence::RefundAnswerDeclined
                | Evidence::OtherAmount
                | Evidence::EndedWithoutAct
                | Evidence::EndedInDoubt
                | Evidence::CheckGaveUp
                | Evidence::Operator(_) => None,
            },
            OrderState::Review(ReviewCause::PaymentUnresolved | ReviewCause::RefundUnresolved) => {
                self.afterwards(order)
            }
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
        if order.state != OrderState::AwaitingPayment {
            return self.afterwards(order);
        }
        let doublings = order.checks_made.min(u32::BITS - 1);
        let interval = self.check.first_after.saturating_mul(1_u32 << doublings).min(self.check.max_interval);
        Some(Due::inquiry(now + interval.max(Duration::from_millis(1))))
    }

    fn afterwards(&self, order: &OrderRecord) -> Option<Due> {
        let step = usize::try_from(order.checks_made).ok()?;
        self.check.afterwards.get(step).map(|after| Due::inquiry(order.state_since + *after))
    }
}

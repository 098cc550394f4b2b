//! The table: what a piece of evidence does to an order in a state. Total, without a wildcard arm, so
//! that a new state or a new kind of evidence does not compile until every combination was thought of.
//!
//! Evidence is a set, not a sequence: whatever the order in which it arrives, the order ends in the same
//! state (`failed` and `expired` counted as one). So a confirmed success is stronger than a failure, a
//! refund stronger than a success, and another amount stronger than all of them.

use super::{
    event::EventType::{
        self, OrderExpired, OrderFailed, OrderPaid, OrderRefunded, OrderReview, PaymentAbandoned,
        PaymentAccepted, PaymentDeclined, RefundAbandoned, RefundAccepted, RefundDeclined,
    },
    finding::ReportedStatus::{self, NotFinal, Success},
    order::{
        OrderState::{self, Abandoned, AwaitingPayment, Paid, Refunding, Review, Submitting},
        ReviewCause::{AmountMismatch, CheckGaveUp, OtherRequest, PaymentUnresolved, RefundUnresolved},
        Verdict,
    },
};

/// A piece of evidence about an order, from any source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// DOKU's answer to the payment: Pending or Success. The customer has still to pay.
    AnswerTaken,
    /// DOKU's answer to the payment: Failed.
    AnswerFailed,
    /// DOKU answered the payment with an error of its own, and no earlier send can have acted.
    AnswerDeclined,
    /// DOKU's answer to the refund: Success.
    RefundAnswerSuccess,
    /// DOKU's answer to the refund: Failed.
    RefundAnswerFailed,
    /// DOKU answered the refund with an error of its own, and no earlier send can have acted.
    RefundAnswerDeclined,
    /// A notification, a Check Status answer, or a synchronous answer that is trusted.
    Reported(ReportedStatus),
    /// A verified amount that is not the order's.
    OtherAmount,
    /// A report about another request for the invoice: that one was paid.
    OtherRequestPaid,
    /// The same: that one was refunded.
    OtherRequestRefunded,
    /// The open command's sends have ended, and DOKU certainly did nothing.
    EndedWithoutAct,
    /// The open command's sends have ended, and what DOKU did cannot be found out.
    EndedInDoubt,
    /// Check Status found nothing new for too long.
    CheckGaveUp,
    /// A person decided.
    Operator(Verdict),
}

impl Evidence {
    pub const ALL: [Self; 20] = [
        Self::AnswerTaken,
        Self::AnswerFailed,
        Self::AnswerDeclined,
        Self::RefundAnswerSuccess,
        Self::RefundAnswerFailed,
        Self::RefundAnswerDeclined,
        Self::Reported(Success),
        Self::Reported(ReportedStatus::Failed),
        Self::Reported(ReportedStatus::Expired),
        Self::Reported(ReportedStatus::Refunded),
        Self::Reported(NotFinal),
        Self::OtherAmount,
        Self::OtherRequestPaid,
        Self::OtherRequestRefunded,
        Self::EndedWithoutAct,
        Self::EndedInDoubt,
        Self::CheckGaveUp,
        Self::Operator(Verdict::Paid),
        Self::Operator(Verdict::Failed),
        Self::Operator(Verdict::Refunded),
    ];
}

/// What evidence does to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Stay,
    /// The order moves, and these events say so, in this order.
    Move(OrderState, &'static [EventType]),
}
use Step::{Move, Stay};

/// The table of order states: what one piece of evidence does to an order in one state.
pub fn reconcile(state: OrderState, evidence: Evidence) -> Step {
    match state {
        Submitting => while_submitting(evidence),
        AwaitingPayment => while_awaiting_payment(evidence),
        Paid => once_paid(evidence),
        OrderState::Failed | OrderState::Expired | Abandoned => once_not_paid(evidence),
        Refunding => while_refunding(evidence),
        OrderState::Refunded => once_refunded(evidence),
        Review(PaymentUnresolved) | Review(CheckGaveUp) => in_review_of_payment(evidence),
        Review(RefundUnresolved) => in_review_of_refund(evidence),
        Review(AmountMismatch) => in_review_of_amount(evidence),
        Review(OtherRequest) => in_review_of_other_request(evidence),
    }
}

fn while_submitting(evidence: Evidence) -> Step {
    match evidence {
        Evidence::AnswerTaken | Evidence::Reported(NotFinal) => Move(AwaitingPayment, &[PaymentAccepted]),
        Evidence::AnswerFailed | Evidence::AnswerDeclined | Evidence::Reported(ReportedStatus::Failed) => {
            Move(OrderState::Failed, &[PaymentDeclined])
        }
        Evidence::Reported(Success) => Move(Paid, &[PaymentAccepted, OrderPaid]),
        Evidence::Reported(ReportedStatus::Expired) => {
            Move(OrderState::Expired, &[PaymentAccepted, OrderExpired])
        }
        Evidence::Reported(ReportedStatus::Refunded) | Evidence::RefundAnswerSuccess => {
            Move(OrderState::Refunded, &[PaymentAccepted, OrderRefunded])
        }
        Evidence::OtherAmount => Move(Review(AmountMismatch), &[EventType::PaymentUnresolved, OrderReview]),
        Evidence::OtherRequestPaid | Evidence::OtherRequestRefunded => {
            Move(Review(OtherRequest), &[EventType::PaymentUnresolved, OrderReview])
        }
        Evidence::EndedWithoutAct => Move(Abandoned, &[PaymentAbandoned]),
        Evidence::EndedInDoubt => Move(Review(PaymentUnresolved), &[EventType::PaymentUnresolved]),
        Evidence::RefundAnswerFailed
        | Evidence::RefundAnswerDeclined
        | Evidence::CheckGaveUp
        | Evidence::Operator(_) => Stay,
    }
}

fn while_awaiting_payment(evidence: Evidence) -> Step {
    match evidence {
        Evidence::Reported(Success) => Move(Paid, &[OrderPaid]),
        Evidence::AnswerFailed | Evidence::Reported(ReportedStatus::Failed) => {
            Move(OrderState::Failed, &[OrderFailed])
        }
        Evidence::Reported(ReportedStatus::Expired) => Move(OrderState::Expired, &[OrderExpired]),
        Evidence::Reported(ReportedStatus::Refunded) | Evidence::RefundAnswerSuccess => {
            Move(OrderState::Refunded, &[OrderRefunded])
        }
        Evidence::OtherAmount => Move(Review(AmountMismatch), &[OrderReview]),
        Evidence::OtherRequestPaid | Evidence::OtherRequestRefunded => {
            Move(Review(OtherRequest), &[OrderReview])
        }
        Evidence::CheckGaveUp => Move(Review(CheckGaveUp), &[OrderReview]),
        Evidence::AnswerTaken
        | Evidence::AnswerDeclined
        | Evidence::RefundAnswerFailed
        | Evidence::RefundAnswerDeclined
        | Evidence::Reported(NotFinal)
        | Evidence::EndedWithoutAct
        | Evidence::EndedInDoubt
        | Evidence::Operator(_) => Stay,
    }
}

/// No order leaves `paid` because of a late Failed, Pending or Expired.
fn once_paid(evidence: Evidence) -> Step {
    match evidence {
        Evidence::Reported(ReportedStatus::Refunded) | Evidence::RefundAnswerSuccess => {
            Move(OrderState::Refunded, &[OrderRefunded])
        }
        Evidence::OtherAmount => Move(Review(AmountMismatch), &[OrderReview]),
        Evidence::OtherRequestRefunded => Move(Review(OtherRequest), &[OrderReview]),
        Evidence::AnswerTaken
        | Evidence::AnswerFailed
        | Evidence::AnswerDeclined
        | Evidence::RefundAnswerFailed
        | Evidence::RefundAnswerDeclined
        | Evidence::Reported(Success | ReportedStatus::Failed | ReportedStatus::Expired | NotFinal)
        | Evidence::OtherRequestPaid
        | Evidence::EndedWithoutAct
        | Evidence::EndedInDoubt
        | Evidence::CheckGaveUp
        | Evidence::Operator(_) => Stay,
    }
}

/// `failed`, `expired`, `abandoned`: a later confirmed success still counts.
fn once_not_paid(evidence: Evidence) -> Step {
    match evidence {
        Evidence::Reported(Success) => Move(Paid, &[OrderPaid]),
        Evidence::Reported(ReportedStatus::Refunded) | Evidence::RefundAnswerSuccess => {
            Move(OrderState::Refunded, &[OrderRefunded])
        }
        Evidence::OtherAmount => Move(Review(AmountMismatch), &[OrderReview]),
        Evidence::AnswerTaken
        | Evidence::AnswerFailed
        | Evidence::AnswerDeclined
        | Evidence::RefundAnswerFailed
        | Evidence::RefundAnswerDeclined
        | Evidence::Reported(ReportedStatus::Failed | ReportedStatus::Expired | NotFinal)
        | Evidence::OtherRequestPaid
        | Evidence::OtherRequestRefunded
        | Evidence::EndedWithoutAct
        | Evidence::EndedInDoubt
        | Evidence::CheckGaveUp
        | Evidence::Operator(_) => Stay,
    }
}

/// Reports know the invoice, not the refund: anything but Refunded proves nothing about it.
fn while_refunding(evidence: Evidence) -> Step {
    match evidence {
        Evidence::RefundAnswerSuccess | Evidence::Reported(ReportedStatus::Refunded) => {
            Move(OrderState::Refunded, &[RefundAccepted, OrderRefunded])
        }
        Evidence::RefundAnswerFailed | Evidence::RefundAnswerDeclined => Move(Paid, &[RefundDeclined]),
        Evidence::OtherAmount => Move(Review(AmountMismatch), &[EventType::RefundUnresolved, OrderReview]),
        Evidence::EndedWithoutAct => Move(Paid, &[RefundAbandoned]),
        Evidence::EndedInDoubt | Evidence::OtherRequestRefunded => {
            Move(Review(RefundUnresolved), &[EventType::RefundUnresolved])
        }
        Evidence::AnswerTaken
        | Evidence::AnswerFailed
        | Evidence::AnswerDeclined
        | Evidence::Reported(Success | ReportedStatus::Failed | ReportedStatus::Expired | NotFinal)
        | Evidence::OtherRequestPaid
        | Evidence::CheckGaveUp
        | Evidence::Operator(_) => Stay,
    }
}

fn once_refunded(evidence: Evidence) -> Step {
    match evidence {
        Evidence::OtherAmount => Move(Review(AmountMismatch), &[OrderReview]),
        Evidence::AnswerTaken
        | Evidence::AnswerFailed
        | Evidence::AnswerDeclined
        | Evidence::RefundAnswerSuccess
        | Evidence::RefundAnswerFailed
        | Evidence::RefundAnswerDeclined
        | Evidence::Reported(_)
        | Evidence::OtherRequestPaid
        | Evidence::OtherRequestRefunded
        | Evidence::EndedWithoutAct
        | Evidence::EndedInDoubt
        | Evidence::CheckGaveUp
        | Evidence::Operator(_) => Stay,
    }
}

/// The outcome was announced as `unresolved` or the order as given up: later evidence that is final decides.
fn in_review_of_payment(evidence: Evidence) -> Step {
    match evidence {
        Evidence::Reported(Success) => Move(Paid, &[OrderPaid]),
        Evidence::AnswerFailed | Evidence::Reported(ReportedStatus::Failed) => {
            Move(OrderState::Failed, &[OrderFailed])
        }
        Evidence::Reported(ReportedStatus::Expired) => Move(OrderState::Expired, &[OrderExpired]),
        Evidence::Reported(ReportedStatus::Refunded) | Evidence::RefundAnswerSuccess => {
            Move(OrderState::Refunded, &[OrderRefunded])
        }
        Evidence::OtherAmount => Move(Review(AmountMismatch), &[OrderReview]),
        Evidence::Operator(verdict) => decided(verdict),
        Evidence::AnswerTaken
        | Evidence::AnswerDeclined
        | Evidence::RefundAnswerFailed
        | Evidence::RefundAnswerDeclined
        | Evidence::Reported(NotFinal)
        | Evidence::OtherRequestPaid
        | Evidence::OtherRequestRefunded
        | Evidence::EndedWithoutAct
        | Evidence::EndedInDoubt
        | Evidence::CheckGaveUp => Stay,
    }
}

/// Only the refund's own answer, or Refunded, says anything about the refund.
fn in_review_of_refund(evidence: Evidence) -> Step {
    match evidence {
        Evidence::RefundAnswerSuccess | Evidence::Reported(ReportedStatus::Refunded) => {
            Move(OrderState::Refunded, &[OrderRefunded])
        }
        Evidence::RefundAnswerFailed => Move(Paid, &[OrderPaid]),
        Evidence::OtherAmount => Move(Review(AmountMismatch), &[OrderReview]),
        Evidence::Operator(verdict) => decided(verdict),
        Evidence::AnswerTaken
        | Evidence::AnswerFailed
        | Evidence::AnswerDeclined
        | Evidence::RefundAnswerDeclined
        | Evidence::Reported(Success | ReportedStatus::Failed | ReportedStatus::Expired | NotFinal)
        | Evidence::OtherRequestPaid
        | Evidence::OtherRequestRefunded
        | Evidence::EndedWithoutAct
        | Evidence::EndedInDoubt
        | Evidence::CheckGaveUp => Stay,
    }
}

/// A report about our own request decides. A refund's answer is no such report: if a refund is open, the order is in
/// review for that.
fn in_review_of_other_request(evidence: Evidence) -> Step {
    match evidence {
        Evidence::Reported(Success) => Move(Paid, &[OrderPaid]),
        Evidence::AnswerFailed | Evidence::Reported(ReportedStatus::Failed) => {
            Move(OrderState::Failed, &[OrderFailed])
        }
        Evidence::Reported(ReportedStatus::Expired) => Move(OrderState::Expired, &[OrderExpired]),
        Evidence::Reported(ReportedStatus::Refunded) | Evidence::RefundAnswerSuccess => {
            Move(OrderState::Refunded, &[OrderRefunded])
        }
        Evidence::OtherAmount => Move(Review(AmountMismatch), &[OrderReview]),
        Evidence::Operator(verdict) => decided(verdict),
        Evidence::AnswerTaken
        | Evidence::AnswerDeclined
        | Evidence::RefundAnswerFailed
        | Evidence::RefundAnswerDeclined
        | Evidence::Reported(NotFinal)
        | Evidence::OtherRequestPaid
        | Evidence::OtherRequestRefunded
        | Evidence::EndedWithoutAct
        | Evidence::EndedInDoubt
        | Evidence::CheckGaveUp => Stay,
    }
}

/// A contradiction about money: only a person decides.
fn in_review_of_amount(evidence: Evidence) -> Step {
    match evidence {
        Evidence::Operator(verdict) => decided(verdict),
        Evidence::AnswerTaken
        | Evidence::AnswerFailed
        | Evidence::AnswerDeclined
        | Evidence::RefundAnswerSuccess
        | Evidence::RefundAnswerFailed
        | Evidence::RefundAnswerDeclined
        | Evidence::Reported(_)
        | Evidence::OtherAmount
        | Evidence::OtherRequestPaid
        | Evidence::OtherRequestRefunded
        | Evidence::EndedWithoutAct
        | Evidence::EndedInDoubt
        | Evidence::CheckGaveUp => Stay,
    }
}

/// A state that was announced before is announced as `order.resolved` (see `record`).
fn decided(verdict: Verdict) -> Step {
    match verdict {
        Verdict::Paid => Move(Paid, &[OrderPaid]),
        Verdict::Failed => Move(OrderState::Failed, &[OrderFailed]),
        Verdict::Refunded => Move(OrderState::Refunded, &[OrderRefunded]),
    }
}

//! An order's states. Each names who moves an order in and who moves it out; the moves themselves are
//! the table in `reconcile`.

use super::command::CommandKind;

/// Where an order stands. *State* is ours; *status* is DOKU's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderState {
    /// Claimed; DOKU's answer is not known yet. The claim of a payment moves an order in; DOKU's answer,
    /// any evidence, or the end of its sends moves it out.
    Submitting,
    /// DOKU took the request; the customer has still to pay, or the payment to be confirmed.
    AwaitingPayment,
    /// Confirmed. Left only by a refund, or for review when evidence names another amount.
    Paid,
    /// Declined, or confirmed as failed, by an authoritative answer, never because time ran out. A later
    /// confirmed success still moves it to `Paid`.
    Failed,
    /// Confirmed as expired; otherwise as `Failed`.
    Expired,
    /// Given up, and DOKU certainly did nothing; otherwise as `Failed`.
    Abandoned,
    /// A refund is claimed and its outcome is not known. The claim of a refund moves a paid order in.
    Refunding,
    /// The refund is a fact.
    Refunded,
    /// A person must decide; the cause says whether later evidence may decide too.
    Review(ReviewCause),
}

/// Why an order waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReviewCause {
    /// The payment's sends have ended and it is not known what DOKU did. Later evidence decides too.
    PaymentUnresolved,
    /// The refund's sends have ended and it is not known what DOKU did. Later evidence decides too.
    RefundUnresolved,
    /// Check Status found nothing new for `check.give_up_after_ms`. Later evidence decides too.
    CheckGaveUp,
    /// Evidence named another amount than the order's. Only an operator decides.
    AmountMismatch,
    /// DOKU says that another request for the invoice was paid or refunded. Later evidence about our own decides too.
    OtherRequest,
}

impl ReviewCause {
    pub const ALL: [Self; 5] = [
        Self::PaymentUnresolved,
        Self::RefundUnresolved,
        Self::CheckGaveUp,
        Self::AmountMismatch,
        Self::OtherRequest,
    ];

    /// What a person may find out about an order with this cause. One with a refund was paid.
    pub fn verdicts(self) -> &'static [Verdict] {
        match self {
            Self::PaymentUnresolved | Self::CheckGaveUp | Self::AmountMismatch | Self::OtherRequest => {
                &[Verdict::Paid, Verdict::Failed, Verdict::Refunded]
            }
            Self::RefundUnresolved => &[Verdict::Refunded, Verdict::Paid],
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// The name it has in the database and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::PaymentUnresolved => "payment_unresolved",
            Self::RefundUnresolved => "refund_unresolved",
            Self::CheckGaveUp => "check_gave_up",
            Self::AmountMismatch => "amount_mismatch",
            Self::OtherRequest => "other_request",
        }
    }
}

impl OrderState {
    /// Every state, `Review` once for each cause.
    pub const ALL: [Self; 13] = [
        Self::Submitting,
        Self::AwaitingPayment,
        Self::Paid,
        Self::Failed,
        Self::Expired,
        Self::Abandoned,
        Self::Refunding,
        Self::Refunded,
        Self::Review(ReviewCause::PaymentUnresolved),
        Self::Review(ReviewCause::RefundUnresolved),
        Self::Review(ReviewCause::CheckGaveUp),
        Self::Review(ReviewCause::AmountMismatch),
        Self::Review(ReviewCause::OtherRequest),
    ];

    /// The name outsiders see. A review's cause is stored beside it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submitting => "submitting",
            Self::AwaitingPayment => "awaiting_payment",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Abandoned => "abandoned",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
            Self::Review(_) => "review",
        }
    }

    pub fn review_cause(self) -> Option<ReviewCause> {
        match self {
            Self::Review(cause) => Some(cause),
            Self::Submitting
            | Self::AwaitingPayment
            | Self::Paid
            | Self::Failed
            | Self::Expired
            | Self::Abandoned
            | Self::Refunding
            | Self::Refunded => None,
        }
    }

    /// The state a name and a cause stand for; `None` if no such state exists.
    pub fn from_names(name: &str, cause: Option<&str>) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name && s.review_cause().map(ReviewCause::name) == cause)
    }

    /// The kind of the command that it waits for.
    pub fn open_command(self) -> Option<CommandKind> {
        match self {
            Self::Submitting => Some(CommandKind::Payment),
            Self::Refunding => Some(CommandKind::Refund),
            Self::AwaitingPayment
            | Self::Paid
            | Self::Failed
            | Self::Expired
            | Self::Abandoned
            | Self::Refunded
            | Self::Review(_) => None,
        }
    }

    /// News of it is still awaited: it always has something due.
    pub fn is_open(self) -> bool {
        match self {
            Self::Submitting | Self::AwaitingPayment | Self::Refunding => true,
            Self::Paid
            | Self::Failed
            | Self::Expired
            | Self::Abandoned
            | Self::Refunded
            | Self::Review(_) => false,
        }
    }
}

/// What an operator may decide for an order in review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Paid,
    Failed,
    Refunded,
}

impl Verdict {
    pub const ALL: [Self; 3] = [Self::Paid, Self::Failed, Self::Refunded];

    /// By the name of its state.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.state().name() == name)
    }

    pub fn state(self) -> OrderState {
        match self {
            Self::Paid => OrderState::Paid,
            Self::Failed => OrderState::Failed,
            Self::Refunded => OrderState::Refunded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_found_by_its_names_and_no_other() {
        for state in OrderState::ALL {
            let cause = state.review_cause().map(ReviewCause::name);
            assert_eq!(OrderState::from_names(state.name(), cause), Some(state));
        }
        assert_eq!(OrderState::from_names("review", None), None);
        assert_eq!(OrderState::from_names("paid", Some("check_gave_up")), None);
    }

    #[test]
    fn somebody_waits_for_news_of_these_states_alone() {
        let open: Vec<_> = OrderState::ALL.into_iter().filter(|state| state.is_open()).collect();
        assert_eq!(open, [OrderState::Submitting, OrderState::AwaitingPayment, OrderState::Refunding]);
    }

    #[test]
    fn a_verdict_is_the_state_it_names() {
        let states = [OrderState::Paid, OrderState::Failed, OrderState::Refunded];
        assert_eq!(Verdict::ALL.map(Verdict::state), states);
    }
}

//! What we tell the world: the types of events, and what one says before its bytes are written.

use super::{
    command::{CommandKind, CommandRef, Outcome},
    finding::DokuError,
    order::{OrderState, ReviewCause},
};

/// Every type of event. `CommandRejected` is about a command and `SettlementMatched` about a row of DOKU's book; the others
/// are about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    PaymentAccepted,
    PaymentDeclined,
    PaymentUnresolved,
    PaymentAbandoned,
    RefundAccepted,
    RefundDeclined,
    RefundUnresolved,
    RefundAbandoned,
    OrderPaid,
    OrderFailed,
    OrderExpired,
    OrderRefunded,
    OrderReview,
    OrderResolved,
    CommandRejected,
    SettlementMatched,
}

impl EventType {
    pub const ALL: [Self; 16] = [
        Self::PaymentAccepted,
        Self::PaymentDeclined,
        Self::PaymentUnresolved,
        Self::PaymentAbandoned,
        Self::RefundAccepted,
        Self::RefundDeclined,
        Self::RefundUnresolved,
        Self::RefundAbandoned,
        Self::OrderPaid,
        Self::OrderFailed,
        Self::OrderExpired,
        Self::OrderRefunded,
        Self::OrderReview,
        Self::OrderResolved,
        Self::CommandRejected,
        Self::SettlementMatched,
    ];

    /// The AMQP routing key: the type without `jenius.` and `.v1`.
    pub fn routing_key(self) -> &'static str {
        match self {
            Self::PaymentAccepted => "payment.accepted",
            Self::PaymentDeclined => "payment.declined",
            Self::PaymentUnresolved => "payment.unresolved",
            Self::PaymentAbandoned => "payment.abandoned",
            Self::RefundAccepted => "refund.accepted",
            Self::RefundDeclined => "refund.declined",
            Self::RefundUnresolved => "refund.unresolved",
            Self::RefundAbandoned => "refund.abandoned",
            Self::OrderPaid => "order.paid",
            Self::OrderFailed => "order.failed",
            Self::OrderExpired => "order.expired",
            Self::OrderRefunded => "order.refunded",
            Self::OrderReview => "order.review",
            Self::OrderResolved => "order.resolved",
            Self::CommandRejected => "command.rejected",
            Self::SettlementMatched => "settlement.matched",
        }
    }

    /// The CloudEvents type.
    pub fn name(self) -> String {
        format!("jenius.{}.v1", self.routing_key())
    }

    pub fn from_routing_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.routing_key() == key)
    }

    /// The command this event settles, and how. A command is settled by exactly one event.
    pub fn settles(self) -> Option<(CommandKind, Outcome)> {
        match self {
            Self::PaymentAccepted => Some((CommandKind::Payment, Outcome::Accepted)),
            Self::PaymentDeclined => Some((CommandKind::Payment, Outcome::Declined)),
            Self::PaymentUnresolved => Some((CommandKind::Payment, Outcome::Unresolved)),
            Self::PaymentAbandoned => Some((CommandKind::Payment, Outcome::Abandoned)),
            Self::RefundAccepted => Some((CommandKind::Refund, Outcome::Accepted)),
            Self::RefundDeclined => Some((CommandKind::Refund, Outcome::Declined)),
            Self::RefundUnresolved => Some((CommandKind::Refund, Outcome::Unresolved)),
            Self::RefundAbandoned => Some((CommandKind::Refund, Outcome::Abandoned)),
            Self::OrderPaid
            | Self::OrderFailed
            | Self::OrderExpired
            | Self::OrderRefunded
            | Self::OrderReview
            | Self::OrderResolved
            | Self::CommandRejected
            | Self::SettlementMatched => None,
        }
    }

    /// What the event means, in a sentence for README and the AsyncAPI document.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::PaymentAccepted => "DOKU took the payment request; the customer has still to pay",
            Self::PaymentDeclined => "DOKU refused the request",
            Self::PaymentUnresolved => {
                "the budget is spent and it is not known what DOKU did; the order is in review"
            }
            Self::PaymentAbandoned => {
                "the budget is spent; by our records DOKU did nothing, and, asked, it knew of nothing or could not be asked"
            }
            Self::RefundAccepted => "DOKU refunds",
            Self::RefundDeclined => "DOKU does not refund; the order is `paid` again",
            Self::RefundUnresolved => "it is not known whether DOKU refunded; the order is in review",
            Self::RefundAbandoned => {
                "the budget is spent; by our records DOKU did not refund, and, asked, it did not say so; the order is `paid` again"
            }
            Self::OrderPaid => "the payment is confirmed; at most once for an order",
            Self::OrderFailed => "confirmed as not paid",
            Self::OrderExpired => "confirmed as not paid in time",
            Self::OrderRefunded => "the refund is a fact",
            Self::OrderReview => {
                "a person must decide: another amount, money by another request, or DOKU did not say how it ended"
            }
            Self::OrderResolved => {
                "a review ended in a state that had been announced before: an operator decided, or DOKU did"
            }
            Self::CommandRejected => "the command broke a rule; nothing reached DOKU",
            Self::SettlementMatched => {
                "DOKU's settlement file has a row for the order, and it fits: the money is paid out or deducted"
            }
        }
    }

    /// The state that it tells of a move to `to`: the first event of two tells of what lies between.
    pub fn state_within(self, to: OrderState) -> OrderState {
        match self {
            Self::PaymentAccepted => OrderState::AwaitingPayment,
            Self::RefundAccepted => OrderState::Refunding,
            Self::PaymentUnresolved => OrderState::Review(ReviewCause::PaymentUnresolved),
            Self::RefundUnresolved => OrderState::Review(ReviewCause::RefundUnresolved),
            Self::PaymentDeclined
            | Self::PaymentAbandoned
            | Self::RefundDeclined
            | Self::RefundAbandoned
            | Self::OrderPaid
            | Self::OrderFailed
            | Self::OrderExpired
            | Self::OrderRefunded
            | Self::OrderReview
            | Self::OrderResolved
            | Self::CommandRejected
            | Self::SettlementMatched => to,
        }
    }

    /// Whether the event speaks of the refund's command rather than the payment's.
    pub fn is_about_refund(self) -> bool {
        match self {
            Self::RefundAccepted
            | Self::RefundDeclined
            | Self::RefundUnresolved
            | Self::RefundAbandoned
            | Self::OrderRefunded => true,
            Self::PaymentAccepted
            | Self::PaymentDeclined
            | Self::PaymentUnresolved
            | Self::PaymentAbandoned
            | Self::OrderPaid
            | Self::OrderFailed
            | Self::OrderExpired
            | Self::OrderReview
            | Self::OrderResolved
            | Self::CommandRejected
            | Self::SettlementMatched => false,
        }
    }
}

/// The source of the evidence that changed an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvidenceSource {
    Response,
    Notification,
    Check,
    Operator,
}

impl EvidenceSource {
    pub const ALL: [Self; 4] = [Self::Response, Self::Notification, Self::Check, Self::Operator];

    pub fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Notification => "notification",
            Self::Check => "check",
            Self::Operator => "operator",
        }
    }
}

/// One event of an order, before it has an id and a time. It says what was true at its version,
/// whenever it is published.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderEvent {
    pub event_type: EventType,
    /// The order's version with this event: contiguous from 1.
    pub version: u32,
    pub previous_state: OrderState,
    /// The state after this event, also when the next follows at once.
    pub state: OrderState,
    pub evidence: EvidenceSource,
    pub doku_status: Option<String>,
    /// The payment's command, or the refund's in an event about a refund; `None` for a refund that
    /// was not commanded here.
    pub command: Option<CommandRef>,
    pub error: Option<EventError>,
    /// Confirmed or refunded after the order was `failed`, `expired` or `abandoned`.
    pub late: bool,
}

/// The `error` of an event: DOKU's own code and message, or ours if DOKU gave none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventError {
    pub code: String,
    pub message: String,
    pub http_status: Option<u16>,
}

impl EventError {
    /// Where it is we who could not find out.
    pub fn ours(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), http_status: None }
    }

    pub fn from_doku(error: &DokuError, http_status: Option<u16>) -> Self {
        Self { code: error.code.clone(), message: error.message.clone(), http_status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_keys_are_the_names_without_prefix_and_version() {
        for t in EventType::ALL {
            assert_eq!(t.name(), format!("jenius.{}.v1", t.routing_key()));
            assert_eq!(EventType::from_routing_key(t.routing_key()), Some(t));
        }
    }

    #[test]
    fn evidence_is_told_by_these_words() {
        let told = EvidenceSource::ALL.map(EvidenceSource::name);
        assert_eq!(told, ["response", "notification", "check", "operator"]);
    }

    /// `data.command` of an event about a refund is the refund's, of every other the payment's.
    #[test]
    fn an_event_about_a_refund_is_one_of_its_command_or_that_it_is_a_fact() {
        for t in EventType::ALL {
            let expected = t.routing_key().starts_with("refund.") || t == EventType::OrderRefunded;
            assert_eq!(t.is_about_refund(), expected, "{t:?}");
        }
    }
}

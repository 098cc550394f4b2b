//! A command: what an upstream service asks of us, and what became of it.

use super::{
    Time,
    ids::{Identity, InvoiceNumber, MerchantName, RequestId},
    money::Rupiah,
    order::OrderState,
    validate::Violation,
};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandKind {
    Payment,
    Refund,
}

impl CommandKind {
    pub const ALL: [Self; 2] = [Self::Payment, Self::Refund];

    pub fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
        }
    }

    /// The AMQP routing key of the command.
    pub fn routing_key(self) -> &'static str {
        match self {
            Self::Payment => "payment.request",
            Self::Refund => "refund.request",
        }
    }

    /// The CloudEvents type of the command.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Payment => "jenius.payment.request.v1",
            Self::Refund => "jenius.refund.request.v1",
        }
    }
}

/// What became of a command. Each has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// DOKU took it.
    Accepted,
    /// DOKU refused the request.
    Declined,
    /// The sends have ended and it is not known what DOKU did.
    Unresolved,
    /// The sends have ended and DOKU certainly did nothing.
    Abandoned,
    /// It broke a rule; nothing reached DOKU.
    Rejected,
}

impl Outcome {
    pub const ALL: [Self; 5] =
        [Self::Accepted, Self::Declined, Self::Unresolved, Self::Abandoned, Self::Rejected];

    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Unresolved => "unresolved",
            Self::Abandoned => "abandoned",
            Self::Rejected => "rejected",
        }
    }
}

/// The command an event speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRef {
    pub identity: Identity,
    pub request_id: RequestId,
}

/// W3C trace context of the command, carried on to its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext {
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
}

/// A command as it came, its identity readable, its data not judged yet.
#[derive(Debug, Clone)]
pub struct Command {
    pub identity: Identity,
    pub kind: CommandKind,
    /// The configured account that is to act, as it was written.
    pub merchant: String,
    /// The invoice number as it was written, if there is one of bounded length.
    pub invoice_number: Option<String>,
    /// SHA-256 of the RFC 8785 canonical form of `data`: what "the same data" means.
    pub digest: [u8; 32],
    /// No send starts after it.
    pub expires_at: Option<Time>,
    /// Its `time`, by its sender's clock.
    pub dated_at: Option<Time>,
    /// Its `time`, or else when its delivery says that it was published. It ends nothing.
    pub published_at: Option<Time>,
    /// No send starts later than this after its `time`, if that is not in the future: a payment request long
    /// after the checkout is of no use, wherever it waited. `None`: a refund.
    pub budget_from_time: Option<Duration>,
    /// How often the broker delivered it before; 0 where it does not say so.
    pub came_before: u64,
    pub trace: TraceContext,
}

impl Command {
    /// Whether it may have been sent under a claim that the store has forgotten: it was delivered before, or is older than
    /// the last time that the database went back. Because it has ended, such a command must not be called unsent.
    pub fn may_have_been_sent(&self, restored_at: Option<Time>) -> bool {
        self.came_before > 0 || self.is_from_before(restored_at)
    }

    /// Whether it is older than the last time that the database went back.
    pub fn is_from_before(&self, restored_at: Option<Time>) -> bool {
        self.published_at.zip(restored_at).is_some_and(|(published, back)| published <= back)
    }

    /// When its sends end, whenever it is claimed; `None` if only the claim says so.
    pub fn ends_at(&self, now: Time) -> Option<Time> {
        sends_end_at(self.expires_at, self.dated_at.zip(self.budget_from_time), now)
    }
}

/// When the sends of a command end by its `expirytime`, and by its `time` and a budget from then; `None` if only the
/// claim says so.
pub fn sends_end_at(
    expires_at: Option<Time>,
    time_and_budget: Option<(Time, Duration)>,
    now: Time,
) -> Option<Time> {
    let dated = time_and_budget.filter(|(time, _)| *time <= now).map(|(time, budget)| time + budget);
    match (expires_at, dated) {
        (Some(expires), Some(dated)) => Some(expires.min(dated)),
        (expires, dated) => expires.or(dated),
    }
}

/// What is right about a command whose fields keep every rule.
#[derive(Debug, Clone)]
pub struct Order {
    pub merchant: MerchantName,
    pub invoice_number: InvoiceNumber,
    pub amount: Rupiah,
}

/// The exact request of a command, stored before the first send; every resend uses these bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRequest {
    pub merchant: MerchantName,
    pub kind: CommandKind,
    pub invoice_number: InvoiceNumber,
    pub amount: Rupiah,
    pub request_id: RequestId,
    /// The account and host it was made for. It is never sent under another.
    pub client_id: String,
    pub base_url: String,
    pub body: Vec<u8>,
    /// Of a refund: the body of the order's payment, if it is kept. DOKU may name its customer in an answer.
    pub payment_body: Vec<u8>,
}

/// Why a refund cannot start, judged in this order, and what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundRefusal {
    OrderUnknown,
    RefundInProgress(OrderState),
    AlreadyRefunded,
    OrderNotPaid(OrderState),
    AmountMismatch { paid: Rupiah, asked: Rupiah },
}

/// What would become of a command at the store, were it to come now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimForecast {
    /// It is new, and nothing speaks against it.
    Claimed,
    /// Seen before. Its outcome, if it is known, is published again.
    Duplicate {
        published_again: bool,
    },
    Rejected(Vec<Violation>),
}

/// A rejection: the command broke a rule, nothing reached DOKU.
#[derive(Debug, Clone)]
pub struct Rejection {
    pub command: Command,
    pub violations: Vec<Violation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_routing_key_is_its_type_without_prefix_and_version() {
        for (kind, routing_key) in
            [(CommandKind::Payment, "payment.request"), (CommandKind::Refund, "refund.request")]
        {
            assert_eq!(kind.routing_key(), routing_key);
            assert_eq!(kind.event_type(), format!("jenius.{routing_key}.v1"));
        }
    }
}

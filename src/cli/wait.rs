//! `send --wait`: which event ends the wait, and how. A pure function of the events seen.

use crate::domain::{
    command::CommandKind,
    event::EventType,
    ids::{CommandId, MerchantName},
};
use serde_json::Value;

/// What was sent, and is waited for.
#[derive(Debug, Clone)]
pub struct Awaited {
    pub kind: CommandKind,
    pub id: CommandId,
    pub source: &'static str,
    pub merchant: MerchantName,
    /// As it was written; `None` if the data has none, and only a rejection can follow.
    pub invoice_number: Option<String>,
}

/// What an event means to the one who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventMeaning {
    /// About another order.
    Other,
    /// About our order; there will be more.
    GoesOn,
    /// The wait is over; `done`: it became what was asked for.
    Ends { done: bool },
}

impl Awaited {
    pub fn judge(&self, event: &Value) -> EventMeaning {
        let data = &event["data"];
        let ours = data["command_id"] == self.id.as_str() && data["command_source"] == self.source;
        let rejection = event["type"] == EventType::CommandRejected.name();
        if rejection {
            return if ours { EventMeaning::Ends { done: false } } else { EventMeaning::Other };
        }
        let same_order = self.invoice_number.as_deref().is_some_and(|number| event["subject"] == number)
            && data["merchant"] == self.merchant.as_str();
        if !same_order {
            return EventMeaning::Other;
        }
        match data["state"].as_str().unwrap_or_default() {
            // An order that is refunded was paid before, and its old events may come again: `paid` says
            // that a refund failed only if the event is about that refund.
            "paid" if self.kind == CommandKind::Refund && !ours => EventMeaning::GoesOn,
            "paid" => EventMeaning::Ends { done: self.kind == CommandKind::Payment },
            "refunded" => EventMeaning::Ends { done: self.kind == CommandKind::Refund },
            "failed" | "expired" | "abandoned" | "review" => EventMeaning::Ends { done: false },
            _ => EventMeaning::GoesOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(kind: CommandKind) -> Awaited {
        Awaited {
            kind,
            id: CommandId::parse("c-1").unwrap(),
            source: "/me",
            merchant: MerchantName::default_account(),
            invoice_number: Some("INV-1".to_owned()),
        }
    }

    fn event(routing_key: &str, state: &str, command: &str) -> Value {
        json!({"type": format!("jenius.{routing_key}.v1"), "subject": "INV-1",
               "data": {"merchant": "default", "state": state, "command_id": command, "command_source": "/me"}})
    }

    use CommandKind::{Payment, Refund};
    const FAILED: EventMeaning = EventMeaning::Ends { done: false };
    const DONE: EventMeaning = EventMeaning::Ends { done: true };

    #[test]
    fn each_state_ends_the_wait_or_does_not() {
        for (kind, routing_key, state, command, expected) in [
            (Payment, "command.rejected", "", "c-1", FAILED),
            (Payment, "command.rejected", "", "c-2", EventMeaning::Other),
            (Payment, "payment.declined", "failed", "c-1", FAILED),
            (Payment, "payment.abandoned", "abandoned", "c-1", FAILED),
            (Payment, "payment.unresolved", "review", "c-1", FAILED),
            (Payment, "order.expired", "expired", "c-1", FAILED),
            (Payment, "order.refunded", "refunded", "c-2", FAILED),
            (Payment, "payment.accepted", "awaiting_payment", "c-1", EventMeaning::GoesOn),
            (Payment, "order.paid", "paid", "c-1", DONE),
            (Refund, "command.rejected", "", "c-1", FAILED),
            (Refund, "refund.declined", "paid", "c-1", FAILED),
            (Refund, "refund.abandoned", "paid", "c-1", FAILED),
            (Refund, "refund.unresolved", "review", "c-1", FAILED),
            (Refund, "order.paid", "paid", "the payment's", EventMeaning::GoesOn),
            (Refund, "refund.accepted", "refunding", "c-1", EventMeaning::GoesOn),
            (Refund, "order.refunded", "refunded", "c-1", DONE),
        ] {
            let seen = asked(kind).judge(&event(routing_key, state, command));
            assert_eq!(seen, expected, "{kind:?} {routing_key} {state} {command}");
        }
    }

    #[test]
    fn events_of_other_orders_are_passed_over() {
        let mut other_merchant = event("order.paid", "paid", "c-9");
        other_merchant["data"]["merchant"] = json!("shop");
        let mut other_invoice = event("order.paid", "paid", "c-9");
        other_invoice["subject"] = json!("INV-2");
        let mut other_source = event("command.rejected", "", "c-1");
        other_source["data"]["command_source"] = json!("/shop");
        for event in [other_merchant, other_invoice, other_source, json!({}), json!(null)] {
            assert_eq!(asked(Payment).judge(&event), EventMeaning::Other, "{event}");
        }
        let nameless = Awaited { invoice_number: None, ..asked(Payment) };
        assert_eq!(nameless.judge(&event("order.paid", "paid", "c-9")), EventMeaning::Other);
    }
}

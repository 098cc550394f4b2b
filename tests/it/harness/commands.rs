//! Commands as an upstream service writes them: JSON made here, with nothing of the product's code.

use serde_json::{Value, json};
use uuid::Uuid;

/// The `data` of a payment, as the specification's sample has it.
pub fn payment_data(invoice: &str, cash_tag: &str) -> Value {
    json!({
        "order": {
            "invoice_number": invoice,
            "amount": "50000",
            "line_items": [
                {"name": "Ayam", "price": 40000, "quantity": 1},
                {"name": "Roti", "price": 10000, "quantity": 1}
            ]
        },
        "customer": {"name": "Astari", "email": "Astari@doku.com", "phone": "081288910205"},
        "redirect_url": "https://test.com/redirect",
        "jenius_info": {"cash_tag": cash_tag}
    })
}

/// The `data` of a refund.
pub fn refund_data(invoice: &str, reason: &str) -> Value {
    json!({"order": {"invoice_number": invoice, "amount": "50000", "reason": reason}})
}

/// A command on its way to the broker.
#[derive(Debug, Clone)]
pub struct Message {
    pub routing_key: &'static str,
    pub content_type: &'static str,
    pub body: Value,
}

impl Message {
    fn new(routing_key: &'static str, event_type: &str, data: Value) -> Self {
        let body = json!({
            "specversion": "1.0",
            "id": Uuid::now_v7().to_string(),
            "source": "/checkout",
            "type": event_type,
            "data": data
        });
        Self { routing_key, content_type: "application/cloudevents+json", body }
    }

    pub fn payment(data: Value) -> Self {
        Self::new("payment.request", "jenius.payment.request.v1", data)
    }

    pub fn refund(data: Value) -> Self {
        Self::new("refund.request", "jenius.refund.request.v1", data)
    }

    /// With another value of a CloudEvents attribute.
    pub fn with(mut self, attribute: &str, value: impl Into<Value>) -> Self {
        self.body[attribute] = value.into();
        self
    }

    pub fn id(&self) -> &str {
        self.body["id"].as_str().unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.body).unwrap()
    }
}

/// A payment that DOKU takes at once.
pub fn payment(invoice: &str) -> Message {
    Message::payment(payment_data(invoice, "$admin"))
}

/// A payment on which DOKU plays the faults named by the cash tag.
pub fn payment_with(invoice: &str, cash_tag: &str) -> Message {
    Message::payment(payment_data(invoice, cash_tag))
}

/// A refund that DOKU takes at once.
pub fn refund(invoice: &str) -> Message {
    Message::refund(refund_data(invoice, "Cancel Order"))
}

/// A refund on which DOKU plays the faults named by the reason.
pub fn refund_with(invoice: &str, reason: &str) -> Message {
    Message::refund(refund_data(invoice, reason))
}

//! An example of each message. The commands are held to be accepted, the events are written as the service
//! writes them.

use crate::{
    domain::{
        command::CommandKind,
        event::{EventType, EvidenceSource},
        order::{OrderState, ReviewCause},
        validate::{Code, Violation, rules},
    },
    postgres::event_body::{
        CURRENCY, CloudEvent, ErrorData, OrderData, RejectedData, SettledData, ViolationData,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

pub const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const INVOICE: &str = "INV-2026-0001";
const SOURCE: &str = "/checkout";
const PAYMENT_ID: &str = "01999a52-7a5c-7c31-8f11-0d6f3c1f4a10";
const REFUND_ID: &str = "01999a5e-0c1d-7b52-9a77-5be2f0a9d3c4";
const REFUND_REQUEST_ID: &str = "7d1c2f0e-5b0a-5c3e-8e0f-2a9b6c4d1e3f";
const AMOUNT: &str = "50000";

pub fn command(kind: CommandKind) -> Value {
    let (id, data) = match kind {
        CommandKind::Payment => (PAYMENT_ID, payment()),
        CommandKind::Refund => (
            REFUND_ID,
            json!({"order": {"invoice_number": INVOICE, "amount": AMOUNT, "reason": "Cancel Order"}}),
        ),
    };
    json!({
        "specversion": "1.0",
        "id": id,
        "source": SOURCE,
        "type": kind.event_type(),
        "traceparent": TRACEPARENT,
        "data": data,
    })
}

fn payment() -> Value {
    json!({
        "order": {
            "invoice_number": INVOICE,
            "amount": AMOUNT,
            "line_items": [
                {"name": "Ayam", "price": 40000, "quantity": 1},
                {"name": "Roti", "price": 5000, "quantity": 2},
            ],
        },
        "customer": {"name": "Astari", "email": "astari@example.com", "phone": "081200000000"},
        "redirect_url": "https://shop.example.com/thanks",
        "jenius_info": {"cash_tag": "$astari"},
    })
}

pub fn notification() -> Value {
    json!({
        "specversion": "1.0",
        "id": "0b8f6c2e-52f4-4a53-9c5b-3f0d7a1e9b64",
        "source": "/jenius-pay/ingress",
        "type": crate::rabbit::wire::notification::EVENT_TYPE,
        "datacontenttype": "application/json",
        "data": {
            "request_target": "/payments/notifications",
            "headers": {
                "Client-Id": "MCH-0001-10791114622547",
                "Request-Id": "5c7e1f0a-3f0b-4f57-9d0c-6a2b8e4d1c93",
                "Request-Timestamp": "2026-01-31T10:00:05Z",
                "Signature": "HMACSHA256=aGVyZSBzdGFuZHMgYSByZWFsIHNpZ25hdHVyZQ==",
            },
            "body": "{\"order\":{\"invoice_number\":\"INV-2026-0001\",\"amount\":50000},\
                     \"transaction\":{\"status\":\"SUCCESS\"}}",
        },
    })
}

/// The same payment's, in DOKU's other form.
pub fn snap_notification() -> Value {
    let mut message = notification();
    message["id"] = json!("3f0d7a1e-9b64-4a53-9c5b-0b8f6c2e52f4");
    message["data"]["headers"] = json!({
        "X-PARTNER-ID": "MCH-0001-10791114622547",
        "X-TIMESTAMP": "2026-01-31T17:00:05+07:00",
        "X-SIGNATURE": "aGVyZSBzdGFuZHMgYSByZWFsIHNpZ25hdHVyZSwgb2Ygd2hpY2ggdGhlIGxlbmd0aCB0ZWxscyB0aGUga2luZA==",
        "Authorization": "Bearer here.stands.a.token",
        "X-EXTERNAL-ID": "418075533589",
    });
    message["data"]["body"] = json!(
        "{\"originalPartnerReferenceNo\":\"INV-2026-0001\",\"latestTransactionStatus\":\"00\",\
         \"amount\":{\"value\":\"50000.00\",\"currency\":\"IDR\"}}"
    );
    message
}

/// As it would be the order's only event but for the payment's own.
pub fn event(event: EventType) -> Value {
    match order_example(event) {
        Some(example) => of_order(event, &example),
        None if event == EventType::SettlementMatched => settled(event),
        None => rejected(event),
    }
}

/// What an event of an order says besides which order it is.
struct ExampleEvent {
    sequence: u32,
    from: OrderState,
    to: OrderState,
    evidence: EvidenceSource,
    doku_status: Option<&'static str>,
    error: Option<(&'static str, &'static str, Option<u16>)>,
}

fn order_example(event: EventType) -> Option<ExampleEvent> {
    use OrderState::{Abandoned, AwaitingPayment, Expired, Failed, Paid, Refunded, Refunding, Submitting};
    let row = |sequence, from, to, evidence, doku_status| {
        Some(ExampleEvent { sequence, from, to, evidence, doku_status, error: None })
    };
    let with = |example: Option<ExampleEvent>, code, message, status| {
        example.map(|example| ExampleEvent { error: Some((code, message, status)), ..example })
    };
    match event {
        EventType::PaymentAccepted => {
            row(1, Submitting, AwaitingPayment, EvidenceSource::Response, Some("SUCCESS"))
        }
        EventType::PaymentDeclined => with(
            row(1, Submitting, Failed, EvidenceSource::Response, None),
            "invalid_parameter",
            "customer is not eligible",
            Some(400),
        ),
        EventType::PaymentUnresolved => row(1, Submitting, review(event), EvidenceSource::Check, None),
        EventType::PaymentAbandoned => row(1, Submitting, Abandoned, EvidenceSource::Response, None),
        EventType::RefundAccepted => row(3, Refunding, Refunding, EvidenceSource::Response, Some("SUCCESS")),
        EventType::RefundDeclined => row(3, Refunding, Paid, EvidenceSource::Response, Some("FAILED")),
        EventType::RefundUnresolved => row(3, Refunding, review(event), EvidenceSource::Check, None),
        EventType::RefundAbandoned => row(3, Refunding, Paid, EvidenceSource::Response, None),
        EventType::OrderPaid => row(2, AwaitingPayment, Paid, EvidenceSource::Notification, Some("SUCCESS")),
        EventType::OrderFailed => {
            row(2, AwaitingPayment, Failed, EvidenceSource::Notification, Some("FAILED"))
        }
        EventType::OrderExpired => row(2, AwaitingPayment, Expired, EvidenceSource::Check, Some("EXPIRED")),
        EventType::OrderRefunded => row(4, Refunding, Refunded, EvidenceSource::Response, Some("SUCCESS")),
        EventType::OrderReview => with(
            row(2, AwaitingPayment, review(event), EvidenceSource::Check, Some("PENDING")),
            "check_gave_up",
            "it could not be found out for too long",
            None,
        ),
        EventType::OrderResolved => row(3, review(event), Paid, EvidenceSource::Operator, None),
        EventType::CommandRejected | EventType::SettlementMatched => None,
    }
}

fn review(event: EventType) -> OrderState {
    OrderState::Review(match event {
        EventType::RefundUnresolved => ReviewCause::RefundUnresolved,
        EventType::OrderReview | EventType::OrderResolved => ReviewCause::CheckGaveUp,
        _ => ReviewCause::PaymentUnresolved,
    })
}

fn of_order(event: EventType, example: &ExampleEvent) -> Value {
    let (command_id, request_id) =
        if event.is_about_refund() { (REFUND_ID, REFUND_REQUEST_ID) } else { (PAYMENT_ID, INVOICE) };
    let data = OrderData {
        merchant: "default",
        invoice_number: INVOICE,
        amount: AMOUNT.to_owned(),
        currency: CURRENCY,
        state: example.to.name(),
        previous_state: example.from.name(),
        evidence: example.evidence.name(),
        doku_status: example.doku_status,
        command_id: Some(command_id),
        command_source: Some(SOURCE),
        request_id: Some(request_id),
        error: example.error.map(|(code, message, http_status)| ErrorData { code, message, http_status }),
        late: false,
    };
    written(event, Some(example.sequence.to_string()), data)
}

fn settled(event: EventType) -> Value {
    let data = SettledData {
        merchant: "default",
        invoice_number: INVOICE,
        batch: "B-BSN-0000-20260204",
        paid_out_on: "2026-02-04".to_owned(),
        kind: "purchase",
        currency: CURRENCY,
        gross: AMOUNT.to_owned(),
        fee: "1500".to_owned(),
        discount: "0".to_owned(),
        net: "48500".to_owned(),
        replaces: None,
    };
    let mut event = written(event, None, data);
    // It is about no command.
    event.as_object_mut().into_iter().for_each(|members| drop(members.shift_remove("traceparent")));
    event
}

fn rejected(event: EventType) -> Value {
    let errors = [
        Violation::new(Code::Missing, "customer.phone", rules::CUSTOMER_PHONE.allowed, Some("is missing")),
        Violation::new(
            Code::TooLong,
            "jenius_info.cash_tag",
            rules::CASH_TAG.allowed,
            Some("has 31 characters"),
        ),
    ];
    let data = RejectedData {
        merchant: "default",
        command_id: PAYMENT_ID,
        command_source: SOURCE,
        invoice_number: Some(INVOICE),
        errors: errors
            .iter()
            .map(|error| ViolationData {
                code: error.code.name(),
                field: &error.field,
                message: &error.message,
            })
            .collect(),
    };
    written(event, None, data)
}

fn written(event: EventType, sequence: Option<String>, data: impl Serialize) -> Value {
    let event = CloudEvent {
        specversion: "1.0",
        id: "01999a52-7c02-7a18-b5d9-3e4f5a6b7c8d".to_owned(),
        source: "/jenius-pay/default",
        event_type: &event.name(),
        subject: Some(INVOICE),
        time: "2026-01-31T10:00:06.123456Z".to_owned(),
        sequence,
        traceparent: Some(TRACEPARENT),
        tracestate: None,
        data,
    };
    json!(event)
}

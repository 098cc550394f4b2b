//! What an event holds, member by member: written by `events`, described to outsiders by `asyncapi`. The comments
//! on the members are what they read.

use crate::{
    domain::{
        event::EvidenceSource,
        order::OrderState,
        validate::{Code, VIOLATIONS_MAX},
    },
    json_schema,
};
use schemars::JsonSchema;
use serde::Serialize;

pub const CURRENCY: &str = "IDR";

/// An event: a CloudEvent 1.0 in structured mode.
#[derive(Serialize, JsonSchema)]
pub struct CloudEvent<'a, D> {
    #[schemars(transform = json_schema::constant("1.0"))]
    pub specversion: &'static str,
    /// The same on every re-publication: ignore an id that you have handled.
    #[schemars(transform = json_schema::keyword("format", "uuid"))]
    pub id: String,
    /// The merchant; without a name where a rejected command named an unknown one.
    #[schemars(transform = json_schema::keyword("pattern", "^/jenius-pay(/.+)?$"))]
    pub source: &'a str,
    #[serde(rename = "type")]
    pub event_type: &'a str,
    /// The invoice number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = json_schema::never_null, transform = json_schema::keyword("minLength", 1))]
    pub subject: Option<&'a str>,
    /// When the change was committed.
    #[schemars(transform = json_schema::keyword("format", "date-time"))]
    pub time: String,
    /// The order's version with this event. Versions of one order are contiguous from "1". Another id under a
    /// sequence that you know corrects it, and all later ones: the service's database was restored in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = json_schema::never_null, transform = json_schema::keyword("pattern", "^[1-9][0-9]*$"))]
    pub sequence: Option<String>,
    /// W3C Trace Context of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = json_schema::never_null)]
    pub traceparent: Option<&'a str>,
    /// W3C Trace Context of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = json_schema::never_null)]
    pub tracestate: Option<&'a str>,
    pub data: D,
}

/// What an order is after a change of it.
#[derive(Serialize, JsonSchema)]
pub struct OrderData<'a> {
    #[schemars(transform = json_schema::merchant)]
    pub merchant: &'a str,
    #[schemars(transform = json_schema::invoice_number)]
    pub invoice_number: &'a str,
    #[schemars(transform = json_schema::text(&crate::domain::validate::rules::AMOUNT))]
    pub amount: String,
    #[schemars(transform = json_schema::constant(CURRENCY))]
    pub currency: &'static str,
    /// The state after this event, also where the next event follows at once.
    #[schemars(transform = json_schema::words(OrderState::ALL.map(OrderState::name)))]
    pub state: &'static str,
    /// The state before it.
    #[schemars(transform = json_schema::words(OrderState::ALL.map(OrderState::name)))]
    pub previous_state: &'static str,
    /// The source: DOKU's response, notification or Check Status, or an operator.
    #[schemars(transform = json_schema::words(EvidenceSource::ALL.map(EvidenceSource::name)))]
    pub evidence: &'static str,
    /// DOKU's own word.
    pub doku_status: Option<&'a str>,
    /// The id of the payment's command; in `refund.*` and `order.refunded` the refund's, and null if
    /// it was not commanded here.
    pub command_id: Option<&'a str>,
    /// The source of that command.
    pub command_source: Option<&'a str>,
    /// DOKU's idempotency key of that command.
    pub request_id: Option<&'a str>,
    pub error: Option<ErrorData<'a>>,
    /// Confirmed or refunded after the order was failed, expired or abandoned.
    pub late: bool,
}

/// DOKU's own code and message, or ours if DOKU gave no final answer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OrderError")]
pub struct ErrorData<'a> {
    pub code: &'a str,
    pub message: &'a str,
    #[schemars(range(min = 100, max = 999), transform = json_schema::no_format)]
    pub http_status: Option<u16>,
}

/// A command that broke a rule.
#[derive(Serialize, JsonSchema)]
pub struct RejectedData<'a> {
    /// As the command wrote it.
    pub merchant: &'a str,
    #[schemars(transform = json_schema::command_id)]
    pub command_id: &'a str,
    #[schemars(transform = json_schema::command_source)]
    pub command_source: &'a str,
    /// As the command wrote it.
    pub invoice_number: Option<&'a str>,
    /// Every rule that it broke, in the order of the fields.
    #[schemars(length(min = 1, max = VIOLATIONS_MAX))]
    pub errors: Vec<ViolationData<'a>>,
}

/// A rule that a command broke.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Violation")]
pub struct ViolationData<'a> {
    #[schemars(transform = json_schema::words(Code::ALL.map(Code::name)))]
    pub code: &'static str,
    /// The path from data (`order.line_items[0].price`), or the attribute's name.
    pub field: &'a str,
    /// What is allowed.
    pub message: &'a str,
}

/// A row of DOKU's settlement file that fits an order. Amounts are whole rupiah, in digits; what is deducted is negative in
/// `net`.
#[derive(Serialize, JsonSchema)]
pub struct SettledData<'a> {
    #[schemars(transform = json_schema::merchant)]
    pub merchant: &'a str,
    #[schemars(transform = json_schema::invoice_number)]
    pub invoice_number: &'a str,
    /// DOKU's name of the pay-out.
    pub batch: &'a str,
    /// The day of the pay-out.
    #[schemars(transform = json_schema::keyword("format", "date"))]
    pub paid_out_on: String,
    #[serde(rename = "type")]
    #[schemars(transform = json_schema::words(["purchase", "refund"]))]
    pub kind: &'a str,
    #[schemars(transform = json_schema::constant(CURRENCY))]
    pub currency: &'static str,
    /// What the customer paid, or got back.
    #[schemars(transform = json_schema::keyword("pattern", "^-?[0-9]+$"))]
    pub gross: String,
    /// What DOKU keeps.
    #[schemars(transform = json_schema::keyword("pattern", "^-?[0-9]+$"))]
    pub fee: String,
    #[schemars(transform = json_schema::keyword("pattern", "^-?[0-9]+$"))]
    pub discount: String,
    /// What is paid out.
    #[schemars(transform = json_schema::keyword("pattern", "^-?[0-9]+$"))]
    pub net: String,
    /// The id of the event that this one makes void, where DOKU sent a batch again with other values; else null.
    pub replaces: Option<String>,
}

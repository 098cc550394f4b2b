//! The commands as outsiders write them. Nothing is read into these types: a command is judged member by
//! member in `domain::validate`, and the test beside this holds that both say the same.
#![expect(dead_code, reason = "they are described, never built")]

use crate::{domain::validate::rules, json_schema};
use schemars::{JsonSchema, Schema};

/// A type, and a subtype that is `json` or ends in `+json`.
const JSON_TYPE: &str = "^[!-.0-:<-~]+/([!-.0-:<-~]*\\+)?[Jj][Ss][Oo][Nn][ \\t]*(;[\\s\\S]*)?$";

/// A command: a CloudEvent 1.0 in structured mode. Other extension attributes are ignored.
#[derive(JsonSchema)]
pub struct CommandMessage<D> {
    #[schemars(transform = json_schema::constant("1.0"))]
    pub specversion: String,
    /// With the source it is the identity of the command: the same again asks for nothing new. Store it
    /// before you publish.
    #[schemars(transform = json_schema::command_id)]
    pub id: String,
    /// The upstream service.
    #[schemars(transform = json_schema::command_source)]
    pub source: String,
    pub r#type: String,
    /// The merchant account that acts; "default" if absent.
    #[schemars(transform = json_schema::merchant)]
    pub merchant: Option<String>,
    /// No send starts after it, and a command that is first seen later is rejected. Default: the claim and
    /// the budget of its kind.
    #[schemars(transform = json_schema::keyword("format", "date-time"))]
    pub expirytime: Option<String>,
    /// When the upstream service made it.
    #[schemars(transform = json_schema::keyword("format", "date-time"))]
    pub time: Option<String>,
    /// As CloudEvents says.
    #[schemars(transform = json_schema::keyword("minLength", 1))]
    pub subject: Option<String>,
    /// A JSON media type, with parameters or without.
    #[schemars(transform = json_schema::keyword("pattern", JSON_TYPE))]
    pub datacontenttype: Option<String>,
    /// As CloudEvents says.
    #[schemars(transform = json_schema::keyword("minLength", 1))]
    pub dataschema: Option<String>,
    /// W3C Trace Context; the events of the command carry it on.
    pub traceparent: Option<String>,
    /// W3C Trace Context.
    pub tracestate: Option<String>,
    pub data: D,
}

/// DOKU's own request body.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PaymentData {
    pub order: PaymentOrder,
    pub additional_info: Option<AdditionalInfo>,
    pub customer: Customer,
    /// Where the customer goes after the payment.
    #[schemars(transform = json_schema::text(&rules::REDIRECT_URL))]
    pub redirect_url: String,
    pub jenius_info: JeniusInfo,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PaymentOrder {
    /// Unique within the merchant; it is also the payment's Request-Id.
    #[schemars(transform = json_schema::invoice_number)]
    pub invoice_number: String,
    #[schemars(transform = json_schema::text(&rules::AMOUNT))]
    pub amount: String,
    /// The sum of price × quantity equals the amount.
    #[schemars(length(min = 1))]
    pub line_items: Vec<LineItem>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LineItem {
    #[schemars(transform = json_schema::text(&rules::ITEM_NAME))]
    pub name: String,
    #[schemars(transform = json_schema::whole_number(&rules::ITEM_PRICE))]
    pub price: u64,
    #[schemars(transform = json_schema::whole_number(&rules::ITEM_QUANTITY))]
    pub quantity: u64,
}

/// Any other member goes to DOKU unchanged.
#[derive(JsonSchema)]
pub struct AdditionalInfo {
    /// Where DOKU notifies of this order instead.
    #[schemars(transform = json_schema::text(&rules::OVERRIDE_URL))]
    pub override_notification_url: Option<String>,
    /// Split settlement. Percentages add up to at most 100.
    pub settlement: Option<Vec<Settlement>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Settlement {
    #[schemars(transform = json_schema::text(&rules::SETTLEMENT_ACCOUNT))]
    pub bank_account_settlement_id: String,
    /// A whole number of rupiah if the type is FIX.
    #[schemars(transform = above_zero)]
    pub value: f64,
    #[schemars(transform = json_schema::text(&rules::SETTLEMENT_TYPE))]
    pub r#type: String,
}

fn above_zero(schema: &mut Schema) {
    json_schema::no_format(schema);
    json_schema::keyword("exclusiveMinimum", 0)(schema);
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Customer {
    #[schemars(transform = json_schema::text(&rules::CUSTOMER_NAME))]
    pub name: String,
    #[schemars(transform = json_schema::text(&rules::CUSTOMER_PHONE))]
    pub phone: String,
    #[schemars(transform = json_schema::text(&rules::CUSTOMER_EMAIL))]
    pub email: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct JeniusInfo {
    #[schemars(transform = json_schema::text(&rules::CASH_TAG))]
    pub cash_tag: String,
}

/// The whole amount of an order that is paid.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RefundData {
    pub order: RefundOrder,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RefundOrder {
    /// The order's.
    #[schemars(transform = json_schema::invoice_number)]
    pub invoice_number: String,
    /// Equal to the order's.
    #[schemars(transform = json_schema::text(&rules::AMOUNT))]
    pub amount: String,
    #[schemars(transform = json_schema::text(&rules::REASON))]
    pub reason: String,
}

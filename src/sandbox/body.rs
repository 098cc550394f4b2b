//! The rules of request bodies, from the tables of the Jenius Pay specification. Members that are not in those
//! tables are ignored, as DOKU ignores them. No message repeats a value: values can be customer data.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

const INVOICE_LENGTH_MAX: usize = 64;
const AMOUNT_DIGITS_MAX: usize = 12;
const ITEM_NAME_LENGTH_MAX: usize = 255;
const PRICE_MAX: u64 = 999_999_999_999;
const QUANTITY_MAX: u64 = 9999;
const NAME_LENGTH_MAX: usize = 64;
const PHONE_DIGITS_MAX: usize = 16;
const EMAIL_LENGTH_MAX: usize = 400;
const REDIRECT_LENGTH_MAX: usize = 512;
const CASH_TAG_LENGTH_MAX: usize = 30;
const REASON_LENGTH_MAX: usize = 255;

/// What the sandbox keeps of a payment request.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) invoice_number: String,
    /// Whole rupiah.
    pub(super) amount: u64,
    pub(super) notify_url: Option<Url>,
    pub(super) cash_tag: String,
}

/// What the sandbox keeps of a refund request.
#[derive(Clone, Debug)]
pub(super) struct Refund {
    pub(super) invoice_number: String,
    /// Whole rupiah.
    pub(super) amount: u64,
    pub(super) reason: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PaymentBody {
    order: OrderBody,
    additional_info: AdditionalInfoBody,
    customer: CustomerBody,
    redirect_url: Option<String>,
    jenius_info: JeniusInfoBody,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RefundBody {
    order: OrderBody,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OrderBody {
    invoice_number: Option<String>,
    amount: Option<String>,
    line_items: Vec<LineItemBody>,
    reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LineItemBody {
    name: Option<String>,
    price: Option<u64>,
    quantity: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AdditionalInfoBody {
    override_notification_url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CustomerBody {
    name: Option<String>,
    phone: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JeniusInfoBody {
    cash_tag: Option<String>,
}

/// Every broken rule at once, one sentence each.
pub(super) fn payment(body: &[u8], request_id: &str) -> Result<Payment, Vec<String>> {
    let body: PaymentBody = read(body)?;
    let mut faults = BrokenRules(Vec::new());
    let (invoice_number, amount) = faults.order(&body.order);
    faults.rule(invoice_number == request_id, "order.invoice_number must be same with Request-Id");
    faults.line_items(&body.order.line_items, amount);
    faults.text("customer.name", body.customer.name.as_deref(), NAME_LENGTH_MAX);
    let phone = faults.text("customer.phone", body.customer.phone.as_deref(), PHONE_DIGITS_MAX);
    faults.rule(phone.bytes().all(|byte| byte.is_ascii_digit()), "customer.phone must be digits");
    if body.customer.email.is_some() {
        faults.text("customer.email", body.customer.email.as_deref(), EMAIL_LENGTH_MAX);
    }
    faults.text("redirect_url", body.redirect_url.as_deref(), REDIRECT_LENGTH_MAX);
    let cash_tag =
        faults.text("jenius_info.cash_tag", body.jenius_info.cash_tag.as_deref(), CASH_TAG_LENGTH_MAX);
    let notify_url = faults.url(body.additional_info.override_notification_url.as_deref());
    faults.end(Payment { invoice_number, amount, notify_url, cash_tag })
}

/// As [`payment`].
pub(super) fn refund(body: &[u8]) -> Result<Refund, Vec<String>> {
    let body: RefundBody = read(body)?;
    let mut faults = BrokenRules(Vec::new());
    let (invoice_number, amount) = faults.order(&body.order);
    let reason = faults.text("order.reason", body.order.reason.as_deref(), REASON_LENGTH_MAX);
    faults.end(Refund { invoice_number, amount, reason })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Vec<String>> {
    serde_json::from_slice(body).map_err(|error| {
        vec![format!(
            "request body is not JSON of the documented types (line {}, column {})",
            error.line(),
            error.column()
        )]
    })
}

struct BrokenRules(Vec<String>);

impl BrokenRules {
    fn rule(&mut self, kept: bool, message: &str) {
        if !kept {
            self.0.push(message.into());
        }
    }

    fn text(&mut self, field: &str, value: Option<&str>, length_max: usize) -> String {
        let value = value.unwrap_or_default();
        let kept = !value.is_empty() && value.chars().count() <= length_max;
        self.rule(kept, &format!("{field} must have 1 to {length_max} characters"));
        value.to_owned()
    }

    fn order(&mut self, order: &OrderBody) -> (String, u64) {
        let invoice = self.text("order.invoice_number", order.invoice_number.as_deref(), INVOICE_LENGTH_MAX);
        let text = order.amount.as_deref().unwrap_or_default();
        let kept = text.len() <= AMOUNT_DIGITS_MAX
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && !text.starts_with('0');
        let amount = text.parse().ok().filter(|_| kept).unwrap_or(0);
        self.rule(amount > 0, "order.amount must be a string of 1 to 12 digits, without decimals, above 0");
        (invoice, amount)
    }

    fn line_items(&mut self, items: &[LineItemBody], amount: u64) {
        self.rule(!items.is_empty(), "order.line_items must not be empty");
        let mut total: u128 = 0;
        for item in items {
            self.text("order.line_items.name", item.name.as_deref(), ITEM_NAME_LENGTH_MAX);
            let price = item.price.filter(|price| *price <= PRICE_MAX);
            self.rule(price.is_some(), "order.line_items.price must be a number of at most 12 digits");
            let quantity = item.quantity.filter(|quantity| (1..=QUANTITY_MAX).contains(quantity));
            self.rule(quantity.is_some(), "order.line_items.quantity must be a number from 1 to 9999");
            total += u128::from(price.unwrap_or(0)) * u128::from(quantity.unwrap_or(0));
        }
        self.rule(total == u128::from(amount), "order.line_items must add up to order.amount");
    }

    fn url(&mut self, text: Option<&str>) -> Option<Url> {
        let url = text.map(Url::parse)?.ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        self.rule(url.is_some(), "additional_info.override_notification_url must be an absolute URL");
        url
    }

    fn end<T>(self, value: T) -> Result<T, Vec<String>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sample() -> Value {
        json!({"order": {"invoice_number": "DOKU202212345828", "amount": "50000", "line_items": [
                {"name": "Ayam", "price": 40000, "quantity": 1}, {"name": "Roti", "price": 10000, "quantity": 1}]},
            "additional_info": {"override_notification_url": "https://another.example.com/payments/notifications"},
            "customer": {"name": "Astari", "email": "Astari@doku.com", "phone": "081288910205"},
            "redirect_url": "https://test.com/redirect", "jenius_info": {"cash_tag": "$admin"}})
    }

    #[test]
    fn the_sample_of_the_specification_is_taken() {
        let read = payment(sample().to_string().as_bytes(), "DOKU202212345828").unwrap();
        assert_eq!((read.amount, read.cash_tag.as_str()), (50000, "$admin"));
        assert_eq!(read.notify_url.unwrap().path(), "/payments/notifications");
    }

    #[test]
    fn each_rule_of_a_payment_body_is_told_by_its_field() {
        for (pointer, value, field) in [
            ("/order/invoice_number", json!("INV-2"), "order.invoice_number"),
            ("/order/invoice_number", json!("x".repeat(65)), "order.invoice_number"),
            ("/order/amount", json!("050000"), "order.amount"),
            ("/order/amount", json!("0"), "order.amount"),
            ("/order/amount", json!("50000.00"), "order.amount"),
            ("/order/amount", json!("1234567890123"), "order.amount"),
            ("/order/amount", json!(50000), "documented types"),
            ("/order/amount", json!("50001"), "order.line_items must add up"),
            ("/order/line_items", json!([]), "order.line_items"),
            ("/order/line_items/0/name", json!(""), "order.line_items.name"),
            ("/order/line_items/0/price", json!(1_000_000_000_000_u64), "order.line_items.price"),
            ("/order/line_items/0/quantity", json!(0), "order.line_items.quantity"),
            ("/order/line_items/0/quantity", json!(10000), "order.line_items.quantity"),
            ("/additional_info/override_notification_url", json!("/path"), "override_notification_url"),
            ("/customer/name", json!(null), "customer.name"),
            ("/customer/phone", json!("+62812"), "customer.phone"),
            ("/customer/phone", json!("12345678901234567"), "customer.phone"),
            ("/customer/email", json!("x".repeat(401)), "customer.email"),
            ("/redirect_url", json!(""), "redirect_url"),
            ("/jenius_info/cash_tag", json!("x".repeat(31)), "jenius_info.cash_tag"),
        ] {
            let mut body = sample();
            *body.pointer_mut(pointer).unwrap() = value;
            let told = payment(body.to_string().as_bytes(), "DOKU202212345828").unwrap_err();
            assert!(told.iter().any(|message| message.contains(field)), "{pointer}: {told:?}");
        }
    }

    #[test]
    fn a_refund_needs_its_reason_inside_the_order() {
        let good = br#"{"order":{"invoice_number":"I","amount":"1","reason":"Cancel Order"}}"#;
        assert_eq!(refund(good).unwrap().reason, "Cancel Order");
        let flat = br#"{"order":{"invoice_number":"I","amount":"1"},"reason":"Cancel Order"}"#;
        assert_eq!(refund(flat).unwrap_err(), ["order.reason must have 1 to 255 characters"]);
    }
}

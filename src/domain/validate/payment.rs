//! The rules of a payment's `data`: the request body of the specification.

use super::{
    Code, Rules, ValidData, Violation,
    reader::{Fields, Member, Violations},
    rules, shown_value,
};
use crate::domain::{document::Document, money::Rupiah};

/// Checks a payment's `data`. Fails with every violation, in the order of the checks below.
pub fn payment(data: &Document, rules: &Rules) -> Result<ValidData, Vec<Violation>> {
    let mut violations = Violations::default();
    let payment = Member::data(data).object(&mut violations).and_then(|mut fields| {
        let payment = fields.object("order", &mut violations).and_then(|f| order(f, &mut violations));
        additional_info(&mut fields, rules, &mut violations);
        customer(&mut fields, &mut violations);
        fields.text("redirect_url", &rules::REDIRECT_URL, &mut violations);
        if let Some(mut jenius) = fields.object("jenius_info", &mut violations) {
            jenius.text("cash_tag", &rules::CASH_TAG, &mut violations);
            jenius.refuse_others(&mut violations);
        }
        fields.refuse_others(&mut violations);
        payment
    });
    violations.judge(payment)
}

fn order(mut order: Fields<'_, '_>, violations: &mut Violations) -> Option<ValidData> {
    let invoice_number = rules::invoice_number(&mut order, violations);
    let amount = rules::amount(&mut order, violations);
    if let Some(items) = order.mandatory("line_items", LINE_ITEMS, violations) {
        line_items(items, amount, violations);
    }
    order.refuse_others(violations);
    Some(ValidData { invoice_number: invoice_number?, amount: amount?, reason: None })
}

const LINE_ITEMS: &str = "a list of 1 or more items";

/// The sum is judged only where every number in it is good.
fn line_items(items: Member<'_, '_>, amount: Option<Rupiah>, violations: &mut Violations) {
    let Some(totals) = items.list(LINE_ITEMS, violations) else { return };
    let totals: Vec<Option<u128>> = totals.map(|item| line_item(item, violations)).collect();
    if totals.is_empty() {
        violations.add(&items.path, Code::TooShort, LINE_ITEMS, Some("is empty"));
        return;
    }
    let sum: Option<u128> = totals.into_iter().sum();
    if let (Some(sum), Some(amount)) = (sum, amount)
        && sum != u128::from(amount.get())
    {
        let found = format!("adds up to {sum}");
        let allowed = format!("items with a sum of price × quantity that is order.amount, {amount}");
        violations.add(&items.path, Code::SumMismatch, &allowed, Some(&found));
    }
}

fn line_item(item: Member<'_, '_>, violations: &mut Violations) -> Option<u128> {
    let mut item = item.object(violations)?;
    item.text("name", &rules::ITEM_NAME, violations);
    let price = item.read_whole("price", &rules::ITEM_PRICE, violations);
    let quantity = item.read_whole("quantity", &rules::ITEM_QUANTITY, violations);
    item.refuse_others(violations);
    Some(u128::from(price?) * u128::from(quantity?))
}

/// Whatever else is in it goes to DOKU unchanged.
fn additional_info(fields: &mut Fields<'_, '_>, rules: &Rules, violations: &mut Violations) {
    let Some(mut info) = fields.optional("additional_info").and_then(|info| info.object(violations)) else {
        return;
    };
    if let Some(member) = info.optional("override_notification_url")
        && let Some(url) = member.text(&rules::OVERRIDE_URL, violations)
        && let Some((code, allowed)) = rules::override_fault(url, rules)
    {
        violations.add(&member.path, code, &allowed, shown_value(url).as_deref());
    }
    if let Some(member) = info.optional("settlement") {
        settlement(member, violations);
    }
    for other in info.others() {
        other.refuse_nul(violations);
    }
}

/// What sums of floats may be off by: 33.3 + 33.3 + 33.4 is 100.
const PERCENT_TOLERANCE: f64 = 1e-9;

fn settlement(settlement: Member<'_, '_>, violations: &mut Violations) {
    let Some(entries) = settlement.list("a list of settlements", violations) else { return };
    let percent: f64 = entries.filter_map(|entry| settlement_entry(entry, violations)).sum();
    if percent > 100.0 + PERCENT_TOLERANCE {
        let allowed = "settlements with percentages that add up to at most 100";
        violations.add(&settlement.path, Code::OutOfRange, allowed, Some(&format!("adds up to {percent}")));
    }
}

/// The percentage of an entry that has one.
fn settlement_entry(entry: Member<'_, '_>, violations: &mut Violations) -> Option<f64> {
    let fixed = entry.value.get("type").and_then(Document::as_str) == Some(rules::FIX);
    let mut entry = entry.object(violations)?;
    entry.text("bank_account_settlement_id", &rules::SETTLEMENT_ACCOUNT, violations);
    let value = settlement_value(&mut entry, fixed, violations);
    let kind = entry.text("type", &rules::SETTLEMENT_TYPE, violations);
    entry.refuse_others(violations);
    value.filter(|_| kind == Some(rules::PERCENTAGE))
}

fn settlement_value(entry: &mut Fields<'_, '_>, fixed: bool, violations: &mut Violations) -> Option<f64> {
    if fixed {
        entry.read_whole("value", &rules::SETTLEMENT_FIX, violations);
        return None;
    }
    let allowed = "a number above 0";
    let member = entry.mandatory("value", allowed, violations)?;
    let value = match member.value {
        Document::Integer(value) => *value as f64,
        Document::Float(value) => *value,
        Document::Null
        | Document::Bool(_)
        | Document::String(_)
        | Document::Array(_)
        | Document::Object(_) => return member.refuse_type(allowed, violations),
    };
    if value > 0.0 {
        return Some(value);
    }
    violations.add(&member.path, Code::OutOfRange, allowed, Some(&format!("is {value}")));
    None
}

fn customer(fields: &mut Fields<'_, '_>, violations: &mut Violations) {
    let Some(mut customer) = fields.object("customer", violations) else { return };
    customer.text("name", &rules::CUSTOMER_NAME, violations);
    customer.text("phone", &rules::CUSTOMER_PHONE, violations);
    if let Some(email) = customer.optional("email") {
        email.text(&rules::CUSTOMER_EMAIL, violations);
    }
    customer.refuse_others(violations);
}

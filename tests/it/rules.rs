//! Every rule for a command's fields, broken through the front door: what is rejected, with which code
//! and field, and that nothing of it reaches DOKU.

use crate::harness::{
    World,
    commands::{Message, payment_data, refund_data},
};
use serde_json::{Value, json};

/// Where, what is put there (`REMOVED`: taken out), and what the rejection says.
type Row = (&'static str, Value, &'static [(&'static str, &'static str)]);

const REMOVED: &str = "\u{1}removed";

fn long(n: usize) -> Value {
    Value::String("x".repeat(n))
}

fn payment_rows() -> Vec<Row> {
    vec![
        ("/order", json!(REMOVED), &[("missing", "order")]),
        ("/order", json!([]), &[("wrong_type", "order")]),
        ("/order/invoice_number", json!(REMOVED), &[("missing", "order.invoice_number")]),
        ("/order/invoice_number", json!(null), &[("missing", "order.invoice_number")]),
        ("/order/invoice_number", json!(7), &[("wrong_type", "order.invoice_number")]),
        ("/order/invoice_number", json!(""), &[("too_short", "order.invoice_number")]),
        ("/order/invoice_number", long(65), &[("too_long", "order.invoice_number")]),
        ("/order/invoice_number", json!("INV 1"), &[("invalid_characters", "order.invoice_number")]),
        ("/order/invoice_number", json!("INVé"), &[("invalid_characters", "order.invoice_number")]),
        ("/order/invoice_number", json!("."), &[("not_allowed", "order.invoice_number")]),
        ("/order/invoice_number", json!(".."), &[("not_allowed", "order.invoice_number")]),
        ("/order/amount", json!(REMOVED), &[("missing", "order.amount")]),
        ("/order/amount", json!(50000), &[("wrong_type", "order.amount")]),
        ("/order/amount", json!(""), &[("too_short", "order.amount")]),
        ("/order/amount", json!("1234567890123"), &[("too_long", "order.amount")]),
        ("/order/amount", json!("50.000"), &[("invalid_characters", "order.amount")]),
        ("/order/amount", json!("-50000"), &[("invalid_characters", "order.amount")]),
        ("/order/amount", json!("050000"), &[("invalid_format", "order.amount")]),
        ("/order/amount", json!("0"), &[("out_of_range", "order.amount")]),
        ("/order/amount", json!("50001"), &[("sum_mismatch", "order.line_items")]),
        ("/order/line_items", json!(REMOVED), &[("missing", "order.line_items")]),
        ("/order/line_items", json!({}), &[("wrong_type", "order.line_items")]),
        ("/order/line_items", json!([]), &[("too_short", "order.line_items")]),
        ("/order/line_items/0", json!("Ayam"), &[("wrong_type", "order.line_items[0]")]),
        ("/order/line_items/0/name", json!(""), &[("too_short", "order.line_items[0].name")]),
        ("/order/line_items/0/name", long(256), &[("too_long", "order.line_items[0].name")]),
        ("/order/line_items/0/price", json!("40000"), &[("wrong_type", "order.line_items[0].price")]),
        ("/order/line_items/0/price", json!(40000.5), &[("wrong_type", "order.line_items[0].price")]),
        ("/order/line_items/0/price", json!(-1), &[("out_of_range", "order.line_items[0].price")]),
        (
            "/order/line_items/0/price",
            json!(1_000_000_000_000_u64),
            &[("out_of_range", "order.line_items[0].price")],
        ),
        ("/order/line_items/1/quantity", json!(0), &[("out_of_range", "order.line_items[1].quantity")]),
        ("/order/line_items/1/quantity", json!(10_000), &[("out_of_range", "order.line_items[1].quantity")]),
        ("/order/line_items/1/sku", json!("A"), &[("unknown_field", "order.line_items[1].sku")]),
        ("/order/currency", json!("IDR"), &[("unknown_field", "order.currency")]),
        ("/additional_info", json!("x"), &[("wrong_type", "additional_info")]),
        (
            "/additional_info",
            json!({"override_notification_url": "not a url"}),
            &[("invalid_format", "additional_info.override_notification_url")],
        ),
        (
            "/additional_info",
            json!({"override_notification_url": "https://shop.example.com/elsewhere"}),
            &[("not_allowed", "additional_info.override_notification_url")],
        ),
        (
            "/additional_info",
            json!({"settlement": [{"bank_account_settlement_id": "", "value": 10, "type": "PERCENTAGE"}]}),
            &[("too_short", "additional_info.settlement[0].bank_account_settlement_id")],
        ),
        (
            "/additional_info",
            json!({"settlement": [{"bank_account_settlement_id": "SBS-1", "value": 0, "type": "FIX"}]}),
            &[("out_of_range", "additional_info.settlement[0].value")],
        ),
        (
            "/additional_info",
            json!({"settlement": [{"bank_account_settlement_id": "SBS-1", "value": 10.5, "type": "FIX"}]}),
            &[("wrong_type", "additional_info.settlement[0].value")],
        ),
        (
            "/additional_info",
            json!({"settlement": [{"bank_account_settlement_id": "SBS-1", "value": 10, "type": "SHARE"}]}),
            &[("not_allowed", "additional_info.settlement[0].type")],
        ),
        (
            "/additional_info",
            json!({"settlement": [
                {"bank_account_settlement_id": "SBS-1", "value": 60, "type": "PERCENTAGE"},
                {"bank_account_settlement_id": "SBS-2", "value": 41, "type": "PERCENTAGE"}]}),
            &[("out_of_range", "additional_info.settlement")],
        ),
        ("/additional_info", json!({"note": "a\u{0}b"}), &[("invalid_characters", "additional_info.note")]),
        ("/customer", json!(REMOVED), &[("missing", "customer")]),
        ("/customer/name", json!(""), &[("too_short", "customer.name")]),
        ("/customer/name", long(65), &[("too_long", "customer.name")]),
        ("/customer/name", json!("A\u{0}B"), &[("invalid_characters", "customer.name")]),
        ("/customer/phone", json!(""), &[("too_short", "customer.phone")]),
        ("/customer/phone", json!("12345678901234567"), &[("too_long", "customer.phone")]),
        ("/customer/phone", json!("+6281288"), &[("invalid_characters", "customer.phone")]),
        ("/customer/email", json!("nobody"), &[("invalid_format", "customer.email")]),
        ("/customer/email", json!("@doku.com"), &[("invalid_format", "customer.email")]),
        (
            "/customer/email",
            json!(format!("{}@doku.com", "x".repeat(400))),
            &[("too_long", "customer.email")],
        ),
        ("/redirect_url", json!(REMOVED), &[("missing", "redirect_url")]),
        ("/redirect_url", json!("/back"), &[("invalid_format", "redirect_url")]),
        ("/redirect_url", json!("ftp://test.com/x"), &[("invalid_format", "redirect_url")]),
        (
            "/redirect_url",
            json!(format!("https://test.com/{}", "x".repeat(500))),
            &[("too_long", "redirect_url")],
        ),
        ("/jenius_info", json!(REMOVED), &[("missing", "jenius_info")]),
        ("/jenius_info/cash_tag", json!(""), &[("too_short", "jenius_info.cash_tag")]),
        ("/jenius_info/cash_tag", long(31), &[("too_long", "jenius_info.cash_tag")]),
        ("/surprise", json!(1), &[("unknown_field", "surprise")]),
        ("", json!("text"), &[("wrong_type", "data")]),
    ]
}

fn refund_rows() -> Vec<Row> {
    vec![
        ("/order/reason", json!(REMOVED), &[("missing", "order.reason")]),
        ("/order/reason", json!(""), &[("too_short", "order.reason")]),
        ("/order/reason", long(256), &[("too_long", "order.reason")]),
        ("/order/amount", json!("0"), &[("out_of_range", "order.amount")]),
        ("/order/note", json!("x"), &[("unknown_field", "order.note")]),
        ("/reason", json!("flat"), &[("unknown_field", "reason")]),
    ]
}

fn change(data: &mut Value, path: &str, value: Value) {
    if path.is_empty() {
        *data = value;
        return;
    }
    let (parent, member) = path.rsplit_once('/').unwrap();
    let parent = data.pointer_mut(parent).unwrap();
    match (parent, value.as_str() == Some(REMOVED)) {
        (Value::Object(members), true) => {
            members.remove(member);
        }
        (Value::Object(members), false) => {
            members.insert(member.to_owned(), value);
        }
        (Value::Array(items), _) => items[member.parse::<usize>().unwrap()] = value,
        _ => panic!("no such place: {path}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_rule_is_rejected_with_its_code_and_field_and_nothing_reaches_doku() {
    let world = World::new().await;
    let mut published = Vec::new();
    for (path, value, expected) in payment_rows() {
        let mut data = payment_data(&world.invoice(), "$admin");
        change(&mut data, path, value);
        published.push((Message::payment(data), path, expected));
    }
    for (path, value, expected) in refund_rows() {
        let mut data = refund_data(&world.invoice(), "Cancel Order");
        change(&mut data, path, value);
        published.push((Message::refund(data), path, expected));
    }
    for (message, _, _) in &published {
        world.publish(message).await;
    }
    for (message, path, expected) in &published {
        let told = world.errors(message.id()).await;
        let told: Vec<(&str, &str)> = told.iter().map(|(c, f)| (c.as_str(), f.as_str())).collect();
        assert_eq!(told, *expected, "{path}: {}", message.body["data"]);
    }
    assert!(world.sandbox.ledger().requests.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_violations_are_reported_at_once_in_the_order_of_the_fields() {
    let world = World::new().await;
    let mut data = payment_data("", "$admin");
    for (path, value) in [
        ("/order/amount", json!("0")),
        ("/customer/phone", json!("x")),
        ("/redirect_url", json!(null)),
        ("/jenius_info", json!(7)),
        ("/zzz", json!(1)),
    ] {
        change(&mut data, path, value);
    }
    let message = Message::payment(data).with("expirytime", "tomorrow");
    world.publish(&message).await;
    let told = world.errors(message.id()).await;
    let fields: Vec<&str> = told.iter().map(|(_, field)| field.as_str()).collect();
    let expected = [
        "expirytime",
        "order.invoice_number",
        "order.amount",
        "customer.phone",
        "redirect_url",
        "jenius_info",
        "zzz",
    ];
    assert_eq!(fields, expected);
    let event = world.rejected(message.id()).await;
    assert!(
        event.data("errors").as_array().unwrap().iter().all(|e| e["message"].as_str().unwrap().len() > 5)
    );
    world.end().await;
}

/// What the rules allow, reaches DOKU byte for byte as the upstream service wrote it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allowed_at_the_edges_is_taken() {
    let world = World::new().await;
    let edge = |path: &'static str, value: Value| {
        let mut data = payment_data(&world.invoice(), "$admin");
        change(&mut data, path, value);
        Message::payment(data)
    };
    let messages = [
        edge("/customer/email", json!(null)),
        edge("/customer/email", json!(REMOVED)),
        edge("/customer/name", json!("Ü".repeat(64))),
        edge("/additional_info", json!(null)),
        edge("/additional_info", json!({"free": {"deep": [1, 2.50, null, "ok"]}})),
        edge(
            "/additional_info",
            json!({"override_notification_url": "http://127.0.0.1:9/payments/notifications"}),
        ),
        edge(
            "/additional_info",
            json!({"settlement": [
                {"bank_account_settlement_id": "SBS-1", "value": 33.3, "type": "PERCENTAGE"},
                {"bank_account_settlement_id": "SBS-2", "value": 33.3, "type": "PERCENTAGE"},
                {"bank_account_settlement_id": "SBS-3", "value": 33.4, "type": "PERCENTAGE"}]}),
        ),
        edge("/order/invoice_number", json!("INV/2026/001?x=1&y#z%41")),
        edge("/order/invoice_number", json!("x".repeat(64))),
    ];
    for message in &messages {
        world.publish(message).await;
    }
    for message in &messages {
        let invoice = message.body["data"]["order"]["invoice_number"].as_str().unwrap();
        world.event(invoice, "payment.accepted").await;
    }
    world.end().await;
}

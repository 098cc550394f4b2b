//! One row a rule and way to break it.

use super::*;

/// A member's value (`None`: taken away), and the code it gets.
pub(crate) type Case = (Option<Document>, Code);

/// What every mandatory text of 1 to `max` characters refuses.
fn text_cases(max: usize) -> Vec<Case> {
    vec![
        (None, Missing),
        (Some(Null), Missing),
        (Some(Integer(5)), WrongType),
        (Some(object(&[])), WrongType),
        (Some(s("")), TooShort),
        (Some(xs(max + 1)), TooLong),
        (Some(s("a\0b")), InvalidCharacters),
    ]
}

fn and<const N: usize>(mut cases: Vec<Case>, more: [(Document, Code); N]) -> Vec<Case> {
    cases.extend(more.map(|(value, code)| (Some(value), code)));
    cases
}

/// The same member of a payment and of a refund.
fn order_cases() -> Vec<(&'static str, Vec<Case>)> {
    let invoice =
        [(".", NotAllowed), ("..", NotAllowed), ("a b", InvalidCharacters), ("ä", InvalidCharacters)];
    let amount = [
        ("0", OutOfRange),
        ("00", InvalidFormat),
        ("050000", InvalidFormat),
        ("50000.00", InvalidCharacters),
        ("-50000", InvalidCharacters),
        ("5e4", InvalidCharacters),
        (" 50000", InvalidCharacters),
        ("٥٠٠", InvalidCharacters),
        ("1000000000000", TooLong),
    ];
    vec![
        ("order", vec![(None, Missing), (Some(Null), Missing), (Some(s("x")), WrongType)]),
        ("order.invoice_number", and(text_cases(64), invoice.map(|(t, code)| (s(t), code)))),
        ("order.amount", and(text_cases(12), amount.map(|(t, code)| (s(t), code)))),
    ]
}

fn item_cases() -> Vec<(&'static str, Vec<Case>)> {
    let number = |out_of_range: i128| -> Vec<Case> {
        let wrong = [s("1"), Float(1.5), Float(-0.0), Bool(true), Array(vec![])].map(|v| (v, WrongType));
        let out = [Integer(-1), Integer(out_of_range), Float(1e30), Integer(i128::MAX)];
        and(and(vec![(None, Missing), (Some(Null), Missing)], wrong), out.map(|v| (v, OutOfRange)))
    };
    vec![
        (
            "order.line_items",
            vec![
                (None, Missing),
                (Some(Null), Missing),
                (Some(object(&[])), WrongType),
                (Some(Array(vec![])), TooShort),
                (Some(Array(vec![item(49_999, 1)])), SumMismatch),
                (Some(Array(vec![item(999_999_999_999, 9999); 300])), SumMismatch),
            ],
        ),
        ("order.line_items[1]", vec![(Some(Null), Missing), (Some(Integer(1)), WrongType)]),
        ("order.line_items[1].name", text_cases(255)),
        ("order.line_items[1].price", number(1_000_000_000_000)),
        ("order.line_items[1].quantity", and(number(10_000), [(Integer(0), OutOfRange)])),
        ("order.line_items[1].sku", vec![(Some(Null), UnknownField)]),
    ]
}

fn additional_info_cases() -> Vec<(&'static str, Vec<Case>)> {
    let url = [
        (s(""), TooShort),
        (Integer(1), WrongType),
        (s("/payments/notifications"), InvalidFormat),
        (s("http://another.example.com/payments/notifications"), InvalidFormat),
        (s("ftp://another.example.com/payments/notifications"), InvalidFormat),
        (s("https:///payments/notifications"), InvalidFormat),
        (s("https://another.example.com/payments /notifications"), InvalidFormat),
        (s("https://another.example.com"), NotAllowed),
        (s("https://another.example.com/payments/notifications/"), NotAllowed),
        (s("https://another.example.com/x/../payments/notifications"), NotAllowed),
        (s("https://another.example.com/?/payments/notifications"), NotAllowed),
        (s("https://another.example.com\0/payments/notifications"), InvalidCharacters),
    ];
    let value = [(Float(0.0), OutOfRange), (Integer(-1), OutOfRange), (s("10"), WrongType), (Null, Missing)];
    let kind = [(s("percentage"), NotAllowed), (s("OTHER"), NotAllowed)];
    let settlement = [
        (object(&[]), WrongType),
        (shares(&[60.0, 40.1]), OutOfRange),
        (shares(&[1e300, 1e300]), OutOfRange),
        (Array(vec![share(Integer(101), "PERCENTAGE")]), OutOfRange),
    ];
    let mut kinds = text_cases(64);
    kinds.retain(|(_, code)| *code != TooLong);
    vec![
        ("additional_info", vec![(Some(Array(vec![])), WrongType), (Some(s("")), WrongType)]),
        ("additional_info.override_notification_url", and(vec![], url)),
        ("additional_info.settlement", and(vec![], settlement)),
        ("additional_info.settlement[0]", vec![(Some(Null), Missing), (Some(s("x")), WrongType)]),
        ("additional_info.settlement[0].bank_account_settlement_id", text_cases(64)),
        ("additional_info.settlement[0].value", and(vec![(None, Missing)], value)),
        ("additional_info.settlement[0].type", and(kinds, kind)),
        ("additional_info.settlement[0].note", vec![(Some(s("x")), UnknownField)]),
        ("additional_info.note", vec![(Some(s("a\0")), InvalidCharacters)]),
    ]
}

fn other_cases() -> Vec<(&'static str, Vec<Case>)> {
    let phone = ["+6281288910205", "0812 8891", "٥", "-1"].map(|t| (s(t), InvalidCharacters));
    let email = ["Astari", "@doku.com", "Astari@", "@", "a@b@c"].map(|t| (s(t), InvalidFormat));
    let redirect = [
        "/redirect",
        "test.com/redirect",
        "ftp://test.com",
        "https:test.com",
        "https:/test.com",
        "https:////test.com",
        "https://",
        " https://test.com",
        "https://test.com/a b",
        "https://test.com\\@evil.com",
        "javascript:alert(1)//://",
    ]
    .map(|t| (s(t), InvalidFormat));
    let long = |count: usize| format!("https://test.com/{}", "é".repeat(count - 17));
    let object_cases = || vec![(None, Missing), (Some(Null), Missing), (Some(Bool(true)), WrongType)];
    vec![
        ("customer", object_cases()),
        ("customer.name", text_cases(64)),
        ("customer.phone", and(text_cases(16), phone)),
        ("customer.email", and(vec![(Some(xs(401)), TooLong), (Some(s("")), TooShort)], email)),
        ("customer.id", vec![(Some(s("1")), UnknownField)]),
        ("redirect_url", and(and(text_cases(512), redirect), [(s(&long(513)), TooLong)])),
        ("jenius_info", object_cases()),
        ("jenius_info.cash_tag", text_cases(30)),
        ("jenius_info.note", vec![(Some(Null), UnknownField)]),
        ("note", vec![(Some(Null), UnknownField)]),
        ("order.reason", vec![(Some(s("x")), UnknownField)]),
    ]
}

/// Every rule of a payment, and how it is broken.
pub(crate) fn of_payments() -> Vec<(&'static str, Vec<Case>)> {
    [order_cases(), item_cases(), additional_info_cases(), other_cases()].concat()
}

/// Every rule of a refund, and how it is broken.
pub(crate) fn of_refunds() -> Vec<(&'static str, Vec<Case>)> {
    let mut table = order_cases();
    table.push(("order.reason", text_cases(255)));
    table.push(("order.line_items", vec![(Some(Array(vec![])), UnknownField)]));
    table.push(("customer", vec![(Some(object(&[])), UnknownField)]));
    table
}

#[test]
fn each_broken_rule_of_a_payment_is_reported_once_with_its_code_and_field() {
    for (field, cases) in of_payments() {
        for (value, code) in cases {
            let data = with(payment_data(), field, value.clone());
            assert_eq!(payment_broken(&data), [(field.to_owned(), code)], "{field} = {value:?}");
        }
    }
}

#[test]
fn each_broken_rule_of_a_refund_is_reported_once_with_its_code_and_field() {
    for (field, cases) in of_refunds() {
        for (value, code) in cases {
            let data = with(refund_data(), field, value.clone());
            assert_eq!(broken(refund(&data)), [(field.to_owned(), code)], "{field} = {value:?}");
        }
    }
}

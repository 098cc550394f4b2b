//! What several violations, every allowance and any document at all come to. The table of
//! every rule is in `table`.

pub(crate) mod table;

use super::{Code::*, *};
use crate::domain::document::Document::{self, Array, Bool, Float, Integer, Null, Object};
use proptest::prelude::*;

fn s(text: &str) -> Document {
    Document::String(text.to_owned())
}

fn xs(count: usize) -> Document {
    s(&"é".repeat(count))
}

fn object(members: &[(&str, Document)]) -> Document {
    Object(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn item(price: i128, quantity: i128) -> Document {
    object(&[("name", s("Ayam")), ("price", Integer(price)), ("quantity", Integer(quantity))])
}

fn share(value: Document, kind: &str) -> Document {
    object(&[("bank_account_settlement_id", s("SBA-1")), ("value", value), ("type", s(kind))])
}

fn shares(values: &[f64]) -> Document {
    Array(values.iter().map(|value| share(Float(*value), "PERCENTAGE")).collect())
}

/// The specification's sample body, with everything optional.
pub(crate) fn payment_data() -> Document {
    let url = s("https://another.example.com/payments/notifications");
    let info = [("override_notification_url", url), ("settlement", shares(&[10.0, 90.0]))];
    let customer = [("name", s("Astari")), ("email", s("Astari@doku.com")), ("phone", s("081288910205"))];
    object(&[
        (
            "order",
            object(&[
                ("invoice_number", s("DOKU202212345828")),
                ("amount", s("50000")),
                ("line_items", Array(vec![item(40_000, 1), item(10_000, 1)])),
            ]),
        ),
        ("additional_info", object(&info)),
        ("customer", object(&customer)),
        ("redirect_url", s("https://test.com/redirect")),
        ("jenius_info", object(&[("cash_tag", s("$admin"))])),
    ])
}

pub(crate) fn refund_data() -> Document {
    let order = [("invoice_number", s("INV-1")), ("amount", s("61000")), ("reason", s("Cancel Order"))];
    object(&[("order", object(&order))])
}

/// `data` with the member at `path` (`a.b[0].c`) set, or taken away.
pub(crate) fn with(mut data: Document, path: &str, value: Option<Document>) -> Document {
    let steps: Vec<&str> = path.split(['.', '[', ']']).filter(|step| !step.is_empty()).collect();
    let (last, parents) = steps.split_last().unwrap();
    let mut at = &mut data;
    for step in parents {
        at = if let Array(items) = at {
            &mut items[step.parse::<usize>().unwrap()]
        } else {
            let Object(members) = at else { panic!("no {step} in {at:?}") };
            &mut members.iter_mut().find(|(name, _)| name == step).unwrap().1
        };
    }
    if let Array(items) = at {
        items[last.parse::<usize>().unwrap()] = value.unwrap();
    } else {
        let Object(members) = at else { panic!("no {last} in {at:?}") };
        members.retain(|(name, _)| name != last);
        members.extend(value.map(|value| ((*last).to_owned(), value)));
    }
    data
}

fn rules(production: bool) -> Rules {
    Rules { notification_path: "/payments/notifications".to_owned(), production }
}

fn broken(result: Result<ValidData, Vec<Violation>>) -> Vec<(String, Code)> {
    result.err().unwrap_or_default().into_iter().map(|v| (v.field, v.code)).collect()
}

fn payment_broken(data: &Document) -> Vec<(String, Code)> {
    broken(payment(data, &rules(true)))
}

#[test]
fn a_fixed_settlement_is_an_integer() {
    for (value, code) in [(Float(10.5), WrongType), (Float(10.0), WrongType), (Integer(0), OutOfRange)] {
        let settlement = Some(Array(vec![share(value, "FIX")]));
        let data = with(payment_data(), "additional_info.settlement", settlement);
        assert_eq!(payment_broken(&data), [("additional_info.settlement[0].value".to_owned(), code)]);
    }
}

#[test]
fn data_that_is_missing_or_no_object_is_one_error_of_data() {
    for (data, code) in [(Null, Missing), (s("x"), WrongType), (Array(vec![]), WrongType)] {
        assert_eq!(payment_broken(&data), [("data".to_owned(), code)]);
        assert_eq!(broken(refund(&data)), [("data".to_owned(), code)]);
    }
}

/// Values that a payment's members may have.
pub(crate) fn allowed() -> Vec<(&'static str, Option<Document>)> {
    let settled = "additional_info.settlement";
    vec![
        ("additional_info", None),
        ("additional_info", Some(Null)),
        ("additional_info", Some(object(&[("note", object(&[("deep", Null)]))]))),
        ("additional_info.override_notification_url", Some(Null)),
        ("additional_info.override_notification_url", Some(s("HTTPS://h:8443/payments/notifications"))),
        (settled, Some(Null)),
        (settled, Some(shares(&[33.3, 33.3, 33.4]))),
        (settled, Some(shares(&[28.4, 17.8, 19.1, 34.7]))),
        (settled, Some(Array(vec![share(Integer(100), "PERCENTAGE"), share(Integer(60_000), "FIX")]))),
        ("order.invoice_number", Some(s("INV/2026/001"))),
        ("order.line_items", Some(Array(vec![item(0, 9999), item(5, 9999), item(5, 1)]))),
        ("customer.name", Some(xs(64))),
        ("customer.phone", Some(s("1"))),
        ("customer.email", Some(Null)),
        ("customer.email", None),
        ("redirect_url", Some(s("http://localhost:3000?x=[1]"))),
        ("redirect_url", Some(s(&format!("https://test.com/{}", "x".repeat(495))))),
    ]
}

#[test]
fn every_allowed_value_passes() {
    for (field, value) in allowed() {
        let data = with(payment_data(), field, value.clone());
        assert_eq!(payment_broken(&data), [], "{field} = {value:?}");
    }
}

#[test]
fn the_invoice_number_the_amount_and_the_reason_come_out() {
    let valid = payment(&payment_data(), &rules(true)).unwrap();
    assert_eq!((valid.invoice_number.as_str(), valid.amount.get()), ("DOKU202212345828", 50_000));
    let valid = refund(&refund_data()).unwrap();
    assert_eq!((valid.amount.get(), valid.reason.as_deref()), (61_000, Some("Cancel Order")));
}

#[test]
fn the_sandbox_takes_an_override_without_tls() {
    let url = Some(s("http://localhost:8080/payments/notifications?merchant=1"));
    let data = with(payment_data(), "additional_info.override_notification_url", url);
    assert!(payment(&data, &rules(false)).is_ok());
    assert_eq!(payment_broken(&data).len(), 1);
}

#[test]
fn several_violations_come_at_once_in_the_order_of_the_fields_unknown_members_last() {
    let mut data = payment_data();
    for (path, value) in [
        ("extra", Some(Null)),
        ("redirect_url", Some(s("x"))),
        ("customer.phone", Some(s("x"))),
        ("customer.name", None),
        ("additional_info.settlement", Some(shares(&[101.0]))),
        ("order.line_items[1].price", Some(Float(0.5))),
        ("order.line_items[0].colour", Some(s("red"))),
        ("order.amount", Some(s("07"))),
    ] {
        data = with(data, path, value);
    }
    let fields = payment_broken(&data);
    let expected = [
        ("order.amount", InvalidFormat),
        ("order.line_items[1].price", WrongType),
        ("additional_info.settlement", OutOfRange),
        ("customer.name", Missing),
        ("customer.phone", InvalidCharacters),
        ("redirect_url", InvalidFormat),
        ("order.line_items[0].colour", UnknownField),
        ("extra", UnknownField),
    ];
    assert_eq!(fields, expected.map(|(field, code)| (field.to_owned(), code)));
}

#[test]
fn a_field_that_is_reported_can_always_be_stored_and_is_bounded() {
    let name = format!("a\0{}", "é".repeat(10_000));
    let nested = object(&[(&name, object(&[(&name, object(&[(&name, object(&[(&name, s("\0"))]))]))]))]);
    let data = with(payment_data(), "additional_info.free", Some(nested));
    let violations = payment(&with(data, &name, Some(Null)), &rules(true)).unwrap_err();
    assert_eq!(violations.len(), 4 + 1, "four names with U+0000, one unknown member");
    assert!(violations.iter().all(|v| !v.field.contains('\0') && v.field.chars().count() <= 256));
    assert_eq!(violations[0].field.chars().take(22).collect::<String>(), "additional_info.free.a");
}

#[test]
fn the_list_of_violations_is_bounded() {
    let members: Vec<(String, Document)> = (0..1000).map(|n| (n.to_string(), Null)).collect();
    assert_eq!(payment_broken(&Object(members)).len(), VIOLATIONS_MAX);
    let data = with(payment_data(), "order.line_items", Some(Array(vec![Null; 1000])));
    assert_eq!(payment_broken(&data).len(), VIOLATIONS_MAX);
}

#[test]
fn every_code_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<&str> = Code::ALL.into_iter().map(Code::name).collect();
    assert_eq!(names.len(), Code::ALL.len());
}

fn any_document() -> impl Strategy<Value = Document> {
    let name = prop_oneof![
        Just("order"),
        Just("amount"),
        Just("line_items"),
        Just("price"),
        Just("settlement"),
        Just("value"),
        Just("type"),
        Just("additional_info"),
        Just("customer"),
        Just("email"),
        Just("\0")
    ];
    let leaf = prop_oneof![
        Just(Null),
        any::<bool>().prop_map(Bool),
        any::<i128>().prop_map(Integer),
        any::<f64>().prop_map(Float),
        any::<String>().prop_map(Document::String),
        Just(s("FIX")),
    ];
    leaf.prop_recursive(4, 64, 6, move |inner| {
        let member = (name.clone().prop_map(str::to_owned), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Array),
            prop::collection::vec(member, 0..6).prop_map(Object)
        ]
    })
}

proptest! {
    /// A refusal always says why.
    #[test]
    fn no_document_makes_the_rules_panic(document in any_document(), at in 0_usize..6) {
        let path = ["order", "additional_info", "customer", "order.line_items[0]",
            "additional_info.settlement[0]", "jenius_info.cash_tag"][at];
        for data in [document.clone(), with(payment_data(), path, Some(document))] {
            prop_assert!(payment(&data, &rules(true)).map_or_else(|v| !v.is_empty(), |_| true));
            prop_assert!(refund(&data).map_or_else(|v| !v.is_empty(), |_| true));
        }
    }
}

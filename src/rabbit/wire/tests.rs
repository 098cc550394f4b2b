//! What can be read, what cannot, and that nothing of a body is quoted where it cannot.

use super::*;
use crate::domain::validate::{self, Code, Rules};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The sample bodies of the specification, as they stand there.
const PAYMENT: &str = include_str!("../../../tests/vectors/payment.json");
const REFUND: &str = include_str!("../../../tests/vectors/refund.json");

fn event(kind: CommandKind, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"1","source":"/shop","type":"{}","data":{data}}}"#,
        kind.event_type()
    )
}

/// The payment's event with one attribute set, or (`null`) taken away.
fn event_with(name: &str, value: Value) -> String {
    let mut event: Value = serde_json::from_str(&event(CommandKind::Payment, PAYMENT)).unwrap();
    event[name] = value;
    event.to_string()
}

fn read(body: &str) -> Result<Incoming, Malformed> {
    read_command(CommandKind::Payment, Some("application/cloudevents+json"), body.as_bytes())
}

fn read_data(data: &str) -> Incoming {
    read(&event(CommandKind::Payment, data)).unwrap()
}

fn rules() -> Rules {
    Rules { notification_path: "/payments/notifications".to_owned(), production: true }
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.map(|b| format!("{b:02x}")).concat()
}

#[test]
fn what_is_no_command_for_the_queue_is_malformed_and_says_what_is_allowed() {
    let nested = |levels| format!("{{\"deep\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let long = |count: usize| Value::String("x".repeat(count));
    let rows: Vec<(String, &str)> = vec![
        (String::new(), "a JSON object"),
        ("[]".to_owned(), "a JSON object"),
        ("\"{}\"".to_owned(), "a JSON object"),
        ("\u{feff}{}".to_owned(), "a byte order mark"),
        ("{".to_owned(), "not JSON"),
        ("{} {}".to_owned(), "not JSON"),
        ("{\"specversion\":\"1.0\",}".to_owned(), "not JSON"),
        (event(CommandKind::Payment, "{\"a\":1e999}"), "not JSON"),
        (event(CommandKind::Payment, "{\"a\":\"\\ud800\"}"), "half of a surrogate pair"),
        (event(CommandKind::Payment, "{\"a\":\"\\udc00x\"}"), "half of a surrogate pair"),
        (event(CommandKind::Payment, "{\"a\":01}"), "not JSON"),
        (event(CommandKind::Payment, "{\"a\":NaN}"), "not JSON"),
        (event(CommandKind::Payment, &nested(200)), "127 levels"),
        (event(CommandKind::Payment, &nested(100_000)), "127 levels"),
        (" ".repeat(BODY_BYTES_MAX + 1), "262144"),
        (event_with("type", json!("jenius.refund.request.v1")), "jenius.payment.request.v1"),
        (event_with("type", Value::Null), "jenius.payment.request.v1"),
        (event_with("id", Value::Null), "id: must be 1–128"),
        (event_with("id", json!(7)), "id: must be 1–128"),
        (event_with("id", json!("")), "id: must be 1–128"),
        (event_with("id", json!("a b")), "id: must be 1–128"),
        (event_with("id", json!("a\0")), "id: must be 1–128"),
        (event_with("id", long(129)), "id: must be 1–128"),
        (event_with("source", Value::Null), "source: must be 1–255"),
        (event_with("source", json!("a\0")), "source: must be 1–255"),
        (event_with("source", long(256)), "source: must be 1–255"),
    ];
    for (body, said) in rows {
        let shown: String = body.chars().take(80).collect();
        let malformed = read(&body).expect_err(&shown);
        assert!(malformed.detail.contains(said), "{shown}: {malformed}");
    }
    for (body, said) in [
        (b"{\"a\":\"\xff\"}".as_slice(), "not UTF-8"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b"\x1f\x8b\x08\0\0", "gzip"),
    ] {
        let malformed = read_command(CommandKind::Payment, None, body).unwrap_err();
        assert!(malformed.detail.contains(said), "{malformed}");
    }
}

#[test]
fn a_member_twice_is_malformed_at_any_depth_however_it_is_written() {
    for data in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"order":{"amount":"1","invoice_number":"x","amount":"2"}}"#,
        r#"{"additional_info":{"free":[1,{"deep":{"":1,"":1}}]}}"#,
    ] {
        let malformed = read(&event(CommandKind::Payment, data)).unwrap_err();
        assert!(malformed.detail.contains("a member twice"), "{malformed}");
    }
    let good = event(CommandKind::Payment, "{}");
    for more in [r#""id":"2""#, r#""data":{}"#, r#""d\u0061ta":{}"#, r#""ext":{"a":1,"a":1}"#] {
        let body = good.replacen('{', &format!("{{{more},"), 1);
        assert!(read(&body).unwrap_err().detail.contains("a member twice"), "{body}");
    }
}

#[test]
fn many_members_are_read_in_no_time() {
    let members: Vec<String> = (0..20_000).map(|n| format!("\"{n}\":1")).collect();
    let incoming = read_data(&format!("{{{}}}", members.join(",")));
    assert_eq!(validate::payment(&incoming.data, &rules()).unwrap_err().len(), validate::VIOLATIONS_MAX);
}

#[test]
fn json_by_any_of_its_content_types_is_read() {
    let body = event(CommandKind::Payment, PAYMENT);
    for (content_type, read) in [
        (None, true),
        (Some("application/json"), true),
        (Some("Application/CloudEvents+JSON ; charset=UTF-8"), true),
        (Some("application/cloudevents-batch+json"), false),
        (Some("text/plain"), false),
        (Some(""), false),
    ] {
        let incoming = read_command(CommandKind::Payment, content_type, body.as_bytes());
        assert_eq!(incoming.is_ok(), read, "{content_type:?}");
    }
}

#[test]
fn the_samples_of_the_specification_are_good_commands() {
    let incoming = read_data(PAYMENT);
    assert_eq!(incoming.violations, []);
    assert_eq!(incoming.command.invoice_number.as_deref(), Some("DOKU202212345828"));
    assert_eq!(incoming.command.merchant, "default");
    assert!(validate::payment(&incoming.data, &rules()).is_ok());

    let body = event(CommandKind::Refund, REFUND);
    let incoming = read_command(CommandKind::Refund, None, body.as_bytes()).unwrap();
    assert_eq!(validate::refund(&incoming.data).unwrap().reason.as_deref(), Some("Cancel Order"));
    assert_eq!(incoming.body, REFUND.trim().as_bytes());
}

#[test]
fn the_request_body_is_the_exact_text_of_data() {
    let odd =
        "{ \"order\" :\t{\"amount\":\"\\u0035\", \"x\":1.50E2,\n\"n\":null} ,\"customer\":{\"name\":null}}";
    assert_eq!(read_data(odd).body, odd.as_bytes());
    assert_eq!(read_data("{}").body, b"{}");
}

#[test]
fn an_optional_member_that_is_null_is_not_sent() {
    for (data, sent) in [
        (r#"{"additional_info":null, "a":null}"#, r#"{ "a":null}"#),
        (
            r#"{"additional_info":{"n":12345678901234567890123, "e":1.50E+02,"s":"\u0041\/"},"customer":{"email" : null}}"#,
            r#"{"additional_info":{"n":12345678901234567890123, "e":1.50E+02,"s":"\u0041\/"},"customer":{}}"#,
        ),
        (
            r#"{"customer":{"name":"é\n","email":null}, "additional_info":{"settlement":null,"override_notification_url":null,"free":null,"n":-1.5}}"#,
            r#"{"customer":{"name":"é\n"}, "additional_info":{"free":null,"n":-1.5}}"#,
        ),
    ] {
        let incoming = read_data(data);
        assert_eq!(String::from_utf8(incoming.body).unwrap(), sent);
        assert_ne!(incoming.command.digest, read_data(sent).command.digest, "other data, all the same");
    }
    let refund = event(CommandKind::Refund, r#"{"customer":{"email":null}}"#);
    let incoming = read_command(CommandKind::Refund, None, refund.as_bytes()).unwrap();
    assert_eq!(incoming.body, br#"{"customer":{"email":null}}"#);
}

/// The digests were made with another tool, of the canonical form written by hand.
#[test]
fn the_digest_is_of_the_canonical_form() {
    let canonical = "f665356871046a66187d5dd05d3f73be3853ed64985d4f26e91e6ea2534ecab7";
    for data in [
        r#"{"order":{"invoice_number":"INV-1","amount":"61000","reason":"café €"},"n":[1,100,1e21]}"#,
        "{ \"n\": [1.0, 1e2, 1000000000000000000000],\n \"order\": {\"reason\": \"caf\\u00e9 \\u20AC\",
          \"amount\": \"61000\", \"invoice_number\": \"INV\\u002d1\"}}",
    ] {
        assert_eq!(hex(read_data(data).command.digest), canonical);
    }
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex(read(&event_with("data", Value::Null)).unwrap().command.digest), nothing);
    assert_ne!(hex(read_data("{}").command.digest), nothing);
}

#[test]
fn data_that_is_missing_is_left_to_the_rules() {
    let body = event(CommandKind::Payment, "1").replace(",\"data\":1", "");
    let incoming = read(&body).unwrap();
    assert_eq!((incoming.data, incoming.body.len()), (Document::Null, 0));
}

#[test]
fn an_invoice_number_is_repeated_as_it_was_written_if_an_event_can_hold_it() {
    let long = "x".repeat(129);
    for (written, repeated) in [
        (json!("INV 1"), Some("INV 1")),
        (json!(".."), Some("..")),
        (json!(""), None),
        (json!(5), None),
        (json!("a\0"), None),
        (json!(long), None),
    ] {
        let incoming = read_data(&json!({"order": {"invoice_number": written}}).to_string());
        assert_eq!(incoming.command.invoice_number.as_deref(), repeated);
    }
}

#[test]
fn a_merchant_that_can_be_no_name_is_nobodys_name() {
    for (written, name) in [
        (Value::Null, "default"),
        (json!("shop_2"), "shop_2"),
        (json!("No Such"), "No Such"),
        (json!(5), ""),
        (json!("default\0"), ""),
        (json!("x".repeat(129)), ""),
    ] {
        assert_eq!(read(&event_with("merchant", written)).unwrap().command.merchant, name);
    }
}

#[test]
fn an_expirytime_is_a_time_or_a_violation() {
    let time = |text: &str| Some(DateTime::parse_from_rfc3339(text).unwrap().to_utc());
    for (written, expires_at, code) in [
        (Value::Null, None, None),
        (json!("2026-01-31T17:00:00Z"), time("2026-01-31T17:00:00Z"), None),
        (json!("2026-01-31T17:00:00.5+07:00"), time("2026-01-31T10:00:00.5Z"), None),
        (json!("2026-01-31"), None, Some(Code::InvalidFormat)),
        (json!("2026-02-30T00:00:00Z"), None, Some(Code::InvalidFormat)),
        (json!(""), None, Some(Code::InvalidFormat)),
        (json!(1_769_878_800), None, Some(Code::WrongType)),
    ] {
        let incoming = read(&event_with("expirytime", written.clone())).unwrap();
        assert_eq!(incoming.command.expires_at, expires_at, "{written}");
        let found: Vec<_> = incoming.violations.iter().map(|v| (v.field.as_str(), v.code)).collect();
        assert_eq!(found, code.map(|code| ("expirytime", code)).into_iter().collect::<Vec<_>>(), "{written}");
    }
}

#[test]
fn a_time_says_when_it_was_published() {
    let time = |text: &str| Some(DateTime::parse_from_rfc3339(text).unwrap().to_utc());
    let (written, read_as) = ("2026-01-31T17:00:00.5+07:00", "2026-01-31T10:00:00.5Z");
    for (written, published_at) in [(Value::Null, None), (json!(written), time(read_as))] {
        let incoming = read(&event_with("time", written.clone())).unwrap();
        assert_eq!(incoming.command.published_at, published_at, "{written}");
        assert!(incoming.violations.is_empty(), "{written}");
    }
}

#[test]
fn each_attribute_that_breaks_its_rule_is_a_violation_and_keeps_nothing_from_being_read() {
    use Code::{InvalidFormat, Missing, NotAllowed, TooShort, WrongType};
    for (name, written, code, said) in [
        ("specversion", json!("0.3"), Some(NotAllowed), "must be the string 1.0; it is \"0.3\""),
        ("specversion", json!(1.0), Some(WrongType), "it is a number"),
        ("specversion", Value::Null, Some(Missing), "it is missing"),
        ("time", json!("yesterday"), Some(InvalidFormat), "it is \"yesterday\""),
        ("time", json!(1_769_878_800), Some(WrongType), "must be an RFC 3339 time"),
        ("subject", json!(""), Some(TooShort), "it is empty"),
        ("subject", json!([]), Some(WrongType), "it is a list"),
        ("subject", json!("x"), None, ""),
        ("datacontenttype", json!("text/xml"), Some(NotAllowed), "must be a JSON media type"),
        ("datacontenttype", json!("json"), Some(InvalidFormat), "it is \"json\""),
        ("datacontenttype", json!(""), Some(InvalidFormat), "it is empty"),
        ("datacontenttype", json!("application/JSON ; charset=utf-8"), None, ""),
        ("datacontenttype", json!("application/vnd.shop+json"), None, ""),
        ("dataschema", json!(""), Some(TooShort), "it is empty"),
        ("dataschema", json!("https://x/y"), None, ""),
        ("expirytime", json!("2026-02-30T00:00:00Z"), Some(InvalidFormat), "it is \"2026-02-30T00:00:00Z\""),
        ("anything", json!({}), None, ""),
    ] {
        let incoming = read(&event_with(name, written.clone())).unwrap();
        let found: Vec<_> = incoming.violations.iter().map(|v| (v.field.as_str(), v.code)).collect();
        let expected: Vec<_> = code.map(|code| (name, code)).into_iter().collect();
        assert_eq!(found, expected, "{name} = {written}");
        assert!(incoming.violations.iter().all(|v| v.message.contains(said)), "{:?}", incoming.violations);
    }
}

#[test]
fn a_draft_tells_every_fault_of_its_attributes_at_once() {
    let body = event(CommandKind::Refund, "{}").replace("\"1.0\"", "\"0.3\"").replace("\"1\"", "7");
    let draft = read_draft(CommandKind::Payment, body.as_bytes()).unwrap();
    let fields: Vec<_> = draft.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["type", "id", "specversion"]);
    assert!(read_draft(CommandKind::Payment, b"[]").is_err());
}

#[test]
fn a_trace_context_is_kept_where_it_is_valid_and_dropped_where_not() {
    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let zero_trace = GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
    let zero_parent = GOOD.replace("00f067aa0ba902b7", &"0".repeat(16));
    for (written, kept) in [
        (json!(GOOD), true),
        (json!(GOOD.to_uppercase()), false),
        (json!(GOOD.replace("00-4", "ff-4")), false),
        (json!(format!("{GOOD}-x")), false),
        (json!(zero_trace), false),
        (json!(zero_parent), false),
        (json!("é".repeat(27)), false),
        (json!(5), false),
    ] {
        let mut event: Value = serde_json::from_str(&event_with("tracestate", json!("a=1, b=2"))).unwrap();
        event["traceparent"] = written.clone();
        let trace = read(&event.to_string()).unwrap().command.trace;
        assert_eq!(trace.traceparent.is_some(), kept, "{written}");
        assert_eq!(trace.tracestate.is_some(), kept, "{written}");
    }
    for (state, kept) in [("a=1".to_owned(), true), ("a".repeat(513), false), ("é".to_owned(), false)] {
        let mut event: Value = serde_json::from_str(&event_with("traceparent", json!(GOOD))).unwrap();
        event["tracestate"] = json!(state);
        assert_eq!(read(&event.to_string()).unwrap().command.trace.tracestate.is_some(), kept);
    }
}

const CANARY: &str = "c4n4ry";

/// A good body in which every text and every free name is the canary.
fn canary_body() -> String {
    let data = PAYMENT
        .replace("Astari", CANARY)
        .replace("Ayam", CANARY)
        .replace("$admin", CANARY)
        .replace("081288910205", CANARY)
        .replacen("\"override_notification_url\"", &format!("\"{CANARY}\":[1.5e3,true,null],\"x\""), 1);
    event(CommandKind::Payment, &data)
        .replacen("\"1\"", &format!("\"{CANARY}\""), 1)
        .replacen("/shop", &format!("/{CANARY}"), 1)
        .replacen('{', &format!("{{\"{CANARY}\":\"{CANARY}\","), 1)
}

#[test]
fn a_malformed_body_is_never_quoted() {
    let wrong = json!(format!("{CANARY} é"));
    let attributes = ["type", "id", "source"].map(|name| event_with(name, wrong.clone()));
    let twice = format!("{{\"{CANARY}\":1,\"{CANARY}\":2}}");
    let bodies =
        [format!("\"{CANARY}\""), CANARY.to_owned(), twice.clone(), format!("{{\"{CANARY}\" {CANARY}}}")];
    let data = [twice, format!("\"{CANARY}\\ud800\""), format!("{{{CANARY}}}")];
    let data = data.map(|data| event(CommandKind::Payment, &data));
    for body in [attributes.as_slice(), bodies.as_slice(), data.as_slice()].concat() {
        let malformed = read(&body).expect_err(&body);
        assert!(!malformed.detail.contains(CANARY), "{malformed}");
    }
    let malformed = read_command(CommandKind::Payment, Some(CANARY), b"{}").unwrap_err();
    assert!(!malformed.detail.contains(CANARY), "{malformed}");
}

fn judged_without_panic(body: &[u8]) -> Result<(), TestCaseError> {
    for kind in CommandKind::ALL {
        match read_command(kind, None, body) {
            Ok(incoming) => {
                let _ = validate::payment(&incoming.data, &rules());
                let _ = validate::refund(&incoming.data);
            }
            Err(malformed) => {
                prop_assert!(!malformed.detail.contains(CANARY), "{}", malformed);
                prop_assert!(malformed.detail.len() < 400);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        judged_without_panic(&body)?;
    }

    #[test]
    fn no_json_in_place_of_data_makes_the_reader_panic(data in "[\\[\\]{}\":,0-9eE.+\\-a\\\\u ]{0,60}") {
        judged_without_panic(event(CommandKind::Payment, &data).as_bytes())?;
    }

    #[test]
    fn a_mutated_body_is_read_or_refused_without_quoting_it(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..40, "[\\[\\]{}\":,0-9eE.\\-\\\\\u{0}é]{0,4}"), 1..4),
        doubled in any::<bool>(),
    ) {
        let mut body = canary_body().into_bytes();
        for (at, length, instead) in cuts {
            let start = at.index(body.len());
            let end = (start + length).min(body.len());
            let cut: Vec<u8> = body.splice(start..end, instead.into_bytes()).collect();
            if doubled {
                body.splice(start..start, [cut.clone(), cut].concat());
            }
        }
        judged_without_panic(&body)?;
    }
}

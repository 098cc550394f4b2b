//! A dead letter's body, as it may be shown: the values of the members named here, and stars for all
//! others. A body may be malformed in any way, so that what is private is not known: what is not is.

use serde_json::Value;

const MASK: &str = "***";
/// Of what is no JSON, so many bytes are looked at.
const EXCERPT_BYTES: usize = 600;
/// Characters of JSON for a person.
const SHOWN_CHARS_MAX: usize = 16 * 1024;
/// A shorter private text is found in ordinary words too.
const PRIVATE_CHARS_MIN: usize = 3;
/// Private texts that are looked for elsewhere in the body.
const PRIVATE_MAX: usize = 100;

/// Members whose values are shown, and in which others are: in `customer` or in another object that is not ours nothing is.
const OPEN: [&str; 45] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "merchant",
    "expirytime",
    "traceparent",
    "tracestate",
    "data",
    "order",
    "invoice_number",
    "amount",
    "line_items",
    "price",
    "quantity",
    "currency",
    "additional_info",
    "settlement",
    "value",
    "request_target",
    "client-id",
    "request-id",
    "request-timestamp",
    "transaction",
    "status",
    "original_request_id",
    "headers",
    "body",
    // The SNAP form of a notification.
    "x-partner-id",
    "x-timestamp",
    "x-external-id",
    "originalpartnerreferenceno",
    "originalreferenceno",
    "originalexternalid",
    "latesttransactionstatus",
    "trxid",
    "paymentrequestid",
    "paidamount",
    "additionalinfo",
    "channelid",
    "channel",
];
/// They are looked for everywhere, wherever they stand.
const PRIVATE: [&str; 3] = ["phone", "email", "cash_tag"];
/// Names that an excerpt may show beside those.
const NAMES: [&str; 12] = [
    "customer",
    "jenius_info",
    "name",
    "phone",
    "email",
    "cash_tag",
    "redirect_url",
    "reason",
    "body_base64",
    "signature",
    "x-signature",
    "authorization",
];

/// What may be shown of a body.
#[derive(Debug, PartialEq)]
pub enum Shown {
    Json(Value),
    /// Of what is no JSON: its beginning, known names and punctuation alone.
    Excerpt(String),
}

pub fn body(body: &[u8]) -> Shown {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return Shown::Excerpt(excerpt(body)) };
    let mut private = Vec::new();
    mask(&mut value, false, &mut private);
    // The longest first: an e-mail address may hold the name.
    private.sort_by_key(|text: &String| std::cmp::Reverse(text.len()));
    private.truncate(PRIVATE_MAX);
    without(&mut value, &private);
    Shown::Json(value)
}

/// The beginning of what is long.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}\n… cut: --raw has all of it", &text[..at]),
        None => text.to_owned(),
    }
}

/// Masks a member's value, or an item's, and keeps what was private.
fn mask(value: &mut Value, is_private: bool, private: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let lower = name.to_lowercase();
                let is_open = OPEN.contains(&lower.as_str()) && !is_private;
                if lower == "body" && is_open {
                    // A notification's: JSON within JSON.
                    reported(value);
                }
                match value {
                    Value::Object(_) | Value::Array(_) => mask(value, !is_open, private),
                    Value::Null | Value::Bool(_) => {}
                    Value::String(_) | Value::Number(_) if is_open && lower != "body" => {}
                    Value::String(text) => {
                        let is_private = is_private || PRIVATE.contains(&lower.as_str());
                        if is_private && text.chars().count() >= PRIVATE_CHARS_MIN {
                            private.push(text.clone());
                        }
                        *value = Value::from(MASK);
                    }
                    Value::Number(_) => *value = Value::from(MASK),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, is_private, private)),
        Value::String(_) | Value::Number(_) => *value = Value::from(MASK),
        Value::Null | Value::Bool(_) => {}
    }
}

fn reported(value: &mut Value) {
    let read = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    if let Some(inner @ Value::Object(_)) = read {
        *value = inner;
    }
}

/// Takes what is private out of what is open too.
fn without(value: &mut Value, private: &[String]) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| without(value, private)),
        Value::Array(items) => items.iter_mut().for_each(|item| without(item, private)),
        Value::String(text) => {
            let lower = text.to_lowercase();
            if private.iter().any(|private| lower.contains(&private.to_lowercase())) {
                *text = MASK.to_owned();
            }
        }
        Value::Number(_) | Value::Null | Value::Bool(_) => {}
    }
}

/// Words that are no known name become stars; punctuation stays, and shows where the JSON breaks off.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES)]);
    let mut shown = String::new();
    let is_word =
        |c: char| "_-".contains(c) || !(c.is_ascii_punctuation() || c.is_whitespace() || c.is_control());
    let mut rest = text.as_ref();
    while let Some(first) = rest.chars().next() {
        let end = match is_word(first) {
            true => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, after) = rest.split_at(end);
        rest = after;
        let lower = word.to_lowercase();
        let is_known = OPEN.contains(&lower.as_str()) || NAMES.contains(&lower.as_str());
        match first {
            _ if is_word(first) => shown.push_str(if is_known { word } else { MASK }),
            _ if first.is_control() => shown.push(' '),
            _ => shown.push(first),
        }
    }
    if body.len() > EXCERPT_BYTES {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CANARIES: [&str; 4] = ["astari", "0812", "$admin", "doku.com"];

    fn assert_clean(text: &str) {
        let lower = text.to_lowercase();
        assert!(CANARIES.iter().all(|canary| !lower.contains(canary)), "{text}");
    }

    fn payment() -> Value {
        json!({"specversion": "1.0", "id": "c-1", "type": "jenius.payment.request.v1", "data": {
            "order": {"invoice_number": "INV-1", "amount": "50000", "line_items": [{"name": "Ayam", "price": 50000}]},
            "customer": {"name": "Astari", "phone": "081288910205", "email": "Astari@doku.com", "id": "Astari"},
            "jenius_info": {"cash_tag": "$admin"}}})
    }

    #[test]
    fn what_an_operator_needs_is_shown_and_the_customer_is_not() {
        let Shown::Json(shown) = body(payment().to_string().as_bytes()) else { panic!("it is JSON") };
        let expected = json!({"specversion": "1.0", "id": "c-1", "type": "jenius.payment.request.v1", "data": {
            "order": {"invoice_number": "INV-1", "amount": "50000", "line_items": [{"name": "***", "price": 50000}]},
            "customer": {"name": "***", "phone": "***", "email": "***", "id": "***"},
            "jenius_info": {"cash_tag": "***"}}});
        assert_eq!(shown, expected);
    }

    #[test]
    fn customer_data_in_the_wrong_place_is_masked_too() {
        let mut phone_as_number = payment();
        phone_as_number["data"]["customer"]["phone"] = json!(81_288_910_205_u64);
        let mut misspelt = payment();
        misspelt["data"]["costumer"] = misspelt["data"]["customer"].take();
        misspelt["data"]["cashtag"] = json!("$admin");
        let mut outside = payment();
        outside["note"] = json!(["Astari", 812_889_102, {"x": "Astari"}]);
        outside["subject"] = json!("for ASTARI");
        let flat = json!({"name": "Astari", "phone": "081288910205", "cash_tag": "$admin"});
        let report =
            json!({"data": {"body": payment()["data"].to_string(), "headers": {"Client-Id": "MCH-1"}}});
        let bare = json!("Astari 081288910205");
        for value in [phone_as_number, misspelt, outside, flat, report, bare] {
            let Shown::Json(shown) = body(value.to_string().as_bytes()) else { panic!("it is JSON") };
            assert_clean(&shown.to_string());
        }
    }

    #[test]
    fn of_the_snap_form_neither_the_token_nor_the_customer_is_shown() {
        let report = json!({
            "originalPartnerReferenceNo": "INV-1", "latestTransactionStatus": "00",
            "amount": {"value": "50000.00", "currency": "IDR"}, "virtualAccountName": "Astari",
            "additionalInfo": {"channelId": "EMONEY_JENIUS_SNAP", "custIdMerchant": "0812", "senderName": "Astari"}
        });
        let headers =
            json!({"X-PARTNER-ID": "MCH-1", "Authorization": "Bearer c4n4ry", "X-SIGNATURE": "c4n4ry"});
        let event = json!({"data": {"headers": headers, "body": report.to_string()}});
        let Shown::Json(shown) = body(event.to_string().as_bytes()) else { panic!("it is JSON") };
        let expected = json!({"data": {
        "headers": {"X-PARTNER-ID": "MCH-1", "Authorization": "***", "X-SIGNATURE": "***"},
        "body": {
            "originalPartnerReferenceNo": "INV-1", "latestTransactionStatus": "00",
            "amount": {"value": "50000.00", "currency": "IDR"}, "virtualAccountName": "***",
            "additionalInfo": {"channelId": "EMONEY_JENIUS_SNAP", "custIdMerchant": "***", "senderName": "***"}
        }}});
        assert_eq!(shown, expected);
    }

    #[test]
    fn of_what_is_no_json_only_known_names_and_punctuation_are_shown() {
        let text = payment().to_string();
        let Shown::Excerpt(shown) = body(&text.as_bytes()[..text.len() - 3]) else { panic!("it is no JSON") };
        assert_clean(&shown);
        assert!(shown.contains(r#""email":"***@***.***""#), "{shown}");
        let huge = [b"\xff\x1b[2J astari ".as_slice(), &[b'x'; 10_000]].concat();
        let Shown::Excerpt(shown) = body(&huge) else { panic!("it is no JSON") };
        assert_eq!(shown, format!("{MASK} [{MASK} {MASK} {MASK}…"));
        assert_eq!(body(b""), Shown::Excerpt(String::new()));
    }

    #[test]
    fn what_is_long_is_cut_for_people() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"ä".repeat(SHOWN_CHARS_MAX + 1));
        assert!(long.ends_with("--raw has all of it") && long.chars().count() < SHOWN_CHARS_MAX + 40);
    }
}

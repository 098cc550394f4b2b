//! The shapes of DOKU's bodies, read leniently: unknown members are ignored, a member of another type than
//! expected counts as missing, and no number becomes a float on the way.

use serde::Deserialize;
use serde_json::value::RawValue;

/// No text of DOKU's is carried further than this.
const TEXT_CHARS_MAX: usize = 512;

/// DOKU's status words are short.
const WORD_BYTES_MAX: usize = 32;

/// DOKU's limit for a Request-Id.
const REQUEST_CHARS_MAX: usize = 128;

/// In place of a status that is no word; it is an unknown word, so nothing is final by it.
pub(super) const NO_WORD: &str = "NO_STATUS_WORD";

/// Which member holds the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusIn {
    /// A payment's or refund's answer: `internet_banking_payment.status`.
    Answer,
    /// A notification or a Check Status answer: `transaction.status`.
    Report,
}

/// What a body says about an order, as far as it says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFields {
    pub invoice_number: Option<String>,
    /// Its digits as they were written.
    pub amount: Option<String>,
    pub status: Option<String>,
    /// The request that a report is about.
    pub request: Option<String>,
}

/// What kind of error body came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorBody {
    /// DOKU's own, text as it came. The forms that are lists of messages have no code.
    Error { code: Option<String>, message: String },
    /// It speaks of an operation that was carried out: no error, whatever the HTTP status says.
    Answer,
    /// Begins as JSON and cannot be read: it may be DOKU's or not.
    Unreadable,
    /// Not DOKU's: of something in between.
    Foreign,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    order: Option<&'a RawValue>,
    #[serde(borrow)]
    internet_banking_payment: Option<&'a RawValue>,
    #[serde(borrow)]
    transaction: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    error_messages: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    response_code: Option<&'a RawValue>,
    #[serde(borrow)]
    response_message: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OrderMember<'a> {
    #[serde(borrow)]
    invoice_number: Option<&'a RawValue>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StatusMember<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    original_request_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Error<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

/// Reads what a body says about an order; `None` if it is no JSON object.
pub fn parse_order_fields(body: &[u8], status_in: StatusIn) -> Option<OrderFields> {
    let body: Body<'_> = object(std::str::from_utf8(body).ok()?)?;
    let order: Option<OrderMember<'_>> = body.order.and_then(|raw| object(raw.get()));
    let (invoice_number, amount) = order.map_or((None, None), |order| (order.invoice_number, order.amount));
    let holder = match status_in {
        StatusIn::Answer => body.internet_banking_payment,
        StatusIn::Report => body.transaction,
    };
    let status: Option<StatusMember<'_>> = holder.and_then(|raw| object(raw.get()));
    let not_empty = |text: &String| !text.is_empty();
    let request = status.as_ref().and_then(|s| s.original_request_id).and_then(text).filter(not_empty);
    Some(OrderFields {
        invoice_number: invoice_number.and_then(text).map(|text| bounded_text(&text)).filter(not_empty),
        amount: amount.and_then(text).filter(not_empty),
        status: status.and_then(|s| s.status).and_then(text).filter(not_empty).map(word),
        request: request.map(|request| bounded_request(&request)),
    })
}

/// A longer one is cut, and marked: DOKU's own limit is 128, so that it is none of ours.
pub(super) fn bounded_request(request: &str) -> String {
    if request.chars().count() <= REQUEST_CHARS_MAX {
        return bounded_text(request);
    }
    bounded_text(request).chars().take(REQUEST_CHARS_MAX).chain(['…']).collect()
}

/// A status as it may be shown: anything but one word of letters could repeat the customer's data.
fn word(status: String) -> String {
    let is_word =
        status.len() <= WORD_BYTES_MAX && status.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    if is_word { status } else { NO_WORD.to_owned() }
}

/// Reads an error body in any of the forms that were seen.
pub fn parse_error_body(body: &[u8]) -> ErrorBody {
    let Ok(body) = std::str::from_utf8(body) else { return ErrorBody::Foreign };
    let Some(body) = object::<Body<'_>>(body) else {
        let like_json = body.trim_start().starts_with('{');
        return if like_json { ErrorBody::Unreadable } else { ErrorBody::Foreign };
    };
    let messages = body.message.and_then(texts).or_else(|| body.error_messages.and_then(texts));
    let success =
        messages.as_deref().is_some_and(|all| all.iter().any(|m| m.eq_ignore_ascii_case("success")));
    if success || body.internet_banking_payment.is_some() || body.response.is_some() {
        return ErrorBody::Answer;
    }
    let error: Option<Error<'_>> = body.error.and_then(|raw| object(raw.get()));
    let code = error.as_ref().and_then(|error| error.code).and_then(text).filter(|code| !code.is_empty());
    let message = error.and_then(|error| error.message).or(body.response_message).and_then(text);
    let code = code.or_else(|| coded(&body));
    match (code, messages) {
        (Some(code), _) => ErrorBody::Error { code: Some(code), message: message.unwrap_or_default() },
        (None, Some(messages)) => ErrorBody::Error { code: None, message: messages.join("; ") },
        (None, None) => ErrorBody::Foreign,
    }
}

/// The code of `{"status":"FAILED","response_code":…}`.
fn coded(body: &Body<'_>) -> Option<String> {
    let failed = body.status.and_then(text).is_some_and(|status| status.eq_ignore_ascii_case("failed"));
    body.response_code.filter(|_| failed).and_then(text).filter(|code| !code.is_empty())
}

/// Text as it may be stored and shown: without control characters, of bounded length.
pub fn bounded_text(text: &str) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(TEXT_CHARS_MAX).map(shown).collect()
}

/// An object, and nothing that serde would also take for one.
pub fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}

/// A string's text, or a number's digits as they were written.
pub fn text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok(),
        b'-' | b'0'..=b'9' => Some(raw.get().to_owned()),
        _ => None,
    }
}

/// A list with at least one text in it.
fn texts(raw: &RawValue) -> Option<Vec<String>> {
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    let texts: Vec<String> = items.into_iter().filter_map(text).collect();
    (!texts.is_empty()).then_some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::{ReportedAmount, Rupiah};

    fn amount(json: &str) -> Option<ReportedAmount> {
        let body = format!(r#"{{"order":{{"invoice_number":"I","amount":{json}}}}}"#);
        let written = parse_order_fields(body.as_bytes(), StatusIn::Report).unwrap().amount;
        written.map(|written| ReportedAmount::read(&written))
    }

    #[test]
    fn an_amount_is_read_as_it_was_written() {
        let whole = Some(ReportedAmount::Whole(Rupiah::new(39_000).unwrap()));
        let endless_zeros = format!("39000.{}1", "0".repeat(TEXT_CHARS_MAX));
        let other = Some(ReportedAmount::Other);
        for (json, expected) in [
            ("null", None),
            ("[39000]", None),
            ("true", None),
            ("\"\"", None),
            ("\"many\"", other),
            ("39000.5", other),
            ("3.95e1", other),
            ("39000.0000000000000000000000001", other),
            (endless_zeros.as_str(), other),
            ("-39000", other),
            ("39000", whole),
            ("\"39000\"", whole),
            ("39000.00", whole),
            ("3.9e4", whole),
            ("\"3.9E+4\"", whole),
            (" 39000 ", whole),
        ] {
            assert_eq!(amount(json), expected, "{json}");
        }
    }

    #[test]
    fn a_body_of_another_shape_says_nothing() {
        for body in ["", "[]", "null", "\"x\"", "<html>", "{", r#"{"order":{},"order":{}}"#] {
            assert_eq!(parse_order_fields(body.as_bytes(), StatusIn::Answer), None, "{body}");
        }
        let nothing = Some(OrderFields { invoice_number: None, amount: None, status: None, request: None });
        for body in
            ["{}", r#"{"order":["I","1"]}"#, r#"{"order":"I","internet_banking_payment":{"status":[]}}"#]
        {
            assert_eq!(parse_order_fields(body.as_bytes(), StatusIn::Answer), nothing, "{body}");
        }
    }

    #[test]
    fn each_operation_has_its_own_status() {
        let body =
            br#"{"internet_banking_payment":{"status":"PENDING","x":1},"transaction":{"status":"SUCCESS"}}"#;
        let status = |status_in| parse_order_fields(body, status_in).unwrap().status;
        assert_eq!(status(StatusIn::Answer).as_deref(), Some("PENDING"));
        assert_eq!(status(StatusIn::Report).as_deref(), Some("SUCCESS"));
    }

    #[test]
    fn every_error_envelope_is_known() {
        let error = |code: Option<&str>, message: &str| ErrorBody::Error {
            code: code.map(str::to_owned),
            message: message.to_owned(),
        };
        for (body, expected) in [
            ("", ErrorBody::Foreign),
            ("<html>no</html>", ErrorBody::Foreign),
            ("[]", ErrorBody::Foreign),
            ("{}", ErrorBody::Foreign),
            (r#"{"message":"no Route matched"}"#, ErrorBody::Foreign),
            (r#"{"message":[]}"#, ErrorBody::Foreign),
            (r#"{"error":{"message":"no code"}}"#, ErrorBody::Foreign),
            (
                r#"{"timestamp":"2026-01-02T03:04:05Z","status":404,"error":"Not Found","path":"/x"}"#,
                ErrorBody::Foreign,
            ),
            (r#"{"error":{"code":"x"#, ErrorBody::Unreadable),
            (r#"{"message":["SUCCESS"],"response":{"order":{}}}"#, ErrorBody::Answer),
            (r#"{"message":["SUCCESS"]}"#, ErrorBody::Answer),
            (r#"{"error":{"code":"x"},"internet_banking_payment":{"status":"SUCCESS"}}"#, ErrorBody::Answer),
            (
                r#"{"error":{"code":"invalid_amount","message":"wrong","type":"t"}}"#,
                error(Some("invalid_amount"), "wrong"),
            ),
            (r#"{"error":{"code":4001}}"#, error(Some("4001"), "")),
            (r#"{"message":["A","B"]}"#, error(None, "A; B")),
            (r#"{"error_messages":["A",7]}"#, error(None, "A; 7")),
        ] {
            assert_eq!(parse_error_body(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn a_status_that_is_no_word_is_not_repeated() {
        let long = "X".repeat(WORD_BYTES_MAX + 1);
        for (status, expected) in [
            ("BREWING", "BREWING"),
            ("Not_Yet", "Not_Yet"),
            (&long, NO_WORD),
            ("081288910205", NO_WORD),
            ("of Astari", NO_WORD),
            ("A\\u0000", NO_WORD),
            ("$admin", NO_WORD),
        ] {
            let body = format!(r#"{{"transaction":{{"status":"{status}"}}}}"#);
            let status = parse_order_fields(body.as_bytes(), StatusIn::Report).unwrap().status;
            assert_eq!(status.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_report_says_which_request_it_is_about() {
        let long = "x".repeat(REQUEST_CHARS_MAX + 1);
        let cut = format!("{}…", "x".repeat(REQUEST_CHARS_MAX));
        for (json, expected) in [
            ("\"VA-1\"", Some("VA-1")),
            ("17", Some("17")),
            ("\"a\\nb\"", Some("a\u{FFFD}b")),
            (&format!("{long:?}"), Some(cut.as_str())),
            ("\"\"", None),
            ("null", None),
            ("[\"VA-1\"]", None),
        ] {
            let body = format!(r#"{{"transaction":{{"status":"SUCCESS","original_request_id":{json}}}}}"#);
            let fields = parse_order_fields(body.as_bytes(), StatusIn::Report).unwrap();
            assert_eq!(fields.request.as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn text_is_bounded_and_can_be_stored() {
        let body = format!(r#"{{"order":{{"invoice_number":"A\u0000{}"}}}}"#, "x".repeat(2000));
        let invoice = parse_order_fields(body.as_bytes(), StatusIn::Report).unwrap().invoice_number.unwrap();
        assert_eq!(invoice.chars().count(), TEXT_CHARS_MAX);
        assert!(invoice.starts_with("A\u{FFFD}x"));
    }
}

//! An event as a line: for people a summary, for programs its JSON.

use super::{print, times::Times};
use crate::shown::clean_json;
use serde_json::Value;

/// One line for a person. What is not there is left out; nothing is invented.
pub fn for_people(event: &Value, times: Times) -> String {
    let data = &event["data"];
    let mut parts = vec![time(&event["time"], times), text(&event["type"]), text(&event["subject"])];
    parts.extend(["state", "evidence", "doku_status"].map(|name| labelled(name, &data[name])));
    if data["late"] == Value::Bool(true) {
        parts.push("late".to_owned());
    }
    parts.push(labelled("error", &data["error"]["code"]));
    let errors = data["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.extend(errors.iter().map(|error| {
        format!("{}: {} ({})", text(&error["field"]), text(&error["code"]), text(&error["message"]))
    }));
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}

/// One CloudEvent a line: a line break inside JSON text can only be white space.
///
/// # Errors
/// The body is no JSON.
pub fn for_programs(body: &[u8]) -> Result<String, serde_json::Error> {
    let value: &serde_json::value::RawValue = serde_json::from_slice(body)?;
    Ok(clean_json(&value.get().replace(['\n', '\r'], " ")))
}

/// As it stands there if it is no time.
fn time(value: &Value, times: Times) -> String {
    let text = text(value);
    chrono::DateTime::parse_from_rfc3339(&text).map(|at| times.full(at.to_utc())).unwrap_or(text)
}

fn text(value: &Value) -> String {
    value.as_str().map(print::clean).unwrap_or_default()
}

fn labelled(name: &str, value: &Value) -> String {
    match text(value) {
        empty if empty.is_empty() => empty,
        text => format!("{name}={text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::times::sample::times;
    use serde_json::json;

    #[test]
    fn people_read_what_happened_to_which_order() {
        let paid = json!({"type": "jenius.order.paid.v1", "subject": "INV-1", "time": "2026-01-01T00:00:00.123456Z",
            "data": {"state": "paid", "evidence": "notification", "doku_status": "SUCCESS",
                     "error": null, "late": true}});
        let line = "2026-01-01 07:00:00 WIB  jenius.order.paid.v1  INV-1  state=paid  evidence=notification  \
                    doku_status=SUCCESS  late";
        assert_eq!(for_people(&paid, times()), line);
        let rejected = json!({"type": "jenius.command.rejected.v1", "data": {"errors": [
            {"code": "missing", "field": "order.amount", "message": "m"},
            {"code": "too_long", "field": "customer.name\u{1b}", "message": "m"}]}});
        let line =
            "jenius.command.rejected.v1  order.amount: missing (m)  customer.name\u{fffd}: too_long (m)";
        assert_eq!(for_people(&rejected, times()), line);
    }

    #[test]
    fn programs_read_one_event_a_line() {
        assert_eq!(for_programs(b"{\n \"a\": 1.50\r\n}").unwrap(), "{  \"a\": 1.50  }");
        let hostile = "{\"a\":\"\u{202e}\u{9b}\"}";
        assert_eq!(for_programs(hostile.as_bytes()).unwrap(), r#"{"a":"\u202e\u009b"}"#);
        assert!(for_programs(b"{").is_err());
    }
}

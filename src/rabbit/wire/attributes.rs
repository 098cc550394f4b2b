//! The attributes of a command: which merchant it is for, and every rule that one breaks.

use super::{EventEnvelope, REPEATED_MAX, repeatable};
use crate::domain::{
    command::CommandKind,
    document::Document,
    ids::{CommandId, CommandSource, Identity, MerchantName},
    validate::{Code, Violation, shown_value},
};
use chrono::{DateTime, Utc};

const SPECVERSION: &str = "1.0";
const A_TIME: &str = "an RFC 3339 time, such as 2026-01-31T17:00:00Z";
const A_TEXT: &str = "a string of 1 character or more";
const JSON_TYPE: &str = "a JSON media type, such as application/json";

/// The identity of the command, if it is one of this queue. The error does not repeat the sender's text.
pub(super) fn identity(envelope: &EventEnvelope<'_>, kind: CommandKind) -> Result<Identity, Vec<Violation>> {
    let mut faults = Vec::new();
    let text = |name| envelope.text(name).unwrap_or_default();
    let mut fault = |name: &'static str, allowed: &str| {
        let code = match envelope.attribute(name) {
            None => Code::Missing,
            Some(Document::String(_)) => Code::NotAllowed,
            Some(_) => Code::WrongType,
        };
        faults.push(Violation::new(code, name, allowed, (code == Code::Missing).then_some("is missing")));
    };
    if text("type") != kind.event_type() {
        fault("type", &format!("{} in this queue", kind.event_type()));
    }
    let id = CommandId::parse(text("id")).map_err(|error| fault("id", error.allowed));
    let source = CommandSource::parse(text("source")).map_err(|error| fault("source", error.allowed));
    match (id, source) {
        (Ok(id), Ok(source)) if faults.is_empty() => Ok(Identity { source, id }),
        _ => Err(faults),
    }
}

/// What is wrong with an attribute's text; `None`: nothing.
type Rule = fn(&str) -> Option<Code>;

/// What is wrong with the other attributes.
pub(super) fn violations(envelope: &EventEnvelope<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    if envelope.attribute("specversion").is_none() {
        let allowed = format!("the string {SPECVERSION}");
        found.push(Violation::new(Code::Missing, "specversion", &allowed, Some("is missing")));
    }
    let rules: [(&str, &str, Rule); 6] = [
        ("specversion", "the string 1.0", |text| (text != SPECVERSION).then_some(Code::NotAllowed)),
        ("time", A_TIME, no_time),
        ("subject", A_TEXT, empty),
        ("datacontenttype", JSON_TYPE, no_json_type),
        ("dataschema", A_TEXT, empty),
        ("expirytime", A_TIME, no_time),
    ];
    for (name, allowed, fault) in rules {
        let Some(value) = envelope.attribute(name) else { continue };
        let Some(text) = value.as_str() else {
            let is = format!("is {}", value.kind());
            found.push(Violation::new(Code::WrongType, name, allowed, Some(&is)));
            continue;
        };
        if let Some(code) = fault(text) {
            let is = if text.is_empty() { Some("is empty".to_owned()) } else { shown_value(text) };
            found.push(Violation::new(code, name, allowed, is.as_deref()));
        }
    }
    found.extend(merchant_fault(envelope));
    found
}

/// What can be no merchant's name, whatever is configured.
fn merchant_fault(envelope: &EventEnvelope<'_>) -> Option<Violation> {
    let written = envelope.attribute("merchant")?;
    let Some(text) = written.as_str() else {
        return Some(Violation::of_merchant(Code::WrongType, Some(&format!("is {}", written.kind()))));
    };
    if text.is_empty() {
        return Some(Violation::of_merchant(Code::TooShort, Some("is empty")));
    }
    if repeatable(Some(written)).is_some() {
        return None;
    }
    let has = match text.chars().count() {
        count if count > REPEATED_MAX => format!("has {count} characters"),
        _ => "has a control character".to_owned(),
    };
    Some(Violation::of_merchant(Code::MerchantUnknown, Some(&has)))
}

fn empty(text: &str) -> Option<Code> {
    text.is_empty().then_some(Code::TooShort)
}

fn no_time(text: &str) -> Option<Code> {
    DateTime::parse_from_rfc3339(text).is_err().then_some(Code::InvalidFormat)
}

/// `application/json`, `text/json`, `application/vnd.shop+json`, each with parameters or without.
fn no_json_type(text: &str) -> Option<Code> {
    let media_type = text.split(';').next().unwrap_or_default().trim_end_matches([' ', '\t']);
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    match media_type.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => {
            let subtype = subtype.to_ascii_lowercase();
            (subtype != "json" && !subtype.ends_with("+json")).then_some(Code::NotAllowed)
        }
        Some(_) | None => Some(Code::InvalidFormat),
    }
}

/// What is no time is a violation, and decides nothing.
pub(super) fn time(envelope: &EventEnvelope<'_>, name: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(envelope.text(name)?).ok().map(|time| time.to_utc())
}

/// As it was written, if that can be a merchant's name at all; else the empty text, which is no merchant's name.
pub(super) fn merchant(envelope: &EventEnvelope<'_>) -> String {
    match envelope.attribute("merchant") {
        None => MerchantName::default_account().as_str().to_owned(),
        Some(written) => repeatable(Some(written)).unwrap_or_default(),
    }
}

//! Reads a command from the body of its delivery: the envelope is judged here, what is in `data` by
//! `domain::validate`. Notifications have a file of their own. What is said about a body that cannot be read never quotes it.

#[cfg(test)]
mod hostile_tests;
mod json;
pub mod notification;
pub mod peek;
#[cfg(test)]
mod tests;

use crate::{
    domain::{
        command::{Command, CommandKind, TraceContext},
        document::Document,
        ids::{CommandId, CommandSource, Identity, MerchantName},
        validate::{Code, Violation},
    },
    flow::ports::Incoming,
};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// A body that is larger is not read.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// As long as the longest text of a command that an event repeats unjudged.
const REPEATED_MAX: usize = 128;
/// W3C Trace Context: `tracestate` of this length must be passed on; a longer one need not be.
const TRACESTATE_MAX: usize = 512;

/// A delivery that cannot be read as a command, or cannot be answered for want of an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Malformed {
    /// What is wrong and what is allowed, without the sender's data.
    pub detail: String,
}

impl Malformed {
    fn because(detail: impl Into<String>) -> Self {
        Self { detail: detail.into() }
    }
}

/// Reads the body of a delivery from the queue of commands of this kind.
pub fn read_command(
    kind: CommandKind,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Incoming, Malformed> {
    let envelope = open(content_type, body, BODY_BYTES_MAX)?;
    let identity = identity(&envelope, kind)?;
    let mut violations = Vec::new();
    let expires_at = expiry(&envelope, &mut violations);
    let mut data = envelope.data.map_or(Ok(Document::Null), |data| json::read(data.get(), "data"))?;
    let command = Command {
        identity,
        kind,
        merchant: merchant(&envelope),
        invoice_number: repeatable(data.get("order").and_then(|order| order.get("invoice_number"))),
        digest: digest(&data)?,
        expires_at,
        budget_from_time: None,
        published_at: published(&envelope),
        came_before: 0,
        trace: trace(&envelope),
    };
    let body = request_body(kind, &mut data, envelope.data)?;
    Ok(Incoming { command, data, body, violations })
}

/// A CloudEvent in structured mode, its `data` still text.
struct Envelope<'b> {
    attributes: Document,
    data: Option<&'b RawValue>,
}

impl Envelope<'_> {
    /// In CloudEvents `null` is an absent attribute.
    fn attribute(&self, name: &str) -> Option<&Document> {
        self.attributes.get(name).filter(|value| **value != Document::Null)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name).and_then(Document::as_str)
    }
}

fn open<'b>(content_type: Option<&str>, body: &'b [u8], bytes_max: usize) -> Result<Envelope<'b>, Malformed> {
    if !content_type.is_none_or(is_structured) {
        return Err(Malformed::because(
            "content type: application/cloudevents+json or application/json is allowed",
        ));
    }
    if body.len() > bytes_max {
        return Err(Malformed::because(format!(
            "the body has {} bytes: at most {bytes_max} are allowed",
            body.len()
        )));
    }
    if let Some(problem) = encoding_problem(body) {
        return Err(Malformed::because(problem));
    }
    let text = std::str::from_utf8(body).map_err(|_| Malformed::because("the body is not UTF-8"))?;
    json::read_envelope(text)
}

/// What a publisher's library may do to JSON without being asked.
fn encoding_problem(body: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 5] = [
        (b"\xef\xbb\xbf", "the body begins with a byte order mark: UTF-8 without one is allowed"),
        (b"\xff\xfe", "the body is UTF-16: UTF-8 without a byte order mark is allowed"),
        (b"\xfe\xff", "the body is UTF-16: UTF-8 without a byte order mark is allowed"),
        (b"\x1f\x8b", "the body is compressed (gzip): JSON as it is is allowed, without content_encoding"),
        (
            b"\x28\xb5\x2f\xfd",
            "the body is compressed (zstd): JSON as it is is allowed, without content_encoding",
        ),
    ];
    STARTS.iter().find(|(start, _)| body.starts_with(start)).map(|(_, problem)| *problem)
}

fn is_structured(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    ["application/cloudevents+json", "application/json"].iter().any(|m| media_type.eq_ignore_ascii_case(m))
}

fn identity(envelope: &Envelope<'_>, kind: CommandKind) -> Result<Identity, Malformed> {
    if envelope.text("specversion") != Some("1.0") {
        return Err(Malformed::because("specversion: the string 1.0 is allowed"));
    }
    if envelope.text("type") != Some(kind.event_type()) {
        return Err(Malformed::because(format!("type: {} is allowed in this queue", kind.event_type())));
    }
    let text = |name| envelope.text(name).unwrap_or_default();
    let source = CommandSource::parse(text("source")).map_err(|e| Malformed::because(e.to_string()))?;
    let id = CommandId::parse(text("id")).map_err(|e| Malformed::because(e.to_string()))?;
    Ok(Identity { source, id })
}

/// As it was written, if that can be a merchant's name at all; else nothing, which is nobody's name.
fn merchant(envelope: &Envelope<'_>) -> String {
    match envelope.attribute("merchant") {
        None => MerchantName::default_account().as_str().to_owned(),
        Some(written) => repeatable(Some(written)).unwrap_or_default(),
    }
}

fn expiry(envelope: &Envelope<'_>, violations: &mut Vec<Violation>) -> Option<DateTime<Utc>> {
    let written = envelope.attribute("expirytime")?;
    let code = match written.as_str().map(DateTime::parse_from_rfc3339) {
        Some(Ok(time)) => return Some(time.to_utc()),
        Some(Err(_)) => Code::InvalidFormat,
        None => Code::WrongType,
    };
    let message = "an RFC 3339 time, such as 2026-01-31T17:00:00Z".to_owned();
    violations.push(Violation { code, field: "expirytime".to_owned(), message });
    None
}

/// What is no time is ignored: it decides nothing.
fn published(envelope: &Envelope<'_>) -> Option<DateTime<Utc>> {
    let written = envelope.text("time")?;
    DateTime::parse_from_rfc3339(written).ok().map(|time| time.to_utc())
}

/// A text that an event and a row can hold, whatever the rules will say about it.
fn repeatable(written: Option<&Document>) -> Option<String> {
    let text = written.and_then(Document::as_str)?;
    let fits = text.chars().nth(REPEATED_MAX).is_none() && !text.chars().any(char::is_control);
    (fits && !text.is_empty()).then(|| text.to_owned())
}

/// What of it is valid; a trace is no reason to refuse a payment. Without a `traceparent` a `tracestate`
/// means nothing.
fn trace(envelope: &Envelope<'_>) -> TraceContext {
    let Some(parent) = envelope.text("traceparent").filter(|text| is_traceparent(text)) else {
        return TraceContext::default();
    };
    let state = envelope.text("tracestate").filter(|text| {
        (1..=TRACESTATE_MAX).contains(&text.len()) && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
    });
    TraceContext { traceparent: Some(parent.to_owned()), tracestate: state.map(str::to_owned) }
}

/// W3C Trace Context: version, trace id, parent id and flags in lower-case hexadecimal digits.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let set = |part: &str| part.bytes().any(|b| b != b'0');
    match text.split('-').collect::<Vec<_>>()[..] {
        [version, trace, parent, flags] => {
            hex(version, 2)
                && version != "ff"
                && hex(trace, 32)
                && set(trace)
                && hex(parent, 16)
                && set(parent)
                && hex(flags, 2)
        }
        _ => false,
    }
}

/// SHA-256 of the RFC 8785 canonical form; of nothing where there is no data.
fn digest(data: &Document) -> Result<[u8; 32], Malformed> {
    let canonical = match data {
        Document::Null => Vec::new(),
        Document::Bool(_)
        | Document::Integer(_)
        | Document::Float(_)
        | Document::String(_)
        | Document::Array(_)
        | Document::Object(_) => serde_json_canonicalizer::to_vec(&json::AsJson(data))
            .map_err(|_| Malformed::because("data: JSON with an RFC 8785 canonical form is allowed"))?,
    };
    Ok(Sha256::digest(canonical).into())
}

/// The members of a payment that the contract calls optional: `null` means that they are absent, and
/// DOKU is not told of them.
const OPTIONAL: [&[&str]; 4] = [
    &["additional_info"],
    &["additional_info", "override_notification_url"],
    &["additional_info", "settlement"],
    &["customer", "email"],
];

/// The text of `data` as it was written, unless that would send DOKU a `null`.
fn request_body(
    kind: CommandKind,
    data: &mut Document,
    written: Option<&RawValue>,
) -> Result<Vec<u8>, Malformed> {
    let rewritten = match kind {
        CommandKind::Payment => OPTIONAL.iter().filter(|path| take_null(data, path)).count() > 0,
        CommandKind::Refund => false,
    };
    if rewritten {
        serde_json::to_vec(&json::AsJson(data)).map_err(|_| Malformed::because("data: JSON is allowed"))
    } else {
        Ok(written.map(|data| data.get().as_bytes().to_vec()).unwrap_or_default())
    }
}

/// Takes the member at `path` away if it is `null`; says whether it was.
fn take_null(data: &mut Document, path: &[&str]) -> bool {
    let (Document::Object(members), [name, inner @ ..]) = (data, path) else { return false };
    let Some(at) = members.iter().position(|(n, _)| n == name) else { return false };
    if !inner.is_empty() {
        return take_null(&mut members[at].1, inner);
    }
    let absent = members[at].1 == Document::Null;
    if absent {
        members.remove(at);
    }
    absent
}

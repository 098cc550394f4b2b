//! Reads a command from the body of its delivery: the envelope is judged here, what is in `data` by
//! `domain::validate`. Notifications have a file of their own. The error about an unreadable body never quotes it.

mod attributes;
mod cut;
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
        validate::Violation,
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
    fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into() }
    }
}

/// Reads the body of a delivery from the queue of commands of this kind. Without a usable identity no rejection can be
/// published; every other fault of an attribute is a violation.
pub fn read_command(
    kind: CommandKind,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Incoming, Malformed> {
    let envelope = open(content_type, body, BODY_BYTES_MAX)?;
    let identity = attributes::identity(&envelope, kind).map_err(|faults| {
        let all: Vec<String> =
            faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
        Malformed::new(all.join(". "))
    })?;
    let violations = attributes::violations(&envelope);
    let data = envelope.data.map_or(Ok(Document::Null), |data| json::read(data.get(), "data"))?;
    let command = Command {
        identity,
        kind,
        merchant: attributes::merchant(&envelope),
        invoice_number: repeatable(data.get("order").and_then(|order| order.get("invoice_number"))),
        digest: digest(&data)?,
        expires_at: attributes::time(&envelope, "expirytime"),
        budget_from_time: None,
        dated_at: attributes::time(&envelope, "time"),
        published_at: attributes::time(&envelope, "time"),
        came_before: 0,
        trace: trace(&envelope),
    };
    let body = request_body(kind, &data, envelope.data);
    Ok(Incoming { command, data, body, violations })
}

/// A command that is looked at before it is published.
#[derive(Debug)]
pub struct Draft {
    /// Every fault of its attributes, also those by which it would be dead-lettered.
    pub violations: Vec<Violation>,
    pub expires_at: Option<DateTime<Utc>>,
    /// Its `time`.
    pub dated_at: Option<DateTime<Utc>>,
    /// As it was written.
    pub merchant: String,
    pub data: Document,
}

/// Reads a whole command as its queue would, and finds every fault of its attributes.
pub fn read_draft(kind: CommandKind, body: &[u8]) -> Result<Draft, Malformed> {
    let envelope = open(None, body, BODY_BYTES_MAX)?;
    let mut violations = attributes::identity(&envelope, kind).err().unwrap_or_default();
    violations.extend(attributes::violations(&envelope));
    let data = envelope.data.map_or(Ok(Document::Null), |data| json::read(data.get(), "data"))?;
    let time = |name| attributes::time(&envelope, name);
    let (expires_at, dated_at) = (time("expirytime"), time("time"));
    Ok(Draft { violations, expires_at, dated_at, merchant: attributes::merchant(&envelope), data })
}

/// Reads the `data` of a command alone.
pub fn read_data(text: &[u8]) -> Result<Document, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed::new("the data is not UTF-8"))?;
    json::read(text, "data")
}

/// A CloudEvent in structured mode, its `data` still text.
struct EventEnvelope<'b> {
    attributes: Document,
    data: Option<&'b RawValue>,
}

impl EventEnvelope<'_> {
    /// In CloudEvents `null` is an absent attribute.
    fn attribute(&self, name: &str) -> Option<&Document> {
        self.attributes.get(name).filter(|value| **value != Document::Null)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name).and_then(Document::as_str)
    }
}

fn open<'b>(
    content_type: Option<&str>,
    body: &'b [u8],
    bytes_max: usize,
) -> Result<EventEnvelope<'b>, Malformed> {
    if !content_type.is_none_or(is_structured) {
        return Err(Malformed::new(
            "content type: application/cloudevents+json or application/json is allowed",
        ));
    }
    if body.len() > bytes_max {
        return Err(Malformed::new(format!(
            "the body has {} bytes: at most {bytes_max} are allowed",
            body.len()
        )));
    }
    if let Some(problem) = encoding_problem(body) {
        return Err(Malformed::new(problem));
    }
    let text = std::str::from_utf8(body).map_err(|_| Malformed::new("the body is not UTF-8"))?;
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

/// A text that an event and a row can hold, whatever the rules will say about it.
fn repeatable(written: Option<&Document>) -> Option<String> {
    let text = written.and_then(Document::as_str)?;
    let fits = text.chars().nth(REPEATED_MAX).is_none() && !text.chars().any(char::is_control);
    (fits && !text.is_empty()).then(|| text.to_owned())
}

/// What of it is valid; a trace is no reason to refuse a payment. Without a `traceparent` a `tracestate`
/// means nothing.
fn trace(envelope: &EventEnvelope<'_>) -> TraceContext {
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
            .map_err(|_| Malformed::new("data: JSON with an RFC 8785 canonical form is allowed"))?,
    };
    Ok(Sha256::digest(canonical).into())
}

/// The optional members of a payment: `null` means that they are absent, and they are not sent to
/// DOKU.
const OPTIONAL: [&[&str]; 4] = [
    &["additional_info"],
    &["additional_info", "override_notification_url"],
    &["additional_info", "settlement"],
    &["customer", "email"],
];

/// The text of `data` as it was written, but for what would send DOKU a `null`.
fn request_body(kind: CommandKind, data: &Document, written: Option<&RawValue>) -> Vec<u8> {
    let mut text = written.map(|data| data.get().to_owned()).unwrap_or_default();
    if kind == CommandKind::Payment {
        for path in OPTIONAL {
            let found = path.iter().try_fold(data, |data, name| data.get(name));
            if found == Some(&Document::Null) {
                cut::null_at(&mut text, path);
            }
        }
    }
    text.into_bytes()
}

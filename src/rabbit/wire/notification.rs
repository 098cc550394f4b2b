//! A notification as it travels through the broker: a CloudEvent whose `data` keeps what was signed, byte
//! for byte. The reader judges whether it is authentic.

use super::{Malformed, json, open};
use crate::{
    domain::{
        document::Document,
        signed::{
            AUTHORIZATION_BYTES_MAX, HEADER_BYTES_MAX, HeaderOccurrence, JeniusHeaders, MissingHeader,
            SNAP_SIGNATURE_BYTES_MAX, SignedHeaders, SnapHeaders,
        },
    },
    flow::ports::ReceivedNotification,
    json_schema,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::json;

pub const EVENT_TYPE: &str = "jenius.notification.received.v1";
const SOURCE: &str = "/jenius-pay/ingress";

/// A body of 256 KiB, of which JSON may write every byte as six, and what is around it.
pub(super) const BYTES_MAX: usize = 2 * 1024 * 1024;

/// Why a delivery is no notification that can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    Malformed(Malformed),
    /// Without its headers nothing can be verified.
    NotSigned(MissingHeader),
}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// A notification as it came: a CloudEvent 1.0 in structured mode.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NotificationReceived")]
pub struct Event<'a> {
    #[schemars(transform = json_schema::constant("1.0"))]
    specversion: &'static str,
    id: &'a str,
    /// Who took it in.
    source: &'static str,
    #[schemars(transform = json_schema::constant(EVENT_TYPE))]
    r#type: &'static str,
    #[schemars(with = "Option<&str>")]
    datacontenttype: &'static str,
    data: Data<'a>,
}

/// What was signed, byte for byte. There is either body or body_base64.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NotificationData", transform = one_body)]
pub struct Data<'a> {
    /// Where it was posted to. The signature is judged by the configured paths, not by this.
    #[schemars(with = "Option<&str>")]
    request_target: &'a str,
    headers: Headers<'a>,
    /// The exact text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = json_schema::never_null)]
    body: Option<&'a str>,
    /// The exact bytes, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = json_schema::never_null, transform = json_schema::keyword("contentEncoding", "base64"))]
    body_base64: Option<String>,
}

/// Generators make two classes of a choice: this forbids both, and says nothing of neither.
fn one_body(schema: &mut Schema) {
    let alone = json!({"body": {"not": {"required": ["body_base64"]}}});
    json_schema::keyword("dependencies", alone)(schema);
}

/// The headers that are signed, and the signature, in one of DOKU's two forms. Their names are read in any letter case,
/// and none may be there twice. With a Signature that begins with HMACSHA256= it is DOKU's own form, else with an
/// X-SIGNATURE the SNAP form.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SignedHeaders")]
pub enum Headers<'a> {
    Jenius(Jenius<'a>),
    Snap(Snap<'a>),
}

/// DOKU's own form.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[schemars(rename = "JeniusHeaders")]
pub struct Jenius<'a> {
    #[serde(rename = "Client-Id")]
    #[schemars(length(min = 1, max = HEADER_BYTES_MAX))]
    client_id: &'a str,
    #[serde(rename = "Request-Id")]
    #[schemars(length(min = 1, max = HEADER_BYTES_MAX))]
    request_id: &'a str,
    #[serde(rename = "Request-Timestamp")]
    #[schemars(length(min = 1, max = HEADER_BYTES_MAX))]
    timestamp: &'a str,
    #[schemars(length(min = 1, max = HEADER_BYTES_MAX))]
    signature: &'a str,
}

/// The SNAP form.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SnapHeaders")]
pub struct Snap<'a> {
    /// The account's Client-Id.
    #[serde(rename = "X-PARTNER-ID")]
    #[schemars(length(min = 1, max = HEADER_BYTES_MAX))]
    partner_id: &'a str,
    #[serde(rename = "X-TIMESTAMP")]
    #[schemars(length(min = 1, max = HEADER_BYTES_MAX))]
    timestamp: &'a str,
    /// HMAC-SHA512 by the account's key, or RSA by DOKU's; its length tells which.
    #[serde(rename = "X-SIGNATURE")]
    #[schemars(length(min = 1, max = SNAP_SIGNATURE_BYTES_MAX))]
    signature: &'a str,
    /// Bearer and the token; it must be there for an HMAC, which is made over the token too.
    #[serde(rename = "Authorization", skip_serializing_if = "Option::is_none")]
    #[schemars(transform = json_schema::never_null, length(min = 1, max = AUTHORIZATION_BYTES_MAX))]
    authorization: Option<&'a str>,
    /// Not signed; for a person to find the notification at DOKU.
    #[serde(rename = "X-EXTERNAL-ID", skip_serializing_if = "Option::is_none")]
    #[schemars(transform = json_schema::never_null)]
    external_id: Option<&'a str>,
}

impl<'a> Headers<'a> {
    fn from_signed(signed: &'a SignedHeaders) -> Self {
        match signed {
            SignedHeaders::Jenius(JeniusHeaders { client_id, request_id, timestamp, signature }) => {
                Self::Jenius(Jenius { client_id, request_id, timestamp, signature })
            }
            SignedHeaders::Snap(SnapHeaders {
                partner_id,
                timestamp,
                signature,
                authorization,
                external_id,
            }) => {
                let (authorization, external_id) = (authorization.as_deref(), external_id.as_deref());
                Self::Snap(Snap { partner_id, timestamp, signature, authorization, external_id })
            }
        }
    }
}

/// The body of the message; `id` is the CloudEvent's.
pub fn write(received: &ReceivedNotification, id: &str) -> serde_json::Result<Bytes> {
    let text = std::str::from_utf8(&received.body).ok();
    let event = Event {
        specversion: "1.0",
        id,
        source: SOURCE,
        r#type: EVENT_TYPE,
        datacontenttype: "application/json",
        data: Data {
            request_target: &received.request_target,
            headers: Headers::from_signed(&received.headers),
            body: text,
            body_base64: text.is_none().then(|| STANDARD.encode(&received.body)),
        },
    };
    serde_json::to_vec(&event).map(Bytes::from)
}

/// Reads the body of a delivery from the queue of notifications. Any user may have published it.
pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<ReceivedNotification, Unreadable> {
    let envelope = open(content_type, body, BYTES_MAX)?;
    if envelope.text("specversion") != Some("1.0") {
        return Err(Malformed::new("specversion: the string 1.0 is allowed").into());
    }
    if envelope.text("type") != Some(EVENT_TYPE) {
        return Err(Malformed::new(format!("type: {EVENT_TYPE} is allowed in this queue")).into());
    }
    let data = envelope.data.map_or(Ok(Document::Null), |data| json::read(data.get(), "data"))?;
    let body = signed_body(&data)?;
    let Some(Document::Object(headers)) = data.get("headers") else {
        return Err(Malformed::new("data.headers: an object is allowed").into());
    };
    let header = |name: &str| {
        let named = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        HeaderOccurrence::from_values(named.map(|(_, value)| value.as_str()))
    };
    let headers = SignedHeaders::read(header).map_err(Unreadable::NotSigned)?;
    let request_target = data.get("request_target").and_then(Document::as_str).unwrap_or_default().to_owned();
    Ok(ReceivedNotification { request_target, headers, body })
}

fn signed_body(data: &Document) -> Result<Bytes, Malformed> {
    let one = || Malformed::new("data: either body, a string, or body_base64 is allowed");
    match (data.get("body"), data.get("body_base64")) {
        (Some(Document::String(text)), None) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        (None, Some(Document::String(text))) => STANDARD.decode(text).map(Bytes::from).map_err(|_| one()),
        _ => Err(one()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn received(body: &'static [u8]) -> ReceivedNotification {
        ReceivedNotification {
            request_target: "/payments/notifications".to_owned(),
            headers: SignedHeaders::Jenius(JeniusHeaders {
                client_id: "MCH-1".to_owned(),
                request_id: "R-1".to_owned(),
                timestamp: "2026-01-02T03:04:05Z".to_owned(),
                signature: "HMACSHA256=x".to_owned(),
            }),
            body: Bytes::from_static(body),
        }
    }

    fn received_in_snap(authorization: Option<&str>, external_id: Option<&str>) -> ReceivedNotification {
        let headers = SnapHeaders {
            partner_id: "MCH-1".to_owned(),
            timestamp: "2026-01-02T10:04:05+07:00".to_owned(),
            signature: "x".to_owned(),
            authorization: authorization.map(str::to_owned),
            external_id: external_id.map(str::to_owned),
        };
        ReceivedNotification { headers: SignedHeaders::Snap(headers), ..received(b"{}") }
    }

    #[test]
    fn the_snap_form_keeps_its_headers() {
        let whole = received_in_snap(Some("Bearer a.b"), Some("70"));
        let written = write(&whole, "id-1").unwrap();
        let event: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(
            event["data"]["headers"],
            json!({"X-PARTNER-ID":"MCH-1","X-TIMESTAMP":"2026-01-02T10:04:05+07:00","X-SIGNATURE":"x",
                "Authorization":"Bearer a.b","X-EXTERNAL-ID":"70"})
        );
        for received in [whole, received_in_snap(None, None)] {
            assert_eq!(read(None, &write(&received, "id-1").unwrap()), Ok(received));
        }
        for name in ["X-PARTNER-ID", "X-TIMESTAMP", "X-SIGNATURE", "Authorization"] {
            let lower = name.to_ascii_lowercase();
            let twice =
                event.to_string().replace(&format!("\"{name}\""), &format!("\"{lower}\":\"x\",\"{name}\""));
            assert!(matches!(read(None, twice.as_bytes()), Err(Unreadable::NotSigned(_))), "{name}");
        }
    }

    fn written(body: &'static [u8]) -> Value {
        serde_json::from_slice(&write(&received(body), "id-1").unwrap()).unwrap()
    }

    #[test]
    fn a_written_notification_has_the_documented_members_and_reads_as_it_was() {
        let expected = json!({"specversion":"1.0","id":"id-1","source":"/jenius-pay/ingress",
            "type":"jenius.notification.received.v1","datacontenttype":"application/json",
            "data":{"request_target":"/payments/notifications",
                "headers":{"Client-Id":"MCH-1","Request-Id":"R-1","Request-Timestamp":"2026-01-02T03:04:05Z",
                    "Signature":"HMACSHA256=x"},
                "body":"{ \"a\" : 1.0 }"}});
        assert_eq!(written(b"{ \"a\" : 1.0 }"), expected);
        for body in [b"{ \"a\" : 1.0 }\r\n".as_slice(), b"\xff\x00\x01", b"\0\"\\\n", "ä".as_bytes()] {
            let message = write(&received(body), "id-1").unwrap();
            assert_eq!(read(Some("application/cloudevents+json"), &message), Ok(received(body)));
        }
        assert_eq!(written(b"\xff")["data"]["body_base64"], "/w==");
        assert_eq!(written(b"\xff")["data"].get("body"), None);
    }

    #[test]
    fn the_longest_body_still_fits() {
        static WORST: [u8; 256 * 1024] = [1; 256 * 1024];
        assert!(read(None, &write(&received(&WORST), "id-1").unwrap()).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_malformed_and_what_has_no_signature_is_not_signed() {
        let change = |pointer: &str, value: Value| {
            let mut event = written(b"{}");
            *event.pointer_mut(pointer).unwrap() = value;
            read(None, event.to_string().as_bytes())
        };
        let malformed = |read: &Result<_, Unreadable>| matches!(read, Err(Unreadable::Malformed(_)));
        for (pointer, value) in [
            ("/specversion", json!("0.3")),
            ("/type", json!("jenius.payment.request.v1")),
            ("/data", json!(null)),
            ("/data/headers", json!("x")),
            ("/data/body", json!(7)),
        ] {
            assert!(malformed(&change(pointer, value)), "{pointer}");
        }
        for body in [b"".as_slice(), b"{}", b"\xff", b"[]"] {
            assert!(malformed(&read(None, body)), "{body:?}");
        }
        assert!(malformed(&read(Some("text/plain"), &write(&received(b"{}"), "1").unwrap())));
        for header in ["Client-Id", "Request-Id", "Request-Timestamp", "Signature"] {
            for bad in [json!(null), json!(""), json!(7), json!("a\nb")] {
                let read = change(&format!("/data/headers/{header}"), bad.clone());
                assert!(matches!(read, Err(Unreadable::NotSigned(_))), "{header}: {bad}");
            }
        }
    }

    #[test]
    fn a_gateways_own_spelling_of_headers_is_read() {
        let text = written(b"{}").to_string().replace("Client-Id", "client-id");
        assert_eq!(read(None, text.as_bytes()), Ok(received(b"{}")));
    }
}

//! One answer of DOKU's, read from the wire and held against its signature. It judges nothing else.

use super::signature::{AccountKeys, KeyAge, Signed, Timestamp, digest};
use crate::{
    domain::{Time, ids::MerchantName},
    metric,
};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::{Response, header::HeaderMap};
use std::time::Duration;

/// DOKU's answers are a few hundred bytes; what is longer is not read to its end.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// A longer `Retry-After` is cut: no customer waits for a payment for hours.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Whether an answer is DOKU's, by its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authenticity {
    Signed,
    Unsigned,
    /// It carries a signature that none of the account's keys made, or that cannot be checked.
    Wrong,
}

/// An answer: at least its status line and headers arrived.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub authenticity: Authenticity,
    /// DOKU's clock, or that of a gateway which answers for it.
    pub time: Option<Time>,
    pub retry_after: Option<Duration>,
    /// `None`: cut off, too late or too long.
    pub body: Option<Bytes>,
}

/// What an answer's signature is held against: our own request.
#[derive(Debug, Clone, Copy)]
pub struct OwnRequest<'a> {
    pub merchant: &'a MerchantName,
    pub keys: &'a AccountKeys,
    pub client_id: &'a str,
    pub request_id: &'a str,
    pub target: &'a str,
    /// Whether an answer to a GET signs its body is not documented: both forms are accepted.
    pub is_get: bool,
}

pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// DOKU's clock, by the answer.
pub fn response_time(headers: &HeaderMap) -> Option<Time> {
    let time = DateTime::parse_from_rfc3339(header(headers, "Response-Timestamp")?).ok()?;
    Some(time.with_timezone(&Utc))
}

/// What every HTTP server says.
fn gateway_time(headers: &HeaderMap) -> Option<Time> {
    let time = DateTime::parse_from_rfc2822(header(headers, "Date")?).ok()?;
    Some(time.with_timezone(&Utc))
}

/// Reads the rest of an answer, at most `BODY_BYTES_MAX` of it.
pub async fn read(mut response: Response, asked: OwnRequest<'_>, now: Time) -> Answer {
    let body = read_body(&mut response).await;
    let headers = response.headers();
    let (authenticity, key) = authenticity(headers, body.as_deref(), asked);
    if let Some(key) = key {
        metric::key_verified(asked.merchant.as_str(), key.into());
    }
    Answer {
        status: response.status().as_u16(),
        authenticity,
        time: response_time(headers).or_else(|| gateway_time(headers)),
        retry_after: header(headers, "Retry-After").and_then(|value| retry_after(value, now)),
        body,
    }
}

async fn read_body(response: &mut Response) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body.freeze())
}

/// With the key that made the signature.
fn authenticity(
    headers: &HeaderMap,
    body: Option<&[u8]>,
    asked: OwnRequest<'_>,
) -> (Authenticity, Option<KeyAge>) {
    if !headers.contains_key("Signature") {
        return (Authenticity::Unsigned, None);
    }
    let (Some(signature), Some(timestamp), Some(body)) =
        (header(headers, "Signature"), header(headers, "Response-Timestamp"), body)
    else {
        return (Authenticity::Wrong, None);
    };
    let digest = digest(body);
    let signed = Signed {
        client_id: asked.client_id,
        request_id: asked.request_id,
        timestamp: Timestamp::Response(timestamp),
        target: asked.target,
        digest: Some(&digest),
    };
    let without_digest = Signed { digest: None, ..signed };
    let mut key = signed.verify(asked.keys, signature);
    if key.is_none() && asked.is_get {
        key = without_digest.verify(asked.keys, signature);
    }
    (if key.is_some() { Authenticity::Signed } else { Authenticity::Wrong }, key)
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(value: &str, now: Time) -> Option<Duration> {
    let value = value.trim();
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let wait = if digits {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let at = DateTime::parse_from_rfc2822(value).ok()?.with_timezone(&Utc);
        (at - now).to_std().unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:00Z").unwrap().with_timezone(&Utc);
        let seconds = |n| Some(Duration::from_secs(n));
        for (value, expected) in [
            ("", None),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("0", seconds(0)),
            (" 120 ", seconds(120)),
            ("99999999999999999999999999", Some(RETRY_AFTER_MAX)),
            ("86400", Some(RETRY_AFTER_MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(37)),
            ("Sun, 06 Nov 1994 08:40:00 GMT", seconds(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(RETRY_AFTER_MAX)),
        ] {
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
    }

    #[test]
    fn an_answers_signature_covers_its_body_time_path_and_request() {
        let keys = AccountKeys { current: "new".into(), previous: vec!["old".into()] };
        let merchant = MerchantName::default_account();
        let asked = OwnRequest {
            merchant: &merchant,
            keys: &keys,
            client_id: "MCH-1",
            request_id: "R-1",
            target: "/x",
            is_get: false,
        };
        let body = br#"{"a":1}"#;
        let body_digest = digest(body);
        let good = Signed {
            client_id: "MCH-1",
            request_id: "R-1",
            timestamp: Timestamp::Response("2026-01-02T03:04:05Z"),
            target: "/x",
            digest: Some(&body_digest),
        };
        let by = |key: &str, signed: Signed<'_>| {
            signed.sign(&AccountKeys { current: key.into(), previous: vec![] })
        };
        let get = OwnRequest { is_get: true, ..asked };
        let no_digest = Signed { digest: None, ..good };
        let request_form = Signed { timestamp: Timestamp::Request("2026-01-02T03:04:05Z"), ..good };
        let (wrong, unsigned) = ((Authenticity::Wrong, None), (Authenticity::Unsigned, None));
        let ours = |key| (Authenticity::Signed, Some(key));
        let table = [
            ("no signature", None, asked, unsigned),
            ("an empty one", Some(String::new()), asked, wrong),
            ("another key", Some(by("other", good)), asked, wrong),
            ("another path", Some(by("new", Signed { target: "/y", ..good })), asked, wrong),
            ("another request", Some(by("new", Signed { request_id: "R-2", ..good })), asked, wrong),
            ("another body", Some(by("new", Signed { digest: Some("x"), ..good })), asked, wrong),
            ("our own request", Some(by("new", request_form)), asked, wrong),
            ("a POST without a digest", Some(by("new", no_digest)), asked, wrong),
            ("the current key", Some(by("new", good)), asked, ours(KeyAge::Current)),
            ("a previous key", Some(by("old", good)), asked, ours(KeyAge::Previous)),
            ("a GET without a digest", Some(by("new", no_digest)), get, ours(KeyAge::Current)),
            ("a GET with a digest", Some(by("new", good)), get, ours(KeyAge::Current)),
        ];
        for (name, signature, asked, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert("Response-Timestamp", HeaderValue::from_static("2026-01-02T03:04:05Z"));
            if let Some(signature) = signature {
                headers.insert("Signature", HeaderValue::from_str(&signature).unwrap());
            }
            assert_eq!(authenticity(&headers, Some(body), asked), expected, "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("Signature", HeaderValue::from_str(&by("new", good)).unwrap());
        assert_eq!(authenticity(&headers, Some(body), asked), wrong, "no timestamp");
    }

    #[test]
    fn dokus_time_is_read_from_its_header() {
        let time = |value: &'static str| {
            let headers =
                [("Response-Timestamp", value)].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
            response_time(&HeaderMap::from_iter(headers)).map(|time| time.to_rfc3339())
        };
        assert_eq!(time("2026-01-02T10:04:05+07:00").as_deref(), Some("2026-01-02T03:04:05+00:00"));
        assert_eq!(time("yesterday"), None);
        assert_eq!(response_time(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_not_beyond() {
        for (length, read) in [(262_144, true), (262_145, false)] {
            let mut response = Response::from(axum::http::Response::new("x".repeat(length)));
            let body = read_body(&mut response).await;
            assert_eq!(body.map(|body| body.len()), read.then_some(length));
        }
    }
}

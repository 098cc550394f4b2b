//! DOKU's checks of a request's headers, in DOKU's order: present, timestamp, Client-Id, signature.
//! Nothing is read of a body here, and nothing is recorded for a caller who is not who he says he is.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use chrono::{DateTime, TimeDelta, Utc};

use super::clock;
use super::signature::{self, SecretKey, SignatureInput, Stamp};

/// A timestamp further than this from DOKU's clock is refused.
const TIMESTAMP_SKEW_MAX_S: i64 = 3600;
const REQUEST_ID_LENGTH_MAX: usize = 128;

pub(super) type Merchants = HashMap<Arc<str>, Keys>;

/// One merchant's keys. They differ while a key is exchanged.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// What a request must be signed with.
    pub(super) taken: SecretKey,
    /// What answers and notifications are signed with.
    pub(super) signing: SecretKey,
}

impl Keys {
    pub(super) fn new(taken: &str, signing: &str) -> Self {
        Self { taken: SecretKey::new(taken), signing: SecretKey::new(signing) }
    }
}

/// Who asks, after every check has passed.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) client_id: Arc<str>,
    /// Signs the answer.
    pub(super) key: SecretKey,
    pub(super) request_id: String,
    /// Of the body; `None` for a GET.
    pub(super) digest: Option<String>,
}

/// Why a request is refused before its body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Header(&'static str),
    Timestamp,
    ClientId,
    Signature,
}

impl Refusal {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Header(_) => "invalid_header_request",
            Self::Timestamp => "request_time_out_of_range",
            Self::ClientId => "invalid_client_id",
            Self::Signature => "invalid_signature",
        }
    }

    pub(super) fn message(self) -> String {
        match self {
            Self::Header(name) => format!("Header {name} is missing or malformed"),
            Self::Timestamp => {
                format!("Request-Timestamp is not within {TIMESTAMP_SKEW_MAX_S} seconds of the clock here")
            }
            Self::ClientId => "Client-Id is not known".into(),
            Self::Signature => "Signature does not match".into(),
        }
    }
}

/// `target` is the path as it arrived, never decoded and encoded again.
pub(super) fn verify(
    merchants: &Merchants,
    now: DateTime<Utc>,
    headers: &HeaderMap,
    target: &str,
    body: Option<&[u8]>,
) -> Result<Caller, Refusal> {
    let client_id = header(headers, "Client-Id")?;
    let request_id = header(headers, "Request-Id")?;
    let timestamp = header(headers, "Request-Timestamp")?;
    let given = header(headers, "Signature")?;
    if request_id.len() > REQUEST_ID_LENGTH_MAX {
        return Err(Refusal::Header("Request-Id"));
    }
    let at = clock::read_stamp(timestamp).ok_or(Refusal::Header("Request-Timestamp"))?;
    if (now - at).abs() > TimeDelta::seconds(TIMESTAMP_SKEW_MAX_S) {
        return Err(Refusal::Timestamp);
    }
    let (client_id, keys) = merchants.get_key_value(client_id).ok_or(Refusal::ClientId)?;
    let digest = body.map(signature::digest);
    let signed = SignatureInput {
        client_id,
        request_id,
        stamp: Stamp::Request(timestamp),
        target,
        digest: digest.as_deref(),
    };
    if !signature::verify(&signed, &keys.taken, given) {
        return Err(Refusal::Signature);
    }
    Ok(Caller {
        client_id: client_id.clone(),
        key: keys.signing.clone(),
        request_id: request_id.to_owned(),
        digest,
    })
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Refusal> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .filter(|text| !text.is_empty())
        .ok_or(Refusal::Header(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2021-07-07T08:45:42Z";

    fn judge(client_id: &str, request_id: &str, timestamp: &str, secret: &str) -> Result<(), Refusal> {
        let merchants = Merchants::from([(Arc::from("MCH-1"), Keys::new("SK-1", "SK-1"))]);
        let value = signature::digest(b"{}");
        let signature = signature::sign(
            &SignatureInput {
                client_id,
                request_id,
                stamp: Stamp::Request(timestamp),
                target: "/x",
                digest: Some(&value),
            },
            &SecretKey::new(secret),
        );
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("Client-Id", client_id),
            ("Request-Id", request_id),
            ("Request-Timestamp", timestamp),
            ("Signature", &signature),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let now = clock::read_stamp(NOW).unwrap();
        verify(&merchants, now, &headers, "/x", Some(b"{}")).map(|_| ())
    }

    #[test]
    fn the_first_fault_in_the_order_of_the_checks_is_the_one_that_is_told() {
        let long = "x".repeat(REQUEST_ID_LENGTH_MAX + 1);
        for (client_id, request_id, timestamp, secret, expected) in [
            ("MCH-1", "R", NOW, "SK-1", Ok(())),
            ("MCH-1", "R", "2021-07-07T09:45:42Z", "SK-1", Ok(())),
            ("MCH-9", "", "never", "SK-9", Err(Refusal::Header("Request-Id"))),
            ("MCH-9", &long, NOW, "SK-9", Err(Refusal::Header("Request-Id"))),
            ("MCH-9", "R", "2021-07-07T08:45:42.000Z", "SK-9", Err(Refusal::Header("Request-Timestamp"))),
            ("MCH-9", "R", "2021-07-07T09:45:43Z", "SK-9", Err(Refusal::Timestamp)),
            ("MCH-9", "R", "2021-07-07T07:45:41Z", "SK-9", Err(Refusal::Timestamp)),
            ("MCH-9", "R", NOW, "SK-9", Err(Refusal::ClientId)),
            ("MCH-1", "R", NOW, "SK-9", Err(Refusal::Signature)),
        ] {
            assert_eq!(judge(client_id, request_id, timestamp, secret), expected, "{client_id} {timestamp}");
        }
    }
}

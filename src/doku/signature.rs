//! DOKU's signature (non-SNAP): HMAC-SHA256 over a few headers, the path and the body's digest.
//!
//! The bytes that are hashed are the bytes that travel: a body is never serialised again to sign or verify
//! it. What is compared is the decoded HMAC, in constant time.

use crate::metric;
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

const PREFIX: &str = "HMACSHA256=";

/// Some senders leave the padding out.
pub(super) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The line that tells a request's signature from an answer's: neither can pass for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamp<'a> {
    /// A request of ours, or a notification.
    Request(&'a str),
    Response(&'a str),
}

/// What is signed. Without `digest` it is a GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    pub client_id: &'a str,
    pub request_id: &'a str,
    pub timestamp: Timestamp<'a>,
    /// The path as it was called, percent-encoding included.
    pub target: &'a str,
    pub digest: Option<&'a str>,
}

/// The keys of one account.
#[derive(Debug, Clone)]
pub struct AccountKeys {
    pub current: SecretString,
    /// They verify, and never sign.
    pub previous: Vec<SecretString>,
}

/// Which of an account's keys a signature was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAge {
    Current,
    Previous,
}

impl From<KeyAge> for metric::KeyGeneration {
    fn from(age: KeyAge) -> Self {
        match age {
            KeyAge::Current => Self::Current,
            KeyAge::Previous => Self::Previous,
        }
    }
}

/// The digest line's value for a body.
pub fn digest(body: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(body))
}

/// A few digits by which two processes are seen to verify by the same things, or not. They are too few to find a key by.
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"jenius-pay fingerprint 1").expect("any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    let bytes = mac.finalize().into_bytes();
    bytes.iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

const FINGERPRINT_BYTES: usize = 4;

impl Signed<'_> {
    /// The value of the `Signature` header, by the current key.
    pub fn sign(&self, keys: &AccountKeys) -> String {
        let signature = self.mac(&keys.current).finalize().into_bytes();
        format!("{PREFIX}{}", STANDARD.encode(signature))
    }

    /// Which key made the signature in this header; `None`: none of them.
    pub fn verify(&self, keys: &AccountKeys, header: &str) -> Option<KeyAge> {
        let signature = LENIENT.decode(header.strip_prefix(PREFIX)?).ok()?;
        let made_by = |key: &SecretString| self.mac(key).verify_slice(&signature).is_ok();
        if made_by(&keys.current) {
            return Some(KeyAge::Current);
        }
        keys.previous.iter().any(made_by).then_some(KeyAge::Previous)
    }

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    fn mac(&self, key: &SecretString) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).expect("any length");
        mac.update(self.component().as_bytes());
        mac
    }

    /// The component string: this order, LF between lines, none at the end.
    fn component(&self) -> String {
        let Self { client_id, request_id, target, .. } = self;
        let (label, timestamp) = match self.timestamp {
            Timestamp::Request(timestamp) => ("Request-Timestamp", timestamp),
            Timestamp::Response(timestamp) => ("Response-Timestamp", timestamp),
        };
        let digest = self.digest.map(|digest| format!("\nDigest:{digest}")).unwrap_or_default();
        format!(
            "Client-Id:{client_id}\nRequest-Id:{request_id}\n{label}:{timestamp}\nRequest-Target:{target}{digest}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        client_id: String,
        request_id: String,
        timestamp: String,
        timestamp_component: String,
        target: String,
        body: Option<String>,
        digest: Option<String>,
        secret: String,
        signature: String,
    }

    fn keys(current: &str, previous: &[&str]) -> AccountKeys {
        AccountKeys { current: current.into(), previous: previous.iter().map(|key| (*key).into()).collect() }
    }

    const SAMPLE: Signed<'static> = Signed {
        client_id: "MCH-1",
        request_id: "INV-1",
        timestamp: Timestamp::Request("2026-01-02T03:04:05Z"),
        target: "/x",
        digest: None,
    };

    #[test]
    fn every_published_vector_is_signed_and_verified() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../tests/vectors/signature.json")).unwrap();
        assert!(vectors.len() >= 7);
        for vector in vectors {
            let timestamp = match vector.timestamp_component.as_str() {
                "Request-Timestamp" => Timestamp::Request(&vector.timestamp),
                "Response-Timestamp" => Timestamp::Response(&vector.timestamp),
                other => panic!("{}: {other}", vector.name),
            };
            if let Some(body) = &vector.body {
                assert_eq!(vector.digest, Some(digest(body.as_bytes())), "{}", vector.name);
            }
            let signed = Signed {
                client_id: &vector.client_id,
                request_id: &vector.request_id,
                timestamp,
                target: &vector.target,
                digest: vector.digest.as_deref(),
            };
            let keys = keys(&vector.secret, &[]);
            assert_eq!(signed.sign(&keys), vector.signature, "{}", vector.name);
            assert_eq!(signed.verify(&keys, &vector.signature), Some(KeyAge::Current), "{}", vector.name);
        }
    }

    #[test]
    fn what_is_no_signature_of_ours_is_refused() {
        let keys = keys("secret", &[]);
        let good = SAMPLE.sign(&keys);
        let bare = good.strip_prefix(PREFIX).unwrap();
        let mut longer = LENIENT.decode(bare).unwrap();
        let shorter = STANDARD.encode(&longer[..31]);
        longer.push(0);
        for (name, bad) in [
            ("nothing", String::new()),
            ("no prefix", bare.to_owned()),
            ("prefix alone", PREFIX.to_owned()),
            ("not base64", format!("{PREFIX}???")),
            ("shorter", format!("{PREFIX}{shorter}")),
            ("longer", format!("{PREFIX}{}", STANDARD.encode(&longer))),
            ("another prefix", format!("HMACSHA512={bare}")),
        ] {
            assert_eq!(SAMPLE.verify(&keys, &bad), None, "{name}");
        }
        let answer = Signed { timestamp: Timestamp::Response("2026-01-02T03:04:05Z"), ..SAMPLE };
        assert_eq!(answer.verify(&keys, &good), None, "a request's signature is no answer's");
        let with_body = Signed { digest: Some("x"), ..SAMPLE };
        assert_eq!(with_body.verify(&keys, &good), None, "a body that was not signed");
        assert_eq!(SAMPLE.verify(&keys, good.trim_end_matches('=')), Some(KeyAge::Current), "no padding");
    }

    #[test]
    fn a_previous_key_verifies_and_never_signs() {
        let rotated = keys("new", &["older", "old"]);
        for (key, age) in [("new", Some(KeyAge::Current)), ("old", Some(KeyAge::Previous)), ("other", None)] {
            assert_eq!(SAMPLE.verify(&rotated, &SAMPLE.sign(&keys(key, &[]))), age, "{key}");
        }
        assert_eq!(SAMPLE.sign(&rotated), SAMPLE.sign(&keys("new", &[])));
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies_and_nothing_else_does(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            secret in ".{0,80}",
            [client_id, request_id, timestamp, target] in proptest::array::uniform4("[!-~]{1,40}"),
            at in any::<proptest::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let body_digest = digest(&body);
            let signed = Signed {
                client_id: &client_id,
                request_id: &request_id,
                timestamp: Timestamp::Request(&timestamp),
                target: &target,
                digest: Some(&body_digest),
            };
            let keys = keys(&secret, &[]);
            let header = signed.sign(&keys);
            prop_assert_eq!(signed.verify(&keys, &header), Some(KeyAge::Current));

            let mut other_body = body.clone();
            match other_body.is_empty() {
                true => other_body.push(flip),
                false => { let at = at.index(other_body.len()); other_body[at] ^= flip; }
            }
            let other_digest = digest(&other_body);
            prop_assert_eq!(Signed { digest: Some(&other_digest), ..signed }.verify(&keys, &header), None);
            let other_target = format!("{target}/");
            prop_assert_eq!(Signed { target: &other_target, ..signed }.verify(&keys, &header), None);
            let mut other_signature = LENIENT.decode(&header[PREFIX.len()..]).unwrap();
            let at = at.index(other_signature.len());
            other_signature[at] ^= flip;
            let other_header = format!("{PREFIX}{}", STANDARD.encode(&other_signature));
            prop_assert_eq!(signed.verify(&keys, &other_header), None);
        }
    }
}

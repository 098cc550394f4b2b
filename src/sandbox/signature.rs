//! DOKU's non-SNAP signature, written for the sandbox and the tests alone.
//!
//! It must never use, or be used by, the product's own client: an oracle that shares the code it judges would
//! share its mistakes. `tests/vectors/signature.json` holds it to values computed with other tools.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

const PREFIX: &str = "HMACSHA256=";

/// Other integrators' signatures were seen without their `=` at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A merchant's secret key, ready for signing. It cannot be read back or printed.
#[derive(Clone)]
pub struct SecretKey {
    own: Hmac<Sha256>,
    snap: Hmac<Sha512>,
}

impl SecretKey {
    #[must_use]
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    pub fn new(secret_key: &str) -> Self {
        let key = secret_key.as_bytes();
        Self {
            own: Hmac::new_from_slice(key).expect("HMAC takes a key of any length"),
            snap: Hmac::new_from_slice(key).expect("HMAC takes a key of any length"),
        }
    }

    /// Ready for a SNAP signature.
    pub(super) fn snap(&self) -> Hmac<Sha512> {
        self.snap.clone()
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Which of the two timestamps is signed: it names the third line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp<'a> {
    /// `Request-Timestamp`: requests and notifications.
    Request(&'a str),
    /// `Response-Timestamp`: answers.
    Response(&'a str),
}

/// What is signed, line by line.
#[derive(Clone, Copy, Debug)]
pub struct SignatureInput<'a> {
    pub client_id: &'a str,
    pub request_id: &'a str,
    pub stamp: Stamp<'a>,
    /// The path as it is on the wire, percent-encoding and all, without a query string.
    pub target: &'a str,
    /// [`digest`] of the body; `None` leaves the line out (GET).
    pub digest: Option<&'a str>,
}

/// `base64(sha256(body))`: the value of the Digest line.
#[must_use]
pub fn digest(body: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(body))
}

/// The value of the `Signature` header.
#[must_use]
pub fn sign(signed: &SignatureInput<'_>, key: &SecretKey) -> String {
    let code = mac(signed, key).finalize().into_bytes();
    format!("{PREFIX}{}", STANDARD.encode(code))
}

/// Whether `header` is the signature of `signed`, compared in constant time.
#[must_use]
pub fn verify(signed: &SignatureInput<'_>, key: &SecretKey, header: &str) -> bool {
    let Some(text) = header.strip_prefix(PREFIX) else { return false };
    let Ok(code) = LENIENT.decode(text) else { return false };
    mac(signed, key).verify_slice(&code).is_ok()
}

fn mac(signed: &SignatureInput<'_>, key: &SecretKey) -> Hmac<Sha256> {
    let (stamp_name, stamp) = match signed.stamp {
        Stamp::Request(stamp) => ("Request-Timestamp", stamp),
        Stamp::Response(stamp) => ("Response-Timestamp", stamp),
    };
    let mut mac = key.own.clone();
    for part in
        ["Client-Id:", signed.client_id, "\nRequest-Id:", signed.request_id, "\n", stamp_name, ":", stamp]
    {
        mac.update(part.as_bytes());
    }
    mac.update(b"\nRequest-Target:");
    mac.update(signed.target.as_bytes());
    if let Some(digest) = signed.digest {
        mac.update(b"\nDigest:");
        mac.update(digest.as_bytes());
    }
    mac
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

    #[test]
    fn every_vector_is_signed_and_verified() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../tests/vectors/signature.json")).unwrap();
        assert!(vectors.len() >= 7);
        for vector in vectors {
            if let Some(body) = &vector.body {
                assert_eq!(Some(digest(body.as_bytes())), vector.digest, "{}", vector.name);
            }
            let signed = SignatureInput {
                client_id: &vector.client_id,
                request_id: &vector.request_id,
                stamp: match vector.timestamp_component.as_str() {
                    "Request-Timestamp" => Stamp::Request(&vector.timestamp),
                    "Response-Timestamp" => Stamp::Response(&vector.timestamp),
                    other => panic!("unknown component {other}"),
                },
                target: &vector.target,
                digest: vector.digest.as_deref(),
            };
            let key = SecretKey::new(&vector.secret);
            assert_eq!(sign(&signed, &key), vector.signature, "{}", vector.name);
            assert!(verify(&signed, &key, &vector.signature), "{}", vector.name);
            assert!(verify(&signed, &key, vector.signature.trim_end_matches('=')), "{}", vector.name);
            assert!(!verify(&signed, &SecretKey::new("another"), &vector.signature), "{}", vector.name);
        }
    }

    proptest! {
        #[test]
        fn a_signature_fits_its_own_bytes_and_no_others(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            request_id in "[!-~]{1,128}",
            flipped in any::<proptest::sample::Index>(),
        ) {
            let key = SecretKey::new("SK-1");
            let value = digest(&body);
            let signed = SignatureInput {
                client_id: "MCH-1",
                request_id: &request_id,
                stamp: Stamp::Request("2021-07-07T08:45:42Z"),
                target: "/x",
                digest: Some(&value),
            };
            let signature = sign(&signed, &key);
            prop_assert!(verify(&signed, &key, &signature));
            let mut other = body.clone();
            if other.is_empty() { other.push(0) } else { let at = flipped.index(other.len()); other[at] ^= 1 }
            let other = digest(&other);
            let changed = SignatureInput { digest: Some(&other), ..signed };
            prop_assert!(!verify(&changed, &key, &signature));
        }
    }
}

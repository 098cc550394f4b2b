//! SNAP's two signatures of a notification: HMAC-SHA512 by a merchant's key, and RSA by DOKU's.
//!
//! The decoded length of a header alone decides which one it holds, so that a signature of no possible length costs no
//! hash. What is compared is decoded, in constant time. DOKU's pages disagree on whether the body is hashed minified:
//! the minified form is tried first, then the bytes as they came.

use super::{
    super::signature::{AccountKeys, KeyAge, LENIENT},
    minify::minify,
    public_key::PublicKey,
};
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256, Sha512};
use std::{borrow::Cow, cell::OnceCell};

/// The length of an HMAC-SHA512, in bytes.
const HMAC_BYTES: usize = 64;

/// What is signed, but for the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The path of our URL, as the outside sees it.
    pub path: &'a str,
    /// The bearer token, issued here or by DOKU; only in what an HMAC signs.
    pub token: &'a str,
    /// `X-TIMESTAMP` as it came.
    pub timestamp: &'a str,
}

/// A signature of a possible length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    Hmac([u8; HMAC_BYTES]),
    /// As long as a configured key's modulus.
    Rsa(Vec<u8>),
}

impl Signature {
    /// Reads the header `X-SIGNATURE`; `None` if nothing that is configured makes a signature of this length.
    pub fn read(header: &str, keys: &[PublicKey]) -> Option<Self> {
        let decoded = decode(header)?;
        if let Ok(hmac) = decoded.as_slice().try_into() {
            return Some(Self::Hmac(hmac));
        }
        keys.iter().any(|key| key.modulus_bytes() == decoded.len()).then_some(Self::Rsa(decoded))
    }
}

/// Over which form of a body a signature was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    Minified,
    AsItCame,
}

/// A body with the hashes that a signature may be made over. Each is made once; that of the body as it came only if
/// the other is not the signed one and differs.
pub struct Bodies<'a> {
    raw: &'a [u8],
    minified: Cow<'a, [u8]>,
    minified_hash: OnceCell<String>,
    raw_hash: OnceCell<String>,
}

impl<'a> Bodies<'a> {
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw, minified: minify(raw), minified_hash: OnceCell::new(), raw_hash: OnceCell::new() }
    }

    /// The bytes of a form.
    pub fn into_form(self, form: BodyForm) -> Cow<'a, [u8]> {
        match form {
            BodyForm::Minified => self.minified,
            BodyForm::AsItCame => Cow::Borrowed(self.raw),
        }
    }

    /// In lower-case hexadecimal, the minified body's first.
    fn hashes(&self) -> impl Iterator<Item = (BodyForm, &str)> {
        let differs = self.minified.len() != self.raw.len();
        let forms = std::iter::once(BodyForm::Minified).chain(differs.then_some(BodyForm::AsItCame));
        forms.map(|form| (form, self.hash(form)))
    }

    fn hash(&self, form: BodyForm) -> &str {
        let (hash, bytes) = match form {
            BodyForm::Minified => (&self.minified_hash, &*self.minified),
            BodyForm::AsItCame => (&self.raw_hash, self.raw),
        };
        hash.get_or_init(|| hexadecimal(&Sha256::digest(bytes)))
    }
}

impl Signed<'_> {
    /// Which of an account's keys made this HMAC, and over which form of the body; `None`: none of them.
    pub fn verify_hmac(
        &self,
        keys: &AccountKeys,
        bodies: &Bodies<'_>,
        signature: &[u8; HMAC_BYTES],
    ) -> Option<(KeyAge, BodyForm)> {
        bodies.hashes().find_map(|(form, hash)| {
            let text = format!("POST:{}:{}:{hash}:{}", self.path, self.token, self.timestamp);
            let made_by = |key: &SecretString| mac(key, &text).verify_slice(signature).is_ok();
            if made_by(&keys.current) {
                return Some((KeyAge::Current, form));
            }
            keys.previous.iter().any(made_by).then_some((KeyAge::Previous, form))
        })
    }

    /// Over which form of the body one of DOKU's keys made this signature; `None`: none of them did.
    pub fn verify_rsa(&self, keys: &[PublicKey], bodies: &Bodies<'_>, signature: &[u8]) -> Option<BodyForm> {
        bodies.hashes().find_map(|(form, hash)| {
            let text = format!("POST:{}:{hash}:{}", self.path, self.timestamp);
            keys.iter().any(|key| key.verifies(text.as_bytes(), signature)).then_some(form)
        })
    }
}

/// The bytes of a signature. Its base64 is read with and without padding.
pub(super) fn decode(header: &str) -> Option<Vec<u8>> {
    LENIENT.decode(header).ok()
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
pub(super) fn mac(key: &SecretString, text: &str) -> Hmac<Sha512> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key.expose_secret().as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    mac
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vectors {
        keys: Pems,
        symmetric: Vec<Vector>,
        asymmetric: Vec<Vector>,
        token_requests: Vec<TokenRequest>,
        body_hashes: Vec<BodyHash>,
    }

    #[derive(Deserialize)]
    struct BodyHash {
        raw_body: String,
        body_sha256_hex: String,
    }

    #[derive(Deserialize)]
    struct Pems {
        doku_test_public_pem: String,
        merchant_test_public_pem: String,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        #[serde(default)]
        secret_key: String,
        path: String,
        #[serde(default)]
        access_token: String,
        timestamp: String,
        raw_body: String,
        signature_base64: String,
        #[serde(default)]
        signature_over_raw_body_unminified: Option<String>,
    }

    #[derive(Deserialize)]
    struct TokenRequest {
        name: String,
        string_to_sign: String,
        signature_base64: String,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../../../tests/vectors/snap.json")).unwrap()
    }

    fn public_key(pem: &str) -> PublicKey {
        PublicKey::new(&crate::config::RsaKey::read(pem).unwrap())
    }

    fn keys(current: &str, previous: &[&str]) -> AccountKeys {
        let secret = |text: &str| SecretString::from(text.to_owned());
        AccountKeys { current: secret(current), previous: previous.iter().map(|p| secret(p)).collect() }
    }

    fn signed(vector: &Vector) -> Signed<'_> {
        Signed { path: &vector.path, token: &vector.access_token, timestamp: &vector.timestamp }
    }

    fn hmac(header: &str) -> [u8; HMAC_BYTES] {
        match Signature::read(header, &[]) {
            Some(Signature::Hmac(hmac)) => hmac,
            other => panic!("{header}: {other:?}"),
        }
    }

    #[test]
    fn every_symmetric_vector_verifies_minified_and_raw() {
        for vector in vectors().symmetric {
            let body = Bodies::new(vector.raw_body.as_bytes());
            let headers =
                [Some(vector.signature_base64.clone()), vector.signature_over_raw_body_unminified.clone()];
            for header in headers.into_iter().flatten() {
                let (signed, hmac) = (signed(&vector), hmac(&header));
                let verify = |keys: &AccountKeys| signed.verify_hmac(keys, &body, &hmac).map(|(age, _)| age);
                assert_eq!(verify(&keys(&vector.secret_key, &[])), Some(KeyAge::Current), "{}", vector.name);
                let rotated = keys("SK-other", &[&vector.secret_key]);
                assert_eq!(verify(&rotated), Some(KeyAge::Previous), "{}", vector.name);
                assert_eq!(verify(&keys("SK-other", &[])), None, "{}", vector.name);
            }
        }
    }

    #[test]
    fn what_is_signed_cannot_be_changed() {
        for vector in vectors().symmetric {
            let keys = keys(&vector.secret_key, &[]);
            let hmac = hmac(&vector.signature_base64);
            let right = signed(&vector);
            let body = Bodies::new(vector.raw_body.as_bytes());
            let other = Bodies::new(b"{\"x\":1}");
            for (signed, body) in [
                (Signed { path: "/other", ..right }, &body),
                (Signed { token: "other", ..right }, &body),
                (Signed { timestamp: "2026-01-02T10:04:06+07:00", ..right }, &body),
                (right, &other),
            ] {
                assert_eq!(signed.verify_hmac(&keys, body, &hmac), None, "{}", vector.name);
            }
        }
    }

    #[test]
    fn every_asymmetric_vector_verifies_by_dokus_key_alone() {
        let vectors = vectors();
        let doku = [public_key(&vectors.keys.doku_test_public_pem)];
        let other = [public_key(&vectors.keys.merchant_test_public_pem)];
        for vector in &vectors.asymmetric {
            let Some(Signature::Rsa(signature)) = Signature::read(&vector.signature_base64, &doku) else {
                panic!("{}: not as long as the modulus", vector.name);
            };
            let body = Bodies::new(vector.raw_body.as_bytes());
            assert!(signed(vector).verify_rsa(&doku, &body, &signature).is_some(), "{}", vector.name);
            let both = [other.as_slice(), doku.as_slice()].concat();
            assert!(signed(vector).verify_rsa(&both, &body, &signature).is_some(), "{}", vector.name);
            assert_eq!(signed(vector).verify_rsa(&other, &body, &signature), None, "{}", vector.name);
            let later = Signed { timestamp: "2027-01-01T00:00:00Z", ..signed(vector) };
            assert_eq!(later.verify_rsa(&doku, &body, &signature), None, "{}", vector.name);
        }
        for request in &vectors.token_requests {
            let signature = LENIENT.decode(&request.signature_base64).unwrap();
            let text = request.string_to_sign.as_bytes();
            assert!(doku[0].verifies(text, &signature), "{}", request.name);
            assert!(!other[0].verifies(text, &signature), "{}", request.name);
        }
    }

    #[test]
    fn a_signature_of_no_possible_length_is_none() {
        let vectors = vectors();
        let doku = [public_key(&vectors.keys.doku_test_public_pem)];
        let of_length = |bytes: usize| base64::engine::general_purpose::STANDARD.encode(vec![7; bytes]);
        for bytes in [0, 1, 32, 63, 65, 128, 255, 257, 512] {
            assert_eq!(Signature::read(&of_length(bytes), &doku), None, "{bytes}");
        }
        assert_eq!(Signature::read(&of_length(256), &[]), None, "no key is configured");
        for header in ["", "not base64!", "HMACSHA512=AAAA"] {
            assert_eq!(Signature::read(header, &doku), None, "{header}");
        }
    }

    #[test]
    fn a_body_is_hashed_as_doku_publishes_it() {
        for vector in vectors().body_hashes {
            let body = Bodies::new(vector.raw_body.as_bytes());
            assert_eq!(body.hash(BodyForm::Minified), vector.body_sha256_hex);
        }
    }

    #[test]
    fn letter_case_counts() {
        let vector = &vectors().symmetric[0];
        let swapped: String = vector
            .signature_base64
            .chars()
            .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect();
        let body = Bodies::new(vector.raw_body.as_bytes());
        let verifies = match Signature::read(&swapped, &[]) {
            Some(Signature::Hmac(hmac)) => {
                signed(vector).verify_hmac(&keys(&vector.secret_key, &[]), &body, &hmac).is_some()
            }
            _ => false,
        };
        assert!(!verifies);
    }
}

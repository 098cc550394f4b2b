//! DOKU's notifications in the SNAP form: worded, minified and signed by the sandbox's own code.
//!
//! It must never use, or be used by, the product's own verifier: an oracle that shares the code it judges would share
//! its mistakes. `tests/vectors/snap.json` holds it to values made with DOKU's own libraries.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use hmac::Mac;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::signature::SecretKey;

/// Jakarta's offset: SNAP's timestamps are written in it.
const WIB_SECONDS: i32 = 7 * 3600;
/// Where a merchant hands out tokens, beside its notification path.
pub(super) const TOKEN_PATH: &str = "/authorization/v1/access-token/b2b";
/// The body of a token request.
pub(super) const TOKEN_BODY: &str = r#"{"grantType":"client_credentials"}"#;

/// How a SNAP notification is signed. Every way but the first is one that DOKU's pages or libraries are seen to use, or
/// that a stranger might try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapSignature {
    /// HMAC-SHA512 over the minified body.
    #[default]
    Hmac,
    /// HMAC-SHA512 over the body as it is sent.
    HmacOverRaw,
    /// RSA by DOKU's key, over the minified body.
    Rsa,
    /// HMAC-SHA512 by another key than the merchant's.
    OtherKey,
    /// Right in all, but the token ended long ago.
    StaleToken,
}

/// DOKU's own RSA key.
pub struct PrivateKey(RsaKeyPair);

impl PrivateKey {
    /// Reads a `PRIVATE KEY` block (PKCS#8) of a PEM text; `None` if there is no RSA key of 2048 bits or more in it.
    #[must_use]
    pub fn read(pem: &str) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok().map(Self)
    }

    /// base64(SHA-256 with RSA, PKCS#1 v1.5).
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.0.public().modulus_len()];
        // A key that was read can sign; a signature of zeros would verify nowhere.
        let _ = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
        STANDARD.encode(signature)
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// `X-TIMESTAMP`: Jakarta's time, as DOKU writes it.
pub(super) fn timestamp(at: DateTime<Utc>) -> String {
    match FixedOffset::east_opt(WIB_SECONDS) {
        Some(wib) => at.with_timezone(&wib).to_rfc3339_opts(SecondsFormat::Secs, false),
        None => at.to_rfc3339_opts(SecondsFormat::Secs, true),
    }
}

/// base64(HMAC-SHA512) of a POST; `body` is hashed as it is given.
#[must_use]
pub fn sign(path: &str, token: &str, timestamp: &str, body: &[u8], key: &SecretKey) -> String {
    let mut mac = key.snap();
    mac.update(format!("POST:{path}:{token}:{}:{timestamp}", hash(body)).as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// base64(RSA) of a POST; `body` is hashed as it is given.
#[must_use]
pub fn sign_rsa(path: &str, timestamp: &str, body: &[u8], key: &PrivateKey) -> String {
    key.sign(&format!("POST:{path}:{}:{timestamp}", hash(body)))
}

/// The signature of a token request.
pub(super) fn sign_token_request(client_id: &str, timestamp: &str, key: &PrivateKey) -> String {
    key.sign(&format!("{client_id}|{timestamp}"))
}

fn hash(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON without the white space between its tokens.
#[must_use]
pub fn minify(body: &str) -> String {
    let mut minified = String::with_capacity(body.len());
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '"' => {
                minified.push('"');
                copy_string(&mut characters, &mut minified);
            }
            other => minified.push(other),
        }
    }
    minified
}

/// Copies to the end of a string, after its opening quotation mark.
fn copy_string(characters: &mut std::str::Chars<'_>, minified: &mut String) {
    while let Some(character) = characters.next() {
        minified.push(character);
        match character {
            '"' => return,
            '\\' => minified.extend(characters.next()),
            _ => {}
        }
    }
}

/// What a SNAP notification says of a transaction, with what trips who parses and prints it again: white space,
/// escapes, text outside ASCII, a number with zeros behind its point.
pub(super) fn body(invoice_number: &str, amount: &str, status: &str, reference: &str) -> String {
    let (code, word) = match status {
        "SUCCESS" => ("00", "Success"),
        "FAILED" => ("06", "Failed"),
        "EXPIRED" => ("08", "Expired"),
        "REFUNDED" => ("04", "Refunded"),
        _ => ("03", "Pending"),
    };
    format!(
        concat!(
            "{{\n  \"originalPartnerReferenceNo\" : {invoice},\n  \"originalReferenceNo\": {reference},\r\n",
            "\t\"latestTransactionStatus\": \"{code}\", \"transactionStatusDesc\": \"{word}\",\n",
            "  \"amount\": {{ \"value\": \"{amount}\", \"currency\": \"IDR\" }},\n",
            "  \"additionalInfo\": {{ \"channelId\": \"EMONEY_JENIUS_SNAP\", \"note\": \"a \\\"b\\\"  c\\/d caf\u{e9}\",\n",
            "    \"lineItems\": [ {{ \"price\": 40000.00, \"quantity\": 1 }} ], \"custIdMerchant\": \"\" }} }}\n"
        ),
        invoice = json!(invoice_number),
        reference = json!(reference),
        code = code,
        word = word,
        amount = amount
    )
}

/// The token in a merchant's answer.
pub(super) fn token_of(answer: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    answer.get("accessToken")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/vectors/snap.json")).unwrap()
    }

    #[test]
    fn every_vector_is_signed_as_dokus_libraries_sign_it() {
        let vectors = vectors();
        let vectors = vectors["symmetric"].as_array().unwrap();
        assert!(vectors.len() >= 4);
        for vector in vectors {
            let text = |name: &str| vector[name].as_str().unwrap();
            let key = SecretKey::new(text("secret_key"));
            let signed = |body: &str| {
                sign(text("path"), text("access_token"), text("timestamp"), body.as_bytes(), &key)
            };
            assert_eq!(signed(&minify(text("raw_body"))), text("signature_base64"), "{}", text("name"));
            if let Some(raw) = vector["signature_over_raw_body_unminified"].as_str() {
                assert_eq!(signed(text("raw_body")), raw, "{}", text("name"));
            }
        }
        for vector in vectors.iter() {
            assert_eq!(vector["raw_body"].as_str().map(minify).map(|m| minify(&m) == m), Some(true));
        }
    }

    #[test]
    fn a_body_is_minified_as_doku_publishes_it() {
        for vector in vectors()["body_hashes"].as_array().unwrap() {
            let minified = minify(vector["raw_body"].as_str().unwrap());
            assert_eq!(minified, vector["minified_body"].as_str().unwrap());
            assert_eq!(hash(minified.as_bytes()), vector["body_sha256_hex"].as_str().unwrap());
        }
    }

    #[test]
    fn a_notification_is_json_that_minifies_to_the_same_values() {
        let body = body("INV \"1\"", "50000.00", "SUCCESS", "70");
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["latestTransactionStatus"], "00");
        assert_eq!(value["originalPartnerReferenceNo"], "INV \"1\"");
        assert_eq!(serde_json::from_str::<Value>(&minify(&body)).unwrap(), value);
        assert!(minify(&body).len() < body.len());
    }

    #[test]
    fn times_are_jakartas() {
        let at = Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap();
        assert_eq!(timestamp(at), "2026-01-02T10:04:05+07:00");
    }
}

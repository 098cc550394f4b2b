//! Which notifications in the SNAP form verify, by whose key, and what is read from them. The vectors were made with
//! DOKU's own libraries.

use super::*;
use crate::doku::snap::tokens::Tokens;
use crate::{
    config::{self, RsaKey},
    domain::{Time, signed::HeaderOccurrence},
    flow::ports::{TokenIssuer, TokenRequest},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const PATH: &str = "/payments/notifications";
const STAMP: &str = "2026-01-02T10:04:05+07:00";
const BODY: &[u8] = br#"{ "originalPartnerReferenceNo" : "INV-1" }"#;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/snap.json")).unwrap()
}

fn accounts(client_id: &str, key: &str) -> Accounts {
    let merchant = |client_id: &str, key: &str, previous: &[&str]| config::MerchantConfig {
        client_id: client_id.to_owned(),
        secret_key: key.into(),
        previous_secret_keys: previous.iter().map(|key| (*key).into()).collect(),
    };
    let name = |name: &str| MerchantName::parse(name).unwrap();
    Accounts::new(&BTreeMap::from([
        (name("default"), merchant(client_id, key, &["SK-old"])),
        (name("second"), merchant("MCH-2", "SK-2", &[])),
    ]))
}

fn dokus_key() -> Arc<[PublicKey]> {
    let vectors = vectors();
    let pem = vectors["keys"]["doku_test_public_pem"].as_str().unwrap();
    [PublicKey::new(&RsaKey::read(pem).unwrap())].into()
}

fn verifier() -> Verifier {
    Verifier::new(accounts("MCH-1", "SK-1"), vec![PATH.to_owned(), "/old/path".to_owned()])
        .with_public_keys(dokus_key())
}

/// By hand: not with the code that verifies.
fn hmac(key: &str, path: &str, token: &str, hashed: &[u8]) -> String {
    let hash: String = Sha256::digest(hashed).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut mac = Hmac::<Sha512>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("POST:{path}:{token}:{hash}:{STAMP}").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn headers(partner_id: &str, timestamp: &str, signature: &str, token: Option<&str>) -> SignedHeaders {
    SignedHeaders::Snap(SnapHeaders {
        partner_id: partner_id.to_owned(),
        timestamp: timestamp.to_owned(),
        signature: signature.to_owned(),
        authorization: token.map(|token| format!("Bearer {token}")),
        external_id: Some("70".to_owned()),
    })
}

fn minified() -> &'static [u8] {
    br#"{"originalPartnerReferenceNo":"INV-1"}"#
}

fn merchant(name: &str) -> SignedBy {
    SignedBy::Merchant(MerchantName::parse(name).unwrap())
}

#[test]
fn a_snap_notification_is_its_accounts_own_or_nobodys() {
    use NotAuthentic::{ClientIdUnknown, SignatureWrong};
    let good = hmac("SK-1", PATH, "t", minified());
    let other_case: String = good
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    for (name, partner, signature, token, expected) in [
        ("an unknown account", "MCH-3", good.clone(), "t", Err(ClientIdUnknown)),
        ("the key of nobody", "MCH-3", hmac("nobody", PATH, "t", minified()), "t", Err(ClientIdUnknown)),
        ("another account's key", "MCH-1", hmac("SK-2", PATH, "t", minified()), "t", Err(SignatureWrong)),
        ("another account", "MCH-2", good.clone(), "t", Err(SignatureWrong)),
        ("another path", "MCH-1", hmac("SK-1", "/elsewhere", "t", minified()), "t", Err(SignatureWrong)),
        ("another token", "MCH-1", good.clone(), "u", Err(SignatureWrong)),
        ("another body", "MCH-1", hmac("SK-1", PATH, "t", b"{}"), "t", Err(SignatureWrong)),
        ("another letter case", "MCH-1", other_case, "t", Err(SignatureWrong)),
        ("too short", "MCH-1", good[..80].to_owned(), "t", Err(SignatureWrong)),
        ("no base64", "MCH-1", "?".repeat(88), "t", Err(SignatureWrong)),
        ("over the minified body", "MCH-1", good.clone(), "t", Ok(merchant("default"))),
        ("over the raw body", "MCH-1", hmac("SK-1", PATH, "t", BODY), "t", Ok(merchant("default"))),
        ("a previous key", "MCH-1", hmac("SK-old", PATH, "t", BODY), "t", Ok(merchant("default"))),
        ("a previous path", "MCH-1", hmac("SK-1", "/old/path", "t", BODY), "t", Ok(merchant("default"))),
        ("no padding", "MCH-1", good.trim_end_matches('=').to_owned(), "t", Ok(merchant("default"))),
    ] {
        let headers = headers(partner, STAMP, &signature, Some(token));
        assert_eq!(verifier().verify(&headers, BODY).map(|verified| verified.by), expected, "{name}");
    }
}

#[test]
fn what_is_read_are_the_bytes_that_were_hashed() {
    let verifier = verifier();
    // Minified it is another number: what DOKU hashed counts, whatever came.
    let body = br#"{"originalPartnerReferenceNo":"INV-1","latestTransactionStatus":"00","amount":5 0000}"#;
    let hashed = br#"{"originalPartnerReferenceNo":"INV-1","latestTransactionStatus":"00","amount":50000}"#;
    let over_minified = headers("MCH-1", STAMP, &hmac("SK-1", PATH, "t", hashed), Some("t"));
    let verified = verifier.verify(&over_minified, body).unwrap();
    assert_eq!(&*verified.body, hashed);
    assert_eq!(verifier.read(&verified).unwrap().amount.as_deref(), Some("50000"));
    let over_raw = headers("MCH-1", STAMP, &hmac("SK-1", PATH, "t", body), Some("t"));
    let verified = verifier.verify(&over_raw, body).unwrap();
    assert_eq!(&*verified.body, body);
    assert_eq!(verifier.read(&verified), None);
}

#[test]
fn every_vector_of_dokus_libraries_verifies() {
    let vectors = vectors();
    for vector in vectors["symmetric"].as_array().unwrap() {
        let of = |name: &str| vector[name].as_str().unwrap();
        let verifier =
            Verifier::new(accounts(of("client_id"), of("secret_key")), vec![of("path").to_owned()]);
        for signature in ["signature_base64", "signature_over_raw_body_unminified"] {
            let Some(signature) = vector[signature].as_str() else { continue };
            let headers = headers(of("client_id"), of("timestamp"), signature, Some(of("access_token")));
            let verified = verifier.verify(&headers, of("raw_body").as_bytes()).unwrap();
            assert_eq!(verified.by, merchant("default"), "{}", of("name"));
        }
    }
    let debit = vectors["symmetric"].as_array().unwrap().iter().find(|v| v["name"] == "snap_debit_notify");
    let body = debit.unwrap()["raw_body"].as_str().unwrap();
    let read = snap_body::read("1", body.as_bytes()).unwrap();
    assert_eq!((read.status.as_deref(), read.amount.as_deref()), (Some("SUCCESS"), Some("50000")));
    assert_eq!(read.request.as_deref(), Some("EMONEY_DANA_SNAP: 7021735786645000001"), "DANA is not Jenius");
    for vector in vectors["asymmetric"].as_array().unwrap() {
        let of = |name: &str| vector[name].as_str().unwrap();
        let verifier = Verifier::new(accounts("MCH-1", "SK-1"), vec![of("path").to_owned()]);
        let headers = headers("MCH-1", of("timestamp"), of("signature_base64"), None);
        let body = of("raw_body").as_bytes();
        assert_eq!(
            verifier.verify(&headers, body),
            Err(NotAuthentic::SignatureWrong),
            "no key is configured"
        );
        let verifier = verifier.with_public_keys(dokus_key());
        let named = MerchantName::default_account();
        assert_eq!(verifier.verify(&headers, body).unwrap().by, SignedBy::Doku { named }, "{}", of("name"));
        let unknown = self::headers("MCH-9", of("timestamp"), of("signature_base64"), None);
        assert_eq!(verifier.verify(&unknown, body), Err(NotAuthentic::ClientIdUnknown));
    }
}

struct At(&'static str);

impl Clock for At {
    fn now(&self) -> Time {
        self.0.parse().unwrap()
    }
}

/// A token for the first token request among the vectors, at this time, and for whom.
fn token(now: &'static str) -> (Option<String>, Accounts, String) {
    let vectors = vectors();
    let vector = &vectors["token_requests"][0];
    let (client_id, timestamp) = vector["string_to_sign"].as_str().unwrap().split_once('|').unwrap();
    let accounts = accounts(client_id, "SK-1");
    let tokens = Tokens::new(accounts.clone(), dokus_key(), Arc::new(At(now)));
    let request = TokenRequest {
        client_id: client_id.to_owned(),
        timestamp: timestamp.to_owned(),
        signature: vector["signature_base64"].as_str().unwrap().to_owned(),
    };
    (tokens.issue(&request).map(|(token, _)| token), accounts, client_id.to_owned())
}

#[test]
fn where_tokens_must_be_ours_no_other_helps_a_right_signature() {
    let vectors = vectors();
    let timestamp =
        vectors["token_requests"][0]["string_to_sign"].as_str().unwrap().split_once('|').unwrap().1;
    let issued_at: Time = chrono::DateTime::parse_from_rfc3339(timestamp).unwrap().to_utc();
    let issued_at: &'static str = issued_at.to_rfc3339().leak();
    let later: &'static str =
        (issued_at.parse::<Time>().unwrap() + Duration::from_secs(900)).to_rfc3339().leak();
    let (issued, accounts, client_id) = token(issued_at);
    let issued = issued.unwrap();
    let judge = |now: &'static str, partner: &str, key: &str, token: &str| {
        let verifier =
            Verifier::new(accounts.clone(), vec![PATH.to_owned()]).needing_tokens(Arc::new(At(now)));
        let headers = headers(partner, STAMP, &hmac(key, PATH, token, minified()), Some(token));
        verifier.verify(&headers, BODY).map(|verified| verified.by)
    };
    assert_eq!(judge(issued_at, &client_id, "SK-1", &issued), Ok(merchant("default")));
    assert_eq!(judge(later, &client_id, "SK-1", &issued), Err(NotAuthentic::TokenWrong), "it has ended");
    assert_eq!(
        judge(issued_at, "MCH-2", "SK-2", &issued),
        Err(NotAuthentic::TokenWrong),
        "another account's"
    );
    assert_eq!(judge(issued_at, &client_id, "SK-9", &issued), Err(NotAuthentic::SignatureWrong));
    let refused =
        vectors.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("jwt_must_be_refused"));
    let mut refused_count = 0;
    for jwt in refused.flat_map(|(_, jwts)| jwts.as_array().cloned().unwrap_or_else(|| vec![jwts.clone()])) {
        let jwt = jwt.as_str().unwrap();
        assert_eq!(judge(issued_at, &client_id, "SK-1", jwt), Err(NotAuthentic::TokenWrong), "{jwt}");
        refused_count += 1;
    }
    assert!(refused_count > 0);
    // The reconciler judges later, by the signature alone.
    let headers = headers(&client_id, STAMP, &hmac("SK-1", PATH, "other", minified()), Some("other"));
    assert!(Verifier::new(accounts, vec![PATH.to_owned()]).verify(&headers, BODY).is_ok());
}

#[test]
fn the_signature_decides_the_form_and_a_bearer_scheme_is_no_part_of_the_token() {
    let signature = hmac("SK-1", PATH, "t", minified());
    let read = |name: &str| match name {
        "X-PARTNER-ID" => HeaderOccurrence::Once("MCH-1"),
        "X-TIMESTAMP" => HeaderOccurrence::Once(STAMP),
        "X-SIGNATURE" => HeaderOccurrence::Once(signature.as_str()),
        "Authorization" => HeaderOccurrence::Once("Bearer t"),
        _ => HeaderOccurrence::Nothing,
    };
    let headers = SignedHeaders::read(read).unwrap();
    assert_eq!(headers.form(), Form::Snap);
    assert!(verifier().verify(&headers, BODY).is_ok());
}

/// Hashing the body is most of the work: it is done for an unknown partner too, and not for a signature of an
/// impossible length.
#[test]
fn an_unknown_partner_takes_as_long_as_a_known_one_and_a_signature_of_no_length_nothing() {
    let verifier = verifier();
    let body = vec![b' '; 256 * 1024];
    let took = |partner: &str, signature: &str| {
        let headers = headers(partner, STAMP, signature, Some("t"));
        let started = Instant::now();
        assert!(verifier.verify(&headers, &body).is_err());
        started.elapsed()
    };
    let wrong = hmac("SK-3", PATH, "t", BODY);
    let rows: Vec<_> = (0..21)
        .map(|_| [took("MCH-1", &wrong), took("MCH-2", &wrong), took("MCH-9", &wrong), took("MCH-1", "AAAA")])
        .collect();
    let [known, other, unknown, no_length] = [0, 1, 2, 3].map(|which| {
        let mut all: Vec<Duration> = rows.iter().map(|row| row[which]).collect();
        all.sort();
        all[all.len() / 2]
    });
    assert!(unknown * 2 > known && unknown * 2 > other, "{unknown:?} of {known:?} and {other:?}");
    assert!(no_length * 10 < known, "{no_length:?} of {known:?}");
}

//! Which notifications verify, and what is read from them.

use super::*;
use crate::{
    config,
    domain::{
        finding::{Report, ReportedStatus},
        money::{ReportedAmount, Rupiah},
        signed::HeaderOccurrence,
    },
};
use std::{collections::BTreeMap, time::Duration};

fn accounts() -> Accounts {
    let merchant = |client_id: &str, key: &str, previous: &[&str]| config::MerchantConfig {
        client_id: client_id.to_owned(),
        secret_key: key.into(),
        previous_secret_keys: previous.iter().map(|key| (*key).into()).collect(),
    };
    let name = |name: &str| MerchantName::parse(name).unwrap();
    Accounts::new(&BTreeMap::from([
        (name("default"), merchant("MCH-1", "SK-1", &["SK-old"])),
        (name("second"), merchant("MCH-2", "SK-2", &[])),
    ]))
}

fn verifier() -> Verifier {
    Verifier::new(accounts(), vec!["/payments/notifications".to_owned(), "/old/path".to_owned()])
}

const BODY: &[u8] = br#"{"order":{"invoice_number":"INV-1","amount":"50000"}}"#;

fn signature(client_id: &str, key: &str, path: &str, body: &[u8]) -> String {
    let keys = super::super::signature::AccountKeys { current: key.into(), previous: vec![] };
    let timestamp = Timestamp::Request("2026-01-02T03:04:05Z");
    Signed { client_id, request_id: "R-1", timestamp, target: path, digest: Some(&digest(body)) }.sign(&keys)
}

fn verify(client_id: &str, signature: &str) -> Result<String, NotAuthentic> {
    let headers = headers(client_id, signature);
    verifier().verify(&headers, BODY).map(|verified| match verified.by {
        SignedBy::Merchant(merchant) => merchant.to_string(),
        SignedBy::Doku { .. } => panic!("no account's key"),
    })
}

fn headers(client_id: &str, signature: &str) -> SignedHeaders {
    SignedHeaders::Jenius(JeniusHeaders {
        client_id: client_id.to_owned(),
        request_id: "R-1".to_owned(),
        timestamp: "2026-01-02T03:04:05Z".to_owned(),
        signature: signature.to_owned(),
    })
}

#[test]
fn a_notification_is_its_accounts_own_or_nobodys() {
    let path = "/payments/notifications";
    let default = || Ok("default".to_owned());
    for (name, client_id, signature, expected) in [
        (
            "unknown account",
            "MCH-3",
            signature("MCH-3", "SK-1", path, BODY),
            Err(NotAuthentic::ClientIdUnknown),
        ),
        (
            "another account's key",
            "MCH-1",
            signature("MCH-1", "SK-2", path, BODY),
            Err(NotAuthentic::SignatureWrong),
        ),
        (
            "signed for another account",
            "MCH-2",
            signature("MCH-1", "SK-1", path, BODY),
            Err(NotAuthentic::SignatureWrong),
        ),
        (
            "another path",
            "MCH-1",
            signature("MCH-1", "SK-1", "/elsewhere", BODY),
            Err(NotAuthentic::SignatureWrong),
        ),
        ("another body", "MCH-1", signature("MCH-1", "SK-1", path, b"{}"), Err(NotAuthentic::SignatureWrong)),
        ("the current key", "MCH-1", signature("MCH-1", "SK-1", path, BODY), default()),
        ("a previous key", "MCH-1", signature("MCH-1", "SK-old", path, BODY), default()),
        ("a previous path", "MCH-1", signature("MCH-1", "SK-1", "/old/path", BODY), default()),
    ] {
        assert_eq!(verify(client_id, &signature), expected, "{name}");
    }
}

/// By the time it takes, a stranger would learn which Client-Ids exist.
#[test]
fn a_client_id_that_nobody_has_is_refused_no_sooner_than_one_that_somebody_has() {
    let body = vec![b' '; 4 * 1024 * 1024];
    let took = |client_id: &str| {
        let headers = headers(client_id, "HMACSHA256=AAAA");
        let begun = std::time::Instant::now();
        assert!(verifier().verify(&headers, &body).is_err());
        begun.elapsed()
    };
    // The quickest of each, by turns: other tests use the same processors.
    let (mut known, mut unknown) = (took("MCH-1"), took("MCH-3"));
    for _ in 0..50 {
        if unknown * 2 > known {
            return;
        }
        (known, unknown) = (known.min(took("MCH-1")), unknown.min(took("MCH-3")));
    }
    panic!("{unknown:?}, and {known:?} where somebody has it");
}

#[test]
fn a_published_notification_verifies_and_reads() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/signature.json")).unwrap();
    let vector = vectors.as_array().unwrap().iter().find(|v| v["name"] == "notification").unwrap();
    let of = |name: &str| vector[name].as_str().unwrap();
    let merchant = config::MerchantConfig {
        client_id: of("client_id").to_owned(),
        secret_key: of("secret").into(),
        previous_secret_keys: vec![],
    };
    let accounts = Accounts::new(&BTreeMap::from([(MerchantName::default_account(), merchant)]));
    let headers = SignedHeaders::read(|name| match name {
        "Client-Id" => HeaderOccurrence::Once(of("client_id")),
        "Request-Id" => HeaderOccurrence::Once(of("request_id")),
        "Request-Timestamp" => HeaderOccurrence::Once(of("timestamp")),
        "Signature" => HeaderOccurrence::Once(of("signature")),
        _ => HeaderOccurrence::Nothing,
    });
    let headers = headers.unwrap();
    let verifier = Verifier::new(accounts, vec![of("target").to_owned()]);
    assert!(verifier.verify(&headers, of("body").as_bytes()).is_ok());
    let report = read(headers.request_id(), of("body").as_bytes()).unwrap().report().unwrap();
    assert_eq!(report.status, ReportedStatus::Success);
    assert!(report.amount.is(Rupiah::new(120_000).unwrap()));
}

#[test]
fn a_notification_without_an_order_is_incomplete() {
    let long = format!(r#"{{"order":{{"invoice_number":"{}"}}}}"#, "x".repeat(INVOICE_CHARS_MAX + 1));
    for body in [
        "",
        "<xml/>",
        "[]",
        "{}",
        r#"{"order":null}"#,
        r#"{"order":{"invoice_number":null}}"#,
        r#"{"order":{"invoice_number":""}}"#,
        r#"{"order":{"invoice_number":["INV-1"]}}"#,
        long.as_str(),
    ] {
        assert_eq!(read("R-1", body.as_bytes()), Err(Incomplete), "{body}");
    }
    assert_eq!(read("R-1", b"\xff\xfe"), Err(Incomplete));
    let longest = long.replacen('x', "", 1);
    assert!(read("R-1", longest.as_bytes()).is_ok());
}

#[test]
fn a_notification_is_read_leniently() {
    let fifty = ReportedAmount::Whole(Rupiah::new(50_000).unwrap());
    let report =
        |status, word: &str, amount| Some(Report { status, word: word.to_owned(), amount, request: None });
    for (order, transaction, expected) in [
        (r#""amount":"50000""#, r"{}", None),
        (r#""x":1"#, r#"{"status":"SUCCESS"}"#, None),
        (r#""amount":null"#, r#"{"status":"SUCCESS"}"#, None),
        (r#""amount":50000"#, r#"{"status":""}"#, None),
        (r#""amount":50000"#, r#"["SUCCESS"]"#, None),
        (
            r#""amount":"50000.50""#,
            r#"{"status":"SUCCESS"}"#,
            report(ReportedStatus::Success, "SUCCESS", ReportedAmount::Other),
        ),
        (
            r#""amount":50000.00"#,
            r#"{"status":"Refunded","date":7}"#,
            report(ReportedStatus::Refunded, "Refunded", fifty),
        ),
        (
            r#""amount":50000,"new":{}"#,
            r#"{"status":"BREWING","new":[]}"#,
            report(ReportedStatus::NotFinal, "BREWING", fifty),
        ),
    ] {
        let body = format!(
            r#"{{"channel":7,"order":{{"invoice_number":"INV/1",{order}}},"transaction":{transaction}}}"#
        );
        let read = read("R-1", body.as_bytes()).unwrap();
        assert_eq!((read.invoice_number.as_str(), read.request_id.as_str()), ("INV/1", "R-1"), "{body}");
        assert_eq!(read.report(), expected, "{body}");
    }
}

#[test]
fn an_amount_is_kept_so_that_it_reads_as_what_it_was() {
    let endless = format!("50000.{}1", "0".repeat(1000));
    for (written, expected) in [
        ("50000.00", "50000"),
        ("050000", "50000"),
        ("50000.5", "50000.5"),
        ("-1", "-1"),
        ("fifty", "fifty"),
        ("Astari 0812", NO_NUMBER),
    ] {
        assert_eq!(kept_amount(written), expected);
    }
    assert_eq!(
        ReportedAmount::read(&kept_amount(&endless)),
        ReportedAmount::Other,
        "{}",
        kept_amount(&endless)
    );
    assert!(kept_amount(&endless).chars().count() <= AMOUNT_BYTES_MAX + 1);
}

#[test]
fn the_story_reads_what_verifies_and_nothing_else() {
    let verifier = verifier();
    let good = headers("MCH-1", &signature("MCH-1", "SK-1", "/payments/notifications", BODY));
    let verified = verifier.verify(&good, BODY).unwrap();
    assert_eq!(verified.by, SignedBy::Merchant(MerchantName::default_account()));
    assert_eq!(verifier.read(&verified).map(|read| read.invoice_number), Some("INV-1".to_owned()));
    assert_eq!(verifier.report_of(&verified), ReportOf::Order);
    let forged = headers("MCH-1", &signature("MCH-1", "SK-2", "/payments/notifications", BODY));
    assert_eq!(verifier.verify(&forged, BODY), Err(NotAuthentic::SignatureWrong));
    assert_eq!(verifier.read(&Verified { body: b"{}".as_slice().into(), ..verified }), None);
}

/// Hashing the body is most of the work, and it is done for a Client-Id that nobody has too.
#[test]
fn an_unknown_client_id_takes_as_long_as_a_known_one() {
    let verifier = verifier();
    let body = vec![b' '; 256 * 1024];
    let took = |client_id: &str| {
        let headers = headers(client_id, &signature("MCH-3", "SK-3", "/payments/notifications", BODY));
        let started = std::time::Instant::now();
        assert!(verifier.verify(&headers, &body).is_err());
        started.elapsed()
    };
    let mut rounds: Vec<_> = (0..21).map(|_| (took("MCH-1"), took("MCH-2"), took("MCH-9"))).collect();
    let mut middle = |which: fn(&(Duration, Duration, Duration)) -> Duration| {
        rounds.sort_by_key(which);
        which(&rounds[rounds.len() / 2])
    };
    let (known, other, unknown) = (middle(|r| r.0), middle(|r| r.1), middle(|r| r.2));
    assert!(unknown * 2 > known && unknown * 2 > other, "{unknown:?} of {known:?} and {other:?}");
}

#[test]
fn a_signature_by_the_key_of_nobody_is_nobodys() {
    let signed = signature("MCH-9", "nobody", "/payments/notifications", BODY);
    assert_eq!(verify("MCH-9", &signed), Err(NotAuthentic::ClientIdUnknown));
}

//! Whatever DOKU, or somebody in its place, answers or notifies: nothing panics, and what cannot be
//! understood decides nothing.

use super::{
    account::Accounts,
    answer::{self, Answer, Authenticity, OwnRequest, RETRY_AFTER_MAX},
    classify::{classify_inquiry, classify_send},
    notification::{self, Verifier},
    signature::AccountKeys,
    snap,
};
use crate::flow::ports::NotificationReader;
use crate::{
    config::ResponseSignature,
    domain::{
        command::{CommandKind, StoredRequest},
        finding::{DokuError, DokuHealth, InquiryFindingKind, ReportedStatus, SendFindingKind},
        ids::{InvoiceNumber, MerchantName, RequestId},
        money::{ReportedAmount, Rupiah},
        mutation_tests::mutated,
        signed::{JeniusHeaders, SignedHeaders, SnapHeaders},
    },
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::{Value, value::RawValue};
use std::{collections::BTreeMap, time::Duration};

const AMOUNT: u64 = 50_000;

fn request(kind: CommandKind) -> StoredRequest {
    StoredRequest {
        merchant: MerchantName::default_account(),
        kind,
        invoice_number: InvoiceNumber::parse("INV-1").unwrap(),
        amount: Rupiah::new(AMOUNT).unwrap(),
        request_id: RequestId::parse("INV-1").unwrap(),
        client_id: "MCH-1".to_owned(),
        base_url: "https://doku.example".to_owned(),
        body: br#"{"customer":{"name":"Astari","phone":"081288910205","email":"Astari@doku.com"}}"#.to_vec(),
        payment_body: Vec::new(),
    }
}

fn bodies() -> Vec<Vec<u8>> {
    [
        r#"{"order":{"invoice_number":"INV-1","amount":"50000"},"internet_banking_payment":{"status":"SUCCESS"}}"#,
        r#"{"order":{"invoice_number":"INV-1","amount":50000.00},"internet_banking_payment":{"status":"FAILED"}}"#,
        r#"{"order":{"invoice_number":"INV-1","amount":"50000"},"transaction":{"status":"SUCCESS","date":"2026-01-02T03:04:05Z"}}"#,
        r#"{"order":{"invoice_number":"INV-1","amount":"50000"},"transaction":{"status":"EXPIRED"}}"#,
        r#"{"error":{"code":"invalid_amount","message":"Astari (081288910205) may not","type":"x"}}"#,
        r#"{"error":{"code":"data_not_found","message":"Order not found"}}"#,
        r#"{"error":{"code":"invalid_signature","message":"Invalid"}}"#,
        r#"{"message":["SUCCESS"],"response":{"order":{}}}"#,
        r#"{"error_messages":["cash tag not found","of Astari@doku.com"]}"#,
        "<html><body>Bad Gateway</body></html>",
    ]
    .map(|body| body.as_bytes().to_vec())
    .to_vec()
}

fn snap_bodies() -> Vec<Vec<u8>> {
    [
        r#"{ "originalPartnerReferenceNo": "INV-1", "originalReferenceNo": "70", "latestTransactionStatus": "00",
             "amount": {"value": "50000.00", "currency": "IDR"}, "additionalInfo": {"channelId": "EMONEY_JENIUS_SNAP"} }"#,
        r#"{"originalPartnerReferenceNo":"INV-1","latestTransactionStatus":"06","amount":{"value":"1","currency":"USD"}}"#,
        r#"{"trxId":"INV-1","paymentRequestId":"4180","virtualAccountNo":"19008","paidAmount":{"value":"150000.00"}}"#,
    ]
    .map(|body| body.as_bytes().to_vec())
    .to_vec()
}

fn statuses() -> impl Strategy<Value = u16> {
    let usual = vec![200_u16, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503];
    prop_oneof![3 => prop::sample::select(usual), 1 => any::<u16>()]
}

fn answers() -> impl Strategy<Value = Answer> {
    let authenticity = [Authenticity::Signed, Authenticity::Unsigned, Authenticity::Wrong];
    let body = prop::option::weighted(0.9, mutated(bodies()));
    (statuses(), prop::sample::select(authenticity.to_vec()), body).prop_map(
        |(status, authenticity, body)| Answer {
            status,
            authenticity,
            time: None,
            retry_after: None,
            body: body.map(Bytes::from),
        },
    )
}

/// By another reader than the product's: the last of two equal members is what this one sees.
fn parsed(answer: &Answer) -> Option<Value> {
    lenient(answer.body.as_deref()?)
}

/// What a `Value` cannot hold, as 1e999 or half a surrogate pair, spoils only its own member, as it does
/// for the product: DOKU's bodies have members that nobody reads.
fn lenient(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().or_else(|| {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
        let read = |raw: Box<RawValue>| lenient(raw.get().as_bytes()).unwrap_or_default();
        Some(members.into_iter().map(|(name, raw)| (name, read(raw))).collect())
    })
}

fn names_our_order(answer: &Answer) -> bool {
    let Some(body) = parsed(answer) else { return false };
    let amount = match &body["order"]["amount"] {
        Value::String(text) => text.split('.').next().and_then(|whole| whole.parse().ok()),
        number => number
            .as_f64()
            .filter(|n| n.fract() == 0.0)
            .map(|n| format!("{n:.0}"))
            .and_then(|n| n.parse().ok()),
    };
    body["order"]["invoice_number"] == "INV-1" && amount == Some(AMOUNT)
}

fn is_clean(text: &str) -> bool {
    let lower = text.to_lowercase();
    text.chars().count() <= 512
        && !text.contains(char::is_control)
        && ["astari", "081288910205"].iter().all(|canary| !lower.contains(canary))
}

proptest! {
    #[test]
    fn a_send_is_decided_only_by_what_is_understood(
        answer in answers(),
        kind in prop::sample::select(CommandKind::ALL.to_vec()),
        tls_only in any::<bool>(),
    ) {
        let mode = if tls_only { ResponseSignature::TlsOnly } else { ResponseSignature::Required };
        let learned = classify_send(&request(kind), &answer, mode);
        let believed = answer.authenticity == Authenticity::Signed
            || (tls_only && answer.authenticity == Authenticity::Unsigned);
        match learned.kind {
            SendFindingKind::Accepted { status } | SendFindingKind::Failed { status } => {
                prop_assert!(matches!(answer.status, 200 | 409) && believed && is_clean(&status));
                prop_assert!(names_our_order(&answer), "{:?}", answer.body);
                let status = status.to_lowercase();
                prop_assert!(["pending", "success", "failed", "refund", "refunded"].contains(&&*status));
            }
            SendFindingKind::Declined(DokuError { code, message }) => {
                prop_assert!((400..500).contains(&answer.status));
                let refunds_are_off = kind == CommandKind::Refund && matches!(answer.status, 403 | 405);
                prop_assert!(refunds_are_off || ![401, 403, 405, 408, 409, 413, 429].contains(&answer.status));
                prop_assert!(parsed(&answer).is_some_and(|body| body.is_object()), "{:?}", answer.body);
                prop_assert!(answer.authenticity != Authenticity::Wrong);
                prop_assert!(is_clean(&code) && is_clean(&message) && !code.is_empty(), "{} {}", code, message);
            }
            SendFindingKind::NotActed { why } => {
                prop_assert!((400..500).contains(&answer.status) && is_clean(&why));
                let as_it_should = match learned.health {
                    DokuHealth::KeyRefused | DokuHealth::OrderRefused => true,
                    DokuHealth::AccountUnwell => answer.status == 429,
                    DokuHealth::Well | DokuHealth::Unwell => false,
                };
                prop_assert!(as_it_should, "{:?}", learned.health);
            }
            SendFindingKind::Contradiction { .. } => prop_assert!(believed && parsed(&answer).is_some()),
            SendFindingKind::InDoubt { why } => prop_assert!(is_clean(&why), "{}", why),
        }
    }

    #[test]
    fn an_inquiry_teaches_only_what_is_understood(answer in answers()) {
        let invoice = InvoiceNumber::parse("INV-1").unwrap();
        let learned = classify_inquiry(&invoice, &answer);
        let failed = matches!(learned.kind, InquiryFindingKind::Failed { .. });
        prop_assert!(failed || answer.authenticity != Authenticity::Wrong);
        match learned.kind {
            InquiryFindingKind::Reported(report) => {
                let body = parsed(&answer).unwrap();
                prop_assert!(answer.status == 200 && body["order"]["invoice_number"] == "INV-1");
                prop_assert!(report.word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_'));
                prop_assert!(report.amount == ReportedAmount::Other || !body["order"]["amount"].is_null());
            }
            InquiryFindingKind::NotFound { proves } => {
                prop_assert!([200, 400, 404, 422].contains(&answer.status));
                prop_assert!(!proves || answer.authenticity == Authenticity::Signed);
            }
            InquiryFindingKind::Failed { why } => prop_assert!(is_clean(&why)),
        }
    }

    #[test]
    fn no_header_of_an_answer_makes_it_signed_or_waits_for_ever(
        body in mutated(bodies()),
        signature in prop_oneof!["HMACSHA256=[A-Za-z0-9+/=]{0,60}", "\\PC{0,40}"],
        time in prop_oneof!["[-+0-9]{1,7}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[-+][0-9]{2}:[0-9]{2})", "\\PC{0,30}"],
        retry_after in prop_oneof![
            "[0-9]{1,40}", "-?[0-9.e]{1,9}", "(Mon|Sun), [0-9]{2} (Jan|Nov) [0-9]{1,6} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|[-+][0-9]{4})", "\\PC{0,30}",
        ],
        status in 100_u16..1000,
    ) {
        let mut response = axum::http::Response::builder().status(status);
        for (name, value) in [("Signature", signature), ("Response-Timestamp", time), ("Retry-After", retry_after)] {
            if let Ok(value) = axum::http::HeaderValue::from_bytes(value.as_bytes()) {
                response = response.header(name, value);
            }
        }
        let response = reqwest::Response::from(response.body(body).unwrap());
        let _ = answer::response_time(response.headers());
        let keys = AccountKeys { current: "SK-1".into(), previous: vec!["SK-0".into()] };
        let merchant = MerchantName::default_account();
        let asked = OwnRequest {
            merchant: &merchant, keys: &keys, client_id: "MCH-1", request_id: "R", target: "/x", is_get: true,
        };
        let now = DateTime::<Utc>::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let answer = answer::read(response, asked, now).now_or_never().unwrap();
        prop_assert!(answer.authenticity != Authenticity::Signed);
        prop_assert!(answer.retry_after.is_none_or(|wait| wait <= RETRY_AFTER_MAX));
    }

    #[test]
    fn a_notification_is_read_within_its_bounds_or_not_at_all(body in mutated(bodies())) {
        let Ok(read) = notification::read("R-1", &body) else { return Ok(()) };
        prop_assert!(lenient(&body).is_some_and(|read| read.is_object()), "{:?}", body);
        prop_assert!((1..=128).contains(&read.invoice_number.chars().count()));
        prop_assert!(!read.invoice_number.contains(char::is_control));
        for text in [&read.status, &read.amount].into_iter().flatten() {
            prop_assert!((1..=70).contains(&text.len()) && !text.contains(char::is_control), "{}", text);
        }
    }

    #[test]
    fn a_snap_notification_is_read_within_its_bounds_or_not_at_all(body in mutated(snap_bodies())) {
        let Ok(read) = snap::body::read("70", &body) else { return Ok(()) };
        prop_assert!(lenient(&body).is_some_and(|read| read.is_object()), "{:?}", body);
        prop_assert!((1..=128).contains(&read.invoice_number.chars().count()));
        let texts = [&read.status, &read.amount, &read.request];
        for text in texts.into_iter().flatten().chain([&read.invoice_number]) {
            prop_assert!(text.chars().count() <= 130 && !text.contains(char::is_control), "{}", text);
        }
        // Success, and what else is final, come from the codes of the table alone, or from a virtual account's shape.
        let parsed = lenient(&body).unwrap_or_default();
        let is_final = read.report().is_some_and(|report| report.status != ReportedStatus::NotFinal);
        let codes = ["00", "04", "05", "06", "08", "09"];
        let is_in_table = codes.iter().any(|code| parsed["latestTransactionStatus"] == *code);
        prop_assert!(!is_final || is_in_table || snap::body::is_of_virtual_account(&body), "{:?}", body);
    }

    #[test]
    fn nobody_elses_notification_verifies(
        body in mutated(bodies()),
        headers in prop::array::uniform4(prop_oneof![
            "\\PC{0,60}", "MCH-1", "HMACSHA256=[A-Za-z0-9+/=]{0,60}", "[A-Za-z0-9+/]{86}==", "[A-Za-z0-9+/]{342}=="
        ]),
    ) {
        let [client_id, request_id, timestamp, signature] = headers;
        let snap = SnapHeaders {
            partner_id: client_id.clone(),
            timestamp: timestamp.clone(),
            signature: signature.clone(),
            authorization: Some(request_id.clone()),
            external_id: None,
        };
        let own = JeniusHeaders { client_id, request_id, timestamp, signature };
        let merchant = crate::config::MerchantConfig {
            client_id: "MCH-1".to_owned(), secret_key: "SK-1".into(), previous_secret_keys: vec!["SK-0".into()],
        };
        let accounts = Accounts::new(&[(MerchantName::default_account(), merchant)].into());
        let verifier = Verifier::new(accounts, vec!["/x".to_owned(), "/y".to_owned()]);
        for headers in [SignedHeaders::Jenius(own), SignedHeaders::Snap(snap)] {
            prop_assert!(verifier.verify(&headers, &body).is_err());
        }
    }
}

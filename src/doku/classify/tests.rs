//! Every row of what DOKU may answer, errors first.

use super::*;
use crate::domain::{
    ids::{MerchantName, RequestId},
    money::{ReportedAmount, Rupiah},
};
use Authenticity::{Signed, Unsigned, Wrong};
use CommandKind::{Payment, Refund};
use DokuHealth::{AccountUnwell, KeyRefused, OrderRefused, Unwell, Well};
use ResponseSignature::{Required, TlsOnly};
use bytes::Bytes;
use std::time::Duration;

fn request(kind: CommandKind) -> StoredRequest {
    StoredRequest {
        merchant: MerchantName::default_account(),
        kind,
        invoice_number: InvoiceNumber::parse("INV-1").unwrap(),
        amount: Rupiah::new(50_000).unwrap(),
        request_id: RequestId::parse("INV-1").unwrap(),
        client_id: "MCH-1".to_owned(),
        base_url: "https://doku.example".to_owned(),
        body: br#"{"customer":{"email":"a@b.example"}}"#.to_vec(),
        payment_body: Vec::new(),
    }
}

fn answer(status: u16, authenticity: Authenticity, body: &str) -> Answer {
    let body = Some(Bytes::copy_from_slice(body.as_bytes()));
    Answer { status, authenticity, time: None, retry_after: None, body }
}

fn says(invoice: &str, amount: &str, status: &str) -> String {
    format!(
        r#"{{"order":{{"invoice_number":"{invoice}","amount":{amount}}},"internet_banking_payment":{{"status":"{status}"}}}}"#
    )
}

fn ours(status: &str) -> String {
    says("INV-1", "\"50000\"", status)
}

/// The finding in a word.
fn word(learned: &SendFinding) -> String {
    match &learned.kind {
        SendFindingKind::Accepted { status } => format!("accepted {status}"),
        SendFindingKind::Failed { status } => format!("failed {status}"),
        SendFindingKind::Declined(error) => format!("declined {}: {}", error.code, error.message),
        SendFindingKind::NotActed { .. } => "not acted".to_owned(),
        SendFindingKind::InDoubt { .. } => "in doubt".to_owned(),
        SendFindingKind::Contradiction { .. } => "contradiction".to_owned(),
    }
}

const GATEWAY: &str = r#"{"timestamp":"2026-01-02","status":404,"error":"Not Found","path":"/x"}"#;
const HTML: &str = "<html><body>Forbidden</body></html>";
const ERROR: &str = r#"{"error":{"code":"invalid_amount","message":"Amount is wrong","type":"x"}}"#;
const WRAPPED: &str = r#"{"message":["SUCCESS"],"response":{"order":{"invoice_number":"INV-1"}}}"#;

#[test]
fn statuses_that_speak_for_themselves() {
    for body in ["", HTML, GATEWAY, ERROR, WRAPPED, &ours("SUCCESS"), &ours("FAILED")] {
        for authenticity in [Signed, Unsigned, Wrong] {
            for (status, finding, health) in [
                (100, "in doubt", Unwell),
                (201, "in doubt", Unwell),
                (202, "in doubt", Unwell),
                (204, "in doubt", Unwell),
                (302, "in doubt", Unwell),
                (307, "in doubt", Unwell),
                (401, "not acted", KeyRefused),
                (403, "not acted", OrderRefused),
                (405, "not acted", OrderRefused),
                (408, "in doubt", Unwell),
                (413, "not acted", OrderRefused),
                (429, "not acted", AccountUnwell),
                (500, "in doubt", Unwell),
                (502, "in doubt", Unwell),
                (503, "in doubt", Unwell),
                (504, "in doubt", Unwell),
                (599, "in doubt", Unwell),
                (600, "in doubt", Unwell),
            ] {
                let learned = classify_send(&request(Payment), &answer(status, authenticity, body), TlsOnly);
                assert_eq!(
                    (word(&learned).as_str(), learned.health, learned.http_status),
                    (finding, health, Some(status)),
                    "{status} {authenticity:?} {body}"
                );
            }
        }
    }
}

#[test]
fn errors_of_a_send() {
    let key = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
    let table: &[(u16, Authenticity, &str, &str, DokuHealth)] = &[
        // A route or a firewall in between.
        (400, Unsigned, "", "not acted", OrderRefused),
        (400, Unsigned, HTML, "not acted", OrderRefused),
        (404, Unsigned, GATEWAY, "not acted", OrderRefused),
        (404, Unsigned, r#"{"message":"no Route matched"}"#, "not acted", OrderRefused),
        (422, Unsigned, "{}", "not acted", OrderRefused),
        (418, Wrong, HTML, "not acted", OrderRefused),
        // The key, the clock, the headers: a wrong key of ours makes their signature look wrong.
        (400, Unsigned, &key("invalid_signature"), "not acted", KeyRefused),
        (400, Wrong, &key("invalid_signature"), "not acted", KeyRefused),
        (400, Unsigned, &key("INVALID_CLIENT_ID"), "not acted", KeyRefused),
        (400, Unsigned, r#"{"message":["INVALID CLIENT ID","INVALID SIGNATURE"]}"#, "not acted", KeyRefused),
        (400, Unsigned, r#"{"message":["bad","DUPLICATE TRANSACTION"]}"#, "in doubt", Well),
        (400, Unsigned, &key("invalid_header_request"), "not acted", KeyRefused),
        (400, Signed, &key("request_time_out_of_range"), "not acted", KeyRefused),
        (404, Unsigned, &key("invalid_client_id"), "not acted", KeyRefused),
        (400, Unsigned, r#"{"message":["Invalid Signature"]}"#, "not acted", KeyRefused),
        (403, Unsigned, r#"{"status":"FAILED","response_code":"INVALID_TOKEN"}"#, "not acted", KeyRefused),
        (403, Unsigned, HTML, "not acted", OrderRefused),
        (413, Unsigned, r#"{"status":"FAILED","response_code":"X"}"#, "not acted", OrderRefused),
        (
            422,
            Unsigned,
            r#"{"status":"FAILED","response_code":"VALIDATION_ERROR"}"#,
            "declined VALIDATION_ERROR: ",
            Well,
        ),
        (422, Unsigned, r#"{"status":"OK","response_code":"VALIDATION_ERROR"}"#, "not acted", OrderRefused),
        (400, Unsigned, r#"{"error_messages":["INVALID CLIENT-ID"]}"#, "not acted", KeyRefused),
        // DOKU knows the request already, whatever number it writes before it.
        (400, Signed, &key("idempotent_request"), "in doubt", Well),
        (400, Signed, r#"{"message":["DUPLICATE_TRANSACTION"]}"#, "in doubt", Well),
        // Nobody knows whose it is, or what it means.
        (400, Signed, r#"{"error":{"code":"inv"#, "in doubt", Unwell),
        (400, Signed, WRAPPED, "in doubt", Unwell),
        (400, Signed, &ours("SUCCESS"), "in doubt", Unwell),
        (400, Wrong, ERROR, "in doubt", AccountUnwell),
        // An error of DOKU's own; it may come unsigned.
        (400, Unsigned, ERROR, "declined invalid_amount: Amount is wrong", Well),
        (422, Signed, ERROR, "declined invalid_amount: Amount is wrong", Well),
        (404, Unsigned, r#"{"error":{"code":"order_unknown"}}"#, "declined order_unknown: ", Well),
        (400, Unsigned, r#"{"message":["A","B"]}"#, "declined http_400: A; B", Well),
        (400, Unsigned, r#"{"error_messages":["A"]}"#, "declined http_400: A", Well),
        (
            400,
            Unsigned,
            r#"{"error":{"code":"bad","message":"a@b.example is no address"}}"#,
            "declined bad: *** is no address",
            Well,
        ),
    ];
    for (status, authenticity, body, finding, health) in table {
        for mode in [Required, TlsOnly] {
            for kind in [Payment, Refund] {
                let learned = classify_send(&request(kind), &answer(*status, *authenticity, body), mode);
                assert_eq!(
                    (word(&learned).as_str(), learned.health),
                    (*finding, *health),
                    "{status} {authenticity:?} {body}"
                );
            }
        }
    }
}

#[test]
fn answers_to_a_send() {
    let other_invoice = says("INV-2", "\"50000\"", "SUCCESS");
    let other_amount = says("INV-1", "50001", "SUCCESS");
    let fraction = says("INV-1", "50000.50", "SUCCESS");
    let decimal = says("INV-1", "50000.00", "SUCCESS");
    let no_amount = r#"{"order":{"invoice_number":"INV-1"},"internet_banking_payment":{"status":"SUCCESS"}}"#;
    let cut = &ours("SUCCESS")[..60];
    let s = ours;
    let table: &[(u16, CommandKind, Authenticity, &str, &str, DokuHealth)] = &[
        (200, Payment, Signed, "", "in doubt", Unwell),
        (200, Payment, Signed, HTML, "in doubt", Unwell),
        (200, Payment, Signed, cut, "in doubt", Unwell),
        (200, Payment, Signed, ERROR, "in doubt", Unwell),
        (200, Payment, Signed, WRAPPED, "in doubt", Unwell),
        (200, Payment, Signed, no_amount, "in doubt", Unwell),
        (200, Payment, Unsigned, &s("SUCCESS"), "in doubt", AccountUnwell),
        (200, Payment, Wrong, &s("SUCCESS"), "in doubt", AccountUnwell),
        (200, Payment, Wrong, &s("FAILED"), "in doubt", AccountUnwell),
        (200, Payment, Unsigned, &other_amount, "in doubt", AccountUnwell),
        (200, Payment, Signed, &other_invoice, "contradiction", Well),
        (200, Payment, Signed, &other_amount, "contradiction", Well),
        (200, Refund, Signed, &fraction, "contradiction", Well),
        (200, Payment, Signed, &s("BREWING"), "in doubt", Well),
        (200, Payment, Signed, &s("EXPIRED"), "in doubt", Well),
        (200, Payment, Signed, &s("REFUND"), "in doubt", Well),
        (200, Payment, Signed, &s("Refunded"), "in doubt", Well),
        (200, Refund, Signed, &s("PENDING"), "in doubt", Well),
        (200, Payment, Signed, &s("Failed"), "failed Failed", Well),
        (200, Refund, Signed, &s("FAILED"), "failed FAILED", Well),
        (200, Payment, Signed, &s("PENDING"), "accepted PENDING", Well),
        (200, Payment, Signed, &s("success"), "accepted success", Well),
        (200, Payment, Signed, &decimal, "accepted SUCCESS", Well),
        (200, Refund, Signed, &s("SUCCESS"), "accepted SUCCESS", Well),
        (200, Refund, Signed, &s("REFUNDED"), "accepted REFUNDED", Well),
        (409, Payment, Signed, "", "in doubt", Well),
        (409, Payment, Unsigned, r#"{"error":{"code":"idempotent_request"}}"#, "in doubt", Well),
        (409, Payment, Signed, r#"{"message":["DUPLICATE_TRANSACTION"]}"#, "in doubt", Well),
        (409, Payment, Unsigned, HTML, "in doubt", Well),
        (409, Payment, Unsigned, &s("SUCCESS"), "in doubt", Well),
        (409, Payment, Wrong, &s("SUCCESS"), "in doubt", Well),
        (409, Payment, Signed, &other_invoice, "contradiction", Well),
        (409, Payment, Signed, &other_amount, "contradiction", Well),
        (409, Refund, Signed, &s("PENDING"), "in doubt", Well),
        (409, Payment, Signed, &s("PENDING"), "accepted PENDING", Well),
        (409, Refund, Signed, &s("SUCCESS"), "accepted SUCCESS", Well),
        (409, Refund, Signed, &s("FAILED"), "failed FAILED", Well),
    ];
    for (status, kind, authenticity, body, finding, health) in table {
        let learned = classify_send(&request(*kind), &answer(*status, *authenticity, body), Required);
        let found = (word(&learned), learned.health);
        assert_eq!(found, ((*finding).to_owned(), *health), "{status} {kind:?} {authenticity:?} {body}");
    }
}

#[test]
fn tls_only_believes_an_unsigned_answer_and_never_a_wrongly_signed_one() {
    for (status, authenticity, body, finding) in [
        (200, Wrong, ours("SUCCESS"), "in doubt"),
        (409, Wrong, ours("SUCCESS"), "in doubt"),
        (200, Unsigned, says("INV-2", "50000", "SUCCESS"), "contradiction"),
        (200, Unsigned, ours("SUCCESS"), "accepted SUCCESS"),
        (200, Unsigned, ours("FAILED"), "failed FAILED"),
        (409, Unsigned, ours("PENDING"), "accepted PENDING"),
    ] {
        let learned = classify_send(&request(Payment), &answer(status, authenticity, &body), TlsOnly);
        assert_eq!(word(&learned), finding, "{status} {authenticity:?} {body}");
    }
}

#[test]
fn without_its_body_only_a_refusal_by_status_is_certain() {
    for (status, finding, health) in [
        (200, "in doubt", Unwell),
        (400, "in doubt", Unwell),
        (404, "in doubt", Unwell),
        (409, "in doubt", Well),
        (503, "in doubt", Unwell),
        (401, "not acted", KeyRefused),
        (429, "not acted", AccountUnwell),
    ] {
        let cut = Answer { body: None, ..answer(status, Unsigned, "") };
        let learned = classify_send(&request(Refund), &cut, TlsOnly);
        assert_eq!((word(&learned).as_str(), learned.health), (finding, health), "{status}");
    }
}

#[test]
fn retry_after_is_handed_on() {
    let minute = Some(Duration::from_secs(60));
    for status in [200, 429, 503] {
        let waits = Answer { retry_after: minute, ..answer(status, Signed, "") };
        assert_eq!(classify_send(&request(Payment), &waits, Required).retry_after, minute);
        assert_eq!(classify_inquiry(&request(Payment).invoice_number, &waits).retry_after, minute);
    }
}

#[test]
fn answers_to_an_inquiry() {
    let report = |invoice: &str, amount: &str, status: &str| {
        format!(
            r#"{{"order":{{"invoice_number":"{invoice}","amount":{amount}}},"transaction":{{"status":"{status}"}}}}"#
        )
    };
    let success = report("INV-1", "50000", "SUCCESS");
    let no_amount = r#"{"order":{"invoice_number":"INV-1"},"transaction":{"status":"SUCCESS"}}"#;
    let unknown = r#"{"error":{"code":"data_not_found","message":"x"}}"#;
    let table: &[(u16, Authenticity, &str, &str)] = &[
        (200, Wrong, &success, "failed"),
        (404, Wrong, unknown, "failed"),
        (400, Wrong, unknown, "failed"),
        (200, Signed, "", "failed"),
        (200, Signed, HTML, "failed"),
        (200, Signed, &success[..40], "failed"),
        (200, Signed, no_amount, "failed"),
        (200, Signed, &report("INV-2", "50000", "SUCCESS"), "failed"),
        (200, Signed, ERROR, "failed"),
        (302, Signed, "", "failed"),
        (400, Signed, ERROR, "failed"),
        (401, Unsigned, unknown, "failed"),
        (409, Signed, &success, "failed"),
        (429, Unsigned, "", "failed"),
        (500, Signed, unknown, "failed"),
        (503, Unsigned, HTML, "failed"),
        (404, Unsigned, "", "not found"),
        (404, Unsigned, GATEWAY, "not found"),
        (404, Signed, unknown, "not found, proven"),
        (404, Signed, "", "not found, proven"),
        (400, Unsigned, unknown, "not found"),
        (400, Signed, unknown, "not found, proven"),
        (200, Signed, r#"{"message":["TRANSACTION NOT FOUND"]}"#, "not found, proven"),
        (200, Unsigned, &success, "Success SUCCESS"),
        (200, Signed, &success, "Success SUCCESS"),
        (200, Signed, &report("INV-1", "50000", "failed"), "Failed failed"),
        (200, Signed, &report("INV-1", "50000", "EXPIRED"), "Expired EXPIRED"),
        (200, Signed, &report("INV-1", "50000", "REFUND"), "Refunded REFUND"),
        (200, Signed, &report("INV-1", "50000", "Refunded"), "Refunded Refunded"),
        (200, Signed, &report("INV-1", "50000", "TIMEOUT"), "NotFinal TIMEOUT"),
        (200, Signed, &report("INV-1", "50000", "BREWING"), "NotFinal BREWING"),
    ];
    let invoice = InvoiceNumber::parse("INV-1").unwrap();
    for (status, authenticity, body, expected) in table {
        let learned = classify_inquiry(&invoice, &answer(*status, *authenticity, body));
        let found = match learned.kind {
            InquiryFindingKind::Failed { .. } => "failed".to_owned(),
            InquiryFindingKind::NotFound { proves: true } => "not found, proven".to_owned(),
            InquiryFindingKind::NotFound { proves: false } => "not found".to_owned(),
            InquiryFindingKind::Reported(report) => format!("{:?} {}", report.status, report.word),
        };
        assert_eq!(found, *expected, "{status} {authenticity:?} {body}");
    }
}

#[test]
fn a_not_found_for_a_number_that_needs_encoding_proves_nothing() {
    let invoice = InvoiceNumber::parse("INV/2026/001").unwrap();
    let learned = classify_inquiry(&invoice, &answer(404, Signed, ""));
    assert_eq!(learned.kind, InquiryFindingKind::NotFound { proves: false });
}

#[test]
fn an_inquiry_hands_on_the_amount_as_it_is() {
    let body = r#"{"order":{"invoice_number":"INV-1","amount":"1"},"transaction":{"status":"SUCCESS"}}"#;
    let learned = classify_inquiry(&InvoiceNumber::parse("INV-1").unwrap(), &answer(200, Signed, body));
    let InquiryFindingKind::Reported(report) = learned.kind else { panic!("{learned:?}") };
    assert_eq!(report.amount, ReportedAmount::Whole(Rupiah::new(1).unwrap()));
}

#[test]
fn a_status_of_another_question_is_named_as_such() {
    for (kind, status) in [(Payment, "REFUND"), (Payment, "refunded"), (Refund, "PENDING")] {
        let learned = classify_send(&request(kind), &answer(200, Signed, &ours(status)), Required);
        let why = format!("status {status} does not answer a {}", kind.name());
        assert_eq!(learned.kind, SendFindingKind::InDoubt { why });
    }
}

#[test]
fn a_status_that_doku_does_not_document_is_told() {
    let report = |status: &str| ours(status).replace("internet_banking_payment", "transaction");
    for (status, in_answer, in_report) in [
        ("Success", false, false),
        ("REFUNDED", false, false),
        ("EXPIRED", true, false),
        ("TIMEOUT", true, false),
        ("BREWING", true, true),
    ] {
        let told = |unknown: bool| unknown.then(|| status.to_owned());
        let sent = answer(200, Signed, &ours(status));
        assert_eq!(unknown_word(&sent, StatusIn::Answer), told(in_answer), "{status}");
        let asked = answer(200, Signed, &report(status));
        assert_eq!(unknown_word(&asked, StatusIn::Report), told(in_report), "{status}");
    }
}

/// An account may have the refund call switched off: DOKU declines it in its own words, and that says nothing of payments.
#[test]
fn a_refund_that_doku_itself_forbids_is_declined_and_stops_no_other_send() {
    let forbidden = r#"{"error":{"code":"refund_not_allowed","message":"No refunds for this account"}}"#;
    let declined = || {
        let (code, message) = ("refund_not_allowed".to_owned(), "No refunds for this account".to_owned());
        SendFindingKind::Declined(DokuError { code, message })
    };
    let not_acted = |why: &str| SendFindingKind::NotActed { why: why.to_owned() };
    let bad_key = r#"{"error":{"code":"invalid_signature","message":"m"}}"#;
    for (kind, status, authenticity, body, expected, health) in [
        (Refund, 403, Unsigned, forbidden, declined(), Well),
        (Refund, 405, Unsigned, forbidden, declined(), Well),
        (Refund, 403, Wrong, forbidden, not_acted("HTTP 403"), OrderRefused),
        (Payment, 403, Unsigned, forbidden, not_acted("HTTP 403"), OrderRefused),
        (Refund, 403, Unsigned, HTML, not_acted("HTTP 403"), OrderRefused),
        (Refund, 403, Unsigned, bad_key, not_acted("HTTP 403: invalid_signature"), KeyRefused),
    ] {
        let learned = classify_send(&request(kind), &answer(status, authenticity, body), TlsOnly);
        assert_eq!((learned.kind, learned.health), (expected, health), "{kind:?} {status} {body}");
    }
}

//! What DOKU does with well-behaved and ill-behaved requests when nobody asks it to misbehave.

use super::client::payment_body;
use super::*;

#[tokio::test]
async fn a_payment_is_charged_once_and_its_repetition_gets_the_same_body_as_409() {
    let (sandbox, client) = sandbox(|_| {}).await;
    let first = client.pay("INV-1", "$admin").await.unwrap();
    let again = client.pay("INV-1", "$admin").await.unwrap();
    assert_eq!((first.status, again.status), (200, 409));
    assert_eq!(
        first.text(),
        r#"{"order":{"invoice_number":"INV-1","amount":"50000"},"internet_banking_payment":{"status":"SUCCESS"}}"#
    );
    assert_eq!(first.body, again.body);
    assert!(client.trusts(&first, true) && client.trusts(&again, true));
    let ledger = sandbox.ledger();
    assert_eq!((ledger.charges_of("INV-1").count(), ledger.sends_of("INV-1").count()), (1, 2));
    assert_eq!(ledger.distinct_bodies_of("INV-1"), 1);
    assert_eq!(ledger.requests.iter().filter(|request| request.acted).count(), 1);
}

#[tokio::test]
async fn the_same_request_id_with_another_body_is_refused_and_shows_in_the_ledger() {
    let (sandbox, client) = sandbox(|_| {}).await;
    client.pay("INV-1", "$admin").await.unwrap();
    let other = client.pay("INV-1", "$other").await.unwrap();
    assert_eq!((other.status, other.at("/error/code").as_str()), (409, "idempotent_request"));
    assert_eq!(sandbox.ledger().distinct_bodies_of("INV-1"), 2);
    sandbox.seed_paid(CLIENT_ID, "INV-2", 50000);
    let used = client.pay("INV-2", "$admin").await.unwrap();
    assert_eq!((used.status, used.at("/error/code").as_str()), (409, "DUPLICATE_TRANSACTION"));
}

#[tokio::test]
async fn a_hundred_concurrent_payments_of_one_invoice_are_one_charge() {
    let (sandbox, client) = sandbox(|_| {}).await;
    let sends = (0..100).map(|_| client.pay("INV-1", "$admin"));
    let replies = futures_util::future::join_all(sends).await;
    let first = replies.iter().filter(|reply| reply.as_ref().unwrap().status == 200).count();
    assert_eq!((first, sandbox.ledger().charges.len()), (1, 1));
}

#[tokio::test]
async fn a_request_that_is_not_the_merchants_is_refused_and_counted() {
    let (sandbox, client) = sandbox(|_| {}).await;
    let refusals = [
        (Client::new(&sandbox, "MCH-9", SECRET_KEY), "invalid_client_id"),
        (Client::new(&sandbox, CLIENT_ID, "SK-2"), "invalid_signature"),
    ];
    for (wrong, code) in refusals {
        let reply = wrong.pay("INV-1", "$admin").await.unwrap();
        assert_eq!((reply.status, reply.at("/error/code").as_str()), (400, code));
    }
    sandbox.set_faults(Faults { clock_offset_s: 3700, ..Faults::default() }).unwrap();
    let late = client.pay("INV-1", "$admin").await.unwrap();
    assert_eq!(late.at("/error/code"), "request_time_out_of_range");
    let bare = client.control(PAYMENT_PATH, Some("{}")).await;
    assert_eq!(bare.at("/error/code"), "invalid_header_request");
    let ledger = sandbox.ledger();
    assert!(ledger.charges.is_empty() && ledger.requests.is_empty());
    assert_eq!(ledger.refused.values().sum::<u64>(), 4);
}

#[tokio::test]
async fn a_body_against_the_rules_is_told_why_and_charges_nothing() {
    let (sandbox, client) = sandbox(|_| {}).await;
    let other_id = client.post(PAYMENT_PATH, "R-1", payment_body("INV-1", "$admin")).await.unwrap();
    assert_eq!(other_id.status, 400);
    assert_eq!(other_id.at("/message/0"), "order.invoice_number must be same with Request-Id");
    let cut = client.post(PAYMENT_PATH, "R-2", r#"{"order":"#.into()).await.unwrap();
    assert_eq!(cut.status, 400);
    assert!(sandbox.ledger().charges.is_empty());
    assert_eq!(sandbox.ledger().requests.len(), 2);
}

#[tokio::test]
async fn merchants_do_not_see_each_others_orders() {
    let (sandbox, client) = sandbox(|_| {}).await;
    let neighbour = Client::new(&sandbox, "MCH-2", "SK-2");
    client.pay("INV-1", "$admin").await.unwrap();
    assert_eq!(neighbour.check("INV-1").await.unwrap().status, 404);
    assert_eq!(neighbour.pay("INV-1", "$admin").await.unwrap().status, 200);
    assert_eq!(sandbox.ledger().charges_of("INV-1").count(), 2);
}

#[tokio::test]
async fn check_status_follows_the_customer_and_the_refund() {
    let (sandbox, client) = sandbox(|config| config.pay_after_ms = 200).await;
    let unknown = client.check("INV-1").await.unwrap();
    assert_eq!((unknown.status, unknown.at("/error/code").as_str()), (404, "data_not_found"));
    assert!(client.trusts(&unknown, true));
    client.pay("INV-1", "$admin").await.unwrap();
    assert_eq!(client.check("INV-1").await.unwrap().at("/transaction/status"), "PENDING");
    let early = client.refund("R-0", "INV-1", "Cancel Order").await.unwrap();
    assert_eq!((early.status, early.at("/error/code").as_str()), (400, "order_not_paid"));
    until("paid", || status_of(&sandbox, "INV-1") == Some(TransactionStatus::Success)).await;
    let paid = client.check("INV-1").await.unwrap();
    assert!(client.trusts(&paid, true));
    assert_eq!(
        (paid.at("/order/amount"), paid.at("/transaction/status")),
        ("50000".into(), "SUCCESS".into())
    );
    let refund = client.refund("R-1", "INV-1", "Cancel Order").await.unwrap();
    assert_eq!(refund.at("/internet_banking_payment/status"), "SUCCESS");
    for id in ["INV-1", "R-1"] {
        assert_eq!(client.check(id).await.unwrap().at("/transaction/status"), "REFUNDED", "{id}");
    }
}

#[tokio::test]
async fn a_customer_who_is_late_does_not_undo_a_refund() {
    let (sandbox, client) = sandbox(|config| {
        config.pay_after_ms = 200;
        config.notify_url = Some("http://127.0.0.1:9/nobody".into());
    })
    .await;
    client.pay("INV-1", "fails_then_pays").await.unwrap();
    assert!(sandbox.set_status(CLIENT_ID, "INV-1", TransactionStatus::Success));
    assert!(!sandbox.set_status(CLIENT_ID, "INV-2", TransactionStatus::Success));
    assert_eq!(client.refund("R-1", "INV-1", "Cancel Order").await.unwrap().status, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(status_of(&sandbox, "INV-1"), Some(TransactionStatus::Refunded));
    assert!(sandbox.ledger().notifications.is_empty());
}

#[tokio::test]
async fn an_order_is_refunded_once_whatever_request_id_asks() {
    let (sandbox, client) = sandbox(|_| {}).await;
    sandbox.seed_paid(CLIENT_ID, "INV-1", 50000);
    sandbox.seed_paid(CLIENT_ID, "INV-2", 1);
    for (request_id, invoice, status, code) in [
        ("R-1", "INV-1", 200, ""),
        ("R-1", "INV-1", 409, ""),
        ("R-2", "INV-1", 400, "already_refunded"),
        ("R-3", "INV-2", 400, "amount_mismatch"),
        ("R-4", "INV-3", 400, "order_not_found"),
    ] {
        let reply = client.refund(request_id, invoice, "Cancel Order").await.unwrap();
        assert_eq!((reply.status, reply.at("/error/code").as_str()), (status, code), "{request_id}");
    }
    let ledger = sandbox.ledger();
    assert_eq!((ledger.refunds.len(), ledger.refunds_of("INV-1").count()), (1, 1));
    assert_eq!(ledger.request_ids_of(Operation::Refund, "INV-1").len(), 2);
}

#[tokio::test]
async fn an_encoded_invoice_number_is_found_and_its_target_is_verified_as_it_arrived() {
    let (sandbox, client) = sandbox(|_| {}).await;
    sandbox.seed_paid(CLIENT_ID, "INV/2026/001", 50000);
    let found = client.check("INV%2F2026%2F001").await.unwrap();
    assert_eq!((found.status, found.at("/order/invoice_number").as_str()), (200, "INV/2026/001"));
    assert!(client.trusts(&found, true));
    assert_eq!(sandbox.ledger().inquiries_of("INV/2026/001").count(), 1);
}

#[tokio::test]
async fn check_status_can_be_signed_without_a_digest_or_not_at_all() {
    for (mode, with_digest, without) in [
        (CheckSignature::WithDigest, true, false),
        (CheckSignature::WithoutDigest, false, true),
        (CheckSignature::Unsigned, false, false),
    ] {
        let (sandbox, client) = sandbox(|config| config.check_signature = mode).await;
        sandbox.seed_paid(CLIENT_ID, "INV-1", 50000);
        let reply = client.check("INV-1").await.unwrap();
        assert_eq!((client.trusts(&reply, true), client.trusts(&reply, false)), (with_digest, without));
    }
    let (_sandbox, client) = sandbox(|config| config.sign_errors = false).await;
    assert!(!client.check("INV-1").await.unwrap().headers.contains_key("Signature"));
}

#[tokio::test]
async fn the_ledger_shows_no_customer_data() {
    let (_sandbox, client) = sandbox(|_| {}).await;
    client.pay("INV-1", "$canary").await.unwrap();
    let text = client.control("/ledger", None).await.text();
    assert!(text.contains(r#""invoice_number":"INV-1""#) && text.contains(r#""charges":[{"#));
    for canary in ["Canary", "6281288910205", "$canary", SECRET_KEY] {
        assert!(!text.contains(canary), "{canary}");
    }
}

#[tokio::test]
async fn a_stopped_sandbox_refuses_connections_and_frees_its_address() {
    let (sandbox, client) = sandbox(|_| {}).await;
    client.pay("INV-1", "$admin").await.unwrap();
    let address = sandbox.address();
    let ledger = sandbox.stop().await;
    assert_eq!(ledger.charges.len(), 1);
    assert!(client.check("INV-1").await.unwrap_err().is_connect());
    let config = SandboxConfig { listen: address, ..SandboxConfig::default() };
    assert_eq!(Sandbox::start(config).await.unwrap().address(), address);
}

//! Notifications, seen by a merchant's server that verifies them.

use std::collections::VecDeque;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use serde_json::Value;

use super::super::signature::{self, SecretKey, SignatureInput, Stamp};
use super::*;

const PATH: &str = "/payments/notifications";

/// A merchant's server: keeps what it gets, and answers with the statuses it was given, then 200.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> (Self, String) {
        let receiver = Self::default();
        receiver.answers.lock().extend(answers);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{PATH}", listener.local_addr().unwrap());
        let router = Router::new().route(PATH, post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, url)
    }

    fn bodies(&self) -> Vec<Value> {
        self.got.lock().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }

    fn statuses(&self) -> Vec<String> {
        self.bodies().iter().map(|body| body["transaction"]["status"].as_str().unwrap().to_owned()).collect()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.got.lock().push((headers, body));
    let status = receiver.answers.lock().pop_front().unwrap_or(200);
    StatusCode::from_u16(status).unwrap()
}

fn verified(headers: &HeaderMap, body: &[u8], secret_key: &str) -> bool {
    let header = |name: &str| headers[name].to_str().unwrap();
    let digest = signature::digest(body);
    let signed = SignatureInput {
        client_id: header("Client-Id"),
        request_id: header("Request-Id"),
        stamp: Stamp::Request(header("Request-Timestamp")),
        target: PATH,
        digest: Some(&digest),
    };
    signature::verify(&signed, &SecretKey::new(secret_key), header("Signature"))
}

#[tokio::test]
async fn a_paid_order_is_notified_signed_and_by_its_own_url_if_it_has_one() {
    let (general, url) = Receiver::start(&[]).await;
    let (own, own_url) = Receiver::start(&[]).await;
    let (sandbox, client) = sandbox(|config| config.notify_url = Some(url)).await;
    client.pay("INV-1", "$admin").await.unwrap();
    let mut body: Value = serde_json::from_str(&client::payment_body("INV-2", "$admin")).unwrap();
    body["additional_info"]["override_notification_url"] = own_url.into();
    client.post(PAYMENT_PATH, "INV-2", body.to_string()).await.unwrap();
    until("both", || sandbox.ledger().notifications.len() == 2).await;
    for (receiver, invoice) in [(general, "INV-1"), (own, "INV-2")] {
        let got = receiver.got.lock();
        assert_eq!(got.len(), 1);
        assert!(verified(&got[0].0, &got[0].1, SECRET_KEY));
        assert_ne!(got[0].0["Request-Id"], invoice);
        let body: Value = serde_json::from_slice(&got[0].1).unwrap();
        assert_eq!(body["order"], serde_json::json!({"invoice_number": invoice, "amount": "50000"}));
        assert_eq!(body["transaction"]["status"], "SUCCESS");
        assert_eq!(body["transaction"]["original_request_id"], invoice);
    }
}

#[tokio::test]
async fn a_notification_is_tried_again_until_2xx_and_four_times_at_most() {
    for (answers, attempts) in
        [(&[202][..], 1), (&[500, 404, 204], 3), (&[500, 500, 500, 500, 200], 4), (&[307], 2)]
    {
        let (receiver, url) = Receiver::start(answers).await;
        let (sandbox, client) = sandbox(|config| {
            config.notify_url = Some(url);
            config.retry_scale = 1e-6;
        })
        .await;
        client.pay("INV-1", "$admin").await.unwrap();
        until("all tries", || sandbox.ledger().notifications.len() == attempts).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(receiver.got.lock().len(), attempts, "{answers:?}");
        let sent = sandbox.ledger().notifications;
        assert_eq!(sent.last().map(|sent| sent.attempt as usize), Some(attempts));
        assert_eq!(sent[0].http_status, Some(answers[0]));
    }
}

#[tokio::test]
async fn notifications_are_spoiled_by_the_cash_tag() {
    let (receiver, url) = Receiver::start(&[]).await;
    let (sandbox, client) = sandbox(|config| {
        config.notify_url = Some(url);
        config.notify_late_ms = 200;
    })
    .await;
    for (tag, amounts, statuses) in [
        ("notify_twice", vec![r#""50000""#; 2], vec!["SUCCESS", "SUCCESS"]),
        ("notify_wrong_amount", vec![r#""50001""#], vec!["SUCCESS"]),
        ("notify_number", vec!["50000"], vec!["SUCCESS"]),
        ("notify_decimal", vec!["50000.00"], vec!["SUCCESS"]),
        ("notify_late", vec![r#""50000""#], vec!["SUCCESS"]),
        ("notify_reordered", vec![r#""50000""#; 2], vec!["SUCCESS", "PENDING"]),
        ("fails_then_pays", vec![r#""50000""#; 2], vec!["FAILED", "SUCCESS"]),
        ("expires,notify_number", vec!["50000"], vec!["EXPIRED"]),
    ] {
        receiver.got.lock().clear();
        let start = std::time::Instant::now();
        client.pay(tag, tag).await.unwrap();
        until(tag, || sandbox.ledger().notifications_of(tag).count() == amounts.len()).await;
        let raw: Vec<_> = receiver.got.lock().iter().map(|(_, body)| body.clone()).collect();
        for (body, amount) in raw.iter().zip(&amounts) {
            let text = String::from_utf8_lossy(body);
            assert!(text.contains(&format!(r#""amount":{amount}}}"#)), "{tag}: {text}");
        }
        assert_eq!(receiver.statuses(), statuses, "{tag}");
        assert!(tag != "notify_late" || start.elapsed() >= Duration::from_millis(200));
    }
    let ledger = sandbox.ledger();
    let ids: std::collections::BTreeSet<_> =
        ledger.notifications_of("notify_twice").map(|sent| &sent.request_id).collect();
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn nobody_is_notified_by_tag_by_switch_or_of_a_refund_unless_told() {
    let (receiver, url) = Receiver::start(&[]).await;
    let (sandbox, client) = sandbox(|config| config.notify_url = Some(url)).await;
    client.pay("INV-1", "notify_never").await.unwrap();
    until("paid", || status_of(&sandbox, "INV-1") == Some(TransactionStatus::Success)).await;
    client.refund("R-1", "INV-1", "Cancel Order").await.unwrap();
    sandbox.set_faults(Faults { notify_never: true, ..Faults::default() }).unwrap();
    client.pay("INV-2", "$admin").await.unwrap();
    until("paid", || status_of(&sandbox, "INV-2") == Some(TransactionStatus::Success)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(receiver.bodies().is_empty() && sandbox.ledger().notifications.is_empty());
    sandbox.set_faults(Faults::default()).unwrap();
    client.refund("R-2", "INV-2", "notify_refunded").await.unwrap();
    until("told", || receiver.statuses() == ["REFUNDED"]).await;
}

#[tokio::test]
async fn a_hand_made_notification_says_what_it_is_told_to() {
    let (receiver, url) = Receiver::start(&[503]).await;
    let (sandbox, _client) = sandbox(|_| {}).await;
    let made = HandMade {
        client_id: "MCH-2".into(),
        request_id: Some("INV-1".into()),
        invoice_number: "INV-1".into(),
        amount: "50000.00".into(),
        status: "MOON".into(),
        original_request_id: "INV-1".into(),
        form: NotifyForm::Jenius,
    };
    assert!(matches!(sandbox.notify(made.clone()).await, Err(NotSent::Unwanted)));
    sandbox.set_notify_url(Some(&url)).unwrap();
    assert_eq!(sandbox.notify(made.clone()).await.unwrap(), 503);
    assert_eq!(sandbox.notify(made.clone()).await.unwrap(), 200);
    let stranger = HandMade { client_id: "MCH-9".into(), ..made };
    assert!(matches!(sandbox.notify(stranger).await, Err(NotSent::UnknownMerchant)));
    let got = receiver.got.lock();
    assert!(verified(&got[0].0, &got[0].1, "SK-2") && !verified(&got[0].0, &got[0].1, SECRET_KEY));
    assert_eq!(got[0].0["Request-Id"], "INV-1");
    assert!(String::from_utf8_lossy(&got[0].1).contains(r#""status":"MOON""#));
}

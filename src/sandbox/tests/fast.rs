//! The fast mode gives the answers of the normal one, and counts.

use super::client::payment_body;
use super::*;

#[tokio::test]
async fn the_fast_mode_answers_a_payment_as_the_normal_mode_does() {
    let (fast, to_fast) = sandbox(|config| config.fast = true).await;
    let (_normal, to_normal) = sandbox(|_| {}).await;
    for (request_id, body, status) in [
        ("INV-1", payment_body("INV-1", "$admin"), 200),
        ("INV-1", payment_body("INV-1", "$admin"), 409),
        ("INV-1", payment_body("INV-1", "$other"), 409),
        ("INV-2", payment_body("INV-2", "$admin"), 200),
        ("INV-3", payment_body("INV-4", "$admin"), 400),
        ("INV-3", "{".to_owned(), 400),
    ] {
        let ours = to_fast.post(PAYMENT_PATH, request_id, body.clone()).await.unwrap();
        let theirs = to_normal.post(PAYMENT_PATH, request_id, body.clone()).await.unwrap();
        assert_eq!((ours.status, ours.text()), (status, theirs.text()), "{body}");
        assert_eq!(theirs.status, status, "{body}");
        assert!(to_fast.trusts(&ours, true), "{body}");
    }
    let counted = Counts { requests: 6, charges: 2, replayed: 1, refused: 3 };
    assert_eq!(fast.counts(), counted);
    let told = to_fast.control("/ledger", None).await;
    assert_eq!(serde_json::from_slice::<Counts>(&told.body).unwrap(), counted);
}

#[tokio::test]
async fn the_fast_mode_refuses_a_wrong_signature_and_charges_nothing() {
    let (fast, _) = sandbox(|config| config.fast = true).await;
    let liar = Client::new(&fast, CLIENT_ID, "SK-2");
    let answer = liar.pay("INV-1", "$admin").await.unwrap();
    assert_eq!((answer.status, answer.at("/error/code").as_str()), (400, "invalid_signature"));
    assert_eq!(fast.counts(), Counts { refused: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_hundred_concurrent_payments_of_one_invoice_are_one_charge_in_the_fast_mode_too() {
    let (fast, client) = sandbox(|config| config.fast = true).await;
    let replies = futures_util::future::join_all((0..100).map(|_| client.pay("INV-1", "$admin"))).await;
    let first = replies.iter().filter(|reply| reply.as_ref().unwrap().status == 200).count();
    assert_eq!((first, fast.counts().charges, fast.counts().replayed), (1, 1, 99));
}

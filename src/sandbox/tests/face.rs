//! The sandbox in a browser: a person is the customer, and what others wrote is text.

use super::client::payment_body;
use super::*;

const HOSTILE: &str = "<img/src=x/onerror=alert(1)>";

#[tokio::test]
async fn a_person_answers_in_the_customers_place_and_hostile_names_are_text() {
    let (sandbox, client) = sandbox(|_| {}).await;
    assert_eq!(client.control("/app/hand", Some("by_hand=yes")).await.status, 303);
    for invoice in [HOSTILE, "INV-2"] {
        client.post(PAYMENT_PATH, invoice, payment_body(invoice, "$admin")).await.unwrap();
    }
    // Far longer than a customer who answers alone takes.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(status_of(&sandbox, HOSTILE), Some(TransactionStatus::Pending));
    for page in ["/app", "/"] {
        let shown = client.control(page, None).await.text();
        assert!(shown.contains("&lt;img/src=x") && !shown.contains("<img"), "{page}: {shown}");
        assert!(shown.contains("Rp50.000"), "{page}: {shown}");
    }
    let answer = |choice: &str, invoice: &str| {
        let form = [("client_id", CLIENT_ID), ("invoice", invoice), ("choice", choice)];
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
    };
    client.control("/app", Some(&answer("accept", HOSTILE))).await;
    client.control("/app", Some(&answer("decline", "INV-2"))).await;
    assert_eq!(status_of(&sandbox, HOSTILE), Some(TransactionStatus::Success));
    assert_eq!(status_of(&sandbox, "INV-2"), Some(TransactionStatus::Failed));
    client.control("/app", Some(&answer("accept", "INV-2"))).await;
    assert_eq!(status_of(&sandbox, "INV-2"), Some(TransactionStatus::Failed), "it was answered already");
}

#[tokio::test]
async fn misbehaviour_is_chosen_in_a_form_and_a_wrong_word_is_named() {
    let (_sandbox, client) = sandbox(|_| {}).await;
    assert_eq!(client.control("/faults/form", Some("payment=drop")).await.status, 303);
    assert!(client.post(PAYMENT_PATH, "INV-1", payment_body("INV-1", "$admin")).await.is_err());
    let wrong = client.control("/faults/form", Some("payment=%3Cb%3E")).await.text();
    assert!(wrong.contains("&lt;b&gt;") && !wrong.contains("<b>"), "{wrong}");
}

//! DOKU's answers, one row each: what it does on the first sends, and what the world is told. Whatever it
//! does, it charges once and it is believed only when it signs.

use crate::harness::{World, commands, eventually, payment, world::a_while};
use doku_sandbox::{Faults, Operation};
use serde_json::json;

/// What leaves DOKU's act in doubt, or says that it did not act: the same request is sent again, and its
/// true answer, or its replay with 409, settles it.
const SENT_AGAIN: [&str; 27] = [
    "drop",
    "act_then_drop",
    "reset",
    "act_then_reset",
    "cut_headers",
    "act_then_cut_headers",
    "500",
    "act_then_500",
    "503",
    "act_then_503",
    "408",
    "act_then_408",
    "429:0",
    "gateway_500",
    "empty_200",
    "act_then_empty_200",
    "html_200",
    "html_502",
    "redirect",
    "cut_json",
    "wrong_signature",
    "no_signature",
    "status:BOGUS",
    "bare_409",
    "duplicate_409",
    "other_amount",
    "other_invoice",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_leaves_a_payment_in_doubt_is_sent_again_and_charged_once() {
    let setting = World::with().set("BREAKER__FAILURES", 1000);
    // However slow the machine is, no answer times out, and no inquiry is due before the resend.
    let world = setting.set("DOKU__TIMEOUT_MS", 15_000).set("CHECK__FIRST_AFTER_MS", 4_000).build().await;
    let mut sent = Vec::new();
    for word in SENT_AGAIN {
        let invoice = world.invoice();
        world.publish(&commands::payment_with(&invoice, word)).await;
        sent.push((word, invoice));
    }
    for (word, invoice) in &sent {
        world.event(invoice, "order.paid").await;
        assert_eq!(world.told(invoice), ["payment.accepted", "order.paid"], "{word}");
        let ledger = world.sandbox.ledger();
        assert_eq!(ledger.charges_of(invoice).count(), 1, "{word}");
        assert_eq!(ledger.sends_of(invoice).count(), 2, "{word}: sent once more, not repeated by the client");
        assert_eq!(ledger.request_ids_of(Operation::Payment, invoice).len(), 1, "{word}");
    }
    assert!(!world.sandbox.ledger().refused.contains_key("redirected"), "a redirect was followed");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_leaves_a_refund_in_doubt_is_sent_again_and_refunded_once() {
    let world = World::with().set("BREAKER__FAILURES", 1000).build().await;
    let mut sent = Vec::new();
    for word in
        ["act_then_drop", "drop", "act_then_500", "429:0", "no_signature", "cut_json", "status:PENDING"]
    {
        let invoice = world.invoice();
        world.publish(&payment(&invoice)).await;
        sent.push((word, invoice));
    }
    for (word, invoice) in &sent {
        world.event(invoice, "order.paid").await;
        world.publish(&commands::refund_with(invoice, word)).await;
    }
    for (word, invoice) in &sent {
        world.event(invoice, "order.refunded").await;
        let told = world.told(invoice);
        assert_eq!(told, ["payment.accepted", "order.paid", "refund.accepted", "order.refunded"], "{word}");
        let ledger = world.sandbox.ledger();
        assert_eq!(ledger.refunds_of(invoice).count(), 1, "{word}");
        assert_eq!(ledger.request_ids_of(Operation::Refund, invoice).len(), 1, "{word}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_dokus_own_declines_with_its_code_and_message() {
    let world = World::new().await;
    for (word, code, message, http_status) in [
        ("declined", "transaction_declined", "Declined", 400),
        ("declined_message", "", "CASH TAG NOT FOUND", 400),
        ("declined_list", "", "cash tag not found", 422),
    ] {
        let invoice = world.invoice();
        // Not by the cash tag, which would be masked in the message.
        let invoices = [(invoice.clone(), word.to_owned())].into();
        world.sandbox.set_faults(Faults { invoices, ..Faults::default() }).unwrap();
        world.publish(&commands::payment(&invoice)).await;
        let event = world.event(&invoice, "payment.declined").await;
        let error = event.data("error");
        assert_eq!(error["http_status"], http_status, "{word}");
        assert!(error["message"].as_str().unwrap().contains(message), "{word}: {error}");
        assert!(code.is_empty() || error["code"] == code, "{word}: {error}");
        assert_eq!(event.data("state"), "failed");
        assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 1);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_status_word_of_the_specification_leads_to_its_documented_state() {
    let world = World::new().await;
    let failed = world.invoice();
    world.publish(&commands::payment_with(&failed, "failed")).await;
    let event = world.event(&failed, "payment.declined").await;
    assert_eq!((event.data("evidence"), event.data("doku_status")), (&json!("response"), &json!("FAILED")));
    assert_eq!(event.data("error"), &json!(null));

    let pending = world.invoice();
    world.publish(&commands::payment_with(&pending, "pending")).await;
    let event = world.event(&pending, "payment.accepted").await;
    assert_eq!(event.data("state"), "awaiting_payment");
    world.event(&pending, "order.paid").await;

    let refused = world.invoice();
    world.paid(&refused).await;
    world.publish(&commands::refund_with(&refused, "failed")).await;
    let event = world.event(&refused, "refund.declined").await;
    assert_eq!((event.data("state"), event.data("previous_state")), (&json!("paid"), &json!("refunding")));
    // A refusal is final for that command, not for the order.
    world.publish(&commands::refund(&refused)).await;
    world.event(&refused, "order.refunded").await;
    world.end().await;
}

/// A wrong key or clock, or a firewall in between, says nothing about any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_clock_or_route_declines_nothing() {
    let world = World::new().await;
    for word in [
        "invalid_signature",
        "invalid_client_id",
        "invalid_header_request",
        "request_time_out_of_range",
        "401",
        "403",
        "405",
        "413",
        "html_403",
        "gateway_404",
    ] {
        let invoice = world.invoice();
        world.publish(&commands::payment_with(&invoice, word)).await;
        world.event(&invoice, "payment.accepted").await;
        let order = world.order(&invoice).await;
        assert_eq!(order["attempts"][0]["result"], "not_acted", "{word}");
    }
    world.end().await;
}

/// DOKU refuses every signature for a while, with many commands waiting: sends stop, nothing is declined,
/// the other merchant goes on, and afterwards all are paid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_doku_refuses_every_signature_the_merchants_breaker_is_open_and_afterwards_all_are_paid() {
    let world = World::new().await;
    let faults = Faults {
        payment: Some("invalid_signature".to_owned()),
        client_id: Some(crate::harness::world::CLIENT_ID.to_owned()),
        ..Faults::default()
    };
    world.sandbox.set_faults(faults).unwrap();
    let invoices: Vec<String> = (0..30).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    let open = async || world.admin("/readyz").await.1.contains("fails for: default").then_some(());
    eventually("the merchant's breaker to be open", open).await;
    let elsewhere = world.invoice();
    world.publish(&payment(&elsewhere).with("merchant", "other")).await;
    world.event(&elsewhere, "payment.accepted").await;
    a_while().await;
    let sends = world.sandbox.ledger().requests.len();
    assert!(sends < 20, "{sends} sends to a DOKU that refuses the key");
    world.sandbox.set_faults(Faults::default()).unwrap();
    for invoice in &invoices {
        world.event(invoice, "order.paid").await;
    }
    assert_eq!(world.broker.depth("dead").await, 0);
    world.end().await;
}

/// Answers that go on to name another amount are no accident: a person decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_persists_in_another_amount_is_for_review() {
    // Sent again before anybody asks Check Status, which names the right amount.
    let world = World::with().set("CHECK__FIRST_AFTER_MS", 60_000).build().await;
    let invoice = world.invoice();
    world.publish(&commands::payment_with(&invoice, "other_amount*")).await;
    let event = world.event(&invoice, "order.review").await;
    assert_eq!(event.data("error")["code"], "amount_mismatch");
    assert_eq!(world.told(&invoice), ["payment.unresolved", "order.review"]);
    assert_eq!(world.order(&invoice).await["state"], "review");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_obeyed() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.publish(&commands::payment_with(&invoice, "429:2")).await;
    world.event(&invoice, "payment.accepted").await;
    let ledger = world.sandbox.ledger();
    let sends: Vec<_> = ledger.sends_of(&invoice).map(|r| r.at).collect();
    assert!((sends[1] - sends[0]).num_milliseconds() >= 1990, "{sends:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsigned_answer_is_believed_only_where_that_is_configured() {
    // A wrong answer is settled by the next one, not by an inquiry before it.
    let world = World::with()
        .set("DOKU__RESPONSE_SIGNATURE", "tls_only")
        .set("CHECK__FIRST_AFTER_MS", 60_000)
        .build()
        .await;
    let unsigned = world.invoice();
    world.publish(&commands::payment_with(&unsigned, "no_signature")).await;
    world.event(&unsigned, "payment.accepted").await;
    assert_eq!(world.sandbox.ledger().sends_of(&unsigned).count(), 1);
    let wrong = world.invoice();
    world.publish(&commands::payment_with(&wrong, "wrong_signature")).await;
    world.event(&wrong, "payment.accepted").await;
    assert_eq!(world.sandbox.ledger().sends_of(&wrong).count(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_success_is_a_payment_only_where_that_is_configured() {
    let world =
        World::with().set("DOKU__TRUST_RESPONSE", true).sandbox(|s| s.pay_after_ms = 3_600_000).build().await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    let paid = world.event(&invoice, "order.paid").await;
    assert_eq!(paid.data("evidence"), "response");
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"]);
    let pending = world.invoice();
    world.publish(&commands::payment_with(&pending, "pending")).await;
    world.event(&pending, "payment.accepted").await;
    a_while().await;
    assert_eq!(world.told(&pending), ["payment.accepted"]);
    world.end().await;
}

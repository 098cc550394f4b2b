//! Every fault word, seen by a client.

use std::time::Instant;

use super::super::faults::{Acts, FAULT_WORDS, Fault, HABIT_WORDS};
use super::*;

#[tokio::test]
async fn a_dropped_connection_ends_without_a_byte_and_only_acts_where_it_says_so() {
    let (sandbox, client) = sandbox(|_| {}).await;
    for (invoice, tag, charges) in [("INV-1", "drop", 0), ("INV-2", "act_then_drop", 1)] {
        let (got, end) = client.raw_payment(invoice, tag).await;
        assert!(got.is_empty() && end.is_ok(), "{tag}");
        assert_eq!(sandbox.ledger().charges_of(invoice).count(), charges, "{tag}");
    }
    let (got, end) = client.raw_payment("INV-3", "act_then_reset").await;
    assert!(got.is_empty());
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let (got, _) = client.raw_payment("INV-4", "act_then_cut_headers").await;
    let text = String::from_utf8(got).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    assert_eq!(sandbox.ledger().charges.len(), 3);
}

#[tokio::test]
async fn a_dropped_send_is_followed_by_the_replay() {
    let (sandbox, client) = sandbox(|_| {}).await;
    for _ in 0..3 {
        assert!(client.pay("INV-1", "act_then_drop*3").await.is_err());
    }
    let replay = client.pay("INV-1", "act_then_drop*3").await.unwrap();
    assert_eq!((replay.status, replay.at("/internet_banking_payment/status").as_str()), (409, "SUCCESS"));
    let ledger = sandbox.ledger();
    let sends: Vec<_> = ledger.sends_of("INV-1").map(|send| (send.http_status, send.acted)).collect();
    assert_eq!(sends, [(None, true), (None, false), (None, false), (Some(409), false)]);
    assert_eq!(ledger.charges.len(), 1);
}

#[tokio::test]
async fn a_hanging_request_acts_before_after_or_never() {
    let (sandbox, client) = sandbox(|_| {}).await;
    for (invoice, tag, at_once) in
        [("INV-1", "hang", 0), ("INV-2", "act_then_hang", 1), ("INV-3", "hang_then_act", 0)]
    {
        let start = Instant::now();
        let send = tokio::spawn({
            let client = client.clone();
            async move { client.pay(invoice, tag).await.is_err() }
        });
        until("the request arrives", || sandbox.ledger().sends_of(invoice).count() == 1).await;
        assert_eq!(sandbox.ledger().charges_of(invoice).count(), at_once, "{tag}");
        if tag == "hang_then_act" {
            send.abort();
            until("it acts, though nobody waits", || sandbox.ledger().charges_of(invoice).count() == 1).await;
        } else {
            assert!(send.await.unwrap(), "{tag}");
        }
        assert!(start.elapsed() >= Duration::from_millis(250), "{tag}");
        assert_eq!(sandbox.ledger().charges_of("INV-1").count(), 0);
    }
}

#[tokio::test]
async fn every_canned_answer_has_its_status_with_and_without_acting() {
    let (sandbox, client) = sandbox(|_| {}).await;
    let mut played = 0;
    for word in FAULT_WORDS {
        let Fault::Canned(canned) = word.fault else { continue };
        for (prefix, charges) in [("", 0), ("act_then_", 1)] {
            let invoice = format!("INV-{prefix}{}", word.name);
            let text = format!("{prefix}{}", word.name);
            let invoices = [(invoice.clone(), text.clone())].into();
            sandbox.set_faults(Faults { invoices, ..Faults::default() }).unwrap();
            let reply = client.pay(&invoice, "$admin").await.unwrap();
            assert_eq!((reply.status, reply.text().as_str()), (canned.status, canned.body), "{text}");
            assert_eq!(client.trusts(&reply, true), canned.signed, "{text}");
            let ledger = sandbox.ledger();
            assert_eq!(ledger.charges_of(&invoice).count(), charges, "{text}");
            assert_eq!(ledger.sends_of(&invoice).next().unwrap().fault.as_deref(), Some(text.as_str()));
            played += 1;
        }
    }
    assert!(played > 40);
}

#[tokio::test]
async fn retry_after_and_location_are_told() {
    let (sandbox, client) = sandbox(|_| {}).await;
    assert_eq!(client.pay("INV-1", "429:7").await.unwrap().headers["Retry-After"], "7");
    let redirect = client.pay("INV-2", "redirect").await.unwrap();
    assert_eq!((redirect.status, redirect.headers["Location"].to_str().unwrap()), (307, "/redirected"));
    client.control("/redirected", Some("")).await;
    assert_eq!(sandbox.ledger().refused["followed_redirect"], 1);
}

#[tokio::test]
async fn spoiled_answers_are_spoiled_in_one_thing_only() {
    let (sandbox, client) = sandbox(|_| {}).await;
    for (tag, trusted, pointer, value) in [
        ("wrong_signature", false, "/order/amount", "50000"),
        ("no_signature", false, "/order/amount", "50000"),
        ("other_amount", true, "/order/amount", "50001"),
        ("other_invoice", true, "/order/invoice_number", "INV-other_invoice-OTHER"),
        ("status", true, "/internet_banking_payment/status", "BOGUS"),
        ("status:Refund", true, "/internet_banking_payment/status", "Refund"),
        ("wrapped", true, "/response/order/amount", "50000"),
        ("cut_json", true, "", ""),
    ] {
        let invoice = format!("INV-{tag}");
        let reply = client.pay(&invoice, tag).await.unwrap();
        assert_eq!((reply.status, client.trusts(&reply, true)), (200, trusted), "{tag}");
        assert_eq!(reply.headers.contains_key("Signature"), tag != "no_signature", "{tag}");
        if tag == "cut_json" {
            assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
        } else {
            assert_eq!(reply.at(pointer), value, "{tag}");
        }
        let ledger = sandbox.ledger();
        assert_eq!(ledger.charges_of(&invoice).next().map(|charge| charge.amount), Some(50000), "{tag}");
    }
}

#[tokio::test]
async fn inquiries_misbehave_as_their_order_says_and_then_tell_the_truth() {
    let (sandbox, client) = sandbox(|_| {}).await;
    client.pay("INV-1", "check_not_found*2,check_500").await.unwrap();
    until("paid", || status_of(&sandbox, "INV-1") == Some(TransactionStatus::Success)).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(client.check("INV-1").await.unwrap().status);
    }
    assert_eq!(statuses, [404, 404, 500, 200]);
    client.pay("INV-2", "check_status:TIMEOUT").await.unwrap();
    assert_eq!(client.check("INV-2").await.unwrap().at("/transaction/status"), "TIMEOUT");
    sandbox.seed_paid(CLIENT_ID, "INV-3", 50000);
    client.refund("R-1", "INV-3", "act_then_drop,check_other_amount").await.unwrap_err();
    let other = client.check("INV-3").await.unwrap();
    assert_eq!(
        (other.at("/order/amount"), other.at("/transaction/status")),
        ("50001".into(), "REFUNDED".into())
    );
}

#[tokio::test]
async fn the_customer_does_what_the_cash_tag_says() {
    use TransactionStatus::{Expired, Failed, Pending, Refunded, Success};
    let (sandbox, client) = sandbox(|_| {}).await;
    for (tag, answered, last) in [
        ("$admin", "SUCCESS", Success),
        ("pending", "PENDING", Success),
        ("failed", "FAILED", Failed),
        ("pay_fails", "SUCCESS", Failed),
        ("expires", "SUCCESS", Expired),
        ("never_pays", "SUCCESS", Pending),
        ("fails_then_pays", "SUCCESS", Success),
        ("expires_then_pays", "SUCCESS", Success),
        ("pays_then_refunded", "SUCCESS", Refunded),
    ] {
        let reply = client.pay(tag, tag).await.unwrap();
        assert_eq!(reply.at("/internet_banking_payment/status"), answered, "{tag}");
        until(tag, || status_of(&sandbox, tag) == Some(last)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(status_of(&sandbox, "never_pays"), Some(Pending));
    assert_eq!(status_of(&sandbox, "failed"), Some(Failed));
}

#[tokio::test]
async fn a_refund_is_refused_or_left_pending_by_its_reason() {
    let (sandbox, client) = sandbox(|_| {}).await;
    sandbox.seed_paid(CLIENT_ID, "INV-1", 50000);
    let refused = client.refund("R-1", "INV-1", "failed").await.unwrap();
    assert_eq!(refused.at("/internet_banking_payment/status"), "FAILED");
    assert_eq!(sandbox.ledger().refunds_of("INV-1").count(), 0);
    let pending = client.refund("R-2", "INV-1", "pending").await.unwrap();
    assert_eq!(pending.at("/internet_banking_payment/status"), "PENDING");
    assert_eq!(status_of(&sandbox, "INV-1"), Some(TransactionStatus::Refunded));
}

#[tokio::test]
async fn the_switch_is_thrown_over_http_and_off_again() {
    let (sandbox, client) = sandbox(|_| {}).await;
    let set = client.control("/faults", Some(r#"{"payment":"invalid_signature","latency_ms":50}"#)).await;
    assert_eq!((set.status, sandbox.faults().payment.as_deref()), (200, Some("invalid_signature")));
    let start = Instant::now();
    let refused = client.pay("INV-1", "$admin").await.unwrap();
    assert_eq!((refused.status, refused.at("/error/code").as_str()), (400, "invalid_signature"));
    assert!(start.elapsed() >= Duration::from_millis(50));
    for wrong in [r#"{"payment":"explode"}"#, r#"{"paymnt":"500"}"#, "500"] {
        assert_eq!(client.control("/faults", Some(wrong)).await.status, 400, "{wrong}");
    }
    assert_eq!(client.pay("INV-1", "$admin").await.unwrap().status, 400);
    assert_eq!(client.control("/faults", Some("{}")).await.status, 200);
    assert_eq!(client.pay("INV-1", "$admin").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_same_seed_strikes_the_same_sends() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let (sandbox, client) = sandbox(|config| (config.fault_rate, config.seed) = (0.5, seed)).await;
        for number in 0..40 {
            let _ = client.pay(&format!("INV-{number}"), "$admin").await;
        }
        let faults: Vec<_> = sandbox.ledger().requests.into_iter().map(|request| request.fault).collect();
        runs.push(faults);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    let struck = runs[0].iter().flatten().count();
    assert!((8..=32).contains(&struck), "{struck} of 40");
}

/// Struck for ever, nobody could find out that an order was never made.
#[tokio::test]
async fn inquiries_about_an_invoice_that_nobody_knows_are_struck_each_by_itself() {
    let (sandbox, client) = sandbox(|config| (config.fault_rate, config.seed) = (0.5, 7)).await;
    for _ in 0..40 {
        let _ = client.check("INV-1").await;
    }
    let struck = sandbox.ledger().requests.into_iter().filter(|request| request.fault.is_some()).count();
    assert!((8..=32).contains(&struck), "{struck} of 40");
}

#[tokio::test]
async fn help_lists_every_word() {
    let (_sandbox, client) = sandbox(|_| {}).await;
    let help = client.control("/help", None).await.text();
    for name in FAULT_WORDS.iter().map(|word| word.name).chain(HABIT_WORDS.iter().map(|word| word.name)) {
        assert!(help.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}");
    }
    assert!(FAULT_WORDS.iter().all(|word| !word.random || word.acts != Acts::Later));
}

//! What notifications do to orders, and what they must never do.

use crate::harness::{
    World,
    commands::payment_with,
    eventually, payment,
    reports::Report,
    world::{OTHER_CLIENT_ID, OTHER_SECRET_KEY, a_while},
};
use doku_sandbox::Faults;
use serde_json::{Value, json};

const PARKED: &str = "SELECT count(*) FROM notifications WHERE order_key IS NULL";

async fn parked(world: &World, count: i64) {
    let what = format!("{count} parked notifications");
    eventually(&what, async || (world.database.count(PARKED).await == count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_confirmed_by_its_notification() {
    let world = World::with().notified().build().await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    let paid = world.event(&invoice, "order.paid").await;
    assert_eq!(
        (paid.data("evidence"), paid.data("doku_status")),
        (&json!("notification"), &json!("SUCCESS"))
    );
    let order = world.order(&invoice).await;
    assert_eq!((&order["state"], &order["evidence"]), (&json!("paid"), &json!("notification")));
    assert_eq!(order["due"], Value::Null);
    let told = &order["notifications"][0];
    assert_eq!((&told["status"], &told["amount"]), (&json!("SUCCESS"), &json!("50000")));
    assert_eq!((&told["applied"], &told["reason"]), (&json!(true), &Value::Null));
    let ledger = world.sandbox.ledger();
    let sent = ledger.notifications_of(&invoice).next().unwrap();
    assert_eq!(
        (told["request_id"].as_str().unwrap(), sent.http_status),
        (sent.request_id.as_str(), Some(200))
    );
    assert_eq!(ledger.inquiries_of(&invoice).count(), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_payments_are_paid_by_notifications_alone_while_check_status_fails() {
    let world = World::with().notified().set("CHECK__FIRST_AFTER_MS", 300).build().await;
    world.sandbox.set_faults(Faults { check: Some("500".to_owned()), ..Faults::default() }).unwrap();
    let invoices: Vec<String> = (0..1000).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    for invoice in &invoices {
        world.event(invoice, "order.paid").await;
        assert_eq!(world.told(invoice), ["payment.accepted", "order.paid"]);
    }
    world.end().await;
}

/// Every order of three notifications, each sent twice, under every choice of Request-Ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_order_duplication_or_request_id_of_notifications_changes_the_end() {
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let world = World::with().notified().build().await;
    for order in ORDERS {
        for ids in ["the payment's", "one for all", "each its own"] {
            let invoice = world.waiting().await;
            let words = ["PENDING", "FAILED", "SUCCESS"];
            let reports = order.map(|nth| {
                let mut report = Report::of(&invoice, words[nth], "\"50000\"");
                match ids {
                    "the payment's" => report.request_id.clone_from(&invoice),
                    "one for all" => "R-1".clone_into(&mut report.request_id),
                    _ => {}
                }
                report
            });
            let mut sent = 0;
            for report in reports.iter().chain(&reports) {
                world.notify(report).await;
                sent += 1;
                world.notified(&invoice, sent).await;
            }
            let marks = world.notified(&invoice, 6).await;
            assert!(
                marks[3..].iter().all(|m| m["reason"] == "duplicate" && m["applied"] == false),
                "{marks:?}"
            );
            world.event(&invoice, "order.paid").await;
            let failed_first = order.iter().position(|n| *n == 1) < order.iter().position(|n| *n == 2);
            let expected: &[&str] = if failed_first {
                &["payment.accepted", "order.failed", "order.paid"]
            } else {
                &["payment.accepted", "order.paid"]
            };
            assert_eq!(world.told(&invoice), expected, "{order:?}, {ids}");
            assert_eq!(world.order(&invoice).await["state"], "paid");
        }
    }
    world.end().await;
}

/// A duplicate publishes nothing again, not even the event it would have made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_the_same_notification_is_one() {
    let world = World::with().notified().build().await;
    let invoice = world.waiting().await;
    let reports: Vec<Report> = (0..40).map(|_| Report::success(&invoice)).collect();
    futures_util::future::join_all(reports.iter().map(|report| world.notify(report))).await;
    let marks = world.notified(&invoice, 40).await;
    assert_eq!(marks.iter().filter(|m| m["applied"] == true).count(), 1);
    assert_eq!(marks.iter().filter(|m| m["reason"] == "duplicate").count(), marks.len() - 1);
    world.event(&invoice, "order.paid").await;
    a_while().await;
    assert_eq!(world.events(|e| e.invoice() == Some(&invoice)).len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_that_comes_before_its_order_is_applied_before_the_first_send() {
    let world = World::with().notified().build().await;
    let invoice = world.invoice();
    world.notify(&Report::success(&invoice)).await;
    parked(&world, 1).await;
    world.publish(&payment(&invoice)).await;
    let paid = world.event(&invoice, "order.paid").await;
    assert_eq!(paid.data("evidence"), "notification");
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"]);
    assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 0, "DOKU was asked though it is decided");
    assert_eq!(world.order(&invoice).await["notifications"][0]["applied"], true);
    parked(&world, 0).await;
    world.end().await;
}

/// A claim without a permit is sent by follow-up: it looks for parked notifications too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deferred_first_send_sees_what_was_parked() {
    let world = World::with().notified().set("DOKU__REQUESTS_PER_SECOND", 1).build().await;
    for _ in 0..4 {
        world.publish(&payment(&world.invoice())).await;
    }
    let late: Vec<String> = (0..3).map(|_| world.invoice()).collect();
    for invoice in &late {
        world.notify(&Report::success(invoice)).await;
    }
    parked(&world, 3).await;
    for invoice in &late {
        world.publish(&payment(invoice)).await;
    }
    for invoice in &late {
        world.event(invoice, "order.paid").await;
        assert_eq!(world.sandbox.ledger().sends_of(invoice).count(), 0, "{invoice}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_and_its_order_may_come_at_the_same_time() {
    let world = World::with().notified().build().await;
    let invoices: Vec<String> = (0..60).map(|_| world.invoice()).collect();
    let both = invoices.iter().map(|invoice| async {
        let (command, report) = (payment_with(invoice, "never_pays"), Report::success(invoice));
        tokio::join!(world.publish(&command), world.notify(&report));
    });
    futures_util::future::join_all(both).await;
    for invoice in &invoices {
        world.event(invoice, "order.paid").await;
        assert_eq!(world.told(invoice), ["payment.accepted", "order.paid"]);
    }
    parked(&world, 0).await;
    world.end().await;
}

/// Whoever can publish to the queue changes nothing without a key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unverified_message_on_the_queue_changes_nothing_and_is_dead_lettered() {
    let world = World::with().notified().build().await;
    let invoice = world.waiting().await;
    let good = Report::success(&invoice);
    let with = |pointer: &str, value: Value| {
        let mut event = good.event();
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    let target = |path: &str| {
        let mut event = Report { signed_path: path.to_owned(), ..good.clone() }.event();
        event["data"]["request_target"] = json!(path);
        event
    };
    let body = String::from_utf8(good.body.clone()).unwrap();
    let rows = [
        ("another key", Report { key: "SK-forged".to_owned(), ..good.clone() }.event()),
        ("another merchant's key", Report { key: OTHER_SECRET_KEY.to_owned(), ..good.clone() }.event()),
        ("nobody's Client-Id", Report { client_id: "MCH-9".to_owned(), ..good.clone() }.event()),
        ("signed for the path it names itself", target("/attacker")),
        ("another body", with("/data/body", json!(body.replace("SUCCESS", "EXPIRED")))),
        ("a space more", with("/data/body", json!(format!("{body} ")))),
        ("another Request-Id", with("/data/headers/Request-Id", json!("R-2"))),
        ("no signature", with("/data/headers/Signature", Value::Null)),
        ("an empty signature", with("/data/headers/Signature", json!(""))),
        ("another scheme", with("/data/headers/Signature", json!("HMACSHA512=AAAA"))),
    ];
    for (what, event) in rows {
        world.queue(&event).await;
        let dead = world.broker.dead().await;
        assert_eq!(dead.reason.as_deref(), Some("not_authentic"), "{what}: {:?}", dead.detail);
        assert_eq!(dead.body, event.to_string().into_bytes(), "{what}");
    }
    for (what, event) in [
        ("no JSON", with("/data/body", json!("pay please"))),
        ("another type", with("/type", json!("jenius.payment.request.v1"))),
        ("no data", with("/data", Value::Null)),
        ("no order", Report::with_body("{}").event()),
        ("no JSON, signed", Report::with_body("pay please").event()),
    ] {
        world.queue(&event).await;
        let dead = world.broker.dead().await;
        let expected = if what == "no JSON" { "not_authentic" } else { "malformed" };
        assert_eq!(dead.reason.as_deref(), Some(expected), "{what}");
    }
    let order = world.order(&invoice).await;
    assert_eq!((&order["state"], &order["notifications"]), (&json!("awaiting_payment"), &json!([])));
    assert_eq!(world.told(&invoice), ["payment.accepted"]);
    // The same message, authentic, by a gateway of the user's own: the path it names is not what counts.
    world.queue(&good.event()).await;
    world.event(&invoice, "order.paid").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paid_needs_the_orders_own_amount() {
    let world = World::with().notified().build().await;
    for amount in ["\"50000\"", "50000", "50000.00", "\"50000.00\"", "5E+4", "5e4", "50000.0", "500000e-1"] {
        let invoice = world.waiting().await;
        world.notify(&Report::of(&invoice, "SUCCESS", amount)).await;
        world.event(&invoice, "order.paid").await;
    }
    for amount in [
        "50001",
        "49999",
        "\"50001\"",
        "50000.01",
        "0",
        "-50000",
        "9223372036854775808",
        "1e13",
        "5e-4",
        "1e999999999",
        "50000e-999999999",
        "\"many\"",
        "18446744073709601616",
    ] {
        let invoice = world.waiting().await;
        world.notify(&Report::of(&invoice, "SUCCESS", amount)).await;
        let review = world.event(&invoice, "order.review").await;
        assert_eq!(review.data("error")["code"], "amount_mismatch", "{amount}");
        let marks = world.notified(&invoice, 1).await;
        assert_eq!((&marks[0]["applied"], &marks[0]["reason"]), (&json!(false), &json!("amount_mismatch")));
        assert_eq!(marks[0]["amount"], amount.trim_matches('"'));
        assert_eq!(world.order(&invoice).await["state"], "review");
        // Only a person decides now.
        world.notify(&Report::success(&invoice)).await;
        assert_eq!(world.notified(&invoice, 2).await[1]["reason"], "no_change");
        assert_eq!(world.told(&invoice), ["payment.accepted", "order.review"], "{amount}");
    }
    for body in [
        r#"{"order":{"invoice_number":"INV","amount":"50000"}}"#,
        r#"{"order":{"invoice_number":"INV"},"transaction":{"status":"SUCCESS"}}"#,
        r#"{"order":{"invoice_number":"INV","amount":null},"transaction":{"status":"SUCCESS"}}"#,
    ] {
        let invoice = world.waiting().await;
        world.notify(&Report::with_body(body.replace("INV", &invoice))).await;
        assert_eq!(world.notified(&invoice, 1).await[0]["reason"], "incomplete", "{body}");
        assert_eq!(world.order(&invoice).await["state"], "awaiting_payment");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_merchants_valid_signature_never_touches_this_merchants_order() {
    let world = World::with().notified().build().await;
    let invoice = world.waiting().await;
    let theirs = Report {
        client_id: OTHER_CLIENT_ID.to_owned(),
        key: OTHER_SECRET_KEY.to_owned(),
        ..Report::success(&invoice)
    };
    world.notify(&theirs).await;
    parked(&world, 1).await;
    let order = world.order(&invoice).await;
    assert_eq!((&order["state"], &order["notifications"]), (&json!("awaiting_payment"), &json!([])));
    // It was theirs, and it is applied to theirs.
    world.publish(&payment(&invoice).with("merchant", "other")).await;
    let of_other =
        || world.events(|e| e.body["source"] == "/jenius-pay/other" && e.routing_key == "order.paid");
    eventually("the other merchant's order", async || of_other().pop()).await;
    assert_eq!(world.order(&invoice).await["state"], "awaiting_payment");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paid_leaves_only_by_a_refund_or_for_review() {
    let world = World::with().notified().build().await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    let mut sent = world.order(&invoice).await["notifications"].as_array().unwrap().len();
    for word in ["FAILED", "EXPIRED", "PENDING", "TIMEOUT", "REDIRECT", "BREWING", "success"] {
        world.notify(&Report::of(&invoice, word, "50000")).await;
        sent += 1;
        assert_eq!(world.notified(&invoice, sent).await[sent - 1]["reason"], "no_change", "{word}");
        assert_eq!(world.order(&invoice).await["state"], "paid");
    }
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"]);
    world.notify(&Report::of(&invoice, "SUCCESS", "50001")).await;
    world.event(&invoice, "order.review").await;
    assert_eq!(world.order(&invoice).await["state"], "review");
    world.end().await;
}

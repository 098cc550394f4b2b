//! Notifications in DOKU's other form, SNAP: whatever the form, the order ends the same; what DOKU's own key signed names
//! no account, and has DOKU asked.

mod answers;
mod clients;
mod tokens;

use crate::harness::{
    World,
    child::run,
    commands::payment_with,
    eventually, payment,
    reports::Report,
    snap::{Signer, SnapReport, dokus_pem, key_files},
    world::{OTHER_CLIENT_ID, OTHER_SECRET_KEY, Setting, a_while},
};
use serde_json::{Value, json};

const PARKED: &str = "SELECT count(*) FROM notifications WHERE order_key IS NULL";

/// A world that is notified, and knows DOKU's public key.
fn with_dokus_key() -> Setting {
    World::with()
        .notified()
        .set("DOKU__SNAP__PUBLIC_KEY_FILES", key_files().1.display())
        .sandbox(|config| config.snap_private_key = Some(dokus_pem()))
}

/// What an order came to, without what differs from one to the next.
async fn end(world: &World, invoice: &str) -> Value {
    let order = world.order(invoice).await;
    json!([
        order["state"],
        order["evidence"],
        order["doku_status"],
        order["version"],
        order["due"],
        world.told(invoice)
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_payment_confirmed_by_each_form_and_by_both_in_either_order_ends_the_same() {
    let world = World::with().notified().build().await;
    let mut ends = Vec::new();
    for forms in [["jenius"].as_slice(), &["snap"], &["jenius", "snap"], &["snap", "jenius"]] {
        let invoice = world.waiting().await;
        for (sent, form) in (1..).zip(forms) {
            match *form {
                "jenius" => world.notify(&Report::success(&invoice)).await,
                _ => world.notify_snap(&SnapReport::success(&invoice)).await,
            }
            world.notified(&invoice, sent).await;
        }
        world.event(&invoice, "order.paid").await;
        let marks = world.notified(&invoice, forms.len()).await;
        let reasons: Vec<&Value> = marks.iter().map(|mark| &mark["reason"]).collect();
        assert!(reasons[1..].iter().all(|reason| *reason == "duplicate"), "{forms:?}: {reasons:?}");
        assert!(
            marks.iter().all(|mark| mark["status"] == "SUCCESS" && mark["amount"] == "50000"),
            "{marks:?}"
        );
        ends.push(end(&world, &invoice).await);
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    world.end().await;
}

/// The sandbox words, minifies and signs by itself: Jakarta's times, escapes, white space, numbers with zeros.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandboxs_own_notifications_pay_in_every_way_that_doku_documents() {
    let world = with_dokus_key().build().await;
    let mut ends = Vec::new();
    for words in
        ["notify_twice", "notify_snap", "notify_snap_raw", "notify_both", "notify_snap,notify_reordered"]
    {
        let invoice = world.invoice();
        world.publish(&payment_with(&invoice, words)).await;
        world.event(&invoice, "order.paid").await;
        ends.push(end(&world, &invoice).await);
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    let forged = world.invoice();
    world.publish(&payment_with(&forged, "notify_snap_other_key")).await;
    world.event(&forged, "payment.accepted").await;
    let refused =
        async || world.sandbox.ledger().notifications_of(&forged).next().map(|sent| sent.http_status);
    assert_eq!(eventually("the forged one", refused).await, Some(401));
    assert_eq!(world.order(&forged).await["state"], "awaiting_payment");
    world.end().await;
}

/// Every order of three notifications, each sent twice, in each form and in both mixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_order_or_duplication_of_notifications_changes_the_end_whatever_their_form() {
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    const CODES: [&str; 3] = ["03", "06", "00"];
    const WORDS: [&str; 3] = ["PENDING", "FAILED", "SUCCESS"];
    let world = World::with().notified().build().await;
    for order in ORDERS {
        for first_in_snap in [true, false] {
            let invoice = world.waiting().await;
            for (sent, nth) in (0..).zip(order.iter().chain(&order)) {
                // What came in one form comes again in the other.
                if (sent < 3) == first_in_snap {
                    world.notify_snap(&SnapReport::of(&invoice, CODES[*nth], "\"50000.00\"")).await;
                } else {
                    world.notify(&Report::of(&invoice, WORDS[*nth], "50000")).await;
                }
                world.notified(&invoice, sent + 1).await;
            }
            let marks = world.notified(&invoice, 6).await;
            assert!(marks[3..].iter().all(|mark| mark["reason"] == "duplicate"), "{marks:?}");
            world.event(&invoice, "order.paid").await;
            let failed_first = order.iter().position(|n| *n == 1) < order.iter().position(|n| *n == 2);
            let expected: &[&str] = if failed_first {
                &["payment.accepted", "order.failed", "order.paid"]
            } else {
                &["payment.accepted", "order.paid"]
            };
            assert_eq!(world.told(&invoice), expected, "{order:?}, {first_in_snap}");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_and_amount_moves_an_order_as_dokus_own_words_do() {
    let world = World::with().notified().build().await;
    for (code, amount, told, reason) in [
        ("00", "\"50000.00\"", Some("order.paid"), json!(null)),
        ("00", "50000", Some("order.paid"), json!(null)),
        ("05", "\"50000.00\"", Some("order.failed"), json!(null)),
        ("06", "\"50000\"", Some("order.failed"), json!(null)),
        ("09", "\"50000\"", Some("order.failed"), json!(null)),
        ("08", "\"5E+4\"", Some("order.expired"), json!(null)),
        ("04", "\"50000.00\"", Some("order.refunded"), json!(null)),
        ("01", "\"50000.00\"", None, json!("no_change")),
        ("07", "\"50000.00\"", None, json!("no_change")),
        ("42", "\"50000.00\"", None, json!("no_change")),
        ("SUCCESS", "\"50000.00\"", None, json!("no_change")),
        ("", "\"50000.00\"", None, json!("incomplete")),
        ("00", "null", None, json!("incomplete")),
        ("00", "\"50000.01\"", Some("order.review"), json!("amount_mismatch")),
    ] {
        let invoice = world.waiting().await;
        world.notify_snap(&SnapReport::of(&invoice, code, amount)).await;
        assert_eq!(world.notified(&invoice, 1).await[0]["reason"], reason, "{code} {amount}");
        match told {
            Some(told) => drop(world.event(&invoice, told).await),
            None => assert_eq!(world.order(&invoice).await["state"], "awaiting_payment", "{code} {amount}"),
        }
    }
    let invoice = world.waiting().await;
    let mut dollars = SnapReport::success(&invoice);
    dollars.body = String::from_utf8(dollars.body).unwrap().replace("IDR", "USD").into();
    world.notify_snap(&dollars).await;
    assert_eq!(world.event(&invoice, "order.review").await.data("error")["code"], "amount_mismatch");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_channel_and_another_account_decide_nothing() {
    let world = World::with().notified().build().await;
    let of_channel = |invoice: &str, code: &str| {
        let mut report = SnapReport::of(invoice, code, "\"50000.00\"");
        report.body =
            String::from_utf8(report.body).unwrap().replace("EMONEY_JENIUS_SNAP", "EMONEY_DANA_SNAP").into();
        report
    };
    let invoice = world.waiting().await;
    for (sent, code) in (1..).zip(["06", "08", "03"]) {
        world.notify_snap(&of_channel(&invoice, code)).await;
        assert_eq!(world.notified(&invoice, sent).await[sent - 1]["reason"], "other_request", "{code}");
    }
    assert_eq!(world.order(&invoice).await["state"], "awaiting_payment");
    world.notify_snap(&of_channel(&invoice, "00")).await;
    assert_eq!(world.event(&invoice, "order.review").await.data("error")["code"], "other_request");

    let bought_elsewhere = world.waiting().await;
    world.notify_snap(&SnapReport::of_virtual_account(&bought_elsewhere)).await;
    assert_eq!(world.event(&bought_elsewhere, "order.review").await.data("error")["code"], "other_request");
    // What is said of our own request decides.
    world.notify_snap(&SnapReport::success(&bought_elsewhere)).await;
    world.event(&bought_elsewhere, "order.paid").await;

    let theirs = world.waiting().await;
    let report = SnapReport::success(&theirs);
    let signer = Signer::Key(OTHER_SECRET_KEY.to_owned());
    world.notify_snap(&SnapReport { partner_id: OTHER_CLIENT_ID.to_owned(), signer, ..report }).await;
    eventually("it to be parked", async || (world.database.count(PARKED).await == 1).then_some(())).await;
    assert_eq!(world.order(&theirs).await["notifications"], json!([]));
    world.publish(&payment(&theirs).with("merchant", "other")).await;
    eventually("the other merchant's order", async || {
        world.events(|e| e.body["source"] == "/jenius-pay/other" && e.routing_key == "order.paid").pop()
    })
    .await;
    assert_eq!(world.order(&theirs).await["state"], "awaiting_payment");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_may_publish_the_snap_form_and_what_does_not_verify_is_a_dead_letter() {
    let world = with_dokus_key().set("DOKU__SNAP__TOKEN", "issued").build().await;
    let parked = world.invoice();
    // Only the ingress judges the token, when the request comes.
    world.queue(&SnapReport::success(&parked).event()).await;
    eventually("it to be parked", async || (world.database.count(PARKED).await == 1).then_some(())).await;
    world.publish(&payment(&parked)).await;
    world.event(&parked, "order.paid").await;

    let invoice = world.waiting().await;
    let raw = SnapReport {
        signer: Signer::KeyOverRaw(crate::harness::world::SECRET_KEY.to_owned()),
        ..SnapReport::success(&invoice)
    };
    world.queue(&raw.event()).await;
    world.event(&invoice, "order.paid").await;
    let shown = run(&world, &["orders", "show", &invoice], "").await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("notification (SNAP)"), "{shown}");

    let waiting = world.waiting().await;
    let forged = SnapReport { signer: Signer::Key("SK-forged".to_owned()), ..SnapReport::success(&waiting) };
    let mut twice = SnapReport::success(&waiting).event();
    twice["data"]["headers"]["x-signature"] = twice["data"]["headers"]["X-SIGNATURE"].clone();
    for event in [forged.event(), twice] {
        world.queue(&event).await;
        eventually("the dead letter", async || (world.broker.depth("dead").await == 1).then_some(())).await;
        let listed = run(&world, &["dead", "list", "--json"], "").await;
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!(listed[0]["reason"], "not_authentic", "{listed}");
        let id = listed[0]["id"].as_str().unwrap();
        let shown = run(&world, &["dead", "show", id], "").await;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("X-PARTNER-ID") && shown.contains("latestTransactionStatus"), "{shown}");
        assert!(!shown.contains(crate::harness::snap::TOKEN), "{shown}");
        let letter = world.broker.get("dead").await.unwrap();
        assert_eq!(letter.reason.as_deref(), Some("not_authentic"));
        assert_eq!(letter.body, event.to_string().into_bytes());
    }
    assert_eq!(world.order(&waiting).await["state"], "awaiting_payment");
    world.end().await;
}

/// An RSA signature covers no account: whoever caught one could name another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dokus_own_key_signed_decides_nothing_and_has_doku_asked_once_a_minute() {
    let world = with_dokus_key().build().await;
    // DOKU does not confirm it: the order stays as it is.
    let invoice = world.waiting().await;
    let inquiries = |invoice: &str| world.sandbox.ledger().inquiries_of(invoice).count();
    for code in ["00", "00", "06", "04"] {
        world.notify_snap(&SnapReport::of(&invoice, code, "\"50000.00\"").by_doku()).await;
    }
    let marks = world.notified(&invoice, 3).await;
    assert!(marks.iter().all(|mark| mark["reason"] == "not_bound" && mark["applied"] == false), "{marks:?}");
    eventually("an inquiry", async || (inquiries(&invoice) == 1).then_some(())).await;
    a_while().await;
    a_while().await;
    assert_eq!((inquiries(&invoice), marks.len()), (1, 3), "once a minute, and the same is kept once");
    assert_eq!(world.told(&invoice), ["payment.accepted"]);
    // The account's own word is none that came before.
    world.notify_snap(&SnapReport::success(&invoice)).await;
    world.event(&invoice, "order.paid").await;

    // DOKU confirms it when it is asked, at once: Check Status' own time is an hour away.
    let paid = world.invoice();
    world.publish(&payment_with(&paid, "notify_snap_rsa")).await;
    let event = world.event(&paid, "order.paid").await;
    assert_eq!(event.data("evidence"), "check");
    assert_eq!(world.notified(&paid, 1).await[0]["reason"], "not_bound");

    // Of an order that ended, DOKU is asked too, and once.
    world.notify_snap(&SnapReport::of(&invoice, "04", "\"50000.00\"").by_doku()).await;
    // Nothing is parked.
    let unknown = world.invoice();
    world.notify_snap(&SnapReport::success(&unknown).by_doku()).await;
    // It is looked at before its order is there.
    eventually("an empty queue", async || (world.broker.depth("notifications").await == 0).then_some(()))
        .await;
    a_while().await;
    world.publish(&payment_with(&unknown, "never_pays")).await;
    world.event(&unknown, "payment.accepted").await;
    assert_eq!(world.database.count(PARKED).await, 0);
    assert_eq!(world.order(&unknown).await["notifications"], json!([]));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_dokus_own_key_tells_of_a_paid_order_is_found_by_asking() {
    let world = with_dokus_key().build().await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    assert_eq!(world.order(&invoice).await["due"], Value::Null);
    world.notify_snap(&SnapReport::of(&invoice, "04", "\"50000.00\"").by_doku()).await;
    eventually("an inquiry", async || {
        (world.sandbox.ledger().inquiries_of(&invoice).count() == 1).then_some(())
    })
    .await;
    eventually("nothing to be due", async || {
        (world.order(&invoice).await["due"] == Value::Null).then_some(())
    })
    .await;
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"], "DOKU says that it is paid");
    world.end().await;
}

//! Reports about another request of the same invoice: another channel's, say. None of them decides an order by
//! itself; one that tells of money asks for a person.

use crate::harness::{
    World,
    child::{Service, run},
    commands, eventually, payment,
    reports::Report,
    vitals::metric,
};
use jenius_pay::app::Role;
use serde_json::{Value, json};

/// Another channel's request for the same invoice.
const OTHER: &str = "VA-0001";

fn about_another(invoice: &str, status: &str) -> Report {
    Report::about(OTHER, invoice, status)
}

async fn reasons(world: &World, invoice: &str, count: usize) -> Vec<Value> {
    world.notified(invoice, count).await.iter().map(|mark| mark["reason"].clone()).collect()
}

/// An order whose customer has paid.
async fn paid(world: &World) -> String {
    let invoice = world.waiting().await;
    world.notify(&Report::about(&invoice, &invoice, "SUCCESS")).await;
    world.event(&invoice, "order.paid").await;
    invoice
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_customer_may_still_pay_only_money_elsewhere_asks_for_a_person() {
    let world = World::with().notified().build().await;
    let invoice = world.waiting().await;
    for (sent, status) in (1..).zip(["FAILED", "EXPIRED", "PENDING", "BREWING"]) {
        world.notify(&about_another(&invoice, status)).await;
        assert_eq!(reasons(&world, &invoice, sent).await, vec![json!("other_request"); sent], "{status}");
        assert_eq!(world.order(&invoice).await["state"], "awaiting_payment", "{status}");
    }
    // The amount is judged after the request.
    let mut other_amount = about_another(&invoice, "FAILED");
    other_amount.body = String::from_utf8(other_amount.body).unwrap().replace("50000", "49999").into();
    world.notify(&other_amount).await;
    assert_eq!(reasons(&world, &invoice, 5).await[4], "other_request");
    assert_eq!(world.told(&invoice), ["payment.accepted"]);

    world.notify(&about_another(&invoice, "SUCCESS")).await;
    let review = world.event(&invoice, "order.review").await;
    assert_eq!(
        (&review.data("error")["code"], review.data("state")),
        (&json!("other_request"), &json!("review"))
    );
    let order = world.order(&invoice).await;
    assert_eq!(order["due"]["kind"], "inquiry", "DOKU is asked again about our own request");
    let listed = run(&world, &["orders", "list", "--state", "review"], "").await;
    assert!(String::from_utf8_lossy(&listed.stdout).contains("other_request"));
    // What is not about our own request decides nothing now either, what is does.
    world.notify(&about_another(&invoice, "REFUNDED")).await;
    world.notify(&about_another(&invoice, "SUCCESS")).await;
    assert_eq!(
        reasons(&world, &invoice, 8).await[5..],
        [json!("other_request"), json!("other_request"), json!("other_request")]
    );
    world.notify(&Report::about(&invoice, &invoice, "SUCCESS")).await;
    world.event(&invoice, "order.paid").await;
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.review", "order.paid"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_before_the_command_only_money_elsewhere_keeps_the_send_back() {
    let world = World::with().notified().build().await;
    for status in ["FAILED", "EXPIRED", "PENDING"] {
        let invoice = world.invoice();
        world.notify(&about_another(&invoice, status)).await;
        parked(&world, 1).await;
        world.publish(&commands::payment_with(&invoice, "never_pays")).await;
        world.event(&invoice, "payment.accepted").await;
        assert_eq!(world.sandbox.ledger().charges_of(&invoice).count(), 1, "{status}");
        assert_eq!(reasons(&world, &invoice, 1).await, ["other_request"], "{status}");
        assert_eq!(world.told(&invoice), ["payment.accepted"], "{status}");
    }
    for status in ["SUCCESS", "REFUNDED"] {
        let invoice = world.invoice();
        world.notify(&about_another(&invoice, status)).await;
        parked(&world, 1).await;
        world.publish(&payment(&invoice)).await;
        let review = world.event(&invoice, "order.review").await;
        assert_eq!(review.data("error")["code"], "other_request", "{status}");
        assert_eq!(world.told(&invoice), ["payment.unresolved", "order.review"], "{status}");
        assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 0, "{status}");
        assert_eq!(reasons(&world, &invoice, 1).await, ["other_request"], "{status}");
    }
    world.end().await;
}

async fn parked(world: &World, count: i64) {
    const PARKED: &str = "SELECT count(*) FROM notifications WHERE order_key IS NULL";
    eventually("it to be parked", async || (world.database.count(PARKED).await == count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_elsewhere_of_what_is_paid_asks_for_a_person_and_of_a_refund_under_way_too() {
    let world = World::with().notified().build().await;
    let bought = paid(&world).await;
    for status in ["SUCCESS", "FAILED", "EXPIRED", "PENDING"] {
        world.notify(&about_another(&bought, status)).await;
    }
    reasons(&world, &bought, 5).await;
    assert_eq!(world.order(&bought).await["state"], "paid");
    world.notify(&about_another(&bought, "REFUNDED")).await;
    let review = world.event(&bought, "order.review").await;
    assert_eq!(review.data("error")["code"], "other_request");
    // It was paid: no late word of DOKU's makes it anything but paid or refunded.
    for status in ["FAILED", "EXPIRED"] {
        world.notify(&Report::about(&bought, &bought, status)).await;
    }
    reasons(&world, &bought, 8).await;
    assert_eq!(world.order(&bought).await["state"], "review");
    // Old bytes do not undo what a person decided.
    let decided = ["orders", "resolve", &bought, "--state", "paid", "--reason", "seen", "--yes"];
    let decided = run(&world, &decided, "").await;
    assert!(decided.status.success(), "{decided:?}");
    world.notify(&about_another(&bought, "REFUNDED")).await;
    assert_eq!(reasons(&world, &bought, 9).await[8], "other_request");
    assert_eq!(world.order(&bought).await["state"], "paid");

    let refunding = paid(&world).await;
    world.publish(&commands::refund_with(&refunding, "hang*")).await;
    world.state(&refunding, "refunding").await;
    world.notify(&about_another(&refunding, "SUCCESS")).await;
    assert_eq!(reasons(&world, &refunding, 2).await[1], "other_request");
    assert_eq!(world.order(&refunding).await["state"], "refunding");
    world.notify(&about_another(&refunding, "REFUNDED")).await;
    world.event(&refunding, "refund.unresolved").await;
    world.state(&refunding, "review").await;
    assert_eq!(world.told(&refunding), ["payment.accepted", "order.paid", "refund.unresolved"]);
    // Nobody may ask for a second refund of what may be refunded.
    let again = commands::refund(&refunding);
    world.publish(&again).await;
    assert_eq!(world.errors(again.id()).await[0].0, "refund_in_progress");
    world.end().await;
}

/// A refund's own Request-Id is one of the order's, an earlier refund's too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_the_order_is_its_own() {
    let world = World::with().notified().build().await;
    let invoice = paid(&world).await;
    for fault in ["declined", "already_refunded"] {
        world.publish(&commands::refund_with(&invoice, fault)).await;
        eventually("the refund to be declined", async || {
            let order = world.find_order(&invoice).await?;
            let declined =
                world.events(|e| e.invoice() == Some(&invoice) && e.routing_key == "refund.declined");
            (order["state"] == "paid" && declined.len() == 1 + usize::from(fault != "declined")).then_some(())
        })
        .await;
    }
    let declined = world.events(|e| e.invoice() == Some(&invoice) && e.routing_key == "refund.declined");
    let earlier = declined[0].data("request_id").as_str().unwrap().to_owned();
    assert_ne!(earlier, declined[1].data("request_id").as_str().unwrap());
    world.notify(&Report::about(&earlier, &invoice, "REFUNDED")).await;
    world.event(&invoice, "order.refunded").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inquiry_that_another_request_answers_is_one_that_failed() {
    let world = World::with().set("CHECK__AFTERWARDS_MS", "1500,1600,1700,1800,1900,2000").build().await;
    let failed = world.invoice();
    world.publish(&commands::payment_with(&failed, "pay_fails,check_other_request*")).await;
    eventually("two inquiries", async || {
        let order = world.find_order(&failed).await?;
        let failed = order["attempts"].as_array().unwrap().iter().filter(|a| a["result"] == "inquiry_failed");
        (failed.count() >= 2).then_some(())
    })
    .await;
    assert_eq!(world.order(&failed).await["state"], "awaiting_payment");
    assert_eq!(world.told(&failed), ["payment.accepted"]);

    let bought = world.invoice();
    world.publish(&commands::payment_with(&bought, "check_other_request*4")).await;
    let review = world.event(&bought, "order.review").await;
    assert_eq!(
        (&review.data("error")["code"], review.data("evidence")),
        (&json!("other_request"), &json!("check"))
    );
    // Asked again, DOKU tells of our own request.
    world.event(&bought, "order.paid").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_can_be_turned_off_for_what_is_in_review_too() {
    let mut world = World::with().notified().build().await;
    let invoice = world.waiting().await;
    let elsewhere = about_another(&invoice, "SUCCESS");
    world.notify(&elsewhere).await;
    world.event(&invoice, "order.review").await;
    world.stop().await;
    world.settings.insert("JENIUS_PAY__DOKU__MATCH_REQUEST_ID".to_owned(), "false".to_owned());
    world.start(&Role::UNNAMED).await;
    world.notify(&elsewhere).await;
    world.event(&invoice, "order.paid").await;
    let other = world.waiting().await;
    world.notify(&about_another(&other, "EXPIRED")).await;
    world.event(&other, "order.expired").await;
    world.end().await;
}

/// If DOKU named every request by another id than ours, nothing would ever be decided: somebody must hear of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchant_whose_requests_are_never_matched_fails_the_doctor_until_one_is() {
    let late = World::with().set("CHECK__FIRST_AFTER_MS", 3_600_000);
    let world = late.without_service().build().await;
    // A process of its own: all worlds of one share their gauges.
    let service = Service::start(&world).await;
    let unmatched = async |count: f64| {
        let words = ["jenius_reports_never_matched{", "merchant=\"default\""];
        eventually("the count of reports", async || {
            (metric(&service.admin, &words).await == count).then_some(())
        })
        .await;
        let output = run(&world, &["doctor", "--json"], "").await;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = said["checks"].as_array().unwrap();
        checks.iter().find(|c| c["name"] == "work.requests").unwrap()["status"].as_str().unwrap().to_owned()
    };
    let mut invoices = Vec::new();
    for nth in 0..3 {
        let invoice = world.waiting().await;
        world.queue(&Report::about(&format!("OTHER-{nth}"), &invoice, "EXPIRED").event()).await;
        reasons(&world, &invoice, 1).await;
        invoices.push(invoice);
    }
    assert_eq!(unmatched(3.0).await, "fail");
    world.queue(&Report::about(&invoices[0], &invoices[0], "PENDING").event()).await;
    reasons(&world, &invoices[0], 2).await;
    assert_eq!(unmatched(0.0).await, "ok");
    drop(service);
    world.end().await;
}

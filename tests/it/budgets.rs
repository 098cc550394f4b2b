//! Time: the end of a command's sends, what may be concluded then, and what may not. The database's clock
//! is the one that judges, so these stories move it.

use crate::harness::{World, broker::Event, commands, eventually, payment, world::a_while};
use doku_sandbox::Faults;
use serde_json::Value;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Past `retry.payment_max_elapsed_ms`.
const PAST_THE_BUDGET: Duration = Duration::from_secs(16 * 60);

fn faults(payment: &str, check: &str) -> Faults {
    let word = |w: &str| (!w.is_empty()).then(|| w.to_owned());
    Faults { payment: word(payment), check: word(check), ..Faults::default() }
}

/// Check Status as late as usual: what is in doubt is sent again, and not asked about.
async fn late_check() -> World {
    World::with().set("CHECK__FIRST_AFTER_MS", 60_000).build().await
}

/// Time goes on until it is told: inquiries after the end are at a distance from each other.
async fn told_in_time(world: &World, invoice: &str, told: &str, from: Duration) -> Event {
    for minutes in 0..20 {
        world.database.jump(from + minutes * MINUTE).await;
        let event = tokio::time::timeout(Duration::from_secs(2), world.event(invoice, told)).await;
        if let Ok(event) = event {
            return event;
        }
    }
    world.event(invoice, told).await
}

async fn attempts(world: &World, invoice: &str, result: &str) -> usize {
    let Some(order) = world.find_order(invoice).await else { return 0 };
    order["attempts"].as_array().unwrap().iter().filter(|a| a["result"] == result).count()
}

async fn attempted(world: &World, invoice: &str, result: &str) {
    eventually(&format!("an attempt that was {result}"), async || {
        (attempts(world, invoice, result).await > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doku_acted_and_nobody_can_find_out_for_two_days_is_review_and_never_failed() {
    let world = late_check().await;
    world.sandbox.set_faults(faults("act_then_drop", "500")).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    eventually("the first send", async || {
        (world.sandbox.ledger().sends_of(&invoice).count() > 0).then_some(())
    })
    .await;
    attempted(&world, &invoice, "in_doubt").await;
    let event = told_in_time(&world, &invoice, "payment.unresolved", PAST_THE_BUDGET).await;
    assert_eq!(event.data("state"), "review");
    world.database.jump(48 * HOUR).await;
    a_while().await;
    assert_eq!(world.told(&invoice), ["payment.unresolved"]);
    assert_eq!(world.order(&invoice).await["state"], "review");
    let ledger = world.sandbox.ledger();
    assert_eq!(ledger.charges_of(&invoice).count(), 1);
    world.end().await;
}

/// `review` by a spent budget is asked about afterwards, and evidence decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unresolved_payment_that_was_paid_is_found_by_an_inquiry_afterwards() {
    let world = late_check().await;
    world.sandbox.set_faults(faults("act_then_drop", "500")).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    attempted_some(&world, &invoice).await;
    told_in_time(&world, &invoice, "payment.unresolved", PAST_THE_BUDGET).await;
    assert_eq!(world.order(&invoice).await["due"]["kind"], "inquiry");
    world.sandbox.set_faults(Faults::default()).unwrap();
    world.database.jump(2 * HOUR).await;
    let paid = world.event(&invoice, "order.paid").await;
    assert_eq!((paid.data("evidence"), paid.data("previous_state")), (&"check".into(), &"review".into()));
    assert_eq!(world.told(&invoice), ["payment.unresolved", "order.paid"]);
    world.end().await;
}

async fn attempted_some(world: &World, invoice: &str) {
    attempted(world, invoice, "in_doubt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_certainly_never_acted_is_abandoned_at_its_end_and_not_sent_later() {
    let world = late_check().await;
    world.sandbox.set_faults(faults("429:0", "")).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    attempted(&world, &invoice, "not_acted").await;
    world.database.jump(PAST_THE_BUDGET).await;
    let event = world.event(&invoice, "payment.abandoned").await;
    assert_eq!(event.data("state"), "abandoned");
    let sends = world.sandbox.ledger().sends_of(&invoice).count();
    world.sandbox.set_faults(Faults::default()).unwrap();
    a_while().await;
    let ledger = world.sandbox.ledger();
    assert_eq!(ledger.sends_of(&invoice).count(), sends);
    assert_eq!((ledger.charges.len(), ledger.inquiries_of(&invoice).count()), (0, 1), "DOKU was asked");
    assert_eq!(event.data("evidence"), "check");
    world.end().await;
}

/// By our records nothing was sent, and nobody can be asked: three inquiries that failed are the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_nobody_can_be_asked_about_is_abandoned_after_three_tries() {
    let world = late_check().await;
    world.sandbox.set_faults(faults("429:0", "500")).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    attempted(&world, &invoice, "not_acted").await;
    told_in_time(&world, &invoice, "payment.abandoned", PAST_THE_BUDGET).await;
    assert_eq!(world.sandbox.ledger().inquiries_of(&invoice).count(), 3);
    world.end().await;
}

fn ago(seconds: i64) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    chrono::DateTime::from_timestamp(i64::try_from(now).unwrap() - seconds, 0).unwrap().to_rfc3339()
}

/// Nobody wants a payment request long after the checkout, wherever it waited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_not_sent_later_than_its_budget_after_its_own_time() {
    let world = World::new().await;
    let old = payment(&world.invoice()).with("time", ago(20 * 60));
    world.publish(&old).await;
    let rejected = world.rejected(old.id()).await;
    let error = &rejected.data("errors")[0];
    assert_eq!((&error["code"], &error["field"]), (&"command_expired".into(), &"expirytime".into()));
    let message = error["message"].as_str().unwrap();
    for part in ["its time is ", "its budget 900 s", "was first seen at "] {
        assert!(message.contains(part), "{message}");
    }
    // A younger one has what is left of its budget; one from the future its whole budget, from its claim on.
    for (seconds, least, most) in [(10 * 60, 200, 301), (-3600, 890, 901)] {
        let invoice = world.invoice();
        let command = payment(&invoice).with("time", ago(seconds));
        world.publish(&command).await;
        world.event(&invoice, "payment.accepted").await;
        let left = sqlx::query_scalar::<_, i64>(
            "SELECT extract(epoch FROM sends_end_at - claimed_at)::bigint FROM commands WHERE invoice_number = $1",
        )
        .bind(&invoice)
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
        assert!((least..most).contains(&left), "{seconds} s old: {left} s left");
    }
    // The delivery's own property is no part of the command.
    let undated = payment(&world.invoice()).with("time", Value::Null);
    let hour_ago = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - 3600;
    world.broker.publish_dated(&undated, hour_ago).await;
    world.event(undated.body["data"]["order"]["invoice_number"].as_str().unwrap(), "payment.accepted").await;
    // A refund is owed, however old.
    let invoice = world.invoice();
    world.paid(&invoice).await;
    world.publish(&commands::refund(&invoice).with("time", ago(2 * 86_400))).await;
    world.event(&invoice, "order.refunded").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_send_starts_after_the_expirytime() {
    let world = World::new().await;
    world.sandbox.set_faults(faults("429:0", "")).unwrap();
    let invoice = world.invoice();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let end =
        chrono::DateTime::from_timestamp_millis(i64::try_from(now.as_millis()).unwrap() + 1500).unwrap();
    world.publish(&payment(&invoice).with("expirytime", end.to_rfc3339())).await;
    world.event(&invoice, "payment.abandoned").await;
    let ledger = world.sandbox.ledger();
    let last = ledger.sends_of(&invoice).map(|r| r.at).max().unwrap();
    assert!(last <= end, "sent at {last}, after {end}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_found_is_no_answer_before_the_grace_and_late_enough_it_proves_that_nothing_happened() {
    let world = late_check().await;
    world.sandbox.set_faults(faults("drop", "")).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    attempted(&world, &invoice, "in_doubt").await;
    world.database.jump(PAST_THE_BUDGET).await;
    attempted(&world, &invoice, "not_found").await;
    a_while().await;
    assert!(world.told(&invoice).is_empty(), "concluded within the grace: {:?}", world.told(&invoice));
    world.database.jump(PAST_THE_BUDGET + 66 * MINUTE).await;
    world.event(&invoice, "payment.abandoned").await;
    assert_eq!(world.sandbox.ledger().charges.len(), 0);
    world.end().await;
}

/// DOKU acted and does not know the order for a while: one charge, and it is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_found_for_a_while_and_then_success_is_paid_and_charged_once() {
    let world = late_check().await;
    world.sandbox.set_faults(faults("act_then_drop", "not_found*1")).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    attempted(&world, &invoice, "in_doubt").await;
    world.database.jump(PAST_THE_BUDGET).await;
    attempted(&world, &invoice, "not_found").await;
    world.database.jump(PAST_THE_BUDGET + 66 * MINUTE).await;
    world.event(&invoice, "order.paid").await;
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"]);
    assert_eq!(world.sandbox.ledger().charges_of(&invoice).count(), 1);
    world.end().await;
}

/// An unsigned not-found proves nothing, however late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsigned_not_found_never_abandons() {
    let world = late_check().await;
    world.sandbox.set_faults(faults("drop", "not_found_unsigned")).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    attempted(&world, &invoice, "in_doubt").await;
    world.database.jump(PAST_THE_BUDGET).await;
    eventually("an inquiry", async || {
        (world.sandbox.ledger().inquiries_of(&invoice).count() > 0).then_some(())
    })
    .await;
    // A send may have been under way at the first jump: its grace begins there.
    told_in_time(&world, &invoice, "payment.unresolved", PAST_THE_BUDGET + 66 * MINUTE).await;
    world.end().await;
}

/// A worker that was off for a day asks before it concludes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_ended_while_nobody_worked_is_concluded_by_asking() {
    let mut world = late_check().await;
    world.sandbox.set_faults(faults("act_then_drop", "")).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    attempted(&world, &invoice, "in_doubt").await;
    world.stop().await;
    let sends = world.sandbox.ledger().sends_of(&invoice).count();
    world.database.jump(24 * HOUR).await;
    world.start(&jenius_pay::app::Role::UNNAMED).await;
    world.event(&invoice, "order.paid").await;
    let ledger = world.sandbox.ledger();
    assert_eq!(ledger.sends_of(&invoice).count(), sends, "sent after the end of its budget");
    assert!(ledger.inquiries_of(&invoice).count() >= 1);
    world.end().await;
}

/// Success and not-found say nothing about a refund; only Refunded does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_in_doubt_at_its_end_is_unresolved_and_holds_the_order() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    world.publish(&commands::refund_with(&invoice, "drop*")).await;
    eventually("an attempt in doubt", async || {
        let order = world.order(&invoice).await;
        (order["refund"]["attempts"][0]["result"] == "in_doubt").then_some(())
    })
    .await;
    world.database.jump(25 * HOUR).await;
    world.event(&invoice, "refund.unresolved").await;
    let order = world.order(&invoice).await;
    assert_eq!((&order["state"], &order["refund"]["state"]), (&"review".into(), &"unresolved".into()));
    let second = commands::refund(&invoice);
    world.publish(&second).await;
    assert_eq!(world.errors(second.id()).await[0].0, "refund_in_progress");
    assert_eq!(world.sandbox.ledger().refunds_of(&invoice).count(), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_certainly_never_acted_is_abandoned_and_may_be_asked_for_again() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    world.publish(&commands::refund_with(&invoice, "429:0*")).await;
    eventually("an attempt", async || {
        let order = world.order(&invoice).await;
        (order["refund"]["attempts"][0]["result"] == "not_acted").then_some(())
    })
    .await;
    world.database.jump(25 * HOUR).await;
    let event = world.event(&invoice, "refund.abandoned").await;
    assert_eq!(event.data("state"), "paid");
    world.publish(&commands::refund(&invoice)).await;
    world.event(&invoice, "order.refunded").await;
    world.end().await;
}

/// Check Status is the second way to learn of a payment; it goes through the table as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_check_status_reports_of_a_waiting_order_is_told() {
    let world = World::new().await;
    for (tag, told, last) in [
        ("pays_then_refunded", vec!["payment.accepted", "order.paid"], "order.paid"),
        ("pay_fails", vec!["payment.accepted", "order.failed"], "order.failed"),
        ("expires", vec!["payment.accepted", "order.expired"], "order.expired"),
    ] {
        let invoice = world.invoice();
        world.publish(&commands::payment_with(&invoice, tag)).await;
        let event = eventually("the order's end", async || {
            world.events(|e| e.invoice() == Some(&invoice) && e.routing_key.starts_with("order.")).pop()
        })
        .await;
        if tag != "pays_then_refunded" {
            assert_eq!(event.routing_key, last, "{tag}");
            assert_eq!(world.told(&invoice), told, "{tag}");
        }
        assert_eq!(event.data("evidence"), "check", "{tag}");
    }
    world.end().await;
}

/// FAILED is not believed to be final: a later success moves the order, and says that it is late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_order_that_is_paid_after_all_is_told_as_late() {
    let world =
        World::with().set("CHECK__FIRST_AFTER_MS", 150).set("CHECK__AFTERWARDS_MS", "400,800").build().await;
    let invoice = world.invoice();
    world.publish(&commands::payment_with(&invoice, "fails_then_pays")).await;
    let paid = world.event(&invoice, "order.paid").await;
    if world.told(&invoice).contains(&"order.failed".to_owned()) {
        assert_eq!(paid.data("late"), true);
        assert_eq!(paid.data("previous_state"), "failed");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_nobody_pays_goes_to_review_after_three_days() {
    let world = late_check().await;
    let invoice = world.invoice();
    world.publish(&commands::payment_with(&invoice, "never_pays")).await;
    world.event(&invoice, "payment.accepted").await;
    world.database.jump(73 * HOUR).await;
    let review = world.event(&invoice, "order.review").await;
    assert_eq!(review.data("error")["code"], "check_gave_up");
    world.end().await;
}

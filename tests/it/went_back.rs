//! The database goes back in time, as after a failover to a standby that had lost the last commits: claims are gone, and
//! their keys are given to other orders. What DOKU was asked meanwhile is still true.

use crate::harness::{World, child::run, commands, eventually, payment, refund, world::CLIENT_ID};
use doku_sandbox::{Faults, TransactionStatus};
use jenius_pay::app::Role;

const PAYMENTS: i64 = 12;

async fn are_asked(world: &World, attempts: i64) {
    eventually("every claim to be committed", async || {
        (world.database.count("SELECT count(*) FROM due WHERE token IS NOT NULL").await >= attempts)
            .then_some(())
    })
    .await;
}

async fn forgotten(world: &World) -> u64 {
    let page = world.admin("/metrics").await.1;
    let line = page.lines().find(|line| line.starts_with("jenius_claims_forgotten_total "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// Workers hold the answers of claims that are gone, and the same keys belong to others by the time they come.
async fn answers_land_on_no_other_order_and_deliveries_are_kept(trust_response: bool) {
    let setting = World::with().without_service().set("DOKU__TIMEOUT_MS", 30_000);
    let mut world = setting.set("DOKU__TRUST_RESPONSE", trust_response).build().await;
    world.database.back_up().await;
    world.start(&Role::UNNAMED).await;
    // Long enough that every claim is committed, and lost, before its answer comes.
    world.sandbox.set_faults(Faults { latency_ms: 10_000, ..Faults::default() }).unwrap();
    let lost: Vec<String> = (0..PAYMENTS).map(|_| world.invoice()).collect();
    for invoice in &lost {
        world.publish(&payment(invoice)).await;
    }
    are_asked(&world, PAYMENTS).await;
    world.database.go_back().await;
    let others: Vec<String> = (0..PAYMENTS).map(|_| world.invoice()).collect();
    for invoice in &others {
        world.publish(&commands::payment_with(invoice, "failed")).await;
    }
    are_asked(&world, PAYMENTS).await;
    world.sandbox.set_faults(Faults::default()).unwrap();
    for invoice in &lost {
        world.event(invoice, "order.paid").await;
        assert_eq!(world.told(invoice), ["payment.accepted", "order.paid"]);
    }
    for invoice in &others {
        world.event(invoice, "payment.declined").await;
        assert_eq!(world.told(invoice), ["payment.declined"]);
        assert_eq!(world.order(invoice).await["attempts"].as_array().unwrap().len(), 1);
    }
    assert!(forgotten(&world).await >= PAYMENTS as u64);
    let ledger = world.sandbox.ledger();
    assert!(lost.iter().all(|invoice| ledger.charges_of(invoice).count() == 1));
    eventually("all deliveries to be acked", async || {
        (world.broker.depth("payments").await == 0).then_some(())
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_whose_claim_is_gone_lands_on_no_other_order_and_its_delivery_is_claimed_anew() {
    answers_land_on_no_other_order_and_deliveries_are_kept(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_answer_whose_claim_is_gone_pays_no_other_order() {
    answers_land_on_no_other_order_and_deliveries_are_kept(true).await;
}

/// The standby takes over when the command's time is over: the delivery that comes again is not called expired, since
/// DOKU may have been asked, and has been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_gone_when_its_time_is_over_is_asked_about() {
    let mut world = World::with().without_service().set("DOKU__TIMEOUT_MS", 30_000).build().await;
    world.database.back_up().await;
    world.start(&Role::UNNAMED).await;
    world.sandbox.set_faults(Faults { latency_ms: 10_000, ..Faults::default() }).unwrap();
    let invoice = world.invoice();
    #[expect(clippy::disallowed_methods, reason = "an upstream dates its commands by its own clock")]
    let end = chrono::Utc::now() + chrono::TimeDelta::minutes(5);
    world.publish(&payment(&invoice).with("expirytime", end.to_rfc3339())).await;
    are_asked(&world, 1).await;
    world.database.go_back().await;
    world.database.jump(std::time::Duration::from_secs(600)).await;
    world.sandbox.set_faults(Faults::default()).unwrap();
    world.event(&invoice, "order.paid").await;
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"]);
    assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 1, "no send starts after its time");
    world.end().await;
}

async fn restored(world: &World) -> String {
    let output = run(world, &["restored", "--reason", "restored"], "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn is(world: &World, invoice: &str, state: &str) {
    eventually(&format!("{invoice} to be {state}"), async || {
        (world.order(invoice).await["state"] == state).then_some(())
    })
    .await;
}

/// The order was refunded in the minutes that are lost, and its upstream asks again with a new id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_an_order_that_was_refunded_is_not_refunded_again() {
    let mut world = World::new().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    world.stop().await;
    world.database.back_up().await;
    world.start(&Role::UNNAMED).await;
    world.publish(&refund(&invoice)).await;
    world.event(&invoice, "order.refunded").await;
    world.stop().await;
    world.database.go_back().await;
    assert!(restored(&world).await.starts_with("0 orders will be asked about"));
    world.start(&Role::UNNAMED).await;
    assert_eq!(world.order(&invoice).await["state"], "paid");
    let again = refund(&invoice);
    world.publish(&again).await;
    let expected = [("already_refunded".to_owned(), "order.invoice_number".to_owned())];
    assert_eq!(world.errors(again.id()).await, expected);
    is(&world, &invoice, "refunded").await;
    let order = world.order(&invoice).await;
    assert!(order["refund"].is_null() && order["evidence"] == "check", "{order:#}");
    let ledger = world.sandbox.ledger();
    assert_eq!(ledger.refunds_of(&invoice).count(), 1);
    let one_more = refund(&invoice);
    world.publish(&one_more).await;
    assert_eq!(world.errors(one_more.id()).await, expected);
    let kept = "SELECT count(*) FROM operator_actions WHERE action = 'restored' AND reason = 'restored'";
    assert_eq!(world.database.count(kept).await, 1);
    world.end().await;
}

/// Nothing says whether it was refunded: the refund waits, and goes when DOKU says that the order is paid still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_a_refund_waits_for_an_inquiry_that_says_success() {
    let mut world = World::new().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    world.stop().await;
    restored(&world).await;
    world.sandbox.set_faults(Faults { check: Some("500".to_owned()), ..Faults::default() }).unwrap();
    world.start(&Role::UNNAMED).await;
    world.publish(&refund(&invoice)).await;
    eventually("inquiries that fail", async || {
        let order = world.order(&invoice).await;
        let attempts = order["refund"]["attempts"].as_array()?;
        let failed = attempts.iter().filter(|a| a["result"] == "inquiry_failed").count();
        assert!(attempts.iter().all(|a| a["kind"] == "inquiry"), "{order:#}");
        (failed >= 4).then_some(())
    })
    .await;
    assert_eq!(world.sandbox.ledger().refunds_of(&invoice).count(), 0);
    world.sandbox.set_faults(Faults::default()).unwrap();
    world.event(&invoice, "order.refunded").await;
    assert_eq!(world.sandbox.ledger().refunds_of(&invoice).count(), 1);
    world.end().await;
}

/// By the backup it was never sent, and its time is over: DOKU has been paid for it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_what_the_backup_calls_unsent_is_asked_about() {
    let mut world = World::new().await;
    let invoice = world.invoice();
    world.publish(&commands::payment_with(&invoice, "429:0*")).await;
    eventually("a send", async || (world.sandbox.ledger().sends_of(&invoice).count() > 1).then_some(()))
        .await;
    world.stop().await;
    world.database.back_up().await;
    let pays = Faults { invoices: [(invoice.clone(), "pending".to_owned())].into(), ..Faults::default() };
    world.sandbox.set_faults(pays).unwrap();
    world.start(&Role::UNNAMED).await;
    world.event(&invoice, "order.paid").await;
    world.stop().await;
    world.database.go_back().await;
    world.database.jump(std::time::Duration::from_secs(16 * 60)).await;
    for _ in 0..2 {
        assert!(restored(&world).await.starts_with("1 orders will be asked about"));
    }
    world.start(&Role::UNNAMED).await;
    is(&world, &invoice, "paid").await;
    assert!(world.events(|e| e.routing_key == "payment.abandoned").is_empty());
    assert_eq!(world.sandbox.ledger().charges_of(&invoice).count(), 1);
    world.end().await;
}

/// Its inquiries afterwards are made, and its customer pays late, in the minutes that are lost: one failure of Check Status
/// is not the end of what the restore asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_an_order_that_expired_long_ago_is_asked_about_until_doku_answers() {
    let mut world = World::with().set("CHECK__AFTERWARDS_MS", "").build().await;
    let invoice = world.waiting().await;
    assert!(world.sandbox.set_status(CLIENT_ID, &invoice, TransactionStatus::Expired));
    world.event(&invoice, "order.expired").await;
    world.stop().await;
    assert_eq!(world.database.count("SELECT count(*) FROM due").await, 0);
    assert!(world.sandbox.set_status(CLIENT_ID, &invoice, TransactionStatus::Success));
    world.sandbox.set_faults(Faults { check: Some("500".to_owned()), ..Faults::default() }).unwrap();
    assert!(restored(&world).await.starts_with("1 orders will be asked about"));
    world.start(&Role::UNNAMED).await;
    eventually("an inquiry that failed", async || {
        let order = world.order(&invoice).await;
        let attempts = order["attempts"].as_array()?;
        attempts.iter().any(|a| a["result"] == "inquiry_failed").then_some(())
    })
    .await;
    world.sandbox.set_faults(Faults::default()).unwrap();
    let paid = world.event(&invoice, "order.paid").await;
    assert_eq!((paid.data("late"), paid.data("evidence")), (&true.into(), &"check".into()));
    world.end().await;
}

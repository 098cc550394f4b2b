//! Notifications that came before their order: many of them, the same ones again and again, and what decides
//! behind much that does not.

use crate::harness::{World, commands::payment_with, eventually, payment, reports::Report};

const PARKED: &str = "SELECT count(*) FROM notifications WHERE order_key IS NULL";
/// More than the rows that are applied in one transaction.
const MANY: usize = 110;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_report_however_often_it_is_sent_is_parked_once() {
    let world = World::with().notified().build().await;
    let invoice = world.invoice();
    let captured = Report::of(&invoice, "EXPIRED", "\"50000\"");
    let posted = (0..40).map(|_| world.notify(&captured));
    futures_util::future::join_all(posted).await;
    // By another notification of DOKU's, and written in another way, it is the same report.
    world.notify(&Report::of(&invoice, "expired", "5E+4")).await;
    world.notify(&Report::of(&invoice, "EXPIRED", "49999")).await;
    eventually("the last to be parked", async || {
        let last = "SELECT count(*) FROM notifications WHERE amount = '49999'";
        (world.database.count(last).await == 1).then_some(())
    })
    .await;
    eventually("all to be taken", async || (world.broker.depth("notifications").await == 0).then_some(()))
        .await;
    assert_eq!(world.database.count(PARKED).await, 2);
    world.end().await;
}

/// What decides is seen before the send, whatever was parked before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deciding_evidence_behind_much_that_decides_nothing_is_seen_before_the_send() {
    let world = World::with().notified().build().await;
    let invoice = world.invoice();
    let undeciding: Vec<Report> =
        (0..MANY).map(|nth| Report::about(&format!("VA-{nth}"), &invoice, "FAILED")).collect();
    futures_util::future::join_all(undeciding.iter().map(|report| world.notify(report))).await;
    let many = i64::try_from(MANY).unwrap();
    eventually("all to be parked", async || (world.database.count(PARKED).await == many).then_some(())).await;
    world.notify(&Report::success(&invoice)).await;
    eventually("the last to be parked", async || (world.database.count(PARKED).await > many).then_some(()))
        .await;
    world.publish(&payment_with(&invoice, "never_pays")).await;
    world.event(&invoice, "order.paid").await;
    assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 0, "DOKU was asked though it is decided");
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"]);
    eventually("nothing to be parked", async || (world.database.count(PARKED).await == 0).then_some(()))
        .await;
    world.publish(&payment(&world.invoice())).await;
    world.end().await;
}

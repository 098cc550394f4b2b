//! Retention: an order that was pruned is as good as any other for whoever asks for something.

use crate::harness::{World, child::run, commands, eventually, payment, reports::Report};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn prune(world: &World, more: &[&str]) -> String {
    let output = run(world, &[&["prune", "--older-than", "90"], more].concat(), "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// How many stored requests tell the customer's name.
async fn names(world: &World) -> i64 {
    let told = "SELECT count(*) FROM commands WHERE position('Astari' IN encode(request_body, 'escape')) > 0";
    world.database.count(told).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pruned_order_still_knows_its_duplicates_takes_a_refund_and_tells_its_story() {
    let world = World::new().await;
    let (old, young) = (world.invoice(), world.invoice());
    let asked = payment(&old);
    world.publish(&asked).await;
    let accepted = world.event(&old, "payment.accepted").await;
    world.event(&old, "order.paid").await;
    world.database.jump(100 * DAY).await;
    world.paid(&young).await;

    let would = prune(&world, &["--dry-run"]).await;
    assert!(would.starts_with("would prune 1 requests (") && names(&world).await == 2, "{would}");
    let did = prune(&world, &["--reason", "monthly"]).await;
    assert_eq!((did.replace("pruned", "would prune"), names(&world).await), (would, 1));
    let kept = "SELECT count(*) FROM operator_actions WHERE action = 'prune' AND reason = 'monthly'";
    assert_eq!(world.database.count(kept).await, 2, "that it began, and what it did");

    world.publish(&asked).await;
    let again = async || {
        let told = world.events(|e| e.routing_key == "payment.accepted" && e.invoice() == Some(&old));
        (told.len() == 2).then_some(told)
    };
    let told = eventually("the outcome to be published again", again).await;
    assert_eq!(told[1].body, accepted.body);
    assert_eq!(world.sandbox.ledger().charges_of(&old).count(), 1);

    let shown = run(&world, &["orders", "show", &old], "").await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("pruned") && shown.contains("event 2 order.paid"), "{shown}");
    assert_eq!(world.order(&old).await["attempts"].as_array().unwrap().len(), 0);
    assert_eq!(run(&world, &["orders", "check", &old], "").await.status.code(), Some(0));

    world.publish(&commands::refund(&old)).await;
    world.event(&old, "order.refunded").await;
    assert_eq!(world.sandbox.ledger().refunds_of(&old).count(), 1);
    world.end().await;
}

/// What was told before is known after a prune too: the same bytes undo nothing that a person decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decided_order_stays_decided_when_old_bytes_come_after_a_prune() {
    let world = World::with().notified().build().await;
    let bought = world.waiting().await;
    world.notify(&Report::success(&bought)).await;
    world.event(&bought, "order.paid").await;
    let old = [Report::of(&bought, "SUCCESS", "50001"), Report::of(&bought, "FAILED", "50000")];
    for report in old.iter().chain(&old) {
        world.notify(report).await;
    }
    world.event(&bought, "order.review").await;
    world.notified(&bought, 5).await;
    let decided =
        run(&world, &["orders", "resolve", &bought, "--state", "paid", "--reason", "seen", "--yes"], "")
            .await;
    assert!(decided.status.success(), "{}", String::from_utf8_lossy(&decided.stderr));
    world.event(&bought, "order.resolved").await;

    world.database.jump(100 * DAY).await;
    prune(&world, &["--reason", "monthly"]).await;
    let marks = world.notified(&bought, 3).await;
    assert_eq!(marks.len(), 3, "one of each: {marks:?}");
    for report in &old {
        world.notify(report).await;
    }
    let marks = world.notified(&bought, 5).await;
    assert!(marks[3..].iter().all(|mark| mark["reason"] == "duplicate"), "{marks:?}");
    assert_eq!(world.order(&bought).await["state"], "paid");
    assert_eq!(world.told(&bought), ["payment.accepted", "order.paid", "order.review", "order.resolved"]);
    world.end().await;
}

//! Doubt is sticky: whatever happens to the sends of a command, one after the other, what DOKU did is never
//! told as not done. Held against the sandbox's ledger.

use crate::harness::{World, commands, eventually, payment};
use doku_sandbox::{Faults, Ledger};
use std::collections::BTreeMap;

/// A refused request, one that acts and is lost, one that is lost before it acts, an error of DOKU's own.
const FATES: [&str; 4] = ["429:0", "act_then_drop", "drop", "declined"];

/// Every sequence of fates of a length from one to four. What comes after a final answer is never played.
fn sequences() -> Vec<String> {
    let mut all = Vec::new();
    let mut longest = vec![String::new()];
    for _ in 0..4 {
        longest = longest
            .iter()
            .flat_map(|s| FATES.map(|fate| format!("{s}{}{fate}", if s.is_empty() { "" } else { "," })))
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}

async fn world() -> World {
    World::with()
        .set("RETRY__INITIAL_MS", 5)
        .set("RETRY__MAX_INTERVAL_MS", 20)
        .set("CHECK__FIRST_AFTER_MS", 60_000)
        .set("BREAKER__FAILURES", 100_000)
        .build()
        .await
}

/// What a declining answer is worth: nothing, once an earlier send may have acted.
fn expected(fates: &str) -> &'static str {
    let before_decline = fates.split(',').take_while(|f| *f != "declined").any(|f| f.ends_with("drop"));
    if fates.contains("declined") && !before_decline { "declined" } else { "accepted" }
}

fn play(faults: &BTreeMap<String, String>) -> Faults {
    Faults { invoices: faults.clone(), ..Faults::default() }
}

async fn settled(world: &World, kind: &'static str, count: usize) {
    let sql = match kind {
        "payment" => "SELECT count(*) FROM commands WHERE kind = 'payment' AND outcome IS NOT NULL",
        _ => "SELECT count(*) FROM commands WHERE kind = 'refund' AND outcome IS NOT NULL",
    };
    let count = i64::try_from(count).unwrap();
    eventually("every command to be settled", async || {
        (world.database.count(sql).await == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sequence_of_fates_makes_a_payment_that_acted_read_as_not_done() {
    let world = world().await;
    let plays: BTreeMap<String, String> =
        sequences().into_iter().map(|fates| (world.invoice(), fates)).collect();
    world.sandbox.set_faults(play(&plays)).unwrap();
    for invoice in plays.keys() {
        world.publish(&payment(invoice)).await;
    }
    settled(&world, "payment", plays.len()).await;
    for (invoice, fates) in &plays {
        world.event(invoice, &format!("payment.{}", expected(fates))).await;
    }
    let ledger = world.sandbox.ledger();
    for (invoice, fates) in &plays {
        let charges = ledger.charges_of(invoice).count();
        assert_eq!(charges, usize::from(expected(fates) == "accepted"), "{fates}: {:?}", world.told(invoice));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sequence_of_fates_makes_a_refund_that_acted_read_as_not_done() {
    let world = world().await;
    let plays: BTreeMap<String, String> =
        sequences().into_iter().map(|fates| (world.invoice(), fates)).collect();
    for invoice in plays.keys() {
        world.publish(&payment(invoice)).await;
    }
    settled(&world, "payment", plays.len()).await;
    world.database.jump(std::time::Duration::from_secs(120)).await;
    let paid = "SELECT count(*) FROM orders WHERE state = 'paid'";
    let count = i64::try_from(plays.len()).unwrap();
    eventually("all to be paid", async || (world.database.count(paid).await == count).then_some(())).await;
    for (invoice, fates) in &plays {
        world.publish(&commands::refund_with(invoice, fates)).await;
    }
    settled(&world, "refund", plays.len()).await;
    for (invoice, fates) in &plays {
        world.event(invoice, &format!("refund.{}", expected(fates))).await;
    }
    check_refunds(&world.sandbox.ledger(), &plays);
    world.end().await;
}

fn check_refunds(ledger: &Ledger, plays: &BTreeMap<String, String>) {
    for (invoice, fates) in plays {
        let refunds = ledger.refunds_of(invoice).count();
        assert_eq!(refunds, usize::from(expected(fates) == "accepted"), "{fates}");
    }
}

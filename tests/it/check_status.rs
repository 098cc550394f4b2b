//! Check Status by itself: whose answers are believed, and that it is enough where no notification comes.

use crate::harness::{World, eventually_or, payment, world::a_while};
use doku_sandbox::{CheckSignature, Faults};
use serde_json::json;
use std::{collections::BTreeSet, time::Instant};

const PAYMENTS: usize = 1000;

/// Whether DOKU signs a Digest line in an answer without a body of the asker's, or signs at all, is not said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_status_answers_are_believed_signed_either_way_and_unsigned() {
    for signature in [CheckSignature::WithDigest, CheckSignature::WithoutDigest, CheckSignature::Unsigned] {
        let world = World::with().sandbox(|s| s.check_signature = signature).build().await;
        world.sandbox.set_faults(Faults { notify_never: true, ..Faults::default() }).unwrap();
        let invoice = world.invoice();
        world.publish(&payment(&invoice)).await;
        let paid = world.event(&invoice, "order.paid").await;
        assert_eq!(paid.data("evidence"), &json!("check"), "{signature:?}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrongly_signed_check_status_answer_is_never_believed() {
    let world = World::with().set("CHECK__MAX_INTERVAL_MS", 200).build().await;
    let words = ["wrong_signature", "other_invoice", "cut_json", "html_200", "500", "429:0"];
    for word in words {
        let faults = Faults { check: Some(word.to_owned()), notify_never: true, ..Faults::default() };
        world.sandbox.set_faults(faults).unwrap();
        let invoice = world.invoice();
        world.publish(&payment(&invoice)).await;
        world.event(&invoice, "payment.accepted").await;
        a_while().await;
        assert_eq!(world.told(&invoice), ["payment.accepted"], "{word}");
        let order = world.order(&invoice).await;
        let results: BTreeSet<_> =
            order["attempts"].as_array().unwrap().iter().map(|a| a["result"].as_str().unwrap()).collect();
        assert_eq!(results, BTreeSet::from(["accepted", "inquiry_failed"]), "{word}");
        world.sandbox.set_faults(Faults { notify_never: true, ..Faults::default() }).unwrap();
        world.event(&invoice, "order.paid").await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_doku_never_notifies_a_thousand_payments_are_paid_by_check_status_alone() {
    let world = World::with()
        .set("DATABASE__MAX_CONNECTIONS", 16)
        .set("CHECK__FIRST_AFTER_MS", 500)
        .set("CHECK__MAX_INTERVAL_MS", 1000)
        .build()
        .await;
    world.sandbox.set_faults(Faults { notify_never: true, ..Faults::default() }).unwrap();
    let begun = Instant::now();
    for _ in 0..PAYMENTS {
        world.publish(&payment(&world.invoice())).await;
    }
    let paid = || {
        let paid = world.events(|e| e.routing_key == "order.paid" && *e.data("evidence") == json!("check"));
        paid.iter().filter_map(|e| e.invoice().map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    for wanted in [PAYMENTS / 2, PAYMENTS] {
        let progress = || format!("{wanted} to be paid; {} are", paid().len());
        eventually_or(progress, async || (paid().len() >= wanted).then_some(())).await;
    }
    eprintln!("{PAYMENTS} payments were paid by Check Status alone in {:?}", begun.elapsed());
    let ledger = world.sandbox.ledger();
    assert_eq!((ledger.charges.len(), ledger.notifications.len()), (PAYMENTS, 0));
    assert_eq!(world.database.count("SELECT count(*) FROM orders WHERE state = 'paid'").await, 1000);
    world.end().await;
}

//! What the sandbox's customers and back office do, told by notifications alone.

use crate::harness::{
    World,
    commands::{payment_with, refund_with},
    payment, refund,
    reports::Report,
};
use doku_sandbox::{Faults, SandboxConfig, TransactionStatus};
use serde_json::{Value, json};

const CLIENT: &str = crate::harness::world::CLIENT_ID;

/// Each habit of DOKU's by the cash tag that makes it, and what is told of the order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_habit_of_doku_ends_as_it_should() {
    // Reports come when the answer is recorded: before, some of them end a checkout in another way.
    let after_the_answer = |s: &mut SandboxConfig| (s.pay_after_ms, s.notify_late_ms) = (1000, 300);
    let world = World::with().notified().sandbox(after_the_answer).build().await;
    let paid = ["payment.accepted", "order.paid"].as_slice();
    let rows: [(&str, &str, &[&str]); 12] = [
        ("$admin", "paid", paid),
        ("pending", "paid", paid),
        ("notify_twice", "paid", paid),
        ("notify_late", "paid", paid),
        ("notify_reordered", "paid", paid),
        ("notify_number", "paid", paid),
        ("notify_decimal", "paid", paid),
        ("notify_wrong_amount", "review", &["payment.accepted", "order.review"]),
        ("pay_fails", "failed", &["payment.accepted", "order.failed"]),
        ("expires", "expired", &["payment.accepted", "order.expired"]),
        ("fails_then_pays", "paid", &["payment.accepted", "order.failed", "order.paid"]),
        ("expires_then_pays", "paid", &["payment.accepted", "order.expired", "order.paid"]),
    ];
    let mut asked = Vec::new();
    for (habit, state, told) in rows {
        let invoice = world.invoice();
        world.publish(&payment_with(&invoice, habit)).await;
        asked.push((invoice, habit, state, told));
    }
    for (invoice, habit, state, told) in asked {
        let last = world.event(&invoice, told[told.len() - 1]).await;
        world.state(&invoice, state).await;
        assert_eq!(world.told(&invoice), told, "{habit}");
        assert_eq!(last.data("evidence"), "notification", "{habit}");
        assert_eq!(last.data("late"), habit.contains("_then_pays"), "{habit}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_from_the_back_office_is_a_fact_that_nobody_here_commanded() {
    let world = World::with().notified().build().await;
    let invoice = world.invoice();
    world.publish(&payment_with(&invoice, "pays_then_refunded")).await;
    let refunded = world.event(&invoice, "order.refunded").await;
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid", "order.refunded"]);
    assert_eq!(refunded.data("command_id"), &Value::Null);
    assert_eq!(refunded.data("request_id"), &Value::Null);
    assert_eq!(refunded.data("evidence"), "notification");
    assert_eq!(refunded.correlation_id, None);
    let asked = refund(&invoice);
    world.publish(&asked).await;
    assert_eq!(world.errors(asked.id()).await[0].0, "already_refunded");
    world.end().await;
}

/// The answer and the report of one refund, in either order, are one refund.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commanded_refund_that_is_reported_too_is_told_once() {
    let world = World::with().notified().build().await;
    for word in ["REFUNDED", "REFUND"] {
        let invoice = world.invoice();
        world.publish(&payment(&invoice)).await;
        world.event(&invoice, "order.paid").await;
        world.publish(&refund_with(&invoice, "notify_refunded")).await;
        world.event(&invoice, "order.refunded").await;
        let sent = world.notified(&invoice, 2).await;
        assert_eq!(sent[1]["status"], "REFUNDED");
        world.notify(&Report::of(&invoice, word, "50000")).await;
        world.notified(&invoice, 3).await;
        let all = ["payment.accepted", "order.paid", "refund.accepted", "order.refunded"];
        assert_eq!(world.told(&invoice), all);
        assert_eq!(world.sandbox.ledger().refunds_of(&invoice).count(), 1);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_in_doubt_is_settled_by_a_report_of_refunded_and_by_nothing_else() {
    let world = World::with().notified().build().await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    world.sandbox.set_faults(Faults { refund: Some("500".to_owned()), ..Faults::default() }).unwrap();
    let asked = refund(&invoice);
    world.publish(&asked).await;
    world.state(&invoice, "refunding").await;
    let before = world.order(&invoice).await["notifications"].as_array().unwrap().len();
    for (n, word) in ["FAILED", "EXPIRED", "PENDING", "success"].into_iter().enumerate() {
        world.notify(&Report::of(&invoice, word, "50000")).await;
        let marks = world.notified(&invoice, before + n + 1).await;
        assert_eq!(marks[before + n]["reason"], "no_change", "{word}");
        assert_eq!(world.order(&invoice).await["state"], "refunding", "{word}");
    }
    assert!(world.sandbox.set_status(CLIENT, &invoice, TransactionStatus::Refunded));
    world.notify(&Report::of(&invoice, "REFUNDED", "50000")).await;
    let refunded = world.event(&invoice, "order.refunded").await;
    assert_eq!(refunded.data("command_id"), asked.id());
    assert_eq!(world.event(&invoice, "refund.accepted").await.data("evidence"), "notification");
    let order = world.order(&invoice).await;
    assert_eq!((&order["state"], &order["refund"]["state"]), (&json!("refunded"), &json!("accepted")));
    assert_eq!(order["due"], Value::Null);
    world.end().await;
}

/// DOKU's report may be faster than its own answer, which then is one more piece of evidence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_overtakes_the_answer_settles_the_payment() {
    let world = World::with().notified().build().await;
    world.sandbox.set_faults(Faults { latency_ms: 900, ..Faults::default() }).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    let accepted = world.event(&invoice, "payment.accepted").await;
    assert_eq!(accepted.data("evidence"), "notification");
    world.event(&invoice, "order.paid").await;
    let attempts = crate::harness::eventually("the answer to be recorded", async || {
        let attempts = world.order(&invoice).await["attempts"].as_array().unwrap().clone();
        (!attempts.is_empty()).then_some(attempts)
    })
    .await;
    assert_eq!(attempts[0]["result"], "accepted");
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"]);
    world.end().await;
}

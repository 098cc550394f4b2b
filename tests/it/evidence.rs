//! What Check Status answers while a command is open, or contradicts: each event that follows from the inquiries of
//! a command itself.

use crate::harness::{World, commands, payment};
use doku_sandbox::Faults;

/// The answer to the payment is lost; an inquiry tells instead, with every word that DOKU has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_submitting_each_word_of_check_status_tells_what_became_of_it() {
    let world = World::new().await;
    let rows: [(&str, &[&str], &str); 7] = [
        ("PENDING", &["payment.accepted"], "awaiting_payment"),
        ("TIMEOUT", &["payment.accepted"], "awaiting_payment"),
        ("WHATEVER", &["payment.accepted"], "awaiting_payment"),
        ("SUCCESS", &["payment.accepted", "order.paid"], "paid"),
        ("FAILED", &["payment.declined"], "failed"),
        ("EXPIRED", &["payment.accepted", "order.expired"], "expired"),
        ("REFUNDED", &["payment.accepted", "order.refunded"], "refunded"),
    ];
    let mut faults = Faults::default();
    let mut played = Vec::new();
    for row in rows {
        let invoice = world.invoice();
        faults.invoices.insert(invoice.clone(), format!("act_then_drop*,check_status:{}*,never_pays", row.0));
        played.push((invoice, row));
    }
    world.sandbox.set_faults(faults).unwrap();
    for (invoice, _) in &played {
        world.publish(&payment(invoice)).await;
    }
    for (invoice, (word, told, state)) in &played {
        for routing_key in *told {
            let event = world.event(invoice, routing_key).await;
            assert_eq!(event.data("evidence"), "check", "{word}");
        }
        assert_eq!(world.told(invoice), *told, "{word}");
        assert_eq!(world.order(invoice).await["state"], *state, "{word}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_amount_at_check_status_is_for_review_at_once() {
    let world = World::new().await;
    let waiting = world.invoice();
    world.publish(&commands::payment_with(&waiting, "never_pays,check_other_amount*")).await;
    let review = world.event(&waiting, "order.review").await;
    assert_eq!(review.data("error")["code"], "amount_mismatch");
    assert_eq!(world.told(&waiting), ["payment.accepted", "order.review"]);

    let submitting = world.invoice();
    let faults = Faults {
        invoices: [(submitting.clone(), "act_then_drop*,check_other_amount*".to_owned())].into(),
        ..Faults::default()
    };
    world.sandbox.set_faults(faults).unwrap();
    world.publish(&payment(&submitting)).await;
    world.event(&submitting, "order.review").await;
    assert_eq!(world.told(&submitting), ["payment.unresolved", "order.review"]);
    world.end().await;
}

/// While refunding, everything but Refunded proves nothing; Refunded is the refund's answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_refunding_only_refunded_is_an_answer() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    let silent = Faults { refund: Some("act_then_drop".to_owned()), ..Faults::default() };
    world.sandbox.set_faults(silent).unwrap();
    world.publish(&commands::refund(&invoice)).await;
    let refunded = world.event(&invoice, "order.refunded").await;
    assert_eq!(refunded.data("evidence"), "check");
    let told = world.told(&invoice);
    assert_eq!(told, ["payment.accepted", "order.paid", "refund.accepted", "order.refunded"]);
    assert_eq!(world.sandbox.ledger().refunds_of(&invoice).count(), 1);
    world.end().await;
}

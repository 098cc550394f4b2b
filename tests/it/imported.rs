//! Orders that were paid before go-live: an operator's file takes them in, and they are refunded like others, once DOKU has
//! confirmed the payment.

use crate::harness::{World, child::run, eventually, refund};
use doku_sandbox::Faults;
use jenius_pay::app::Role;
use serde_json::{Value, json};
use std::time::Duration;

/// Orders that DOKU knows and this database does not, as before go-live.
async fn paid_before(world: &mut World, paid: &[&str], refunded: &str) {
    world.database.back_up().await;
    world.start(&Role::UNNAMED).await;
    for invoice in paid {
        world.paid(invoice).await;
    }
    world.publish(&refund(refunded)).await;
    world.event(refunded, "order.refunded").await;
    world.stop().await;
    world.database.go_back().await;
    world.broker.events.lock().unwrap().clear();
}

async fn import(world: &World, file: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let arguments = [&["orders", "import", "-", "--reason", "go-live"], more].concat();
    let output = run(world, &arguments, file).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

async fn imported(world: &World, file: &str) -> String {
    let (code, out, err) = import(world, file, &[]).await;
    assert_eq!(code, Some(0), "{err}");
    out
}

fn attempts(order: &Value) -> Vec<&str> {
    let attempts = order["refund"]["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_paid_before_is_imported_once_and_refunded_after_doku_confirms_it() {
    let mut world = World::with().without_service().build().await;
    let (plain, named, refunded) = (world.invoice(), world.invoice(), world.invoice());
    paid_before(&mut world, &[&plain, &named, &refunded], &refunded).await;
    let file = format!(
        "invoice_number,amount,paid_at,request_id\n{plain},50000,2025-01-31 13:05:00,\n\
         {named},50000,2025-01-31T13:05:00+07:00,{named}\n{refunded},50000,2025-01-31,\n"
    );
    let (_, out, _) = import(&world, &file, &["--dry-run"]).await;
    assert_eq!(out, "would import 3 orders; 0 were imported before\n");
    assert_eq!(imported(&world, &file).await, "imported 3 orders; 0 were imported before\n");
    assert_eq!(imported(&world, &file).await, "imported 0 orders; 3 were imported before\n");
    assert_eq!(world.database.count("SELECT count(*) FROM events").await, 0, "nothing is published");
    assert_eq!(world.database.count("SELECT count(*) FROM due").await, 0, "DOKU is not asked");

    let order = world.order(&plain).await;
    assert_eq!(
        (&order["state"], &order["version"], &order["command"], &order["request_id"], &order["state_since"]),
        (&json!("paid"), &json!(0), &Value::Null, &Value::Null, &json!("2025-01-31T06:05:00Z"))
    );
    assert_eq!(world.order(&named).await["request_id"], json!(named));
    let audit = run(&world, &["audit", "--invoice", &plain, "--json"], "").await;
    let audit: Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!((&audit[0]["action"], &audit[0]["reason"]), (&json!("import_order"), &json!("go-live")));

    world.start(&Role::UNNAMED).await;
    for invoice in [&plain, &named] {
        world.publish(&refund(invoice)).await;
        let event = world.event(invoice, "order.refunded").await;
        assert_eq!(world.told(invoice), ["refund.accepted", "order.refunded"]);
        assert_eq!(event.sequence(), Some(2), "its first event has version 1");
        let order = world.order(invoice).await;
        assert_eq!(attempts(&order)[..2], ["inquiry", "send"], "{order:#}");
        assert_eq!(world.sandbox.ledger().refunds_of(invoice).count(), 1);
    }
    let again = refund(&refunded);
    world.publish(&again).await;
    let expected = [("already_refunded".to_owned(), "order.invoice_number".to_owned())];
    assert_eq!(world.errors(again.id()).await, expected);
    assert_eq!(world.sandbox.ledger().refunds_of(&refunded).count(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_imported_with_another_amount_is_not_refunded() {
    let mut world = World::with().without_service().build().await;
    let (wrong, other) = (world.invoice(), world.invoice());
    paid_before(&mut world, &[&wrong, &other], &other).await;
    imported(&world, &format!("invoice_number,amount,paid_at\n{wrong},50001,2025-01-31\n")).await;
    world.start(&Role::UNNAMED).await;
    let mut command = refund(&wrong);
    command.body["data"]["order"]["amount"] = json!("50001");
    world.publish(&command).await;
    let review = world.event(&wrong, "order.review").await;
    assert_eq!(review.data("error")["code"], json!("amount_mismatch"));
    assert_eq!(world.sandbox.ledger().refunds_of(&wrong).count(), 0);
    world.end().await;
}

/// One bad line, or one order that is here otherwise, and nothing is imported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_imported_whole_or_not_at_all() {
    let world = World::new().await;
    let (commanded, new) = (world.invoice(), world.invoice());
    world.paid(&commanded).await;
    let head = "invoice_number,amount,paid_at";
    let (code, _, err) = import(&world, &format!("{head}\n{new},50000,2025-01-31\n{new}-2,0,x\n"), &[]).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("line 3: amount: ") && err.contains("line 3: paid_at: "), "{err}");
    let mixed = format!("{head}\n{new},50000,2025-01-31\n{commanded},50000,2025-01-31\n");
    let (code, _, err) = import(&world, &mixed, &[]).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("line 3: invoice_number: a command asked for this order"), "{err}");
    assert_eq!(world.database.count("SELECT count(*) FROM orders").await, 1);
    let line = |amount: &str, paid_at: &str| format!("{head},request_id\n{new},{amount},{paid_at},\n");
    imported(&world, &line("50000", "2025-01-31")).await;
    for (file, fault) in [
        (line("50001", "2025-01-31"), "amount: it was imported before with another one"),
        (line("50000", "2025-02-01"), "paid_at: it was imported before with another one"),
        (format!("{head},request_id\n{new},50000,2025-01-31,R-1\n"), "request_id: another, or none,"),
    ] {
        let (code, _, err) = import(&world, &file, &[]).await;
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(&format!("line 2: {fault}")), "{err}");
    }
    world.end().await;
}

/// The first refund ends unsent, since nothing confirms the payment: the second asks first, as the first did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_refund_of_an_imported_order_asks_first_too_while_doku_never_confirmed_the_payment() {
    let mut world = World::with().without_service().build().await;
    let invoice = world.invoice();
    paid_before(&mut world, &[&invoice], &invoice).await;
    imported(&world, &format!("invoice_number,amount,paid_at\n{invoice},50000,2025-01-31\n")).await;
    world.sandbox.set_faults(Faults { check: Some("500".to_owned()), ..Faults::default() }).unwrap();
    world.start(&Role::UNNAMED).await;
    world.publish(&refund(&invoice)).await;
    eventually("the first refund to wait", async || {
        (!world.order(&invoice).await["refund"].is_null()).then_some(())
    })
    .await;
    for hours in 25..45 {
        world.database.jump(Duration::from_secs(hours * 3600)).await;
        let told = world.event(&invoice, "refund.abandoned");
        if tokio::time::timeout(Duration::from_secs(2), told).await.is_ok() {
            break;
        }
    }
    world.event(&invoice, "refund.abandoned").await;
    world.sandbox.set_faults(Faults::default()).unwrap();
    let again = refund(&invoice);
    world.publish(&again).await;
    let expected = [("already_refunded".to_owned(), "order.invoice_number".to_owned())];
    assert_eq!(world.errors(again.id()).await, expected);
    assert_eq!(world.sandbox.ledger().refunds_of(&invoice).count(), 1, "that of before");
    world.end().await;
}

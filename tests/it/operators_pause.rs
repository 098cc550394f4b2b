//! Operators stop sends for a while, of everybody or of one merchant; everything else goes on.

use crate::harness::{
    World,
    child::{Service, run},
    commands::{Message, payment_with},
    eventually, payment,
    reports::Report,
    world::a_while,
};
use doku_sandbox::Faults;
use jenius_pay::app::Role;
use serde_json::Value;
use std::time::Duration;

/// Past `retry.payment_max_elapsed_ms`.
const PAST_THE_BUDGET: Duration = Duration::from_secs(16 * 60);

/// A command of the program: what it printed, after the exit code that is expected.
async fn said(world: &World, arguments: &[&str], code: i32) -> (String, String) {
    let output = run(world, arguments, "").await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}{err}");
    (out, err)
}

fn contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
}

async fn readyz(world: &World) -> Value {
    serde_json::from_str(&world.admin("/readyz").await.1).unwrap()
}

async fn heard(world: &World, paused: bool) {
    let what = format!("paused: {paused}");
    eventually(&what, async || (readyz(world).await["paused"] == paused).then_some(())).await;
}

async fn publish(world: &World, count: usize) -> Vec<String> {
    let invoices: Vec<String> = (0..count).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    invoices
}

fn sends(world: &World, invoices: &[String]) -> usize {
    let ledger = world.sandbox.ledger();
    invoices.iter().map(|invoice| ledger.sends_of(invoice).count()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_everybodys_sends_are_paused_commands_wait_and_everything_else_goes_on() {
    let mut world = World::with().notified().set("CHECK__FIRST_AFTER_MS", 100).build().await;
    world.settings.insert("JENIUS_OPERATOR".to_owned(), "ratna".to_owned());
    let [asked, reported] = [world.invoice(), world.invoice()];
    for invoice in [&asked, &reported] {
        world.publish(&payment_with(invoice, "never_pays")).await;
        world.event(invoice, "payment.accepted").await;
    }
    let (out, _) = said(&world, &["pause", "--reason", "DOKU asked for it"], 0).await;
    contains(
        &out,
        &[
            "all merchants since ",
            "by ratna (",
            "): DOKU asked for it",
            "waits for a send now",
            "their budgets run",
        ],
    );
    heard(&world, true).await;
    assert_eq!(readyz(&world).await["ready"], true, "that alone makes nobody unready");

    let invoices = publish(&world, 5).await;
    let before = world.sandbox.ledger().inquiries_of(&asked).count();
    let inquired = async || (world.sandbox.ledger().inquiries_of(&asked).count() > before).then_some(());
    eventually("another inquiry", inquired).await;
    world.notify(&Report::success(&reported)).await;
    let paid = world.event(&reported, "order.paid").await;
    assert_eq!(paid.data("evidence"), "notification");
    a_while().await;
    assert_eq!(sends(&world, &invoices), 0);
    for invoice in &invoices {
        let claimed = async || (world.find_order(invoice).await?["due"]["kind"] == "send").then_some(());
        eventually("a claimed command", claimed).await;
        let blocked = world.order(invoice).await["blocked"].clone();
        assert_eq!((&blocked["by"], &blocked["detail"]), (&"pause".into(), &"DOKU asked for it".into()));
        assert!(blocked["since"].is_string(), "{blocked}");
    }
    assert_eq!(world.broker.depth("payments").await, 0, "commands are taken always");
    let broken = payment("two words");
    world.publish(&broken).await;
    assert_eq!(world.errors(broken.id()).await[0].0, "invalid_characters", "and told at once what is wrong");
    let ready = readyz(&world).await;
    assert_eq!((&ready["sends"]["ok"], &ready["ready"]), (&false.into(), &true.into()));
    contains(
        &ready["sends"]["detail"].to_string(),
        &["default: paused by an operator, since ", "other: paused"],
    );
    let waiting = async || {
        let page = world.admin("/metrics").await.1;
        page.contains("jenius_due_sends{merchant=\"default\",blocked=\"pause\"} 5").then_some(())
    };
    eventually("the due sends to be counted", waiting).await;

    for command in [&["orders", "list"][..], &["orders", "show", &asked], &["orders", "check", &asked]] {
        let (out, _) = said(&world, command, 0).await;
        contains(&out, &["SENDS ARE STOPPED", "paused   all merchants since"]);
    }
    let (out, err) = said(&world, &["orders", "list", "--json"], 0).await;
    assert!(serde_json::from_str::<Value>(&out).unwrap().is_array(), "a program gets the documented JSON");
    contains(&err, &["SENDS ARE STOPPED", "paused   all merchants since"]);

    said(&world, &["resume", "--reason", "DOKU is done"], 0).await;
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    assert_eq!((readyz(&world).await["paused"].clone(), sends(&world, &invoices)), (false.into(), 5));
    let kept =
        "SELECT count(*) FROM operator_actions WHERE done_by LIKE 'ratna (%' AND subject = '*' AND merchant IS NULL
                AND (action, reason) IN (('pause', 'DOKU asked for it'), ('resume', 'DOKU is done'))";
    assert_eq!(world.database.count(kept).await, 2);
    world.end().await;
}

/// A claimed command waits, not its message; its budget goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_merchants_pause_keeps_its_commands_until_their_budget_ends_and_the_other_goes_on() {
    let world = World::new().await;
    let (out, _) = said(&world, &["pause", "--merchant", "default"], 0).await;
    contains(&out, &["default since ", "their budgets run"]);
    let (_, err) = said(&world, &["pause", "--merchant", "defualt"], 2).await;
    contains(&err, &["defualt is not configured here", "default, other"]);
    heard(&world, true).await;
    contains(
        &readyz(&world).await["dependencies"]["doku"].to_string(),
        &["paused by an operator for: default"],
    );

    let mine = publish(&world, 2).await;
    let theirs = world.invoice();
    world.publish(&payment(&theirs).with("merchant", "other")).await;
    world.event(&theirs, "payment.accepted").await;
    for invoice in &mine {
        let claimed = async || (world.find_order(invoice).await?["due"]["kind"] == "send").then_some(());
        eventually("a claimed command", claimed).await;
    }
    a_while().await;
    assert_eq!((sends(&world, &mine), world.broker.depth("payments").await), (0, 0));
    let (out, _) = said(&world, &["pause", "--merchant", "default"], 0).await;
    contains(&out, &["paused already", "commands that wait for a send: 2,\nthe first until "]);

    world.database.jump(PAST_THE_BUDGET).await;
    for invoice in &mine {
        let told = world.event(invoice, "payment.abandoned").await;
        assert_eq!(told.data("state"), "abandoned");
    }
    let (out, _) = said(&world, &["resume"], 0).await;
    contains(&out, &["nothing was paused: all merchants", "still paused: default since "]);
    said(&world, &["resume", "--merchant", "default"], 0).await;
    let after = publish(&world, 1).await;
    world.event(&after[0], "payment.accepted").await;
    assert_eq!(sends(&world, &mine), 0);
    world.end().await;
}

/// What waits to be sent again is held too, and goes on with its schedule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resend_waits_for_the_end_of_a_pause() {
    let world = World::with().set("CHECK__FIRST_AFTER_MS", 60_000).build().await;
    world.sandbox.set_faults(Faults { payment: Some("429".to_owned()), ..Faults::default() }).unwrap();
    let invoices = publish(&world, 1).await;
    let twice = async || (sends(&world, &invoices) >= 2).then_some(());
    eventually("a second send", twice).await;
    said(&world, &["pause"], 0).await;
    heard(&world, true).await;
    // What had its permit is made.
    a_while().await;
    let before = sends(&world, &invoices);
    a_while().await;
    assert_eq!(sends(&world, &invoices), before);
    world.sandbox.set_faults(Faults::default()).unwrap();
    said(&world, &["resume"], 0).await;
    world.event(&invoices[0], "payment.accepted").await;
    world.end().await;
}

/// As after a restore: paused while nobody runs, and whoever starts sends nothing, not even once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_before_the_first_send_and_over_restarts() {
    let mut world = World::with().without_service().build().await;
    said(&world, &["pause"], 0).await;
    world.start(&Role::UNNAMED).await;
    world.stop().await;
    let invoices = publish(&world, 20).await;
    for _ in 0..2 {
        world.start(&Role::UNNAMED).await;
        heard(&world, true).await;
        a_while().await;
        let taken = async || (world.database.count("SELECT count(*) FROM orders").await == 20).then_some(());
        eventually("the commands to be claimed", taken).await;
        assert_eq!(sends(&world, &invoices), 0);
        world.stop().await;
    }
    said(&world, &["resume"], 0).await;
    world.start(&Role::UNNAMED).await;
    for invoice in &invoices {
        world.event(invoice, "order.paid").await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_reaches_every_process_and_its_metrics() {
    let world = World::with().without_service().build().await;
    let roles = ["--role", "worker", "--role", "follow-up", "--role", "relay"];
    let (one, two) = (Service::start_role(&world, &roles).await, Service::start_role(&world, &roles).await);
    let shown = async |lines: &'static [&'static str]| {
        for service in [&one, &two] {
            let found = async || {
                let page = service.page("metrics").await;
                lines.iter().all(|line| page.lines().any(|l| l == *line)).then_some(())
            };
            eventually(&format!("{lines:?}"), found).await;
        }
    };
    shown(&[r#"jenius_paused{scope="doku"} 0"#, r#"jenius_paused{scope="other"} 0"#]).await;
    let sample: [Message; 4] = std::array::from_fn(|_| payment(&world.invoice()));
    let asked_at = tokio::time::Instant::now();
    said(&world, &["pause", "--merchant", "other"], 0).await;
    said(&world, &["pause"], 0).await;
    shown(&[r#"jenius_paused{scope="doku"} 1"#, r#"jenius_paused{scope="other"} 1"#]).await;
    assert!(asked_at.elapsed() < Duration::from_secs(10), "{:?}", asked_at.elapsed());
    for message in &sample {
        world.publish(message).await;
    }
    a_while().await;
    assert_eq!(world.sandbox.ledger().requests.len(), 0);
    said(&world, &["resume"], 0).await;
    said(&world, &["resume", "--merchant", "other"], 0).await;
    shown(&[r#"jenius_paused{scope="doku"} 0"#, r#"jenius_paused{scope="other"} 0"#]).await;
    for message in &sample {
        let invoice = message.body["data"]["order"]["invoice_number"].as_str().unwrap();
        world.event(invoice, "order.paid").await;
    }
    drop((one, two));
    world.end().await;
}

//! The program as it is started: exit codes, faults of its configuration, what it prints. How it stops is in
//! `process_stop`.

use crate::harness::{
    World,
    child::{BINARY, run},
    commands::{payment_data, refund_data},
    eventually, payment,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_fault_of_the_configuration_is_reported_at_once_with_exit_code_2() {
    let output = Command::new(BINARY)
        .arg("run")
        .env_clear()
        .envs([
            ("DATABASE_URL", "mysql://x"),
            ("DOKU_SECRET_KEY", "SK-canary-secret"),
            ("JENIUS_PAY__AMQP__PREFETCH", "0"),
            ("JENIUS_PAY__RETRY__JITTER", "2"),
            ("JENIUS_PAY__NO__SUCH_KEY", "1"),
        ])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for named in
        ["database.url", "amqp.url", "doku.client_id", "amqp.prefetch", "retry.jitter", "NO__SUCH_KEY"]
    {
        assert!(said.contains(named), "{named} is not in:\n{said}");
    }
    assert!(!said.contains("SK-canary-secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_waits_for_the_end_and_tells_it_in_its_exit_code() {
    let world = World::new().await;
    let invoice = world.invoice();
    let paid =
        run(&world, &["send", "payment", "-", "--wait"], &payment_data(&invoice, "$admin").to_string()).await;
    assert_eq!(paid.status.code(), Some(0), "{}{}", text(&paid.stdout), text(&paid.stderr));
    assert!(text(&paid.stdout).contains("order.paid"), "{}", text(&paid.stdout));
    let refunded =
        run(&world, &["send", "refund", "-", "--wait"], &refund_data(&invoice, "x").to_string()).await;
    assert_eq!(refunded.status.code(), Some(0), "{}", text(&refunded.stderr));
    let declined = run(
        &world,
        &["send", "payment", "-", "--wait"],
        &payment_data(&world.invoice(), "declined").to_string(),
    )
    .await;
    assert_eq!(declined.status.code(), Some(1));
    let rejected = run(&world, &["send", "payment", "-", "--wait"], "{}").await;
    assert_eq!(rejected.status.code(), Some(1));
    assert!(text(&rejected.stdout).contains("missing"), "{}", text(&rejected.stdout));
    let unreadable = run(&world, &["send", "payment", "/no/such/file"], "").await;
    assert_eq!(unreadable.status.code(), Some(2));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_shown_to_people_and_to_programs() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    let people = run(&world, &["orders", "show", &invoice], "").await;
    let shown = text(&people.stdout);
    assert_eq!(people.status.code(), Some(0), "{}", text(&people.stderr));
    for word in [invoice.as_str(), "paid", "accepted", "payment.accepted", "order.paid"] {
        assert!(shown.contains(word), "{word} is not in:\n{shown}");
    }
    let program = run(&world, &["orders", "show", &invoice, "--json"], "").await;
    let order: Value = serde_json::from_slice(&program.stdout).unwrap();
    assert_eq!(order["state"], "paid");
    let list = run(&world, &["orders", "list", "--state", "paid", "--json"], "").await;
    let orders: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(orders[0]["invoice_number"], invoice.as_str());
    assert!(orders[0].get("attempts").is_none());
    assert!(text(&run(&world, &["orders", "list"], "").await.stdout).contains(&invoice));
    assert_eq!(run(&world, &["orders", "show", "NO-SUCH"], "").await.status.code(), Some(1));
    assert_eq!(run(&world, &["orders", "list", "--state", "happy"], "").await.status.code(), Some(2));
    world.end().await;
}

/// `orders list | head -1`: the reader goes away, and nothing panics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pipe_is_a_quiet_end() {
    let world = World::new().await;
    for _ in 0..30 {
        world.publish(&payment(&world.invoice())).await;
    }
    eventually("some orders", async || {
        (world.database.count("SELECT count(*) FROM orders").await == 30).then_some(())
    })
    .await;
    let mut child = Command::new(BINARY)
        .args(["orders", "list"])
        .env_clear()
        .envs(&world.settings)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert!(!text(&output.stderr).contains("panick"), "{}", text(&output.stderr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_prints_one_event_a_line() {
    let world = World::new().await;
    let mut child = Command::new(BINARY)
        .args(["watch", "--json"])
        .env_clear()
        .envs(&world.settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next()
            && sender.send(line).is_ok()
        {}
    });
    let event = eventually("a line", async || {
        world.publish(&payment(&world.invoice())).await;
        receiver.recv_timeout(Duration::from_millis(300)).ok()
    })
    .await;
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["specversion"], "1.0");
    child.kill().unwrap();
    child.wait().unwrap();
    world.end().await;
}

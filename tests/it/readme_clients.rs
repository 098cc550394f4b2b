//! README's publisher and subscriber in Python, run as they are printed; only the prefix is the test's own.

use crate::{
    clients::{after_a_restore, next},
    harness::{World, broker, commands::payment_with, eventually},
};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// Ended with the test, however that ends.
struct AppEnd(Child);

impl Drop for AppEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The Python blocks of README, in their order.
fn examples(prefix: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let own = |block: &str| {
        ["commands", "events"]
            .into_iter()
            .fold(block.to_owned(), |text, exchange| {
                text.replace(&format!("\"jenius.{exchange}\""), &format!("\"{prefix}.{exchange}\""))
            })
            .replace("bookkeeping", &format!("{prefix}.book"))
    };
    blocks.map(own).collect()
}

/// A Python that has pika: Debian's, or the one on PATH.
pub fn python() -> &'static str {
    let has_pika = |python: &&str| {
        let quiet = Command::new(python).args(["-c", "import pika"]).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    };
    ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(has_pika)
        .expect("no python3 with pika: run ./deploy/local/test")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_publisher_and_the_subscriber_of_the_readme_work_as_printed() {
    let world = World::new().await;
    let [publisher, subscriber] = &examples(&world.broker.prefix)[..] else { panic!("not two examples") };
    assert!(publisher.lines().count() <= 12, "{} lines", publisher.lines().count());
    let listening = Command::new(python())
        .args(["-c", subscriber])
        .env("AMQP_URL", broker::url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut listening = AppEnd(listening);
    let lines = BufReader::new(listening.0.stdout.take().unwrap()).lines();
    let queue = format!("{}.book", world.broker.prefix);
    eventually("the subscriber's queue", async || world.broker.exists(&queue).await.then_some(())).await;

    let published =
        Command::new(python()).args(["-c", publisher]).env("AMQP_URL", broker::url()).output().unwrap();
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    let invoice = String::from_utf8(published.stdout).unwrap().trim().to_owned();
    world.event(&invoice, "payment.accepted").await;
    let paid = world.event(&invoice, "order.paid").await;
    let (lines, accepted) = next(lines).await;
    assert_eq!(accepted, format!("new jenius.payment.accepted.v1 {invoice} 1 awaiting_payment"));
    let (lines, heard) = next(lines).await;
    assert_eq!(heard, format!("new jenius.order.paid.v1 {invoice} 2 paid"));

    // A rejection of another command for the same invoice has no sequence, and what is known of the order stays known.
    let bad = payment_with(&invoice, "");
    world.publish(&bad).await;
    let (lines, rejected) = next(lines).await;
    assert_eq!(rejected, format!("new jenius.command.rejected.v1 {invoice} 0 None"));

    let failed = after_a_restore(&paid.body);
    for event in [&paid.body, &failed, &paid.body] {
        world.broker.deliver(&queue, event).await;
    }
    let (lines, corrected) = next(lines).await;
    assert_eq!(corrected, format!("corrects jenius.order.failed.v1 {invoice} 2 failed"));

    let bad = payment_with(&world.invoice(), "");
    world.publish(&bad).await;
    let invoice = bad.body["data"]["order"]["invoice_number"].as_str().unwrap();
    let (_, rejected) = next(lines).await;
    assert_eq!(
        rejected,
        format!("new jenius.command.rejected.v1 {invoice} 0 None"),
        "nothing else came before"
    );
    drop(listening);
    world.broker.delete(&queue).await;
    world.end().await;
}

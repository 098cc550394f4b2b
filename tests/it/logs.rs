//! A log that cannot be written costs its lines, and nothing else: its reader leaves, its disk is full, or nobody reads
//! what waits in its pipe.

use crate::harness::{World, child::Service, commands::payment_with, eventually, payment, proxy::Proxy};
use serde_json::Value;
use std::{
    fs::File,
    process::Stdio,
    time::{Duration, Instant},
};

const DROPPED: &str = "jenius_log_lines_dropped_total ";

/// Pays, loses all its connections to the broker, pays again, and ends with 0 in time.
async fn works(world: &World, service: &mut Service, to_broker: &Proxy) {
    for round in 0..2 {
        let invoice = world.invoice();
        world.publish(&payment(&invoice)).await;
        world.event(&invoice, "order.paid").await;
        if round == 0 {
            to_broker.reset();
        }
    }
    let metrics = service.page("metrics").await;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix(DROPPED)).unwrap();
    assert!(dropped.parse::<u64>().unwrap() > 0, "no line was dropped");
    let start = Instant::now();
    service.signal("-TERM");
    let status = service.ended(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "after {:?}", start.elapsed());
}

async fn world() -> (World, Proxy) {
    let mut world = World::with().without_service().set("SHUTDOWN__DRAIN_MS", 10_000).build().await;
    let mut broker: url::Url = world.settings["AMQP_URL"].parse().unwrap();
    let to_broker = Proxy::before(&mut broker).await;
    world.settings.insert("AMQP_URL".to_owned(), broker.to_string());
    (world, to_broker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_stops_nothing() {
    let (world, to_broker) = world().await;
    let mut service = Service::start_logging(&world, &[], Stdio::piped()).await;
    drop(service.stderr());
    works(&world, &mut service, &to_broker).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_nothing() {
    let (world, to_broker) = world().await;
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut service = Service::start_logging(&world, &[], full.into()).await;
    works(&world, &mut service, &to_broker).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_that_nobody_reads_stops_nothing() {
    let (world, to_broker) = world().await;
    // Enough to fill the pipe, and then all that may wait in memory: an idle process may take minutes for that.
    let chatty = [("RUST_LOG", "trace")];
    let mut service = Service::start_logging(&world, &chatty, Stdio::piped()).await;
    let unread = service.stderr();
    eventually("lines to be dropped", async || {
        world.publish(&payment(&world.invoice())).await;
        let metrics = service.page("metrics").await;
        metrics.lines().any(|line| line.strip_prefix(DROPPED).is_some_and(|n| n != "0")).then_some(())
    })
    .await;
    works(&world, &mut service, &to_broker).await;
    drop(unread);
    world.end().await;
}

/// Whoever looks for an invoice number in the log finds what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_for_an_invoice_finds_its_story_in_the_log() {
    let world = World::with().without_service().build().await;
    let service = Service::start(&world).await;
    let (invoice, bad) = (world.invoice(), world.invoice());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced = payment(&invoice).with("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    world.publish(&traced).await;
    world.event(&invoice, "order.paid").await;
    let broken = payment_with(&bad, "");
    world.publish(&broken).await;
    world.rejected(broken.id()).await;
    let story = eventually("three lines", async || {
        let log = service.log();
        let lines: Vec<Value> = log
            .lines()
            .filter(|line| line.contains(&invoice) || line.contains(&bad))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (lines.len() >= 3).then_some(lines)
    })
    .await;
    let told = |n: usize, member: &str| story[n][member].as_str().unwrap_or_default().to_owned();
    for (n, (event, state)) in
        [("payment.accepted", "awaiting_payment"), ("order.paid", "paid")].into_iter().enumerate()
    {
        assert_eq!((story[n]["level"].as_str(), told(n, "merchant").as_str()), (Some("INFO"), "default"));
        assert_eq!((told(n, "event").as_str(), told(n, "state").as_str()), (event, state));
        assert_eq!((told(n, "invoice"), told(n, "trace_id")), (invoice.clone(), trace.to_owned()));
    }
    assert_eq!(told(0, "outcome"), "accepted");
    assert!(story[0]["ms"].is_u64(), "{}", story[0]);
    assert_eq!((told(2, "outcome").as_str(), told(2, "invoice")), ("rejected", bad));
    drop(service);
    world.end().await;
}

/// What the broker returns is a whole message, its customer included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_broker_returns_is_not_logged_whatever_is_asked_for() {
    let world = World::with().without_service().build().await;
    let service = Service::start_with(&world, &[("RUST_LOG", "debug")]).await;
    let dead = format!("{}.dead", world.broker.prefix);
    world.broker.unbind(&dead, &dead, "#").await;
    world.broker.publish_bytes("payment.request", "application/json", b"malformed").await;
    assert_eq!(world.broker.dead().await.reason.as_deref(), Some("malformed"));
    let log = service.log();
    assert!(log.contains("a dead letter was not confirmed") && log.contains("Returned"), "{log}");
    assert!(!log.contains("Server returned us a message"), "{log}");
    drop(service);
    world.end().await;
}

/// It cannot start, and cannot say so: it ends all the same.
#[test]
fn an_error_that_cannot_be_told_ends_the_program() {
    for stderr in [Stdio::from(File::options().write(true).open("/dev/full").unwrap()), Stdio::null()] {
        let mut command = std::process::Command::new(crate::harness::child::BINARY);
        let status = command.args(["run", "--role", "relay"]).env_clear().stderr(stderr).status().unwrap();
        assert_eq!(status.code(), Some(2));
    }
}

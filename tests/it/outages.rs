//! The broker, the database or DOKU away: the process stays up, says which, loses nothing, dead-letters
//! nothing, and recovers by itself.

use crate::{
    events::broker_behind_a_proxy,
    harness::{
        World,
        child::Service,
        eventually, payment,
        proxy::{Mode, Proxy},
        servers::Server,
        world::a_while,
    },
};
use jenius_pay::{app::Role, sandbox::Faults};
use serde_json::Value;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Recovery is bounded by the longest backoff and one look around.
const RECOVERED_WITHIN: Duration = Duration::from_secs(35);

async fn database_behind_a_proxy(world: &mut World) -> Proxy {
    let mut url = world.database.url.clone();
    let target: SocketAddr =
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432)).parse().unwrap();
    let proxy = Proxy::to(target).await;
    url.set_port(Some(proxy.address.port())).unwrap();
    world.settings.insert("DATABASE_URL".to_owned(), url.to_string());
    proxy
}

async fn readyz(world: &World) -> (u16, Value) {
    let (status, body) = world.admin("/readyz").await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Waits until `/readyz` is 503 and names the dependency, while `/livez` stays 200.
async fn unready(world: &World, dependency: &str) {
    let away = || async {
        assert_eq!(world.admin("/livez").await.0, 200);
        let (status, ready) = readyz(world).await;
        (status == 503 && ready["dependencies"][dependency]["ok"] == false).then_some(())
    };
    eventually(&format!("/readyz to say that {dependency} is away"), away).await;
}

async fn ready(world: &World) {
    let start = Instant::now();
    eventually("/readyz to be 200", async || (readyz(world).await.0 == 200).then_some(())).await;
    assert!(start.elapsed() < RECOVERED_WITHIN, "ready only after {:?}", start.elapsed());
}

async fn pays(world: &World) {
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "payment.accepted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_refuses_or_vanishes_and_comes_back() {
    for mode in [Mode::Refuse, Mode::BlackHole] {
        let mut world = World::with().without_service().build().await;
        let proxy = broker_behind_a_proxy(&mut world).await;
        world.start(&Role::ALL).await;
        ready(&world).await;
        pays(&world).await;
        proxy.set(mode);
        unready(&world, "broker").await;
        let meanwhile = world.invoice();
        world.publish(&payment(&meanwhile)).await;
        proxy.set(Mode::Forward);
        ready(&world).await;
        world.event(&meanwhile, "payment.accepted").await;
        assert_eq!(world.broker.depth("dead").await, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_refuses_or_vanishes_and_comes_back() {
    for mode in [Mode::Refuse, Mode::BlackHole] {
        let mut world = World::with().without_service().build().await;
        let proxy = database_behind_a_proxy(&mut world).await;
        world.start(&Role::ALL).await;
        ready(&world).await;
        pays(&world).await;
        proxy.set(mode);
        unready(&world, "postgres").await;
        let meanwhile = world.invoice();
        world.publish(&payment(&meanwhile)).await;
        a_while().await;
        assert_eq!(world.sandbox.ledger().sends_of(&meanwhile).count(), 0, "asked without a claim");
        proxy.set(Mode::Forward);
        ready(&world).await;
        world.event(&meanwhile, "payment.accepted").await;
        world.end().await;
    }
}

/// Twenty outages of the database, with commands in hand: none of them is dead-lettered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_flaps_twenty_times_dead_letters_nothing() {
    let mut world = World::with().without_service().build().await;
    let proxy = database_behind_a_proxy(&mut world).await;
    world.start(&Role::ALL).await;
    let mut invoices = Vec::new();
    for _ in 0..20 {
        for _ in 0..3 {
            let invoice = world.invoice();
            world.publish(&payment(&invoice)).await;
            invoices.push(invoice);
        }
        proxy.set(Mode::Refuse);
        tokio::time::sleep(Duration::from_millis(120)).await;
        proxy.set(Mode::Forward);
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
    // What was lost between send and record comes back with its lease.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.database.jump(Duration::from_secs(20)).await;
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    assert_eq!(world.broker.depth("dead").await, 0);
    world.end().await;
}

/// Twenty times the breaker opens and closes over waiting commands: none of them is dead-lettered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_that_opens_twenty_times_dead_letters_nothing() {
    let world = World::with().set("BREAKER__FAILURES", 2).set("BREAKER__OPEN_MS", 100).build().await;
    let mut invoices = Vec::new();
    for _ in 0..20 {
        let down = Faults { payment: Some("drop".to_owned()), ..Faults::default() };
        world.sandbox.set_faults(down).unwrap();
        for _ in 0..3 {
            let invoice = world.invoice();
            world.publish(&payment(&invoice)).await;
            invoices.push(invoice);
        }
        let open = || async {
            let (_, metrics) = world.admin("/metrics").await;
            metrics.contains("jenius_breaker_open{scope=\"doku\"} 1").then_some(())
        };
        let _ = tokio::time::timeout(Duration::from_secs(3), eventually("the breaker to open", open)).await;
        world.sandbox.set_faults(Faults::default()).unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    assert_eq!(world.broker.depth("dead").await, 0);
    world.end().await;
}

/// The broker takes a delivery back because it is held too long while the database is away. Taken again each
/// time it would be dead-lettered at the delivery limit: so nothing is taken until the database is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_timeout_dead_letters_nothing() {
    let server = Server::start("rabbitmq").await;
    server.ctl(&["eval", "application:set_env(rabbit, consumer_timeout, 1000)."]);
    server.ctl(&["eval", "application:set_env(rabbit, channel_tick_interval, 500)."]);
    let mut world = World::with().without_service().on_broker(&server.url).build().await;
    let proxy = database_behind_a_proxy(&mut world).await;
    world.start(&Role::ALL).await;
    ready(&world).await;
    proxy.set(Mode::Refuse);
    let invoices: Vec<String> = (0..20).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    // The one in hand comes back with its timeout.
    eventually("the broker to have all of them", async || {
        (world.broker.depth("payments").await == 20).then_some(())
    })
    .await;
    for _ in 0..80 {
        assert_eq!(world.broker.depth("payments").await, 20, "taken again while the database is away");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    proxy.set(Mode::Forward);
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    assert_eq!(world.broker.depth("dead").await, 0);
    world.end().await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_stopped_or_blocked_comes_back_and_so_do_we() {
    let mut server = Server::start("rabbitmq").await;
    let mut world = World::with().on_broker(&server.url).build().await;
    pays(&world).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    // A memory alarm: publishers are blocked, the process stays, and events wait.
    server.ctl(&["set_vm_memory_high_watermark", "0.00001"]);
    a_while().await;
    assert_eq!(world.admin("/livez").await.0, 200);
    server.ctl(&["set_vm_memory_high_watermark", "0.4"]);
    pays(&world).await;

    server.kill();
    unready(&world, "broker").await;
    server.restart().await;
    world.broker.reconnect().await;
    ready(&world).await;
    pays(&world).await;
    world.end().await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_comes_back_and_so_do_we() {
    let mut server = Server::start("postgres").await;
    let world = World::with().on_database(&server.url).build().await;
    pays(&world).await;
    server.kill();
    unready(&world, "postgres").await;
    let meanwhile = world.invoice();
    world.publish(&payment(&meanwhile)).await;
    server.restart().await;
    ready(&world).await;
    world.event(&meanwhile, "payment.accepted").await;
    world.end().await;
    server.stop();
}

/// Neither server is there at the start: the process waits, and says for what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_servers_or_schema_waits_and_says_for_what() {
    let world = World::with().without_service().build().await;
    let nowhere =
        [("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none"), ("AMQP_URL", "amqp://127.0.0.1:9/%2f")];
    let mut service = Service::start_unready(&world, &nowhere);
    let admin = service.admin.clone();
    let answer = eventually("an answer of /readyz", async || {
        reqwest::get(format!("http://{admin}/readyz")).await.ok()
    })
    .await;
    assert_eq!(answer.status().as_u16(), 503);
    let ready: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(
        (&ready["dependencies"]["postgres"]["ok"], &ready["dependencies"]["broker"]["ok"]),
        (&false.into(), &false.into())
    );
    a_while().await;
    assert!(service.is_running(), "{}", service.log());
    drop(service);

    let mut empty = world.database.url.clone();
    empty.set_path("postgres");
    let unmigrated = Service::start_unready(&world, &[("DATABASE_URL", empty.as_str())]);
    eventually("/readyz to name the migration", async || {
        let answer = reqwest::get(format!("http://{}/readyz", unmigrated.admin)).await.ok()?;
        answer.text().await.ok()?.contains("jenius-pay migrate").then_some(())
    })
    .await;
    drop(unmigrated);
    world.end().await;
}

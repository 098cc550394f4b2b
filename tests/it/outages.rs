//! The broker, the database or DOKU away: the process stays up, says which, loses nothing, dead-letters
//! nothing, and recovers by itself.

mod nowhere;
mod outage;
pub mod scene;
mod story;
mod table;

use crate::harness::{
    World,
    child::Service,
    commands::payment_with,
    eventually, payment, proof,
    proxy::{Mode, Proxy},
    servers::Server,
    world::a_while,
};
use doku_sandbox::Faults;
use jenius_pay::app::Role;
use outage::Outage;
use scene::Scene;
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use story::Run;

async fn database_behind_a_proxy(world: &mut World) -> Proxy {
    let mut url = world.database.url.clone();
    let target: SocketAddr =
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432)).parse().unwrap();
    let proxy = Proxy::to(target).await;
    url.set_port(Some(proxy.address.port())).unwrap();
    world.settings.insert("DATABASE_URL".to_owned(), url.to_string());
    proxy
}

/// Every outage, one after the other, on five services at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outage_is_named_survived_and_made_good() {
    use Outage::*;
    let own_broker = async || {
        let server = Server::start("rabbitmq").await;
        let outages = [
            BrokerStopped,
            BrokerKilled,
            BrokerMemoryAlarm,
            QueueDeleted,
            ConsumerCancelled,
            ChannelClosed,
            AckTimeout,
        ];
        Box::pin(told(Scene::new(Some(server), None).await, &outages)).await
    };
    let shared_broker =
        async || Box::pin(told(Scene::new(None, None).await, &[BrokerReset, BrokerBlackHole])).await;
    let own_postgres = async || {
        let server = Server::start("postgres").await;
        let outages = [PostgresRestarted, PostgresBlackHole, PostgresFull, PostgresReadOnly, PostgresLocked];
        Box::pin(told(Scene::new(None, Some(server)).await, &outages)).await
    };
    let doku =
        async || Box::pin(told(Scene::new(None, None).await, &[DokuDown, DokuSlow, DokuRefuses])).await;
    let nowhere = async || {
        let is_wanted = only().is_none_or(|only| nowhere::NAME.contains(&only));
        if is_wanted { vec![nowhere::tell().await] } else { Vec::new() }
    };
    let (a, b, c, d, e) = tokio::join!(own_broker(), shared_broker(), own_postgres(), doku(), nowhere());
    let runs: Vec<Run> = [a, b, c, d, e].into_iter().flatten().collect();
    let has_run = |outage: &Outage| runs.iter().any(|run| run.outage == outage.name());
    assert!(only().is_some() || Outage::ALL.iter().all(has_run), "an outage was left out");
    proof::section("outages", &table::of(&runs));
}

/// For a person who looks into one of them.
fn only() -> Option<String> {
    std::env::var("JENIUS_OUTAGE").ok()
}

async fn told(mut scene: Scene, outages: &[Outage]) -> Vec<Run> {
    let only = only().unwrap_or_default();
    let rounds = std::env::var("JENIUS_OUTAGE_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let mut runs = Vec::new();
    for _ in 0..rounds {
        for outage in outages.iter().filter(|outage| outage.name().contains(&only)) {
            outage.prepare(&mut scene).await;
            scene.renew().await;
            runs.push(story::tell(&mut scene, *outage).await);
            println!("{:?}", runs.last().unwrap());
        }
    }
    scene.end().await;
    runs
}

/// Twenty outages of the database, with commands in hand: none of them is dead-lettered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_flaps_twenty_times_dead_letters_nothing() {
    let mut world = World::with().without_service().build().await;
    let proxy = database_behind_a_proxy(&mut world).await;
    world.start(&Role::UNNAMED).await;
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

/// The broker reads nothing while it is short of memory, and the next link would only write the same events once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_neither_cuts_the_publishers_link_nor_multiplies_events() {
    let server = Server::start("rabbitmq").await;
    let mut world = World::with().without_service().on_broker(&server.url).build().await;
    world.start(&[Role::Worker]).await;
    let invoices: Vec<String> = (0..300).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment_with(invoice, "never_pays")).await;
    }
    let waiting = async || world.database.count("SELECT count(*) FROM outbox").await;
    eventually("all events to wait", async || (waiting().await == 300).then_some(())).await;
    server.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
    let relay = Service::start_unready_role(&world, "relay");
    let blocked = async || relay.log().contains("the broker blocks publishers").then_some(());
    eventually("the broker to block the relay", blocked).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    server.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    eventually("the outbox to be empty", async || (waiting().await == 0).then_some(())).await;
    for invoice in &invoices {
        let times = world.events(|event| event.invoice() == Some(invoice)).len();
        assert!(times <= 2, "{invoice} was told {times} times");
    }
    let log = relay.log();
    let cut = log.lines().filter(|line| line.contains("the link to the broker broke")).count();
    assert_eq!(cut, 0, "{log}");
    drop(relay);
    world.end().await;
}

//! How the program stops: by one signal, by two, at the limit, with work in hand, and with what it needs away.
//! Whatever it is, it ends in bounded time, its exit code says whether work was cut off, and whoever starts
//! next finds everything.

use crate::{
    harness::{
        World,
        child::Service,
        commands::{self, Message},
        eventually, payment,
        proxy::Mode,
    },
    outages::scene::{self, Scene},
};
use doku_sandbox::Faults;
use std::time::{Duration, Instant};

/// Beyond its own limits, on a machine that is busy with other tests.
const MARGIN: Duration = Duration::from_secs(6);
const CLAIMED: &str = "SELECT count(*) FROM due WHERE token IS NOT NULL";

async fn published(world: &World, count: usize) -> Vec<Message> {
    let commands: Vec<_> = (0..count).map(|_| payment(&world.invoice())).collect();
    for command in &commands {
        world.publish(command).await;
    }
    commands
}

async fn in_flight(world: &World, count: i64) {
    eventually("some to be in flight", async || (world.database.count(CLAIMED).await >= count).then_some(()))
        .await;
}

/// The exit code, and how long it took.
async fn stopped(service: &mut Service, signal: &str, within: Duration) -> (Option<i32>, Duration) {
    let start = Instant::now();
    service.signal(signal);
    let status = service.ended(within).await;
    (status.code(), start.elapsed())
}

/// SIGTERM: nothing new is taken, what is held finishes, and the process ends with 0 in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_signal_finishes_what_is_held() {
    let world = World::with().without_service().set("SHUTDOWN__DRAIN_MS", 10_000).build().await;
    let slow = Faults { latency_ms: 800, ..Faults::default() };
    world.sandbox.set_faults(slow).unwrap();
    let mut service = Service::start(&world).await;
    let invoices: Vec<String> = (0..50).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    in_flight(&world, 10).await;
    let (code, _) = stopped(&mut service, "-TERM", Duration::from_secs(10) + MARGIN).await;
    assert_eq!(code, Some(0), "{}", service.log());
    assert_eq!(world.database.count(CLAIMED).await, 0, "a claim was left behind");
    world.sandbox.set_faults(Faults::default()).unwrap();
    let service = Service::start(&world).await;
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
        assert_eq!(world.sandbox.ledger().sends_of(invoice).count(), 1);
    }
    service.kill();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_leaves_at_once() {
    let world = World::with().without_service().set("DOKU__TIMEOUT_MS", 20_000).build().await;
    let mut service = Service::start(&world).await;
    world.publish(&commands::payment_with(&world.invoice(), "hang:15000")).await;
    eventually("a send", async || (!world.sandbox.ledger().requests.is_empty()).then_some(())).await;
    service.signal("-TERM");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(service.is_running());
    service.signal("-TERM");
    let status = service.ended(Duration::from_secs(3)).await;
    assert_eq!(status.code(), Some(1), "work was cut off");
    world.end().await;
}

/// DOKU does not answer: the limit ends the wait, the exit code says so, and the next one finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doku_that_hangs_is_cut_off_at_the_drain_limit() {
    let setting =
        World::with().without_service().set("DOKU__TIMEOUT_MS", 20_000).set("SHUTDOWN__DRAIN_MS", 1000);
    let world = setting.build().await;
    let mut service = Service::start(&world).await;
    let invoice = world.invoice();
    world.publish(&commands::payment_with(&invoice, "act_then_hang:15000")).await;
    eventually("a send", async || (world.sandbox.ledger().charges_of(&invoice).count() == 1).then_some(()))
        .await;
    let (code, took) = stopped(&mut service, "-INT", Duration::from_secs(1) + MARGIN).await;
    assert_eq!(code, Some(1), "work was cut off, after {took:?}");
    assert!(took >= Duration::from_secs(1), "it did not wait for its limit: {took:?}");
    let service = Service::start(&world).await;
    world.database.jump(Duration::from_secs(40)).await;
    world.event(&invoice, "order.paid").await;
    drop(service);
    world.end().await;
}

/// Nothing to wait for: it ends at once, whether it ever reached anything or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_service_ends_at_once_with_or_without_its_servers() {
    let world = World::with().without_service().build().await;
    let mut idle = Service::start(&world).await;
    assert_eq!(stopped(&mut idle, "-TERM", MARGIN).await.0, Some(0), "{}", idle.log());
    let nowhere =
        [("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none"), ("AMQP_URL", "amqp://127.0.0.1:9/%2f")];
    let mut waiting = Service::start_unready(&world, &nowhere);
    eventually("it to listen", async || {
        reqwest::get(format!("http://{}/livez", waiting.admin)).await.ok().map(drop)
    })
    .await;
    assert_eq!(stopped(&mut waiting, "-TERM", MARGIN).await.0, Some(0), "{}", waiting.log());
    drop((idle, waiting));
    world.end().await;
}

/// Stops with commands in flight and the broker or the database away, each refusing or vanished. The table
/// says what must be cut off: what DOKU answered cannot be recorded without a database, and an event cannot
/// be published to a broker that says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_a_server_is_away_ends_within_its_limit_and_loses_nothing() {
    const DRAIN: Duration = Duration::from_secs(6);
    let rows = [
        ("broker", Mode::Refuse),
        ("broker", Mode::BlackHole),
        ("postgres", Mode::Refuse),
        ("postgres", Mode::BlackHole),
    ];
    let stories = rows.map(async |(server, mode)| {
        let setting = scene::setting().set("SHUTDOWN__DRAIN_MS", DRAIN.as_millis());
        let mut scene = Scene::of(setting, None, None).await;
        scene.world.sandbox.set_faults(Faults { latency_ms: 1500, ..Faults::default() }).unwrap();
        let commands = published(&scene.world, 6).await;
        eventually("DOKU to have acted", async || {
            (!scene.world.sandbox.ledger().charges.is_empty()).then_some(())
        })
        .await;
        let proxy = if server == "broker" { &scene.to_broker } else { &scene.to_postgres };
        proxy.set(mode);
        let (code, took) = stopped(&mut scene.service, "-TERM", DRAIN + MARGIN).await;
        let told = format!("{server} {mode:?}: {code:?} after {took:?}");
        println!("{told}");
        match (server, mode) {
            ("postgres", _) => assert_eq!(code, Some(1), "{told}"),
            _ => assert!(matches!(code, Some(0 | 1)), "{told}"),
        }
        scene.world.sandbox.set_faults(Faults::default()).unwrap();
        proxy.set(Mode::Forward);
        scene.service = Service::start(&scene.world).await;
        scene.leases_end().await;
        for command in &commands {
            let invoice = command.body["data"]["order"]["invoice_number"].as_str().unwrap();
            scene.world.event(invoice, "order.paid").await;
            assert_eq!(scene.world.sandbox.ledger().charges_of(invoice).count(), 1, "{told}");
        }
        scene.end().await;
    });
    futures_util::future::join_all(stories).await;
}

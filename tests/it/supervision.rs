//! What becomes of the process when a task of it ends or panics: the end of one that payments need ends the process,
//! others are restarted, and a panic over one delivery, order, batch or request costs nothing but time.

use crate::harness::{
    World,
    child::Service,
    commands::{payment_with, refund},
    eventually, eventually_or, free_port, payment, vitals,
    world::{PATH, Setting},
};
use jenius_pay::failpoint::Failpoint;
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// They need the task: without it no payment, outcome, event or notification moves, or nobody can see it.
const ESSENTIAL: [&str; 15] = [
    "admin",
    "database",
    "follow_up",
    "ingress",
    "ingress_publisher",
    "notifications",
    "notifications_pace",
    "pace",
    "pauses",
    "payments",
    "publisher",
    "rate",
    "refunds",
    "relay",
    "topology",
];
const RESTARTABLE: [&str; 8] = ["depth", "gauges", "listen", "metrics", "parked", "reports", "stops", "tell"];
const WAYS: [&str; 2] = ["end", "panic"];
const DRAIN: Duration = Duration::from_secs(10);
const LANES: usize = 4;

/// The sandbox notifies the ingress of whatever process runs.
async fn notified(setting: Setting) -> World {
    let ingress = format!("127.0.0.1:{}", free_port());
    let world = setting.set("INGRESS__LISTEN", &ingress).build().await;
    world.sandbox.set_notify_url(Some(&format!("http://{ingress}{PATH}"))).unwrap();
    world
}

fn strike_file(world: &World, task: &str) -> PathBuf {
    std::env::temp_dir().join(format!("jenius-pay-strike-{}-{task}", world.unique()))
}

/// Struck while payments are in flight, the process ends with 1, and the next one finds everything.
async fn end_of_an_essential_task(world: &World, task: &str, way: &str) {
    let file = strike_file(world, task);
    let strike = format!("{task}:{way}:{}", file.display());
    let mut service = Service::start_with(world, &[("JENIUS_STRIKE_TASK", &strike)]).await;
    let invoices: Vec<String> = (0..3).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    std::fs::write(&file, "").unwrap();
    let status = service.ended(DRAIN * 3).await;
    assert_eq!(status.code(), Some(1), "{task} {way}: {status}\n{}", service.log());
    let told = service.log().contains(&format!("\"task\":\"{task}\""));
    assert!(told, "{task} {way} is not told of:\n{}", service.log());
    std::fs::remove_file(&file).unwrap();
    drop(service);
    let service = Service::start(world).await;
    for invoice in &invoices {
        world.event(invoice, "order.paid").await;
        assert_eq!(world.sandbox.ledger().charges_of(invoice).count(), 1, "{task} {way}");
    }
    service.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(debug_assertions), ignore = "a release build cannot be struck")]
async fn the_end_of_any_task_that_payments_need_ends_the_process_with_1_and_loses_nothing() {
    let strikes: Vec<_> = ESSENTIAL.iter().flat_map(|task| WAYS.map(|way| (*task, way))).collect();
    let lanes = (0..LANES).map(async |lane| {
        let setting = World::with()
            .without_service()
            .set("SHUTDOWN__DRAIN_MS", DRAIN.as_millis())
            .set("DOKU__REQUESTS_PER_SECOND", 100);
        let world = notified(setting).await;
        for (task, way) in strikes.iter().skip(lane).step_by(LANES) {
            end_of_an_essential_task(&world, task, way).await;
        }
        world.end().await;
    });
    futures_util::future::join_all(lanes).await;
}

/// The lists above are all the tasks there are.
#[test]
fn every_task_is_in_one_of_the_lists() {
    let source = concat!(
        include_str!("../../src/app/mod.rs"),
        include_str!("../../src/app/ingress.rs"),
        include_str!("../../src/app/console.rs"),
    );
    let named = |call: &str| -> BTreeSet<String> {
        let after = source.split(call).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
        after.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let consumers = ["payments", "refunds"].map(str::to_owned);
    let publishers = named("self.publisher(broker,");
    let essential: BTreeSet<String> = named(".essential(")
        .into_iter()
        .chain(named("self.watch("))
        .chain(publishers)
        .chain(consumers)
        .collect();
    // The console runs only where it is named.
    assert_eq!(essential, ESSENTIAL.into_iter().chain(["console"]).map(str::to_owned).collect());
    let restartable: BTreeSet<String> =
        named(".restartable(").into_iter().chain(named(".restart(")).collect();
    assert_eq!(restartable, RESTARTABLE.map(str::to_owned).into());
}

/// Restarted and told of in `/readyz`, while payments go on; struck for good, the process ends with 1.
async fn strikes_of_a_restartable_task(task: &str, way: &str) {
    let world = World::with().without_service().build().await;
    let file = strike_file(&world, task);
    let strike = format!("{task}:{way}:{}", file.display());
    let mut service = Service::start_with(&world, &[("JENIUS_STRIKE_TASK", &strike)]).await;
    std::fs::write(&file, "").unwrap();
    eventually("/readyz to tell of the restart", async || {
        let (status, ready) = vitals::readyz(&service.admin).await?;
        assert_eq!(status, 200, "{ready}");
        (ready["tasks"][task]["ok"] == false).then_some(())
    })
    .await;
    std::fs::remove_file(&file).unwrap();
    let counted = format!("jenius_task_restarts_total{{task=\"{task}\"}}");
    assert!(service.page("metrics").await.contains(&counted), "{task} {way}");
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    assert!(service.is_running(), "{task} {way}");
    std::fs::write(&file, "").unwrap();
    let status = service.ended(Duration::from_secs(90)).await;
    assert_eq!(status.code(), Some(1), "{task} {way}: {status}\n{}", service.log());
    std::fs::remove_file(&file).unwrap();
    drop(service);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(debug_assertions), ignore = "a release build cannot be struck")]
async fn a_task_that_no_payment_needs_is_restarted_and_five_times_end_the_process() {
    for way in WAYS {
        let stories = RESTARTABLE.iter().map(async |task| strikes_of_a_restartable_task(task, way).await);
        futures_util::future::join_all(stories).await;
    }
}

/// Where one who works on a delivery, an order, a batch or a request may panic.
const IN_ONE_TASK: [Failpoint; 20] = [
    Failpoint::Received,
    Failpoint::BeforeClaim,
    Failpoint::AfterClaim,
    Failpoint::AfterRejection,
    Failpoint::AfterParked,
    Failpoint::BeforeAsk,
    Failpoint::AfterAnswer,
    Failpoint::RecordsCommitted,
    Failpoint::AfterRecord,
    Failpoint::BeforeAck,
    Failpoint::AfterAck,
    Failpoint::BeforeDeadLetter,
    Failpoint::AfterDeadLetter,
    Failpoint::BeforeTake,
    Failpoint::AfterTake,
    Failpoint::BeforeReconcile,
    Failpoint::NotificationsCommitted,
    Failpoint::AfterReconcile,
    Failpoint::BeforePublish,
    Failpoint::AfterPublish,
];

/// Where a task of its own is, which the stories above strike.
const IN_A_BACKGROUND_TASK: [Failpoint; 5] = [
    Failpoint::AfterTending,
    Failpoint::BeforeRelay,
    Failpoint::BetweenWaves,
    Failpoint::BeforeMark,
    Failpoint::AfterMark,
];

#[test]
fn a_panic_is_tried_at_every_place_there_is() {
    let tried: Vec<_> = IN_ONE_TASK.iter().chain(&IN_A_BACKGROUND_TASK).collect();
    let missing: Vec<_> = Failpoint::ALL.iter().filter(|point| !tried.contains(point)).collect();
    assert!(missing.is_empty() && tried.len() == Failpoint::ALL.len(), "{missing:?}");
}

/// The process that panics once in each of these places does everything all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no points")]
async fn a_panic_over_one_delivery_order_batch_or_request_costs_nothing_but_time() {
    let lanes = (0..LANES).map(async |lane| {
        for point in IN_ONE_TASK.iter().skip(lane).step_by(LANES) {
            panic_in_one_task(*point).await;
        }
    });
    futures_util::future::join_all(lanes).await;
}

async fn panic_in_one_task(point: Failpoint) {
    let name = point.name();
    let world = notified(World::with().without_service()).await;
    let mut service = Service::start_with(&world, &[("JENIUS_PANIC_AT", name)]).await;
    let invoices: Vec<String> = (0..4).map(|_| world.invoice()).collect();
    for (at, invoice) in invoices.iter().enumerate() {
        // One of them is due again, and so in follow-up's hand.
        let words = if at == 1 { "503" } else { "$admin" };
        world.publish(&payment_with(invoice, words)).await;
    }
    // One breaks a rule, the other is refused by its order.
    let rejected = [payment(&world.invoice()).with("time", "yesterday"), refund(&world.invoice())];
    for command in &rejected {
        world.publish(command).await;
    }
    world.broker.publish_bytes("payment.request", "application/json", b"{").await;
    let caught = async || {
        let metrics = service.page("metrics").await;
        let lines = metrics.lines().filter(|line| line.starts_with("jenius_panics_caught_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).sum::<u32>()
    };
    let what = || format!("a panic at {name}\n{}", service.log());
    eventually_or(what, async || (caught().await > 0).then_some(())).await;
    // A claim of the one who panicked is taken over when its lease ends.
    world.database.jump(Duration::from_secs(60)).await;
    for invoice in &invoices {
        world.event(invoice, "order.paid").await;
        assert_eq!(world.sandbox.ledger().charges_of(invoice).count(), 1, "{name}");
    }
    for command in &rejected {
        world.rejected(command.id()).await;
    }
    assert_eq!(world.broker.dead().await.body, b"{", "{name}");
    assert!(service.is_running(), "{name}: {}", service.log());
    service.signal("-TERM");
    let status = service.ended(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0), "{name}: {}", service.log());
    drop(service);
    world.end().await;
}

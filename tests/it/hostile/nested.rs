//! Header tables and arrays within each other, as deep as the broker carries them. lapin, and whoever looks
//! at what it parsed, follows them by recursion: the stacks must be deep enough, since an overflow kills the
//! process. The test's own stacks are not: here such a table is written byte by byte, and never read.

use super::Thrown;
use crate::harness::{
    World, broker,
    child::Service,
    eventually_or, payment,
    raw::{HEADERS, Raw, long},
    refund,
    reports::Report,
};
use std::time::{Duration, Instant};

/// What is left of RabbitMQ's largest frame for the table of a message that has no other property.
const TABLE_BYTES_MAX: usize = 131_072 - 8 - 14;
const NEIGHBOURS: usize = 40;
const NEIGHBOUR_WAITS_MAX: Duration = Duration::from_secs(25);
/// Exchange and routing key of each queue, and what is nested there as deep as it goes.
const QUEUES: [(&str, &str, Nested); 3] = [
    ("commands", "payment.request", Nested::Tables),
    ("commands", "refund.request", Nested::Arrays),
    ("notifications", "any", Nested::Tables),
];
const TABLES_WITHIN_TABLES: [usize; 3] = [100, 1_000, 10_000];

#[derive(Debug, Clone, Copy)]
enum Nested {
    Tables,
    Arrays,
}

impl Nested {
    /// What a level is but its length: a nameless field that is a table, an item that is an array.
    const fn field(self) -> &'static [u8] {
        match self {
            Self::Tables => b"\0F",
            Self::Arrays => b"A",
        }
    }

    const fn level_bytes(self) -> usize {
        self.field().len() + 4
    }

    const fn levels_max(self) -> usize {
        let outermost = 4 + b"\0A".len();
        (TABLE_BYTES_MAX - outermost - 4) / self.level_bytes()
    }

    fn table(self, levels: usize) -> Vec<u8> {
        let left = |levels: usize| u32::try_from(levels * self.level_bytes()).unwrap().to_be_bytes();
        let mut inner: Vec<u8> =
            (1..=levels).rev().flat_map(|levels| [&left(levels)[..], self.field()].concat()).collect();
        inner.extend(left(0));
        let kind = self.field()[self.field().len() - 1];
        long(&[&[0, kind][..], &inner].concat())
    }
}

fn throw(prefix: &str) {
    let mut raw = Raw::connect(&broker::url());
    for (exchange, key, deepest) in QUEUES {
        let exchange = format!("{prefix}.{exchange}");
        let tables = TABLES_WITHIN_TABLES.map(|levels| Nested::Tables.table(levels));
        for table in tables.into_iter().chain([deepest.table(deepest.levels_max())]) {
            raw.publish(&exchange, key, HEADERS, &table, b"poison");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_nested_as_deep_as_a_frame_holds_kill_nobody_and_end_dead_once() {
    const COUNT: usize = QUEUES.len() * (TABLES_WITHIN_TABLES.len() + 1);
    let world = World::with().without_service().build().await;
    let mut service = Service::start(&world).await;
    let order = world.waiting().await;
    let prefix = world.broker.prefix.clone();
    let throwing = tokio::task::spawn_blocking(move || throw(&prefix));
    let invoices: Vec<String> = (0..NEIGHBOURS).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    throwing.await.unwrap();
    // Until now they also waited for the broker, which takes seconds for each of the deepest.
    let started = Instant::now();
    let refused = refund(&world.invoice());
    world.publish(&refused).await;
    world.queue(&Report::success(&order).event()).await;
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    world.rejected(refused.id()).await;
    world.event(&order, "order.paid").await;
    let worst = started.elapsed();
    assert!(worst < NEIGHBOUR_WAITS_MAX, "neighbours waited {worst:?}");
    let what = || format!("{COUNT} dead letters\n{}", service.log());
    let ended = async || (finished(&service, "dead_lettered").await >= COUNT).then_some(());
    eventually_or(what, ended).await;
    assert_eq!(finished(&service, "dead_lettered").await, COUNT, "a neighbour was dead-lettered");
    assert_eq!(finished(&service, "requeued").await, 0, "something came again");
    assert_eq!(usize::try_from(world.broker.depth("dead").await).unwrap(), COUNT);
    assert!(service.is_running(), "{}", service.log());
    assert!(!service.log().contains("panicked"), "{}", service.log());
    drop(service);
    world.end().await;
    let deepest = Nested::Arrays.levels_max();
    let became = format!("dead letters, each once, at up to {deepest} levels");
    Thrown { what: "headers within each other", count: COUNT, became, worst: Some(worst) }.prove();
}

/// How many deliveries of all queues ended so.
async fn finished(service: &Service, disposition: &str) -> usize {
    let label = format!("disposition=\"{disposition}\"");
    let metrics = service.page("metrics").await;
    let ended = metrics.lines().filter(|l| l.starts_with("jenius_deliveries_finished_total{"));
    let counts = ended.filter(|l| l.contains(&label)).map(|l| l.rsplit(' ').next().unwrap());
    counts.map(|count| count.parse::<usize>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_tables_within_each_other_are_carried_into_the_dead_letter() {
    let world = World::new().await;
    let exchange = format!("{}.commands", world.broker.prefix);
    let table = Nested::Tables.table(100);
    let throw =
        move || Raw::connect(&broker::url()).publish(&exchange, "payment.request", HEADERS, &table, b"x");
    tokio::task::spawn_blocking(throw).await.unwrap();
    let dead = world.broker.dead().await;
    assert_eq!((dead.body.as_slice(), dead.reason.as_deref()), (&b"x"[..], Some("malformed")));
    world.end().await;
}

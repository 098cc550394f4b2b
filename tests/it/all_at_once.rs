//! The soak: two instances, commands all the time, a DOKU that misbehaves at random, and one outage after the other, by
//! a seed. At the end every command has one outcome, and the ledger agrees.
//!
//! `JENIUS_SOAK_SECONDS` makes it longer, `JENIUS_SOAK_SEED` plays another seed.

pub mod fleet;
mod strike;
pub mod traffic;
pub mod verdict;

use crate::harness::{proof, world::World};
use fleet::Fleet;
use lapin::{
    Connection, ConnectionProperties,
    options::{QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use std::{collections::BTreeMap, fmt::Write, time::Duration};
use strike::{Deck, Servers, Strike};
use tokio::time::{Instant, sleep};
use traffic::{Asked, Upstream};
use verdict::{History, Verdict};

const SECONDS: u64 = 120;
/// Between two commands, on average.
const EVERY: Duration = Duration::from_millis(350);
/// The queue of a subscriber that is there the whole time; the prefix goes before it.
const SUBSCRIBER: &str = "soak";
/// What an instance may hold more than when it had just become ready.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

/// Says how to play it again, if it fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- play it again: JENIUS_SOAK_SEED={} JENIUS_SOAK_SECONDS={}", self.0, seconds());
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn seconds() -> u64 {
    number("JENIUS_SOAK_SECONDS").unwrap_or(SECONDS)
}

/// The same one for every change, so that a failure is the change's; the long soak takes others.
const USUAL_SEED: u64 = 488_578_178;

fn seed() -> Seed {
    Seed(number("JENIUS_SOAK_SEED").unwrap_or(USUAL_SEED))
}

#[derive(Default)]
struct Strikes {
    counts: BTreeMap<Strike, usize>,
    recoveries: Vec<Duration>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_lose_nothing_and_double_nothing_whatever_strikes() {
    let seed = seed();
    println!("soak: seed {}, {} s", seed.0, seconds());
    let mut servers = Servers::start().await;
    let mut fleet = Fleet::new(seed.0, &servers.rabbit.url, &servers.postgres.url).await;
    fleet.begin_both().await;
    subscribe(&fleet.world).await;
    // A quorum queue that is younger may not come back from a killed node.
    sleep(Duration::from_secs(2)).await;
    let end = Instant::now() + Duration::from_secs(seconds());
    let upstream = Upstream::new(&servers.rabbit.url, &fleet.world.broker.prefix, seed.0);
    let upstream = tokio::spawn(upstream.run(move || (Instant::now() < end).then_some(EVERY)));
    let strikes = strike_until(end, &mut fleet, &mut servers, seed.0).await;
    let asked = upstream.await.unwrap().asked;
    fleet.world.broker.reconnect().await;
    let (stuck, drained_in) = verdict::drain(&fleet.world).await;
    let memory = fleet.memory_kib();
    let mut verdict = verdict::judge(&fleet.world, &asked, History::Kept).await;
    (verdict.stuck, verdict.drained_in) = (stuck, drained_in);
    println!("{verdict:?}");
    proof::section("soak", &told(seed.0, &asked, &strikes, &verdict, &memory));
    assert_eq!((verdict.lost, verdict.doubled, verdict.stuck), (0, 0, 0), "lost, doubled, stuck");
    for (first, last) in memory {
        assert!(last < first + GROWTH_KIB_MAX, "an instance grew from {first} KiB to {last} KiB");
    }
    let Fleet { world, instances, .. } = fleet;
    drop(instances);
    world.end().await;
}

async fn strike_until(end: Instant, fleet: &mut Fleet, servers: &mut Servers, seed: u64) -> Strikes {
    let (mut deck, mut strikes) = (Deck::new(seed), Strikes::default());
    while Instant::now() < end {
        let (strike, which, lasts, quiet) = deck.draw();
        sleep(quiet).await;
        println!("soak: {}, instance {which}, {lasts:?}", strike.name());
        strike.play(fleet, servers, which, lasts).await;
        let recovery = fleet.recovered().await;
        println!("soak: recovered after {recovery:?}");
        *strikes.counts.entry(strike).or_default() += 1;
        strikes.recoveries.push(recovery);
    }
    strikes
}

/// A subscriber whose queue outlives the broker's restarts.
pub async fn subscribe(world: &World) {
    let url = &world.settings["AMQP_URL"];
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{}.{SUBSCRIBER}", world.broker.prefix);
    let exchange = format!("{}.events", world.broker.prefix);
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), durable, arguments).await.unwrap();
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(queue.as_str().into(), exchange.as_str().into(), "#".into(), options, arguments)
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

fn told(seed: u64, asked: &Asked, strikes: &Strikes, verdict: &Verdict, memory: &[(u64, u64)]) -> String {
    let mut recoveries = strikes.recoveries.clone();
    recoveries.sort_unstable();
    let seconds_of = |at: usize| recoveries.get(at).copied().unwrap_or_default().as_secs_f64();
    let mut text = "| figure | value |\n|---|---|\n".to_owned();
    let mut row = |figure: &str, value: String| writeln!(text, "| {figure} | {value} |").unwrap();
    row("seed, seconds", format!("{seed}, {}", seconds()));
    row("commands; repeated; malformed", {
        format!("{}; {}; {}", asked.commands.len(), asked.repeated, asked.malformed.len())
    });
    for (strike, count) in &strikes.counts {
        row(strike.name(), count.to_string());
    }
    row("faults of DOKU's answers", verdict.faults_by_doku.to_string());
    for (outcome, count) in &verdict.outcomes {
        row(&format!("outcome {outcome}"), count.to_string());
    }
    row("lost, doubled, stuck", format!("{}, {}, {}", verdict.lost, verdict.doubled, verdict.stuck));
    row("events; seen again", format!("{}; {}", verdict.events, verdict.events_repeated));
    row("dead letters, all malformed", verdict.dead.to_string());
    row("ready again after (s): median, worst", {
        format!("{:.1}, {:.1}", seconds_of(recoveries.len() / 2), seconds_of(recoveries.len().max(1) - 1))
    });
    row("worked off after the last mend (s)", format!("{:.1}", verdict.drained_in.as_secs_f64()));
    let memory: Vec<_> = memory.iter().map(|(first, last)| format!("{first} → {last}")).collect();
    row("memory of each instance (KiB), ready → end", memory.join(", "));
    text
}

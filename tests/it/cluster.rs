//! Clusters: brokers and primaries fail over under load, and nothing is lost, doubled or stuck.
//!
//! Every change plays the short form, one broker and one primary lost. `./deploy/local/test --cluster` plays every
//! strike by itself, for each of `JENIUS_CLUSTER_SEEDS`; `JENIUS_CLUSTER_STRIKE` names those of one word only.

mod ground;
mod load;
mod strike;
mod table;

use crate::{
    all_at_once::{
        self,
        fleet::Fleet,
        traffic::Upstream,
        verdict::{self, History, Verdict},
    },
    harness::{World, proof, vitals},
};
use futures_util::FutureExt;
use ground::Ground;
use load::Load;
use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};
use strike::Strike;
use tokio::time::sleep;

const USUAL_SEED: u64 = 488_578_178;
/// Commands before the first strike and after the last mend.
const CALM: Duration = Duration::from_secs(4);

/// What one run of some strikes did.
#[derive(Debug)]
pub struct Run {
    seed: u64,
    strikes: Vec<Strike>,
    commands: usize,
    verdict: Verdict,
    /// Between two events that were published.
    silence: Duration,
    /// The worst, of both instances, once it was mended.
    ready_after: Duration,
    /// Claims that the database had forgotten, as the instances counted.
    forgotten: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_and_a_primary_that_fail_over_lose_nothing_and_double_nothing() {
    let mut ground = Ground::start().await;
    let run = run(&mut ground, &[Strike::BrokerKilled, Strike::PrimaryKilled], USUAL_SEED).await;
    println!("{run:?}");
    assert_clean(&run);
}

/// Takes half an hour for three seeds: it is played if somebody asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strikes_a_cluster_loses_nothing_and_doubles_nothing() {
    let Ok(seeds) = std::env::var("JENIUS_CLUSTER_SEEDS") else { return };
    let only = std::env::var("JENIUS_CLUSTER_STRIKE").unwrap_or_default();
    let (mut runs, mut failed) = (Vec::new(), Vec::new());
    let mut ground = None;
    for seed in seeds.split([',', ' ']).map(|seed| seed.parse().expect("a number")) {
        for strike in Strike::ALL.into_iter().filter(|strike| strike.name().contains(&only)) {
            let on = match &mut ground {
                Some(ground) => ground,
                None => ground.insert(Ground::start().await),
            };
            println!("cluster: {}, seed {seed}", strike.name());
            match AssertUnwindSafe(run(on, &[strike], seed)).catch_unwind().await {
                Ok(run) => {
                    println!("cluster: {run:?}");
                    runs.push(run);
                }
                Err(_) => {
                    println!("cluster: failed: {}, seed {seed}", strike.name());
                    failed.push((strike.name(), seed));
                    // Nobody knows what it left.
                    ground = None;
                }
            }
        }
    }
    proof::section("clusters", &table::of(&runs));
    assert!(failed.is_empty(), "failed: {failed:#?}");
    runs.iter().for_each(assert_clean);
}

fn assert_clean(run: &Run) {
    let Verdict { lost, doubled, stuck, .. } = run.verdict;
    assert_eq!((lost, doubled, stuck), (0, 0, 0), "lost, doubled, stuck: {run:?}");
    if let [strike] = run.strikes[..] {
        let is_short = strike.silence_max().is_none_or(|max| run.silence < max);
        assert!(is_short, "no event for {:?}: {run:?}", run.silence);
    }
}

/// Load, the strikes, an instance replaced, and the verdict.
async fn run(ground: &mut Ground, strikes: &[Strike], seed: u64) -> Run {
    let mut fleet = ground.fleet(seed).await;
    all_at_once::subscribe(&fleet.world).await;
    // A quorum queue that is younger may not come back from a killed node.
    sleep(Duration::from_secs(2)).await;
    let load = Arc::new(Load::default());
    let pace = {
        let load = Arc::clone(&load);
        move || load.pace()
    };
    let upstream = Upstream::new(&ground.broker_url, &fleet.world.broker.prefix, seed);
    let upstream = tokio::spawn(upstream.run(pace));
    let mut ready_after = Duration::ZERO;
    for strike in strikes {
        sleep(CALM).await;
        let started = Instant::now();
        strike.play(ground, &fleet, &load).await;
        println!("cluster: {} took {:?}", strike.name(), started.elapsed());
        ready_after = ready_after.max(fleet.recovered().await);
    }
    fleet.replace(1).await;
    sleep(CALM).await;
    load.end();
    let mut upstream = upstream.await.unwrap();
    let history = if strikes.iter().all(|strike| strike.history() == History::Kept) {
        History::Kept
    } else {
        upstream.repeat_all().await;
        fleet.world.asked_anew = upstream.asked.payment_commands();
        History::LostItsEnd
    };
    let silence = silence(&fleet.world).await;
    ground.settled(&fleet.world.broker.prefix).await;
    fleet.world.broker.reconnect().await;
    let (stuck, drained_in) = verdict::drain(&fleet.world).await;
    let mut verdict = verdict::judge(&fleet.world, &upstream.asked, history).await;
    (verdict.stuck, verdict.drained_in) = (stuck, drained_in);
    let forgotten = forgotten(&mut fleet).await;
    let commands = upstream.asked.commands.len();
    let Fleet { world, instances, .. } = fleet;
    drop(instances);
    world.end().await;
    Run { seed, strikes: strikes.to_vec(), commands, verdict, silence, ready_after, forgotten }
}

/// The longest time between two events that were published.
async fn silence(world: &World) -> Duration {
    let sql = "SELECT coalesce(max(extract(epoch FROM gap) * 1000), 0)::bigint FROM
               (SELECT published_at - lag(published_at) OVER (ORDER BY published_at) AS gap FROM publications) gaps";
    Duration::from_millis(u64::try_from(world.database.count(sql).await).unwrap())
}

async fn forgotten(fleet: &mut Fleet) -> usize {
    let mut sum = 0.0;
    for which in 0..2 {
        sum += vitals::metric(&fleet.service(which).admin, &["jenius_claims_forgotten_total"]).await;
    }
    format!("{sum:.0}").parse().unwrap()
}

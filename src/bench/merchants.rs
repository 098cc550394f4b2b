//! `merchants`: one merchant's payments at an even pace: alone, beside another merchant that sends as many as its rate limit
//! allows, and beside one that is at its limit with thousands of commands that wait. The first one's latency must not show
//! that they wait.

use super::{
    Bench, Section,
    chart::Quantiles,
    commands::{Commands, payments_route},
    drain::WORKING,
    latency::{WARM_UP, at_rate, publish, publish_one},
    load::Subscription,
    progress::ProgressLine,
    report::{figure, table},
    service::{Counter, Service},
    setup::{BUSY_CLIENT_ID, BUSY_SECRET_KEY, BenchSetup, with_setup},
};
use anyhow::{Context, ensure};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Each merchant's limit where none is configured. The busy one is at it, the other one at half of it.
const REQUESTS_PER_SECOND: u32 = 100;
/// How many commands of the busy merchant wait while the other one is measured.
const WAITING: u64 = 10_000;
/// Until all of the busy merchant's commands wait, at most.
const CLAIMED_WITHIN: Duration = Duration::from_secs(120);
/// As many more are published as are sent in this time, while the others are claimed.
const CLAIMED_IN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const BUSY: &str = "busy";
const DUE: Counter = ("jenius_due_sends", "merchant=\"busy\"");
/// The other's commands that do not wait come at this share of its limit, so that none of them does.
const EVEN_PERCENT: u32 = 95;
/// Their numbers: no others' are as large.
const EVEN_FIRST: u64 = 1_000_000_000;
/// The first command proves that everything is up.
const READY: u64 = 0;

#[derive(Debug, Serialize)]
struct Results {
    requests_per_second: u32,
    per_second: u32,
    waiting: u64,
    waiting_at_the_end: u64,
    alone: Quantiles,
    /// Beside the other's payments at an even pace.
    even: Quantiles,
    /// Beside the other's payments that wait.
    beside: Quantiles,
    /// The p99 beside the busy merchant, as a multiple of the one alone.
    p99_ratio: f64,
    /// The same as a multiple of the one beside as many payments that do not wait.
    p99_ratio_to_even: f64,
}

pub async fn run(bench: &Bench) -> anyhow::Result<Section> {
    let results = with_setup(bench, async |setup| measure(setup).await).await?;
    let paced = format!("{} payments a second", results.per_second);
    let head = [paced.as_str(), "p50 ms", "p99 ms", "p99.9 ms", "max ms", "the other's waiting"];
    let row = |what: &str, of: &Quantiles, waiting: String| {
        let mut row = vec![what.to_owned()];
        row.extend([of.p50, of.p99, of.p999, of.max].map(|ms| format!("{ms:.1}")));
        row.push(waiting);
        row
    };
    let (start, end) = (results.waiting, results.waiting_at_the_end);
    let rows = [
        row("alone", &results.alone, "0".to_owned()),
        row("beside as many that do not wait", &results.even, "0".to_owned()),
        row("beside those that wait", &results.beside, format!("{start} to {end}")),
    ];
    let (ratio, to_even) = (figure(results.p99_ratio), figure(results.p99_ratio_to_even));
    let text = format!(
        "{}\np99 beside those that wait {ratio} of alone, {to_even} of that beside as many that do not",
        table(&head.map(str::to_owned), &rows)
    );
    Section::new("merchants", &results, text)
}

async fn measure(setup: &BenchSetup<'_>) -> anyhow::Result<Results> {
    setup.doku_answers_after(setup.bench.options.answer_after).await?;
    let variables = [
        ("JENIUS_PAY__DOKU__REQUESTS_PER_SECOND", limit(setup).to_string()),
        ("JENIUS_PAY__MERCHANTS__BUSY__CLIENT_ID", BUSY_CLIENT_ID.to_owned()),
        ("JENIUS_PAY__MERCHANTS__BUSY__SECRET_KEY", BUSY_SECRET_KEY.to_owned()),
    ];
    let mut service = Service::start(setup, &WORKING, &variables)?;
    let mut events = setup.load.listen(&setup.name("events")).await?;
    publish_one(setup, READY).await?;
    events.next().await.with_context(|| service.process.log_tail())?;
    let first = READY + 1;
    let alone = paced(setup, &mut events, first).await?;
    let even = beside_even(setup, &mut events, first + count(setup)).await?;
    let waiting = make_busy(setup, &mut service).await?;
    let beside = paced(setup, &mut events, first + 2 * count(setup)).await?;
    service.process.must_run()?;
    let waiting_at_the_end = service.count(DUE).await?;
    ensure!(waiting_at_the_end > 0, "the busy merchant's commands were done meanwhile");
    Ok(Results {
        requests_per_second: limit(setup),
        per_second: pace(setup),
        waiting,
        waiting_at_the_end,
        alone,
        even,
        beside,
        p99_ratio: beside.p99 / alone.p99,
        p99_ratio_to_even: beside.p99 / even.p99,
    })
}

fn limit(setup: &BenchSetup<'_>) -> u32 {
    let configured = setup.bench.settings.requests_per_second;
    if configured == 0 { REQUESTS_PER_SECOND } else { configured }
}

/// Payments a second of the merchant that is measured.
fn pace(setup: &BenchSetup<'_>) -> u32 {
    (limit(setup) / 2).max(1)
}

fn count(setup: &BenchSetup<'_>) -> u64 {
    u64::from(pace(setup)) * (setup.bench.options.span + WARM_UP).as_secs()
}

async fn paced(setup: &BenchSetup<'_>, events: &mut Subscription, first: u64) -> anyhow::Result<Quantiles> {
    let numbers = first..first + count(setup);
    let paced = at_rate(setup, events, pace(setup), numbers, Commands::payment).await?;
    Ok(paced.latencies.quantiles())
}

/// The same beside the other's payments, none of which waits.
async fn beside_even(
    setup: &BenchSetup<'_>,
    events: &mut Subscription,
    first: u64,
) -> anyhow::Result<Quantiles> {
    let commands = busy_commands(setup);
    let per_second = (limit(setup) * EVEN_PERCENT / 100).max(1);
    let numbers =
        EVEN_FIRST..EVEN_FIRST + u64::from(per_second) * (setup.bench.options.span + WARM_UP).as_secs();
    let others = publish(setup, per_second, numbers, |number| commands.payment_of(number, BUSY));
    let (quantiles, _) = tokio::try_join!(paced(setup, events, first), others)?;
    Ok(quantiles)
}

fn busy_commands(setup: &BenchSetup<'_>) -> Commands {
    Commands::new(&format!("{}busy", setup.prefix()))
}

/// Publishes what is to wait, and what goes meanwhile; waits until it is claimed, and says how many wait then.
async fn make_busy(setup: &BenchSetup<'_>, service: &mut Service) -> anyhow::Result<u64> {
    let meanwhile = (setup.bench.options.span + WARM_UP + CLAIMED_IN).as_secs();
    let all = WAITING + u64::from(limit(setup)) * meanwhile;
    let commands = busy_commands(setup);
    let exchange = setup.name("commands");
    let progress = ProgressLine::new("the busy merchant's commands", all);
    let bodies = (0..all).map(|number| commands.payment_of(number, BUSY));
    setup.load.publish_all(payments_route(&exchange), bodies, &progress).await?;
    let end = Instant::now() + CLAIMED_WITHIN;
    loop {
        service.process.must_run()?;
        let waiting = service.count(DUE).await?;
        if waiting >= WAITING && setup.load.depth(&setup.name("payments")).await? == 0 {
            return Ok(waiting);
        }
        ensure!(Instant::now() < end, "{waiting} of the busy merchant's commands wait, not {WAITING}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

//! `memory`: a long queue before the service and thousands of requests under way at a slow DOKU: how much memory does
//! it hold?

use super::{
    Bench, Section,
    commands::payments_route,
    drain::WORKING,
    processes::Memory,
    progress::ProgressLine,
    report::{figure, table},
    service::Service,
    setup::{BenchSetup, with_setup},
};
use serde::Serialize;
use std::time::{Duration, Instant};

const WAITING: u64 = 100_000;
const IN_FLIGHT: u64 = 5_000;
/// DOKU's answers take long enough that the requests under way are as many as allowed.
const ANSWER_AFTER: Duration = Duration::from_secs(10);
const SPAN: Duration = Duration::from_secs(40);
const MADE: (&str, &str) = ("jenius_attempts_made_total", "kind=\"send\"");

#[derive(Serialize)]
struct Results {
    waiting: u64,
    most_in_flight: u64,
    idle: Memory,
    loaded: Memory,
}

pub async fn run(bench: &Bench) -> anyhow::Result<Section> {
    let results = with_setup(bench, async |setup| hold(setup).await).await?;
    let head = ["waiting", "most in flight", "idle MiB", "loaded MiB", "highest MiB"];
    let row = vec![
        results.waiting.to_string(),
        results.most_in_flight.to_string(),
        figure(results.idle.now_mib),
        figure(results.loaded.now_mib),
        figure(results.loaded.highest_mib),
    ];
    Section::new("memory", &results, table(&head.map(str::to_owned), &[row]))
}

async fn hold(setup: &BenchSetup<'_>) -> anyhow::Result<Results> {
    setup.doku_answers_after(ANSWER_AFTER).await?;
    let many = IN_FLIGHT.to_string();
    let variables = [("JENIUS_PAY__AMQP__PREFETCH", many.clone()), ("JENIUS_PAY__DOKU__CONCURRENCY", many)];
    let mut service = Service::start(setup, &WORKING, &variables)?;
    while !service.is_ready().await {
        service.process.must_run()?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let idle = service.process.memory();
    let exchange = setup.name("commands");
    let progress = ProgressLine::new("publishing", WAITING);
    setup.load.publish_all(payments_route(&exchange), setup.commands.payments(WAITING), &progress).await?;
    drop(progress);
    let start = Instant::now();
    let mut most_in_flight = 0;
    while start.elapsed() < SPAN {
        tokio::time::sleep(Duration::from_millis(250)).await;
        service.process.must_run()?;
        let asked = setup.doku_counts().await?.requests;
        let answered = service.count(MADE).await?;
        most_in_flight = most_in_flight.max(asked.saturating_sub(answered));
    }
    Ok(Results { waiting: WAITING, most_in_flight, idle, loaded: service.process.memory() })
}

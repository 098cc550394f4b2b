//! `latency`: commands at an even pace, and how long each takes from its publication to the arrival of its event at a
//! subscriber. A durable queue is bound to the events too, and the relay waits for it. Beside it: what the broker alone
//! takes, from a publication to its arrival through a durable queue.

use super::{
    Bench, Section,
    chart::{Latencies, Quantiles, svg},
    commands::{Commands, payments_route},
    drain::WORKING,
    load::{Load, Subscription, confirmed},
    progress::ProgressLine,
    report::{figure, table},
    service::Service,
    setup::{BenchSetup, with_setup},
};
use anyhow::Context;
use serde::Serialize;
use std::{
    ops::Range,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Commands of the first moments are not counted: connections are opened, plans are made.
pub const WARM_UP: Duration = Duration::from_secs(2);
/// Publications with confirms that are not read yet.
const UNCONFIRMED_MAX: usize = 10_000;
/// The first command, which proves that everything is up, and the numbers of the commands before each rate's own.
const READY: u64 = 0;

#[derive(Debug, Clone, Serialize)]
struct Measured {
    wanted_per_second: u32,
    published_per_second: f64,
    commands: usize,
    #[serde(flatten)]
    ms: Quantiles,
    broker_alone_ms: Quantiles,
}

/// What is published at an even pace.
pub type MakeBody = fn(&Commands, u64) -> Vec<u8>;

pub async fn run(bench: &Bench) -> anyhow::Result<Section> {
    let alone = with_setup(bench, async |setup| broker_alone(setup).await).await?;
    let measured = with_setup(bench, async |setup| at_rates(setup, &alone).await).await?;
    let head = [
        "commands a second",
        "published a second",
        "commands",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "broker alone: p50 ms",
        "p99 ms",
    ];
    let rows = measured.iter().map(|(m, _)| {
        let mut row =
            vec![m.wanted_per_second.to_string(), figure(m.published_per_second), m.commands.to_string()];
        let of_broker = [m.broker_alone_ms.p50, m.broker_alone_ms.p99];
        row.extend([m.ms.p50, m.ms.p99, m.ms.p999, m.ms.max].map(|ms| format!("{ms:.1}")));
        row.extend(of_broker.map(|ms| format!("{ms:.1}")));
        row
    });
    let mut text = table(&head.map(str::to_owned), &rows.collect::<Vec<_>>());
    for (m, latencies) in &measured {
        text.push_str(&format!("\n\n{} a second\n{}", m.wanted_per_second, latencies.histogram().trim_end()));
    }
    if let Some(path) = &bench.options.svg {
        let lines: Vec<_> =
            measured.iter().map(|(m, l)| (format!("{} a second", m.wanted_per_second), l)).collect();
        std::fs::write(path, svg(&lines)).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let results: Vec<_> = measured.iter().map(|(m, _)| m).collect();
    Section::new("latency", &results, text)
}

async fn broker_alone(setup: &BenchSetup<'_>) -> anyhow::Result<Vec<Quantiles>> {
    // Of its own: what ends with this must not end what the stage still needs.
    let subscriber = Load::connect(&setup.bench.servers.amqp).await?;
    let mut queue = subscriber.subscribe(&setup.name("payments")).await?;
    let mut all = Vec::new();
    let mut first = READY;
    for rate in &setup.bench.options.rates {
        let numbers = numbers(setup, *rate, first);
        first = numbers.end;
        all.push(at_rate(setup, &mut queue, *rate, numbers, Commands::event).await?.latencies.quantiles());
    }
    Ok(all)
}

/// The next commands, as many as are published at this rate.
fn numbers(setup: &BenchSetup<'_>, rate: u32, first: u64) -> Range<u64> {
    first..first + u64::from(rate) * (setup.bench.options.span + WARM_UP).as_secs()
}

async fn at_rates(setup: &BenchSetup<'_>, alone: &[Quantiles]) -> anyhow::Result<Vec<(Measured, Latencies)>> {
    setup.doku_answers_after(setup.bench.options.answer_after).await?;
    let mut service = Service::start(setup, &WORKING, &[])?;
    let mut events = setup.load.listen(&setup.name("events")).await?;
    publish_one(setup, READY).await?;
    events.next().await.with_context(|| service.process.log_tail())?;
    let mut measured = Vec::new();
    let mut first = READY + 1;
    for (rate, alone) in setup.bench.options.rates.iter().zip(alone) {
        let numbers = numbers(setup, *rate, first);
        first = numbers.end;
        let Paced { published_per_second, latencies } =
            at_rate(setup, &mut events, *rate, numbers, Commands::payment).await?;
        service.process.must_run()?;
        let row = Measured {
            wanted_per_second: *rate,
            published_per_second,
            commands: latencies.count(),
            ms: latencies.quantiles(),
            broker_alone_ms: *alone,
        };
        measured.push((row, latencies));
    }
    Ok(measured)
}

pub async fn publish_one(setup: &BenchSetup<'_>, number: u64) -> anyhow::Result<()> {
    let exchange = setup.name("commands");
    confirmed(setup.load.publish(payments_route(&exchange), &setup.commands.payment(number)).await?).await
}

pub struct Paced {
    published_per_second: f64,
    pub latencies: Latencies,
}

pub async fn at_rate(
    setup: &BenchSetup<'_>,
    events: &mut Subscription,
    rate: u32,
    numbers: Range<u64>,
    body: MakeBody,
) -> anyhow::Result<Paced> {
    let count = usize::try_from(numbers.end - numbers.start)?;
    let progress = ProgressLine::new(&format!("{rate} commands a second"), numbers.end - numbers.start);
    let publishing = publish(setup, rate, numbers.clone(), |number| body(&setup.commands, number));
    let arriving = arrivals(events, &setup.commands, numbers, &progress);
    let (published, arrived) = tokio::try_join!(publishing, arriving)?;
    let skipped = usize::try_from(u64::from(rate) * WARM_UP.as_secs())?;
    let millis =
        published.iter().zip(&arrived).skip(skipped).map(|(from, to)| (*to - *from).as_secs_f64() * 1000.0);
    let latencies = Latencies::new(millis.collect());
    let took = published.last().zip(published.first()).map_or(Duration::ZERO, |(last, first)| *last - *first);
    #[expect(clippy::cast_precision_loss, reason = "no count reaches 2^52")]
    let published_per_second = (count.saturating_sub(1)) as f64 / took.as_secs_f64();
    Ok(Paced { published_per_second, latencies })
}

/// Publishes at an even pace, whatever comes back, and says when each was handed over.
pub async fn publish(
    setup: &BenchSetup<'_>,
    rate: u32,
    numbers: Range<u64>,
    body: impl Fn(u64) -> Vec<u8>,
) -> anyhow::Result<Vec<Instant>> {
    let exchange = setup.name("commands");
    let (sender, mut unconfirmed) = mpsc::channel(UNCONFIRMED_MAX);
    let publishing = async move {
        let mut published = Vec::new();
        let start = Instant::now();
        for (nth, number) in (0u32..).zip(numbers) {
            let body = body(number);
            let due = start + Duration::from_secs(1) * nth / rate;
            tokio::time::sleep_until(due.into()).await;
            published.push(Instant::now());
            sender.send(setup.load.publish(payments_route(&exchange), &body).await?).await?;
        }
        anyhow::Ok(published)
    };
    let confirming = async move {
        while let Some(confirm) = unconfirmed.recv().await {
            confirmed(confirm).await?;
        }
        anyhow::Ok(())
    };
    let (published, ()) = tokio::try_join!(publishing, confirming)?;
    Ok(published)
}

/// When the first one about each of them arrived, in their order.
async fn arrivals(
    events: &mut Subscription,
    commands: &Commands,
    numbers: Range<u64>,
    progress: &ProgressLine,
) -> anyhow::Result<Vec<Instant>> {
    let mut arrived = vec![None; usize::try_from(numbers.end - numbers.start)?];
    let mut left = arrived.len();
    while left > 0 {
        let body = events.next().await?;
        let at = Instant::now();
        let number = subject(&body).and_then(|invoice| commands.number(invoice));
        let Some(number) = number.filter(|number| numbers.contains(number)) else { continue };
        let place = &mut arrived[usize::try_from(number - numbers.start)?];
        if place.is_none() {
            *place = Some(at);
            left -= 1;
            progress.add(1);
        }
    }
    Ok(arrived.into_iter().flatten().collect())
}

/// Whom an event is about, without reading all of it: the subscriber shares the cores with the service.
fn subject(body: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"\"subject\":\"";
    let start = body.windows(NAME.len()).position(|part| part == NAME)? + NAME.len();
    let length = body[start..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&body[start..start + length]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_an_event_is_found() {
        let commands = Commands::new("x");
        assert_eq!(subject(&commands.event(3)), Some(commands.invoice(3).as_str()));
        assert_eq!(subject(b"{\"subject\":\"unfinished"), None);
        assert_eq!(subject(b"{}"), None);
    }
}

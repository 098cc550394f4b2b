//! `relay`: an outbox full of events, published as fast as it goes, beside what the broker confirms to anybody.

use super::{
    Bench, Section, check,
    load::Route,
    measure::{Pace, Reading, Row, paces, watch},
    progress::ProgressLine,
    report::figure,
    service::{ACCEPTED, Service},
    setup::{BenchSetup, with_setup},
    tables,
};
use serde::Serialize;

#[derive(Serialize)]
struct Results {
    relay: Pace,
    repeated: u64,
    /// The same events, published without an outbox.
    broker: Pace,
    /// The relay's as a share of the broker's.
    share: f64,
}

pub async fn run(bench: &Bench) -> anyhow::Result<Section> {
    let events = bench.options.commands;
    let broker = with_setup(bench, async |setup| broker(setup, events).await).await?;
    let (relay, repeated) = with_setup(bench, async |setup| relay(setup, events).await).await?;
    let share = relay.per_second / broker.per_second;
    let row = |what: &str, pace| Row { what: what.to_owned(), pace, more: vec![] };
    let table = paces("events", &[row("relay", &relay), row("publishes with confirms alone", &broker)]);
    let text = format!(
        "{table}\n{} of what the broker confirms; {repeated} events were published again",
        figure(share)
    );
    Section::new("relay", &Results { relay, repeated, broker, share }, text)
}

async fn relay(setup: &BenchSetup<'_>, events: u64) -> anyhow::Result<(Pace, u64)> {
    let mut sql = setup.sql().await?;
    setup.filled(&setup.commands, events).unpublished(&mut sql).await?;
    tables::settle(&mut sql).await?;
    let service = Service::start(setup, &["relay"], &[])?;
    let groups = setup.groups().with("worker", service.process.pid());
    let pace = watch(&mut [service], ACCEPTED, events, &groups, "relay").await?;
    Ok((pace, check::events(setup, events).await?))
}

async fn broker(setup: &BenchSetup<'_>, events: u64) -> anyhow::Result<Pace> {
    let exchange = setup.name("events");
    let route = Route { exchange: &exchange, key: "payment.accepted" };
    let bodies = (0..events).map(|number| setup.commands.event(number));
    let progress = ProgressLine::new("publishing", events);
    let groups = setup.groups();
    let first = Reading::take(0, &groups);
    setup.load.publish_all(route, bodies, &progress).await?;
    Ok(first.until(&Reading::take(events, &groups)))
}

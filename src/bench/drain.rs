//! `drain`: a queue full of payment commands, worked off as fast as it goes: how many a second, at what cost, and
//! whether each came out exactly once.

use super::{
    Bench, Section,
    commands::route,
    plain::Plain,
    processes::{Cpu, Groups, Memory},
    progress::Progress,
    report::{figure, table},
    service::Service,
    stage::{Stage, on_stage},
};
use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    time::{Duration, Instant},
};

/// How often the service is asked how far it has come; it costs it a millisecond.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Without any progress for so long it has failed.
const STALL_MAX: Duration = Duration::from_secs(60);
const PUBLISHED: &str = "jenius_events_published_total";
const ACCEPTED: &str = "type=\"jenius.payment.accepted.v1\"";

/// One worker's run through a queue.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub who: &'static str,
    pub commands: u64,
    pub seconds: f64,
    pub per_second: f64,
    /// Milliseconds for each command, by process with its children.
    pub cpu_ms: BTreeMap<&'static str, f64>,
    pub memory: Memory,
    pub checked: Checked,
}

/// What came out, and what DOKU did: an error where it is not exactly what went in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub events: u64,
    /// Events that were published more than once, which is allowed, and not expected.
    pub repeated: u64,
    pub charges: u64,
}

#[derive(Serialize)]
struct Results {
    answer_after_ms: u128,
    runs: Vec<Run>,
    /// The service's commands a second as a multiple of the plain worker's.
    ratio: Option<f64>,
}

pub async fn run(bench: &Bench) -> anyhow::Result<Section> {
    let commands = bench.options.commands;
    let mut runs = vec![on_stage(bench, async |stage| service(stage, commands, &[]).await).await?];
    let mut note = String::new();
    match &bench.options.plain {
        Some(program) => {
            runs.push(on_stage(bench, async |stage| plain(stage, program, commands).await).await?)
        }
        None => note.push_str("\nno plain worker beside it: build it, or name it with --plain PATH"),
    }
    let ratio = runs.get(1).map(|plain| runs[0].per_second / plain.per_second);
    if let Some(ratio) = ratio {
        note.push_str(&format!("\nratio {}", figure(ratio)));
    }
    let text = format!("{}{note}", runs_table(&runs));
    let answer_after_ms = bench.options.answer_after.as_millis();
    Section::new("drain", &Results { answer_after_ms, runs, ratio }, text)
}

pub fn runs_table(runs: &[Run]) -> String {
    let groups: Vec<&'static str> =
        runs.first().map(|run| run.cpu_ms.keys().copied().collect()).unwrap_or_default();
    let mut head = vec![String::new(), "commands".to_owned(), "seconds".to_owned(), "commands/s".to_owned()];
    head.extend(groups.iter().map(|name| format!("CPU ms {name}")));
    head.extend(["RSS MiB".to_owned(), "events".to_owned(), "repeated".to_owned(), "charges".to_owned()]);
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let mut row = vec![
                run.who.to_owned(),
                run.commands.to_string(),
                figure(run.seconds),
                figure(run.per_second),
            ];
            row.extend(groups.iter().map(|name| figure(run.cpu_ms.get(name).copied().unwrap_or(0.0))));
            row.push(figure(run.memory.highest_mib));
            row.extend(
                [run.checked.events, run.checked.repeated, run.checked.charges].map(|n| n.to_string()),
            );
            row
        })
        .collect();
    table(&head, &rows)
}

/// The service's run on a stage.
pub async fn service(stage: &Stage<'_>, commands: u64, variables: &[(&str, String)]) -> anyhow::Result<Run> {
    preload(stage, commands).await?;
    let mut service = Service::start(stage, &["worker", "relay", "follow-up"], variables)?;
    let groups = stage.groups().with("worker", service.process.pid());
    let progress = Progress::of("jenius-pay", commands);
    let span = watch(&mut service, &groups, commands, &progress).await?;
    let memory = service.process.memory();
    let checked = check(stage, commands).await?;
    Ok(span.run("jenius-pay", memory, checked))
}

async fn plain(stage: &Stage<'_>, program: &Path, commands: u64) -> anyhow::Result<Run> {
    preload(stage, commands).await?;
    let mut plain = Plain::start(stage, program, commands, &stage.bench.settings)?;
    let groups = stage.groups().with("worker", plain.process.pid());
    let _progress = Progress::of("plain worker", commands);
    plain.says("first").await?;
    let first = Reading::take(1, &groups);
    plain.says("last").await?;
    let span = Span { first, last: Reading::take(commands, &groups) };
    let memory = plain.process.memory();
    let checked = check(stage, commands).await?;
    Ok(span.run("plain worker", memory, checked))
}

pub async fn preload(stage: &Stage<'_>, commands: u64) -> anyhow::Result<()> {
    stage.doku_answers_after(stage.bench.options.answer_after).await?;
    let exchange = stage.name("commands");
    let progress = Progress::of("preloading", commands);
    stage.load.publish_all(route(&exchange), stage.commands.payments(commands), &progress).await
}

/// How far it was at a moment, and at what cost.
struct Reading {
    at: Instant,
    count: u64,
    cpu: Cpu,
}

impl Reading {
    fn take(count: u64, groups: &Groups) -> Self {
        Self { at: Instant::now(), count, cpu: groups.cpu() }
    }
}

/// From the first command that was seen done to the last.
struct Span {
    first: Reading,
    last: Reading,
}

impl Span {
    #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52")]
    fn run(self, who: &'static str, memory: Memory, checked: Checked) -> Run {
        let seconds = (self.last.at - self.first.at).as_secs_f64();
        let done = (self.last.count - self.first.count) as f64;
        Run {
            who,
            commands: self.last.count,
            seconds,
            per_second: done / seconds,
            cpu_ms: self.last.cpu.millis_each(&self.first.cpu, done),
            memory,
            checked,
        }
    }
}

async fn watch(
    service: &mut Service,
    groups: &Groups,
    commands: u64,
    progress: &Progress,
) -> anyhow::Result<Span> {
    let mut first: Option<Reading> = None;
    let mut moved = (0, Instant::now());
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let count = service.count(PUBLISHED, ACCEPTED).await?;
        progress.at(count);
        if count > moved.0 {
            moved = (count, Instant::now());
        }
        if moved.1.elapsed() > STALL_MAX {
            bail!("the service stopped at {count} of {commands}:\n{}", service.process.log_tail());
        }
        service.process.must_run()?;
        if count == 0 {
            continue;
        }
        let reading = || Reading::take(count, groups);
        match first.take() {
            None => first = Some(reading()),
            Some(first) if count >= commands => return Ok(Span { first, last: reading() }),
            Some(reading) => first = Some(reading),
        }
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: &'a str,
}

/// Takes every event off the queue and holds them, and DOKU's ledger, against the commands.
async fn check(stage: &Stage<'_>, commands: u64) -> anyhow::Result<Checked> {
    let queue = stage.events_queue();
    let progress = Progress::of("checking", commands);
    let mut seen: HashMap<u64, String> = HashMap::new();
    let mut repeated = 0;
    let mut subscription = stage.load.subscribe(&queue).await?;
    while u64::try_from(seen.len())? < commands {
        let body = subscription.next().await?;
        let event: Event = serde_json::from_slice(&body)?;
        ensure!(event.event_type == "jenius.payment.accepted.v1", "an event of type {}", event.event_type);
        let Some(number) = stage.commands.number(event.subject).filter(|number| *number < commands) else {
            bail!("an event about {}, which nobody asked for", event.subject);
        };
        match seen.insert(number, event.id.to_owned()) {
            None => progress.add(1),
            Some(id) if id == event.id => repeated += 1,
            Some(id) => bail!("two events for {}: {id} and {}", event.subject, event.id),
        }
    }
    let left = stage.load.depth(&queue).await?;
    ensure!(left == 0, "{left} more events than commands");
    let doku = stage.doku_counts().await?;
    ensure!(doku.charges == commands && doku.refused == 0, "{commands} commands, but DOKU says {doku:?}");
    let doku_events = u64::try_from(seen.len())?;
    Ok(Checked { events: doku_events, repeated, charges: doku.charges })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_what_was_done_between_the_two_readings() {
        let at = Instant::now();
        let reading =
            |seconds, count| Reading { at: at + Duration::from_secs(seconds), count, cpu: Cpu::default() };
        let checked = Checked { events: 1100, repeated: 0, charges: 1100 };
        let span = Span { first: reading(1, 100), last: reading(3, 1100) };
        let run = span.run("x", Memory::default(), checked);
        assert!((run.per_second - 500.0).abs() < 1e-9 && (run.seconds - 2.0).abs() < 1e-9);
    }
}

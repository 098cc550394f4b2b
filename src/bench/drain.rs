//! `drain`: a queue full of payment commands, worked off as fast as it goes: how many a second, at what cost, and
//! whether each came out exactly once.

use super::{
    Bench, Section,
    check::{self, Checked},
    commands::payments_route,
    floor::CombinedBound,
    measure::{Pace, Reading, Row, paces, watch},
    plain::Plain,
    processes::Memory,
    progress::ProgressLine,
    report::figure,
    service::{ACCEPTED, Service},
    setup::{BenchSetup, with_setup},
};
use serde::Serialize;
use std::path::Path;

/// What works commands off.
pub const WORKING: [&str; 3] = ["worker", "relay", "follow-up"];

/// One worker's run through a queue.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub who: String,
    #[serde(flatten)]
    pub pace: Pace,
    pub memory: Memory,
    pub checked: Checked,
}

#[derive(Serialize)]
struct Results {
    answer_after_ms: u128,
    runs: Vec<Run>,
    /// The service's commands a second as a multiple of the plain worker's.
    ratio: Option<f64>,
    /// As a share of what the machine's parts allow together, where that was measured.
    share_of_bound: Option<f64>,
    /// As a share of what `doku.concurrency` allows, where DOKU takes its time.
    share_of_concurrency: Option<f64>,
}

pub async fn run(bench: &Bench, bound: Option<&CombinedBound>) -> anyhow::Result<Section> {
    let commands = bench.options.commands;
    let mut runs = vec![with_setup(bench, async |setup| services(setup, commands, 1).await).await?];
    if let Some(program) = &bench.options.plain {
        runs.push(with_setup(bench, async |setup| plain(setup, program, commands).await).await?);
    }
    let per_second = runs[0].pace.per_second;
    let waits = bench.options.answer_after.as_secs_f64();
    let results = Results {
        answer_after_ms: bench.options.answer_after.as_millis(),
        ratio: runs.get(1).map(|plain| per_second / plain.pace.per_second),
        share_of_bound: bound.map(|bound| per_second / bound.per_second),
        share_of_concurrency: (waits > 0.0)
            .then(|| per_second * waits / f64::from(bench.settings.concurrency)),
        runs,
    };
    let text = format!("{}{}", runs_table(&results.runs), results.notes());
    Section::new("drain", &results, text)
}

impl Results {
    fn notes(&self) -> String {
        let mut notes = String::new();
        match self.ratio {
            Some(ratio) => notes.push_str(&format!("\n{} times the plain worker", figure(ratio))),
            None => notes.push_str("\nno plain worker beside it: build it, or name it with --plain PATH"),
        }
        if let Some(share) = self.share_of_bound {
            notes.push_str(&format!("\n{} of the bound that the machine's parts set", figure(share)));
        }
        if let Some(share) = self.share_of_concurrency {
            notes.push_str(&format!("\n{} of doku.concurrency / {} ms", figure(share), self.answer_after_ms));
        }
        notes
    }
}

pub fn runs_table(runs: &[Run]) -> String {
    let rows: Vec<Row<'_>> = runs
        .iter()
        .map(|run| {
            let Checked { events, repeated, charges } = run.checked;
            let more = vec![
                ("RSS MiB", figure(run.memory.highest_mib)),
                ("events", events.to_string()),
                ("repeated", repeated.to_string()),
                ("charges", charges.to_string()),
            ];
            Row { what: run.who.clone(), pace: &run.pace, more }
        })
        .collect();
    paces("commands", &rows)
}

/// The run of the service on a setup, in this many processes.
pub async fn services(setup: &BenchSetup<'_>, commands: u64, processes: usize) -> anyhow::Result<Run> {
    preload(setup, commands).await?;
    let mut services = Vec::new();
    let mut groups = setup.groups();
    for name in ["worker", "second"].into_iter().take(processes) {
        let service = Service::start(setup, &WORKING, &[])?;
        groups = groups.with(name, service.process.pid());
        services.push(service);
    }
    let who = if processes == 1 { "jenius-pay".to_owned() } else { format!("{processes} × jenius-pay") };
    let pace = watch(&mut services, ACCEPTED, commands, &groups, &who).await?;
    let memory = services[0].process.memory();
    drop(services);
    Ok(Run { who, pace, memory, checked: check::commands(setup, commands).await? })
}

async fn plain(setup: &BenchSetup<'_>, program: &Path, commands: u64) -> anyhow::Result<Run> {
    preload(setup, commands).await?;
    let mut plain = Plain::start(setup, program, commands, &setup.bench.settings)?;
    let groups = setup.groups().with("worker", plain.process.pid());
    let progress = ProgressLine::new("plain worker", commands);
    plain.wait_for_word("first").await?;
    let first = Reading::take(1, &groups);
    plain.wait_for_word("last").await?;
    let pace = first.until(&Reading::take(commands, &groups));
    let memory = plain.process.memory();
    drop((plain, progress));
    Ok(Run { who: "plain worker".to_owned(), pace, memory, checked: check::commands(setup, commands).await? })
}

pub async fn preload(setup: &BenchSetup<'_>, commands: u64) -> anyhow::Result<()> {
    setup.doku_answers_after(setup.bench.options.answer_after).await?;
    let exchange = setup.name("commands");
    let progress = ProgressLine::new("preloading", commands);
    setup.load.publish_all(payments_route(&exchange), setup.commands.payments(commands), &progress).await
}

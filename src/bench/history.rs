//! `history`: the same drain in an empty database, in one that has worked for years, and with two processes in place
//! of one.

use super::{
    Bench, Section,
    commands::Commands,
    drain::{Run, runs_table, services},
    report::figure,
    setup::{BenchSetup, with_setup},
    tables,
};
use serde::Serialize;

#[derive(Serialize)]
struct Results {
    finished_orders: u64,
    runs: Vec<Run>,
    /// With history, as a share of an empty database's.
    history: f64,
    /// Two processes, as a share of one's.
    two: f64,
}

pub async fn run(bench: &Bench) -> anyhow::Result<Section> {
    let (commands, finished) = (bench.options.commands, bench.options.history);
    let empty = with_setup(bench, async |setup| services(setup, commands, 1).await).await?;
    let two = with_setup(bench, async |setup| services(setup, commands, 2).await).await?;
    let mut old = with_setup(bench, async |setup| among(setup, finished, commands).await).await?;
    old.who = format!("among {finished} finished orders");
    let share = |run: &Run| run.pace.per_second / empty.pace.per_second;
    let (history, two_share) = (share(&old), share(&two));
    let results = Results { finished_orders: finished, history, two: two_share, runs: vec![empty, two, old] };
    let text = format!(
        "{}\nwith history {} of an empty database's; two processes {} of one's",
        runs_table(&results.runs),
        figure(history),
        figure(two_share)
    );
    Section::new("history", &results, text)
}

async fn among(setup: &BenchSetup<'_>, finished: u64, commands: u64) -> anyhow::Result<Run> {
    let mut sql = setup.sql().await?;
    // Invoice numbers of their own: a known one would be rejected.
    setup.filled(&Commands::new("old"), finished).paid(&mut sql).await?;
    tables::settle(&mut sql).await?;
    services(setup, commands, 1).await
}

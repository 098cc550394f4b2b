//! The runs as a table for people: one row a strike.

use super::{Run, strike::Strike};
use std::{fmt::Write, time::Duration};

const HEAD: &str = "\
| strike | runs | commands | lost | doubled | stuck | claims forgotten | events twice | longest silence (s): median | worst | ready after the mend (s): worst | worked off after (s): worst |
|---|---|---|---|---|---|---|---|---|---|---|---|
";

pub fn of(runs: &[Run]) -> String {
    let mut table = HEAD.to_owned();
    for strike in Strike::ALL {
        let of_it: Vec<&Run> = runs.iter().filter(|run| run.strikes == [strike]).collect();
        if !of_it.is_empty() {
            row(&mut table, strike.name(), &of_it);
        }
    }
    let seeds: Vec<String> = runs.iter().map(|run| run.seed.to_string()).collect();
    let mut seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    seeds.dedup();
    writeln!(
        table,
        "\nSeeds: {}. A silence is the time between two events that the relay published.",
        seeds.join(", ")
    )
    .unwrap();
    table
}

fn row(table: &mut String, name: &str, runs: &[&Run]) {
    let sum = |what: fn(&Run) -> usize| runs.iter().map(|run| what(run)).sum::<usize>();
    let worst =
        |what: fn(&Run) -> Duration| runs.iter().map(|run| what(run)).max().unwrap_or_default().as_secs_f64();
    let mut silences: Vec<Duration> = runs.iter().map(|run| run.silence).collect();
    silences.sort_unstable();
    writeln!(
        table,
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
        runs.len(),
        sum(|run| run.commands),
        sum(|run| run.verdict.lost),
        sum(|run| run.verdict.doubled),
        runs.iter().map(|run| run.verdict.stuck).sum::<i64>(),
        sum(|run| run.forgotten),
        sum(|run| run.verdict.events_repeated),
        silences[silences.len() / 2].as_secs_f64(),
        worst(|run| run.silence),
        worst(|run| run.ready_after),
        worst(|run| run.verdict.drained_in),
    )
    .unwrap();
}

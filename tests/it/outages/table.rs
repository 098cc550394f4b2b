//! The runs as a table for people: one row an outage, with the median and the worst of its recoveries.

use super::{nowhere, outage::Outage, story::Run};
use std::{fmt::Write, time::Duration};

const HEAD: &str = "\
| outage | `/readyz` said | runs | commands | lost | doubled | away (s) | tries | CPU (s) | ready after (s): median | worst | worked off after (s): worst |
|---|---|---|---|---|---|---|---|---|---|---|---|
";
/// Longer details end here.
const SAID_CHARS_MAX: usize = 160;

pub fn of(runs: &[Run]) -> String {
    let mut table = HEAD.to_owned();
    for name in Outage::ALL.map(Outage::name).into_iter().chain([nowhere::NAME]) {
        let of_it: Vec<&Run> = runs.iter().filter(|run| run.outage == name).collect();
        if let Some(first) = of_it.first() {
            row(&mut table, first, &of_it);
        }
    }
    table
}

fn row(table: &mut String, first: &Run, runs: &[&Run]) {
    let sum = |what: fn(&Run) -> usize| runs.iter().map(|run| what(run)).sum::<usize>();
    let worst = |what: fn(&Run) -> Duration| runs.iter().map(|run| what(run)).max().unwrap_or_default();
    let mut ready: Vec<Duration> = runs.iter().map(|run| run.ready_after).collect();
    ready.sort_unstable();
    let tries = runs.iter().map(|run| run.tries).max().unwrap_or_default();
    writeln!(
        table,
        "| {} | {} | {} | {} | {} | {} | {:.1} | {tries} | {:.1} | {:.1} | {:.1} | {:.1} |",
        first.outage,
        said(&first.said),
        runs.len(),
        sum(|run| run.commands),
        sum(|run| run.lost),
        sum(|run| run.doubled),
        worst(|run| run.away).as_secs_f64(),
        worst(|run| run.cpu).as_secs_f64(),
        ready[ready.len() / 2].as_secs_f64(),
        worst(|run| run.ready_after).as_secs_f64(),
        worst(|run| run.worked_off_after).as_secs_f64(),
    )
    .unwrap();
}

/// Without the names and ports of this very run, and of many links only the first.
fn said(text: &str) -> String {
    let first = text.split("; ").take(2).collect::<Vec<_>>().join("; ");
    let short = first.replace(", virtual host /", "").replace('|', "/");
    let words = short.split(' ').filter(|word| !word.starts_with("127.0.0.1")).map(|word| {
        let is_prefix = |name: &str| name.len() == 13 && name.starts_with('t');
        word.split_once('.').filter(|(name, _)| is_prefix(name)).map_or(word, |(_, queue)| queue)
    });
    words.collect::<Vec<_>>().join(" ").chars().take(SAID_CHARS_MAX).collect()
}

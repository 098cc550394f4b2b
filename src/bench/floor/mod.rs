//! `floor`: the machine's parts, each alone on the same payloads, and the bound that follows: no worker that does all
//! three for each command, on the same cores, can be faster.

mod broker;
mod http;
mod postgres;

use super::{
    Bench, Section,
    measure::{Pace, Row, paces},
    report::figure,
    setup::with_setup,
};
use serde::Serialize;

/// How many of each.
const ROWS: u64 = 100_000;
const MESSAGES: u64 = 30_000;
const CALLS: u64 = 60_000;

/// What the parts allow together.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CombinedBound {
    pub per_second: f64,
}

#[derive(Serialize)]
struct Results {
    postgres: Pace,
    broker: Pace,
    http: Pace,
    bound: CombinedBound,
}

impl CombinedBound {
    fn from_parts(parts: [&Pace; 3]) -> Self {
        Self { per_second: 1.0 / parts.iter().map(|part| 1.0 / part.per_second).sum::<f64>() }
    }
}

pub async fn run(bench: &Bench) -> anyhow::Result<(Section, CombinedBound)> {
    let postgres = with_setup(bench, async |setup| postgres::run(setup, ROWS).await).await?;
    let broker = with_setup(bench, async |setup| broker::run(setup, MESSAGES).await).await?;
    let http = with_setup(bench, async |setup| http::run(setup, CALLS).await).await?;
    let bound = CombinedBound::from_parts([&postgres, &broker, &http]);
    let results = Results { postgres, broker, http, bound };
    let row = |what: &str, pace| Row { what: what.to_owned(), pace, more: vec![] };
    let rows = [
        row("PostgreSQL: insert, update, event and outbox row, in groups", &results.postgres),
        row("RabbitMQ: consume, publish with a confirm, ack", &results.broker),
        row("signed HTTP calls, answers verified", &results.http),
    ];
    let text = format!(
        "{}\nbound for all three together: {} a second",
        paces("each", &rows),
        figure(bound.per_second)
    );
    Ok((Section::new("floor", &results, text)?, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_what_is_left_when_each_part_takes_its_time() {
        let pace = |per_second| Pace { done: 0, seconds: 0.0, per_second, cpu_ms: [].into() };
        let bound = CombinedBound::from_parts([&pace(29_500.0), &pace(17_400.0), &pace(18_400.0)]);
        assert!((bound.per_second - 6_862.6).abs() < 1.0, "{bound:?}");
    }
}

//! How many of something a second, and at what cost: between the first moment at which some are done and the moment
//! at which all are.

use super::{
    processes::{Cpu, Groups},
    progress::ProgressLine,
    report::{figure, table},
    service::{Counter, Service},
};
use anyhow::bail;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How often the service is asked how far it has come; it costs it a millisecond.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Without any progress for this long it has failed.
const STALL_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Serialize)]
pub struct Pace {
    pub done: u64,
    pub seconds: f64,
    pub per_second: f64,
    /// Milliseconds for each, by process with its children.
    pub cpu_ms: BTreeMap<&'static str, f64>,
}

/// How far it was at a moment, and at what cost.
pub struct Reading {
    at: Instant,
    count: u64,
    cpu: Cpu,
}

impl Reading {
    pub fn take(count: u64, groups: &Groups) -> Self {
        Self { at: Instant::now(), count, cpu: groups.cpu() }
    }

    #[expect(clippy::cast_precision_loss, reason = "no count reaches 2^52")]
    pub fn until(&self, last: &Self) -> Pace {
        let seconds = (last.at - self.at).as_secs_f64();
        let done = (last.count - self.count) as f64;
        Pace {
            done: last.count,
            seconds,
            per_second: done / seconds,
            cpu_ms: last.cpu.millis_each(&self.cpu, done),
        }
    }
}

/// Waits until the services together have counted so far.
pub async fn watch(
    services: &mut [Service],
    counter: Counter,
    wanted: u64,
    groups: &Groups,
    what: &str,
) -> anyhow::Result<Pace> {
    let progress = ProgressLine::new(what, wanted);
    let mut first: Option<Reading> = None;
    let mut moved = (0, Instant::now());
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let mut count = 0;
        for service in services.iter_mut() {
            service.process.must_run()?;
            count += service.count(counter).await?;
        }
        progress.at(count);
        if count > moved.0 {
            moved = (count, Instant::now());
        }
        if moved.1.elapsed() > STALL_MAX {
            let logs: Vec<String> = services.iter().map(|service| service.process.log_tail()).collect();
            bail!("{what} stopped at {count} of {wanted}:\n{}", logs.join("\n"));
        }
        match &first {
            None if count > 0 => first = Some(Reading::take(count, groups)),
            Some(first) if count >= wanted => return Ok(first.until(&Reading::take(count, groups))),
            None | Some(_) => {}
        }
    }
}

/// A line of a table of paces, with what else there is to say.
pub struct Row<'a> {
    pub what: String,
    pub pace: &'a Pace,
    pub more: Vec<(&'static str, String)>,
}

pub fn paces(each: &str, rows: &[Row<'_>]) -> String {
    let groups: BTreeSet<&'static str> =
        rows.iter().flat_map(|row| row.pace.cpu_ms.keys().copied()).collect();
    let mut head = vec![String::new(), each.to_owned(), "seconds".to_owned(), "a second".to_owned()];
    head.extend(groups.iter().map(|name| format!("CPU ms {name}")));
    head.extend(rows.first().into_iter().flat_map(|row| row.more.iter().map(|(name, _)| (*name).to_owned())));
    let cells = rows.iter().map(|row| {
        let pace = row.pace;
        let mut cells =
            vec![row.what.clone(), pace.done.to_string(), figure(pace.seconds), figure(pace.per_second)];
        cells.extend(
            groups.iter().map(|name| pace.cpu_ms.get(name).map_or_else(|| "-".to_owned(), |ms| figure(*ms))),
        );
        cells.extend(row.more.iter().map(|(_, value)| value.clone()));
        cells
    });
    table(&head, &cells.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_what_was_done_between_the_two_readings() {
        let at = Instant::now();
        let reading =
            |seconds, count| Reading { at: at + Duration::from_secs(seconds), count, cpu: Cpu::default() };
        let pace = reading(1, 100).until(&reading(3, 1100));
        assert!((pace.per_second - 500.0).abs() < 1e-9 && (pace.seconds - 2.0).abs() < 1e-9);
        assert_eq!(pace.done, 1100);
    }

    #[test]
    fn a_group_that_one_row_lacks_keeps_its_column() {
        let pace = |names: &[&'static str]| Pace {
            done: 10,
            seconds: 1.0,
            per_second: 10.0,
            cpu_ms: names.iter().map(|name| (*name, 0.5)).collect(),
        };
        let (with, without) = (pace(&["postgres", "worker"]), pace(&["worker"]));
        let row = |what: &str, pace| Row { what: what.to_owned(), pace, more: vec![("RSS", "1".to_owned())] };
        let text = paces("commands", &[row("a", &with), row("b", &without)]);
        assert!(text.contains("CPU ms postgres") && text.contains(" - "), "{text}");
    }
}

//! `outage`: commands wait while DOKU is down. Once it is back: how long until full speed, and is the rate limit kept?

use super::{
    Bench, Section,
    drain::{WORKING, preload},
    progress::ProgressLine,
    report::{figure, table},
    service::Service,
    setup::{BenchSetup, with_setup},
};
use anyhow::ensure;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The merchant's limit: below what the machine can do, so that full speed means the limit.
const REQUESTS_PER_SECOND: u32 = 400;
/// How long DOKU is down while the service runs against it.
const DOWN: Duration = Duration::from_secs(5);
/// Without a request for this long the service has not noticed that DOKU is back.
const NOTICE_MAX: Duration = Duration::from_secs(60);
/// From DOKU's first request on.
const WATCHED: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const WINDOW: Duration = Duration::from_secs(1);
const FULL: f64 = 0.9;

#[derive(Debug, Serialize)]
struct Results {
    waiting: u64,
    requests_per_second: u32,
    /// From DOKU's return to its first request: at most `breaker.open_ms`.
    noticed_after_s: f64,
    /// From the first request to the first of the seconds at full speed.
    full_speed_after_s: Option<f64>,
    most_in_a_second: u64,
}

pub async fn run(bench: &Bench) -> anyhow::Result<Section> {
    let results = with_setup(bench, async |setup| outage(setup).await).await?;
    let head = ["waiting", "limit a second", "noticed after s", "full speed after s", "most in a second"];
    let row = vec![
        results.waiting.to_string(),
        results.requests_per_second.to_string(),
        figure(results.noticed_after_s),
        results.full_speed_after_s.map_or_else(|| "never".to_owned(), figure),
        results.most_in_a_second.to_string(),
    ];
    Section::new("outage", &results, table(&head.map(str::to_owned), &[row]))
}

async fn outage(setup: &BenchSetup<'_>) -> anyhow::Result<Results> {
    let waiting = setup.bench.options.commands;
    preload(setup, waiting).await?;
    setup.doku_ends();
    let limit = ("JENIUS_PAY__DOKU__REQUESTS_PER_SECOND", REQUESTS_PER_SECOND.to_string());
    let mut service = Service::start(setup, &WORKING, &[limit])?;
    tokio::time::sleep(DOWN).await;
    service.process.must_run()?;
    setup.doku_returns().await?;
    let back = Instant::now();
    let mut seen: Vec<(Duration, u64)> = Vec::new();
    let progress = ProgressLine::new("DOKU is back", waiting);
    let mut first = None;
    while first.is_none_or(|first: Instant| first.elapsed() < WATCHED) {
        tokio::time::sleep(LOOK_EVERY).await;
        let requests = setup.doku_counts().await?.requests;
        ensure!(requests > 0 || back.elapsed() < NOTICE_MAX, "no process noticed that DOKU is back");
        if requests > 0 {
            let from = *first.get_or_insert_with(Instant::now);
            seen.push((from.elapsed(), requests));
            progress.at(requests);
        }
    }
    service.process.must_run()?;
    let noticed = first.map_or(Duration::ZERO, |first| first - back);
    Ok(Results {
        waiting,
        requests_per_second: REQUESTS_PER_SECOND,
        noticed_after_s: noticed.as_secs_f64(),
        full_speed_after_s: full_speed_after(&seen, REQUESTS_PER_SECOND).map(|after| after.as_secs_f64()),
        most_in_a_second: windows(&seen).map(|(_, count)| count).max().unwrap_or(0),
    })
}

/// Each second that begins at a look: when, and how many came in it. A second that is not over is none.
fn windows(seen: &[(Duration, u64)]) -> impl Iterator<Item = (Duration, u64)> {
    seen.iter().enumerate().filter_map(move |(at, (from, before))| {
        let inside = seen[at..].iter().take_while(|(time, _)| *time - *from <= WINDOW);
        let (_, after) = inside.last()?;
        let is_over = seen.last().is_some_and(|(last, _)| *last - *from >= WINDOW);
        is_over.then_some((*from, after - before))
    })
}

fn full_speed_after(seen: &[(Duration, u64)], limit: u32) -> Option<Duration> {
    let enough = f64::from(limit) * FULL;
    #[expect(clippy::cast_precision_loss, reason = "no count reaches 2^52")]
    windows(seen).find(|(_, count)| *count as f64 >= enough).map(|(from, _)| from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_speed_begins_with_the_first_second_that_has_it() {
        // A probe, nothing for half a second, then 100 a second, looked at ten times a second.
        let at = |tenths: u32| Duration::from_millis(u64::from(tenths) * 100);
        let seen: Vec<_> =
            (0..40).map(|t| (at(t), if t < 5 { 1 } else { 1 + u64::from(t - 4) * 10 })).collect();
        assert_eq!(full_speed_after(&seen, 100), Some(at(3)), "0.3 to 1.3 s has 90 of them");
        assert_eq!(windows(&seen).map(|(_, count)| count).max(), Some(100));
        assert_eq!(full_speed_after(&seen, 1000), None);
    }
}

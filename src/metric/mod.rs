//! Every metric: one table, constants for the names, and a typed function for each record. No id, no URL
//! and no customer ever becomes a label: labels come from bounded sets.

mod happened;
mod label;
mod record;
mod table;

pub use happened::{Happened, event_happened, give_back_happened, take_happened};
pub use label::*;
pub use record::*;
pub use table::{Metric, MetricKind, all_metrics, name};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use std::{sync::OnceLock, time::Duration};

/// How often histograms are drained into their buckets: without it they grow until the next scrape.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Why the recorder was not installed: a bug of ours, found by the first test that calls it.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded: {0}")]
pub struct InstallError(String);

/// Installs the process's recorder, once; later calls do nothing. Counters then exist at 0.
///
/// # Errors
/// Another library has installed a recorder, or the table's buckets are not usable.
pub fn install() -> Result<&'static PrometheusHandle, InstallError> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one = INSTALLING.lock();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let mut builder = PrometheusBuilder::new();
    for metric in all_metrics() {
        if let MetricKind::Histogram(buckets) = metric.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
                .map_err(|e| InstallError(e.to_string()))?;
        }
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|e| InstallError(e.to_string()))?;
    describe();
    record::create_counters();
    Ok(HANDLE.get_or_init(|| handle))
}

fn describe() {
    for metric in all_metrics() {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// What Prometheus scrapes; empty before `install`.
pub fn render() -> String {
    HANDLE.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Keeps the histograms small. Runs for ever.
pub async fn run_upkeep() {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        if let Some(handle) = HANDLE.get() {
            handle.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests;

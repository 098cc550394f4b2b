//! Times on the command line: in the zone that is configured, as of now.

use crate::{
    config::{Config, RequiredSections, Source},
    doku::clock::SystemClock,
    flow::ports::Clock,
};

#[cfg(test)]
pub use crate::shown::sample;
pub use crate::shown::{Times, rfc3339};

/// As `time_zone` says, now.
///
/// # Errors
/// Every fault of the configuration.
pub fn from_source(source: &Source<'_>) -> anyhow::Result<Times> {
    Ok(Times::new(Config::load(source, RequiredSections::NOTHING)?.time_zone, SystemClock.now()))
}

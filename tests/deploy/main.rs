//! What lies under deploy/ says what the code says: every metric, alert, command, key and word in it exists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by panicking")]

mod alerts;
mod chart;
mod dashboard;
mod manifests;
mod proof;
mod queries;
mod release;
mod rights;
mod runbook;
mod supply;

use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

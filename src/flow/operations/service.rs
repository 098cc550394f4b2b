//! What the console asks about the service itself.

use super::StoreError;
use crate::domain::Time;
use std::{collections::BTreeMap, future::Future};

/// What a look at everything found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorView {
    pub at: Time,
    pub by: String,
    pub checks: Vec<CheckView>,
}

/// One check, as `doctor` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckView {
    pub name: String,
    /// `ok`, `warn` or `fail`.
    pub status: &'static str,
    pub detail: String,
    /// What to do.
    pub hint: Option<String>,
}

/// What runs, on which schema, with which configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AboutView {
    pub migrations: Result<SchemaView, String>,
    pub processes: Result<Vec<ProcessView>, String>,
    /// Key, value and who set it. Secrets are hidden.
    pub config: Vec<(String, Option<String>, Option<String>)>,
}

/// How many migrations this version brings, and how many of them the database has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchemaView {
    pub known: usize,
    pub applied: usize,
}

/// A process that reported lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessView {
    pub host: String,
    pub roles: Vec<String>,
    pub version: String,
    pub revision: String,
    pub started_at: Time,
    pub seen_at: Time,
}

/// What became of money in the last hour, as the processes counted it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastHour {
    /// By the event's routing key: how many, and how much.
    pub happened: BTreeMap<String, (u64, u64)>,
    /// DOKU's codes, the most frequent first.
    pub declines: Vec<(String, u64)>,
}

pub trait ServiceOperations {
    /// Looks at everything, as `doctor` does, and keeps what it found. False: another look runs still.
    fn examine(&self, by: &str) -> impl Future<Output = bool> + Send;

    /// What the last look found, and whether one runs now.
    fn examined(&self) -> impl Future<Output = (Option<DoctorView>, bool)> + Send;

    fn about(&self) -> impl Future<Output = AboutView> + Send;

    fn last_hour(&self) -> impl Future<Output = Result<LastHour, StoreError>> + Send;

    /// Processes that reported in the last minutes.
    fn processes(&self) -> impl Future<Output = Result<Vec<ProcessView>, StoreError>> + Send;
}

//! What each process reports once a minute: that it runs, and what became of money through it meanwhile. Pages add the last
//! hour up from these few rows and count no events.

use super::{PgPool, PostgresStore, requests::micros, tx::answered};
use crate::{
    domain::Time,
    flow::ports::{LastHour, ProcessView, StoreError},
    metric::Happened,
};
use sqlx::{FromRow, types::Json};
use std::{cmp::Reverse, collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// A process that has not reported for so long is gone.
const SEEN_LATELY: &str = "3 minutes";
/// Codes that a page has room for.
const DECLINES_SHOWN: usize = 5;

/// Who reports.
#[derive(Debug, Clone)]
pub struct ReportingProcess {
    pub id: Uuid,
    pub host: String,
    pub version: &'static str,
    pub revision: &'static str,
    pub roles: Vec<&'static str>,
    pub uptime: Duration,
}

#[derive(FromRow)]
struct ProcessRow {
    host: String,
    roles: Vec<String>,
    version: String,
    revision: String,
    started_at: Time,
    at: Time,
}

impl PostgresStore {
    /// Adds a report. Those that are older than two hours are deleted: nothing reads them any more.
    pub async fn report_process(
        &self,
        process: &ReportingProcess,
        happened: &Happened,
    ) -> Result<(), StoreError> {
        let json = serde_json::to_value(happened).map_err(|e| StoreError::Refused(e.to_string()))?;
        answered!(&self.context.pool, |c| sqlx::query(
            "WITH gone AS (DELETE FROM process_reports WHERE at < (SELECT jenius_now()) - interval '2 hours')
             INSERT INTO process_reports (process, at, started_at, host, version, revision, roles, happened)
             SELECT $1, now, now - $7 * interval '1 microsecond', $2, $3, $4, $5, $6
             FROM (SELECT jenius_now() AS now) AS clock",
        )
        .bind(process.id)
        .bind(&process.host)
        .bind(process.version)
        .bind(process.revision)
        .bind(&process.roles)
        .bind(json)
        .bind(micros(process.uptime))
        .execute(c))?;
        Ok(())
    }
}

/// Processes that reported lately, by host.
pub async fn processes(pool: &PgPool) -> Result<Vec<ProcessView>, StoreError> {
    let rows: Vec<ProcessRow> = answered!(pool, |c| sqlx::query_as(
        "SELECT DISTINCT ON (process) host, roles, version, revision, started_at, at FROM process_reports
         WHERE at > (SELECT jenius_now()) - $1::interval ORDER BY process, at DESC",
    )
    .bind(SEEN_LATELY)
    .fetch_all(c))?;
    let view = |row: ProcessRow| ProcessView {
        host: row.host,
        roles: row.roles,
        version: row.version,
        revision: row.revision,
        started_at: row.started_at,
        seen_at: row.at,
    };
    let mut processes: Vec<_> = rows.into_iter().map(view).collect();
    processes.sort_by(|a, b| (&a.host, &a.roles, a.started_at).cmp(&(&b.host, &b.roles, b.started_at)));
    Ok(processes)
}

/// What became of money in the last hour.
pub async fn last_hour(pool: &PgPool) -> Result<LastHour, StoreError> {
    let rows: Vec<Json<Happened>> = answered!(pool, |c| sqlx::query_scalar(
        "SELECT happened FROM process_reports WHERE at > (SELECT jenius_now()) - interval '1 hour'",
    )
    .fetch_all(c))?;
    let mut sum = Happened::default();
    rows.into_iter().for_each(|Json(happened)| sum.add(happened));
    let happened: BTreeMap<String, (u64, u64)> = sum.events.into_iter().collect();
    let mut declines: Vec<(String, u64)> = sum.declines.into_iter().collect();
    declines.sort_by_key(|(_, count)| Reverse(*count));
    declines.truncate(DECLINES_SHOWN);
    Ok(LastHour { happened, declines })
}

//! What breakers and the rate limit of the running processes stop now. The processes report it, so that an operator
//! sees it from elsewhere.

use super::{PgPool, PostgresStore, requests::micros, rows, tx::answered};
use crate::{
    domain::{Time, ids::MerchantName},
    flow::{ports::StoreError, view::StopView},
};
use std::time::Duration;
use uuid::Uuid;

/// Why one merchant's sends do not go in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedStop {
    pub merchant: MerchantName,
    /// `breaker` or `rate`.
    pub by: &'static str,
    /// How long ago it began.
    pub ago: Duration,
    /// For a person.
    pub detail: &'static str,
}

impl PostgresStore {
    /// Reports all that this process stops now, in place of its last report. Reports of other processes that are older
    /// than a minute are deleted.
    pub async fn report_stops(&self, process: Uuid, stops: &[ReportedStop]) -> Result<(), StoreError> {
        answered!(&self.context.pool, |c| {
            sqlx::query(
            "WITH gone AS (
                 DELETE FROM send_stops
                 WHERE (process = $1 AND merchant <> ALL ($2)) OR reported_at < jenius_now() - interval '1 minute')
             INSERT INTO send_stops (process, merchant, stopped_by, since, detail, reported_at)
             SELECT $1, n.merchant, n.stopped_by, jenius_now() - n.ago * interval '1 microsecond', n.detail,
                    jenius_now()
             FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[])
                  AS n (merchant, stopped_by, ago, detail)
             ON CONFLICT (process, merchant) DO UPDATE
             SET stopped_by = excluded.stopped_by, since = excluded.since, detail = excluded.detail,
                 reported_at = excluded.reported_at",
        )
        .bind(process)
        .bind(stops.iter().map(|stop| stop.merchant.as_str()).collect::<Vec<_>>())
        .bind(stops.iter().map(|stop| stop.by).collect::<Vec<_>>())
        .bind(stops.iter().map(|stop| micros(stop.ago)).collect::<Vec<_>>())
        .bind(stops.iter().map(|stop| stop.detail).collect::<Vec<_>>())
        .execute(c)
        })?;
        Ok(())
    }

    /// What stops the sends of each merchant in some running process: a breaker before the rate.
    pub async fn stopped_by(&self) -> Result<Vec<(MerchantName, String)>, StoreError> {
        let rows: Vec<(String, String)> = answered!(&self.context.pool, |c| sqlx::query_as(
            "SELECT merchant, min(stopped_by) FROM send_stops
             WHERE reported_at > jenius_now() - interval '15 s' GROUP BY merchant",
        )
        .fetch_all(c))?;
        rows.into_iter().map(|(merchant, by)| Ok((rows::merchant(&merchant)?, by))).collect()
    }

    /// As the function of this name.
    pub async fn open_breakers(&self) -> Result<Vec<StopView>, StoreError> {
        open_breakers(&self.context.pool).await
    }
}

/// The merchants whose sends a breaker of a running process stops now.
pub async fn open_breakers(pool: &PgPool) -> Result<Vec<StopView>, StoreError> {
    let rows: Vec<(String, Time, String)> = answered!(pool, |c| sqlx::query_as(
        "SELECT merchant, min(since), coalesce(min(detail), '') FROM send_stops
         WHERE stopped_by = 'breaker' AND reported_at > jenius_now() - interval '15 s'
         GROUP BY merchant ORDER BY merchant",
    )
    .fetch_all(c))?;
    Ok(rows.into_iter().map(|(merchant, since, detail)| StopView { merchant, since, detail }).collect())
}

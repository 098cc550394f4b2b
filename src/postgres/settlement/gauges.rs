//! Open breaks, counted for the metrics.

use super::SettlementStore;
use crate::{
    domain::settlement::breaks::Cause,
    flow::ports::StoreError,
    postgres::{error::unknown_value, tx::answered},
};

/// The open breaks of one cause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenBreaks {
    pub cause: Cause,
    pub count: i64,
    pub rupiah: i64,
    /// Since the oldest opened, or opened again.
    pub oldest_seconds: f64,
}

impl SettlementStore {
    /// Causes without an open break are left out.
    pub async fn open_breaks(&self) -> Result<Vec<OpenBreaks>, StoreError> {
        let rows: Vec<(String, i64, i64, f64)> = answered!(self.context.pool, |c| sqlx::query_as(
            "SELECT cause, count(*), sum(at_stake)::bigint,
                    greatest(0, extract(epoch FROM jenius_now() - min(first_seen_at)))::float8
             FROM settlement_breaks WHERE closed_at IS NULL GROUP BY cause"
        )
        .fetch_all(c))?;
        let read = |(cause, count, rupiah, oldest_seconds): (String, i64, i64, f64)| {
            let cause = Cause::from_name(&cause).ok_or_else(|| unknown_value("cause"))?;
            Ok(OpenBreaks { cause, count, rupiah, oldest_seconds })
        };
        rows.into_iter().map(read).collect()
    }
}

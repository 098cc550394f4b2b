//! Which requests DOKU's reports name: whether one was ever ours. It calls a payment's request by the name that we gave
//! it, as far as anybody knows; were that wrong, every report would be taken for another's, and decide nothing.
//!
//! Counted in memory and written down with the gauges, so that no report pays for it.

use super::{PostgresStore, rows, tx::answered};
use crate::{
    domain::{change::RequestOf, ids::MerchantName},
    flow::ports::StoreError,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// More reports than this about requests of others, and none about ours, are no accident.
pub const NEVER_MATCHED_MAX: i64 = 3;

/// What was seen of each merchant's reports, and is not written down yet.
#[derive(Default)]
pub(super) struct Reported(Mutex<BTreeMap<MerchantName, ReportCounts>>);

#[derive(Default, Clone, Copy)]
struct ReportCounts {
    others: i64,
    is_matched: bool,
    /// That it is matched is written down: nothing more is of interest.
    is_known: bool,
}

impl Reported {
    pub fn note(&self, merchant: &MerchantName, of: RequestOf) {
        let mut all = self.0.lock();
        if let Some(seen) = all.get_mut(merchant) {
            return seen.note(of);
        }
        all.entry(merchant.clone()).or_default().note(of);
    }

    /// What is to be written down now.
    fn news(&self) -> Vec<(MerchantName, ReportCounts)> {
        let is_news = |seen: &ReportCounts| !seen.is_known && (seen.others > 0 || seen.is_matched);
        self.0
            .lock()
            .iter()
            .filter(|(_, seen)| is_news(seen))
            .map(|(name, seen)| (name.clone(), *seen))
            .collect()
    }

    fn written(&self, merchant: &MerchantName, written: ReportCounts) {
        if let Some(seen) = self.0.lock().get_mut(merchant) {
            seen.others -= written.others;
            seen.is_known = written.is_matched;
        }
    }
}

impl ReportCounts {
    fn note(&mut self, of: RequestOf) {
        match of {
            RequestOf::Order => self.is_matched = true,
            RequestOf::Another if self.is_known => {}
            RequestOf::Another => self.others += 1,
        }
    }
}

impl PostgresStore {
    /// Writes down what was seen. Returns, for each merchant with requests that no report ever named, how many reports named
    /// others; none while `doku.match_request_id` is off: every report counts then, whatever it names.
    pub async fn never_matched(&self) -> Result<Vec<(MerchantName, i64)>, StoreError> {
        let pool = &self.context.pool;
        for (merchant, seen) in self.context.reported.news() {
            answered!(pool, |c| sqlx::query(
                "INSERT INTO reported_requests AS r (merchant, others, matched_at)
                 VALUES ($1, $2, CASE WHEN $3 THEN jenius_now() END)
                 ON CONFLICT (merchant) DO UPDATE SET others = r.others + excluded.others,
                     matched_at = coalesce(r.matched_at, excluded.matched_at)",
            )
            .bind(merchant.as_str())
            .bind(seen.others)
            .bind(seen.is_matched)
            .execute(c))?;
            self.context.reported.written(&merchant, seen);
        }
        if !self.context.schedule.match_request_id {
            return Ok(Vec::new());
        }
        let found: Vec<(String, i64)> = answered!(pool, |c| sqlx::query_as(
            "SELECT merchant, others FROM reported_requests WHERE matched_at IS NULL"
        )
        .fetch_all(c))?;
        found.into_iter().map(|(merchant, others)| Ok((rows::merchant(&merchant)?, others))).collect()
    }
}

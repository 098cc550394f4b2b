//! The schedule of `doku.requests_per_second`: for each merchant the moment up to which its time is given
//! away. A process that takes a block moves that moment on, and has the stretch of time in between for itself.

use super::{PostgresStore, tx::answered};
use crate::{
    domain::ids::MerchantName,
    flow::ports::{RateLimitStore, StoreError},
};
use std::time::Duration;

/// Nothing is given further ahead than an attempt waits for its permit: it would expire unused.
const AHEAD_MAX_S: f64 = 1.0;
/// What is given further ahead than anybody can have taken is from before the clock went back.
const AHEAD_POSSIBLE_S: f64 = 5.0;

impl RateLimitStore for PostgresStore {
    async fn take_block(
        &self,
        merchant: &MerchantName,
        tokens: u32,
        per_second: u32,
    ) -> Result<Option<Duration>, StoreError> {
        let length_s = f64::from(tokens) / f64::from(per_second.max(1));
        let starts_in: Option<f64> = answered!(self.context.pool, |c| sqlx::query_scalar(
            "INSERT INTO rate_schedule AS s (merchant, given_until)
             VALUES ($1, jenius_now() + make_interval(secs => $2))
             ON CONFLICT (merchant) DO UPDATE
             SET given_until = make_interval(secs => $2) + CASE
                 WHEN s.given_until BETWEEN jenius_now() AND jenius_now() + make_interval(secs => $4)
                 THEN s.given_until ELSE jenius_now() END
             WHERE s.given_until NOT BETWEEN jenius_now() + make_interval(secs => $3)
                                         AND jenius_now() + make_interval(secs => $4)
             RETURNING extract(epoch FROM given_until - jenius_now())::float8 - $2",
        )
        .bind(merchant.as_str())
        .bind(length_s)
        .bind(AHEAD_MAX_S)
        .bind(AHEAD_POSSIBLE_S)
        .fetch_optional(c))?;
        // A block that began while it was taken begins now.
        Ok(starts_in.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    }
}

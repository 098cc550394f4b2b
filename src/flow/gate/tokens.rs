//! Brings tokens of the schedule that all processes share into this one, a block at a time and
//! before they are needed, so that no attempt waits for a round trip while there is a flow of them.
//!
//! While the schedule cannot be reached there are no tokens. Nothing is lost by it: it is kept where claims
//! are, and without a claim no process may ask DOKU anyway.

use super::{Gate, merchant_limiter::MerchantLimiter};
use crate::{domain::ids::MerchantName, flow::ports::RateLimitStore};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The pause before the schedule is asked again, if it had no tokens left or could not be reached.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the schedule may take to give one block.
const BLOCK_WAIT_MAX: Duration = Duration::from_secs(2);

impl Gate {
    /// Tokens that are usable now, as if they had been taken.
    #[cfg(test)]
    pub fn hold(&self, merchant: &MerchantName, tokens: u32) {
        (0..tokens).for_each(|_| self.limiters[merchant].add(Instant::now(), 1));
    }

    /// Takes blocks for every merchant, for ever. Without a limit it ends at once and asks nothing.
    pub async fn take_blocks(&self, schedule: impl RateLimitStore, per_second: u32) {
        if per_second > 0 {
            join_all(
                self.limiters
                    .iter()
                    .map(|(merchant, limiter)| feed(limiter, merchant, &schedule, per_second)),
            )
            .await;
        }
    }
}

async fn feed(
    limiter: &MerchantLimiter,
    merchant: &MerchantName,
    schedule: &impl RateLimitStore,
    per_second: u32,
) {
    loop {
        limiter.wants_tokens().await;
        while let Some(tokens) = limiter.next_block() {
            let asked = timeout(BLOCK_WAIT_MAX, schedule.take_block(merchant, tokens, per_second)).await;
            match asked {
                // Counted from the answer on: late rather than early, and never in another process's time.
                Ok(Ok(Some(starts_in))) => limiter.add(Instant::now() + starts_in, tokens),
                Ok(Ok(None) | Err(_)) | Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

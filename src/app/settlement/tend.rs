//! What goes on between two files: events of what fits leave a few at a time, what waits for an order's state is judged
//! again, and a batch that does not come is reported.

use super::Import;
use crate::{flow::ports::StoreError, postgres::ImportingAccount};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often events may leave; they leave only while no order's event waits.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// With nothing to publish.
const IDLE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Invoices of a merchant that are judged at one look.
const LOOKS_MAX: u32 = 200;

/// Runs for ever.
pub async fn tend(import: &Import) {
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            looked = Some(Instant::now());
            if let Err(error) = look(import).await {
                tracing::debug!(%error, "settlement cannot be looked at now");
            }
        }
        match import.settlement.publish_matched().await {
            Ok(0) => sleep(IDLE).await,
            Ok(_) => sleep(PUBLISH_EVERY).await,
            Err(error) => {
                tracing::debug!(%error, "events of settled rows wait");
                sleep(IDLE).await;
            }
        }
    }
}

async fn look(import: &Import) -> Result<(), StoreError> {
    for ImportingAccount { merchant, profile, search_due } in import.settlement.accounts().await? {
        // The profile may be another's who imports elsewhere.
        let Some(judging) = import.judging(&profile) else { continue };
        let due = import.settlement.due_looks(&merchant, LOOKS_MAX).await?;
        if !due.is_empty() {
            import.settlement.judge_group(&merchant, due, &judging, None).await?;
        }
        if search_due {
            import.settlement.search(&merchant, &judging).await?;
        }
        let rhythm =
            import.config.profile(Some(&profile), None).map(|profile| profile.rhythm).unwrap_or_default();
        let calendar = judging.rules.calendar.clone();
        import.settlement.judge_rhythm(&merchant, rhythm, calendar, judging.zone).await?;
    }
    Ok(())
}

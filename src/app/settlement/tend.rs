//! What goes on between two files: events of what fits leave a few at a time, what waits for an order's state is judged
//! again, and a batch that does not come is reported.

use super::Import;
use crate::{
    flow::ports::StoreError,
    postgres::{ImportingAccount, Judging},
};
use std::time::Duration;
use tokio::time::sleep;

/// How often events may leave; they leave only while nothing waits in the outbox.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// With nothing to publish.
const IDLE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Invoices of a merchant that are judged at one look.
const LOOKS_MAX: u32 = 200;

/// Runs for ever. Events do not wait for a search, which may be long.
pub async fn tend(import: &Import) {
    tokio::join!(publish(import), look_again(import));
}

async fn publish(import: &Import) {
    let mut pause = IDLE;
    loop {
        pause = match import.settlement.publish_matched().await {
            // Those before may be out in a moment.
            Ok(0) => IDLE.min(pause * 2),
            Ok(_) => PUBLISH_EVERY,
            Err(error) => {
                tracing::debug!(%error, "events of settled rows wait");
                IDLE
            }
        };
        sleep(pause).await;
    }
}

async fn look_again(import: &Import) {
    loop {
        match import.settlement.accounts().await {
            Ok(accounts) => {
                for account in accounts {
                    // One merchant's trouble is not another's.
                    if let Err(error) = import.look(&account).await {
                        let merchant = account.merchant.as_str();
                        tracing::warn!(merchant, %error, "a merchant's settlement cannot be looked at now");
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "settlement cannot be looked at now"),
        }
        sleep(LOOK_EVERY).await;
    }
}

impl Import {
    /// Judges again what is due of one merchant, and searches where that is asked for.
    ///
    /// # Errors
    /// The database is away, or refuses.
    pub async fn look(&self, account: &ImportingAccount) -> Result<(), StoreError> {
        let ImportingAccount { merchant, profile, search_due } = account;
        // By whatever profile the last file was read: when batches come is the merchant's.
        let last = || self.config.profile(Some(profile), None);
        if let Some(own) = self.config.own_profile(merchant).or_else(last) {
            let calendar = self.config.calendar.clone();
            self.settlement.judge_rhythm(merchant, own.rhythm, calendar, own.zone).await?;
        }
        // The profile may be another's who imports elsewhere.
        let Some(judging) = self.judging(profile) else { return Ok(()) };
        let due = self.settlement.due_looks(merchant, LOOKS_MAX).await?;
        if !due.is_empty() || *search_due {
            // An import that runs judges with the same profile, and the next look comes soon.
            let Some(lock) = self.settlement.lock(merchant).await? else { return Ok(()) };
            let judged = judge_again(self, account, due, &judging).await;
            lock.end();
            judged?;
        }
        Ok(())
    }
}

async fn judge_again(
    import: &Import,
    account: &ImportingAccount,
    due: Vec<String>,
    judging: &Judging,
) -> Result<(), StoreError> {
    let merchant = &account.merchant;
    if !due.is_empty()
        && let Err(error) = import.settlement.judge_group(merchant, due.clone(), judging, None).await
    {
        if !matches!(error, StoreError::Refused(_)) {
            return Err(error);
        }
        judge_each(import, account, due, judging).await?;
    }
    if account.search_due {
        import.settlement.search(merchant, judging).await?;
    }
    Ok(())
}

/// One of them cannot be judged, and must not hold the others up.
async fn judge_each(
    import: &Import,
    account: &ImportingAccount,
    due: Vec<String>,
    judging: &Judging,
) -> Result<(), StoreError> {
    for invoice in due {
        match import.settlement.judge_group(&account.merchant, vec![invoice.clone()], judging, None).await {
            Ok(_) => {}
            Err(error @ StoreError::Refused(_)) => {
                let merchant = account.merchant.as_str();
                tracing::warn!(merchant, invoice, %error, "a settled invoice cannot be judged");
                import.settlement.put_off(&account.merchant, &invoice).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

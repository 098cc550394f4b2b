//! Which letters an operator means, and the means that every action on them shares: it asks first, and is
//! kept with who and why before it is done.

use super::browse_session::{BrowseSession, Filter, not_found};
use crate::{
    cli::{UsageError, print, who},
    domain::action::{Action, ActionKind},
    flow::disposition::DeadReason,
    postgres::{self, PgPool},
    rabbit::dead::FetchedLetter,
};
use anyhow::Context;
use std::collections::BTreeSet;

/// Bodies in memory at a time; what is over is left for the next run.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which letters.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// The ids that `dead list` shows.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Every letter.
    #[arg(long, conflicts_with_all = ["ids", "cause", "queue", "event_type"])]
    all: bool,
    #[command(flatten)]
    pub filter: Filter,
}

impl Selection {
    /// No choice does not mean all.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.ids.is_empty() && !self.all && !self.filter.is_given() {
            return Err(UsageError(
                "name the letters: their ids, --cause, --type, --queue or --all".to_owned(),
            ));
        }
        Ok(())
    }

    /// The letters, in hand. Looks no further than the last of the ids.
    pub async fn choose(&self, sight: &mut BrowseSession) -> anyhow::Result<Vec<FetchedLetter>> {
        let mut missing: BTreeSet<&str> = self.ids.iter().map(String::as_str).collect();
        let (mut chosen, mut bytes) = (Vec::new(), 0_usize);
        while self.ids.is_empty() || !missing.is_empty() {
            let Some(held) = sight.next().await? else { break };
            if !self.ids.is_empty() && !missing.remove(held.letter.id.as_str()) {
                continue;
            }
            bytes = bytes.saturating_add(held.body.len());
            if bytes > BODIES_BYTES_MAX && !chosen.is_empty() {
                let taken = chosen.len();
                print::complain(&format!(
                    "more than is held in memory: these are the first {taken}, run it again"
                ));
                return Ok(chosen);
            }
            chosen.push(held);
        }
        match missing.first() {
            Some(id) => Err(not_found(id, &self.filter)),
            None => Ok(chosen),
        }
    }
}

/// What a letter died of, if the broker says it; `DeadReason` has ours.
const BROKERS_CAUSES: [&str; 5] = ["delivery_limit", "rejected", "expired", "maxlen", "unrouted"];

/// Reads a `--reason`. A cause's name would choose letters in the mind of the person who writes it.
pub fn reason(text: &str) -> Result<String, String> {
    let reason = who::reason(text)?;
    let causes = DeadReason::ALL.map(DeadReason::name);
    if causes.iter().chain(&BROKERS_CAUSES).any(|cause| *cause == reason) {
        return Err(format!(
            "--cause {reason} chooses letters by what they died of; --reason says why you do it"
        ));
    }
    Ok(reason)
}

/// Where actions are kept, before any is begun: one that cannot be kept is not done.
pub struct Audit {
    pub pool: PgPool,
    pub kind: ActionKind,
    pub reason: Option<String>,
    /// `None`: nothing is done, it only says what it would do.
    pub done_by: Option<String>,
}

impl Audit {
    pub async fn check(&self) -> anyhow::Result<()> {
        const NEEDED: &str = "nothing was done: the database keeps what operators do";
        let is_migrated = postgres::is_migrated(&self.pool).await.context(NEEDED)?;
        anyhow::ensure!(is_migrated, "{NEEDED}, and this one is not migrated: `jenius-pay migrate`");
        Ok(())
    }

    pub async fn record(
        &self,
        held: &FetchedLetter,
        merchant: Option<&str>,
        detail: &str,
    ) -> anyhow::Result<()> {
        let action = Action {
            kind: self.kind,
            subject: held.letter.id.clone(),
            merchant: merchant.map(str::to_owned),
            reason: self.reason.clone(),
            done_by: self.done_by.clone(),
            detail: Some(format!("{} in {}: {detail}", held.letter.reason(), held.letter.queue.name())),
        };
        let kept = postgres::record_action(&self.pool, &action).await;
        kept.with_context(|| format!("stopped before {}: it could not be kept", held.letter.id))
    }
}

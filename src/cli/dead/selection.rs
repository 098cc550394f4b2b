//! Which letters an operator means, and why.

use super::browse_session::{BrowseSession, Filter, not_found};
use crate::{
    app::letters::{BODIES_BYTES_MAX, is_cause},
    cli::{UsageError, print, who},
    rabbit::dead::FetchedLetter,
};
use std::collections::BTreeSet;

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

/// Reads a `--reason`. A cause's name would choose letters in the mind of the person who writes it.
pub fn reason(text: &str) -> Result<String, String> {
    let reason = who::reason(text)?;
    if is_cause(&reason) {
        return Err(format!(
            "--cause {reason} chooses letters by what they died of; --reason says why you do it"
        ));
    }
    Ok(reason)
}

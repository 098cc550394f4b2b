//! Work on dead letters, as the command line and the console ask for it: what would become of each, and then each is kept as
//! an action, published and confirmed, and only then taken off. A crash in between makes a duplicate, which a command's
//! identity makes harmless, and never a loss.

pub mod redact;
pub mod words;

use super::forecast::{Forecaster, ReplayForecast};
use crate::{
    domain::{
        action::{Action, ActionKind},
        command::ClaimForecast,
        ids::{CommandId, CommandSource},
        signed::SignedBy,
    },
    flow::{disposition::DeadReason, ports::Mark},
    postgres::{self, PgPool},
    rabbit::{PublishAnswer, Publisher, TopologyNames, dead::FetchedLetter},
};
use anyhow::Context;
use std::collections::HashSet;
use uuid::Uuid;
use words::{is_hopeless, sentence};

/// Bodies in memory at a time; what is over is left for the next run.
pub const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a letter died of, if the broker says it; `DeadReason` has ours.
pub const BROKERS_CAUSES: [&str; 5] = ["delivery_limit", "rejected", "expired", "maxlen", "unrouted"];

/// Whether a text is the name of a cause: a person who writes it as a reason means to choose letters.
pub fn is_cause(text: &str) -> bool {
    DeadReason::ALL.map(DeadReason::name).iter().chain(&BROKERS_CAUSES).any(|cause| *cause == text)
}

/// A letter, and what is to become of it.
pub struct PlannedReplay {
    pub held: FetchedLetter,
    pub fate: ReplayForecast,
    /// The command of another one before it: known by then.
    pub is_twin: bool,
    pub end: ReplayEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayEnd {
    Planned,
    /// It would only die again.
    Hopeless,
    /// It did die again.
    DiedAgain,
    Replayed,
    Failed,
    /// The form that asks for it asked before.
    Repeated,
}

impl ReplayEnd {
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Hopeless | Self::DiedAgain => "left",
            Self::Replayed => "replayed",
            Self::Failed => "failed",
            Self::Repeated => "repeated",
        }
    }
}

/// The identities of commands that a replay has taken already.
#[derive(Default)]
pub struct Twins(HashSet<(CommandSource, CommandId)>);

impl Twins {
    /// Whether a replay before this one sends the same command.
    pub fn has(&mut self, fate: &ReplayForecast) -> bool {
        match fate {
            ReplayForecast::Command(command) if command.prospect == ClaimForecast::Claimed => {
                let identity = command.command.identity.clone();
                !self.0.insert((identity.source, identity.id))
            }
            ReplayForecast::Command(_)
            | ReplayForecast::Notification { .. }
            | ReplayForecast::DeadAgain { .. }
            | ReplayForecast::Nowhere => false,
        }
    }
}

/// Whether a letter is replayed at all.
pub fn judge(fate: &ReplayForecast, replays: u64, again: bool) -> ReplayEnd {
    if is_hopeless(fate) {
        ReplayEnd::Hopeless
    } else if replays > 0 && !again {
        ReplayEnd::DiedAgain
    } else {
        ReplayEnd::Planned
    }
}

/// What would become of each. The same command twice is sent once.
///
/// # Errors
/// The database is away.
pub async fn plan(
    chosen: Vec<FetchedLetter>,
    fates: &Forecaster,
    again: bool,
) -> anyhow::Result<Vec<PlannedReplay>> {
    let mut twins = Twins::default();
    let mut plan = Vec::with_capacity(chosen.len());
    for held in chosen {
        let letter = &held.letter;
        let fate = fates.forecast(letter.destination, letter.content_type.as_deref(), &held.body).await?;
        let end = judge(&fate, letter.replays, again);
        let is_twin = end == ReplayEnd::Planned && twins.has(&fate);
        plan.push(PlannedReplay { held, fate, is_twin, end });
    }
    Ok(plan)
}

/// The merchant that a letter is about.
fn merchant(fate: &ReplayForecast) -> Option<&str> {
    match fate {
        ReplayForecast::Command(command) => Some(&command.command.merchant),
        ReplayForecast::Notification {
            signed_by: SignedBy::Merchant(merchant) | SignedBy::Doku { named: merchant },
            ..
        } => Some(merchant.as_str()),
        ReplayForecast::DeadAgain { .. } | ReplayForecast::Nowhere => None,
    }
}

/// Where actions are kept, before any is begun: one that cannot be kept is not done.
pub struct Audit {
    pub pool: PgPool,
    pub kind: ActionKind,
    pub reason: Option<String>,
    /// `None`: nothing is done, it only says what it would do.
    pub done_by: Option<String>,
    /// The form that asks for it. Each letter has an id made of it: a form that is sent twice does what is left to do.
    pub mark: Option<Mark>,
}

impl Audit {
    /// # Errors
    /// Nothing can be kept.
    pub async fn check(&self) -> anyhow::Result<()> {
        const NEEDED: &str = "nothing was done: the database keeps what operators do";
        let is_migrated = postgres::is_migrated(&self.pool).await.context(NEEDED)?;
        anyhow::ensure!(is_migrated, "{NEEDED}, and this one is not migrated: `jenius-pay migrate`");
        Ok(())
    }

    /// False: the form did it already.
    async fn record(
        &self,
        held: &FetchedLetter,
        merchant: Option<&str>,
        detail: &str,
    ) -> anyhow::Result<bool> {
        let action = Action {
            kind: self.kind,
            subject: held.letter.id.clone(),
            merchant: merchant.map(str::to_owned),
            reason: self.reason.clone(),
            done_by: self.done_by.clone(),
            detail: Some(format!("{} in {}: {detail}", held.letter.reason(), held.letter.queue.name())),
        };
        let kept = match &self.mark {
            None => postgres::record_action(&self.pool, &action).await.map(|()| true),
            Some(mark) => postgres::record_form(&self.pool, &action, &mark_of(mark, &held.letter.id)).await,
        };
        kept.with_context(|| format!("stopped before {}: it could not be kept", held.letter.id))
    }

    /// Publishes a planned letter again, and takes it off once the broker has confirmed it.
    ///
    /// # Errors
    /// It is not known whether the broker has it: the rest must not be begun.
    pub async fn replay(
        &self,
        planned: PlannedReplay,
        publisher: &Publisher,
        names: &TopologyNames,
    ) -> anyhow::Result<(ReplayEnd, Option<PublishAnswer>)> {
        let PlannedReplay { held, fate, .. } = planned;
        if !self.record(&held, merchant(&fate), &sentence(&fate)).await? {
            return Ok((ReplayEnd::Repeated, None));
        }
        let id = held.letter.id.clone();
        let Some(message) = held.again(names) else { return Ok((ReplayEnd::Failed, None)) };
        match publisher.publish_one(message?).await {
            PublishAnswer::Confirmed => {
                held.remove().await?;
                Ok((ReplayEnd::Replayed, Some(PublishAnswer::Confirmed)))
            }
            answer @ (PublishAnswer::Returned | PublishAnswer::Refused) => {
                Ok((ReplayEnd::Failed, Some(answer)))
            }
            PublishAnswer::Unknown => anyhow::bail!(
                "the broker did not confirm {id}: it stays where it is, and may have been published too; a command \
                 that comes twice is done once"
            ),
        }
    }

    /// Takes a letter off for good. False: the form did it already.
    ///
    /// # Errors
    /// The action could not be kept, or the broker is away: the letter stays.
    pub async fn drop_letter(&self, held: FetchedLetter) -> anyhow::Result<bool> {
        let is_new = self.record(&held, None, &held.letter.summary()).await?;
        if is_new {
            held.remove().await?;
        }
        Ok(is_new)
    }
}

fn mark_of(mark: &Mark, letter: &str) -> Mark {
    Mark { action_id: Uuid::new_v5(&mark.action_id, letter.as_bytes()), from: mark.from.clone() }
}

//! `dead replay`: says what would become of letters, and puts them back into work. Each is kept as an
//! action, published and confirmed, and only then taken off: a crash in between makes a duplicate, which a
//! command's identity makes harmless, and never a loss.

use super::{
    browse_session::BrowseSession,
    forecast::{is_hopeless, sentence, word},
    list::replays,
    selection::{Audit, Selection, reason},
};
use crate::{
    app::forecast::{Forecaster, ReplayForecast},
    cli::{UsageError, confirm, print, watch, who},
    config::{Config, Source},
    domain::{
        action::ActionKind,
        command::ClaimForecast,
        ids::{CommandId, CommandSource},
        signed::SignedBy,
    },
    postgres,
    rabbit::{Broker, Part, PublishAnswer, Publisher, TopologyNames, dead::FetchedLetter},
};
use serde_json::json;
use std::{collections::HashSet, process::ExitCode, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Selection,
    /// Say what would become of the letters, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    /// Replay letters that died again after a replay, too.
    #[arg(long)]
    again: bool,
    /// At most this number of letters a second.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    per_second: u32,
    /// Why; it is kept, and `audit` shows it.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Print a JSON array of what becomes of each letter.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    who: who::Who,
}

/// A letter, and what is to become of it.
struct Planned {
    held: FetchedLetter,
    fate: ReplayForecast,
    /// The command of another one before it: known by then.
    is_twin: bool,
    end: ReplayEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplayEnd {
    Planned,
    /// It would only die again.
    Hopeless,
    /// It did die again.
    DiedAgain,
    Replayed,
    Failed,
}

impl ReplayEnd {
    fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Hopeless | Self::DiedAgain => "left",
            Self::Replayed => "replayed",
            Self::Failed => "failed",
        }
    }
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    args.which.check()?;
    if args.json && !args.yes && !args.dry_run {
        return Err(UsageError("--json cannot ask: pass --yes or --dry-run".to_owned()).into());
    }
    let done_by = if args.dry_run { None } else { Some(args.who.operator()?) };
    let config = Config::load(source)?;
    let pool = postgres::pool(postgres::connect_options(&config.database)?, 1);
    let (kind, reason) = (ActionKind::ReplayDeadLetter, args.reason.clone());
    let audit = Audit { pool: pool.clone(), kind, reason, done_by };
    audit.check().await?;
    let fates = Forecaster::new(&config, pool)?;
    let broker = watch::broker(&config.amqp)?;
    let mut sight = BrowseSession::start(&broker, &args.which.filter).await?;
    let done = Box::pin(replay(&args, &mut sight, &fates, &audit, &broker)).await;
    sight.end(done).await
}

async fn replay(
    args: &Args,
    sight: &mut BrowseSession,
    fates: &Forecaster,
    audit: &Audit,
    broker: &Broker,
) -> anyhow::Result<ExitCode> {
    let plan = plan(args.which.choose(sight).await?, fates, args.again).await?;
    let count = plan.iter().filter(|planned| planned.end == ReplayEnd::Planned).count();
    if !args.json {
        plan.iter().try_for_each(|planned| print::line(&in_words(planned)))?;
        print::line(&format!("{count} of {} would be replayed", plan.len()))?;
    }
    if args.dry_run {
        return finish(args, &rows(&plan), true);
    }
    if count > 0 && !confirm::is_confirmed(&format!("replay {count}?"), args.yes).await? {
        print::line("nothing was done")?;
        return Ok(ExitCode::SUCCESS);
    }
    let parts = [Part::Commands, Part::Notifications];
    broker.declare(&parts).await?;
    let (publisher, task) = Publisher::new(broker, "replay", &parts);
    let stop = CancellationToken::new();
    let link = tokio::spawn(task.run(stop.clone()));
    let ended = carry_out(plan, args, audit, &publisher, broker.names()).await;
    stop.cancel();
    link.await?;
    let (ends, all) = ended?;
    finish(args, &ends, all)
}

/// What would become of each. The same command twice is sent once.
async fn plan(chosen: Vec<FetchedLetter>, fates: &Forecaster, again: bool) -> anyhow::Result<Vec<Planned>> {
    let mut seen: HashSet<(CommandSource, CommandId)> = HashSet::new();
    let mut plan = Vec::with_capacity(chosen.len());
    for held in chosen {
        let letter = &held.letter;
        let fate = fates.of(letter.destination, letter.content_type.as_deref(), &held.body).await?;
        let end = if is_hopeless(&fate) {
            ReplayEnd::Hopeless
        } else if letter.replays > 0 && !again {
            ReplayEnd::DiedAgain
        } else {
            ReplayEnd::Planned
        };
        let is_twin = match &fate {
            ReplayForecast::Command(command)
                if command.prospect == ClaimForecast::Claimed && end == ReplayEnd::Planned =>
            {
                let identity = command.command.identity.clone();
                !seen.insert((identity.source, identity.id))
            }
            ReplayForecast::Command(_)
            | ReplayForecast::Notification { .. }
            | ReplayForecast::DeadAgain { .. }
            | ReplayForecast::Nowhere => false,
        };
        plan.push(Planned { held, fate, is_twin, end });
    }
    Ok(plan)
}

fn in_words(planned: &Planned) -> String {
    let twin = if planned.is_twin { "; by then it is known, from another one here" } else { "" };
    let left = match planned.end {
        ReplayEnd::Hopeless => "; left where it is",
        ReplayEnd::DiedAgain => "; left where it is, unless you say --again",
        ReplayEnd::Planned | ReplayEnd::Replayed | ReplayEnd::Failed => "",
    };
    let before = replays(&planned.held.letter).map(|text| format!(" ({text})")).unwrap_or_default();
    format!("{}  {}{twin}{before}{left}", planned.held.letter.id, sentence(&planned.fate))
}

/// One after another. Says of each how it ended, and whether all were replayed; an error says that the rest
/// was not begun.
async fn carry_out(
    plan: Vec<Planned>,
    args: &Args,
    audit: &Audit,
    publisher: &Publisher,
    names: &TopologyNames,
) -> anyhow::Result<(Vec<serde_json::Value>, bool)> {
    let mut pace = interval(Duration::from_secs(1) / args.per_second);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut ends, mut all) = (Vec::new(), true);
    for mut planned in plan {
        let row = row(&planned);
        if planned.end == ReplayEnd::Planned {
            pace.tick().await;
            let merchant = match &planned.fate {
                ReplayForecast::Command(command) => Some(command.command.merchant.clone()),
                ReplayForecast::Notification {
                    signed_by: SignedBy::Merchant(merchant) | SignedBy::Doku { named: merchant },
                    ..
                } => Some(merchant.as_str().to_owned()),
                ReplayForecast::DeadAgain { .. } | ReplayForecast::Nowhere => None,
            };
            audit.record(&planned.held, merchant.as_deref(), &sentence(&planned.fate)).await?;
            let id = planned.held.letter.id.clone();
            planned.end = publish(planned.held, publisher, names).await?;
            if !args.json {
                print::line(&format!("{id}  {}", planned.end.name()))?;
            }
        }
        all &= planned.end == ReplayEnd::Replayed;
        ends.push(with_end(row, planned.end));
    }
    Ok((ends, all))
}

async fn publish(
    held: FetchedLetter,
    publisher: &Publisher,
    names: &TopologyNames,
) -> anyhow::Result<ReplayEnd> {
    let id = held.letter.id.clone();
    let Some(message) = held.again(names) else { return Ok(ReplayEnd::Failed) };
    match publisher.publish_one(message?).await {
        PublishAnswer::Confirmed => {
            held.remove().await?;
            Ok(ReplayEnd::Replayed)
        }
        answer @ (PublishAnswer::Returned | PublishAnswer::Refused) => {
            print::complain(&format!("{id} was not taken by the broker ({answer:?}); it stays where it is"));
            Ok(ReplayEnd::Failed)
        }
        PublishAnswer::Unknown => anyhow::bail!(
            "the broker did not confirm {id}: it stays where it is, and may have been published too; a command \
             that comes twice is done once"
        ),
    }
}

fn row(planned: &Planned) -> serde_json::Value {
    let letter = &planned.held.letter;
    let would = if planned.is_twin { "known" } else { word(&planned.fate) };
    json!({"id": letter.id, "queue": letter.queue.name(), "reason": letter.reason(), "replays": letter.replays,
           "would": would, "detail": sentence(&planned.fate)})
}

fn with_end(mut row: serde_json::Value, end: ReplayEnd) -> serde_json::Value {
    row["done"] = json!(end.name());
    row
}

fn rows(plan: &[Planned]) -> Vec<serde_json::Value> {
    plan.iter().map(|planned| with_end(row(planned), planned.end)).collect()
}

fn finish(args: &Args, rows: &[serde_json::Value], all: bool) -> anyhow::Result<ExitCode> {
    if args.json {
        print::line(&print::json(&rows)?)?;
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

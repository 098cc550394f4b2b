//! `dead replay`: says what would become of letters, asks, and puts them back into work.

use super::{
    browse_session::BrowseSession,
    selection::{Selection, reason},
};
use crate::{
    app::{
        forecast::Forecaster,
        letters::{
            Audit, PlannedReplay, ReplayEnd, plan,
            words::{replays, sentence, twin, word},
        },
        parts::broker_of,
    },
    cli::{UsageError, confirm, print, who},
    config::{Config, RequiredSections, Source},
    domain::action::ActionKind,
    postgres,
    rabbit::{Broker, Part, Publisher, TopologyNames},
};
use serde_json::json;
use std::{process::ExitCode, time::Duration};
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

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    args.which.check()?;
    if args.json && !args.yes && !args.dry_run {
        return Err(UsageError("--json cannot ask: pass --yes or --dry-run".to_owned()).into());
    }
    let done_by = if args.dry_run { None } else { Some(args.who.operator()?) };
    let config = Config::load(source, RequiredSections::EVERYTHING)?;
    let pool = postgres::pool(postgres::connect_options(config.need_database()?)?, 1);
    let (kind, reason) = (ActionKind::ReplayDeadLetter, args.reason.clone());
    let audit = Audit { pool: pool.clone(), kind, reason, done_by, mark: None };
    audit.check().await?;
    let fates = Forecaster::new(&config, pool)?;
    let broker = broker_of(config.need_amqp()?)?;
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

fn in_words(planned: &PlannedReplay) -> String {
    let twin = twin(planned.is_twin);
    let left = match planned.end {
        ReplayEnd::Hopeless => "; left where it is",
        ReplayEnd::DiedAgain => "; left where it is, unless you say --again",
        ReplayEnd::Planned | ReplayEnd::Replayed | ReplayEnd::Failed | ReplayEnd::Repeated => "",
    };
    let before = replays(&planned.held.letter).map(|text| format!(" ({text})")).unwrap_or_default();
    format!("{}  {}{twin}{before}{left}", planned.held.letter.id, sentence(&planned.fate))
}

/// One after another. Says of each how it ended, and whether all were replayed; an error says that the rest
/// was not begun.
async fn carry_out(
    plan: Vec<PlannedReplay>,
    args: &Args,
    audit: &Audit,
    publisher: &Publisher,
    names: &TopologyNames,
) -> anyhow::Result<(Vec<serde_json::Value>, bool)> {
    let mut pace = interval(Duration::from_secs(1) / args.per_second);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut ends, mut all) = (Vec::new(), true);
    for planned in plan {
        let (row, id, mut end) = (row(&planned), planned.held.letter.id.clone(), planned.end);
        if end == ReplayEnd::Planned {
            pace.tick().await;
            let answer;
            (end, answer) = audit.replay(planned, publisher, names).await?;
            if let Some(answer) = answer.filter(|_| end == ReplayEnd::Failed) {
                print::complain(&format!(
                    "{id} was not taken by the broker ({answer:?}); it stays where it is"
                ));
            }
            if !args.json {
                print::line(&format!("{id}  {}", end.name()))?;
            }
        }
        all &= end == ReplayEnd::Replayed;
        ends.push(with_end(row, end));
    }
    Ok((ends, all))
}

fn row(planned: &PlannedReplay) -> serde_json::Value {
    let letter = &planned.held.letter;
    let would = if planned.is_twin { "known" } else { word(&planned.fate) };
    json!({"id": letter.id, "queue": letter.queue.name(), "reason": letter.reason(), "replays": letter.replays,
           "would": would, "detail": sentence(&planned.fate)})
}

fn with_end(mut row: serde_json::Value, end: ReplayEnd) -> serde_json::Value {
    row["done"] = json!(end.name());
    row
}

fn rows(plan: &[PlannedReplay]) -> Vec<serde_json::Value> {
    plan.iter().map(|planned| with_end(row(planned), planned.end)).collect()
}

fn finish(args: &Args, rows: &[serde_json::Value], all: bool) -> anyhow::Result<ExitCode> {
    if args.json {
        print::line(&print::json(&rows)?)?;
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

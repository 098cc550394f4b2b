//! `prune`: empties what is no longer needed of orders that ended long ago, with the customers' data. Safe beside the
//! service, twice, and to break off.

use super::{print, who};
use crate::{
    config::{Config, RequiredSections, Source},
    domain::action::{Action, ActionKind},
    postgres::{self, PgPool, PruneRun, Pruned},
};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only orders that ended more than this number of days ago.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    older_than: u32,
    /// Stop after this number of requests; the next run goes on.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
    /// Say what it would do, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why; it is kept, and `audit` shows it.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: Option<String>,
    #[command(flatten)]
    who: who::Who,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let config = Config::load(source, RequiredSections::DATABASE)?;
    let pool = postgres::pool(postgres::connect_options(config.need_database()?)?, 1);
    let done_by = if args.dry_run { None } else { Some(args.who.operator()?) };
    if let Some(done_by) = &done_by {
        keep(&pool, &args, done_by, "begun").await?;
    }
    let mut run = PruneRun::begin(&pool, args.older_than).await?;
    let mut pruned = Pruned::default();
    while !run.is_done() && pruned.requests < args.limit {
        pruned.add(run.batch(&pool, args.dry_run).await?);
    }
    let files = PruneRun::settlement_files(&pool, config.settlement.keep_files_days, args.dry_run).await?;
    let summary = in_words(&pruned, files);
    if let Some(done_by) = &done_by {
        keep(&pool, &args, done_by, &summary).await?;
        print::line(&format!("pruned {summary}"))?;
    } else {
        print::line(&format!("would prune {summary}"))?;
    }
    if !run.is_done() {
        print::line("there is more: run it again")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(pruned: &Pruned, files: i64) -> String {
    let Pruned { requests, request_bytes, attempts, notifications } = pruned;
    format!(
        "{requests} requests ({request_bytes} bytes), {attempts} attempts, {notifications} notifications, \
         {files} settlement files"
    )
}

/// Before and after: a run that was broken off is known as well.
async fn keep(pool: &PgPool, args: &Args, done_by: &str, detail: &str) -> anyhow::Result<()> {
    let action = Action {
        kind: ActionKind::Prune,
        subject: format!("orders that ended more than {} days ago", args.older_than),
        merchant: None,
        reason: args.reason.clone(),
        done_by: Some(done_by.to_owned()),
        detail: Some(detail.to_owned()),
    };
    Ok(postgres::record_action(pool, &action).await?)
}

//! `dead drop`: takes letters off for good. Each is kept as an action first, with who and why.

use super::{
    browse_session::BrowseSession,
    list::ListedLetter,
    selection::{Selection, reason},
};
use crate::{
    app::{letters::Audit, parts::broker_of},
    cli::{UsageError, confirm, print, who},
    config::{Amqp, Database, Source},
    domain::action::ActionKind,
    postgres,
    rabbit::dead::FetchedLetter,
};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Selection,
    /// Say which letters, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    /// Why; it is kept, and `audit` shows it.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// Print a JSON array of what is dropped.
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
    let pool = postgres::pool(postgres::connect_options(&Database::load(source)?)?, 1);
    let (kind, reason) = (ActionKind::DropDeadLetter, Some(args.reason.clone()));
    let audit = Audit { pool, kind, reason, done_by, mark: None };
    audit.check().await?;
    let broker = broker_of(&Amqp::load(source)?)?;
    let mut sight = BrowseSession::start(&broker, &args.which.filter).await?;
    let done = drop_them(&args, &mut sight, &audit).await;
    sight.end(done).await
}

async fn drop_them(args: &Args, sight: &mut BrowseSession, audit: &Audit) -> anyhow::Result<ExitCode> {
    let chosen = args.which.choose(sight).await?;
    let count = chosen.len();
    let list = print::json(&chosen.iter().map(|h| ListedLetter::from_letter(&h.letter)).collect::<Vec<_>>())?;
    if !args.json {
        for held in &chosen {
            print::line(&format!("{}  {}", held.letter.id, held.letter.summary()))?;
        }
        print::line(&format!("{count} would be dropped"))?;
    }
    if !args.dry_run {
        if count > 0 && !confirm::is_confirmed(&format!("drop {count} for good?"), args.yes).await? {
            print::line("nothing was done")?;
            return Ok(ExitCode::SUCCESS);
        }
        for held in chosen {
            drop_one(held, audit, args.json).await?;
        }
    }
    if args.json {
        print::line(&list)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn drop_one(held: FetchedLetter, audit: &Audit, json: bool) -> anyhow::Result<()> {
    let id = held.letter.id.clone();
    audit.drop_letter(held).await?;
    if !json {
        print::line(&format!("{id}  dropped"))?;
    }
    Ok(())
}

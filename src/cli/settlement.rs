//! `settlement`: brings DOKU's files in, shows them and what does not fit, and closes what a person has cleared up.

mod import;
mod show;

use super::{UsageError, print, times, who};
use crate::{
    config::{Config, RequiredSections, Source},
    domain::ids::MerchantName,
    flow::view::{csv, settlement::BreakFilter},
    postgres::{self, Closing, PostgresStore, SettlementStore},
};
use clap::Subcommand;
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

/// Compares DOKU's settlement files with our orders.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: SettlementCommand,
}

#[derive(Debug, Subcommand)]
enum SettlementCommand {
    /// Imports a file. The same file again changes nothing; an import that stopped halfway goes on.
    Import(import::Args),
    /// Lists the latest files.
    List(ListArgs),
    /// Shows one batch, with DOKU's sums and ours.
    Show(ShowArgs),
    /// Lists what does not fit.
    Breaks(BreaksArgs),
    /// Closes one break, until its values change.
    Close(CloseArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Show at most this many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// DOKU's name of the pay-out, as `settlement list` shows it.
    #[arg(value_name = "BATCH")]
    batch: String,
    /// Print a JSON array: one object for each merchant who has such a batch.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct BreaksArgs {
    /// Only those that are open.
    #[arg(long)]
    open: bool,
    /// Only this merchant's.
    #[arg(long, value_parser = |name: &str| MerchantName::parse(name))]
    merchant: Option<MerchantName>,
    /// Only those of one batch.
    #[arg(long, value_name = "BATCH")]
    batch: Option<String>,
    /// Show at most this many, those with most at stake first: 1,000, or 1,000,000 with --csv or --json.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=BREAKS_MAX.into()))]
    limit: Option<u32>,
    /// Print CSV, for finance. A text that a spreadsheet would take for a formula has an apostrophe before it.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print a JSON array, with the history of each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct CloseArgs {
    /// Its number, as `settlement breaks` shows it.
    #[arg(value_name = "BREAK", value_parser = clap::value_parser!(i64).range(1..))]
    number: i64,
    /// Why, for people who ask later.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: String,
    #[command(flatten)]
    who: who::Who,
}

/// Breaks that a person reads in a terminal, unless another limit is named.
const BREAKS_SHOWN: u32 = 1_000;
const BREAKS_MAX: u32 = 1_000_000;
/// Connections of one command: what is kept and what is read go side by side.
const CONNECTIONS: u32 = 3;

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    match args.command {
        SettlementCommand::Import(args) => import::run(args, source).await,
        SettlementCommand::List(args) => {
            let files = settlement(source)?.list_files(args.limit).await?;
            print::line(&if args.json {
                print::json(&files)?
            } else {
                show::files(&files, times::from_source(source)?, is_terminal())
            })?;
            Ok(ExitCode::SUCCESS)
        }
        SettlementCommand::Show(args) => show_batch(&args, source).await,
        SettlementCommand::Breaks(args) => list_breaks(args, source).await,
        SettlementCommand::Close(args) => close(args, source).await,
    }
}

async fn list_breaks(args: BreaksArgs, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let is_for_people = !args.json && !args.csv;
    let limit = args.limit.unwrap_or(if is_for_people { BREAKS_SHOWN } else { BREAKS_MAX });
    // One more tells whether there are more.
    let filter = BreakFilter {
        merchant: args.merchant,
        open: args.open,
        batch: args.batch,
        cause: None,
        limit: limit.saturating_add(1),
    };
    let mut breaks = settlement(source)?.list_breaks(&filter).await?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    if breaks.len() > shown {
        breaks.truncate(shown);
        print::complain(&format!("these are the first {limit}: there are more, and --limit shows them"));
    }
    print::line(&if args.json {
        print::json(&breaks)?
    } else if args.csv {
        csv::breaks(&breaks)
    } else {
        show::breaks(&breaks, times::from_source(source)?, is_terminal())
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn show_batch(args: &ShowArgs, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let settlement = settlement(source)?;
    let batches = settlement.batches(&args.batch).await?;
    if batches.is_empty() {
        anyhow::bail!(
            "no batch {} has rows of our channel: `jenius-pay settlement list` shows the files",
            print::clean(&args.batch)
        );
    }
    if args.json {
        print::line(&print::json(&batches)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let filter =
        BreakFilter { open: true, batch: Some(args.batch.clone()), limit: 100, ..BreakFilter::default() };
    let breaks = settlement.list_breaks(&filter).await?;
    print::line(&show::batches(&batches, &breaks, times::from_source(source)?, is_terminal()))?;
    Ok(ExitCode::SUCCESS)
}

async fn close(args: CloseArgs, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let done_by = args.who.operator()?;
    let number = args.number;
    match settlement(source)?.close(number, None, args.reason, done_by, None).await? {
        Closing::Closed { cause, subject } => {
            let what = print::clean(&format!("{cause} of {subject}"));
            print::line(&format!("break {number} is closed: {what}. It opens again if its values change."))?;
            Ok(ExitCode::SUCCESS)
        }
        Closing::AlreadyClosed => {
            print::line(&format!("break {number} is closed already"))?;
            Ok(ExitCode::SUCCESS)
        }
        Closing::Another | Closing::Unknown => {
            anyhow::bail!("there is no break {number}: `jenius-pay settlement breaks` shows their numbers")
        }
    }
}

fn settlement(source: &Source<'_>) -> anyhow::Result<SettlementStore> {
    Ok(store(&Config::load(source, RequiredSections::DATABASE)?)?.settlement())
}

fn store(config: &Config) -> anyhow::Result<PostgresStore> {
    let pool = postgres::pool(postgres::connect_options(config.need_database()?)?, CONNECTIONS);
    Ok(PostgresStore::new(pool, config.schedule()))
}

fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// What makes no sense to ask for.
fn usage(text: impl Into<String>) -> anyhow::Error {
    UsageError(text.into()).into()
}

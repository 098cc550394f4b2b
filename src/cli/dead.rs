//! `dead`: the letters that nobody works on: what they are, and what becomes of them.

mod browse_session;
mod drop;
mod forecast;
mod list;
mod redact;
mod replay;
mod selection;
mod show;

use crate::config::Source;
use clap::Subcommand;
use std::process::ExitCode;

/// Looks at messages that could not be worked on (the queue `dead`) or reached no queue (`unrouted`), and
/// decides what becomes of them.
///
/// Whoever looks takes them and gives them back; meanwhile nobody else sees them, and what a look does not
/// come to (`--limit`) stands before them afterwards. RabbitMQ counts each return, and version 4 drops what
/// was returned 20 times, unless the policy of the README is set.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// What is there, by what it died of.
    List(list::Args),
    /// All that is known of one, the customer's data masked.
    Show(show::Args),
    /// Says what would become of letters, and puts them back into work.
    Replay(replay::Args),
    /// Takes letters off for good.
    Drop(drop::Args),
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    match args.command {
        CliCommand::List(args) => list::run(args, source).await,
        CliCommand::Show(args) => show::run(args, source).await,
        CliCommand::Replay(args) => Box::pin(replay::run(args, source)).await,
        CliCommand::Drop(args) => drop::run(args, source).await,
    }
}

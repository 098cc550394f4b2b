//! `dead`: the letters that no process works on: what they are, and what becomes of them.

mod browse_session;
mod drop;
mod list;
mod replay;
mod selection;
mod show;

use crate::config::Source;
use clap::Subcommand;
use std::process::ExitCode;

/// Shows messages that could not be worked on (the queue `dead`) or reached no queue (`unrouted`), and replays or
/// drops them.
///
/// A look takes the letters out of their queue and gives them back; meanwhile no other look sees them, and letters
/// beyond `--limit` stand before them afterwards. RabbitMQ counts each return, and version 4 drops a message that was
/// returned 20 times, unless the policy in RUNBOOK is set.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Lists the letters, grouped by cause, detail, source and type.
    List(list::Args),
    /// Shows what is known about one letter, with the customer's data masked.
    Show(show::Args),
    /// Says what would become of letters, asks, and puts them back into their queues.
    Replay(replay::Args),
    /// Deletes letters for good.
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

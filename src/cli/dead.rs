//! `dead`: the letters that nobody works on: what they are, and what becomes of them.

mod list;
mod masked;
mod show;
mod sight;

use crate::config::Source;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Messages that could not be worked on (the queue `dead`) or reached no queue (`unrouted`). Whoever looks
/// takes them and gives them back in their order; meanwhile nobody else sees them. RabbitMQ counts each
/// return, and version 4 drops what was returned 20 times, unless the policy of the README is set.
#[derive(Debug, Subcommand)]
enum Command {
    /// What is there, by what it died of.
    List(list::Args),
    /// All that is known of one, the customer's data masked.
    Show(show::Args),
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list::run(args, source).await,
        Command::Show(args) => show::run(args, source).await,
    }
}

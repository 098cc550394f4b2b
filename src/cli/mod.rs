//! The command line: a file or a folder for each subcommand. Exit codes: 0 done; 1 it failed at run time; 2 usage or
//! configuration.

pub mod asyncapi;
mod audit;
mod bench;
mod csv;
mod dead;
mod doctor;
mod duration;
mod event_line;
mod events;
mod health;
mod migrate;
mod orders;
mod pause;
mod print;
mod prune;
mod restored;
mod run;
pub mod sandbox;
mod send;
mod settlement;
mod timeline;
mod validate;
mod wait;
mod watch;
mod who;

use crate::{
    config::{ConfigFaults, Source},
    flow::ports::StoreError,
    rabbit::BrokerError,
    telemetry::LogError,
};
use clap::{Parser, Subcommand};
use print::PrintError;
use std::{path::PathBuf, process::ExitCode};

/// It failed at run time; for `run`, the stop cut work off.
const FAILED: u8 = 1;
/// The same as for the usage errors that clap finds itself.
const USAGE: u8 = 2;
/// Every way the process ends.
pub const EXIT_CODES: [u8; 3] = [0, FAILED, USAGE];

/// The asynchronous worker between a merchant's services and DOKU's Jenius Pay.
#[derive(Debug, Parser)]
#[command(name = "jenius-pay", version)]
pub struct Cli {
    /// Configuration, TOML; else the file JENIUS_PAY_CONFIG names. The environment beats it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Does the work: all roles in one process, or those that are named.
    Run(run::Args),
    /// Makes the database's schema what this version needs.
    Migrate(migrate::Args),
    /// Says by its exit code whether the process beside it lives, for an image's health check.
    Health,
    /// Sends a command, as an upstream service would.
    Send(send::Args),
    /// Finds every fault of a command before it is published. It connects to nothing.
    Validate(validate::Args),
    /// Prints events as they are published.
    Watch(watch::Args),
    /// Shows orders, asks DOKU about one, decides for one in review.
    Orders(orders::Args),
    /// Stops sends, of all merchants or of one. Inquiries, notifications and events go on.
    Pause(pause::Args),
    /// Lets sends go on.
    Resume(pause::Args),
    /// Empties what nobody needs of orders that ended long ago, the customers' data among it.
    Prune(prune::Args),
    /// Has DOKU asked about every order that may be otherwise, after the database went back in time: a restore, a standby
    /// that lost the last commits. Before any process starts.
    Restored(restored::Args),
    Dead(dead::Args),
    Settlement(settlement::Args),
    /// Looks at everything it needs, and says what is not well and what to do.
    Doctor(doctor::Args),
    /// Publishes events again.
    Events(events::Args),
    /// Shows what operators did, who and why.
    Audit(audit::Args),
    /// Plays DOKU, for trying and testing.
    Sandbox(sandbox::Args),
    /// Prints the contract: the AsyncAPI 3.0 document of every message.
    Asyncapi(asyncapi::Args),
    /// Measures the service, beside a plain worker and the machine's own parts.
    Bench(bench::Args),
}

impl Cli {
    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// Whatever stopped it; `exit_code` says what that means to the caller.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let source = Source::from_process(self.config.clone());
        match self.command {
            CliCommand::Run(args) => run::run(args, &source).await,
            CliCommand::Migrate(args) => migrate::run(&args, &source).await,
            CliCommand::Health => health::run(&source).await,
            CliCommand::Send(args) => send::run(args, &source).await,
            CliCommand::Validate(args) => validate::run(&args, &source),
            CliCommand::Watch(args) => watch::run(args, &source).await,
            CliCommand::Orders(args) => orders::run(args, &source).await,
            CliCommand::Pause(args) => pause::pause(args, &source).await,
            CliCommand::Resume(args) => pause::resume(args, &source).await,
            CliCommand::Prune(args) => prune::run(args, &source).await,
            CliCommand::Restored(args) => restored::run(args, &source).await,
            CliCommand::Dead(args) => dead::run(args, &source).await,
            CliCommand::Settlement(args) => Box::pin(settlement::run(args, &source)).await,
            CliCommand::Doctor(args) => Box::pin(doctor::run(args, &source)).await,
            CliCommand::Events(args) => events::run(args, &source).await,
            CliCommand::Audit(args) => audit::run(args, &source).await,
            CliCommand::Sandbox(args) => sandbox::run(args).await.map(|()| ExitCode::SUCCESS),
            CliCommand::Asyncapi(args) => asyncapi::run(&args),
            CliCommand::Bench(args) => Box::pin(bench::run(args, &source, self.config)).await,
        }
    }
}

/// What was asked for makes no sense: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Says what went wrong, and how the process ends.
pub fn exit_code(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    if matches!(error.downcast_ref(), Some(PrintError::Closed)) {
        return ExitCode::SUCCESS;
    }
    let text = said(&error);
    // In bounded time: standard error may be a pipe that nobody reads.
    if !crate::telemetry::say(&text) {
        print::complain(&text);
    }
    ExitCode::from(code_of(&error))
}

/// The error; and where a server is away, which one, and who says more about it.
fn said(error: &anyhow::Error) -> String {
    let is_broker = |cause: &(dyn std::error::Error + 'static)| cause.is::<BrokerError>();
    let is_away = |cause: &(dyn std::error::Error + 'static)| {
        is_broker(cause) || matches!(cause.downcast_ref(), Some(StoreError::Away(_)))
    };
    // What a failed step of AMQP says does not name the broker.
    let whose = if error.chain().next().is_some_and(is_broker) { "the broker: " } else { "" };
    let hint = if error.chain().any(is_away) { "\n`jenius-pay doctor` says what to do" } else { "" };
    format!("error: {whose}{error:#}{hint}")
}

fn code_of(error: &anyhow::Error) -> u8 {
    let is_setting = matches!(error.downcast_ref(), Some(LogError::Setting { .. }));
    let usage = error.is::<ConfigFaults>() || error.is::<UsageError>() || is_setting;
    if usage { USAGE } else { FAILED }
}

#[cfg(test)]
mod tests;

//! The command line: a file or a folder for each subcommand. Exit codes: 0 done; 1 it failed at run time; 2 usage or
//! configuration.

pub mod asyncapi;
mod audit;
#[cfg(feature = "tools")]
mod bench;
mod config;
mod confirm;
mod console;
mod dead;
mod doctor;
mod duration;
mod event_line;
mod events;
mod health;
mod migrate;
mod order_table;
mod orders;
mod pause;
mod print;
mod prune;
mod restored;
mod run;
#[cfg(feature = "tools")]
pub mod sandbox;
mod send;
mod settlement;
mod shell;
mod table;
mod timeline;
mod times;
mod validate;
mod wait;
mod watch;
mod who;

use crate::{
    config::{ConfigFaults, Source},
    flow::{ports::StoreError, view::csv},
    metric::REVISION,
    rabbit::BrokerError,
    telemetry::LogError,
};
use clap::{Parser, Subcommand};
use print::PrintError;
use std::{path::PathBuf, process::ExitCode, sync::LazyLock};

/// It failed at run time; for `run`, the stop cut work off.
const FAILED: u8 = 1;
/// The same as for the usage errors that clap finds itself.
const USAGE: u8 = 2;
/// Every way the process ends.
pub const EXIT_CODES: [u8; 3] = [0, FAILED, USAGE];

/// The asynchronous worker between a merchant's services and DOKU's Jenius Pay.
#[derive(Debug, Parser)]
#[command(name = "jenius-pay", version = version(), max_term_width = 80)]
pub struct Cli {
    /// The configuration file, in TOML; without it the file that JENIUS_PAY_CONFIG names. The environment wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Runs the service: all roles in one process, or those that are named.
    Run(run::Args),
    /// Makes or changes the tables, as this version needs them.
    Migrate(migrate::Args),
    /// Exits with 0 if the process beside it lives, for an image's health check.
    Health,
    /// Sends a command, as an upstream service would.
    Send(send::Args),
    /// Finds every fault of a command before it is published. It connects to nothing.
    Validate(validate::Args),
    /// Prints events as they are published.
    Watch(watch::Args),
    /// Shows orders, asks DOKU about one, decides about one in review, imports orders that were paid before.
    Orders(orders::Args),
    /// Stops sends, of all merchants or of one. Inquiries, notifications and events go on.
    Pause(pause::Args),
    /// Lets sends go on.
    Resume(pause::Args),
    /// Deletes what is no longer needed of orders that ended long ago, with the customers' data.
    Prune(prune::Args),
    /// Has DOKU asked about every order that may have changed, after the database went back in time (a restore, a standby
    /// without the last commits). Run it before any process starts.
    Restored(restored::Args),
    Dead(dead::Args),
    Settlement(settlement::Args),
    /// Checks everything the service needs, and says what is not well and what to do.
    Doctor(doctor::Args),
    /// Lets a person into the console.
    Console(console::Args),
    /// Publishes events again.
    Events(events::Args),
    /// Shows what operators did, who did it and why.
    Audit(audit::Args),
    /// Plays DOKU, to try and to test against.
    #[cfg(feature = "tools")]
    Sandbox(sandbox::Args),
    /// Prints the contract: the AsyncAPI 3.0 document of every message.
    Asyncapi(asyncapi::Args),
    /// Measures the service, beside a plain worker and the servers of this machine.
    #[cfg(feature = "tools")]
    Bench(bench::Args),
    /// Prints what is configured and where each value comes from; secrets are hidden.
    Config(config::Args),
    /// Prints the script that makes a shell complete commands and options.
    Completions(shell::Completions),
    /// Writes the manual pages.
    Man(shell::Man),
}

/// The version, with what this program was built from and with.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let features = if cfg!(feature = "otel") { "otel" } else { "none" };
        format!("{} (revision {REVISION}, features: {features})", env!("CARGO_PKG_VERSION"))
    });
    &VERSION
}

impl Cli {
    /// Whether its log is read, and not what it prints.
    pub fn is_service(&self) -> bool {
        match self.command {
            CliCommand::Run(_) => true,
            #[cfg(feature = "tools")]
            CliCommand::Sandbox(_) => true,
            _ => false,
        }
    }

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
            CliCommand::Console(args) => console::run(args, &source).await,
            CliCommand::Events(args) => events::run(args, &source).await,
            CliCommand::Audit(args) => audit::run(args, &source).await,
            #[cfg(feature = "tools")]
            CliCommand::Sandbox(args) => sandbox::run(args).await.map(|()| ExitCode::SUCCESS),
            CliCommand::Asyncapi(args) => asyncapi::run(&args),
            CliCommand::Config(args) => config::run(&args, &source),
            CliCommand::Completions(args) => shell::completions(&args),
            CliCommand::Man(args) => shell::man(&args),
            #[cfg(feature = "tools")]
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
    let text = in_words(&error);
    // In bounded time: standard error may be a pipe without a reader.
    if !crate::telemetry::write_line(&text) {
        print::complain(&text);
    }
    ExitCode::from(code_of(&error))
}

/// The error; and if a server is away, which one, and which command says more about it.
fn in_words(error: &anyhow::Error) -> String {
    let is_broker = |cause: &(dyn std::error::Error + 'static)| cause.is::<BrokerError>();
    let is_away = |cause: &(dyn std::error::Error + 'static)| {
        is_broker(cause) || matches!(cause.downcast_ref(), Some(StoreError::Away(_)))
    };
    // What a failed step of AMQP says does not name the broker.
    let subject = if error.chain().next().is_some_and(is_broker) { "the broker: " } else { "" };
    let hint = if error.chain().any(is_away) { "\n`jenius-pay doctor` says what to do" } else { "" };
    format!("error: {subject}{error:#}{hint}")
}

fn code_of(error: &anyhow::Error) -> u8 {
    let is_setting = matches!(error.downcast_ref(), Some(LogError::Setting { .. }));
    let usage = error.is::<ConfigFaults>() || error.is::<UsageError>() || is_setting;
    if usage { USAGE } else { FAILED }
}

#[cfg(test)]
mod tests;

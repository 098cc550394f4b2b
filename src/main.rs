//! Parses, starts logging, runs, and tells the truth in its exit code.

use clap::Parser;
use jenius_pay::{cli, panics, startup, telemetry};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

/// A command is a few hundred short-lived allocations, made by one thread and often freed by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The log has it already. A panic outside of every task, as in reading the secrets again, ends the process as a task does.
    let run = AssertUnwindSafe(|| cli::exit_code(start(cli)));
    let code = catch_unwind(run).unwrap_or(ExitCode::FAILURE);
    telemetry::flush_log();
    code
}

fn start(cli: cli::Cli) -> anyhow::Result<ExitCode> {
    startup::environment()?;
    startup::raise_descriptors();
    startup::threads()?;
    telemetry::install(cli.is_service())?;
    panics::install_hook();
    startup::install_cryptography();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    #[cfg(feature = "otel")]
    telemetry::start_traces(runtime.handle().clone())?;
    let done = runtime.block_on(cli.run());
    #[cfg(feature = "otel")]
    telemetry::flush();
    done
}

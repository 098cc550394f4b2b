//! Parses, starts logging, runs, and tells the truth in its exit code.

use clap::Parser;
use jenius_pay::{cli, panics, startup, telemetry};
use std::process::ExitCode;

/// A command is a few hundred short-lived allocations, made by one thread and often freed by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let code = cli::exit_code(start(cli));
    telemetry::flush_log();
    code
}

fn start(cli: cli::Cli) -> anyhow::Result<ExitCode> {
    startup::environment()?;
    startup::raise_descriptors();
    startup::threads()?;
    telemetry::install()?;
    panics::install_hook();
    // Fails only where a provider is installed already, and nothing else installs one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    #[cfg(feature = "otel")]
    telemetry::start_traces(runtime.handle().clone())?;
    let done = runtime.block_on(cli.run());
    #[cfg(feature = "otel")]
    telemetry::flush();
    done
}

//! `doctor`: every check, for a person or for a program.

mod page;

use super::print;
use crate::{
    app::doctor::{Check, Status, examine},
    config::{Config, RequiredSections, Source},
    shown::may_colour,
};
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    /// Show each check that is well, too.
    #[arg(long, conflicts_with = "json")]
    all: bool,
    /// Ask another process by which keys it verifies; may be repeated. A name may stand for several processes.
    #[arg(long = "process", value_name = "HOST:PORT")]
    processes: Vec<String>,
}

#[derive(serde::Serialize)]
struct DoctorReport<'a> {
    checks: &'a [Check],
}

/// Exit code 1 if a check fails.
pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let config = Config::load(source, RequiredSections::EVERYTHING)?;
    let checks = Box::pin(examine(&config, &args.processes)).await?;
    let text = if args.json {
        print::json(&DoctorReport { checks: &checks })?
    } else {
        page::page(&checks, may_colour(io::stdout().is_terminal()), args.all)
    };
    print::line(&text)?;
    let failed = checks.iter().any(|check| check.status == Status::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

//! `config`: what is in force, and where each value comes from. Secrets are hidden.

use super::{print, print::clean};
use crate::config::{BY_DEFAULT, Config, InForce, RequiredSections, Source};
use std::process::ExitCode;

/// Of the longest key.
const KEY_WIDTH: usize = 33;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print only what differs from the defaults.
    #[arg(long)]
    changed: bool,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

/// Exit code 2 if a value is at fault.
pub fn run(args: &Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let mut all = Config::load(source, RequiredSections::NOTHING)?.snapshot.in_force();
    all.retain(|row| !args.changed || row.origin.as_deref().is_some_and(|origin| origin != BY_DEFAULT));
    if args.json {
        print::line(&print::json(&all)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    print::line(&all.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// A key and its value; below it who set it, unless that is the default.
fn line(row: &InForce) -> String {
    let value = row.value.as_deref().map_or("-".to_owned(), clean);
    let line = format!("{:<KEY_WIDTH$} {value}", clean(&row.key));
    match row.origin.as_deref() {
        Some(BY_DEFAULT) | None => line,
        Some(origin) => format!("{line}\n    from {}", clean(origin)),
    }
}

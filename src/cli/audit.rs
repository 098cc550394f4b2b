//! `audit`: what operators did, decisions about orders among it, the latest first.

use super::{print, timeline};
use crate::{
    config::{Database, Source},
    postgres,
};
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let pool = postgres::pool(postgres::connect_options(&Database::load(source)?)?, 1);
    let actions = postgres::actions(&pool, args.limit).await?;
    let shown = if args.json {
        print::json(&actions)?
    } else {
        timeline::actions(&actions, io::stdout().is_terminal())
    };
    print::line(&shown)?;
    Ok(ExitCode::SUCCESS)
}

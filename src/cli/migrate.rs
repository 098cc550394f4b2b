//! `migrate`: makes the database's schema what this version needs, and grants each role its rights.

use super::print;
use crate::{
    config::{Database, Source},
    postgres,
};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Give the groups of users (`jenius_worker`, …) the rights that each role needs, too.
    #[arg(long)]
    grant: bool,
}

pub async fn run(args: &Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let database = Database::load(source)?;
    let applied = apply(&database).await?;
    print::line(&in_words(applied))?;
    if args.grant {
        postgres::grant(&postgres::connect_options(&database)?).await?;
        print::line(&format!("rights granted to {}", postgres::GROUPS.join(", ")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(applied: usize) -> String {
    match applied {
        0 => "the schema was up to date".to_owned(),
        1 => "1 migration applied".to_owned(),
        n => format!("{n} migrations applied"),
    }
}

/// Applies what is missing; says how many migrations that was.
async fn apply(database: &Database) -> anyhow::Result<usize> {
    Ok(postgres::migrate(&postgres::connect_options(database)?).await?)
}

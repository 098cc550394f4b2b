//! `migrate`: makes the database's schema what this version needs.

use super::print;
use crate::{
    config::{Database, Source},
    postgres,
};
use std::process::ExitCode;

pub async fn run(source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let database = Database::load(source)?;
    let applied = apply(&database).await?;
    print::line(&said(applied))?;
    Ok(ExitCode::SUCCESS)
}

fn said(applied: usize) -> String {
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

//! `restored`: the database went back in time. Run before any process starts, so that none concludes from what was lost.

use super::{print, who};
use crate::{
    config::{Config, RequiredSections, Source},
    domain::action::{Action, ActionKind},
    postgres::{self, PostgresStore},
};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Why; it is kept, and `audit` shows it.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: String,
    #[command(flatten)]
    who: who::Who,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let done_by = Some(args.who.operator()?);
    let config = Config::load(source, RequiredSections::DATABASE)?;
    let pool = postgres::pool(postgres::connect_options(config.need_database()?)?, 1);
    let store = PostgresStore::new(pool, config.schedule());
    let action = Action {
        kind: ActionKind::Restored,
        subject: "the database".to_owned(),
        merchant: None,
        reason: Some(args.reason),
        done_by,
        detail: None,
    };
    let asked_about = store.went_back(action).await?;
    print::line(&format!(
        "{asked_about} orders will be asked about. Open commands count as possibly acted on; a refund of an order \
         from before now is sent only if DOKU says first that the order is still paid.\n\
         Start the processes, and have the upstream services publish again what they published in the lost time."
    ))?;
    Ok(ExitCode::SUCCESS)
}

//! `orders`: shows what became of them, asks DOKU about one, decides for one in review.

mod check;
mod list;
mod resolve;

use super::{pause, print, timeline};
use crate::{
    config::{Database, Source},
    domain::ids::{InvoiceNumber, MerchantName},
    flow::view::OrderView,
    postgres::{self, PgPool},
};
use anyhow::Context;
use clap::Subcommand;
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// The latest orders.
    List(list::Args),
    /// All that is known of one.
    Show(ShowArgs),
    /// Asks DOKU about one now.
    Check(check::Args),
    /// Decides for one in review.
    Resolve(resolve::Args),
}

/// One order.
#[derive(Debug, clap::Args)]
struct OrderArg {
    /// Its invoice number.
    #[arg(value_name = "INVOICE", value_parser = |number: &str| InvoiceNumber::parse(number))]
    invoice: InvoiceNumber,
    /// Whose order it is.
    #[arg(long, default_value = "default", value_parser = |name: &str| MerchantName::parse(name))]
    merchant: MerchantName,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    order: OrderArg,
    /// A JSON object.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    match args.command {
        CliCommand::List(args) => list::run(args, source).await,
        CliCommand::Show(args) => {
            let pool = reader(&Database::load(source)?)?;
            let order = args.order.fetch(&pool).await?;
            tell_pauses(&pool, args.json).await?;
            print::line(&shown(&order, args.json)?)?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Check(args) => check::run(args, source).await,
        CliCommand::Resolve(args) => resolve::run(args, source).await,
    }
}

/// Why nothing moves, for a person; a program gets the documented JSON.
async fn tell_pauses(pool: &PgPool, for_a_program: bool) -> anyhow::Result<()> {
    match pause::note(pool).await? {
        Some(note) if for_a_program => print::complain(&note),
        Some(note) => print::line(&note)?,
        None => {}
    }
    Ok(())
}

impl OrderArg {
    /// The order with its lists; an error where there is none.
    async fn fetch(&self, pool: &PgPool) -> anyhow::Result<OrderView> {
        let found = postgres::order_view(pool, self.merchant.as_str(), self.invoice.as_str()).await?;
        found.with_context(|| format!("merchant {} has no order {}", self.merchant, self.invoice))
    }
}

fn shown(order: &OrderView, json: bool) -> Result<String, serde_json::Error> {
    if json { print::json(order) } else { Ok(timeline::show(order, io::stdout().is_terminal())) }
}

fn reader(database: &Database) -> anyhow::Result<PgPool> {
    Ok(postgres::pool(postgres::connect_options(database)?, 1))
}

//! `orders`: shows what became of them, asks DOKU about one, decides for one in review, imports those that were paid before.

mod check;
mod import;
mod list;
mod resolve;

use super::{pause, print, table::Wide, timeline, times};
use crate::{
    config::{Database, Source},
    domain::ids::{InvoiceNumber, MerchantName},
    flow::view::OrderView,
    postgres::{self, PgPool},
};
use anyhow::Context;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Lists the latest orders.
    List(list::Args),
    /// Shows what is known about one order.
    Show(ShowArgs),
    /// Asks DOKU about one order now.
    Check(check::Args),
    /// Decides about an order in review.
    Resolve(resolve::Args),
    /// Takes in orders that were paid before this service ran, so that they can be refunded. It publishes nothing.
    Import(import::Args),
}

/// One order.
#[derive(Debug, clap::Args)]
struct OrderArg {
    /// The order's invoice number.
    #[arg(value_name = "INVOICE", value_parser = |number: &str| InvoiceNumber::parse(number))]
    invoice: InvoiceNumber,
    /// The order's merchant.
    #[arg(long, default_value = "default", value_parser = |name: &str| MerchantName::parse(name))]
    merchant: MerchantName,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    order: OrderArg,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    wide: Wide,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    match args.command {
        CliCommand::List(args) => list::run(args, source).await,
        CliCommand::Show(args) => {
            let pool = reader(&Database::load(source)?)?;
            let order = args.order.fetch(&pool).await?;
            report_stops(&pool, source, args.json).await?;
            let shown = if args.json {
                print::json(&order)?
            } else {
                timeline::show(&order, times::from_source(source)?, args.wide.room())
            };
            print::line(&shown)?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Check(args) => check::run(args, source).await,
        CliCommand::Resolve(args) => resolve::run(args, source).await,
        CliCommand::Import(args) => import::run(args, source).await,
    }
}

/// A banner while sends are stopped: on standard error for a program, which gets the documented JSON.
async fn report_stops(pool: &PgPool, source: &Source<'_>, for_a_program: bool) -> anyhow::Result<()> {
    match pause::banner(pool, times::from_source(source)?).await? {
        Some(banner) if for_a_program => print::complain(&banner),
        Some(banner) => print::line(&format!("{banner}\n"))?,
        None => {}
    }
    Ok(())
}

impl OrderArg {
    /// The order with its lists; an error if there is none.
    async fn fetch(&self, pool: &PgPool) -> anyhow::Result<OrderView> {
        let found = postgres::order_view(pool, self.merchant.as_str(), self.invoice.as_str()).await?;
        found.with_context(|| format!("merchant {} has no order {}", self.merchant, self.invoice))
    }
}

fn reader(database: &Database) -> anyhow::Result<PgPool> {
    Ok(postgres::pool(postgres::connect_options(database)?, 1))
}

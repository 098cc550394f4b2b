//! `orders`: shows what became of them. It reads the database alone.

use super::{print, timeline};
use crate::{
    config::{Database, Source},
    domain::{
        ids::{InvoiceNumber, MerchantName},
        order::OrderState,
    },
    flow::view::{OrderSummary, OrderView},
    postgres::{self, PgPool},
};
use clap::{Subcommand, builder::PossibleValuesParser};
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The latest orders.
    List(ListArgs),
    /// All that is known of one.
    Show(ShowArgs),
}

/// Which orders, and how many, the latest first.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only orders in this state.
    #[arg(long, value_parser = PossibleValuesParser::new(state_names()))]
    pub state: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[arg(value_name = "INVOICE", value_parser = |number: &str| InvoiceNumber::parse(number))]
    invoice: InvoiceNumber,
    /// Whose order it is.
    #[arg(long, default_value = "default", value_parser = |name: &str| MerchantName::parse(name))]
    merchant: MerchantName,
    /// A JSON object.
    #[arg(long)]
    json: bool,
}

fn state_names() -> Vec<&'static str> {
    let mut names = OrderState::ALL.map(OrderState::name).to_vec();
    names.dedup();
    names
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let database = Database::load(source)?;
    match args.command {
        Command::List(args) => {
            let orders = fetch_list(&database, &args).await?;
            print::line(&listed(&orders, args.json)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Show(args) => {
            let found = fetch_one(&database, &args.merchant, &args.invoice).await?;
            let Some(order) = found else {
                anyhow::bail!("merchant {} has no order {}", args.merchant, args.invoice);
            };
            print::line(&shown(&order, args.json)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn listed(orders: &[OrderSummary], json: bool) -> Result<String, serde_json::Error> {
    if json {
        serde_json::to_string_pretty(orders)
    } else {
        Ok(timeline::list(orders, io::stdout().is_terminal()))
    }
}

fn shown(order: &OrderView, json: bool) -> Result<String, serde_json::Error> {
    if json {
        serde_json::to_string_pretty(order)
    } else {
        Ok(timeline::show(order, io::stdout().is_terminal()))
    }
}

/// The latest orders, without their lists.
async fn fetch_list(database: &Database, wanted: &ListArgs) -> anyhow::Result<Vec<OrderSummary>> {
    Ok(postgres::list_orders(&reader(database)?, wanted.state.as_deref(), wanted.limit).await?)
}

/// One order with its lists; `None` where there is none.
async fn fetch_one(
    database: &Database,
    merchant: &MerchantName,
    invoice: &InvoiceNumber,
) -> anyhow::Result<Option<OrderView>> {
    Ok(postgres::order_view(&reader(database)?, merchant.as_str(), invoice.as_str()).await?)
}

fn reader(database: &Database) -> anyhow::Result<PgPool> {
    Ok(postgres::pool(postgres::connect_options(database)?, 1))
}

//! `orders`: shows what became of them, asks DOKU about one, decides for one in review.

mod check;
mod resolve;

use super::{pause, print, timeline};
use crate::{
    config::{Database, Source},
    domain::{
        ids::{InvoiceNumber, MerchantName},
        order::OrderState,
    },
    flow::view::{OrderSummary, OrderView},
    postgres::{self, PgPool},
};
use anyhow::Context;
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
    /// Asks DOKU about one now.
    Check(check::Args),
    /// Decides for one in review.
    Resolve(resolve::Args),
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

/// One order.
#[derive(Debug, clap::Args)]
struct Which {
    #[arg(value_name = "INVOICE", value_parser = |number: &str| InvoiceNumber::parse(number))]
    invoice: InvoiceNumber,
    /// Whose order it is.
    #[arg(long, default_value = "default", value_parser = |name: &str| MerchantName::parse(name))]
    merchant: MerchantName,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    order: Which,
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
    match args.command {
        Command::List(args) => {
            let pool = reader(&Database::load(source)?)?;
            let orders = fetch_list(&pool, &args).await?;
            tell_pauses(&pool, args.json).await?;
            print::line(&listed(&orders, args.json)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Show(args) => {
            let pool = reader(&Database::load(source)?)?;
            let order = args.order.fetch(&pool).await?;
            tell_pauses(&pool, args.json).await?;
            print::line(&shown(&order, args.json)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(args) => check::run(args, source).await,
        Command::Resolve(args) => resolve::run(args, source).await,
    }
}

/// Why nothing moves, for a person; a program's output is the contract's.
async fn tell_pauses(pool: &PgPool, for_a_program: bool) -> anyhow::Result<()> {
    match pause::note(pool).await? {
        Some(note) if for_a_program => print::complain(&note),
        Some(note) => print::line(&note)?,
        None => {}
    }
    Ok(())
}

impl Which {
    /// The order with its lists; an error where there is none.
    async fn fetch(&self, pool: &PgPool) -> anyhow::Result<OrderView> {
        let found = postgres::order_view(pool, self.merchant.as_str(), self.invoice.as_str()).await?;
        found.with_context(|| format!("merchant {} has no order {}", self.merchant, self.invoice))
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
async fn fetch_list(pool: &PgPool, wanted: &ListArgs) -> anyhow::Result<Vec<OrderSummary>> {
    Ok(postgres::list_orders(pool, wanted.state.as_deref(), wanted.limit).await?)
}

fn reader(database: &Database) -> anyhow::Result<PgPool> {
    Ok(postgres::pool(postgres::connect_options(database)?, 1))
}

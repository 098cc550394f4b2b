//! `orders list`: the latest orders, as a table, as CSV or as JSON.

use super::{reader, tell_pauses};
use crate::{
    cli::{csv, duration, print, timeline},
    config::{Database, Source},
    domain::{ids::MerchantName, order::OrderState},
    postgres::{self, OrderFilter},
};
use clap::builder::PossibleValuesParser;
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

/// Which orders, and how many, the latest first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only orders in this state.
    #[arg(long, value_parser = PossibleValuesParser::new(state_names()))]
    state: Option<String>,
    /// Only this merchant's.
    #[arg(long, value_parser = |name: &str| MerchantName::parse(name))]
    merchant: Option<MerchantName>,
    /// Only those claimed so long ago, or longer (`90s`, `15m`, `2h`, `7d`).
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Only those claimed since.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    younger_than: Option<Duration>,
    /// Only from this amount on, in rupiah.
    #[arg(long, value_name = "RUPIAH", value_parser = clap::value_parser!(i64).range(0..))]
    min_amount: Option<i64>,
    /// Only up to this amount, in rupiah.
    #[arg(long, value_name = "RUPIAH", value_parser = clap::value_parser!(i64).range(0..))]
    max_amount: Option<i64>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// CSV, for finance. What a spreadsheet would take for a formula has an apostrophe before it.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

fn state_names() -> Vec<&'static str> {
    let mut names = OrderState::ALL.map(OrderState::name).to_vec();
    names.dedup();
    names
}

impl Args {
    fn filter(&self) -> OrderFilter {
        OrderFilter {
            state: self.state.clone(),
            merchant: self.merchant.clone(),
            older_than: self.older_than,
            younger_than: self.younger_than,
            min_amount: self.min_amount,
            max_amount: self.max_amount,
            limit: self.limit,
        }
    }
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let pool = reader(&Database::load(source)?)?;
    let orders = postgres::list_orders(&pool, &args.filter()).await?;
    tell_pauses(&pool, args.json || args.csv).await?;
    let shown = if args.json {
        print::json(&orders)?
    } else if args.csv {
        csv::orders(&orders)
    } else {
        timeline::list(&orders, io::stdout().is_terminal())
    };
    print::line(&shown)?;
    if args.csv && orders.len() >= usize::try_from(args.limit)? {
        print::complain(&format!("there may be older ones: these are the latest {} (--limit)", args.limit));
    }
    Ok(ExitCode::SUCCESS)
}

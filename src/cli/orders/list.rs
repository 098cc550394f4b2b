//! `orders list`: the latest orders, as a table, as CSV or as JSON, a page at a time.

use super::{reader, report_stops};
use crate::{
    cli::{csv, duration, order_table, print, table::Wide, times},
    config::{Database, Source},
    domain::{ids::MerchantName, order::OrderState},
    flow::ports::{FOUND_MAX, OrderFilter, OrderPage},
    postgres,
};
use clap::builder::PossibleValuesParser;
use std::{process::ExitCode, time::Duration};

/// A search is no longer than the longest of what it looks for.
const SEARCH_CHARS_MAX: usize = 128;

/// Lists orders, the latest first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only orders in this state; may be repeated.
    #[arg(long = "state", value_name = "STATE", value_parser = PossibleValuesParser::new(state_names()))]
    states: Vec<String>,
    /// Only the orders that this names: the beginning of an invoice number, or a whole command id, Request-Id or event id.
    #[arg(long, value_name = "TEXT", value_parser = search)]
    search: Option<String>,
    /// Only this merchant's orders.
    #[arg(long, value_parser = |name: &str| MerchantName::parse(name))]
    merchant: Option<MerchantName>,
    /// Only orders that were claimed this long ago or longer (`90s`, `15m`, `2h`, `7d`).
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Only orders that were claimed within this time.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    younger_than: Option<Duration>,
    /// Only orders of this amount or more, in rupiah.
    #[arg(long, value_name = "RUPIAH", value_parser = clap::value_parser!(i64).range(0..))]
    min_amount: Option<i64>,
    /// Only orders of this amount or less, in rupiah.
    #[arg(long, value_name = "RUPIAH", value_parser = clap::value_parser!(i64).range(0..))]
    max_amount: Option<i64>,
    /// The number of orders on a page.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// The next page; a list that is cut prints its PAGE.
    #[arg(long, value_name = "PAGE", value_parser = clap::value_parser!(i64).range(1..))]
    page: Option<i64>,
    /// Print CSV, for finance. What a spreadsheet would take for a formula has an apostrophe before it.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    wide: Wide,
}

fn search(text: &str) -> Result<String, String> {
    let is_one = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let text = text.trim();
    if (1..=SEARCH_CHARS_MAX).contains(&text.len()) && is_one(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("allowed: 1–{SEARCH_CHARS_MAX} visible ASCII characters without a space"))
    }
}

fn state_names() -> Vec<&'static str> {
    let mut names = OrderState::ALL.map(OrderState::name).to_vec();
    names.dedup();
    names
}

impl Args {
    fn filter(&self) -> OrderFilter {
        OrderFilter {
            states: self.states.clone(),
            search: self.search.clone(),
            merchant: self.merchant.clone(),
            older_than: self.older_than,
            younger_than: self.younger_than,
            min_amount: self.min_amount,
            max_amount: self.max_amount,
            before: self.page,
            // One more says whether there are more.
            limit: self.limit.saturating_add(1),
            ..OrderFilter::default()
        }
    }
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let pool = reader(&Database::load(source)?)?;
    let OrderPage { mut orders, is_search_cut, .. } = postgres::list_orders(&pool, &args.filter()).await?;
    let is_cut = orders.len() > usize::try_from(args.limit)?;
    orders.truncate(usize::try_from(args.limit)?);
    let for_a_program = args.json || args.csv;
    report_stops(&pool, source, for_a_program).await?;
    let shown = if args.json {
        print::json(&orders)?
    } else if args.csv {
        csv::orders(&orders)
    } else {
        order_table::list(&orders, times::from_source(source)?, args.wide.room())
    };
    print::line(&shown)?;
    if is_search_cut {
        print::complain(&format!(
            "more than {FOUND_MAX} orders begin so, and those with the last numbers alone were looked at: type more of it"
        ));
    }
    if let Some(last) = orders.last().filter(|_| is_cut) {
        let cut = format!(
            "there are more: these are the latest {}; the next page: --page {}",
            args.limit, last.key
        );
        if for_a_program { print::complain(&cut) } else { print::line(&format!("\n{cut}"))? }
    }
    Ok(ExitCode::SUCCESS)
}

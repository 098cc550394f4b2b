//! `audit`: what operators did, decisions about orders among it, the latest first.

use super::{
    csv, duration, print,
    print::clean,
    table::{ColumnFit, Room, TextTable, Wide},
    timeline::{action_word, why},
    times::{self, Times},
};
use crate::{
    config::{Database, Source},
    domain::{
        Time,
        ids::{InvoiceNumber, MerchantName},
    },
    flow::{
        ports::ActionFilter,
        view::{ActionPage, ActionView},
    },
    postgres,
};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what was done to this order.
    #[arg(long, value_parser = |number: &str| InvoiceNumber::parse(number))]
    invoice: Option<InvoiceNumber>,
    /// Only what was done to this merchant or its orders.
    #[arg(long, value_parser = |name: &str| MerchantName::parse(name))]
    merchant: Option<MerchantName>,
    /// Only what was done since: a time in RFC 3339 (`2026-11-25T08:00:00Z`), or how long ago (`2h`, `7d`).
    #[arg(long, value_name = "TIME", value_parser = duration::since)]
    since: Option<Time>,
    /// Only what this person did.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// At most this many actions.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    wide: Wide,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let pool = postgres::pool(postgres::connect_options(&Database::load(source)?)?, 1);
    let filter = ActionFilter {
        subject: args.invoice.map(|invoice| invoice.to_string()),
        merchant: args.merchant.map(|merchant| merchant.to_string()),
        since: args.since,
        by: args.by,
        before: None,
        limit: args.limit,
    };
    let ActionPage { actions, next } = postgres::actions(&pool, &filter).await?;
    let shown = if args.json {
        print::json(&actions)?
    } else if args.csv {
        csv::actions(&actions)
    } else {
        table(&actions, times::from_source(source)?, args.wide.room())
    };
    print::line(&shown)?;
    if next.is_some() {
        print::complain(&format!("there are more: these are the latest {} (--limit, --since)", args.limit));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(actions: &[ActionView], times: Times, room: Room) -> String {
    if actions.is_empty() {
        return "no actions are recorded".to_owned();
    }
    let at = format!("time ({})", times.zone());
    let mut table = TextTable::new([
        (at.as_str(), ColumnFit::Whole),
        ("what", ColumnFit::Whole),
        ("merchant", ColumnFit::Spare(1)),
        ("to", ColumnFit::Whole),
        ("who and why", ColumnFit::Flows),
    ]);
    for action in actions {
        let merchant = action.merchant.as_deref().map(clean).unwrap_or_default();
        table.row([
            times.short_time(action.at),
            action_word(action),
            merchant,
            clean(&action.subject),
            why(action),
        ]);
    }
    table.print(room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::times, flow::view::sample};

    #[test]
    fn what_operators_did_is_told_as_far_as_they_said() {
        let said = ActionView {
            at: sample::at(0),
            action: "replay_events".to_owned(),
            subject: "INV-1".to_owned(),
            merchant: Some("default".to_owned()),
            reason: Some("its queue was lost".to_owned()),
            done_by: Some("ratna".to_owned()),
            detail: Some("2 events".to_owned()),
            done_from: None,
        };
        let short = ActionView { merchant: None, reason: None, done_by: None, ..said.clone() };
        let text = table(&[said, short], times::sample::times(), Room::Any);
        let told: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let head = "2026-01-01 07:00:00 replay events";
        assert_eq!(told[0], "time (WIB) what merchant to who and why");
        assert_eq!(told[1], format!("{head} default INV-1 by ratna: its queue was lost (2 events)"));
        assert_eq!(told[2], format!("{head} INV-1 (2 events)"));
        assert_eq!(table(&[], times::sample::times(), Room::Any), "no actions are recorded");
    }
}

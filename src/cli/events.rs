//! `events replay`: publishes events again, with the same ids, for a subscriber that lost its queue.

use super::{print, times, who};
use crate::{
    app::replay::EventReplay,
    config::{Config, RequiredSections, Source},
    domain::{
        Time,
        action::{Action, ActionKind},
        event::EventType,
        ids::{InvoiceNumber, MerchantName},
    },
    postgres::{self, PgPool, PostgresStore, Replayed},
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
    /// Publishes events again, with the same ids: those of one order, or of a time.
    Replay(Replay),
}

#[derive(Debug, clap::Args)]
struct Replay {
    /// The events of this order.
    #[arg(long, value_parser = |number: &str| InvoiceNumber::parse(number), required_unless_present = "since", conflicts_with = "since")]
    invoice: Option<InvoiceNumber>,
    /// The order's merchant; without it: `default`.
    #[arg(long, value_parser = |name: &str| MerchantName::parse(name), requires = "invoice", conflicts_with = "since")]
    merchant: Option<MerchantName>,
    /// The events from this time on, in RFC 3339 (`2026-11-25T08:00:00Z`).
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Time>,
    /// Only the events before this time; without it: before now.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "since", conflicts_with = "invoice")]
    until: Option<Time>,
    /// Only the events of this type: `order.paid`, or `jenius.order.paid.v1`.
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type)]
    event_type: Option<EventType>,
    /// Why; it is kept, and `audit` shows it.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: Option<String>,
    /// Say how many there are, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    who: who::Who,
}

fn time(text: &str) -> Result<Time, String> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text);
    parsed.map(Time::from).map_err(|_| "allowed: RFC 3339, as 2026-11-25T08:00:00Z".to_owned())
}

fn event_type(text: &str) -> Result<EventType, String> {
    let key = text.strip_prefix("jenius.").and_then(|text| text.strip_suffix(".v1")).unwrap_or(text);
    EventType::from_routing_key(key).ok_or_else(|| {
        let known = EventType::ALL.map(EventType::routing_key).join(", ");
        format!("allowed: {known}")
    })
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let CliCommand::Replay(wanted) = args.command;
    let config = Config::load(source, RequiredSections::DATABASE)?;
    let pool = postgres::pool(postgres::connect_options(config.need_database()?)?, 1);
    let store = PostgresStore::new(pool.clone(), config.schedule());
    wanted.run(&pool, &store).await
}

impl Replay {
    async fn run(&self, pool: &PgPool, store: &PostgresStore) -> anyhow::Result<ExitCode> {
        let done_by = if self.dry_run { None } else { Some(self.who.operator()?) };
        let (of, subject) = self.which(store).await?;
        let replay = EventReplay { of, event_type: self.event_type };
        // 1 Say how many before anything is done.
        let (count, _) = replay.count(store, i64::MAX).await?;
        let types = self.event_type.map(|t| format!(" of type {}", t.routing_key())).unwrap_or_default();
        let what = format!("{count} published events{types}");
        print::line(&format!("{what} of {subject}"))?;
        if self.dry_run || count == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        // 2 Keep who does it, and why.
        let merchant = self.invoice.as_ref().map(|_| self.merchant().to_string());
        let reason = self.reason.clone();
        let action =
            Action { kind: ActionKind::ReplayEvents, subject, merchant, reason, done_by, detail: Some(what) };
        postgres::record_action(pool, &action).await?;
        // 3 Put them back, a slice at a time.
        let done = replay.put_back(store, |_| {}).await?;
        print::line(&format!("{done} events are in the outbox again: the relay publishes them"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn merchant(&self) -> MerchantName {
        self.merchant.clone().unwrap_or_else(MerchantName::default_account)
    }

    /// What is asked for, and its name.
    async fn which(&self, store: &PostgresStore) -> anyhow::Result<(Replayed, String)> {
        if let Some(invoice) = &self.invoice {
            let merchant = self.merchant();
            let found = store.order_to_replay(&merchant, invoice).await?;
            let found = found.with_context(|| format!("merchant {merchant} has no order {invoice}"))?;
            return Ok((found, invoice.to_string()));
        }
        let since = self.since.context("--since is missing")?;
        let until = match self.until {
            Some(until) => until,
            None => store.now().await?,
        };
        let name = format!("{} to {}", times::rfc3339(since), times::rfc3339(until));
        Ok((Replayed::Time { since, until }, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_types_are_read_as_operators_write_them() {
        assert_eq!(time("2026-01-01T07:00:00+07:00").unwrap(), time("2026-01-01T00:00:00Z").unwrap());
        assert!(time("yesterday").unwrap_err().contains("RFC 3339"));
        for text in ["order.paid", "jenius.order.paid.v1"] {
            assert_eq!(event_type(text).unwrap(), EventType::OrderPaid);
        }
        assert!(event_type("order.payed").unwrap_err().contains("order.paid, order.failed"));
    }
}

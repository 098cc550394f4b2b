//! `orders resolve`: a person decides for an order in review, and says why.

use super::{Which, reader, tell_pauses};
use crate::{
    cli::{UsageError, print, who},
    config::{Needs, Parts, Source},
    domain::{event::EventType, order::Verdict},
    flow::ports::{Decision, OperatorStore, Resolved},
    postgres::PostgresStore,
};
use clap::ValueEnum;
use std::{process::ExitCode, sync::Arc};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    order: Which,
    /// What became of it.
    #[arg(long)]
    state: State,
    /// Why, for whoever asks later.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: String,
    /// You have looked up at DOKU that an unresolved refund was not made: as `paid` the order takes another.
    #[arg(long)]
    i_checked_doku: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Paid,
    Failed,
    Refunded,
}

impl State {
    fn verdict(self) -> Verdict {
        match self {
            Self::Paid => Verdict::Paid,
            Self::Failed => Verdict::Failed,
            Self::Refunded => Verdict::Refunded,
        }
    }
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let parts = Parts::load(source, Needs::DATABASE)?;
    let pool = reader(&parts.need_database()?)?;
    let store = PostgresStore::new(pool.clone(), parts.plan(), Arc::new(fastrand::f64));
    let Which { merchant, invoice } = args.order;
    let verdict = args.state.verdict();
    let decision = Decision {
        merchant: merchant.clone(),
        invoice_number: invoice.clone(),
        verdict,
        reason: args.reason,
        decided_by: who::who(),
        checked_doku: args.i_checked_doku,
    };
    tell_pauses(&pool, false).await?;
    match store.resolve(decision).await? {
        Resolved::Done(told) => {
            let told: Vec<_> = told.into_iter().map(EventType::routing_key).collect();
            print::line(&format!("{invoice} is {} now: {}", verdict.state().name(), told.join(", ")))?;
            Ok(ExitCode::SUCCESS)
        }
        Resolved::UnknownOrder => anyhow::bail!("merchant {merchant} has no order {invoice}"),
        Resolved::NotInReview(state) => {
            anyhow::bail!("{invoice} is {}: only an order in review can be resolved", state.name())
        }
        Resolved::RefundUnresolved => Err(UsageError(format!(
            "nobody knows whether DOKU made the refund of {invoice}. As paid, the order takes another refund, \
             and the customer could be refunded twice: look it up at DOKU, then say --i-checked-doku"
        ))
        .into()),
    }
}

//! `orders resolve`: a person decides for an order in review, and says why.

use super::{reader, tell_pauses};
use crate::{
    cli::{UsageError, print, who},
    config::{PartialConfig, RequiredSections, Source},
    domain::{
        event::EventType,
        ids::{InvoiceNumber, MerchantName},
        order::Verdict,
    },
    flow::ports::{Decision, OperatorStore, Resolved},
    postgres::PostgresStore,
};
use anyhow::Context;
use clap::ValueEnum;
use std::{path::PathBuf, process::ExitCode, sync::Arc};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its invoice number.
    #[arg(value_name = "INVOICE", value_parser = |number: &str| InvoiceNumber::parse(number), required_unless_present = "from")]
    invoice: Option<InvoiceNumber>,
    /// Whose order it is, where the file does not say so.
    #[arg(long, default_value = "default", value_parser = |name: &str| MerchantName::parse(name))]
    merchant: MerchantName,
    /// What became of it.
    #[arg(long, required_unless_present = "from")]
    state: Option<VerdictArg>,
    /// Many orders: a file (`-`: standard input) with a line for each, its invoice number, what became of it and,
    /// where it is another's, its merchant, with spaces between them. A line that cannot be read: nothing is decided.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["invoice", "state"])]
    from: Option<PathBuf>,
    /// Why, for whoever asks later.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: String,
    /// You have looked up at DOKU that an unresolved refund was not made: as `paid` the order takes another.
    #[arg(long)]
    i_checked_doku: bool,
    #[command(flatten)]
    who: who::Who,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum VerdictArg {
    Paid,
    Failed,
    Refunded,
}

impl VerdictArg {
    fn verdict(self) -> Verdict {
        match self {
            Self::Paid => Verdict::Paid,
            Self::Failed => Verdict::Failed,
            Self::Refunded => Verdict::Refunded,
        }
    }
}

/// One order and what became of it.
#[derive(Debug, PartialEq)]
struct Decided {
    merchant: MerchantName,
    invoice: InvoiceNumber,
    verdict: Verdict,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let decided_by = args.who.operator()?;
    let parts = PartialConfig::load(source, RequiredSections::DATABASE)?;
    let all = args.decided()?;
    let pool = reader(&parts.need_database()?)?;
    let store = PostgresStore::new(pool.clone(), parts.schedule(), Arc::new(fastrand::f64));
    tell_pauses(&pool, false).await?;
    let is_one = args.from.is_none();
    let mut undecided = 0_usize;
    for decided in all {
        match args.decide(&store, decided, &decided_by).await {
            Ok(said) => print::line(&said)?,
            Err(refused) if is_one => return Err(refused),
            Err(refused) => {
                undecided += 1;
                print::complain(&format!("{refused:#}"));
            }
        }
    }
    if undecided > 0 {
        anyhow::bail!("orders that were not decided: {undecided}");
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn decided(&self) -> anyhow::Result<Vec<Decided>> {
        let Some(file) = &self.from else {
            let one = self.invoice.clone().zip(self.state).map(|(invoice, state)| Decided {
                merchant: self.merchant.clone(),
                invoice,
                verdict: state.verdict(),
            });
            return Ok(one.into_iter().collect());
        };
        let text = if file.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(file)
        };
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        Ok(read(&text, &self.merchant)?)
    }

    async fn decide(
        &self,
        store: &PostgresStore,
        decided: Decided,
        decided_by: &str,
    ) -> anyhow::Result<String> {
        let Decided { merchant, invoice, verdict } = decided;
        let decision = Decision {
            merchant: merchant.clone(),
            invoice_number: invoice.clone(),
            verdict,
            reason: self.reason.clone(),
            decided_by: Some(decided_by.to_owned()),
            checked_doku: self.i_checked_doku,
        };
        match store.resolve(decision).await? {
            Resolved::Done(told) => {
                let told: Vec<_> = told.into_iter().map(EventType::routing_key).collect();
                Ok(format!("{invoice} is {} now: {}", verdict.state().name(), told.join(", ")))
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
}

/// Every line, or what is wrong with each that cannot be read.
fn read(text: &str, merchant: &MerchantName) -> Result<Vec<Decided>, UsageError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (read, wrong): (Vec<_>, Vec<_>) = lines
        .map(|(at, line)| read_line(line, merchant).map_err(|why| format!("line {}: {why}", at + 1)))
        .partition(Result::is_ok);
    let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
    if wrong.is_empty() {
        Ok(read.into_iter().flatten().collect())
    } else {
        Err(UsageError(wrong.join("\n")))
    }
}

fn read_line(line: &str, merchant: &MerchantName) -> Result<Decided, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (invoice, state, merchant) = match words.as_slice() {
        [invoice, state] => (invoice, state, Ok(merchant.clone())),
        [invoice, state, other] => (invoice, state, MerchantName::parse(*other)),
        _ => return Err("allowed: INVOICE STATE [MERCHANT]".to_owned()),
    };
    let invoice = InvoiceNumber::parse(*invoice).map_err(|error| format!("invoice number: {error}"))?;
    let merchant = merchant.map_err(|error| format!("merchant: {error}"))?;
    let state = VerdictArg::from_str(state, false)
        .map_err(|_| "state: allowed are paid, failed, refunded".to_owned())?;
    Ok(Decided { merchant, invoice, verdict: state.verdict() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_an_order_a_line_and_all_that_is_wrong_is_said_at_once() {
        let ours = MerchantName::default_account();
        let decided = read("INV-1 paid\n\n  INV,2   refunded shop \n", &ours).unwrap();
        let told: Vec<_> =
            decided.iter().map(|d| (d.merchant.as_str(), d.invoice.as_str(), d.verdict)).collect();
        assert_eq!(told, [("default", "INV-1", Verdict::Paid), ("shop", "INV,2", Verdict::Refunded)]);
        let wrong = read("INV-1\nINV-2 review\nINV-3 paid SHOP\nINV-4 paid shop x\nINV-5 failed", &ours);
        let wrong = wrong.unwrap_err().0;
        let lines: Vec<_> = wrong.lines().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["line 1", "line 2", "line 3", "line 4"], "{wrong}");
    }
}

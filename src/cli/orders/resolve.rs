//! `orders resolve`: a person decides about an order in review. It says first what it will do and which events follow,
//! and asks.

use super::{reader, report_stops};
use crate::{
    cli::{
        UsageError, confirm, print,
        timeline::{self, rupiah},
        times::{self, Times, rfc3339},
        who,
    },
    config::{Config, RequiredSections, Source},
    domain::{
        event::EventType,
        ids::{InvoiceNumber, MerchantName},
        order::Verdict,
    },
    flow::{
        ports::{Decision, OperatorStore, Resolved, SecondPersonRule},
        view::OrderView,
    },
    postgres::{self, PgPool, PostgresStore},
};
use anyhow::Context;
use clap::ValueEnum;
use std::{path::PathBuf, process::ExitCode};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The order's invoice number.
    #[arg(value_name = "INVOICE", value_parser = |number: &str| InvoiceNumber::parse(number), required_unless_present = "from")]
    invoice: Option<InvoiceNumber>,
    /// The order's merchant; with --from, the merchant of the lines that name none.
    #[arg(long, default_value = "default", value_parser = |name: &str| MerchantName::parse(name))]
    merchant: MerchantName,
    /// The state that the order gets.
    #[arg(long, required_unless_present = "from")]
    state: Option<VerdictArg>,
    /// Decide about many orders: a file (`-`: standard input) with a line for each: its invoice number, its state and, if
    /// it is not --merchant's, its merchant, separated by spaces. If one line cannot be read, nothing is decided.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["invoice", "state"])]
    from: Option<PathBuf>,
    /// Why; it is kept with the decision.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: String,
    /// You have looked at DOKU and an unresolved refund was not made: as `paid` the order takes another refund.
    #[arg(long)]
    i_checked_doku: bool,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    /// Say what it would do, and do nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
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
    /// The order's revision when its forecast was shown.
    seen: Option<i64>,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let decided_by = if args.dry_run { None } else { Some(args.who.operator()?) };
    let config = Config::load(source, RequiredSections::DATABASE)?;
    let all = args.decided()?;
    let pool = reader(config.need_database()?)?;
    let store = PostgresStore::new(pool.clone(), config.schedule());
    report_stops(&pool, source, false).await?;
    let second =
        SecondPersonRule { above: config.console.second_person_above, ..SecondPersonRule::default() };
    let (possible, mut undecided) =
        args.foretell(&store, &pool, all, &second, times::from_source(source)?).await?;
    let count = possible.len();
    let question =
        if count == 1 { "decide this?".to_owned() } else { format!("decide this about {count} orders?") };
    if count > 0 && (args.dry_run || !confirm::is_confirmed(&question, args.yes).await?) {
        print::line("nothing was done")?;
        return Ok(if undecided == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for decided in possible {
        let named = format!("{} of {}", decided.invoice, decided.merchant);
        let decision = args.decision(&decided, decided_by.as_deref(), &second);
        match outcome(&decided, store.resolve(decision).await?) {
            Ok(events) => {
                print::line(&format!(
                    "{named} is {} now: {}",
                    decided.verdict.state().name(),
                    events.join(", ")
                ))?;
            }
            // It was possible a moment ago: another person or DOKU was first.
            Err(refused) => {
                undecided += 1;
                print::complain(&format!("{refused:#}"));
            }
        }
    }
    anyhow::ensure!(undecided == 0, "orders that were not decided: {undecided}");
    Ok(ExitCode::SUCCESS)
}

/// The events that follow, by their routing keys.
fn outcome(decided: &Decided, resolved: Resolved) -> anyhow::Result<Vec<&'static str>> {
    let Decided { merchant, invoice, .. } = decided;
    match resolved {
        Resolved::Done(events) => Ok(events.into_iter().map(EventType::routing_key).collect()),
        Resolved::Proposed(until) => anyhow::bail!(
            "{invoice} is not decided: your decision is kept as a proposal until {}. Your name is not verified: two people \
             must decide the same in the console",
            rfc3339(until)
        ),
        Resolved::UnknownOrder => anyhow::bail!("merchant {merchant} has no order {invoice}"),
        Resolved::NotInReview(state) => {
            anyhow::bail!("{invoice} is {}: only an order in review can be resolved", state.name())
        }
        Resolved::Moved => anyhow::bail!(
            "something was written to {invoice} since you looked: nothing was decided, look again"
        ),
        Resolved::NotOfCause(cause) => {
            let allowed: Vec<_> = cause.verdicts().iter().map(|verdict| verdict.state().name()).collect();
            anyhow::bail!(
                "{invoice} is in review for {}, and cannot become {}; allowed: {}",
                cause.name(),
                decided.verdict.state().name(),
                allowed.join(", ")
            )
        }
        Resolved::RefundUnresolved => Err(UsageError(format!(
            "it is not known whether DOKU made the refund of {invoice}. As paid, the order takes another refund, and the \
             customer could be refunded twice: look at DOKU first, then pass --i-checked-doku"
        ))
        .into()),
    }
}

/// What a decision would do, for the person who makes it.
fn forecast(view: &OrderView, decided: &Decided, events: &[&str], times: Times) -> String {
    let order = &view.order;
    let mut lines = vec![
        format!("order    {} of {}, {}", decided.invoice, decided.merchant, rupiah(&order.amount)),
        format!("state    {} since {}", timeline::state(order), times.full(order.state_since)),
    ];
    if let Some(refund) = &order.refund {
        lines.push(format!("refund   {}: {}", print::clean(&refund.state), print::clean(&refund.reason)));
    }
    lines.push(format!("becomes  {}", decided.verdict.state().name()));
    lines.push(format!("events   {}, evidence operator", events.join(", ")));
    if decided.verdict == Verdict::Paid {
        lines.push("         it can be refunded then".to_owned());
    }
    lines.join("\n")
}

impl Args {
    fn decided(&self) -> anyhow::Result<Vec<Decided>> {
        let Some(file) = &self.from else {
            let one = self.invoice.clone().zip(self.state).map(|(invoice, state)| Decided {
                merchant: self.merchant.clone(),
                invoice,
                verdict: state.verdict(),
                seen: None,
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

    fn decision(&self, decided: &Decided, decided_by: Option<&str>, second: &SecondPersonRule) -> Decision {
        Decision {
            merchant: decided.merchant.clone(),
            invoice_number: decided.invoice.clone(),
            verdict: decided.verdict,
            reason: self.reason.clone(),
            decided_by: decided_by.map(str::to_owned),
            checked_doku: self.i_checked_doku,
            seen: decided.seen,
            second: second.clone(),
        }
    }

    /// Says of each what will become of it. Gives those that can be decided, and the number of the others.
    async fn foretell(
        &self,
        store: &PostgresStore,
        pool: &PgPool,
        all: Vec<Decided>,
        second: &SecondPersonRule,
        times: Times,
    ) -> anyhow::Result<(Vec<Decided>, usize)> {
        let is_one = self.from.is_none();
        let (mut possible, mut refused) = (Vec::new(), 0_usize);
        for mut decided in all {
            // Read first: what is written to the order after it is seen by the decision.
            let view =
                postgres::order_view(pool, decided.merchant.as_str(), decided.invoice.as_str()).await?;
            decided.seen = view.as_ref().map(|view| view.order.revision);
            let foreseen = store.foresee(self.decision(&decided, None, second)).await?;
            if matches!(foreseen, Resolved::Proposed(_)) {
                print::line(&format!(
                    "{} of {}: console.second_person_above asks for two people; your decision becomes a proposal\n",
                    decided.invoice, decided.merchant
                ))?;
                possible.push(decided);
                continue;
            }
            match outcome(&decided, foreseen) {
                Ok(events) => {
                    let view = view.with_context(|| format!("the order {} is gone", decided.invoice))?;
                    print::line(&format!("{}\n", forecast(&view, &decided, &events, times)))?;
                    possible.push(decided);
                }
                Err(why) if is_one => return Err(why),
                Err(why) => {
                    refused += 1;
                    print::complain(&format!("{why:#}"));
                }
            }
        }
        Ok((possible, refused))
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
    Ok(Decided { merchant, invoice, verdict: state.verdict(), seen: None })
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

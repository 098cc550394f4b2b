//! `orders check`: asks DOKU about one order now, and says what that changed.

use super::{OrderArg, reader, report_stops};
use crate::{
    cli::{print, timeline, times, who},
    config::{Config, RequiredSections, Source},
    doku::{account::Accounts, client::Client, clock::SystemClock},
    domain::{
        action::{Action, ActionKind},
        finding::{InquiryFinding, InquiryFindingKind},
    },
    flow::check_order::{check_order, words},
    postgres::{self, PostgresStore},
};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    order: OrderArg,
    /// Why; it is kept, and `audit` shows it.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: Option<String>,
    #[command(flatten)]
    who: who::Who,
}

/// Exit code 1 where nothing was learned.
pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let done_by = args.who.operator()?;
    let config = Config::load(source, RequiredSections::DOKU)?;
    let pool = reader(config.need_database()?)?;
    let before = args.order.fetch(&pool).await?;
    report_stops(&pool, source, false).await?;
    let store = PostgresStore::new(pool.clone(), config.schedule());
    let gateway = Client::new(&config.doku, Accounts::new(&config.merchants), SystemClock)?;
    let OrderArg { merchant, invoice } = &args.order;
    let asked = Action {
        kind: ActionKind::CheckOrder,
        subject: invoice.to_string(),
        merchant: Some(merchant.to_string()),
        reason: args.reason.clone(),
        done_by: Some(done_by),
        detail: None,
    };
    postgres::record_action(&pool, &asked).await?;
    let finding = check_order(&store, &gateway, merchant, invoice, config.doku.timeout).await?;
    let after = args.order.fetch(&pool).await?;
    print::line(&format!(
        "DOKU   {}\n{}",
        in_words(&finding),
        timeline::describe_change(&before, &after, times::from_source(source)?)
    ))?;
    let answered = match finding.kind {
        InquiryFindingKind::Reported(_) | InquiryFindingKind::NotFound { .. } => true,
        InquiryFindingKind::Failed { .. } => false,
    };
    Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// DOKU's answer, in a line.
fn in_words(finding: &InquiryFinding) -> String {
    print::clean(&words(finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        finding::{Report, ReportedStatus},
        money::{ReportedAmount, Rupiah},
    };

    #[test]
    fn an_answer_of_doku_is_one_line() {
        let report = |word: &str, amount| {
            let word = word.to_owned();
            InquiryFindingKind::Reported(Report {
                status: ReportedStatus::read(&word),
                word,
                amount,
                request: None,
            })
        };
        let about = InquiryFindingKind::Reported(Report {
            status: ReportedStatus::Success,
            word: "SUCCESS".to_owned(),
            amount: ReportedAmount::Other,
            request: Some("VA-1".to_owned()),
        });
        let failed = InquiryFindingKind::Failed { why: "HTTP 500".to_owned() };
        for (finding, expected) in [
            (report("SUCCESS", ReportedAmount::Whole(Rupiah::new(5).unwrap())), "SUCCESS, amount 5"),
            (report("\u{1b}", ReportedAmount::Other), "\u{fffd}, an amount that no order has"),
            (about, "SUCCESS, an amount that no order has, about request VA-1"),
            (InquiryFindingKind::NotFound { proves: true }, "does not know the order"),
            (InquiryFindingKind::NotFound { proves: false }, "does not know the order, which proves nothing"),
            (failed, "gave no answer: HTTP 500"),
        ] {
            let finding = InquiryFinding { kind: finding, http_status: Some(200), retry_after: None };
            assert_eq!(in_words(&finding), format!("{expected} (HTTP 200)"));
        }
    }
}

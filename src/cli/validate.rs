//! `validate`: a whole command, or its `data` alone, judged as the service would judge it, before it is published. It
//! connects to nothing; what only the database knows (a used invoice number, the order of a refund) it cannot say.

use super::{
    UsageError, print,
    send::{self, CommandArg},
};
use crate::{
    config::{Config, Environment, RequiredSections, Source},
    doku::clock::SystemClock,
    domain::{
        Time,
        command::{CommandKind, sends_end_at},
        document::Document,
        ids::MerchantName,
        validate::{self, Code, Rules, Violation, shown_value},
    },
    flow::ports::Clock,
    rabbit::wire::{self, Draft},
};
use std::{path::PathBuf, process::ExitCode, time::Duration};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kind of command.
    kind: CommandArg,
    /// A file with the whole command or its `data` object alone, in JSON; `-`: standard input.
    file: PathBuf,
}

/// Members that a command has and no `data`.
const OF_A_COMMAND: [&str; 5] = ["specversion", "id", "source", "type", "data"];
/// Without them the service has no address for a rejection.
const IDENTITY: [&str; 3] = ["type", "id", "source"];

/// Exit code 1 where anything is wrong.
pub fn run(args: &Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let config = Config::load(source, RequiredSections::NOTHING)?;
    let body = send::read(&args.file).map_err(|e| UsageError(format!("{}: {e}", args.file.display())))?;
    let faults = match faults(args.kind.command(), &body, &config) {
        Ok(faults) => faults,
        Err(malformed) => {
            print::line(&format!(
                "{malformed}. The message would be dead-lettered, and no event would tell you"
            ))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    for Violation { code, field, message } in &faults {
        print::line(&format!("{field}: {message} ({})", code.name()))?;
    }
    if faults.iter().any(|fault| IDENTITY.contains(&fault.field.as_str())) {
        print::line(
            "without a usable type, id and source the message would be dead-lettered, and no event would tell you",
        )?;
    }
    if faults.is_empty() {
        print::line("valid")?;
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn faults(kind: CommandKind, body: &[u8], config: &Config) -> Result<Vec<Violation>, wire::Malformed> {
    let document = wire::read_data(body)?;
    let (mut faults, data) = if OF_A_COMMAND.iter().any(|name| document.get(name).is_some()) {
        let draft = wire::read_draft(kind, body)?;
        (of_attributes(kind, &draft, config), draft.data)
    } else {
        (Vec::new(), document)
    };
    faults.extend(of_data(kind, &data, config));
    Ok(faults)
}

fn of_attributes(kind: CommandKind, draft: &Draft, config: &Config) -> Vec<Violation> {
    let mut faults = draft.violations.clone();
    let name = MerchantName::parse(draft.merchant.as_str()).ok();
    let is_known = |name: &MerchantName| config.merchants.is_empty() || config.merchants.contains_key(name);
    if !name.as_ref().is_some_and(is_known) && !faults.iter().any(Violation::leaves_no_merchant) {
        faults.push(Violation::of_merchant(Code::MerchantUnknown, shown_value(&draft.merchant).as_deref()));
    }
    faults.extend(expired(kind, draft, config.payment_budget, SystemClock.now()));
    faults
}

/// A refund is owed, however old.
fn expired(kind: CommandKind, draft: &Draft, budget: Duration, now: Time) -> Option<Violation> {
    let dated = draft.dated_at.filter(|_| kind == CommandKind::Payment).map(|time| (time, budget));
    sends_end_at(draft.expires_at, dated, now).filter(|at| *at <= now)?;
    let by_itself = draft.expires_at.is_some_and(|at| at <= now);
    let found = match dated.filter(|_| !by_itself) {
        Some((time, budget)) => format!(
            "has passed: its time is {}, and its budget {} s (retry.payment_max_elapsed_ms)",
            time.to_rfc3339(),
            budget.as_secs()
        ),
        None => "has passed".to_owned(),
    };
    Some(Violation::new(Code::CommandExpired, "expirytime", "a time to come", Some(&found)))
}

fn of_data(kind: CommandKind, data: &Document, config: &Config) -> Vec<Violation> {
    let rules = Rules {
        notification_path: config.doku.notification_path.clone(),
        production: config.doku.environment == Environment::Production,
    };
    let judged = match kind {
        CommandKind::Payment => validate::payment(data, &rules),
        CommandKind::Refund => validate::refund(data),
    };
    judged.err().unwrap_or_default()
}

//! `pause` and `resume`: an operator stops sends, or lets them go on, in every process. Works while none
//! runs: a process that starts reads what is paused before it sends.

use super::{
    UsageError, print,
    times::{self, Times},
    who,
};
use crate::{
    config::{Config, RequiredSections, Source},
    domain::{
        ids::MerchantName,
        pause::{PauseLift, Scope},
    },
    flow::view::PauseView,
    postgres::{self, PauseChange, PgPool, PostgresStore, WaitingSends},
};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the sends of this merchant.
    #[arg(long, value_parser = |name: &str| MerchantName::parse(name))]
    merchant: Option<MerchantName>,
    /// Why; it is kept, and `audit` shows it.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: Option<String>,
    #[command(flatten)]
    who: who::Who,
}

impl Args {
    fn change(self) -> Result<PauseChange, UsageError> {
        let done_by = Some(self.who.operator()?);
        let scope = self.merchant.map_or(Scope::AllMerchants, Scope::Merchant);
        Ok(PauseChange { scope, reason: self.reason, done_by, mark: None })
    }
}

pub async fn pause(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let change = args.change()?;
    let config = Config::load(source, RequiredSections::DATABASE)?;
    must_be_configured(&config, &change.scope)?;
    let (pool, store) = store(&config)?;
    let scope = change.scope.clone();
    let is_new = store.pause(change).await?;
    let times = times::from_source(source)?;
    let first = if is_new { "sends are paused now" } else { "sends were paused already" };
    print::line(&format!("{first}: {}", names(&postgres::pauses(&pool).await?, times)))?;
    print::line(&meaning(store.waiting_sends(&scope).await?, times))?;
    Ok(ExitCode::SUCCESS)
}

pub async fn resume(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let change = args.change()?;
    let (pool, store) = store(&Config::load(source, RequiredSections::DATABASE)?)?;
    let scope = change.scope.clone();
    let was_paused = store.resume(change, None).await? == PauseLift::Lifted;
    let first = if was_paused { "sends go on" } else { "nothing was paused" };
    print::line(&format!("{first}: {scope}"))?;
    let times = times::from_source(source)?;
    let left = postgres::pauses(&pool).await?;
    if !left.is_empty() {
        print::line(&format!("still paused: {}", names(&left, times)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// For people who look at orders: the merchants with stopped sends, since when, by whom or what, and why. `None` if all go.
pub async fn banner(pool: &PgPool, times: Times) -> anyhow::Result<Option<String>> {
    let mut lines: Vec<String> = postgres::pauses(pool)
        .await?
        .iter()
        .map(|pause| format!("paused   {}", name(pause, times)))
        .collect();
    let breakers = postgres::open_breakers(pool).await?;
    lines.extend(breakers.iter().map(|stop| {
        let (merchant, since) = (print::clean(&stop.merchant), times.full(stop.since));
        format!("breaker  {merchant} since {since}: {}", print::clean(&stop.detail))
    }));
    Ok((!lines.is_empty()).then(|| format!("SENDS ARE STOPPED\n{}", lines.join("\n"))))
}

fn store(config: &Config) -> anyhow::Result<(PgPool, PostgresStore)> {
    let pool = postgres::pool(postgres::connect_options(config.need_database()?)?, 1);
    Ok((pool.clone(), PostgresStore::new(pool, config.schedule())))
}

/// A name with a slip of the pen would look like a pause, and pause no merchant. Where no account is configured
/// here at all, a name cannot be checked.
fn must_be_configured(config: &Config, scope: &Scope) -> Result<(), UsageError> {
    let Some(merchant) = scope.merchant() else { return Ok(()) };
    if config.merchants.is_empty() || config.merchants.contains_key(merchant) {
        return Ok(());
    }
    let known: Vec<&str> = config.merchants.keys().map(MerchantName::as_str).collect();
    let known = known.join(", ");
    Err(UsageError(format!("merchant {merchant} is not configured here: allowed are {known}")))
}

/// `all merchants since … by ratna: reason; shop since …`.
fn names(pauses: &[PauseView], times: Times) -> String {
    pauses.iter().map(|pause| name(pause, times)).collect::<Vec<_>>().join("; ")
}

fn name(pause: &PauseView, times: Times) -> String {
    let scope = if pause.scope == Scope::AllMerchants.name() {
        Scope::AllMerchants.to_string()
    } else {
        print::clean(&pause.scope)
    };
    let by = pause.paused_by.as_deref().map(|name| format!(" by {}", print::clean(name)));
    let why = pause.reason.as_deref().map(|why| format!(": {}", print::clean(why)));
    let (by, why) = (by.unwrap_or_default(), why.unwrap_or_default());
    format!("{scope} since {}{by}{why}", times.full(pause.since))
}

/// What an operator should know of what waits meanwhile.
fn meaning(waiting: WaitingSends, times: Times) -> String {
    let first =
        waiting.first_end.map(|end| format!(",\nthe first until {}", times.full(end))).unwrap_or_default();
    let wait = if waiting.count == 0 {
        "No claimed command waits for a send now.".to_owned()
    } else {
        format!("Claimed commands that wait for a send: {}{first}.", waiting.count)
    };
    format!(
        "Every process stops its sends within two seconds. Inquiries, notifications\n\
         and events go on. New commands are claimed and wait, and their budgets run:\n\
         a command with a budget that ends meanwhile is abandoned, or unresolved if\n\
         DOKU may have acted.\n{wait}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::times::sample::times, flow::view::sample};

    #[test]
    fn a_pause_is_told_with_who_and_why() {
        let shop =
            PauseView { scope: "shop".to_owned(), since: sample::at(0), reason: None, paused_by: None };
        let all = PauseView {
            scope: "*".to_owned(),
            reason: Some("a restore\u{1b}".to_owned()),
            paused_by: Some("ratna".to_owned()),
            ..shop.clone()
        };
        assert_eq!(
            names(&[all, shop], times()),
            "all merchants since 2026-01-01 07:00:00 WIB by ratna: a restore\u{fffd}; \
             shop since 2026-01-01 07:00:00 WIB"
        );
    }

    #[test]
    fn what_a_pause_means_for_commands_is_said() {
        let nothing = WaitingSends { count: 0, first_end: None };
        assert!(meaning(nothing, times()).ends_with("\nNo claimed command waits for a send now."));
        let some = WaitingSends { count: 3, first_end: Some(sample::at(1)) };
        let said = meaning(some, times());
        assert!(said.ends_with("wait for a send: 3,\nthe first until 2026-01-01 07:00:01 WIB."), "{said}");
        assert!(said.contains("their budgets run"), "{said}");
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    }
}

//! `console login`: an address by which one person enters the console once. It is printed and never kept: the database has
//! its hash, and the audit has who made it.

use super::{UsageError, print, who};
use crate::{
    config::{Config, ConsoleAuth, ConsoleConfig, RequiredSections, Source},
    domain::console::ConsoleRole,
    flow::ports::NewLogin,
    http::console::BrowserKey,
    postgres::{self, PostgresStore},
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::{net::SocketAddr, process::ExitCode, time::Duration};

/// No session lasts longer.
const SESSION_MAX: Duration = Duration::from_secs(8 * 3600);
const SESSION_MIN: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CliCommand {
    /// Prints an address by which one person enters the console, once and within five minutes.
    Login(LoginArgs),
}

#[derive(Debug, clap::Args)]
struct LoginArgs {
    /// What the person may do; may be repeated.
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = role_parser())]
    roles: Vec<ConsoleRole>,
    /// How long the person stays in the console, at most 8h.
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = session)]
    session: Duration,
    #[command(flatten)]
    who: who::Who,
}

fn role_parser() -> impl TypedValueParser<Value = ConsoleRole> {
    let names = PossibleValuesParser::new(ConsoleRole::ALL.map(ConsoleRole::name));
    names.try_map(|name| ConsoleRole::from_name(&name).ok_or("no such role"))
}

fn session(text: &str) -> Result<Duration, String> {
    let session = super::duration::parse(text)?;
    if (SESSION_MIN..=SESSION_MAX).contains(&session) {
        Ok(session)
    } else {
        Err("allowed: 1m to 8h".to_owned())
    }
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let CliCommand::Login(args) = args.command;
    let made_by = args.who.operator()?;
    let name = person(&made_by)?;
    let config = Config::load(source, RequiredSections::DATABASE)?;
    let pool = postgres::pool(postgres::connect_options(config.need_database()?)?, 1);
    let store = PostgresStore::new(pool, config.schedule());
    let key = BrowserKey::draw()?;
    let roles = args.roles.into_iter().collect();
    store.make_login(NewLogin { hash: key.hash(), name, roles, session: args.session, made_by }).await?;
    print::line(&address(&config.console, &key))?;
    print::complain("open it in a browser on this machine within five minutes; it works once");
    Ok(ExitCode::SUCCESS)
}

/// The name without what the operating system says beside it.
fn person(made_by: &str) -> Result<String, UsageError> {
    let name = made_by.split(" (").next().unwrap_or_default().trim();
    if name.is_empty() {
        Err(UsageError("say who you are with --as NAME".to_owned()))
    } else {
        Ok(name.to_owned())
    }
}

/// A browser enters from this machine in every mode.
fn address(console: &ConsoleConfig, key: &BrowserKey) -> String {
    let host = match &console.auth {
        ConsoleAuth::Local => console.listen,
        ConsoleAuth::Proxy(_) | ConsoleAuth::Oidc(_) => {
            SocketAddr::new([127, 0, 0, 1].into(), console.listen.port())
        }
    };
    format!("http://{host}/enter?key={}", key.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_between_a_minute_and_eight_hours() {
        assert_eq!(session("8h"), Ok(SESSION_MAX));
        for bad in ["9h", "59s", "", "1"] {
            assert!(session(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_person_is_the_name_without_the_machine() {
        assert_eq!(person("Budi (root@pay-1)").unwrap(), "Budi");
        assert!(person(" (root@pay-1)").is_err());
    }
}

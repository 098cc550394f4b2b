//! `run`: the roles, in one process.

use crate::{
    app::{App, AppEnd},
    config::{Config, RequiredSections, Role, Source},
    shutdown::{Shutdown, Signals},
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// Kubernetes itself takes a minute to change a mounted secret.
const LOOK_AT_FILES_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A role to run; may be repeated. Without it: all roles but the console.
    #[arg(long = "role", value_name = "ROLE", value_parser = role_parser())]
    roles: Vec<Role>,
}

fn role_parser() -> impl TypedValueParser<Value = Role> {
    let names = PossibleValuesParser::new(Role::ALL.map(Role::name));
    names.try_map(|name| Role::from_name(&name).ok_or("no such role"))
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let roles = args.roles();
    let config = Config::load(source, RequiredSections::for_roles(&roles))?;
    serve(config, roles, source).await
}

impl Args {
    fn roles(&self) -> BTreeSet<Role> {
        if self.roles.is_empty() { Role::UNNAMED.into() } else { self.roles.iter().copied().collect() }
    }
}

/// Exit code 1 if the drain limit, a second signal or the end of a task cut work off.
async fn serve(config: Config, roles: BTreeSet<Role>, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::new();
    let signals = Signals::new()?;
    let mut hangups = signal(SignalKind::hangup())?;
    let app = App::start(config, &roles, shutdown.clone()).await?;
    let secrets = app.secrets();
    let files = source.secret_files();
    let rereading = async {
        let mut seen = stamps(&files);
        loop {
            let asked = timeout(LOOK_AT_FILES_EVERY, hangups.recv()).await.is_ok();
            let now = stamps(&files);
            if asked || now != seen {
                seen = now;
                secrets.renew(Config::load(source, RequiredSections::for_roles(&roles)));
            }
        }
    };
    let ended = tokio::select! {
        ended = app.finished() => ended,
        never = signals.stop(&shutdown) => never,
        never = rereading => never,
    };
    match ended {
        AppEnd::Finished => return Ok(ExitCode::SUCCESS),
        AppEnd::CutOff => tracing::warn!("the stop cut work off; the next process does it again"),
        AppEnd::Failed => tracing::error!("a task that payments need has ended; start the process again"),
    }
    Ok(ExitCode::FAILURE)
}

/// When each file was changed last. A mounted secret changes without a signal.
fn stamps(files: &[PathBuf]) -> Vec<Option<SystemTime>> {
    files.iter().map(|file| fs::metadata(file).and_then(|found| found.modified()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_roles_but_the_console_run_unless_some_are_named() {
        assert_eq!(Args { roles: vec![] }.roles(), BTreeSet::from(Role::UNNAMED));
        let named = Args { roles: vec![Role::Relay, Role::Relay] };
        assert_eq!(named.roles(), BTreeSet::from([Role::Relay]));
    }
}

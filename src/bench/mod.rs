//! `bench`: how fast, how late and how dear the service is, beside a plain worker and beside the machine's own parts.
//!
//! An outsider: it starts the service, DOKU's stand-in and the plain worker as processes of their own, talks to
//! the broker and the database as their users do, and judges the service by what came out. It must never run
//! against a real DOKU, and never touch a table or a queue that it did not make.

mod commands;
mod drain;
mod load;
mod machine;
mod plain;
mod processes;
mod progress;
mod report;
mod service;
mod stage;

pub use report::{Report, Section};

use crate::sandbox::{EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY};
use machine::Machine;
use stage::Stage;
use std::{path::PathBuf, process::Command, time::Duration};
use url::Url;

/// Nobody pays here: inquiries would only be noise.
const FIRST_CHECK_MS: &str = "3600000";

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Commands a second from a preloaded queue, beside the plain worker
    Drain,
}

impl Scenario {
    /// What runs unless something else is asked for.
    pub const QUICK: &'static [Self] = &[Self::Drain];
}

#[derive(Debug, Clone)]
pub struct Options {
    pub scenarios: Vec<Scenario>,
    /// How many commands are preloaded.
    pub commands: u64,
    /// How long DOKU takes.
    pub answer_after: Duration,
    /// The plain worker; without it there is no comparison.
    pub plain: Option<PathBuf>,
}

/// Where databases and queues may be made.
#[derive(Debug, Clone)]
pub struct Servers {
    pub database: Url,
    pub amqp: String,
}

/// What the service under test is configured with, as far as it matters to speed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Settings {
    pub prefetch: u16,
    pub max_connections: u32,
    pub concurrency: u32,
    pub requests_per_second: u32,
}

pub struct Bench {
    pub options: Options,
    pub servers: Servers,
    pub settings: Settings,
    /// This program.
    pub program: PathBuf,
    pub config_file: Option<PathBuf>,
}

impl Bench {
    /// Measures what was asked for, one after the other.
    ///
    /// # Errors
    /// A server is away, or what came out of the service is not what went in.
    pub async fn run(&self) -> anyhow::Result<Report> {
        let machine = Machine::look(&self.servers).await?;
        let mut sections = Vec::new();
        for scenario in &self.options.scenarios {
            let section = match scenario {
                Scenario::Drain => Box::pin(drain::run(self)).await?,
            };
            sections.push(section);
        }
        Ok(Report { machine, settings: self.settings.clone(), sections })
    }

    fn amqp(&self) -> Option<Url> {
        self.servers.amqp.parse().ok()
    }

    /// This program with the configuration of a stage. The long names win over whatever else is set.
    fn command(&self, stage: &Stage<'_>) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(file) = &self.config_file {
            command.arg("--config").arg(file);
        }
        for (key, value) in [
            ("DATABASE__URL", stage.database_url.as_str()),
            ("AMQP__URL", &self.servers.amqp),
            ("AMQP__PREFIX", stage.prefix()),
            ("DOKU__ENVIRONMENT", "sandbox"),
            ("DOKU__BASE_URL", stage.doku_url()),
            ("DOKU__CLIENT_ID", EXAMPLE_CLIENT_ID),
            ("DOKU__SECRET_KEY", EXAMPLE_SECRET_KEY),
            ("CHECK__FIRST_AFTER_MS", FIRST_CHECK_MS),
        ] {
            let name = format!("JENIUS_PAY__{key}");
            command.env_remove(format!("{name}_FILE")).env(name, value);
        }
        command
    }
}

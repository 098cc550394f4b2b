//! `bench`: how fast, how late and how dear the service is, beside a plain worker and beside the machine's own parts.
//!
//! An outsider: it starts the service, DOKU's stand-in and the plain worker as processes of their own, talks to
//! the broker and the database as their users do, and judges the service by what came out. It must never run
//! against a real DOKU, and never touch a table or a queue that it did not make.

pub mod against;
mod chart;
mod check;
mod commands;
mod drain;
mod floor;
mod history;
mod latency;
mod load;
mod machine;
mod measure;
mod memory;
mod merchants;
mod notifications;
mod outage;
mod plain;
mod processes;
mod progress;
mod relay;
mod report;
mod service;
mod settlement;
mod setup;
mod tables;

pub use report::{BenchReport, Section};

use doku_sandbox::{EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY};
use machine::Machine;
use setup::BenchSetup;
use std::{path::PathBuf, process::Command, time::Duration};
use url::Url;

/// No customer pays here: inquiries would only be noise.
const FIRST_CHECK_MS: &str = "3600000";

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// The machine's parts alone, and the bound that follows from them
    Floor,
    /// Commands a second from a preloaded queue, beside the plain worker
    Drain,
    /// From publication to event, at even rates
    Latency,
    /// Reports of DOKU's a second from a preloaded queue
    Notifications,
    /// Events a second from a preloaded outbox
    Relay,
    /// Resident memory with a long queue and a slow DOKU
    Memory,
    /// DOKU comes back while commands wait
    Outage,
    /// One merchant's latency beside another that waits at its rate limit
    Merchants,
    /// Drains among millions of finished orders, and with two processes
    History,
    /// A month of settled rows read and matched, beside payments at 1,000 a second
    Settlement,
}

impl Scenario {
    /// What runs unless something else is asked for.
    pub const QUICK: [Self; 7] = [
        Self::Floor,
        Self::Drain,
        Self::Latency,
        Self::Notifications,
        Self::Relay,
        Self::Memory,
        Self::Outage,
    ];
}

#[derive(Debug, Clone)]
pub struct Options {
    pub scenarios: Vec<Scenario>,
    /// How many commands, events or notifications are preloaded.
    pub commands: u64,
    /// How long DOKU takes.
    pub answer_after: Duration,
    /// Commands a second, one after the other, and for how long each.
    pub rates: Vec<u32>,
    pub span: Duration,
    /// How many finished orders `history` makes.
    pub history: u64,
    /// Where latencies are drawn.
    pub svg: Option<PathBuf>,
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
    pub async fn run(&self) -> anyhow::Result<BenchReport> {
        let machine = Machine::look(&self.servers).await?;
        let mut sections = Vec::new();
        let mut bound = None;
        for scenario in &self.options.scenarios {
            let section = match scenario {
                Scenario::Floor => {
                    let (section, measured) = Box::pin(floor::run(self)).await?;
                    bound = Some(measured);
                    section
                }
                Scenario::Drain => Box::pin(drain::run(self, bound.as_ref())).await?,
                Scenario::Latency => Box::pin(latency::run(self)).await?,
                Scenario::Notifications => Box::pin(notifications::run(self)).await?,
                Scenario::Relay => Box::pin(relay::run(self)).await?,
                Scenario::Memory => Box::pin(memory::run(self)).await?,
                Scenario::Outage => Box::pin(outage::run(self)).await?,
                Scenario::Merchants => Box::pin(merchants::run(self)).await?,
                Scenario::History => Box::pin(history::run(self)).await?,
                Scenario::Settlement => Box::pin(settlement::run(self)).await?,
            };
            sections.push(section);
        }
        Ok(BenchReport { machine, settings: self.settings.clone(), sections })
    }

    fn amqp(&self) -> Option<Url> {
        self.servers.amqp.parse().ok()
    }

    /// This program with the configuration of a stage. The long names win over whatever else is set.
    fn command(&self, setup: &BenchSetup<'_>) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(file) = &self.config_file {
            command.arg("--config").arg(file);
        }
        for (key, value) in [
            ("DATABASE__URL", setup.database_url.as_str()),
            ("AMQP__URL", &self.servers.amqp),
            ("AMQP__PREFIX", setup.prefix()),
            ("DOKU__ENVIRONMENT", "sandbox"),
            ("DOKU__BASE_URL", setup.doku_url()),
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

#[cfg(test)]
mod tests {
    use super::Scenario;
    use clap::ValueEnum;

    #[test]
    fn every_scenario_is_explained_in_the_page_about_performance() {
        let page = include_str!("../../deploy/PERFORMANCE.md");
        let explained: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(name, _)| name)
            .collect();
        let names: Vec<String> = Scenario::value_variants()
            .iter()
            .map(|s| s.to_possible_value().unwrap().get_name().to_owned())
            .collect();
        assert_eq!(explained, names);
        assert!(Scenario::QUICK.iter().all(|quick| Scenario::value_variants().contains(quick)));
    }
}

//! What is configured: `--config FILE`, then the environment. Every fault is reported at once, with the
//! key and what is allowed, before anything connects.

mod console;
mod example;
mod fault;
mod keys;
mod load;
mod parse;
mod rsa_key;
mod sections;
mod settlement;
mod snapshot;

pub use console::{ConsoleAuth, ConsoleConfig, OidcAuth, ProxyAuth};
pub use example::example;
pub use fault::{ConfigFault, ConfigFaults};
pub use keys::{ConfigKey, keys};
pub use load::Source;
pub use parse::same_but_for_its_user;
pub use rsa_key::{RsaKey, RsaKeyError};
pub use settlement::SettlementConfig;
pub use snapshot::{BY_DEFAULT, ConfigDiff, ConfigSnapshot, InForce};

use crate::domain::{
    ids::MerchantName,
    retry::RetryPolicy,
    schedule::{AttemptSchedule, CheckSchedule},
    senders::Senders,
};
use load::{Reader, missing};
use secrecy::SecretString;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// The configuration, checked. The key of each value is its path here (`doku.timeout_ms`). A section may be missing that
/// the command does not need.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: Option<Database>,
    pub amqp: Option<Amqp>,
    pub doku: Doku,
    /// Every complete account, `default` among them where `doku.client_id` is configured; empty only where none was needed.
    pub merchants: BTreeMap<MerchantName, MerchantConfig>,
    pub retry: RetryPolicy,
    /// From a payment's `time` (without one its claim) / the claim of a refund; no send starts later.
    pub payment_budget: Duration,
    pub refund_budget: Duration,
    pub check: CheckSchedule,
    pub breaker: BreakerConfig,
    pub ingress_listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub console: Arc<ConsoleConfig>,
    /// How times are shown to people.
    pub time_zone: chrono_tz::Tz,
    /// How long a stop waits for what is in hand.
    pub shutdown_drain: Duration,
    pub settlement: SettlementConfig,
    /// Every key as it was given: for people, and to compare a later reading with.
    pub snapshot: ConfigSnapshot,
}

impl Config {
    /// Reads everything that is configured; `needs` says which sections must be there.
    ///
    /// # Errors
    /// Every fault of every key, at once.
    pub fn load(source: &Source<'_>, needs: RequiredSections) -> Result<Self, ConfigFaults> {
        let mut reader = Reader::new(source);
        let read = sections::read(&mut reader, needs);
        reader.finish(read)
    }

    /// # Errors
    /// It is missing.
    pub fn need_database(&self) -> Result<&Database, ConfigFaults> {
        self.database.as_ref().ok_or_else(|| ConfigFaults(vec![missing("database.url")]))
    }

    /// # Errors
    /// It is missing.
    pub fn need_amqp(&self) -> Result<&Amqp, ConfigFaults> {
        self.amqp.as_ref().ok_or_else(|| ConfigFaults(vec![missing("amqp.url")]))
    }

    /// When DOKU is asked again.
    pub fn schedule(&self) -> AttemptSchedule {
        let Doku { trust_response, match_request_id, .. } = self.doku;
        let (retry, check) = (self.retry.clone(), self.check.clone());
        AttemptSchedule { retry, check, trust_response, match_request_id }
    }
}

#[derive(Debug, Clone)]
pub struct Database {
    pub url: SecretString,
    /// Certificates of authorities that are trusted beside the system's, as PEM.
    pub authorities: Option<String>,
    pub max_connections: u32,
}

#[derive(Debug, Clone)]
pub struct Amqp {
    /// One or more, tried in turn.
    pub urls: Vec<SecretString>,
    /// Certificates of authorities, PEM, that are believed beside the system's.
    pub authorities: Option<String>,
    pub prefix: String,
    pub prefetch: u16,
    pub senders: Senders,
}

#[derive(Debug, Clone)]
pub struct Doku {
    pub environment: Environment,
    /// Without a trailing slash.
    pub base_url: String,
    pub connect_timeout: Duration,
    pub timeout: Duration,
    pub notification_path: String,
    pub previous_notification_paths: Vec<String>,
    pub trust_response: bool,
    /// A report that names another request than the order's own is not about it.
    pub match_request_id: bool,
    pub response_signature: ResponseSignature,
    pub snap: SnapConfig,
    /// Per merchant; 0: no limit.
    pub requests_per_second: u32,
    /// Per merchant.
    pub concurrency: u32,
}

/// Notifications in the SNAP form.
#[derive(Debug, Clone, Default)]
pub struct SnapConfig {
    /// DOKU's own, current and previous; empty: nothing that RSA signed is believed.
    pub public_keys: Vec<RsaKey>,
    pub token: TokenRule,
}

/// Which bearer tokens the ingress takes beside a signature that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenRule {
    #[default]
    Any,
    /// One that was issued here and has not ended.
    Issued,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    Sandbox,
    Production,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseSignature {
    /// An answer without a signature is never believed.
    Required,
    /// A payment's or refund's answer that carries none is believed. A wrong one never is.
    TlsOnly,
}

/// One account at DOKU.
#[derive(Debug, Clone)]
pub struct MerchantConfig {
    pub client_id: String,
    pub secret_key: SecretString,
    /// They verify, and never sign.
    pub previous_secret_keys: Vec<SecretString>,
}

#[derive(Debug, Clone)]
pub struct BreakerConfig {
    /// Consecutive failures of DOKU that stop sends.
    pub failures: u32,
    pub open: Duration,
}

impl Database {
    /// What `migrate` and `orders` need; the rest may be missing, but not wrong.
    ///
    /// # Errors
    /// Every fault of every key, at once.
    pub fn load(source: &Source<'_>) -> Result<Self, ConfigFaults> {
        Config::load(source, RequiredSections::DATABASE)?.need_database().cloned()
    }
}

impl Amqp {
    /// What `send` and `watch` need; the rest may be missing, but not wrong.
    ///
    /// # Errors
    /// Every fault of every key, at once.
    pub fn load(source: &Source<'_>) -> Result<Self, ConfigFaults> {
        Config::load(source, RequiredSections::BROKER)?.need_amqp().cloned()
    }
}

/// Which sections a command needs. A missing value of a section that it does not need is no fault; a bad
/// one always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredSections {
    pub database: bool,
    pub amqp: bool,
    /// At least one merchant, each with its key.
    pub merchants: bool,
}

impl RequiredSections {
    pub const EVERYTHING: Self = Self { database: true, amqp: true, merchants: true };
    /// `validate`: it connects to nothing.
    pub const NOTHING: Self = Self { database: false, amqp: false, merchants: false };
    /// `orders check`.
    pub const DOKU: Self = Self { database: true, amqp: false, merchants: true };
    /// `migrate`, the other `orders`.
    pub const DATABASE: Self = Self { database: true, amqp: false, merchants: false };
    /// `send`, `watch`.
    pub const BROKER: Self = Self { database: false, amqp: true, merchants: false };
    /// `run --role ingress`: it works while Postgres is away, and if there is none.
    pub const INGRESS: Self = Self { database: false, amqp: true, merchants: true };
    /// `run --role relay`: it publishes what is written, and never talks to DOKU.
    pub const RELAY: Self = Self { database: true, amqp: true, merchants: false };

    /// What these roles need together.
    pub fn for_roles(roles: &BTreeSet<Role>) -> Self {
        let all_are = |wanted: Role| roles.iter().all(|role| *role == wanted);
        if all_are(Role::Ingress) {
            Self::INGRESS
        } else if all_are(Role::Relay) {
            Self::RELAY
        } else {
            Self::EVERYTHING
        }
    }
}

/// The roles a process may have. Several processes may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Takes commands and makes their first attempt.
    Worker,
    /// Makes the attempts that have become due.
    FollowUp,
    /// Brings orders in line with notifications.
    Reconciler,
    /// Publishes events.
    Relay,
    /// Receives DOKU's notifications.
    Ingress,
    /// Serves the operators' pages. It runs only where it is named.
    Console,
}

impl Role {
    pub const ALL: [Self; 6] =
        [Self::Worker, Self::FollowUp, Self::Reconciler, Self::Relay, Self::Ingress, Self::Console];
    /// What `run` runs if no role is named.
    pub const UNNAMED: [Self; 5] =
        [Self::Worker, Self::FollowUp, Self::Reconciler, Self::Relay, Self::Ingress];

    /// As on the command line, and in `/readyz`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::FollowUp => "follow-up",
            Self::Reconciler => "reconciler",
            Self::Relay => "relay",
            Self::Ingress => "ingress",
            Self::Console => "console",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

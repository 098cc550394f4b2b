//! Secrets that change while the process runs: read again on SIGHUP and when their files change, and taken all together or not at all.
//!
//! Only secrets are. A merchant's Client-Id and the places of DOKU, the database and the broker belong to
//! what is in flight: orders would be stranded, claims torn apart from their records.

use super::notification_paths;
use crate::{
    config::{Config, ConfigFaults, ConfigSnapshot, Database, Doku, same_but_for_its_user},
    doku::account::Accounts,
    flow::ports::StoreError,
    metric,
    postgres::{PgConnectOptions, PgPool},
    rabbit::Broker,
};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// How a pool connects to a database.
type ConnectOptions = fn(&Database) -> Result<PgConnectOptions, StoreError>;

/// What must not change along with a secret.
const BOUND: [&str; 3] = ["doku.base_url", "doku.environment", "client_id"];

/// The users of secrets, and the last reading of the configuration.
pub struct Secrets {
    taken: Mutex<SecretsInUse>,
    pub accounts: Accounts,
    doku: Doku,
    broker: Broker,
    pools: Mutex<Vec<(PgPool, ConnectOptions)>>,
}

struct SecretsInUse {
    /// As the process was started with it, but for the secrets: those are the ones that are used now.
    config: Arc<Config>,
    /// Of what verifies.
    fingerprint: String,
    snapshot: ConfigSnapshot,
    database: Vec<SecretString>,
    amqp: Vec<SecretString>,
}

impl Secrets {
    pub fn new(config: &Config, broker: Broker) -> Self {
        let accounts = Accounts::new(&config.merchants);
        let fingerprint = fingerprint(&accounts, &config.doku);
        // Who has no key, as the relay, verifies nothing that another could verify otherwise.
        if !config.merchants.is_empty() {
            metric::keys_in_use(None, &fingerprint);
        }
        Self {
            taken: Mutex::new(SecretsInUse { fingerprint, ..SecretsInUse::from_config(config) }),
            accounts,
            doku: config.doku.clone(),
            broker,
            pools: Mutex::default(),
        }
    }

    /// The configuration with the secrets that are used now, for what is made anew of it.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.taken.lock().config)
    }

    /// A pool that uses newly read secrets for its next connections, and how it connects.
    pub fn add_pool(&self, pool: &PgPool, connect_options: ConnectOptions) {
        let mut pools = self.pools.lock();
        pools.push((pool.clone(), connect_options));
    }

    /// Takes what a second reading says, and tells which keys changed, never their values.
    pub fn renew(&self, read: Result<Config, ConfigFaults>) {
        match self.take(read) {
            Ok(changed) if changed.is_empty() => tracing::info!("secrets were read again: none has changed"),
            Ok(changed) => tracing::info!(changed = changed.join(", "), "secrets were read again and taken"),
            Err(problem) => tracing::error!(problem, "secrets were read again; the old ones stay"),
        }
    }

    fn take(&self, read: Result<Config, ConfigFaults>) -> Result<Vec<String>, String> {
        let config = read.map_err(|faults| faults.in_a_line())?;
        let mut taken = self.taken.lock();
        let difference = taken.snapshot.difference(&config.snapshot);
        let bound: Vec<&String> = difference.others.iter().filter(|name| is_bound(name)).collect();
        if !bound.is_empty() {
            return Err(format!("{}: changed too; allowed with a restart only", joined(&bound)));
        }
        let next = SecretsInUse::from_config(&config);
        for (name, old, new) in
            [("database.url", &taken.database, &next.database), ("amqp.url", &taken.amqp, &next.amqp)]
        {
            if !same_places(old, new) {
                return Err(format!(
                    "{name}: another place; allowed without a restart: another user or password"
                ));
            }
        }
        // What may fail comes first.
        let options = match &config.database {
            Some(database) => self.connect_options(database).map_err(|error| error.to_string())?,
            None => Vec::new(),
        };
        if let Some(amqp) = &config.amqp {
            self.broker.exchange_urls(&amqp.urls).map_err(|error| error.to_string())?;
        }
        options.into_iter().for_each(|(pool, options)| pool.set_connect_options(options));
        self.accounts.exchange(&config.merchants);
        // The paths are those that the process was started with.
        let fingerprint = fingerprint(&self.accounts, &self.doku);
        if !config.merchants.is_empty() {
            metric::keys_in_use(Some(&taken.fingerprint), &fingerprint);
        }
        taken.fingerprint = fingerprint;
        taken.snapshot.take_secrets(&config.snapshot);
        taken.config = Arc::new(with_secrets_of(&taken.config, &config));
        (taken.database, taken.amqp) = (next.database, next.amqp);
        if !difference.others.is_empty() {
            let waiting: Vec<&String> = difference.others.iter().collect();
            tracing::warn!(changed = joined(&waiting), "no secrets: they change with a restart");
        }
        Ok(difference.secrets)
    }

    fn connect_options(&self, database: &Database) -> Result<Vec<(PgPool, PgConnectOptions)>, StoreError> {
        let pools = self.pools.lock();
        pools.iter().map(|(pool, options)| Ok((pool.clone(), options(database)?))).collect()
    }
}

impl SecretsInUse {
    fn from_config(config: &Config) -> Self {
        Self {
            config: Arc::new(config.clone()),
            fingerprint: String::new(),
            snapshot: config.snapshot.clone(),
            database: config.database.iter().map(|database| database.url.clone()).collect(),
            amqp: config.amqp.iter().flat_map(|amqp| amqp.urls.clone()).collect(),
        }
    }
}

/// A configuration with the secrets of a second reading. All else changes with a restart.
fn with_secrets_of(config: &Config, read: &Config) -> Config {
    let mut config = Config { merchants: read.merchants.clone(), ..config.clone() };
    if let (Some(database), Some(read)) = (&mut config.database, &read.database) {
        database.url = read.url.clone();
        database.authorities.clone_from(&read.authorities);
    }
    if let (Some(amqp), Some(read)) = (&mut config.amqp, &read.amqp) {
        amqp.urls.clone_from(&read.urls);
    }
    config
}

/// What two processes have in common that verify the same notifications.
pub fn fingerprint(accounts: &Accounts, doku: &Doku) -> String {
    let paths = notification_paths(doku);
    accounts.fingerprint(paths.iter().map(String::as_str), &doku.snap.public_keys)
}

fn is_bound(name: &str) -> bool {
    BOUND.iter().any(|bound| name == *bound || name.ends_with(&format!(".{bound}")))
}

fn same_places(old: &[SecretString], new: &[SecretString]) -> bool {
    let same = |(old, new): (&SecretString, &SecretString)| {
        same_but_for_its_user(old.expose_secret(), new.expose_secret())
    };
    old.len() == new.len() && old.iter().zip(new).all(same)
}

fn joined(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

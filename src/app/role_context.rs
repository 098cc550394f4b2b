//! What the roles share: the edges, and the status of the process.

use super::{CommandWorker, DokuClient, Secrets, process_status::ProcessStatus};
use crate::{
    config::{Amqp, Config, Doku, Environment},
    doku::{
        account::Accounts, client::Client, clock::SystemClock, notification::Verifier, snap::public_keys,
    },
    domain::validate::Rules,
    flow::{
        attempt::Attempts,
        gate::{Gate, GateLimits},
        process_command::{Budgets, Worker},
        store_outage::StoreOutage,
    },
    postgres::{self, PgPool, PostgresStore},
    rabbit::Broker,
    shutdown::Shutdown,
};
use std::sync::Arc;

pub struct RoleContext {
    pub config: Arc<Config>,
    pub amqp: Amqp,
    pub secrets: Arc<Secrets>,
    pub broker: Broker,
    pub pool: PgPool,
    pub store: PostgresStore,
    pub gateway: Arc<DokuClient>,
    pub gate: Arc<Gate>,
    pub attempts: Arc<Attempts<PostgresStore, DokuClient>>,
    pub status: Arc<ProcessStatus>,
}

impl RoleContext {
    pub fn new(
        config: Arc<Config>,
        secrets: &Arc<Secrets>,
        broker: Broker,
        status: Arc<ProcessStatus>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let (database, amqp) = (config.need_database()?, config.need_amqp()?.clone());
        let pool = postgres::pool(postgres::connect_options(database)?, database.max_connections);
        secrets.add_pool(&pool, postgres::connect_options);
        let store = PostgresStore::new(pool.clone(), config.schedule());
        let gateway = Arc::new(Client::new(&config.doku, secrets.accounts.clone(), SystemClock)?);
        let limits = GateLimits {
            prefetch: amqp.prefetch,
            concurrency: config.doku.concurrency,
            requests_per_second: config.doku.requests_per_second,
            breaker_failures: config.breaker.failures,
            breaker_open: config.breaker.open,
        };
        let gate = Gate::new(&limits, config.merchants.keys().cloned());
        status.watch_gate(&gate);
        let secrets = Arc::clone(secrets);
        let attempts = Arc::new(Attempts {
            store: store.clone().into(),
            gateway: Arc::clone(&gateway),
            timeout: config.doku.timeout,
            stop: shutdown.stop.clone(),
        });
        Ok(Self { config, amqp, secrets, broker, pool, store, gateway, gate, attempts, status })
    }

    pub fn worker(&self) -> CommandWorker {
        Worker {
            store: Arc::clone(&self.attempts.store),
            gateway: Arc::clone(&self.gateway),
            attempts: Arc::clone(&self.attempts),
            gate: Arc::clone(&self.gate),
            rules: rules(&self.config),
            budgets: budgets(&self.config),
            outage: self.outage(),
        }
    }

    pub fn outage(&self) -> StoreOutage {
        StoreOutage {
            store_state: self.status.store_state.clone(),
            stalled: Arc::clone(&self.status.stalled),
            stop: self.attempts.stop.clone(),
        }
    }
}

pub fn rules(config: &Config) -> Rules {
    Rules {
        notification_path: config.doku.notification_path.clone(),
        production: config.doku.environment == Environment::Production,
    }
}

pub fn budgets(config: &Config) -> Budgets {
    Budgets { payment: config.payment_budget, refund: config.refund_budget }
}

/// Judges notifications by the signature: what the reconciler and the forecast of a dead letter need.
pub fn verifier(doku: &Doku, accounts: Accounts) -> Verifier {
    Verifier::new(accounts, notification_paths(doku)).with_public_keys(public_keys(&doku.snap))
}

/// As the outside sees them, the current one first.
pub fn notification_paths(doku: &Doku) -> Vec<String> {
    let previous = doku.previous_notification_paths.iter();
    std::iter::once(&doku.notification_path).chain(previous).cloned().collect()
}

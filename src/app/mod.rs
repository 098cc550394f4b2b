//! The composition root: configuration → edges → roles. The tests start the service through it, so what
//! they prove is what runs.

mod commands;
mod notifications;
mod parts;
pub mod prospects;
mod readiness;
mod secrets;
mod watchers;

pub use crate::config::Role;
pub use secrets::Secrets;

use crate::{
    config::{Config, Doku, Needs, Parts},
    doku::{client::Client, clock::SystemClock, notification::Verifier},
    domain::{Time, command::CommandKind, validate::Rules},
    flow::{
        attempt::Attempts,
        disposition::DeadReason,
        follow_up::FollowUp,
        gate::{Gate, Limits},
        hold::Hold,
        ports::{Clock, Gateway},
        process_command::{Budgets, Worker},
        reconcile_notification::Reconciler,
        relay_outbox::Relay,
    },
    http::{Bound, admin, ingress},
    metric,
    postgres::{self, PgPool, PostgresSeat, PostgresStore},
    rabbit::{Broker, Consume, Consumer, Part, Publisher, watch_depth},
    shutdown::{Drained, Shutdown},
};
use anyhow::Context;
use commands::CommandHandler;
use notifications::NotificationHandler;
use readiness::{Seen, snapshot};
use std::{collections::BTreeSet, future::Future, io, net::SocketAddr, sync::Arc};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

type DokuClient = Client<SystemClock>;
type CommandWorker = Worker<PostgresStore, DokuClient>;

/// The service, running.
pub struct App {
    shutdown: Shutdown,
    config: Parts,
    secrets: Arc<Secrets>,
    admin: SocketAddr,
    ingress: Option<SocketAddr>,
    /// What takes in and works off; it ends by `shutdown.stop`.
    intake: TaskTracker,
    /// The relay ends after the intake, the rest after the relay.
    relay: TaskTracker,
    relay_stop: CancellationToken,
    rest: TaskTracker,
    rest_stop: CancellationToken,
}

/// What the roles share.
struct Shared {
    config: Config,
    secrets: Arc<Secrets>,
    broker: Broker,
    publisher: Publisher,
    pool: PgPool,
    store: PostgresStore,
    gateway: Arc<DokuClient>,
    gate: Arc<Gate>,
    attempts: Arc<Attempts<PostgresStore, DokuClient>>,
    seen: Arc<Seen>,
}

impl App {
    /// Starts the roles. Nothing that is away stops it: the process waits, and `/readyz` says for what.
    ///
    /// # Errors
    /// An address that is in use, or a configuration that cannot work.
    pub async fn start(config: Parts, roles: &BTreeSet<Role>, shutdown: Shutdown) -> anyhow::Result<Self> {
        metric::install()?;
        let seen = Arc::new(Seen::new(roles));
        let listen = config.admin_listen;
        let admin =
            Bound::new(listen, admin::LIMITS).await.with_context(|| format!("admin.listen {listen}"))?;
        let broker = parts::broker(&config)?;
        let mut app = Self {
            shutdown,
            secrets: Arc::new(Secrets::new(&config, broker.clone())),
            admin: admin.address(),
            ingress: None,
            intake: TaskTracker::new(),
            relay: TaskTracker::new(),
            relay_stop: CancellationToken::new(),
            rest: TaskTracker::new(),
            rest_stop: CancellationToken::new(),
            config: config.clone(),
        };
        for queue in broker.names().work_queues() {
            metric::create_counters_of(queue, &DeadReason::ALL.map(DeadReason::name));
        }
        config.merchants.keys().for_each(|merchant| metric::create_counters_of_merchant(merchant.as_str()));
        app.rest.spawn(broker.clone().keep_declared(parts::used_by(roles), app.rest_stop.clone()));
        let published = parts::published_by(roles);
        let (publisher, task) = Publisher::new(&broker, "publisher", &published);
        if !published.is_empty() {
            app.rest.spawn(task.run(app.rest_stop.clone()));
        }
        app.rest.spawn(metric::run_upkeep(app.rest_stop.clone()));
        let router = admin::router(snapshot(Arc::clone(&seen), broker.clone()));
        app.rest.spawn(served("admin", admin.serve(router, app.rest_stop.clone())));
        if roles.contains(&Role::Ingress) {
            app.start_ingress(&broker).await?;
        }
        if Needs::of(roles).database {
            app.start_with_database(config.complete()?, roles, broker, publisher, seen)?;
        }
        tracing::info!(admin = %app.admin, roles = ?roles.iter().map(|r| r.name()).collect::<Vec<_>>(), "started");
        Ok(app)
    }

    /// It needs the broker only, and a publisher that nothing else keeps busy.
    async fn start_ingress(&mut self, broker: &Broker) -> anyhow::Result<()> {
        let listen = self.config.ingress_listen;
        let bound =
            Bound::new(listen, ingress::LIMITS).await.with_context(|| format!("ingress.listen {listen}"))?;
        self.ingress = Some(bound.address());
        let (publisher, task) = Publisher::new(broker, "ingress", &[Part::Notifications]);
        self.rest.spawn(task.run(self.rest_stop.clone()));
        let paths = notification_paths(&self.config.doku);
        let reader = Verifier::new(self.secrets.accounts.clone(), paths.clone());
        let router = ingress::router(ingress::Ingress { paths, reader, publisher });
        self.intake.spawn(served("ingress", bound.serve(router, self.shutdown.stop.clone())));
        Ok(())
    }

    fn start_with_database(
        &mut self,
        config: Config,
        roles: &BTreeSet<Role>,
        broker: Broker,
        publisher: Publisher,
        seen: Arc<Seen>,
    ) -> anyhow::Result<()> {
        let shared = Shared::new(config, &self.secrets, broker, publisher, seen, &self.shutdown)?;
        let rest_stop = self.rest_stop.clone();
        self.rest.spawn(watch_depth(shared.broker.clone(), rest_stop.clone()));
        let watching = watchers::watch_database(
            shared.pool.clone(),
            shared.config.doku.environment,
            Arc::clone(&shared.seen),
        );
        self.rest.spawn(watchers::until(rest_stop.clone(), watching));
        let refreshing = watchers::refresh_gauges(
            shared.store.clone(),
            shared.gateway.accounts(),
            Arc::clone(&shared.gate),
            Arc::clone(&shared.seen),
        );
        self.rest.spawn(watchers::until(rest_stop, refreshing));
        let telling = shared.store.tell_other_relays(shared.seen.relay_active.subscribe());
        self.rest.spawn(watchers::until(self.rest_stop.clone(), telling));
        let (gate, store) = (Arc::clone(&shared.gate), shared.store.clone());
        let per_second = shared.config.doku.requests_per_second;
        let feeding = async move { gate.take_blocks(store, per_second).await };
        self.rest.spawn(watchers::until(self.rest_stop.clone(), feeding));
        let relays = roles.contains(&Role::Relay);
        let listening = shared.store.listen_for_others(relays);
        self.rest.spawn(watchers::until(self.rest_stop.clone(), listening));
        let watching = watchers::watch_pauses(shared.store.clone(), Arc::clone(&shared.gate));
        self.rest.spawn(watchers::until(self.rest_stop.clone(), watching));
        let telling = watchers::tell_stops(shared.store.clone(), Arc::clone(&shared.gate));
        self.rest.spawn(watchers::until(self.rest_stop.clone(), telling));
        for role in roles {
            match role {
                Role::Worker => self.start_worker(&shared),
                Role::FollowUp => self.start_follow_up(&shared),
                Role::Relay => self.start_relay(&shared),
                Role::Reconciler => self.start_reconciler(&shared),
                // Started already: it works without a database.
                Role::Ingress => {}
            }
        }
        Ok(())
    }

    /// Commands are taken whether or not sends are stopped: they are judged and claimed, and their sends wait.
    fn start_worker(&self, shared: &Shared) {
        let (consume, consuming) = watch::channel(Consume::Stopped);
        let following = watchers::follow_store(shared.seen.store_state.subscribe(), consume);
        self.rest.spawn(watchers::until(self.rest_stop.clone(), following));
        let worker = Arc::new(shared.worker());
        let senders = Arc::new(shared.config.amqp.senders.clone());
        let names = shared.broker.names();
        for (kind, queue) in
            [(CommandKind::Payment, &names.payments_queue), (CommandKind::Refund, &names.refunds_queue)]
        {
            let consumer = Consumer {
                broker: shared.broker.clone(),
                queue: queue.clone(),
                prefetch: shared.config.amqp.prefetch,
                handler: CommandHandler {
                    worker: Arc::clone(&worker),
                    kind,
                    queue: queue.clone(),
                    senders: Arc::clone(&senders),
                },
                publisher: shared.publisher.clone(),
                now: now_here,
                consume: consuming.clone(),
            };
            self.intake.spawn(consumer.run(self.shutdown.stop.clone(), self.shutdown.now.clone()));
        }
    }

    /// Breakers do not stop it: DOKU's reports come whether DOKU takes requests or not.
    fn start_reconciler(&self, shared: &Shared) {
        let (consume, consuming) = watch::channel(Consume::Stopped);
        let following = watchers::follow_store(shared.seen.store_state.subscribe(), consume);
        self.rest.spawn(watchers::until(self.rest_stop.clone(), following));
        let accounts = shared.secrets.accounts.clone();
        let consumer = Consumer {
            broker: shared.broker.clone(),
            queue: shared.broker.names().notifications_queue.clone(),
            prefetch: shared.config.amqp.prefetch,
            handler: NotificationHandler {
                queue: shared.broker.names().notifications_queue.clone(),
                reconciler: Reconciler {
                    store: shared.store.clone().into(),
                    reader: Verifier::new(accounts, notification_paths(&shared.config.doku)),
                    hold: shared.hold(),
                },
            },
            publisher: shared.publisher.clone(),
            now: now_here,
            consume: consuming,
        };
        self.intake.spawn(consumer.run(self.shutdown.stop.clone(), self.shutdown.now.clone()));
    }

    fn start_follow_up(&self, shared: &Shared) {
        let follow_up = FollowUp {
            attempts: Arc::clone(&shared.attempts),
            gate: Arc::clone(&shared.gate),
            due_changed: shared.store.due_changed(),
        };
        let ready = shared.seen.database_ready();
        let stop = self.shutdown.stop.clone();
        self.intake.spawn(async move {
            if stop.run_until_cancelled(ready).await.is_some() {
                follow_up.run().await;
            }
        });
    }

    fn start_relay(&self, shared: &Shared) {
        let relay = Relay {
            seat: PostgresSeat::new(shared.pool.clone()),
            publisher: Arc::new(shared.publisher.clone()),
            outbox_changed: shared.store.outbox_changed(),
            stop: self.relay_stop.clone(),
            active: shared.seen.relay_active.clone(),
        };
        let ready = shared.seen.database_ready();
        let stop = self.relay_stop.clone();
        self.relay.spawn(async move {
            if stop.run_until_cancelled(ready).await.is_some() {
                relay.run().await;
            }
        });
    }

    /// What a second reading of the configuration is given to.
    pub fn secrets(&self) -> Arc<Secrets> {
        Arc::clone(&self.secrets)
    }

    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Where notifications come in, if this process takes them.
    pub fn ingress_address(&self) -> Option<SocketAddr> {
        self.ingress
    }

    /// Waits for the stop, then works off what is in hand, relays what is committed, and ends; after the
    /// drain limit or a second signal it leaves at once.
    pub async fn finished(self) -> Drained {
        self.shutdown.stop.cancelled().await;
        let work = async {
            self.intake.close();
            self.intake.wait().await;
            self.relay_stop.cancel();
            self.relay.close();
            self.relay.wait().await;
        };
        let drained = self.shutdown.drain(work, self.config.shutdown_drain).await;
        self.relay_stop.cancel();
        self.rest_stop.cancel();
        self.rest.close();
        // The links close in bounded time; after the limit or a second signal nobody waits for them.
        if drained == Drained::Finished {
            let _ = self.shutdown.now.run_until_cancelled(self.rest.wait()).await;
        }
        drained
    }

    /// Stops as a first signal does, and waits for the end.
    pub async fn stop(self) -> Drained {
        self.shutdown.signal();
        self.finished().await
    }
}

/// For dead letters: by this machine's clock.
fn now_here() -> Time {
    SystemClock.now()
}

fn rules(config: &Config) -> Rules {
    Rules {
        notification_path: config.doku.notification_path.clone(),
        production: config.doku.environment == crate::config::Environment::Production,
    }
}

fn budgets(config: &Config) -> Budgets {
    Budgets { payment: config.payment_budget, refund: config.refund_budget }
}

/// As the outside sees them, the current one first.
fn notification_paths(doku: &Doku) -> Vec<String> {
    let previous = doku.previous_notification_paths.iter();
    std::iter::once(&doku.notification_path).chain(previous).cloned().collect()
}

async fn served(name: &'static str, serving: impl Future<Output = io::Result<()>>) {
    if let Err(error) = serving.await {
        tracing::error!(%error, name, "a listener ended");
    }
}

impl Shared {
    fn new(
        config: Config,
        secrets: &Arc<Secrets>,
        broker: Broker,
        publisher: Publisher,
        seen: Arc<Seen>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let pool =
            postgres::pool(postgres::connect_options(&config.database)?, config.database.max_connections);
        secrets.of_pool(&pool);
        let store = PostgresStore::new(pool.clone(), config.plan(), Arc::new(fastrand::f64));
        let gateway = Arc::new(Client::new(&config.doku, secrets.accounts.clone(), SystemClock)?);
        let limits = Limits {
            concurrency: config.doku.concurrency,
            requests_per_second: config.doku.requests_per_second,
            breaker_failures: config.breaker.failures,
            breaker_open: config.breaker.open,
        };
        let gate = Gate::new(&limits, config.merchants.keys().cloned());
        seen.watch_gate(&gate);
        let secrets = Arc::clone(secrets);
        let attempts = Arc::new(Attempts {
            store: store.clone().into(),
            gateway: Arc::clone(&gateway),
            timeout: config.doku.timeout,
            stop: shutdown.stop.clone(),
        });
        Ok(Self { config, secrets, broker, publisher, pool, store, gateway, gate, attempts, seen })
    }

    fn worker(&self) -> CommandWorker {
        Worker {
            attempts: Arc::clone(&self.attempts),
            gate: Arc::clone(&self.gate),
            rules: rules(&self.config),
            budgets: budgets(&self.config),
            hold: self.hold(),
        }
    }

    fn hold(&self) -> Hold {
        Hold {
            store_state: self.seen.store_state.clone(),
            held: Arc::clone(&self.seen.held),
            stop: self.attempts.stop.clone(),
        }
    }
}

//! The composition root: configuration → edges → roles. The tests start the service through it, so what
//! they prove is what runs.

mod commands;
mod console;
pub mod doctor;
pub mod forecast;
mod ingress;
pub mod letters;
mod notifications;
pub mod parts;
mod process_status;
pub mod replay;
mod role_context;
mod secrets;
pub mod settlement;
mod supervisor;
mod watchers;

pub use crate::config::Role;
pub use secrets::{Secrets, fingerprint};

use crate::{
    config::{Config, RequiredSections},
    doku::{client::Client, clock::SystemClock},
    domain::{Time, command::CommandKind},
    flow::{
        disposition::DeadReason,
        follow_up::{FollowUp, sweep_parked},
        ports::{Clock, Gateway},
        process_command::Worker,
        reconcile_notification::Reconciler,
        relay_outbox::Relay,
    },
    http::{BoundServer, admin},
    metric,
    postgres::{PostgresLeadership, PostgresStore},
    rabbit::{Broker, Consume, Consumer, Part, Publisher, watch_depth},
    shutdown::{Drained, Shutdown},
};
use anyhow::Context;
use commands::CommandHandler;
use notifications::NotificationHandler;
use process_status::{ProcessStatus, snapshot};
use role_context::{RoleContext, notification_paths, verifier};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::SocketAddr,
    sync::Arc,
};
use supervisor::{ShutdownStage, Supervisor};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

type DokuClient = Client<SystemClock>;
type CommandWorker = Worker<PostgresStore, DokuClient>;

/// The service, running.
pub struct App {
    shutdown: Shutdown,
    supervisor: Supervisor,
    config: Arc<Config>,
    secrets: Arc<Secrets>,
    admin: SocketAddr,
    ingress: Option<SocketAddr>,
    console: Option<SocketAddr>,
    /// What takes in and works off; it ends by `shutdown.stop`.
    intake: ShutdownStage,
    /// The relay ends after the intake, the rest after the relay.
    relay: ShutdownStage,
    rest: ShutdownStage,
    /// What the roles publish to on the link that they share.
    published: Vec<Part>,
    /// A publisher's task ends with its last handle: these outlive everything that publishes.
    publishers: BTreeMap<&'static str, Publisher>,
}

/// How the service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum AppEnd {
    /// As it was asked to; everything that was held is finished.
    Finished,
    /// As it was asked to; the limit or a second signal cut work off.
    CutOff,
    /// By itself: a task ended that payments need.
    Failed,
}

impl App {
    /// Starts the roles. Nothing that is away stops it: the process waits, and `/readyz` says for what.
    ///
    /// # Errors
    /// An address that is in use, or a configuration that cannot work.
    pub async fn start(config: Config, roles: &BTreeSet<Role>, shutdown: Shutdown) -> anyhow::Result<Self> {
        metric::install()?;
        let config = Arc::new(config);
        let status = Arc::new(ProcessStatus::new(roles));
        let listen = config.admin_listen;
        let admin = BoundServer::new(listen, admin::LIMITS)
            .await
            .with_context(|| format!("admin.listen {listen}"))?;
        let broker = parts::broker(&config)?;
        let supervisor = Supervisor::new(shutdown.clone());
        let mut app = Self {
            secrets: Arc::new(Secrets::new(&config, broker.clone())),
            admin: admin.address(),
            ingress: None,
            console: None,
            intake: supervisor.stage(shutdown.stop.clone()),
            relay: supervisor.stage(CancellationToken::new()),
            rest: supervisor.stage(CancellationToken::new()),
            published: parts::published_by(roles),
            publishers: BTreeMap::new(),
            config: Arc::clone(&config),
            supervisor,
            shutdown,
        };
        for queue in broker.names().work_queues() {
            metric::create_counters_of(queue, &DeadReason::ALL.map(DeadReason::name));
        }
        config.merchants.keys().for_each(|merchant| metric::create_counters_of_merchant(merchant.as_str()));
        let keeping = broker.clone().keep_declared(parts::used_by(roles), app.rest.stop().clone());
        app.rest.essential("topology", keeping);
        app.restart("metrics", metric::run_upkeep);
        let router = admin::router(snapshot(Arc::clone(&status), broker.clone(), app.supervisor.clone()));
        app.rest.essential("admin", admin.serve(router, app.rest.stop().clone()));
        if roles.contains(&Role::Ingress) {
            app.start_ingress(&broker).await?;
        }
        if RequiredSections::for_roles(roles).database {
            Box::pin(app.start_with_database(config, roles, broker, status)).await?;
        }
        tracing::info!(admin = %app.admin, roles = ?roles.iter().map(|r| r.name()).collect::<Vec<_>>(), "started");
        Ok(app)
    }

    /// The publisher that the roles share.
    fn shared_publisher(&mut self, broker: &Broker) -> Publisher {
        let published = self.published.clone();
        self.publisher(broker, "publisher", &published)
    }

    /// The publisher on this link; started when it is first asked for.
    fn publisher(&mut self, broker: &Broker, link: &'static str, published: &[Part]) -> Publisher {
        if let Some(publisher) = self.publishers.get(link) {
            return publisher.clone();
        }
        let (publisher, task) = Publisher::new(broker, link, published);
        self.rest.essential(link, task.run(self.rest.stop().clone()));
        self.publishers.insert(link, publisher.clone());
        publisher
    }

    async fn start_with_database(
        &mut self,
        config: Arc<Config>,
        roles: &BTreeSet<Role>,
        broker: Broker,
        status: Arc<ProcessStatus>,
    ) -> anyhow::Result<()> {
        let shared = RoleContext::new(config, &self.secrets, broker, status, &self.shutdown)?;
        self.start_watchers(&shared);
        self.start_figures(&shared, roles.contains(&Role::Relay));
        for role in roles {
            match role {
                Role::Worker => self.start_worker(&shared),
                Role::FollowUp => self.start_follow_up(&shared),
                Role::Relay => self.start_relay(&shared),
                Role::Reconciler => self.start_reconciler(&shared),
                // Started already: it works without a database.
                Role::Ingress => {}
                Role::Console => self.start_console(&shared).await?,
            }
        }
        Ok(())
    }

    /// What tells the roles whether they may work.
    fn start_watchers(&self, shared: &RoleContext) {
        let status = Arc::clone(&shared.status);
        self.watch(
            "database",
            watchers::watch_database(shared.pool.clone(), shared.config.doku.environment, status),
        );
        self.watch("pauses", watchers::watch_pauses(shared.store.clone(), Arc::clone(&shared.gate)));
        let (gate, store) = (Arc::clone(&shared.gate), shared.store.clone());
        let per_second = shared.config.doku.requests_per_second;
        // Without a limit, or without sends, there is nothing to take.
        if per_second > 0 && shared.status.makes_sends() {
            self.watch("rate", async move { gate.take_blocks(store, per_second).await });
        }
    }

    /// Figures for operators, and words to other processes, which look by themselves each second too.
    fn start_figures(&self, shared: &RoleContext, relays: bool) {
        let (broker, stop) = (shared.broker.clone(), self.rest.stop().clone());
        self.rest.restartable("depth", move || watch_depth(broker.clone(), stop.clone()));
        let (store, accounts) = (shared.store.clone(), shared.gateway.accounts());
        let (gate, status) = (Arc::clone(&shared.gate), Arc::clone(&shared.status));
        self.restart("gauges", move || {
            watchers::refresh_gauges(store.clone(), accounts.clone(), Arc::clone(&gate), Arc::clone(&status))
        });
        let (store, status) = (shared.store.clone(), Arc::clone(&shared.status));
        self.restart("tell", move || store.tell_other_relays(status.relay_active.subscribe()));
        let (store, process) = (shared.store.clone(), watchers::this_process(&shared.status.roles));
        self.restart("reports", move || watchers::report_process(store.clone(), process.clone()));
        let store = shared.store.clone();
        self.restart("listen", move || store.listen_for_others(relays));
        // Only a process that sends has something to tell, and the right to write it.
        if shared.status.makes_sends() {
            let (store, gate) = (shared.store.clone(), Arc::clone(&shared.gate));
            self.restart("stops", move || watchers::report_stops(store.clone(), Arc::clone(&gate)));
        }
    }

    /// Starts an essential task that has no end of its own.
    fn watch(&self, task: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.rest.essential(task, watchers::until(self.rest.stop().clone(), work));
    }

    /// Starts a restartable task that has no end of its own.
    fn restart<W>(&self, task: &'static str, make: impl Fn() -> W + Send + 'static)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let stop = self.rest.stop().clone();
        self.rest.restartable(task, move || watchers::until(stop.clone(), make()));
    }

    /// Commands are taken whether or not sends are stopped: they are judged and claimed, and their sends wait.
    fn start_worker(&mut self, shared: &RoleContext) {
        let publisher = self.shared_publisher(&shared.broker);
        let (consume, consuming) = watch::channel(Consume::Stopped);
        self.watch("pace", watchers::follow_store(shared.status.store_state.subscribe(), consume));
        let worker = Arc::new(shared.worker());
        let senders = Arc::new(shared.amqp.senders.clone());
        let names = shared.broker.names();
        for (task, kind, queue) in [
            ("payments", CommandKind::Payment, &names.payments_queue),
            ("refunds", CommandKind::Refund, &names.refunds_queue),
        ] {
            let consumer = Consumer {
                broker: shared.broker.clone(),
                queue: queue.clone(),
                prefetch: shared.amqp.prefetch,
                handler: CommandHandler {
                    worker: Arc::clone(&worker),
                    kind,
                    queue: queue.clone(),
                    senders: Arc::clone(&senders),
                },
                publisher: publisher.clone(),
                now: now_here,
                consume: consuming.clone(),
            };
            let running = consumer.run(self.intake.stop().clone(), self.shutdown.now.clone());
            self.intake.essential(task, running);
        }
    }

    /// Breakers do not stop it: DOKU's reports come whether DOKU takes requests or not.
    fn start_reconciler(&mut self, shared: &RoleContext) {
        let publisher = self.shared_publisher(&shared.broker);
        let (consume, consuming) = watch::channel(Consume::Stopped);
        let following = watchers::follow_store(shared.status.store_state.subscribe(), consume);
        self.watch("notifications_pace", following);
        let accounts = shared.secrets.accounts.clone();
        let consumer = Consumer {
            broker: shared.broker.clone(),
            queue: shared.broker.names().notifications_queue.clone(),
            prefetch: shared.amqp.prefetch,
            handler: NotificationHandler {
                queue: shared.broker.names().notifications_queue.clone(),
                reconciler: Reconciler {
                    store: shared.store.clone().into(),
                    reader: verifier(&shared.config.doku, accounts),
                    outage: shared.outage(),
                },
            },
            publisher: publisher.clone(),
            now: now_here,
            consume: consuming,
        };
        let running = consumer.run(self.intake.stop().clone(), self.shutdown.now.clone());
        self.intake.essential("notifications", running);
    }

    fn start_follow_up(&self, shared: &RoleContext) {
        self.start_settlement(shared);
        let follow_up = FollowUp {
            attempts: Arc::clone(&shared.attempts),
            gate: Arc::clone(&shared.gate),
            due_changed: shared.store.due_changed(),
        };
        let (store, status) = (Arc::clone(&shared.attempts.store), Arc::clone(&shared.status));
        self.restart("parked", move || {
            let (ready, tending) = (status.database_ready(), sweep_parked(Arc::clone(&store)));
            async move {
                ready.await;
                tending.await;
            }
        });
        let ready = shared.status.database_ready();
        let stop = self.intake.stop().clone();
        self.intake.essential("follow_up", async move {
            if stop.run_until_cancelled(ready).await.is_some() {
                follow_up.run().await;
            }
        });
    }

    fn start_relay(&mut self, shared: &RoleContext) {
        let publisher = self.shared_publisher(&shared.broker);
        let relay = Relay {
            leadership: PostgresLeadership::new(shared.pool.clone()),
            publisher: Arc::new(publisher),
            outbox_changed: shared.store.outbox_changed(),
            stop: self.relay.stop().clone(),
            active: shared.status.relay_active.clone(),
        };
        let ready = shared.status.database_ready();
        let stop = self.relay.stop().clone();
        self.relay.essential("relay", async move {
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

    /// Waits for the stop, then works off what is in hand, relays what is committed, and ends; after the
    /// drain limit or a second signal it leaves at once.
    pub async fn finished(self) -> AppEnd {
        self.shutdown.stop.cancelled().await;
        let work = async {
            self.intake.wait_for_all().await;
            self.relay.stop().cancel();
            self.relay.wait_for_all().await;
        };
        let drained = self.shutdown.drain(work, self.config.shutdown_drain).await;
        self.relay.stop().cancel();
        self.rest.stop().cancel();
        // The links close in bounded time; after the limit or a second signal they are not waited for.
        if drained == Drained::Finished {
            let _ = self.shutdown.now.run_until_cancelled(self.rest.wait_for_all()).await;
        }
        match drained {
            _ if self.supervisor.has_failed() => AppEnd::Failed,
            Drained::Finished => AppEnd::Finished,
            Drained::CutOff => AppEnd::CutOff,
        }
    }

    /// Stops as a first signal does, and waits for the end.
    pub async fn stop(self) -> AppEnd {
        self.shutdown.signal();
        self.finished().await
    }
}

/// For dead letters: by this machine's clock.
fn now_here() -> Time {
    SystemClock.now()
}

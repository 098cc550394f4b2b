//! A world: everything one story needs, its own. It ends with the invariants that hold whatever the story
//! was: what DOKU's ledger says agrees with what was told.

use super::{
    broker::{self, Broker, Event},
    commands::Message,
    contract,
    database::{self, Database},
    eventually, eventually_or, get,
};
use doku_sandbox::{Merchant, Sandbox, SandboxConfig};
use jenius_pay::{
    app::{App, AppEnd, Role},
    config::{Config, RequiredSections, Source},
    shutdown::Shutdown,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use uuid::Uuid;

pub const CLIENT_ID: &str = "MCH-0001-10791114622547";
pub const SECRET_KEY: &str = "SK-canary-default-key";
/// Where notifications go, unless configured otherwise.
pub const PATH: &str = "/payments/notifications";
pub const OTHER_CLIENT_ID: &str = "MCH-0002-2002";
pub const OTHER_SECRET_KEY: &str = "SK-canary-other-key";

pub struct World {
    pub database: Database,
    pub broker: Broker,
    pub sandbox: Sandbox,
    /// The configuration, as environment variables.
    pub settings: BTreeMap<String, String>,
    /// Payments that upstream asked for by several commands, where the database forgot which of them was the first:
    /// DOKU may have seen as many bodies under one Request-Id.
    pub asked_anew: BTreeMap<String, usize>,
    app: Option<App>,
    unique: String,
    notified: bool,
}

/// How a world differs from the usual one.
pub struct Setting {
    settings: BTreeMap<String, String>,
    sandbox: SandboxConfig,
    roles: Vec<Role>,
    started: bool,
    notified: bool,
    broker_url: String,
    database_url: String,
    schema: Option<String>,
}

impl Setting {
    /// One more variable, `doku.timeout_ms` written as `DOKU__TIMEOUT_MS`.
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.insert(format!("JENIUS_PAY__{key}"), value.to_string());
        self
    }

    pub fn sandbox(mut self, change: impl FnOnce(&mut SandboxConfig)) -> Self {
        change(&mut self.sandbox);
        self
    }

    /// The sandbox notifies this world's ingress, and nobody asks Check Status for an hour.
    pub fn notified(mut self) -> Self {
        self.notified = true;
        self.set("CHECK__FIRST_AFTER_MS", 3_600_000)
    }

    /// On a broker of the story's own.
    pub fn on_broker(mut self, url: &str) -> Self {
        url.clone_into(&mut self.broker_url);
        self
    }

    /// On a database server of the story's own.
    pub fn on_database(mut self, url: &str) -> Self {
        url.clone_into(&mut self.database_url);
        self
    }

    /// With a schema that an older version made, as SQL; it is migrated then.
    pub fn on_schema(mut self, sql: &str) -> Self {
        self.schema = Some(sql.to_owned());
        self
    }

    /// The service is not started with the world.
    pub fn without_service(mut self) -> Self {
        self.started = false;
        self
    }

    pub async fn build(self) -> World {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(std::env::var("RUST_LOG").unwrap_or_else(|_| "error,lapin=off".to_owned()))
            .with_test_writer()
            .try_init();
        let unique = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let database = Database::create(&self.database_url, &unique).await;
        if let Some(sql) = &self.schema {
            database.load(sql).await;
        }
        let prefix = format!("t{unique}");
        let broker = Broker::connect(&self.broker_url, &prefix).await;
        let sandbox = Sandbox::start(self.sandbox).await.unwrap();
        let mut settings = self.settings;
        let mut default = |key: &str, value: &str| {
            settings.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        };
        default("DATABASE_URL", database.url.as_str());
        default("AMQP_URL", &self.broker_url);
        default("DOKU_BASE_URL", &sandbox.base_url());
        default("JENIUS_PAY__AMQP__PREFIX", &prefix);
        let (app, asked_anew, notified) = (None, BTreeMap::new(), self.notified);
        let mut world = World { database, broker, sandbox, settings, asked_anew, app, unique, notified };
        world.migrate().await;
        if self.started {
            world.start(&self.roles).await;
        }
        world
    }
}

impl World {
    /// The usual world: two merchants, short waits, an early Check Status, every role in one process.
    pub fn with() -> Setting {
        let settings = [
            ("DOKU_CLIENT_ID", CLIENT_ID),
            ("DOKU_SECRET_KEY", SECRET_KEY),
            ("JENIUS_PAY__MERCHANTS__OTHER__CLIENT_ID", OTHER_CLIENT_ID),
            ("JENIUS_PAY__MERCHANTS__OTHER__SECRET_KEY", OTHER_SECRET_KEY),
            ("JENIUS_OPERATOR", "tester"),
            ("JENIUS_PAY__ADMIN__LISTEN", "127.0.0.1:0"),
            ("JENIUS_PAY__INGRESS__LISTEN", "127.0.0.1:0"),
            ("JENIUS_PAY__DATABASE__MAX_CONNECTIONS", "6"),
            ("JENIUS_PAY__DOKU__TIMEOUT_MS", "2000"),
            ("JENIUS_PAY__DOKU__CONNECT_TIMEOUT_MS", "500"),
            ("JENIUS_PAY__RETRY__INITIAL_MS", "50"),
            ("JENIUS_PAY__RETRY__MAX_INTERVAL_MS", "400"),
            ("JENIUS_PAY__BREAKER__OPEN_MS", "300"),
            ("JENIUS_PAY__CHECK__FIRST_AFTER_MS", "200"),
        ];
        Setting {
            settings: settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            sandbox: SandboxConfig {
                merchants: vec![
                    Merchant::new(CLIENT_ID, SECRET_KEY),
                    Merchant::new(OTHER_CLIENT_ID, OTHER_SECRET_KEY),
                ],
                pay_after_ms: 100,
                ..SandboxConfig::default()
            },
            roles: Role::UNNAMED.to_vec(),
            started: true,
            notified: false,
            broker_url: broker::url(),
            database_url: database::url(),
            schema: None,
        }
    }

    pub async fn new() -> Self {
        Self::with().build().await
    }

    fn config(&self, roles: &BTreeSet<Role>) -> Config {
        let source = Source::new(None, self.settings.clone(), |path| std::fs::read_to_string(path));
        Config::load(&source, RequiredSections::for_roles(roles)).unwrap()
    }

    async fn migrate(&self) {
        let database = self.config(&Role::UNNAMED.into()).database.unwrap();
        let options = jenius_pay::postgres::connect_options(&database).unwrap();
        jenius_pay::postgres::migrate(&options).await.unwrap();
    }

    /// Starts the service; a second call after `stop` or `crash` is a restart.
    pub async fn start(&mut self, roles: &[Role]) {
        assert!(self.app.is_none(), "the service runs already");
        let roles = roles.iter().copied().collect();
        let app = Box::pin(App::start(self.config(&roles), &roles, Shutdown::new())).await.unwrap();
        self.app = Some(app);
        if self.notified && roles.contains(&Role::Ingress) {
            self.sandbox.set_notify_url(Some(&format!("{}{PATH}", self.ingress()))).unwrap();
        }
        eventually("the service to be ready", async || (self.admin("/readyz").await.0 == 200).then_some(()))
            .await;
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().expect("the service is not running")
    }

    /// Stops the service as SIGTERM does.
    pub async fn stop(&mut self) {
        if let Some(app) = self.app.take() {
            assert_ne!(app.stop().await, AppEnd::Failed, "a task ended by itself");
        }
    }

    /// A fresh invoice number.
    pub fn invoice(&self) -> String {
        format!("INV-{}", Uuid::new_v4().simple())
    }

    pub async fn publish(&self, message: &Message) {
        self.broker.publish(message).await;
    }

    /// All events so far that satisfy `wanted`.
    pub fn events(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.broker.events.lock().unwrap().iter().filter(|e| wanted(e)).cloned().collect()
    }

    /// The routing keys of an order's events, by version, each once.
    pub fn told(&self, invoice: &str) -> Vec<String> {
        let events = self.events(|e| e.invoice() == Some(invoice) && e.sequence().is_some());
        let by_version: BTreeMap<_, _> =
            events.iter().map(|e| (e.sequence().unwrap(), e.routing_key.clone())).collect();
        by_version.into_values().collect()
    }

    /// Waits for an order's event of a type.
    pub async fn event(&self, invoice: &str, routing_key: &str) -> Event {
        let what = || format!("{routing_key} of {invoice}; told so far: {:?}", self.told(invoice));
        eventually_or(what, async || {
            self.events(|e| e.invoice() == Some(invoice) && e.routing_key == routing_key).pop()
        })
        .await
    }

    /// Waits for the event that is about a command, whatever its order.
    pub async fn rejected(&self, command_id: &str) -> Event {
        eventually(&format!("command.rejected of {command_id}"), async || {
            self.events(|e| {
                e.routing_key == "command.rejected" && e.data("command_id").as_str() == Some(command_id)
            })
            .pop()
        })
        .await
    }

    /// The codes and fields of a rejection.
    pub async fn errors(&self, command_id: &str) -> Vec<(String, String)> {
        let event = self.rejected(command_id).await;
        let text = |e: &Value, m: &str| e[m].as_str().unwrap().to_owned();
        event.data("errors").as_array().unwrap().iter().map(|e| (text(e, "code"), text(e, "field"))).collect()
    }

    /// Pays an invoice, as far as `paid`, by Check Status.
    pub async fn paid(&self, invoice: &str) {
        self.publish(&super::payment(invoice)).await;
        self.event(invoice, "payment.accepted").await;
        self.event(invoice, "order.paid").await;
    }

    /// One order, as `orders show --json` has it.
    pub async fn order(&self, invoice: &str) -> Value {
        self.find_order(invoice).await.expect("no such order")
    }

    pub async fn find_order(&self, invoice: &str) -> Option<Value> {
        let view = jenius_pay::postgres::order_view(&self.database.program_pool(), "default", invoice)
            .await
            .unwrap();
        view.map(|view| serde_json::to_value(view).unwrap())
    }

    /// Where notifications go.
    pub fn ingress(&self) -> String {
        self.app()
            .ingress_address()
            .map_or_else(|| "http://127.0.0.1:9".to_owned(), |a| format!("http://{a}"))
    }

    /// What the admin listener answers.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        get(format!("http://{}{path}", self.app().admin_address())).await.unwrap()
    }

    /// Ends the world: the service stops, and what must always hold is checked.
    pub async fn end(mut self) {
        self.check_pages().await;
        self.stop().await;
        self.check_invariants().await;
        self.broker.clean().await;
        self.sandbox.stop().await;
        self.database.drop().await;
    }

    async fn check_invariants(&self) {
        let ledger = self.sandbox.ledger();
        for charge in &ledger.charges {
            let same = ledger
                .charges
                .iter()
                .filter(|c| c.invoice_number == charge.invoice_number && c.client_id == charge.client_id);
            assert_eq!(same.count(), 1, "charged twice: {}", charge.invoice_number);
            let bodies_max = self.asked_anew.get(&charge.request_id).copied().unwrap_or(1);
            assert!(ledger.distinct_bodies_of(&charge.request_id) <= bodies_max, "{}", charge.request_id);
        }
        for refund in &ledger.refunds {
            let count = ledger.refunds_of(&refund.invoice_number).count();
            assert!(count <= 1, "refunded twice: {}", refund.invoice_number);
            assert!(ledger.distinct_bodies_of(&refund.request_id) <= 1, "{}", refund.request_id);
        }
        let waiting = "SELECT count(*) FROM orders o WHERE state IN ('submitting','awaiting_payment','refunding') \
                       AND NOT EXISTS (SELECT FROM due d WHERE d.order_key = o.order_key)";
        assert_eq!(self.database.count(waiting).await, 0, "open orders with nothing due");
        // No foreign key says so.
        let orphans = "SELECT (SELECT count(*) FROM outbox LEFT JOIN events USING (event_id) WHERE body IS NULL) \
                       + (SELECT count(*) FROM due LEFT JOIN orders USING (order_key) WHERE state IS NULL) \
                       + (SELECT count(*) FROM orders LEFT JOIN commands ON key = payment WHERE key IS NULL) \
                       + (SELECT count(*) FROM orders LEFT JOIN commands ON key = refund \
                          WHERE refund IS NOT NULL AND key IS NULL) \
                       + (SELECT count(*) FROM attempts LEFT JOIN commands ON key = command_key WHERE key IS NULL) \
                       + (SELECT count(*) FROM commands LEFT JOIN events ON event_id = outcome_event \
                          WHERE outcome_event IS NOT NULL AND event_id IS NULL)";
        assert_eq!(self.database.count(orphans).await, 0, "rows that point to nothing");
        let gaps = "SELECT count(*) FROM orders o WHERE version <> (SELECT count(*) FROM events e \
                    WHERE e.order_key = o.order_key AND e.version BETWEEN 1 AND o.version)";
        assert_eq!(self.database.count(gaps).await, 0, "versions are not contiguous");
        let paid_twice = "SELECT count(*) FROM (SELECT order_key FROM events WHERE type = 'order.paid' \
                          GROUP BY order_key HAVING count(*) > 1) twice";
        assert_eq!(self.database.count(paid_twice).await, 0, "order.paid told twice");
        if self.broker.saw_everything {
            self.check_order_of_events();
        }
        self.check_canaries().await;
    }

    /// First publications come in the order of versions.
    fn check_order_of_events(&self) {
        let mut last: BTreeMap<String, u32> = BTreeMap::new();
        for event in self.events(|e| e.sequence().is_some()) {
            let (order, version) =
                (format!("{} {}", event.body["source"], event.body["subject"]), event.sequence().unwrap());
            let before = last.entry(order.clone()).or_default();
            assert!(version <= *before + 1, "{order}: version {version} came after {before}");
            *before = version.max(*before);
        }
    }

    /// No secret and no customer data in any event, nor in any column but the stored request.
    async fn check_canaries(&self) {
        for event in self.events(|_| true) {
            assert_no_canary("an event", &format!("{event:?}"));
            contract::check(&event);
        }
        for (table, column, kind) in self.database.columns().await {
            // What DOKU sent is kept as it came, for operators alone.
            let may_tell = [("commands", "request_body"), ("settlement_pieces", "bytes")];
            if !may_tell.contains(&(table.as_str(), column.as_str())) {
                let found = self.database.find(&table, &column, &kind, &CANARIES).await;
                assert!(found.is_none(), "in {table}.{column}: {found:?}");
            }
        }
    }

    /// What operators and Prometheus are shown.
    async fn check_pages(&self) {
        if self.app.is_some() {
            for page in ["/metrics", "/readyz"] {
                assert_no_canary(page, &self.admin(page).await.1);
            }
        }
    }
}

/// What identifies the stories' customer and keys, in any letter case.
const CANARIES: [&str; 4] = ["sk-canary", "astari", "081288910205", "$admin"];

pub fn assert_no_canary(place: &str, text: &str) {
    let lower = text.to_lowercase();
    for canary in CANARIES {
        let around = lower.find(canary).map(|at| {
            let from = lower.floor_char_boundary(at.saturating_sub(200));
            &lower[from..lower.floor_char_boundary(at + 100)]
        });
        assert!(around.is_none(), "{canary} in {place}: {around:?}");
    }
}

/// Time enough for something that must not happen to happen.
pub async fn a_while() {
    tokio::time::sleep(Duration::from_millis(700)).await;
}

impl World {
    /// What makes this world's names its own.
    pub fn unique(&self) -> &str {
        &self.unique
    }
}

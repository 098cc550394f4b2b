//! The store against a real Postgres: `DATABASE_URL` names a server on which databases may be made. Each
//! test has a database of its own, copied from one that was migrated once, and drops it.

mod actions;
mod claims;
mod connections;
mod console;
mod console_lists;
mod evidence;
mod flood;
mod follow_up;
mod forecast;
mod forgotten;
mod imports;
mod interleaved;
mod model;
mod notifications;
mod operators;
mod pauses;
mod permutations;
mod prompts;
mod prune;
mod query_plans;
mod rate;
mod records;
mod refunds;
mod relay;
mod replay;
mod reviews;
mod schema;
mod second_person;
mod settlement;
mod slices;
mod together;
mod views;

use super::{CountingPace, PostgresStore, connect::with_settings, migrate, pool, pool::PgPool};
use crate::{
    domain::{
        command::{Command, CommandKind, Order, StoredRequest, TraceContext},
        finding::{
            DokuHealth, InquiryFinding, InquiryFindingKind, Report, ReportedStatus, SendFinding,
            SendFindingKind,
        },
        ids::{
            CommandId, CommandSource, Identity, InvoiceNumber, MerchantName, payment_request_id,
            refund_request_id,
        },
        money::{ReportedAmount, Rupiah},
        retry::RetryPolicy,
        schedule::{AttemptSchedule, CheckSchedule},
        signed::Form,
    },
    flow::ports::{
        Account, Claim, Claimed, DueClaim, DueFilter, DueNeed, DueOf, DueOrder, DueWhat, Finding, LeftOut,
        NewCommand, OperatorStore, Store,
    },
};
use futures_util::{FutureExt, future::join_all};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{panic::AssertUnwindSafe, str::FromStr, sync::Arc, time::Duration};
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(45);
const BUDGET: Duration = Duration::from_secs(900);

const POOL_MAX: u32 = 20;

/// A database of one test.
#[derive(Clone)]
struct Db {
    name: String,
    server: PgConnectOptions,
    options: PgConnectOptions,
    pool: PgPool,
    /// For what a test asks and does itself.
    sql: sqlx::PgPool,
    store: PostgresStore,
}

/// Runs a test on a database of its own, and drops it whatever the test says.
async fn on_a_database<F: Future<Output = ()>>(test: impl FnOnce(Db) -> F) {
    let db = Db::create().await;
    let ended = AssertUnwindSafe(test(db.clone())).catch_unwind().await;
    db.pool.close().await;
    db.sql.close().await;
    let mut server = PgConnection::connect_with(&db.server).await.unwrap();
    execute(&mut server, &format!("DROP DATABASE {} WITH (FORCE)", db.name)).await.unwrap();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

async fn execute(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(connection).await.map(|_| ())
}

impl Db {
    async fn create() -> Self {
        let url = std::env::var("DATABASE_URL")
            .expect("DATABASE_URL names a PostgreSQL server on which the tests may make databases");
        let server = PgConnectOptions::from_str(&url).unwrap();
        let name = format!("jenius_test_{}", Uuid::new_v4().simple());
        let mut connection = PgConnection::connect_with(&server).await.unwrap();
        execute(&mut connection, "SELECT pg_advisory_lock(713)").await.unwrap();
        let template = template(&mut connection, &server).await;
        copy(&mut connection, &name, &template).await;
        connection.close().await.unwrap();
        let options = with_settings(server.clone().database(&name));
        let pool = pool(options.clone(), POOL_MAX);
        let store = PostgresStore::with_jitter(pool.clone(), schedule(), Arc::new(|| 0.5));
        let sql = PgPoolOptions::new().max_connections(POOL_MAX).connect_lazy_with(options.clone());
        Self { name, server, options, pool, sql, store }
    }

    async fn execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        execute(&mut *self.sql.acquire().await?, sql).await
    }

    /// Moves the database's clock to so many seconds after the machine's.
    async fn jump(&self, seconds: i64) {
        self.execute(&format!(
            "CREATE OR REPLACE FUNCTION jenius_now() RETURNS timestamptz LANGUAGE sql VOLATILE
             AS 'SELECT clock_timestamp() + interval ''{seconds} seconds'''"
        ))
        .await
        .unwrap();
    }

    /// Has the store's sessions say what they read so far: the server hears of it up to ten seconds later otherwise.
    async fn count_now(&self) {
        for session in join_all((0..POOL_MAX).map(|_| self.pool.acquire())).await {
            let mut session = session.unwrap();
            execute(&mut session, "SELECT pg_stat_force_next_flush()").await.unwrap();
            session.release();
        }
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&self.sql).await.unwrap()
    }

    async fn text(&self, sql: &str) -> String {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&self.sql).await.unwrap()
    }

    async fn state(&self) -> String {
        self.text("SELECT state FROM orders").await
    }

    /// A store whose updates of a table by a statement with these words wait until what is returned beside it ends: each has
    /// its snapshot by then, and others overtake it.
    async fn overtaken(
        &self,
        table: &str,
        words: &str,
    ) -> (PostgresStore, sqlx::Transaction<'static, sqlx::Postgres>) {
        let gate = format!(
            "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF current_setting('application_name') = 'overtaken' AND position(TG_ARGV[0] IN current_query()) > 0
                 THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
                 RETURN NULL; END $$;
             CREATE TRIGGER gate BEFORE UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION gate('{words}')"
        );
        self.execute(&gate).await.unwrap();
        let mut held = self.sql.begin().await.unwrap();
        sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *held).await.unwrap();
        let options = self.options.clone().application_name("overtaken");
        (PostgresStore::with_jitter(pool(options, 2), schedule(), Arc::new(|| 0.5)), held)
    }

    /// Until a statement of that store waits.
    async fn until_overtaken(&self) {
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name = 'overtaken' AND wait_event = 'advisory'";
        while self.number(waits).await == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The bodies of all events, in the order of their outbox rows.
    async fn outbox(&self) -> Vec<serde_json::Value> {
        let bodies: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT e.body FROM outbox JOIN events e USING (event_id) ORDER BY sequence")
                .fetch_all(&self.sql)
                .await
                .unwrap();
        bodies.iter().map(|body| serde_json::from_slice(body).unwrap()).collect()
    }

    async fn types(&self) -> Vec<String> {
        self.outbox().await.iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect()
    }

    /// The code of the only error of the last event, which is a rejection.
    async fn rejection(&self) -> String {
        let told = self.outbox().await.pop().unwrap();
        assert_eq!(told["type"], "jenius.command.rejected.v1");
        assert_eq!(told["data"]["errors"].as_array().unwrap().len(), 1);
        told["data"]["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    async fn claim(&self, new: NewCommand) -> Claim {
        match self.store.claim(new).await.unwrap() {
            Claimed::Granted(claim) => *claim,
            other => panic!("not ours: {other:?}"),
        }
    }

    /// A payment that was claimed, taken by DOKU and paid.
    async fn paid_order(&self, invoice: &str) {
        let claim = self.claim(payment(&format!("pay-{invoice}"), invoice)).await;
        self.store.record(&claim, &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
        self.jump(120).await;
        let number = InvoiceNumber::parse(invoice).unwrap();
        let inquiry = self.store.inquire_now(&merchant(), &number, LEASE).await.unwrap().unwrap();
        self.store.record(&inquiry, &reported("SUCCESS", 50_000), Duration::ZERO).await.unwrap();
        self.jump(0).await;
    }
}

/// The name of the database that all others are copied from; it is made where this schema has none yet.
async fn template(connection: &mut PgConnection, server: &PgConnectOptions) -> String {
    let name = format!("jenius_template_{}", super::schema::fingerprint().simple());
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    if !exists {
        execute(connection, &format!("DROP DATABASE IF EXISTS {name}_making")).await.unwrap();
        execute(connection, &format!("CREATE DATABASE {name}_making")).await.unwrap();
        migrate(&server.clone().database(&format!("{name}_making"))).await.unwrap();
        copy(connection, &name, &format!("{name}_making")).await;
        execute(connection, &format!("DROP DATABASE {name}_making WITH (FORCE)")).await.unwrap();
    }
    name
}

/// The server closes the connections of a database a moment after its clients did.
async fn copy(connection: &mut PgConnection, name: &str, from: &str) {
    for _ in 0..200 {
        match execute(connection, &format!("CREATE DATABASE {name} TEMPLATE {from}")).await {
            Ok(()) => return,
            Err(sqlx::Error::Database(busy)) if busy.code().as_deref() == Some("55006") => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("{from} stayed in use");
}

fn schedule() -> AttemptSchedule {
    let seconds = Duration::from_secs;
    AttemptSchedule {
        retry: RetryPolicy {
            initial: Duration::from_millis(500),
            multiplier: 2.0,
            jitter: 0.5,
            max_interval: seconds(300),
        },
        check: CheckSchedule {
            first_after: seconds(60),
            max_interval: seconds(3600),
            not_found_grace: seconds(3900),
            give_up_after: seconds(259_200),
            afterwards: vec![seconds(3600), seconds(21_600), seconds(86_400)],
        },
        trust_response: false,
        match_request_id: true,
    }
}

fn merchant() -> MerchantName {
    MerchantName::default_account()
}

fn account() -> Account {
    Account {
        merchant: merchant(),
        client_id: "BRN-1".to_owned(),
        base_url: "https://doku.example".to_owned(),
    }
}

fn filter() -> DueFilter {
    DueFilter { merchants: vec![DueOf { account: account(), sends: 100, inquiries: 100 }], lost: 100 }
}

/// What is taken on for it.
fn for_it(due: &DueOrder) -> DueNeed {
    match due.what {
        DueWhat::Lost => DueNeed::Lost,
        DueWhat::Send { asks_first: true, .. } | DueWhat::Inquiry(_) => DueNeed::Inquiry,
        DueWhat::Send { asks_first: false, .. } => DueNeed::Send { inquiry_held_back: false },
    }
}

/// The first of what is due, whatever was lost before it.
async fn taken(store: &PostgresStore) -> Claim {
    for _ in 0..2 {
        let mut due = store.due(&filter()).await.unwrap();
        due.sort_by_key(|order| order.what != DueWhat::Lost);
        for order in due {
            if let DueClaim::Attempt(claim) = store.claim_due(&order, for_it(&order), LEASE).await.unwrap() {
                return *claim;
            }
        }
    }
    panic!("nothing to take")
}

fn new_command(kind: CommandKind, id: &str, invoice: &str, amount: u64) -> NewCommand {
    let identity =
        Identity { source: CommandSource::parse("/shop").unwrap(), id: CommandId::parse(id).unwrap() };
    let invoice_number = InvoiceNumber::parse(invoice).unwrap();
    let amount = Rupiah::new(amount).unwrap();
    let request_id = match kind {
        CommandKind::Payment => payment_request_id(&invoice_number),
        CommandKind::Refund => refund_request_id(&merchant(), &identity),
    };
    NewCommand {
        command: Command {
            identity,
            kind,
            merchant: "default".to_owned(),
            invoice_number: Some(invoice.to_owned()),
            digest: [7; 32],
            expires_at: None,
            dated_at: None,
            published_at: None,
            came_before: 0,
            budget_from_time: None,
            trace: TraceContext { traceparent: Some("00-aa-bb-01".to_owned()), tracestate: None },
        },
        order: Order { merchant: merchant(), invoice_number: invoice_number.clone(), amount },
        request: Arc::new(StoredRequest {
            merchant: merchant(),
            kind,
            invoice_number,
            amount,
            request_id,
            client_id: account().client_id,
            base_url: account().base_url,
            body: br#"{"order":{"reason":"broken"}}"#.to_vec(),
            payment_body: Vec::new(),
        }),
        budget: BUDGET,
        lease: Some(LEASE),
        token: Uuid::new_v4(),
    }
}

fn payment(id: &str, invoice: &str) -> NewCommand {
    new_command(CommandKind::Payment, id, invoice, 50_000)
}

fn refund(id: &str, invoice: &str) -> NewCommand {
    new_command(CommandKind::Refund, id, invoice, 50_000)
}

fn send(finding: SendFindingKind) -> Finding {
    Finding::Send(SendFinding {
        kind: finding,
        http_status: Some(200),
        retry_after: None,
        health: DokuHealth::Well,
    })
}

fn accepted(status: &str) -> Finding {
    send(SendFindingKind::Accepted { status: status.to_owned() })
}

fn not_acted() -> Finding {
    send(SendFindingKind::NotActed { why: "connection refused".to_owned() })
}

fn in_doubt() -> Finding {
    send(SendFindingKind::InDoubt { why: "timeout".to_owned() })
}

fn reported(word: &str, amount: u64) -> Finding {
    let amount = ReportedAmount::Whole(Rupiah::new(amount).unwrap());
    let report = Report { status: ReportedStatus::read(word), word: word.to_owned(), amount, request: None };
    let finding = InquiryFindingKind::Reported(report);
    Finding::Inquiry(InquiryFinding { kind: finding, http_status: Some(200), retry_after: None })
}

//! A stage: a database and names on the broker that are this measurement's own, and a DOKU of its own. Whatever
//! happens on it, they are gone afterwards. It must never touch what it did not make.

use super::{
    Bench,
    commands::Commands,
    load::Load,
    processes::{Groups, Process, listener},
    service::Service,
    tables::Filled,
};
use anyhow::{Context, anyhow, bail};
use doku_sandbox::{Counts, EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY};
use parking_lot::Mutex;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use std::{
    process::Command,
    time::{Duration, Instant},
};
use url::Url;

/// Events wait here while the worker is measured.
const EVENTS_QUEUE: &str = "bench-events";
const QUEUES: [&str; 6] = ["payments", "refunds", "notifications", "dead", "unrouted", EVENTS_QUEUE];
const EXCHANGES: [&str; 5] = ["commands", "notifications", "events", "dead", "unrouted"];
/// A second merchant of DOKU's.
pub const BUSY_CLIENT_ID: &str = "MCH-bench-busy";
pub const BUSY_SECRET_KEY: &str = "SK-bench-busy";
const READY_LIMIT: Duration = Duration::from_secs(30);

pub struct BenchSetup<'a> {
    pub bench: &'a Bench,
    pub commands: Commands,
    pub load: Load,
    pub database_url: Url,
    pub http: reqwest::Client,
    database: String,
    prefix: String,
    /// The sandbox, in its fast mode; `None` while it is down.
    doku: Mutex<Option<Process>>,
    doku_url: String,
}

impl BenchSetup<'_> {
    pub fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.prefix)
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn events_queue(&self) -> String {
        self.name(EVENTS_QUEUE)
    }

    pub fn doku_url(&self) -> &str {
        &self.doku_url
    }

    /// What the service's tables are filled with: the orders of these commands.
    pub fn filled<'a>(&'a self, commands: &'a Commands, count: u64) -> Filled<'a> {
        let base_url = self.doku_url();
        Filled { commands, client_id: EXAMPLE_CLIENT_ID, base_url, count }
    }

    pub async fn sql(&self) -> anyhow::Result<PgConnection> {
        connect(&self.database_url).await
    }

    /// What DOKU did.
    pub async fn doku_counts(&self) -> anyhow::Result<Counts> {
        let answer = self.http.get(format!("{}/ledger", self.doku_url)).send().await?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    pub async fn doku_answers_after(&self, latency: Duration) -> anyhow::Result<()> {
        let body = format!(r#"{{"latency_ms":{}}}"#, latency.as_millis());
        let answer = self.http.post(format!("{}/faults", self.doku_url)).body(body).send().await?;
        answer.error_for_status().map(drop).map_err(Into::into)
    }

    /// Nothing listens any more where DOKU was.
    pub fn doku_ends(&self) {
        let running = self.doku.lock().take();
        drop(running);
    }

    /// Under the address it had, with no memory of before.
    pub async fn doku_returns(&self) -> anyhow::Result<()> {
        let address = self.doku_url.trim_start_matches("http://");
        let (process, _) = start_doku(self.bench, address).await?;
        *self.doku.lock() = Some(process);
        Ok(())
    }

    /// Everything with a CPU time that can be read: servers on this machine, DOKU, and the load.
    pub fn groups(&self) -> Groups {
        let mut groups = Groups::default().with("load", std::process::id());
        if let Some(pid) = self.doku.lock().as_ref().map(Process::pid) {
            groups = groups.with("doku", pid);
        }
        for (name, url) in [("postgres", Some(&self.database_url)), ("rabbitmq", self.bench.amqp().as_ref())]
        {
            if let Some(pid) = url.and_then(local_port).and_then(listener) {
                groups = groups.with(name, pid);
            }
        }
        groups
    }

    async fn clear(self) -> anyhow::Result<()> {
        let names = |all: &[&str]| all.iter().map(|name| self.name(name)).collect::<Vec<_>>();
        let deleted = self.load.delete(&names(&QUEUES), &names(&EXCHANGES)).await;
        let mut admin = connect(&self.bench.servers.database).await?;
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.database))).await?;
        deleted
    }
}

/// Sets a stage, works on it, and clears it, after Ctrl-C too.
pub async fn with_setup<T>(
    bench: &Bench,
    work: impl AsyncFnOnce(&BenchSetup<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let setup = set(bench).await?;
    let result = tokio::select! {
        result = work(&setup) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("stopped")),
    };
    let cleared = setup.clear().await;
    let result = result?;
    cleared.map(|()| result)
}

async fn set(bench: &Bench) -> anyhow::Result<BenchSetup<'_>> {
    let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let database = format!("jenius_bench_{id}");
    let mut admin = connect(&bench.servers.database).await?;
    let load = Load::connect(&bench.servers.amqp).await?;
    let (doku, doku_url) = start_doku(bench, "127.0.0.1:0").await?;
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {database}"))).await?;
    let mut database_url = bench.servers.database.clone();
    database_url.set_path(&database);
    let http = reqwest::Client::builder().no_proxy().build()?;
    let prefix = format!("bench-{id}");
    let setup = BenchSetup {
        bench,
        commands: Commands::new(&id),
        load,
        database_url,
        http,
        database,
        prefix,
        doku: Mutex::new(Some(doku)),
        doku_url,
    };
    if let Err(error) = provision(&setup).await {
        setup.clear().await?;
        return Err(error);
    }
    Ok(setup)
}

async fn connect(database: &Url) -> anyhow::Result<PgConnection> {
    let options: PgConnectOptions = database.as_str().parse()?;
    // What is slow here is meant to be.
    let options = options.disable_statement_logging();
    PgConnection::connect_with(&options).await.context("PostgreSQL is away")
}

/// The product makes its own tables, exchanges and queues; subscribers bring theirs.
async fn provision(setup: &BenchSetup<'_>) -> anyhow::Result<()> {
    let mut migrate = setup.bench.command(setup);
    let migrated = tokio::task::spawn_blocking(move || migrate.arg("migrate").output()).await??;
    if !migrated.status.success() {
        bail!("the database cannot be migrated:\n{}", String::from_utf8_lossy(&migrated.stderr));
    }
    let mut ingress = Service::start(setup, &["ingress"], &[])?;
    let end = Instant::now() + READY_LIMIT;
    while !ingress.is_ready().await {
        ingress.process.must_run()?;
        if Instant::now() > end {
            bail!("the broker's topology was not declared:\n{}", ingress.process.log_tail());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(ingress);
    setup.load.declare(&setup.events_queue(), Some(&setup.name("events"))).await
}

/// The process, and its base URL.
async fn start_doku(bench: &Bench, listen: &str) -> anyhow::Result<(Process, String)> {
    let mut command = Command::new(&bench.program);
    command
        .args(["sandbox", "--fast", "--listen", listen])
        .args(["--client-id", EXAMPLE_CLIENT_ID, "--secret-key", EXAMPLE_SECRET_KEY])
        .args(["--client-id", BUSY_CLIENT_ID, "--secret-key", BUSY_SECRET_KEY]);
    let mut process = Process::spawn(&mut command, "the sandbox")?;
    let output = process.output()?;
    // It goes on printing although its output is not read.
    let (line, _) = process.line(output).await?;
    let base_url = line.split_whitespace().last().context("the sandbox names no address")?.to_owned();
    Ok((process, base_url))
}

/// The port, where the host is this machine.
fn local_port(url: &Url) -> Option<u16> {
    let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    let usual = match url.scheme() {
        "amqp" => Some(5672),
        "amqps" => Some(5671),
        _ => Some(5432),
    };
    if local { url.port().or(usual) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_of_this_machine_have_a_process_here() {
        for (url, port) in [
            ("postgres://u@127.0.0.1:26000/x", Some(26000)),
            ("postgres://u@localhost/x", Some(5432)),
            ("amqp://guest:guest@localhost/%2f", Some(5672)),
            ("amqps://g:g@[::1]/%2f", Some(5671)),
            ("postgres://u@db.example.com:5432/x", None),
        ] {
            assert_eq!(local_port(&url.parse().unwrap()), port, "{url}");
        }
    }
}

//! What the server says of itself, for `doctor`: facts, judged elsewhere. On one connection of its own, so that a
//! full pool hides nothing. It changes nothing.

use crate::postgres::{
    error::store_error,
    rights,
    schema::{self, Migrations},
    server::is_pooled,
};
use crate::{
    config::Role,
    domain::Time,
    flow::ports::{Clock, StoreError},
};
use chrono::TimeDelta;
use sqlx::{
    Connection, FromRow, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

/// From the first packet to the last answer.
const EXAMINE_MAX: Duration = Duration::from_secs(15);

/// The settings that are asked for.
const SETTINGS: [&str; 15] = [
    "autovacuum",
    "fsync",
    "full_page_writes",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "max_connections",
    "max_wal_size",
    "server_encoding",
    "server_version",
    "server_version_num",
    "shared_buffers",
    "statement_timeout",
    "synchronous_commit",
    "synchronous_standby_names",
    "track_counts",
];

/// How what passes is protected, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Open,
    /// TLS with any server: `sslmode=require` and `prefer` check no certificate.
    Unchecked,
    /// A certificate of an authority that is trusted, whatever the name in it.
    AnyName,
    Checked,
}

/// Everything about the server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerFacts {
    /// As `current_setting` writes them, in the session that every connection of ours has.
    pub settings: BTreeMap<String, String>,
    pub shared_buffers_bytes: i64,
    pub max_wal_bytes: i64,
    pub database_bytes: i64,
    pub transport: Transport,
    /// What lies between lends a session of the server to several connections.
    pub pooled: bool,
    /// What this user may not do and some role needs, as `INSERT on outbox`.
    pub missing_rights: Vec<String>,
    /// A standby: it reads only.
    pub in_recovery: bool,
    /// Connections that this user may open in this database, and those that are open on the whole server.
    pub connections_max: i64,
    pub connections_used: i64,
    /// Physical ones that are connected now.
    pub standbys: i64,
    /// The server's clock minus this machine's.
    pub drift: TimeDelta,
    pub migrations: Migrations,
    /// To which environment the database is bound; `None`: not yet.
    pub environment: Option<String>,
    /// Which merchants' sends are paused: `*` for all.
    pub paused: Vec<String>,
}

#[derive(FromRow)]
struct ServerFigures {
    shared_buffers_bytes: i64,
    max_wal_bytes: i64,
    database_bytes: i64,
    tls: bool,
    in_recovery: bool,
    connections_max: i64,
    connections_used: i64,
    standbys: i64,
}

/// A limit of -1 on a database or a user is none. The places kept for superusers are not ours.
const FIGURES: &str = "
    SELECT pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers_bytes,
           pg_size_bytes(current_setting('max_wal_size')) AS max_wal_bytes,
           pg_database_size(current_database()) AS database_bytes,
           coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
           pg_is_in_recovery() AS in_recovery,
           least(current_setting('max_connections')::bigint
                     - current_setting('superuser_reserved_connections')::bigint
                     - coalesce(current_setting('reserved_connections', true), '0')::bigint,
                 (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
                 (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user))::bigint
               AS connections_max,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections_used,
           greatest((SELECT count(*) FROM pg_stat_replication)
               - (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical' AND active), 0) AS standbys";

/// Asks the server about itself, a bounded time.
pub async fn examine(options: &PgConnectOptions, clock: &impl Clock) -> Result<ServerFacts, StoreError> {
    let asked = async {
        let mut connection = PgConnection::connect_with(options).await?;
        // First: a shared session mixes up what is prepared in it.
        let pooled = is_pooled(options, &mut connection).await?;
        let mut facts = ask(&mut connection, clock).await?;
        facts.transport = transport(options, facts.transport);
        facts.pooled = pooled;
        connection.close().await?;
        Ok(facts)
    };
    match timeout(EXAMINE_MAX, asked).await {
        Ok(answer) => answer.map_err(|error: sqlx::Error| store_error(&error)),
        Err(_) => Err(StoreError::Away(format!("no answer within {} s", EXAMINE_MAX.as_secs()))),
    }
}

async fn ask(connection: &mut PgConnection, clock: &impl Clock) -> sqlx::Result<ServerFacts> {
    let drift = drift(connection, clock).await?;
    let settings: Vec<(String, String)> =
        sqlx::query_as("SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY ($1)")
            .bind(SETTINGS.as_slice())
            .fetch_all(&mut *connection)
            .await?;
    let figures: ServerFigures = sqlx::query_as(FIGURES).fetch_one(&mut *connection).await?;
    let migrations = schema::compare(connection).await?;
    let missing_rights = if migrations.pending.is_empty() {
        rights::missing(connection, &Role::UNNAMED.into()).await?
    } else {
        Vec::new()
    };
    let environment = match exists(connection, "installation").await? {
        true => {
            sqlx::query_scalar("SELECT environment FROM installation")
                .fetch_optional(&mut *connection)
                .await?
        }
        false => None,
    };
    let paused = match exists(connection, "pauses").await? {
        true => {
            sqlx::query_scalar("SELECT scope FROM pauses ORDER BY scope").fetch_all(&mut *connection).await?
        }
        false => Vec::new(),
    };
    Ok(ServerFacts {
        settings: settings.into_iter().collect(),
        shared_buffers_bytes: figures.shared_buffers_bytes,
        max_wal_bytes: figures.max_wal_bytes,
        database_bytes: figures.database_bytes,
        transport: if figures.tls { Transport::Unchecked } else { Transport::Open },
        pooled: false,
        missing_rights,
        in_recovery: figures.in_recovery,
        connections_max: figures.connections_max,
        connections_used: figures.connections_used,
        standbys: figures.standbys,
        drift,
        migrations,
        environment,
        paused,
    })
}

fn transport(options: &PgConnectOptions, found: Transport) -> Transport {
    match (found, options.get_ssl_mode()) {
        (Transport::Open, _) => Transport::Open,
        (_, PgSslMode::VerifyFull) => Transport::Checked,
        (_, PgSslMode::VerifyCa) => Transport::AnyName,
        _ => Transport::Unchecked,
    }
}

/// The server's own clock: nothing is decided by it here. It was read some time between the two looks at ours.
async fn drift(connection: &mut PgConnection, clock: &impl Clock) -> sqlx::Result<TimeDelta> {
    let before = clock.now();
    let theirs: Time = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(connection).await?;
    let after = clock.now();
    Ok(theirs - (before + (after - before) / 2))
}

async fn exists(connection: &mut PgConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(connection).await
}

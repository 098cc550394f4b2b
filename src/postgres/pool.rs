//! Connections and their limits. Nothing connects before it is used, and nothing exits because Postgres
//! is away.

use super::renew;
use crate::{config::Database, flow::ports::StoreError};
use secrecy::ExposeSecret;
use sqlx::{
    ConnectOptions, Connection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{str::FromStr, time::Duration};

/// How long a statement waits for a free connection.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// A connection that has been idle for so long is tried before it is used: the server may have gone. One that was
/// used a moment ago was tried then.
const UNTRIED_MAX: Duration = Duration::from_secs(1);
/// A connection that has been idle for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// The server's side of every wait: what it must not hold for a client that is gone or stuck. The
/// keepalives are its own too: a host that vanished must not hold the relay's lock for hours.
///
/// Every statement of ours finds its rows by an index. What the planner knows of a young database, and keeps
/// in its plans, would have it read tables as a whole that are long a minute later.
const SETTINGS: [(&str, &str); 14] = [
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
    ("default_transaction_isolation", "read committed"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "30000"),
    ("client_min_messages", "warning"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // A statement is planned once for each connection: to plan one anew takes as long as to run it.
    ("plan_cache_mode", "force_generic_plan"),
    // What is forbidden above counts as so dear that the server would compile each statement.
    ("jit", "off"),
];

/// How to connect. Fails only where the URL cannot be read, and says so without repeating it.
pub fn connect_options(database: &Database) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(database.url.expose_secret())
        .map_err(|_| StoreError::Refused("database.url is no postgres:// URL".to_owned()))?;
    Ok(with_settings(options))
}

/// Every connection of ours has them.
pub(super) fn with_settings(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("jenius-pay").options(SETTINGS).disable_statement_logging()
}

/// The pool; it connects with its first use.
pub fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_MAX)
        .idle_timeout(IDLE_MAX)
        .test_before_acquire(false)
        .before_acquire(|connection, is| {
            Box::pin(async move {
                if renew::is_older(is.age) {
                    return Ok(false);
                }
                if is.idle_for > UNTRIED_MAX {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

//! How a connection is made, and what every one of ours has.

use super::{
    pool::Beside,
    server::{Server, Unfit},
};
use crate::{config::Database, flow::ports::StoreError};
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use std::{str::FromStr, sync::Arc};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

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

/// How to connect. Fails only where the URL or the file of authorities cannot be read, and says so without the URL.
pub fn connect_options(database: &Database) -> Result<PgConnectOptions, StoreError> {
    let unreadable = || StoreError::Refused("database.url is no postgres:// URL".to_owned());
    let url = Url::parse(database.url.expose_secret()).map_err(|_| unreadable())?;
    let mut options = PgConnectOptions::from_str(url.as_str()).map_err(|_| unreadable())?;
    // sqlx takes the brackets for a part of the address.
    if let Some(Host::Ipv6(address)) = url.host() {
        options = options.host(&address.to_string());
    }
    let mut authorities = database.authorities.clone().unwrap_or_default();
    for (parameter, path) in url.query_pairs() {
        if ["sslrootcert", "sslcert", "sslkey"].contains(&parameter.as_ref()) {
            let text = std::fs::read_to_string(path.as_ref()).map_err(|error| {
                StoreError::Refused(format!("{parameter} of database.url: {path} cannot be read: {error}"))
            })?;
            if parameter == "sslrootcert" {
                authorities.push('\n');
                authorities.push_str(&text);
            }
        }
    }
    if !authorities.is_empty() {
        options = options.ssl_root_cert_from_pem(authorities.into_bytes());
    }
    Ok(with_settings(options))
}

/// How the console connects: a page that is not answered soon is asked for again, and must not hold what payments need.
pub fn console_connect_options(database: &Database) -> Result<PgConnectOptions, StoreError> {
    Ok(connect_options(database)?.options([("statement_timeout", "5s")]))
}

/// Every connection of ours has them.
pub(super) fn with_settings(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("jenius-pay").options(SETTINGS).disable_statement_logging()
}

/// One connection, judged, until then.
pub(super) async fn connect(
    options: &PgConnectOptions,
    server: &Arc<Server>,
    until: Instant,
) -> Result<Beside, Unfit> {
    let connecting = async {
        let mut connection =
            PgConnection::connect_with(options).await.map_err(|error| Unfit::from_error(&error))?;
        let judged = server.judge(&mut connection).await?;
        server.refuse_shared(options, &mut connection).await?;
        Ok(Beside { connection, judged })
    };
    match timeout_at(until, connecting).await {
        Ok(answer) => answer,
        Err(_) => Err(Unfit::Failed(StoreError::Away(
            "the server takes no connection: it does not answer".to_owned(),
        ))),
    }
}

//! What the facts about the database server mean.

use super::{
    check::{
        Check, POSTGRES_AUTOVACUUM, POSTGRES_CLOCK, POSTGRES_CONNECTIONS, POSTGRES_DURABILITY,
        POSTGRES_ENCODING, POSTGRES_ENVIRONMENT, POSTGRES_MEMORY, POSTGRES_MIGRATIONS, POSTGRES_REACHABLE,
        POSTGRES_RIGHTS, POSTGRES_SESSION, POSTGRES_STANDBY, POSTGRES_TRANSPORT, POSTGRES_VERSION,
        POSTGRES_WRITABLE,
    },
    place::ServerPlace,
};
use crate::{
    config::Environment,
    flow::ports::StoreError,
    postgres::{Migrations, ServerFacts, Transport},
};
use chrono::TimeDelta;

/// The oldest that is tested.
const VERSION_MIN: u32 = 15;
/// Beyond the pool: the relay's seat, and its ear for others.
const CONNECTIONS_BESIDE: i64 = 2;
/// The clocks of two machines that are kept by NTP differ by milliseconds.
const DRIFT_SECONDS_MAX: i64 = 5;
const GIB: i64 = 1 << 30;
/// The defaults of PostgreSQL, enough for databases that fit into memory beside them.
const SHARED_BUFFERS_DEFAULT: i64 = 128 << 20;
const MAX_WAL_DEFAULT: i64 = GIB;
const DATABASE_LARGE: i64 = 8 * GIB;

/// What is configured, and matters here.
pub struct Ours {
    pub place: ServerPlace,
    pub environment: Environment,
    pub max_connections: u32,
}

pub fn judge(ours: &Ours, found: &Result<ServerFacts, StoreError>) -> Vec<Check> {
    match found {
        Ok(facts) => vec![
            Check::ok(POSTGRES_REACHABLE, ours.place.to_string()),
            version(facts),
            transport(&ours.place, facts.transport),
            writable(facts.in_recovery),
            encoding(facts),
            migrations(&facts.migrations),
            rights(&facts.missing_rights),
            environment(ours.environment, facts.environment.as_deref()),
            durability(ours.environment, facts),
            standby(facts),
            autovacuum(facts),
            memory(facts),
            connections(ours.max_connections, facts),
            session(facts),
            clock(facts.drift),
        ],
        Err(error) => {
            let (why, hint) = match error {
                StoreError::Away(why) => (why, "start PostgreSQL, or correct database.url"),
                StoreError::Contended(why) => (why, "end the transaction that holds the lock"),
                StoreError::Refused(why) => (why, "PostgreSQL answers and refuses: correct what it names"),
            };
            let hint = format!("{hint}; until then nothing is taken from the broker");
            vec![Check::fail(POSTGRES_REACHABLE, format!("{}: {why}", ours.place), hint)]
        }
    }
}

/// Commands carry any text.
fn encoding(facts: &ServerFacts) -> Check {
    match setting(facts, "server_encoding") {
        "UTF8" => Check::ok(POSTGRES_ENCODING, "UTF8"),
        other => Check::fail(
            POSTGRES_ENCODING,
            format!("{other}: it cannot hold every text"),
            "make a database with ENCODING 'UTF8' TEMPLATE template0, and move the data by pg_dump",
        ),
    }
}

fn rights(missing: &[String]) -> Check {
    if missing.is_empty() {
        return Check::ok(POSTGRES_RIGHTS, "this user has what the roles need");
    }
    let hint = "if this user is for some roles only, that is as it should be: see RUNBOOK, Database users; else run \
                `jenius-pay migrate --grant` as the owner";
    Check::warn(POSTGRES_RIGHTS, format!("this user lacks {}", missing.join(", ")), hint)
}

fn setting<'a>(facts: &'a ServerFacts, name: &str) -> &'a str {
    facts.settings.get(name).map_or("unknown", String::as_str)
}

fn version(facts: &ServerFacts) -> Check {
    let version = setting(facts, "server_version");
    let major = setting(facts, "server_version_num").parse::<u32>().map(|number| number / 10_000);
    match major {
        Ok(major) if major >= VERSION_MIN => Check::ok(POSTGRES_VERSION, format!("PostgreSQL {version}")),
        Ok(_) | Err(_) => Check::fail(
            POSTGRES_VERSION,
            format!("PostgreSQL {version}"),
            format!("upgrade the server: {VERSION_MIN} is the oldest that is supported"),
        ),
    }
}

fn transport(place: &ServerPlace, found: Transport) -> Check {
    const HINT: &str = "add `?sslmode=verify-full` to database.url, and database.ca_file if the authority is your \
                        own: customers' data passes there";
    let warn = |detail: &str| Check::warn(POSTGRES_TRANSPORT, detail, HINT);
    match (found, place.is_remote) {
        (Transport::Checked, _) => Check::ok(POSTGRES_TRANSPORT, "TLS, the server's certificate is checked"),
        (Transport::Open, false) => Check::ok(POSTGRES_TRANSPORT, "no TLS, on this machine"),
        (Transport::Unchecked | Transport::AnyName, false) => {
            Check::ok(POSTGRES_TRANSPORT, "TLS, the server's certificate is not checked, on this machine")
        }
        (Transport::Open, true) => warn("no TLS, over the network"),
        (Transport::Unchecked, true) => {
            warn("TLS without a check of the server's certificate: another server may answer")
        }
        (Transport::AnyName, true) => warn("TLS, and the name in the server's certificate is not checked"),
    }
}

fn writable(in_recovery: bool) -> Check {
    if in_recovery {
        let hint = "point database.url to the primary: a standby only reads";
        Check::fail(POSTGRES_WRITABLE, "the server is a standby", hint)
    } else {
        Check::ok(POSTGRES_WRITABLE, "the server is a primary")
    }
}

fn migrations(found: &Migrations) -> Check {
    let list = |versions: &[i64]| versions.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    if !found.spoiled.is_empty() {
        Check::fail(
            POSTGRES_MIGRATIONS,
            format!("applied half, or by another build: {}", list(&found.spoiled)),
            "restore the backup from before the upgrade, or have the schema compared by hand",
        )
    } else if !found.pending.is_empty() {
        Check::fail(
            POSTGRES_MIGRATIONS,
            format!("not applied: {}", list(&found.pending)),
            "run `jenius-pay migrate`",
        )
    } else if !found.unknown.is_empty() {
        Check::warn(
            POSTGRES_MIGRATIONS,
            format!("this version ends at {}, the database has {}", found.latest, list(&found.unknown)),
            "a newer version has migrated: replace this program too",
        )
    } else {
        Check::ok(POSTGRES_MIGRATIONS, format!("up to date, {}", found.latest))
    }
}

fn environment(ours: Environment, bound: Option<&str>) -> Check {
    let ours = match ours {
        Environment::Sandbox => "sandbox",
        Environment::Production => "production",
    };
    match bound {
        None => Check::ok(POSTGRES_ENVIRONMENT, format!("not bound yet; the first start binds it to {ours}")),
        Some(bound) if bound == ours => Check::ok(POSTGRES_ENVIRONMENT, format!("bound to {ours}")),
        Some(bound) => Check::fail(
            POSTGRES_ENVIRONMENT,
            format!("bound to {bound}, and doku.environment is {ours}"),
            "use another database: orders of the sandbox and real money never share one",
        ),
    }
}

/// What the sandbox may forget costs nothing.
fn durability(environment: Environment, facts: &ServerFacts) -> Check {
    let names = ["fsync", "full_page_writes", "synchronous_commit"];
    let off: Vec<&str> = names.into_iter().filter(|name| setting(facts, name) == "off").collect();
    if off.is_empty() {
        return Check::ok(POSTGRES_DURABILITY, "what is committed survives a power cut");
    }
    let detail = format!("off: {}", off.join(", "));
    let hint = "switch it on: a claim that is lost after DOKU has acted is a customer who pays twice";
    match environment {
        Environment::Production => Check::fail(POSTGRES_DURABILITY, detail, hint),
        Environment::Sandbox => Check::warn(POSTGRES_DURABILITY, detail, hint),
    }
}

fn standby(facts: &ServerFacts) -> Check {
    let waits = ["on", "remote_write", "remote_apply"].contains(&setting(facts, "synchronous_commit"));
    let is_synchronous = waits && !setting(facts, "synchronous_standby_names").is_empty();
    match (facts.standbys, is_synchronous) {
        (0, true) => Check::fail(
            POSTGRES_STANDBY,
            "a synchronous standby is configured, and none is connected: no commit ends",
            "start the standby, or take it out of synchronous_standby_names: commits wait for it",
        ),
        (0, false) => Check::ok(POSTGRES_STANDBY, "none is connected"),
        (standbys, true) => Check::ok(POSTGRES_STANDBY, format!("{standbys} connected, commits wait")),
        (standbys, false) => Check::warn(
            POSTGRES_STANDBY,
            format!("{standbys} connected, commits do not wait for any"),
            "set synchronous_standby_names: a failover can lose a claim that DOKU has acted on",
        ),
    }
}

fn autovacuum(facts: &ServerFacts) -> Check {
    let off: Vec<&str> =
        ["autovacuum", "track_counts"].into_iter().filter(|name| setting(facts, name) == "off").collect();
    if off.is_empty() {
        Check::ok(POSTGRES_AUTOVACUUM, "on")
    } else {
        let hint =
            "switch it on: the due times and the outbox are rows that come and go, and grow without it";
        Check::warn(POSTGRES_AUTOVACUUM, format!("off: {}", off.join(", ")), hint)
    }
}

fn memory(facts: &ServerFacts) -> Check {
    let small: Vec<&str> = [
        ("shared_buffers", facts.shared_buffers_bytes <= SHARED_BUFFERS_DEFAULT),
        ("max_wal_size", facts.max_wal_bytes <= MAX_WAL_DEFAULT),
    ]
    .into_iter()
    .filter_map(|(name, small)| small.then_some(name))
    .collect();
    let detail = format!(
        "shared_buffers {}, max_wal_size {}, the database {} MB",
        setting(facts, "shared_buffers"),
        setting(facts, "max_wal_size"),
        facts.database_bytes >> 20
    );
    if facts.database_bytes < DATABASE_LARGE || small.is_empty() {
        Check::ok(POSTGRES_MEMORY, detail)
    } else {
        let hint = format!("raise {}: the default is meant for small databases", small.join(" and "));
        Check::warn(POSTGRES_MEMORY, detail, hint)
    }
}

fn connections(ours: u32, facts: &ServerFacts) -> Check {
    let (max, used) = (facts.connections_max, facts.connections_used);
    let process = i64::from(ours) + CONNECTIONS_BESIDE;
    let detail = format!("a process opens up to {process}, the server allows {max}, {used} are open");
    if process > max {
        let hint =
            "raise the server's max_connections (or this user's limit), or lower database.max_connections";
        Check::fail(POSTGRES_CONNECTIONS, detail, hint)
    } else if used + process > max {
        let hint = "raise the server's max_connections: one more process may not find room";
        Check::warn(POSTGRES_CONNECTIONS, detail, hint)
    } else {
        Check::ok(POSTGRES_CONNECTIONS, detail)
    }
}

/// A pooler in between drops what a session asks for at its start.
fn session(facts: &ServerFacts) -> Check {
    if facts.pooled {
        let hint = "connect to PostgreSQL itself, or set pool_mode = session in PgBouncer: see RUNBOOK.md, PgBouncer";
        let detail =
            "a pooler gives one server session to several connections (PgBouncer in transaction mode)";
        return Check::fail(POSTGRES_SESSION, detail, hint);
    }
    let names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
    let none: Vec<&str> =
        names.into_iter().filter(|name| ["0", "unknown"].contains(&setting(facts, name))).collect();
    if none.is_empty() {
        Check::ok(POSTGRES_SESSION, format!("statements end after {}", setting(facts, "statement_timeout")))
    } else {
        let hint =
            "connect without a pooler that drops options: the relay's lock needs a session of its own too";
        Check::warn(POSTGRES_SESSION, format!("not in force: {}", none.join(", ")), hint)
    }
}

fn clock(drift: TimeDelta) -> Check {
    let detail = format!("{:+} ms from this machine's", drift.num_milliseconds());
    if drift.abs() <= TimeDelta::seconds(DRIFT_SECONDS_MAX) {
        Check::ok(POSTGRES_CLOCK, detail)
    } else {
        let hint =
            "let NTP keep both clocks: budgets and due times are the server's, signatures this machine's";
        Check::warn(POSTGRES_CLOCK, detail, hint)
    }
}

#[cfg(test)]
mod tests;

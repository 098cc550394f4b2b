//! Which server a connection reached. A proxy or a name may lead to a standby, to an old primary that lives on after a
//! failover, or to a pooler that gives one server session to many clients. Every connection is judged before its
//! first use, and what was connected before a change of the primary is never used again.

use super::error::{ConnectFault, fault};
use crate::flow::ports::StoreError;
use parking_lot::Mutex;
use sqlx::{
    Connection, Executor, PgConnection, Postgres, Row,
    postgres::{PgConnectOptions, PgRow},
};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OnceCell, watch},
    time::timeout,
};

/// A pooler without another session lets the second connection wait.
const SECOND_MAX: Duration = Duration::from_secs(3);

/// What a session says of itself. The timeline grows with each promotion of a standby. A database service may keep its
/// timeline to itself: then whether it reads only must do.
const WHO: &str = "
    SELECT current_setting('transaction_read_only')::boolean AS read_only, pg_is_in_recovery() AS standby,
           pg_backend_pid() AS process,
           (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS started,
           (SELECT system_identifier FROM pg_control_system()) AS system,
           CASE WHEN pg_is_in_recovery() THEN NULL
                ELSE ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint END
               AS timeline";
const WHO_AT_LEAST: &str = "
    SELECT current_setting('transaction_read_only')::boolean AS read_only, pg_is_in_recovery() AS standby,
           pg_backend_pid() AS process,
           (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS started,
           NULL::bigint AS system, NULL::bigint AS timeline";

/// One session of the server: no two that live have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ServerSession {
    process: i32,
    started: Option<String>,
}

/// A copy of the primary's data: its system, and how often a standby of it was promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lineage {
    system: i64,
    timeline: i64,
}

struct ServerIdentity {
    read_only: bool,
    standby: bool,
    session: ServerSession,
    line: Option<Lineage>,
}

/// What all connections of a pool found out together.
#[derive(Debug, Default)]
pub(super) struct Server {
    known: Mutex<KnownServer>,
    generation: AtomicU64,
    changed: watch::Sender<()>,
    /// Set when the first connection was found to have its session to itself.
    unshared: OnceCell<()>,
}

#[derive(Debug, Default)]
struct KnownServer {
    line: Option<Lineage>,
    sessions: HashSet<ServerSession>,
}

/// A connection's part in it, for as long as the connection lives.
#[derive(Debug)]
pub(super) struct Judged {
    server: Arc<Server>,
    session: ServerSession,
    generation: u64,
}

/// Why a connection cannot be used.
#[derive(Debug)]
pub(super) enum Unfit {
    /// The server has no room for another one.
    Full(StoreError),
    /// Another try may reach the primary.
    NotPrimary(StoreError),
    Failed(StoreError),
}

impl Unfit {
    pub fn from_error(error: &sqlx::Error) -> Self {
        match fault(error) {
            ConnectFault::Full(error) => Self::Full(error),
            ConnectFault::Other(error) => Self::Failed(error),
        }
    }
}

impl From<Unfit> for StoreError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Full(error) | Unfit::NotPrimary(error) | Unfit::Failed(error) => error,
        }
    }
}

impl Server {
    /// Asks a new connection where it leads: as text, which is one round trip, and leaves no prepared statement behind.
    pub async fn judge<C>(self: &Arc<Self>, connection: &mut C) -> Result<Judged, Unfit>
    where
        for<'c> &'c mut C: Executor<'c, Database = Postgres>,
    {
        let row = match sqlx::raw_sql(WHO).fetch_one(&mut *connection).await {
            Err(sqlx::Error::Database(_)) => sqlx::raw_sql(WHO_AT_LEAST).fetch_one(connection).await,
            answer => answer,
        };
        let who =
            row.and_then(|row| ServerIdentity::read(&row)).map_err(|error| Unfit::from_error(&error))?;
        self.admit(who)
    }

    /// Before a statement is prepared: in a session that is lent to others, its name may stand for another one, and
    /// an answer be that of another question.
    pub async fn refuse_shared(
        &self,
        options: &PgConnectOptions,
        connection: &mut PgConnection,
    ) -> Result<(), Unfit> {
        let look = async || match is_pooled(options, connection).await {
            Ok(true) => Err(Unfit::Failed(shared())),
            Ok(false) => Ok(()),
            Err(error) => Err(Unfit::from_error(&error)),
        };
        self.unshared.get_or_try_init(look).await.copied()
    }

    fn admit(self: &Arc<Self>, who: ServerIdentity) -> Result<Judged, Unfit> {
        if who.standby || who.read_only {
            let what = if who.standby { "is a standby" } else { "is set to read only" };
            return Err(not_primary(format!("25006: the server that answers {what}; the primary is needed")));
        }
        let mut known = self.known.lock();
        if let (Some(found), Some(before)) = (who.line, known.line) {
            if found.system == before.system && found.timeline < before.timeline {
                return Err(not_primary(format!(
                    "25006: the server that answers is an old primary (timeline {}, and {} was seen): stop it; after \
                     a restore, restart this process",
                    found.timeline, before.timeline
                )));
            }
            if found != before {
                tracing::warn!(
                    timeline = found.timeline,
                    before = before.timeline,
                    "the database has another primary: all connections are made anew"
                );
                self.renew();
            }
        }
        known.line = who.line.or(known.line);
        if !known.sessions.insert(who.session.clone()) {
            return Err(Unfit::Failed(shared()));
        }
        let generation = self.generation.load(Ordering::Acquire);
        drop(known);
        Ok(Judged { server: Arc::clone(self), session: who.session, generation })
    }

    /// From now on every connection is made anew.
    pub fn renew(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.changed.send_replace(());
    }
}

impl Judged {
    /// Whether nothing has changed since this connection was made.
    pub fn is_current(&self) -> bool {
        self.generation == self.server.generation.load(Ordering::Acquire)
    }

    /// The server ended this connection, reads only, or does not answer: all others of its time lead to the same.
    pub fn leave_server(&self) {
        let next = self.generation + 1;
        let raised = self.server.generation.compare_exchange(
            self.generation,
            next,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if raised.is_ok() {
            self.server.changed.send_replace(());
        }
    }

    /// Ends when the connection must not be used any more.
    pub async fn outdated(&self) {
        let mut changed = self.server.changed.subscribe();
        while self.is_current() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Judged {
    fn drop(&mut self) {
        self.server.known.lock().sessions.remove(&self.session);
    }
}

impl ServerIdentity {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let (system, timeline): (Option<i64>, Option<i64>) =
            (row.try_get("system")?, row.try_get("timeline")?);
        Ok(Self {
            read_only: row.try_get("read_only")?,
            standby: row.try_get("standby")?,
            session: ServerSession { process: row.try_get("process")?, started: row.try_get("started")? },
            line: system.zip(timeline).map(|(system, timeline)| Lineage { system, timeline }),
        })
    }
}

fn not_primary(text: String) -> Unfit {
    Unfit::NotPrimary(StoreError::Away(text))
}

/// Two clients never have one session of the server, unless something between lends it to both.
fn shared() -> StoreError {
    StoreError::Refused(
        "a pooler (PgBouncer, pgcat) gives one server session to several connections: the relay's lock and every \
         session's settings leak. Connect to PostgreSQL itself, or set pool_mode = session"
            .to_owned(),
    )
}

/// A pooler that gives a session away between statements gives the one that was used last to the next client: so
/// another connection, within its transaction, has the session of the first, or the first has another one meanwhile.
pub(super) async fn is_pooled(options: &PgConnectOptions, first: &mut PgConnection) -> sqlx::Result<bool> {
    const ROUNDS: usize = 3;
    const PROCESS: &str = "SELECT pg_backend_pid() AS process";
    for _ in 0..ROUNDS {
        let before: i32 = sqlx::raw_sql(PROCESS).fetch_one(&mut *first).await?.try_get("process")?;
        let mut second = match PgConnection::connect_with(options).await {
            Ok(second) => second,
            // If there is room for one connection only, no other shares its session.
            Err(error) if matches!(fault(&error), ConnectFault::Full(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        sqlx::raw_sql("BEGIN").execute(&mut second).await?;
        let other: i32 = sqlx::raw_sql(PROCESS).fetch_one(&mut second).await?.try_get("process")?;
        let after: Option<i32> =
            match timeout(SECOND_MAX, sqlx::raw_sql(PROCESS).fetch_one(&mut *first)).await {
                Ok(answer) => Some(answer?.try_get("process")?),
                Err(_) => None,
            };
        sqlx::raw_sql("ROLLBACK").execute(&mut second).await?;
        second.close().await?;
        if other == before || after != Some(before) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(process: i32, timeline: i64) -> ServerIdentity {
        ServerIdentity {
            read_only: false,
            standby: false,
            session: ServerSession { process, started: None },
            line: Some(Lineage { system: 7, timeline }),
        }
    }

    #[test]
    fn a_newer_primary_ends_what_was_connected_before_and_an_older_one_is_refused() {
        let server = Arc::new(Server::default());
        let first = server.admit(who(1, 3)).unwrap();
        assert!(first.is_current());
        assert!(matches!(server.admit(who(2, 2)), Err(Unfit::NotPrimary(_))));
        assert!(first.is_current(), "what is refused changes nothing");
        let second = server.admit(who(2, 4)).unwrap();
        assert!(second.is_current() && !first.is_current());
        assert!(matches!(server.admit(who(3, 3)), Err(Unfit::NotPrimary(_))));
        let mut hidden = who(4, 0);
        hidden.line = None;
        assert!(server.admit(hidden).unwrap().is_current(), "a service that tells no timeline");
        assert!(matches!(server.admit(who(5, 3)), Err(Unfit::NotPrimary(_))), "what was seen is kept");
    }

    #[test]
    fn a_server_that_reads_only_is_no_primary() {
        let server = Arc::new(Server::default());
        for reads in [
            ServerIdentity { standby: true, line: None, ..who(1, 1) },
            ServerIdentity { read_only: true, ..who(1, 1) },
        ] {
            assert!(matches!(server.admit(reads), Err(Unfit::NotPrimary(StoreError::Away(_)))));
        }
    }

    #[test]
    fn one_session_for_two_connections_is_a_pooler_until_the_first_is_gone() {
        let server = Arc::new(Server::default());
        let first = server.admit(who(1, 1)).unwrap();
        assert!(matches!(server.admit(who(1, 1)), Err(Unfit::Failed(StoreError::Refused(_)))));
        drop(first);
        server.admit(who(1, 1)).unwrap();
    }

    #[test]
    fn one_lost_connection_makes_all_of_its_time_anew_once() {
        let server = Arc::new(Server::default());
        let (first, second) = (server.admit(who(1, 1)).unwrap(), server.admit(who(2, 1)).unwrap());
        first.leave_server();
        assert!(!second.is_current());
        let third = server.admit(who(3, 1)).unwrap();
        second.leave_server();
        assert!(third.is_current(), "the same loss is noticed once");
    }
}

//! Bringing the schema up to date beside a service that works: a migration waits for its locks for a moment only, and is
//! tried again, so that no claim queues behind it during a long read (a dump before an upgrade).
//!
//! A migration is one transaction. One that begins with `-- no-transaction` is one statement by itself, for an index
//! that is built `CONCURRENTLY IF NOT EXISTS` on a table that may be big: it holds no claim up, so it may wait. What such a
//! one leaves half done is dropped before it is tried again.

use super::{
    error::{code_of, store_error},
    schema::{MIGRATIONS, applied},
};
use crate::flow::ports::StoreError;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// No claim waits longer for a migration that waits for a lock.
const LOCK_MAX: &str = "1s";
/// Between two tries, a claim's time to pass.
const PAUSE: Duration = Duration::from_secs(2);
/// Then a person looks who holds the lock.
const TRIES_MAX: Duration = Duration::from_secs(600);
const LOCK_NOT_GIVEN: &str = "55P03";

/// Brings the schema up to date, and says how many migrations were missing. Several processes may do this at once.
pub async fn migrate(options: &PgConnectOptions) -> Result<usize, StoreError> {
    let until = Instant::now() + TRIES_MAX;
    let mut before = None;
    loop {
        // A new connection for each try: the lock of one migration at a time is the session's.
        let options = options.clone().options([("statement_timeout", "0"), ("lock_timeout", LOCK_MAX)]);
        let mut connection = PgConnection::connect_with(&options).await.map_err(|e| store_error(&e))?;
        check_place(&mut connection).await?;
        let at_first = match before {
            Some(before) => before,
            None => *before.insert(applied(&mut connection).await?),
        };
        let error = match run(&MIGRATIONS, &mut connection).await {
            Ok(()) => return Ok(applied(&mut connection).await?.saturating_sub(at_first)),
            Err(error) => error,
        };
        if !is_lock(&error) {
            return Err(migration_error(error));
        }
        let holder = holder(&mut connection).await;
        let _ = connection.close().await;
        if Instant::now() >= until {
            return Err(StoreError::Away(format!(
                "a lock was not given within {} s{holder}",
                TRIES_MAX.as_secs()
            )));
        }
        tracing::warn!("waiting for a lock, the service goes on meanwhile{holder}");
        sleep(PAUSE).await;
    }
}

/// Text is stored as it comes, so the database must be able to hold all of it.
async fn check_place(connection: &mut PgConnection) -> Result<(), StoreError> {
    let place: (String, Option<String>) =
        sqlx::query_as("SELECT current_setting('server_encoding'), current_schema()::text")
            .fetch_one(connection)
            .await
            .map_err(|e| store_error(&e))?;
    match place {
        (encoding, _) if encoding != "UTF8" => Err(StoreError::Refused(format!(
            "the database's encoding is {encoding}: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        ))),
        (_, None) => {
            Err(StoreError::Refused("no schema of the search_path exists: create it first".to_owned()))
        }
        (_, Some(_)) => Ok(()),
    }
}

/// One after the other, since only those without a transaction may wait.
pub(super) async fn run(migrations: &Migrator, connection: &mut PgConnection) -> Result<(), MigrateError> {
    let mut waits = false;
    for migration in migrations.iter() {
        if migration.no_tx != waits {
            waits = migration.no_tx;
            let lock_max = if waits { "0" } else { LOCK_MAX };
            sqlx::query("SELECT set_config('lock_timeout', $1, false)")
                .bind(lock_max)
                .execute(&mut *connection)
                .await?;
        }
        if waits {
            drop_half_done(connection).await?;
        }
        migrations.run_to(migration.version, &mut *connection).await?;
    }
    Ok(())
}

/// An index that was not built to its end is there, is kept up to date, and is never used.
async fn drop_half_done(connection: &mut PgConnection) -> sqlx::Result<()> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_index i
         JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE NOT i.indisvalid AND n.nspname = current_schema()",
    )
    .fetch_all(&mut *connection)
    .await?;
    for name in names {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Who has been at work for the longest time, where that can be seen.
async fn holder(connection: &mut PgConnection) -> String {
    let oldest: sqlx::Result<Option<(i32, String, i64)>> = sqlx::query_as(
        "SELECT pid, coalesce(nullif(application_name, ''), 'unnamed'),
                extract(epoch FROM clock_timestamp() - xact_start)::bigint
         FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
         ORDER BY xact_start LIMIT 1",
    )
    .fetch_optional(connection)
    .await;
    match oldest {
        Ok(Some((process, name, seconds))) => {
            format!(": the oldest transaction is {name}'s, process {process}, {seconds} s old")
        }
        Ok(None) | Err(_) => String::new(),
    }
}

fn is_lock(error: &MigrateError) -> bool {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            code_of(error).as_deref() == Some(LOCK_NOT_GIVEN)
        }
        _ => false,
    }
}

fn migration_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(inner) => store_error(&inner),
        MigrateError::ExecuteMigration(inner, version) => match store_error(&inner) {
            StoreError::Away(why) => StoreError::Away(format!("migration {version}: {why}")),
            StoreError::Contended(why) => StoreError::Contended(format!("migration {version}: {why}")),
            StoreError::Refused(why) => StoreError::Refused(format!("migration {version}: {why}")),
        },
        MigrateError::VersionMissing(version) => StoreError::Refused(format!(
            "migration {version} is applied and this version does not know it: a newer version has migrated, or \
             another program's migrations are in this schema"
        )),
        other => StoreError::Refused(other.to_string()),
    }
}

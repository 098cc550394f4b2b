//! The schema: whether it is up to date, and which environment it belongs to.

use super::{error::store_error, pool::PgPool, tx::answered};
use crate::{config::Environment, flow::ports::StoreError};
use sqlx::{PgConnection, migrate::Migrator};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// In the schema that ours are made in. Another one on the search path may belong to another program.
const HAS_MIGRATIONS: &str = "
    SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = '_sqlx_migrations')";

/// How many migrations are applied.
pub(super) async fn applied(connection: &mut PgConnection) -> Result<usize, StoreError> {
    let exists: bool =
        sqlx::query_scalar(HAS_MIGRATIONS).fetch_one(&mut *connection).await.map_err(|e| store_error(&e))?;
    if !exists {
        return Ok(0);
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
        .map_err(|e| store_error(&e))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// What stands in the database, beside what this version brings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrations {
    /// Not applied yet.
    pub pending: Vec<i64>,
    /// Applied by a version that this one does not know: a newer one.
    pub unknown: Vec<i64>,
    /// Applied half, or in other words than this version has.
    pub spoiled: Vec<i64>,
    pub latest: i64,
}

/// Compares, and changes nothing.
pub(super) async fn compare(connection: &mut PgConnection) -> sqlx::Result<Migrations> {
    let exists: bool = sqlx::query_scalar(HAS_MIGRATIONS).fetch_one(&mut *connection).await?;
    let applied: Vec<(i64, bool, Vec<u8>)> = if exists {
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(connection)
            .await?
    } else {
        Vec::new()
    };
    let mut found = Migrations::default();
    for migration in MIGRATIONS.iter() {
        found.latest = found.latest.max(migration.version);
        match applied.iter().find(|(version, ..)| *version == migration.version) {
            None => found.pending.push(migration.version),
            Some((_, true, checksum)) if *checksum == *migration.checksum => {}
            Some(_) => found.spoiled.push(migration.version),
        }
    }
    let is_known = |version: &i64| MIGRATIONS.iter().any(|migration| migration.version == *version);
    found.unknown = applied.into_iter().map(|(version, ..)| version).filter(|v| !is_known(v)).collect();
    Ok(found)
}

/// Whether every migration of this version has been applied.
pub async fn is_migrated(pool: &PgPool) -> Result<bool, StoreError> {
    let latest = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or_default();
    let exists: bool = answered!(pool, |c| sqlx::query_scalar(HAS_MIGRATIONS).fetch_one(c))?;
    if !exists {
        return Ok(false);
    }
    answered!(pool, |c| sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM _sqlx_migrations WHERE version = $1 AND success)"
    )
    .bind(latest)
    .fetch_one(c))
}

/// How many migrations this version brings, and how many of any version are applied.
pub async fn applied_migrations(pool: &PgPool) -> Result<(usize, usize), StoreError> {
    let applied: i64 =
        answered!(pool, |c| sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success")
            .fetch_one(c))?;
    Ok((MIGRATIONS.iter().count(), usize::try_from(applied).unwrap_or_default()))
}

/// Binds a new database to an environment; refuses a database that belongs to another.
pub async fn bind_environment(pool: &PgPool, environment: Environment) -> Result<(), StoreError> {
    let wanted = match environment {
        Environment::Sandbox => "sandbox",
        Environment::Production => "production",
    };
    answered!(pool, |c| sqlx::query(
        "INSERT INTO installation (environment) VALUES ($1) ON CONFLICT DO NOTHING"
    )
    .bind(wanted)
    .execute(c))?;
    let bound: String =
        answered!(pool, |c| sqlx::query_scalar("SELECT environment FROM installation").fetch_one(c))?;
    if bound == wanted {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "this database belongs to doku.environment = {bound}, and {wanted} is configured: use another database"
    )))
}

/// The same for the same migrations, for tests that keep what they made of them.
#[cfg(test)]
pub(super) fn fingerprint() -> uuid::Uuid {
    let all: Vec<u8> = MIGRATIONS.iter().flat_map(|migration| migration.checksum.iter().copied()).collect();
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &all)
}

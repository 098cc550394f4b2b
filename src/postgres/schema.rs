//! The schema: bringing it up to date, seeing whether it is, and whose it is.

use super::{error::store_error, pool::connect_options};
use crate::{
    config::{Database, Environment},
    flow::ports::StoreError,
};
use sqlx::{Connection, PgConnection, PgPool, migrate::Migrator, postgres::PgConnectOptions};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Brings the schema up to date. On a connection without a statement timeout: a migration of a large
/// table takes its time. Several processes may do this at once.
pub async fn migrate(database: &Database) -> Result<(), StoreError> {
    migrate_at(&connect_options(database)?).await
}

pub(super) async fn migrate_at(options: &PgConnectOptions) -> Result<(), StoreError> {
    let options = options.clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
    let mut connection = PgConnection::connect_with(&options).await.map_err(|e| store_error(&e))?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(inner) => store_error(&inner),
        other => StoreError::Refused(other.to_string()),
    })
}

/// Whether every migration of this version has been applied.
pub(super) async fn is_migrated(pool: &PgPool) -> Result<bool, StoreError> {
    let latest = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or_default();
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(pool)
        .await
        .map_err(|e| store_error(&e))?;
    if !exists {
        return Ok(false);
    }
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM _sqlx_migrations WHERE version = $1 AND success)")
        .bind(latest)
        .fetch_one(pool)
        .await
        .map_err(|e| store_error(&e))
}

/// Binds a new database to an environment; refuses a database that belongs to another.
pub(super) async fn bind_environment(pool: &PgPool, environment: Environment) -> Result<(), StoreError> {
    let wanted = match environment {
        Environment::Sandbox => "sandbox",
        Environment::Production => "production",
    };
    let bound = match environment_of(pool).await? {
        Some(bound) => bound,
        None => {
            sqlx::query("INSERT INTO installation (environment) VALUES ($1) ON CONFLICT DO NOTHING")
                .bind(wanted)
                .execute(pool)
                .await
                .map_err(|e| store_error(&e))?;
            // Another process may have been first.
            environment_of(pool).await?.unwrap_or_default()
        }
    };
    if bound == wanted {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "this database belongs to doku.environment = {bound}, and {wanted} is configured: use another database"
    )))
}

async fn environment_of(pool: &PgPool) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("SELECT environment FROM installation")
        .fetch_optional(pool)
        .await
        .map_err(|e| store_error(&e))
}

//! The database as a dependency: what the service makes of few connections, missing rights, a pooler in between, a server
//! that is not the primary any more, and of a schema that is brought up to date beside it.

mod connections;
mod pooler;
mod rights;
mod schema;

use crate::harness::{World, child::Service, get};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};

/// What `/readyz` answers.
async fn readyz(service: &Service) -> Option<(u16, Value)> {
    let (status, text) = get(format!("http://{}/readyz", service.admin)).await.ok()?;
    Some((status, serde_json::from_str(&text).ok()?))
}

/// What it says of the database.
async fn detail(service: &Service) -> Option<String> {
    let (_, ready) = readyz(service).await?;
    Some(ready["dependencies"]["postgres"]["detail"].as_str()?.to_owned())
}

/// As the owner of the database.
async fn sql(world: &World, sql: &str) {
    world.database.pool.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
}

/// The service logs in as this user from now on.
fn log_in_as(world: &mut World, user: &str) {
    let mut url = world.database.url.clone();
    url.set_username(user).unwrap();
    world.settings.insert("DATABASE_URL".to_owned(), url.to_string());
}

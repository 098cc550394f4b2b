//! `migrate` beside a service that works, and on databases that are not fit for it.

use super::sql;
use crate::harness::{World, child::run, eventually};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Takes back a migration that needs a table of the service for itself.
const UNDO: &str = "DROP TRIGGER open_order_has_due_when_made ON orders; DROP TRIGGER open_order_has_due_when_moved ON orders;
    DROP TABLE due; DROP FUNCTION open_order_has_due; DROP DOMAIN inquiry_rank; DROP DOMAIN send_rank;
    DELETE FROM _sqlx_migrations WHERE version = 4";
/// Takes the lock that a write of an order takes.
const WRITE: &str = "UPDATE orders SET revision = revision WHERE false";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_behind_a_long_transaction_keeps_nobody_waiting() {
    let world = World::with().without_service().build().await;
    sql(&world, UNDO).await;
    let mut long = PgConnection::connect(world.database.url.as_str()).await.unwrap();
    long.execute("BEGIN").await.unwrap();
    long.execute(WRITE).await.unwrap();
    let migrating = run(&world, &["migrate"], "");
    let working = async {
        let mut writer = PgConnection::connect(world.database.url.as_str()).await.unwrap();
        // Far less than the long transaction takes, and more than a migration may keep a record waiting.
        writer.execute("SET lock_timeout = '4s'").await.unwrap();
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass";
        eventually("the migration to wait", async || (world.database.count(waits).await > 0).then_some(()))
            .await;
        for _ in 0..20 {
            writer.execute(WRITE).await.expect("a write queues behind the migration");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        long.execute("COMMIT").await.unwrap();
    };
    let (migrated, ()) = tokio::join!(migrating, working);
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
    assert!(text(&migrated.stderr).contains("waiting for a lock"), "{}", text(&migrated.stderr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let mut world = World::with().without_service().build().await;
    let name = format!("latin_{}", world.unique());
    sql(&world, &format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")).await;
    let mut url = world.database.url.clone();
    url.set_path(&name);
    world.settings.insert("DATABASE_URL".to_owned(), url.to_string());
    let refused = run(&world, &["migrate"], "").await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("LATIN1"), "{}", text(&refused.stderr));
    let doctor = run(&world, &["doctor", "--json"], "").await;
    let checks: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let encoding =
        checks["checks"].as_array().unwrap().iter().find(|c| c["name"] == "postgres.encoding").unwrap();
    assert_eq!(encoding["status"], "fail");
    sql(&world, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    world.settings.insert("DATABASE_URL".to_owned(), world.database.url.to_string());
    world.end().await;
}

/// Another program's migrations in `public`, ours in a schema of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_of_another_schema_are_not_ours() {
    let world = World::with().without_service().build().await;
    let mut url = world.database.url.clone();
    url.set_query(Some("options=-c%20search_path%3Dpay%2Cpublic"));
    let mut settings = world.settings.clone();
    settings.insert("DATABASE_URL".to_owned(), url.to_string());
    let migrate = async |settings: &std::collections::BTreeMap<String, String>| {
        let mut command = std::process::Command::new(crate::harness::child::BINARY);
        command.arg("migrate").env_clear().envs(settings);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    // `public` is all that there is: it is our own schema then.
    assert_eq!(migrate(&settings).await, (true, "the schema was up to date\n".to_owned()));
    sql(&world, "CREATE SCHEMA pay").await;
    let (done, said) = migrate(&settings).await;
    assert!(done && said.contains("migrations applied"), "{said}");
    let ours = "SELECT count(*) FROM pg_tables WHERE schemaname = 'pay' AND tablename = 'orders'";
    assert_eq!(world.database.count(ours).await, 1);
    world.end().await;
}

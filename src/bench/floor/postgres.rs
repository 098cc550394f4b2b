//! What PostgreSQL takes in groups, durably: for each command an insert, an update, an event and an outbox row, in
//! two commits a group.

use crate::{
    measure::{Pace, Reading},
    progress::ProgressLine,
    setup::BenchSetup,
};
use sqlx::{Connection, Executor, PgConnection};
use std::sync::Arc;
use tokio::task::JoinSet;

const CONNECTIONS: u64 = 4;
const GROUP: u64 = 100;

const TABLES: &str = "
    CREATE TABLE floor_orders (key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, invoice_number text UNIQUE,
        body bytea NOT NULL, state text NOT NULL, changed_at timestamptz NOT NULL DEFAULT now())
        WITH (fillfactor = 80);
    CREATE TABLE floor_events (key bigint PRIMARY KEY, body bytea NOT NULL);
    CREATE TABLE floor_outbox (sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key bigint NOT NULL)";

pub async fn run(setup: &BenchSetup<'_>, rows: u64) -> anyhow::Result<Pace> {
    setup.sql().await?.execute(TABLES).await?;
    let progress = Arc::new(ProgressLine::new("PostgreSQL", rows));
    let groups = setup.groups();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(setup.sql().await?);
    }
    let first = Reading::take(0, &groups);
    let mut tasks = JoinSet::new();
    for (at, mut sql) in (0..).zip(connections) {
        let (commands, progress) = (setup.commands.clone(), Arc::clone(&progress));
        let share = rows / CONNECTIONS;
        tasks.spawn(async move {
            for start in (at * share..(at + 1) * share).step_by(usize::try_from(GROUP)?) {
                let group: Vec<u64> = (start..start + GROUP).collect();
                let invoices: Vec<String> = group.iter().map(|n| commands.invoice(*n)).collect();
                let bodies: Vec<Vec<u8>> =
                    group.iter().map(|n| commands.payment_data(*n).into_bytes()).collect();
                let events: Vec<Vec<u8>> = group.iter().map(|n| commands.event(*n)).collect();
                write(&mut sql, &invoices, &bodies, &events).await?;
                progress.add(group.len());
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(first.until(&Reading::take(rows, &groups)))
}

async fn write(
    sql: &mut PgConnection,
    invoices: &[String],
    bodies: &[Vec<u8>],
    events: &[Vec<u8>],
) -> anyhow::Result<()> {
    let keys: Vec<i64> = sqlx::query_scalar(
        "INSERT INTO floor_orders (invoice_number, body, state)
         SELECT i, b, 'claimed' FROM unnest($1::text[], $2::bytea[]) AS new (i, b) RETURNING key",
    )
    .bind(invoices)
    .bind(bodies)
    .fetch_all(&mut *sql)
    .await?;
    let mut tx = sql.begin().await?;
    let update = "UPDATE floor_orders SET state = 'done', changed_at = now() WHERE key = ANY ($1)";
    sqlx::query(update).bind(&keys).execute(&mut *tx).await?;
    let insert_events = "INSERT INTO floor_events SELECT * FROM unnest($1::bigint[], $2::bytea[])";
    sqlx::query(insert_events).bind(&keys).bind(events).execute(&mut *tx).await?;
    let outbox = "INSERT INTO floor_outbox (key) SELECT unnest($1::bigint[])";
    sqlx::query(outbox).bind(&keys).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

//! The outbox, as its one active relay sees it. Leadership is an advisory lock of a session of its own:
//! everything is read and deleted on that very connection, so that a relay that lost its leadership cannot go
//! on. If the host of the leader vanishes, the server's TCP keepalives free the lock (`connect`).

use super::{
    error::store_error,
    pool::{Beside, PgPool},
};
use crate::flow::ports::{LeftOut, Outbox, OutboxEvent, RelayLeadership, StoreError};
use sqlx::{FromRow, PgConnection};
use std::{future::Future, time::Duration};
use tokio::time::timeout;
use uuid::Uuid;

/// The advisory lock of the active relay: "jenius" as a number.
const RELAY_LOCK: i64 = 0x6a65_6e69_7573;
/// A statement that is not answered for this long has lost its connection, and the relay its leadership.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// A relay reads the outbox every second; one that does not is frozen, and another becomes the leader.
const IDLE_SESSION_MAX: &str = "60s";
/// What a crash of the server takes back is the note that events were published: they are published again, with the same
/// ids, as after a crash of the relay between a publish confirm and its note. So nothing waits for the disk here.
const OPTIONS: [(&str, &str); 2] =
    [("idle_session_timeout", IDLE_SESSION_MAX), ("synchronous_commit", "off")];

/// Asks for leadership: as the pool connects, on a connection of its own.
pub struct PostgresLeadership {
    pool: PgPool,
}

impl PostgresLeadership {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl RelayLeadership for PostgresLeadership {
    type Outbox = ActiveOutbox;

    async fn acquire(&self) -> Result<Option<ActiveOutbox>, StoreError> {
        let mut session = self.pool.beside(&OPTIONS).await?;
        let asked = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(RELAY_LOCK);
        let seated: bool = answered(asked.fetch_one(&mut session.connection)).await?;
        if seated {
            return Ok(Some(ActiveOutbox { session }));
        }
        session.end();
        Ok(None)
    }
}

/// The outbox on the connection that holds the leadership. Dropped, it gives the leadership up.
pub struct ActiveOutbox {
    session: Beside,
}

impl ActiveOutbox {
    /// The connection, unless the database has another primary meanwhile: an old one's outbox is not ours to relay.
    fn seated(&mut self) -> Result<&mut PgConnection, StoreError> {
        if self.session.judged.is_current() {
            Ok(&mut self.session.connection)
        } else {
            Err(StoreError::Away("the connections were made anew".to_owned()))
        }
    }
}

#[derive(FromRow)]
struct OutboxRow {
    sequence: i64,
    event_id: Uuid,
    order_key: Option<i64>,
    #[sqlx(rename = "type")]
    routing_key: String,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    body: Vec<u8>,
    age_us: i64,
}

/// What is left out, is left out by a table of it, not by a walk over it for each row.
pub(super) const UNPUBLISHED: &str = "
    SELECT o.sequence, o.event_id, o.order_key, e.type, e.correlation_id, e.traceparent, e.body,
           greatest(0, extract(epoch FROM jenius_now() - o.created_at) * 1000000)::bigint AS age_us
    FROM outbox o JOIN events e USING (event_id)
    WHERE o.sequence NOT IN (SELECT unnest($2::bigint[]))
      AND (o.order_key IS NULL OR o.order_key NOT IN (SELECT unnest($3::bigint[])))
    ORDER BY o.sequence
    LIMIT $1";

#[cfg(test)]
impl ActiveOutbox {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.session.connection
    }
}

impl Outbox for ActiveOutbox {
    async fn unpublished(&mut self, limit: u32, but: &LeftOut) -> Result<Vec<OutboxEvent>, StoreError> {
        let oldest =
            sqlx::query_as(UNPUBLISHED).bind(i64::from(limit)).bind(&but.sequences).bind(&but.orders);
        let rows: Vec<OutboxRow> = answered(oldest.fetch_all(self.seated()?)).await?;
        Ok(rows.into_iter().map(OutboxRow::event).collect())
    }

    async fn newest(&mut self) -> Result<Option<i64>, StoreError> {
        let newest = sqlx::query_scalar("SELECT max(sequence) FROM outbox");
        answered(newest.fetch_one(self.seated()?)).await
    }

    async fn mark_published(&mut self, sequences: &[i64]) -> Result<(), StoreError> {
        answered(
            sqlx::query(
                "WITH gone AS (DELETE FROM outbox WHERE sequence = ANY ($1) RETURNING event_id)
                 INSERT INTO publications (event_id, published_at)
                 SELECT event_id, (SELECT jenius_now()) FROM gone
                 ON CONFLICT (event_id) DO NOTHING",
            )
            .bind(sequences)
            .execute(self.seated()?),
        )
        .await?;
        Ok(())
    }
}

impl OutboxRow {
    fn event(self) -> OutboxEvent {
        OutboxEvent {
            sequence: self.sequence,
            event_id: self.event_id,
            order_key: self.order_key,
            event_type: format!("jenius.{}.v1", self.routing_key),
            routing_key: self.routing_key,
            correlation_id: self.correlation_id,
            traceparent: self.traceparent,
            body: self.body.into(),
            age: Duration::from_micros(self.age_us.unsigned_abs()),
        }
    }
}

/// A dropped statement does no harm here: its connection is dropped with it, and no transaction is open.
async fn answered<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match timeout(ANSWER_MAX, statement).await {
        Ok(answer) => answer.map_err(|e| store_error(&e)),
        Err(_) => Err(StoreError::Away(format!("no answer within {} s", ANSWER_MAX.as_secs()))),
    }
}

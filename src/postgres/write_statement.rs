//! Everything a transaction writes about orders, in one statement, whatever of it there is: the one place
//! where what follows from evidence becomes rows. `write` needs the row locks of its orders; `write_or_nothing`
//! needs none, since it writes nothing unless each order is as it was read.

use super::{
    accepted,
    attempts::{self, NewAttempt},
    claim_identity::ClaimIdentity,
    due::{self, NewDue},
    error::{TxError, TxResult},
    events::{self, NewEvent},
    rows::{storable, stored_count, stored_length},
};
use crate::{
    domain::{
        Time,
        order::ReviewCause,
        record::{OrderRecord, Progress},
    },
    flow::ports::StoreError,
};
use sqlx::{PgConnection, Postgres, postgres::PgArguments, query::QueryAs};
use uuid::Uuid;

pub(super) type Statement<'q> = QueryAs<'q, Postgres, (i64, i64), PgArguments>;

/// DOKU's status words are short; longer ones are cut in the table, not in the event.
pub(super) const STATUS_CHARS_MAX: usize = 64;

/// What is written. No order, and no command, is in a list twice.
#[derive(Default)]
pub(super) struct Writes<'a> {
    pub events: Vec<NewEvent>,
    pub commands: Vec<Progressed<'a>>,
    /// In place of whatever these orders waited for.
    pub due: Vec<NewDue<'a>>,
    pub orders: Vec<Moved<'a>>,
    /// Orders that wait for nothing any more, unless a report or a row of settlement asked for an inquiry.
    pub done: Vec<i64>,
    pub attempts: Vec<NewAttempt<'a>>,
}

/// A command that came further.
pub(super) struct Progressed<'a> {
    pub key: i64,
    pub is: &'a Progress,
    pub outcome_event: Option<Uuid>,
    pub now: Time,
}

/// An order that is not as it was.
pub(super) struct Moved<'a> {
    pub order_key: i64,
    /// It was read at.
    pub revision: i64,
    pub is: &'a OrderRecord,
}

/// An event has its outbox row, in the order of the versions. A guarded update that finds another revision,
/// or another outcome, changes nothing, and is counted. Orders are updated first, since who waits for whom is
/// decided by their rows.
macro_rules! write_and_count {
    ($more:literal, $named:literal, $those:literal, $only_if:literal) => {
        concat!(
            "
    WITH new_events AS (
        INSERT INTO events (event_id, order_key, version, type, correlation_id, traceparent, body, created_at)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[],
                             $7::bytea[], $8::timestamptz[])
        RETURNING event_id, order_key, version),
    queued AS (
        INSERT INTO outbox (event_id, order_key) SELECT event_id, order_key FROM new_events ORDER BY version),
    progressed AS (
        UPDATE commands c
        SET sends = n.sends, last_send_at = n.last_send_at, maybe_acted_at = n.maybe_acted_at,
            doubted_at = n.doubted_at, inquired_at = n.inquired_at, failed_inquiries = n.failed_inquiries,
            contradictions = n.contradictions, ask_first = n.ask_first,
            outcome = n.outcome, outcome_event = coalesce(c.outcome_event, n.outcome_event),
            settled_at = CASE WHEN n.outcome_event IS NULL THEN c.settled_at
                              ELSE coalesce(c.settled_at, n.now) END
        FROM unnest($9::bigint[], $10::integer[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[],
                    $14::timestamptz[], $15::integer[], $16::integer[], $17::text[], $18::uuid[],
                    $19::timestamptz[], $52::boolean[])
             AS n (key, sends, last_send_at, maybe_acted_at, doubted_at, inquired_at, failed_inquiries,
                   contradictions, outcome, outcome_event, now, ask_first)
        WHERE c.key = n.key AND (c.outcome IS NULL OR c.outcome = n.outcome)
        RETURNING c.key),
    waiting AS (
        INSERT INTO due (order_key, merchant, inquire_at, inquire_rank, send_at, sends_end_at, send_rank,
                         token, claimed_at, attempt, lease_ends_at)
        SELECT * FROM unnest($20::bigint[], $21::text[], $22::timestamptz[], $23::smallint[], $24::timestamptz[],
                             $25::timestamptz[], $26::smallint[], $27::uuid[], $28::timestamptz[], $29::text[],
                             $30::timestamptz[])
        ON CONFLICT (order_key) DO UPDATE
        SET inquire_at = least(excluded.inquire_at, due.prompted_at),
            -- The inquiry that it was for begins; one that began before does not make it.
            prompted_at = CASE WHEN excluded.attempt = 'inquiry' AND due.prompted_at <= excluded.claimed_at THEN NULL
                               ELSE due.prompted_at END,
            inquire_rank = excluded.inquire_rank, send_at = excluded.send_at,
            sends_end_at = excluded.sends_end_at, send_rank = excluded.send_rank, token = excluded.token,
            claimed_at = excluded.claimed_at, attempt = excluded.attempt,
            lease_ends_at = excluded.lease_ends_at, stranded_at = NULL),
    moved AS (
        UPDATE orders o
        SET state = n.state, review_cause = n.review_cause, state_since = n.state_since, version = n.version,
            announced_paid = n.paid, announced_failed = n.failed, announced_expired = n.expired,
            announced_refunded = n.refunded, doku_status = n.doku_status, evidence = n.evidence, checks_made = n.checks_made,
            revision = o.revision + 1
        FROM (SELECT n.*
              FROM unnest($31::bigint[], $32::bigint[], $33::text[], $34::text[], $35::timestamptz[],
                          $36::integer[], $37::boolean[], $38::boolean[], $39::boolean[], $40::text[], $41::text[],
                          $42::integer[], $53::boolean[]",
            $more,
            ")
                   AS n (order_key, revision, state, review_cause, state_since, version, paid, failed, refunded,
                         doku_status, evidence, checks_made, expired",
            $named,
            ") ",
            $those,
            ") AS n
        WHERE o.order_key = n.order_key AND o.revision = n.revision
        RETURNING o.order_key),
    done AS (DELETE FROM due WHERE order_key = ANY ($43) AND prompted_at IS NULL RETURNING order_key),
    asked AS (
        UPDATE due
        SET inquire_at = prompted_at, inquire_rank = 3, send_at = NULL, sends_end_at = NULL,
            send_rank = NULL, token = NULL, claimed_at = NULL, attempt = NULL, lease_ends_at = NULL, stranded_at = NULL
        WHERE order_key = ANY ($43) AND prompted_at IS NOT NULL
        RETURNING order_key),
    attempted AS (
        INSERT INTO attempts
            (command_key, number, kind, started_at, finished_at, http_status, result, detail, token)
        SELECT n.command_key,
               (SELECT coalesce(max(number), 0) + 1 FROM attempts a WHERE a.command_key = n.command_key),
               n.kind, n.started_at, n.finished_at, n.http_status, n.result, n.detail, n.token
        FROM unnest($44::bigint[], $45::text[], $46::timestamptz[], $47::timestamptz[], $48::smallint[],
                    $49::text[], $50::text[], $51::uuid[])
             AS n (command_key, kind, started_at, finished_at, http_status, result, detail, token))
    SELECT moved, progressed
    FROM (SELECT (SELECT count(*) FROM moved) AS moved, (SELECT count(*) FROM progressed) AS progressed,
                 (SELECT count(*) FROM done) + (SELECT count(*) FROM asked) AS ended) AS c ",
            $only_if
        )
    };
}

const WRITE: &str = write_and_count!("", "", "", "");

/// The same for first sends, undone where it does not find what it rests on, or the database's clock far from where it is
/// believed to be. It does not wait for an order that another transaction holds: all others would wait too. What an order
/// waited for may have been asked for meanwhile by another, and then is neither `done` nor `asked` to this statement.
///
/// A revision of 0 shows that the order was not written to, not that it is ours: under the same keys another may stand. So
/// the order, the claim of its payment and the attempt under way are compared with what the claim says about itself.
const WRITE_OR_NOTHING: &str = write_and_count!(
    ", $57::bigint[], $58::text[], $59::text[], $60::uuid[], $51::uuid[]",
    ", payment, merchant, request_id, birth, token",
    "JOIN orders f ON f.order_key = n.order_key AND f.payment = n.payment
         WHERE EXISTS (SELECT FROM commands b
                       WHERE b.key = n.payment AND b.kind = 'payment' AND b.merchant = n.merchant
                         AND b.request_id = n.request_id AND b.birth = n.birth OFFSET 0)
           AND EXISTS (SELECT FROM due d WHERE d.order_key = n.order_key AND d.token = n.token OFFSET 0)
         FOR UPDATE OF f SKIP LOCKED",
    "WHERE all_or_nothing(moved = $54 AND progressed = $55 AND ended = cardinality($43)
                          AND jenius_now() BETWEEN $56 - interval '0.5 s' AND $56 + interval '0.5 s')"
);

impl Writes<'_> {
    /// Writes all of it, or says which guard found something else: then nothing may be committed.
    pub async fn write(&self, connection: &mut PgConnection) -> TxResult<()> {
        let (orders, commands) = self.bind(WRITE).fetch_one(connection).await?;
        exactly(self.orders.len(), orders, "orders")?;
        exactly(self.commands.len(), commands, "commands")
    }

    /// Writes all of it about orders that are not locked, or nothing: each of `orders` is among those that
    /// move, and every write of another raises their revision. Raced: one of them is not as it was read, and
    /// all are to be read again. `identity`: their claims, in the same order, as are the attempts.
    pub async fn write_or_nothing(
        &self,
        identity: &[&ClaimIdentity],
        now: Time,
        connection: &mut PgConnection,
    ) -> TxResult<()> {
        let orders = self.orders.iter().map(|m| m.order_key);
        let attempts = self.attempts.iter().map(|new| new.command_key);
        let is_of_each = orders.eq(identity.iter().map(|w| w.order_key))
            && attempts.eq(identity.iter().map(|w| w.command_key));
        if !is_of_each {
            return Err(TxError::Raced);
        }
        if accepted::record(self, identity, now, connection).await? {
            return Ok(());
        }
        let statement = self.bind(WRITE_OR_NOTHING).bind(stored_length(identity.len()));
        statement
            .bind(stored_length(self.commands.len()))
            .bind(now)
            .bind(identity.iter().map(|w| w.command_key).collect::<Vec<_>>())
            .bind(identity.iter().map(|w| w.merchant.as_str()).collect::<Vec<_>>())
            .bind(identity.iter().map(|w| w.request_id.as_str()).collect::<Vec<_>>())
            .bind(identity.iter().map(|w| w.birth).collect::<Vec<_>>())
            .fetch_one(connection)
            .await?;
        Ok(())
    }

    fn bind(&self, sql: &'static str) -> Statement<'_> {
        let statement = events::bind(sqlx::query_as(sql), &self.events);
        let statement = due::bind(bind_commands(statement, &self.commands), &self.due);
        let statement = bind_orders(statement, &self.orders).bind(&self.done);
        let statement = attempts::bind(statement, &self.attempts);
        statement
            .bind(self.commands.iter().map(|p| p.is.ask_first).collect::<Vec<_>>())
            .bind(self.orders.iter().map(|m| m.is.announced.expired).collect::<Vec<_>>())
    }
}

fn bind_commands<'q>(statement: Statement<'q>, all: &[Progressed<'_>]) -> Statement<'q> {
    statement
        .bind(all.iter().map(|p| p.key).collect::<Vec<_>>())
        .bind(all.iter().map(|p| stored_count(p.is.sends)).collect::<Vec<_>>())
        .bind(all.iter().map(|p| p.is.last_send_at).collect::<Vec<_>>())
        .bind(all.iter().map(|p| p.is.maybe_acted_at).collect::<Vec<_>>())
        .bind(all.iter().map(|p| p.is.doubted_at).collect::<Vec<_>>())
        .bind(all.iter().map(|p| p.is.inquired_at).collect::<Vec<_>>())
        .bind(all.iter().map(|p| stored_count(p.is.failed_inquiries)).collect::<Vec<_>>())
        .bind(all.iter().map(|p| stored_count(p.is.contradictions)).collect::<Vec<_>>())
        .bind(all.iter().map(|p| p.is.outcome.map(|o| o.name())).collect::<Vec<_>>())
        .bind(all.iter().map(|p| p.outcome_event).collect::<Vec<_>>())
        .bind(all.iter().map(|p| p.now).collect::<Vec<_>>())
}

fn bind_orders<'q>(statement: Statement<'q>, all: &[Moved<'_>]) -> Statement<'q> {
    let status =
        |moved: &Moved<'_>| moved.is.doku_status.as_deref().map(|word| storable(word, STATUS_CHARS_MAX));
    statement
        .bind(all.iter().map(|m| m.order_key).collect::<Vec<_>>())
        .bind(all.iter().map(|m| m.revision).collect::<Vec<_>>())
        .bind(all.iter().map(|m| m.is.state.name()).collect::<Vec<_>>())
        .bind(all.iter().map(|m| m.is.state.review_cause().map(ReviewCause::name)).collect::<Vec<_>>())
        .bind(all.iter().map(|m| m.is.state_since).collect::<Vec<_>>())
        .bind(all.iter().map(|m| stored_count(m.is.version)).collect::<Vec<_>>())
        .bind(all.iter().map(|m| m.is.announced.paid).collect::<Vec<_>>())
        .bind(all.iter().map(|m| m.is.announced.failed).collect::<Vec<_>>())
        .bind(all.iter().map(|m| m.is.announced.refunded).collect::<Vec<_>>())
        .bind(all.iter().map(status).collect::<Vec<_>>())
        .bind(all.iter().map(|m| m.is.evidence.map(|e| e.name())).collect::<Vec<_>>())
        .bind(all.iter().map(|m| stored_count(m.is.checks_made)).collect::<Vec<_>>())
}

fn exactly(wanted: usize, changed: i64, what: &str) -> TxResult<()> {
    if stored_length(wanted) == changed {
        return Ok(());
    }
    Err(StoreError::Refused(format!("an update of {wanted} {what} changed {changed} rows")).into())
}

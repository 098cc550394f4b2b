//! The record of payments that DOKU accepted at their first send: nearly every group of first answers is of these
//! alone. It writes exactly what `write_statement` would, in a statement of its own: what is the same for all of them is
//! written as a constant, and nothing is looked for that cannot be there.

use super::{
    attempts::NewAttempt,
    claim_identity::ClaimIdentity,
    due::NewDue,
    error::TxResult,
    events::NewEvent,
    rows::{storable, stored_length},
    write_statement::{Moved, Progressed, STATUS_CHARS_MAX, Writes},
};
use crate::domain::{
    Time,
    attempt::{AttemptMade, AttemptResult},
    command::Outcome,
    event::{EventType, EvidenceSource},
    finding::AttemptKind,
    order::OrderState,
    record::{Announced, OrderRecord, Progress},
};
use sqlx::PgConnection;

/// Undone unless each order is as its claim opened it, each command is the claim's own, its attempt is the one under way,
/// and the database's clock is near where it is believed to be. It does not wait for an order that another transaction holds.
const RECORD: &str = "
    WITH n AS MATERIALIZED (
        -- Constants that PostgreSQL does not see through: a condition on one table alone would tempt it to begin there.
        SELECT *, 0::bigint AS revision, 'accepted' AS outcome
        FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bytea[],
                    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::smallint[], $12::text[],
                    $13::smallint[], $16::uuid[])
             AS n (order_key, command_key, birth, event_id, correlation_id, traceparent, body, now, started_at,
                   inquire_at, inquire_rank, doku_status, http_status, token)),
    moved AS (
        UPDATE orders o
        SET state = 'awaiting_payment', state_since = n.now, version = 1, doku_status = n.doku_status,
            evidence = 'response', revision = 1
        FROM (SELECT n.* FROM n JOIN orders f ON f.order_key = n.order_key AND f.payment = n.command_key
              FOR UPDATE OF f SKIP LOCKED) AS n
        WHERE o.order_key = n.order_key AND o.revision = n.revision
        RETURNING o.order_key),
    progressed AS (
        UPDATE commands c
        SET sends = 1, last_send_at = n.started_at, outcome = n.outcome, outcome_event = n.event_id,
            settled_at = n.now
        FROM n
        WHERE c.key = n.command_key AND c.birth = n.birth AND coalesce(c.outcome, n.outcome) = n.outcome
        RETURNING c.key),
    waiting AS (
        UPDATE due d
        SET inquire_at = least(n.inquire_at, d.prompted_at), inquire_rank = n.inquire_rank, send_at = NULL,
            sends_end_at = NULL, send_rank = NULL, token = NULL, claimed_at = NULL, attempt = NULL,
            lease_ends_at = NULL, stranded_at = NULL
        FROM n WHERE d.order_key = n.order_key AND d.token = n.token
        RETURNING d.order_key),
    announced AS (
        INSERT INTO events (event_id, order_key, version, type, correlation_id, traceparent, body, created_at)
        SELECT event_id, order_key, 1, 'payment.accepted', correlation_id, traceparent, body, now FROM n),
    queued AS (INSERT INTO outbox (event_id, order_key) SELECT event_id, order_key FROM n),
    attempted AS (
        INSERT INTO attempts (command_key, number, kind, started_at, finished_at, http_status, result, token)
        SELECT command_key,
               (SELECT coalesce(max(number), 0) + 1 FROM attempts a WHERE a.command_key = n.command_key),
               'send', started_at, now, http_status, 'accepted', token
        FROM n)
    SELECT FROM (SELECT (SELECT count(*) FROM moved) AS moved, (SELECT count(*) FROM progressed) AS progressed,
                        (SELECT count(*) FROM waiting) AS waiting) AS c
    WHERE all_or_nothing(moved = $14 AND progressed = $14 AND waiting = $14
                         AND jenius_now() BETWEEN $15 - interval '0.5 s' AND $15 + interval '0.5 s')";

/// One payment that was accepted, and nothing else about its order.
struct Accepted<'a> {
    claim: &'a ClaimIdentity,
    event: &'a NewEvent,
    due: &'a NewDue<'a>,
    order: &'a Moved<'a>,
    attempt: &'a NewAttempt<'a>,
}

/// Records `writes`, whose claims are `identity`, if they are of this kind alone; else writes nothing and gives false.
pub(super) async fn record(
    writes: &Writes<'_>,
    identity: &[&ClaimIdentity],
    now: Time,
    connection: &mut PgConnection,
) -> TxResult<bool> {
    let Some(all) = all_accepted(writes, identity) else { return Ok(false) };
    let status =
        |one: &Accepted<'_>| one.order.is.doku_status.as_deref().map(|word| storable(word, STATUS_CHARS_MAX));
    let http_status =
        |one: &Accepted<'_>| one.attempt.made.http_status.and_then(|status| i16::try_from(status).ok());
    sqlx::query(RECORD)
        .bind(all.iter().map(|one| one.claim.order_key).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.claim.command_key).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.claim.birth).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.event.event_id).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.event.correlation_id.as_deref()).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.event.traceparent.as_deref()).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.event.body.as_slice()).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.event.created_at).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.attempt.started_at).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.due.due.inquiry.at).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.due.due.inquiry.rank.number()).collect::<Vec<_>>())
        .bind(all.iter().map(status).collect::<Vec<_>>())
        .bind(all.iter().map(http_status).collect::<Vec<_>>())
        .bind(stored_length(all.len()))
        .bind(now)
        .bind(all.iter().map(|one| one.attempt.token).collect::<Vec<_>>())
        .fetch_one(connection)
        .await?;
    Ok(true)
}

fn all_accepted<'a>(writes: &'a Writes<'_>, identity: &[&'a ClaimIdentity]) -> Option<Vec<Accepted<'a>>> {
    let Writes { events, commands, due, orders, done, attempts } = writes;
    let one_each = [events.len(), commands.len(), due.len(), orders.len(), attempts.len()];
    if !done.is_empty() || one_each.iter().any(|length| *length != identity.len()) {
        return None;
    }
    let of_each = identity.iter().zip(events).zip(commands).zip(due).zip(orders).zip(attempts);
    of_each
        .map(|(((((claim, event), command), due), order), attempt)| {
            let one = Accepted { claim, event, due, order, attempt };
            (one.is_of_its_claim(command) && one.is_accepted(command)).then_some(one)
        })
        .collect()
}

impl Accepted<'_> {
    fn is_of_its_claim(&self, command: &Progressed<'_>) -> bool {
        let claim = self.claim;
        self.order.order_key == claim.order_key
            && self.due.order_key == claim.order_key
            && command.key == claim.command_key
            && self.attempt.command_key == claim.command_key
            && self.attempt.token.is_some()
            && command.outcome_event == Some(self.event.event_id)
    }

    /// Each member is named: who adds one decides whether this statement writes it.
    fn is_accepted(&self, command: &Progressed<'_>) -> bool {
        let (now, started_at) = (self.event.created_at, self.attempt.started_at);
        let order = matches!(self.order.is, OrderRecord {
            state: OrderState::AwaitingPayment,
            state_since,
            version: 1,
            announced: Announced { paid: false, failed: false, expired: false, refunded: false },
            evidence: Some(EvidenceSource::Response),
            checks_made: 0,
            refund: None,
            // As they were claimed, or written as they are.
            merchant: _, invoice_number: _, amount: _, origin: _, doku_status: _, payment: _, earlier_refunds: _,
        } if *state_since == now);
        let progress = matches!(command.is, Progress {
            outcome: Some(Outcome::Accepted),
            sends: 1,
            last_send_at: Some(last_send_at),
            maybe_acted_at: None,
            doubted_at: None,
            inquired_at: None,
            failed_inquiries: 0,
            contradictions: 0,
            ask_first: false,
            kind: _, command: _, claimed_at: _, sends_end_at: _,
        } if *last_send_at == started_at);
        let made = matches!(
            self.attempt.made,
            AttemptMade {
                kind: AttemptKind::Send,
                result: AttemptResult::Accepted,
                detail: None,
                class: _,
                http_status: _,
            }
        );
        order
            && progress
            && made
            && self.order.revision == 0
            && command.now == now
            && self.attempt.finished_at == now
            && self.due.due.send.is_none()
            && self.due.lease.is_none()
            && self.event.event_type == EventType::PaymentAccepted
            && self.event.order == Some((self.claim.order_key, 1))
    }
}

//! The claim of new payments: one statement for all of them.

use super::{ClaimRequest, Granted};
use crate::{
    domain::{Time, schedule::AttemptSchedule},
    flow::ports::{NewCommand, StoreError},
    postgres::{
        error::{TxError, TxResult},
        requests::micros,
        rows::storable_trace,
    },
};
use sqlx::{Error, FromRow, PgConnection};
use std::sync::Arc;

/// A payment's sends end a budget after its `time`, if it has one that is not in the future: that end is stored
/// as its expiry, which never stands still. A command that was seen before, or has ended, is left out. One that may have
/// been sent under a claim that is gone is not left out: it is claimed in doubt if it has ended, or is older than the last
/// time that the database went back, and DOKU is asked about it before anything is sent. What another transaction commits
/// meanwhile breaks a unique index, and then nothing of this statement is written. The keys are drawn first, so that nothing has to be looked up to join what is inserted.
const CLAIM: &str = "
    WITH clock AS MATERIALIZED (
        SELECT jenius_now() AS now, (SELECT at FROM restored WHERE only_row) AS restored_at),
    asked AS MATERIALIZED (
        SELECT a.*, now, e.ends_at, least(now + a.budget * interval '1 microsecond', e.ends_at) AS sends_end_at,
               (e.ends_at <= now OR a.published_at <= restored_at) IS TRUE AS is_doubted,
               nextval('commands_key_seq') AS command_key, nextval('orders_order_key_seq') AS order_key
        FROM clock, unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[],
                           $8::text[], $9::text[], $10::text[], $11::bytea[], $12::bigint[], $13::bigint[],
                           $14::timestamptz[], $15::bigint[], $16::uuid[], $17::timestamptz[], $18::boolean[], $20::timestamptz[])
             WITH ORDINALITY AS a (source, id, merchant, digest, invoice_number, traceparent, tracestate,
                                   request_id, client_id, base_url, request_body, amount, budget, expires_at,
                                   lease, token, published_at, came_before, dated_at, place)
        CROSS JOIN LATERAL (
            SELECT least(a.expires_at,
                         CASE WHEN a.dated_at <= now
                              THEN a.dated_at + a.budget * interval '1 microsecond' END) AS ends_at) AS e
        WHERE (e.ends_at IS NULL OR e.ends_at > now OR a.came_before OR a.published_at <= restored_at)
          AND NOT EXISTS (SELECT FROM orders o
                          WHERE o.merchant = a.merchant AND o.invoice_number = a.invoice_number OFFSET 0)
          AND NOT EXISTS (SELECT FROM commands c WHERE c.source = a.source AND c.id = a.id OFFSET 0)),
    command AS (
        INSERT INTO commands (key, source, id, kind, merchant, digest, invoice_number, traceparent, tracestate,
                              received_at, request_id, client_id, base_url, request_body, claimed_at,
                              sends_end_at, expires_at, published_at, birth, maybe_acted_at)
        OVERRIDING SYSTEM VALUE
        SELECT command_key, source, id, 'payment', merchant, digest, invoice_number, traceparent, tracestate,
               now, request_id, client_id, base_url, request_body, now, sends_end_at, ends_at,
               published_at, token, CASE WHEN is_doubted THEN now END
        FROM asked),
    opened AS (
        INSERT INTO orders (order_key, merchant, invoice_number, amount, state, state_since, payment, created_at)
        OVERRIDING SYSTEM VALUE
        SELECT order_key, merchant, invoice_number, amount, 'submitting', now, command_key, now
        FROM asked),
    waiting AS (
        INSERT INTO due (order_key, merchant, inquire_at, inquire_rank, send_at, sends_end_at, send_rank,
                         token, claimed_at, attempt, lease_ends_at)
        SELECT order_key, merchant, sends_end_at + $19 * interval '1 microsecond', 2, now, sends_end_at, 0,
               CASE WHEN lease IS NOT NULL THEN token END, CASE WHEN lease IS NOT NULL THEN now END,
               CASE WHEN lease IS NOT NULL THEN 'send' END, now + lease * interval '1 microsecond'
        FROM asked WHERE NOT is_doubted
        UNION ALL
        SELECT order_key, merchant, now, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM asked WHERE is_doubted)
    SELECT place, order_key, command_key, now, sends_end_at, is_doubted FROM asked";

#[derive(FromRow)]
struct ClaimRow {
    place: i64,
    order_key: i64,
    command_key: i64,
    now: Time,
    sends_end_at: Time,
    is_doubted: bool,
}

/// Claims the new ones; `None` for the others.
pub(super) async fn claim(
    connection: &mut PgConnection,
    all: &[Arc<ClaimRequest>],
    schedule: &AttemptSchedule,
) -> TxResult<Vec<Option<Granted>>> {
    // Every transaction takes unique keys in the same order: none waits for one that waits for it.
    let mut places: Vec<usize> = (0..all.len()).collect();
    places.sort_unstable_by_key(|place| {
        let order = &all[*place].new.order;
        (order.merchant.as_str(), order.invoice_number.as_str())
    });
    let in_order: Vec<_> = places.iter().map(|place| &*all[*place].new).collect();
    let rows = insert(connection, &in_order, schedule).await?;
    let mut granted: Vec<Option<Granted>> = all.iter().map(|_| None).collect();
    for row in rows {
        let ClaimRow { place, order_key, command_key, now, sends_end_at, is_doubted } = row;
        let asked = usize::try_from(place - 1).ok().and_then(|place| places.get(place)).copied();
        let Some(mine) = asked.and_then(|place| granted.get_mut(place)) else {
            return Err(StoreError::Refused(
                "the statement granted a claim that was not asked for".to_owned(),
            )
            .into());
        };
        *mine = Some(Granted { order_key, command_key, now, sends_end_at, is_deferred: is_doubted });
    }
    Ok(granted)
}

async fn insert(
    connection: &mut PgConnection,
    all: &[&NewCommand],
    schedule: &AttemptSchedule,
) -> TxResult<Vec<ClaimRow>> {
    let trace = |text: &Option<String>| storable_trace(text.as_deref());
    let amounts = all.iter().map(|new| stored_amount(new)).collect::<Result<Vec<_>, _>>()?;
    sqlx::query_as(CLAIM)
        .bind(all.iter().map(|new| new.command.identity.source.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.command.identity.id.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.order.merchant.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.command.digest.as_slice()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.order.invoice_number.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| trace(&new.command.trace.traceparent)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| trace(&new.command.trace.tracestate)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.request.request_id.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.request.client_id.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.request.base_url.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.request.body.as_slice()).collect::<Vec<_>>())
        .bind(amounts)
        .bind(all.iter().map(|new| micros(new.budget)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.command.expires_at).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.lease.map(micros)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.token).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.command.published_at).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.command.came_before > 0).collect::<Vec<_>>())
        .bind(micros(schedule.check.first_after))
        .bind(all.iter().map(|new| new.command.dated_at).collect::<Vec<_>>())
        .fetch_all(connection)
        .await
        .map_err(raced)
}

/// Another transaction committed the same identity or invoice after this statement began.
fn raced(error: Error) -> TxError {
    match error.as_database_error() {
        Some(refusal) if refusal.is_unique_violation() => TxError::Raced,
        Some(_) | None => error.into(),
    }
}

fn stored_amount(new: &NewCommand) -> Result<i64, StoreError> {
    i64::try_from(new.order.amount.get()).map_err(|_| StoreError::Refused("an amount beyond i64".to_owned()))
}

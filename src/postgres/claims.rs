//! Claims: first seen or not, ours or not. A claim writes the worst case: its order is due when the lease
//! runs out, whatever happens to this process.
//!
//! `Claims` takes one command at a time; that several share a transaction would be its own affair.

use super::{
    Inner, due,
    error::{Done, Undone},
    orders,
    rejections::{self, RACES_MAX, TRACE_CHARS_MAX, refused, violation},
    requests::{instant, micros},
    rows::storable,
};
use crate::{
    domain::{
        Time,
        command::{CommandKind, RefundRefusal},
        learned::AttemptKind,
        plan::Due,
        validate::Code,
    },
    flow::ports::{Claim, Claimed, NewCommand, StoreError},
};
use sqlx::{FromRow, PgConnection};
use std::sync::Arc;
use tokio::time::Instant;

/// Makes claims.
#[derive(Clone)]
pub(super) struct Claims {
    inner: Arc<Inner>,
}

impl Claims {
    pub fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Claims one command, or finds out why not. Asked again with the same token after an error, it
    /// answers as it would have.
    pub async fn claim(&self, new: NewCommand) -> Result<Claimed, StoreError> {
        let new = Arc::new(new);
        let asked_at = Instant::now();
        for _ in 0..RACES_MAX {
            let this = Arc::clone(&new);
            match self.inner.transaction(move |c| Box::pin(claim_one(c, this, asked_at))).await {
                Ok(claimed) => {
                    self.inner.answered(new.command.kind, &claimed);
                    return Ok(claimed);
                }
                Err(Undone::Raced) => {}
                Err(Undone::Failed(error)) => return Err(error),
            }
        }
        Err(Undone::Raced.into())
    }
}

async fn claim_one(connection: &mut PgConnection, new: Arc<NewCommand>, asked_at: Instant) -> Done<Claimed> {
    match new.command.kind {
        CommandKind::Payment => claim_payment(connection, &new, asked_at).await,
        CommandKind::Refund => claim_refund(connection, &new, asked_at).await,
    }
}

#[derive(FromRow)]
struct PaymentClaim {
    now: Time,
    sends_end_at: Option<Time>,
    command_key: Option<i64>,
    order_key: Option<i64>,
}

/// The claim of a payment that nobody has seen: one statement. What it does not insert tells where to
/// look for the reason.
const CLAIM_PAYMENT: &str = "
    WITH clock AS MATERIALIZED (SELECT jenius_now() AS now),
    judged AS MATERIALIZED (
        SELECT now, least(now + $13 * interval '1 microsecond', $14::timestamptz) AS sends_end_at
        FROM clock
        WHERE ($14::timestamptz IS NULL OR $14 > now)
          AND NOT EXISTS (SELECT FROM orders WHERE merchant = $3 AND invoice_number = $5)),
    command AS (
        INSERT INTO commands (source, id, kind, merchant, digest, invoice_number, traceparent, tracestate,
                              received_at, request_id, client_id, base_url, request_body, claimed_at,
                              sends_end_at, expires_at)
        SELECT $1, $2, 'payment', $3, $4, $5, $6, $7, now, $8, $9, $10, $11, now, sends_end_at, $14
        FROM judged
        ON CONFLICT (source, id) DO NOTHING
        RETURNING key),
    opened AS (
        INSERT INTO orders (merchant, invoice_number, amount, state, state_since, payment, created_at)
        SELECT $3, $5, $12, 'submitting', now, key, now
        FROM command, judged
        ON CONFLICT (merchant, invoice_number) DO NOTHING
        RETURNING order_key),
    waiting AS (
        INSERT INTO due (order_key, merchant, kind, at, sends_end_at, token, claimed_at)
        SELECT order_key, $3, 'send', now + coalesce($15, 0) * interval '1 microsecond', sends_end_at,
               CASE WHEN $15 IS NOT NULL THEN $16::uuid END, CASE WHEN $15 IS NOT NULL THEN now END
        FROM opened, judged)
    SELECT clock.now, judged.sends_end_at, command.key AS command_key, opened.order_key
    FROM clock LEFT JOIN judged ON true LEFT JOIN command ON true LEFT JOIN opened ON true";

async fn claim_payment(connection: &mut PgConnection, new: &NewCommand, asked_at: Instant) -> Done<Claimed> {
    let (command, request) = (&new.command, &new.request);
    let made: PaymentClaim = sqlx::query_as(CLAIM_PAYMENT)
        .bind(command.identity.source.as_str())
        .bind(command.identity.id.as_str())
        .bind(new.order.merchant.as_str())
        .bind(command.digest.as_slice())
        .bind(new.order.invoice_number.as_str())
        .bind(command.trace.traceparent.as_deref().map(|t| storable(t, TRACE_CHARS_MAX)))
        .bind(command.trace.tracestate.as_deref().map(|t| storable(t, TRACE_CHARS_MAX)))
        .bind(request.request_id.as_str())
        .bind(&request.client_id)
        .bind(&request.base_url)
        .bind(&request.body)
        .bind(stored_amount(new)?)
        .bind(micros(new.budget))
        .bind(command.expires_at)
        .bind(new.lease.map(micros))
        .bind(new.token)
        .fetch_one(&mut *connection)
        .await?;
    match made {
        PaymentClaim {
            now,
            sends_end_at: Some(sends_end_at),
            command_key: Some(command_key),
            order_key: Some(order_key),
        } => Ok(Granted { order_key, command_key, now, sends_end_at }.claimed(new, asked_at)),
        // Another command committed this invoice after our statement began.
        PaymentClaim { command_key: Some(_), .. } => Err(Undone::Raced),
        // The losers of ON CONFLICT are read in a second statement: that one cannot see them.
        PaymentClaim { now, .. } => not_claimed(connection, new, now, asked_at).await,
    }
}

/// Why a payment was not claimed, judged in the contract's order.
async fn not_claimed(
    connection: &mut PgConnection,
    new: &NewCommand,
    now: Time,
    asked_at: Instant,
) -> Done<Claimed> {
    if let Some(answer) = seen_before(connection, new, asked_at).await? {
        return Ok(answer);
    }
    if let Some(expired) = rejections::expired(&new.command, now) {
        return rejections::store(connection, &new.command, &[expired], now).await;
    }
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM orders WHERE merchant = $1 AND invoice_number = $2)")
            .bind(new.order.merchant.as_str())
            .bind(new.order.invoice_number.as_str())
            .fetch_one(&mut *connection)
            .await?;
    if !exists {
        return Err(Undone::Raced);
    }
    let message = "an invoice number that no other command of this merchant used";
    let used = violation(Code::InvoiceExists, "order.invoice_number", message);
    rejections::store(connection, &new.command, &[used], now).await
}

async fn claim_refund(connection: &mut PgConnection, new: &NewCommand, asked_at: Instant) -> Done<Claimed> {
    if let Some(answer) = seen_before(connection, new, asked_at).await? {
        return Ok(answer);
    }
    let order = orders::lock_invoice(connection, &new.order.merchant, &new.order.invoice_number).await?;
    let now = match &order {
        Some(order) => order.now,
        None => rejections::now(connection).await?,
    };
    if let Some(expired) = rejections::expired(&new.command, now) {
        return rejections::store(connection, &new.command, &[expired], now).await;
    }
    let refusal = match &order {
        Some(order) => order.record.refuses_refund(new.order.amount),
        None => Some(RefundRefusal::OrderUnknown),
    };
    match (order, refusal) {
        (Some(order), None) => open_refund(connection, new, &order, asked_at).await,
        (_, refusal) => {
            let refusal = refused(refusal.unwrap_or(RefundRefusal::OrderUnknown));
            rejections::store(connection, &new.command, &[refusal], now).await
        }
    }
}

/// The order is locked and takes a refund.
async fn open_refund(
    connection: &mut PgConnection,
    new: &NewCommand,
    order: &orders::LockedOrder,
    asked_at: Instant,
) -> Done<Claimed> {
    let (command, request, now) = (&new.command, &new.request, order.now);
    let inserted: Option<(i64, Time)> = sqlx::query_as(
        "INSERT INTO commands (source, id, kind, merchant, digest, invoice_number, traceparent, tracestate,
                               received_at, request_id, client_id, base_url, request_body, claimed_at,
                               sends_end_at, expires_at)
         VALUES ($1, $2, 'refund', $3, $4, $5, $6, $7, $12, $8, $9, $10, $11, $12,
                 least($12 + $13 * interval '1 microsecond', $14::timestamptz), $14)
         ON CONFLICT (source, id) DO NOTHING
         RETURNING key, sends_end_at",
    )
    .bind(command.identity.source.as_str())
    .bind(command.identity.id.as_str())
    .bind(new.order.merchant.as_str())
    .bind(command.digest.as_slice())
    .bind(new.order.invoice_number.as_str())
    .bind(command.trace.traceparent.as_deref().map(|t| storable(t, TRACE_CHARS_MAX)))
    .bind(command.trace.tracestate.as_deref().map(|t| storable(t, TRACE_CHARS_MAX)))
    .bind(request.request_id.as_str())
    .bind(&request.client_id)
    .bind(&request.base_url)
    .bind(&request.body)
    .bind(now)
    .bind(micros(new.budget))
    .bind(command.expires_at)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((command_key, sends_end_at)) = inserted else { return Err(Undone::Raced) };
    order.open_refund(connection, command_key).await?;
    let at = now + new.lease.unwrap_or_default();
    let claim = new.lease.map(|_| (new.token, now));
    due::put(connection, order.order_key, &new.order.merchant, &Due::send(at, sends_end_at), claim).await?;
    let granted = Granted { order_key: order.order_key, command_key, now, sends_end_at };
    Ok(granted.claimed(new, asked_at))
}

/// The answer for an identity that is known already; our own claim, where only its reply was lost.
async fn seen_before(
    connection: &mut PgConnection,
    new: &NewCommand,
    asked_at: Instant,
) -> Done<Option<Claimed>> {
    let Some(known) = rejections::find(connection, &new.command.identity).await? else { return Ok(None) };
    let own: Option<(i64, Time, Time, Time)> = sqlx::query_as(
        "SELECT d.order_key, d.at, c.sends_end_at, jenius_now()
         FROM orders o JOIN due d USING (order_key) JOIN commands c ON c.key = $4
         WHERE o.merchant = $1 AND o.invoice_number = $2 AND d.token = $3",
    )
    .bind(new.order.merchant.as_str())
    .bind(new.order.invoice_number.as_str())
    .bind(new.token)
    .bind(known.key)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((order_key, lease_end, sends_end_at, now)) = own {
        let granted = Granted { order_key, command_key: known.key, now, sends_end_at };
        return Ok(Some(Claimed::Ours(Box::new(granted.claim(new, asked_at, lease_end)))));
    }
    rejections::answer_known(connection, &new.command, &known).await.map(Some)
}

/// A claim that is committed with this transaction.
struct Granted {
    order_key: i64,
    command_key: i64,
    now: Time,
    sends_end_at: Time,
}

impl Granted {
    fn claimed(&self, new: &NewCommand, asked_at: Instant) -> Claimed {
        match new.lease {
            Some(lease) => Claimed::Ours(Box::new(self.claim(new, asked_at, self.now + lease))),
            None => Claimed::Deferred,
        }
    }

    fn claim(&self, new: &NewCommand, asked_at: Instant, lease_end: Time) -> Claim {
        Claim {
            order_key: self.order_key,
            command_key: self.command_key,
            kind: AttemptKind::Send,
            token: new.token,
            request: new.request.clone(),
            lease_ends: instant(asked_at, lease_end - self.now),
            sends_end: instant(asked_at, self.sends_end_at - self.now),
        }
    }
}

fn stored_amount(new: &NewCommand) -> Result<i64, StoreError> {
    i64::try_from(new.order.amount.get()).map_err(|_| StoreError::Refused("an amount beyond i64".to_owned()))
}

//! The claim of a refund: judged under its order's row lock, one at a time. Refunds are few beside payments.

use super::{ClaimRequest, Granted, seen_before};
use crate::{
    domain::{
        Time,
        command::RefundRefusal,
        finding::AttemptKind,
        money::Rupiah,
        record::OrderRecord,
        schedule::{AttemptSchedule, Due, InquiryRank},
    },
    flow::ports::Claimed,
    postgres::{
        due::NewDue,
        error::{TxError, TxResult},
        moment::Moment,
        orders::{self, LoadedOrder},
        rejections::{self, refusal_violation},
        requests::{self, micros},
        rows::{Lease, storable_trace},
        write_statement::Writes,
    },
};
use sqlx::PgConnection;
use std::sync::Arc;

pub(super) async fn claim(
    connection: &mut PgConnection,
    asked: &ClaimRequest,
    schedule: &AttemptSchedule,
) -> TxResult<Claimed> {
    let mut claimed = judge(connection, asked, schedule).await?;
    if let Claimed::Granted(claim) = &mut claimed {
        let (request, _) = requests::read(connection, claim.command_key, asked.new.order.amount).await?;
        claim.request = Arc::new(request);
    }
    Ok(claimed)
}

async fn judge(
    connection: &mut PgConnection,
    asked: &ClaimRequest,
    schedule: &AttemptSchedule,
) -> TxResult<Claimed> {
    if let Some(answer) = seen_before(connection, asked).await? {
        return Ok(answer);
    }
    let new = &asked.new;
    let order = orders::lock_invoice(connection, &new.order.merchant, &new.order.invoice_number).await?;
    let moment = Moment::read(connection).await?;
    let now = moment.now;
    if let Some(expired) = rejections::expired(&new.command, &moment) {
        return rejections::store(connection, &new.command, &[expired], now).await;
    }
    match (&order, refusal(order.as_ref().map(|order| &order.record), new.order.amount)) {
        (Some(order), None) => open(connection, asked, order, schedule, moment.restored_at).await,
        (_, refusal) => {
            let refusal = refusal_violation(refusal.unwrap_or(RefundRefusal::OrderUnknown));
            rejections::store(connection, &new.command, &[refusal], now).await
        }
    }
}

/// Why a refund of this amount cannot start; `None`: no such order.
pub(in crate::postgres) fn refusal(order: Option<&OrderRecord>, amount: Rupiah) -> Option<RefundRefusal> {
    match order {
        Some(order) => order.refuses_refund(amount),
        None => Some(RefundRefusal::OrderUnknown),
    }
}

/// The order is locked and takes a refund.
async fn open(
    connection: &mut PgConnection,
    asked: &ClaimRequest,
    order: &LoadedOrder,
    schedule: &AttemptSchedule,
    restored_at: Option<Time>,
) -> TxResult<Claimed> {
    let new = &asked.new;
    let (command, request, now) = (&new.command, &new.request, order.now);
    // What DOKU did with the order before is not known here: another refund may have been made.
    let ask_first =
        order.record.is_paid_by_a_file_alone() || restored_at.is_some_and(|at| order.is_from_before(at));
    let may_have_acted =
        command.expires_at.is_some_and(|at| at <= now) || command.is_from_before(restored_at);
    // For the account that the order was made for, whichever is configured now.
    let inserted: Option<(i64, Time, bool)> = sqlx::query_as(
        "INSERT INTO commands (source, id, kind, merchant, digest, invoice_number, traceparent, tracestate,
                               received_at, request_id, client_id, base_url, request_body, claimed_at,
                               sends_end_at, expires_at, published_at, birth, maybe_acted_at, ask_first)
         SELECT $1, $2, 'refund', $3, $4, $5, $6, $7, $12::timestamptz, $8, payment.client_id, payment.base_url, $11, $12,
                least($12 + $13 * interval '1 microsecond', $14::timestamptz), $14, $15, $16,
                CASE WHEN $18 THEN $12 END, $17
         FROM commands payment WHERE key = (SELECT payment FROM orders WHERE order_key = $19)
         ON CONFLICT (source, id) DO NOTHING
         RETURNING key, sends_end_at, (client_id, base_url) = ($9, $10)",
    )
    .bind(command.identity.source.as_str())
    .bind(command.identity.id.as_str())
    .bind(new.order.merchant.as_str())
    .bind(command.digest.as_slice())
    .bind(new.order.invoice_number.as_str())
    .bind(storable_trace(command.trace.traceparent.as_deref()))
    .bind(storable_trace(command.trace.tracestate.as_deref()))
    .bind(request.request_id.as_str())
    .bind(&request.client_id)
    .bind(&request.base_url)
    .bind(&request.body)
    .bind(now)
    .bind(micros(new.budget))
    .bind(command.expires_at)
    .bind(command.published_at)
    .bind(new.token)
    .bind(ask_first)
    .bind(may_have_acted)
    .bind(order.order_key)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((command_key, sends_end_at, is_for_this_account)) = inserted else { return Err(TxError::Raced) };
    let is_asked_about = ask_first || may_have_acted;
    let due = if is_asked_about {
        Due::inquiry(now, InquiryRank::Doubt)
    } else {
        schedule.opened_refund(now, sends_end_at)
    };
    let (kind, token) = (AttemptKind::Send, new.token);
    let is_deferred = is_asked_about || !is_for_this_account;
    let lease = new.lease.filter(|_| !is_deferred);
    let lease = lease.map(|lease| Lease { kind, token, claimed_at: now, ends_at: now + lease });
    let waits = NewDue { order_key: order.order_key, merchant: &new.order.merchant, due: &due, lease };
    Writes { due: vec![waits], ..Writes::default() }.write(connection).await?;
    order.open_refund(connection, command_key).await?;
    Ok(Granted { order_key: order.order_key, command_key, now, sends_end_at, is_deferred }
        .claimed(asked, None))
}

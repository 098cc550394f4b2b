//! The claim of payments that waited for their first send: one statement for all of them, since nothing was written about
//! such an order since its command was claimed, and nothing about it is to be judged.

use super::{Wanted, claim_one};
use crate::{
    domain::{Time, command::Order, finding::AttemptKind, record::OrderRecord},
    flow::ports::{Claim, DueClaim, FreshOrder, StoreError},
    postgres::{
        StoreContext,
        batch::Group,
        error::TxResult,
        orders::CommitEffects,
        parked,
        requests::{RequestRow, instant, micros},
        rows::{ProgressRow, rupiah},
    },
};
use sqlx::{FromRow, PgConnection};
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

/// Payments that share the claims of their first sends. One that waited since its delivery goes as evenly as the tokens of its
/// merchant come, and shares the record of its answer with those that did not wait.
pub(super) struct FirstSends(pub Arc<StoreContext>);

/// An order that another transaction holds, or about which anything was written, is left out; so is one for which another
/// merchant's permit was taken. The due row is judged by its latest version, under the lock of its order. PostgreSQL does not
/// see through CASE and OFFSET 0: else it would begin with all that is due, or open.
const CLAIM: &str = "
    WITH clock AS MATERIALIZED (SELECT jenius_now() AS now),
    free AS MATERIALIZED (
        SELECT n.ordinal, n.token, n.lease, o.order_key, o.payment, o.amount
        FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::bigint[])
             WITH ORDINALITY AS n (order_key, merchant, token, lease, ordinal)
        JOIN orders o ON o.order_key = n.order_key AND o.order_key = ANY ($1)
        WHERE CASE WHEN o.merchant = n.merchant AND o.revision = 0 AND o.state = 'submitting' THEN true END
        FOR UPDATE OF o SKIP LOCKED),
    claimed AS (
        UPDATE due d
        SET token = free.token, claimed_at = now, attempt = 'send',
            lease_ends_at = now + free.lease * interval '1 microsecond'
        FROM free, clock
        WHERE d.order_key = free.order_key AND d.order_key = ANY ($1)
          AND CASE WHEN d.token IS NULL AND d.stranded_at IS NULL AND d.send_rank = 0 AND d.send_at <= now
                        AND d.sends_end_at > now AND NOT (d.inquire_rank = 0 AND d.inquire_at <= now) THEN true END
        RETURNING free.ordinal, free.token, free.order_key, free.payment, free.amount, now)
    SELECT ordinal, token, order_key, amount, now, c.*, NULL::bytea AS payment_body
    FROM claimed CROSS JOIN LATERAL (
        SELECT key, birth, source, id, kind, merchant, invoice_number, traceparent, tracestate, request_id, client_id,
               base_url, request_body, claimed_at, sends_end_at, sends, last_send_at, maybe_acted_at, doubted_at,
               inquired_at, failed_inquiries, contradictions, outcome, published_at, ask_first, imported
        FROM commands WHERE key = claimed.payment OFFSET 0) AS c";

#[derive(FromRow)]
struct ClaimedRow {
    ordinal: i64,
    token: Uuid,
    order_key: i64,
    amount: i64,
    now: Time,
    #[sqlx(flatten)]
    request: RequestRow,
    #[sqlx(flatten)]
    command: ProgressRow,
}

impl Group for FirstSends {
    type Item = Wanted;
    type Key = i64;
    type Reply = (DueClaim, CommitEffects);

    fn key(wanted: &Wanted) -> i64 {
        wanted.order_key
    }

    async fn together(self: Arc<Self>, all: Vec<Arc<Wanted>>) -> TxResult<Vec<Option<Self::Reply>>> {
        let (asked_at, wanted) = (Instant::now(), all.clone());
        let rows = self.0.statement(move |c| Box::pin(async move { claim(c, &wanted).await })).await?;
        let mut claims: Vec<Option<Box<Claim>>> = all.iter().map(|_| None).collect();
        for row in rows {
            let ordinal = usize::try_from(row.ordinal - 1).unwrap_or(usize::MAX);
            if let (Some(wanted), Some(claim)) = (all.get(ordinal), claims.get_mut(ordinal)) {
                *claim = Some(Box::new(row.claim(wanted, asked_at)?));
            }
        }
        look_for_parked(&self.0, claims.iter_mut().flatten()).await;
        let attempt = |claim| (DueClaim::Attempt(claim), CommitEffects::default());
        Ok(claims.into_iter().map(|claim| claim.map(attempt)).collect())
    }

    async fn alone(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Self::Reply, StoreError> {
        claim_one(&self.0, wanted).await
    }
}

async fn claim(connection: &mut PgConnection, all: &[Arc<Wanted>]) -> TxResult<Vec<ClaimedRow>> {
    let rows = sqlx::query_as(CLAIM)
        .bind(all.iter().map(|wanted| wanted.order_key).collect::<Vec<_>>())
        .bind(all.iter().map(|wanted| wanted.merchant.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|_| Uuid::new_v4()).collect::<Vec<_>>())
        .bind(all.iter().map(|wanted| micros(wanted.lease)).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

/// Looks, after the commit of the claims, whether anything is parked for their orders. Where this look fails, nothing was
/// sent yet, and each attempt looks by itself.
async fn look_for_parked(context: &Arc<StoreContext>, claims: impl Iterator<Item = &mut Box<Claim>>) {
    let (orders, fresh): (Vec<_>, Vec<_>) = claims
        .filter_map(|claim| {
            let order = (claim.request.merchant.clone(), claim.request.invoice_number.clone());
            Some((order, Arc::get_mut(claim.fresh.as_mut()?)?))
        })
        .unzip();
    if orders.is_empty() {
        return;
    }
    let look = async move |c: &mut PgConnection| {
        let orders: Vec<_> = orders.iter().map(|order| (order.0.as_str(), order.1.as_str())).collect();
        parked::look(c, &orders).await
    };
    let parked = context.statement(move |c| Box::pin(async move { look(c).await })).await;
    for (fresh, is_parked) in fresh.into_iter().zip(parked.unwrap_or_default()) {
        fresh.nothing_parked = !is_parked;
    }
}

impl ClaimedRow {
    fn claim(self, wanted: &Wanted, asked_at: Instant) -> TxResult<Claim> {
        let amount = rupiah(self.amount)?;
        let (request, birth) = self.request.read(amount)?;
        let progress = self.command.progress()?;
        let (claimed_at, sends_end_at) = (progress.claimed_at, progress.sends_end_at);
        let (merchant, invoice_number) = (request.merchant.clone(), request.invoice_number.clone());
        let order = Order { merchant, invoice_number, amount };
        let fresh = FreshOrder {
            record: OrderRecord::opened(&order, progress.command, claimed_at, sends_end_at),
            trace: self.command.trace(),
            published_at: self.command.published_at,
            claimed_at: self.now,
            asked_at,
            nothing_parked: false,
        };
        Ok(Claim {
            order_key: self.order_key,
            command_key: self.command.key,
            kind: AttemptKind::Send,
            token: self.token,
            birth,
            request: Arc::new(request),
            lease_ends: wanted.asked_at + wanted.lease,
            sends_end: instant(wanted.asked_at, sends_end_at - self.now),
            traceparent: self.command.traceparent,
            fresh: Some(Arc::new(fresh)),
        })
    }
}

//! Claims: first seen or not, ours or not. A claim writes the worst case: its order is due when the lease
//! runs out, whatever happens to this process.
//!
//! New payments are claimed together (`payments`); every other command is judged alone.

mod payments;
pub(super) mod refunds;

use super::{
    StoreContext,
    batch::{Batch, Group},
    error::{RACES_MAX, TxError, TxResult},
    moment::Moment,
    parked, rejections,
    requests::instant,
};
use crate::{
    domain::{
        Time,
        command::{CommandKind, CommandRef, Order},
        finding::AttemptKind,
        ids::{InvoiceNumber, MerchantName},
        record::OrderRecord,
        schedule::AttemptSchedule,
        validate::{Code, Violation},
    },
    flow::ports::{Claim, Claimed, FreshOrder, NewCommand, StoreError},
};
use sqlx::PgConnection;
use std::sync::Arc;
use tokio::time::Instant;

/// Makes claims.
#[derive(Clone)]
pub(super) struct Claims {
    context: Arc<StoreContext>,
    payments: Batch<Payments>,
}

/// A command on its way to its claim.
struct ClaimRequest {
    new: Arc<NewCommand>,
    asked_at: Instant,
}

impl ClaimRequest {
    /// Its merchant and invoice number.
    fn order(&self) -> (&str, &str) {
        (self.new.order.merchant.as_str(), self.new.order.invoice_number.as_str())
    }
}

impl Claims {
    pub fn new(context: Arc<StoreContext>) -> Self {
        Self { payments: Batch::new(Payments(Arc::clone(&context))), context }
    }

    /// Claims one command, or finds out why not. Asked again with the same token after an error, it
    /// answers as it would have.
    pub async fn claim(&self, new: NewCommand) -> Result<Claimed, StoreError> {
        let new = Arc::new(new);
        let asked = ClaimRequest { new: Arc::clone(&new), asked_at: Instant::now() };
        let claimed = match new.command.kind {
            CommandKind::Payment => self.payments.add(asked).await?,
            CommandKind::Refund => claim_alone(&self.context, Arc::new(asked)).await?,
        };
        self.context.answered(&new.command, &claimed);
        Ok(claimed)
    }
}

/// Payments share their transaction while nothing but a claim follows for them.
struct Payments(Arc<StoreContext>);

impl Group for Payments {
    type Item = ClaimRequest;
    type Key = (MerchantName, InvoiceNumber);
    type Reply = Claimed;

    fn key(asked: &ClaimRequest) -> Self::Key {
        (asked.new.order.merchant.clone(), asked.new.order.invoice_number.clone())
    }

    /// Two statements: the claims are committed before anybody looks what is parked for them.
    async fn together(self: Arc<Self>, all: Vec<Arc<ClaimRequest>>) -> TxResult<Vec<Option<Claimed>>> {
        let (new, schedule) = (all.clone(), self.0.schedule.clone());
        let claim_and_look = async move |c: &mut PgConnection| {
            let asked_at = Instant::now();
            let granted = payments::claim(c, &new, &schedule).await?;
            let orders: Vec<_> = new.iter().map(|asked| asked.order()).collect();
            Ok((granted, parked::look(c, &orders).await?, asked_at))
        };
        let (granted, parked, asked_at) =
            self.0.statement(move |c| Box::pin(async move { claim_and_look(c).await })).await?;
        let claimed = |((asked, granted), is_parked): ((&Arc<ClaimRequest>, Option<Granted>), bool)| {
            let fresh = |g: &Granted| g.fresh(&asked.new, asked_at, !is_parked);
            granted.map(|granted| granted.claimed(asked, Some(fresh(&granted))))
        };
        Ok(all.iter().zip(granted).zip(parked).map(claimed).collect())
    }

    async fn alone(self: Arc<Self>, asked: Arc<ClaimRequest>) -> Result<Claimed, StoreError> {
        claim_alone(&self.0, asked).await
    }
}

async fn claim_alone(context: &Arc<StoreContext>, asked: Arc<ClaimRequest>) -> Result<Claimed, StoreError> {
    for _ in 0..RACES_MAX {
        let (this, schedule) = (Arc::clone(&asked), context.schedule.clone());
        match context.transaction(move |c| Box::pin(async move { claim_one(c, this, &schedule).await })).await
        {
            Ok(claimed) => return Ok(claimed),
            Err(TxError::Raced) => {}
            Err(tx_error @ (TxError::Contended(_) | TxError::Failed(_))) => return Err(tx_error.into()),
        }
    }
    Err(TxError::Raced.into())
}

async fn claim_one(
    connection: &mut PgConnection,
    asked: Arc<ClaimRequest>,
    schedule: &AttemptSchedule,
) -> TxResult<Claimed> {
    match asked.new.command.kind {
        CommandKind::Payment => claim_payment(connection, asked, schedule).await,
        CommandKind::Refund => refunds::claim(connection, &asked, schedule).await,
    }
}

async fn claim_payment(
    connection: &mut PgConnection,
    asked: Arc<ClaimRequest>,
    schedule: &AttemptSchedule,
) -> TxResult<Claimed> {
    match payments::claim(connection, std::slice::from_ref(&asked), schedule).await?.pop().flatten() {
        Some(granted) => Ok(granted.claimed(&asked, None)),
        None => not_claimed(connection, &asked).await,
    }
}

/// Why a payment was not claimed: the command was seen before, has expired, or its invoice number is used.
async fn not_claimed(connection: &mut PgConnection, asked: &ClaimRequest) -> TxResult<Claimed> {
    if let Some(answer) = seen_before(connection, asked).await? {
        return Ok(answer);
    }
    let new = &asked.new;
    let moment = Moment::read(connection).await?;
    let now = moment.now;
    if let Some(expired) = rejections::expired(&new.command, &moment) {
        return rejections::store(connection, &new.command, &[expired], now).await;
    }
    match invoice_used(connection, &new.order).await? {
        Some(used) => rejections::store(connection, &new.command, &[used], now).await,
        None => Err(TxError::Raced),
    }
}

/// Whether another command of this merchant used the invoice number.
pub(super) async fn invoice_used(
    connection: &mut PgConnection,
    order: &Order,
) -> TxResult<Option<Violation>> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM orders WHERE merchant = $1 AND invoice_number = $2)")
            .bind(order.merchant.as_str())
            .bind(order.invoice_number.as_str())
            .fetch_one(&mut *connection)
            .await?;
    let allowed = "an invoice number that no other command of this merchant used";
    Ok(exists.then(|| Violation::new(Code::InvoiceExists, "order.invoice_number", allowed, None)))
}

/// The answer for an identity that is known already; our own claim, where only its reply was lost.
async fn seen_before(connection: &mut PgConnection, asked: &ClaimRequest) -> TxResult<Option<Claimed>> {
    let new = &asked.new;
    let Some(known) = rejections::find(connection, &new.command.identity).await? else { return Ok(None) };
    let own: Option<(i64, Time, Time, Time)> = sqlx::query_as(
        "SELECT o.order_key, d.lease_ends_at, c.sends_end_at, jenius_now()
         FROM orders o
         JOIN LATERAL (SELECT lease_ends_at FROM due WHERE order_key = o.order_key AND token = $3 OFFSET 0) d ON true
         JOIN commands c ON c.key = $4
         WHERE o.merchant = $1 AND o.invoice_number = $2",
    )
    .bind(new.order.merchant.as_str())
    .bind(new.order.invoice_number.as_str())
    .bind(new.token)
    .bind(known.key)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((order_key, lease_end, sends_end_at, now)) = own {
        let granted = Granted { order_key, command_key: known.key, now, sends_end_at, is_deferred: false };
        return Ok(Some(Claimed::Granted(Box::new(granted.claim(asked, lease_end, None)))));
    }
    rejections::answer_known(connection, &new.command, &known).await.map(Some)
}

/// A claim that is committed with this transaction.
struct Granted {
    order_key: i64,
    command_key: i64,
    now: Time,
    sends_end_at: Time,
    /// It is not sent now: DOKU is asked about it first, or it is for an account that is not configured.
    is_deferred: bool,
}

impl Granted {
    fn claimed(&self, asked: &ClaimRequest, fresh: Option<Arc<FreshOrder>>) -> Claimed {
        rejections::note_age(&asked.new.command, self.now);
        match asked.new.lease {
            _ if self.is_deferred => Claimed::Deferred,
            Some(lease) => Claimed::Granted(Box::new(self.claim(asked, self.now + lease, fresh))),
            None => Claimed::Deferred,
        }
    }

    fn fresh(&self, new: &NewCommand, asked_at: Instant, nothing_parked: bool) -> Arc<FreshOrder> {
        let (identity, request_id) = (new.command.identity.clone(), new.request.request_id.clone());
        let command = CommandRef { identity, request_id };
        Arc::new(FreshOrder {
            record: OrderRecord::opened(&new.order, command, self.now, self.sends_end_at),
            trace: new.command.trace.clone(),
            published_at: new.command.published_at,
            claimed_at: self.now,
            asked_at,
            nothing_parked,
        })
    }

    fn claim(&self, asked: &ClaimRequest, lease_end: Time, fresh: Option<Arc<FreshOrder>>) -> Claim {
        Claim {
            order_key: self.order_key,
            command_key: self.command_key,
            kind: AttemptKind::Send,
            token: asked.new.token,
            // The first token of a command is its claim's, for good.
            birth: asked.new.token,
            request: Arc::clone(&asked.new.request),
            lease_ends: instant(asked.asked_at, lease_end - self.now),
            sends_end: instant(asked.asked_at, self.sends_end_at - self.now),
            // The trace of its delivery goes on.
            traceparent: None,
            fresh,
        }
    }
}

//! What would become of a command, were it to come now: judged by the parts that judge claims and
//! rejections, in their order. Never: anything is written or locked.

use crate::postgres::{
    claims::{self, refunds},
    error::TxResult,
    moment::Moment,
    orders,
    pool::PgPool,
    rejections,
};
use crate::{
    domain::{
        command::{ClaimForecast, Command, CommandKind, Order, Rejection},
        validate::Violation,
    },
    flow::ports::{NewCommand, StoreError},
};
use sqlx::PgConnection;

/// What a claim would find.
pub async fn forecast_claim(pool: &PgPool, new: &NewCommand) -> Result<ClaimForecast, StoreError> {
    let mut connection = pool.acquire().await?;
    let found = claim(&mut connection, &new.command, &new.order).await?;
    connection.release();
    Ok(found)
}

/// What a rejection would find.
pub async fn forecast_rejection(pool: &PgPool, rejection: &Rejection) -> Result<ClaimForecast, StoreError> {
    let mut connection = pool.acquire().await?;
    let found = reject(&mut connection, rejection).await?;
    connection.release();
    Ok(found)
}

async fn claim(connection: &mut PgConnection, command: &Command, order: &Order) -> TxResult<ClaimForecast> {
    if let Some(known) = seen_before(connection, command).await? {
        return Ok(known);
    }
    let moment = Moment::read(connection).await?;
    let refused = match rejections::expired(command, &moment) {
        Some(expired) => Some(expired),
        None => refused_by_order(connection, command.kind, order).await?,
    };
    Ok(refused.map_or(ClaimForecast::Claimed, |violation| ClaimForecast::Rejected(vec![violation])))
}

async fn refused_by_order(
    connection: &mut PgConnection,
    kind: CommandKind,
    order: &Order,
) -> TxResult<Option<Violation>> {
    match kind {
        CommandKind::Payment => claims::invoice_used(connection, order).await,
        CommandKind::Refund => {
            let found = orders::look(connection, &order.merchant, &order.invoice_number).await?;
            Ok(refunds::refusal(found.as_ref(), order.amount).map(rejections::refusal_violation))
        }
    }
}

async fn reject(connection: &mut PgConnection, rejection: &Rejection) -> TxResult<ClaimForecast> {
    if let Some(known) = seen_before(connection, &rejection.command).await? {
        return Ok(known);
    }
    let moment = Moment::read(connection).await?;
    Ok(ClaimForecast::Rejected(rejections::ranked(rejection, &moment)))
}

async fn seen_before(connection: &mut PgConnection, command: &Command) -> TxResult<Option<ClaimForecast>> {
    let known = rejections::find(connection, &command.identity).await?;
    Ok(known.map(|known| {
        if known.is(command) {
            ClaimForecast::Duplicate { published_again: known.outcome_event.is_some() }
        } else {
            ClaimForecast::Rejected(vec![rejections::conflict()])
        }
    }))
}

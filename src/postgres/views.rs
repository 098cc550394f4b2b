//! What people and programs are shown of an order (`orders list|show`). Reads only, on a connection of
//! its own; nothing is decided by what it shows.

use super::{
    error::{not_ours, store_error},
    pool::connect_options,
    rows::count,
};
use crate::{
    config::Database,
    domain::{Time, ids::MerchantName},
    flow::{
        ports::StoreError,
        view::{
            AttemptView, CommandView, DueView, HistoryView, NotificationView, OrderSummary, OrderView,
            RefundView,
        },
    },
};
use serde::Deserialize;
use sqlx::{Connection, FromRow, PgConnection};
use uuid::Uuid;

#[derive(FromRow)]
struct SummaryRow {
    order_key: i64,
    payment: i64,
    refund: Option<i64>,
    merchant: String,
    invoice_number: String,
    amount: i64,
    state: String,
    version: i32,
    doku_status: Option<String>,
    evidence: Option<String>,
    id: String,
    source: String,
    request_id: String,
    due_kind: Option<String>,
    due_at: Option<Time>,
    refund_id: Option<String>,
    refund_source: Option<String>,
    refund_request_id: Option<String>,
    refund_body: Option<Vec<u8>>,
    refund_outcome: Option<String>,
}

macro_rules! select_summary {
    ($rest:literal) => {
        concat!(
            "SELECT o.order_key, o.payment, o.refund, o.merchant, o.invoice_number, o.amount, o.state,
                    o.version, o.doku_status, o.evidence, c.id, c.source, c.request_id,
                    d.kind AS due_kind, d.at AS due_at, r.id AS refund_id, r.source AS refund_source,
                    r.request_id AS refund_request_id, r.request_body AS refund_body,
                    r.outcome AS refund_outcome
             FROM orders o JOIN commands c ON c.key = o.payment
             LEFT JOIN due d USING (order_key) LEFT JOIN commands r ON r.key = o.refund ",
            $rest
        )
    };
}

/// The latest orders, newest first, of one state where one is named; without their lists.
pub async fn list_orders(
    database: &Database,
    state: Option<&str>,
    limit: u32,
) -> Result<Vec<OrderSummary>, StoreError> {
    list_on(&mut connected(database).await?, state, limit).await
}

/// One order with everything that happened to it; `None` where there is none.
pub async fn order_view(
    database: &Database,
    merchant: &MerchantName,
    invoice: &str,
) -> Result<Option<OrderView>, StoreError> {
    view_on(&mut connected(database).await?, merchant, invoice).await
}

async fn connected(database: &Database) -> Result<PgConnection, StoreError> {
    PgConnection::connect_with(&connect_options(database)?).await.map_err(|e| store_error(&e))
}

pub(super) async fn list_on(
    connection: &mut PgConnection,
    state: Option<&str>,
    limit: u32,
) -> Result<Vec<OrderSummary>, StoreError> {
    let rows: Vec<SummaryRow> = sqlx::query_as(select_summary!(
        "WHERE $1::text IS NULL OR o.state = $1 ORDER BY o.order_key DESC LIMIT $2"
    ))
    .bind(state)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
    .map_err(|e| store_error(&e))?;
    rows.into_iter().map(SummaryRow::summary).collect()
}

pub(super) async fn view_on(
    connection: &mut PgConnection,
    merchant: &MerchantName,
    invoice: &str,
) -> Result<Option<OrderView>, StoreError> {
    let row: Option<SummaryRow> =
        sqlx::query_as(select_summary!("WHERE o.merchant = $1 AND o.invoice_number = $2"))
            .bind(merchant.as_str())
            .bind(invoice)
            .fetch_optional(&mut *connection)
            .await
            .map_err(|e| store_error(&e))?;
    let Some(row) = row else { return Ok(None) };
    let (order_key, payment, refund_key) = (row.order_key, row.payment, row.refund);
    let mut order = row.summary()?;
    if let (Some(refund), Some(key)) = (order.refund.as_mut(), refund_key) {
        refund.attempts = Some(attempts(connection, key).await?);
    }
    Ok(Some(OrderView {
        order,
        attempts: attempts(connection, payment).await?,
        history: history(connection, order_key).await?,
        notifications: notifications(connection, order_key).await?,
    }))
}

impl SummaryRow {
    fn summary(self) -> Result<OrderSummary, StoreError> {
        Ok(OrderSummary {
            refund: self.refund_view()?,
            merchant: self.merchant,
            invoice_number: self.invoice_number,
            amount: self.amount.to_string(),
            state: self.state,
            version: count(self.version)?,
            command: CommandView { id: self.id, source: self.source },
            request_id: self.request_id,
            doku_status: self.doku_status,
            evidence: self.evidence,
            due: self.due_kind.zip(self.due_at).map(|(kind, at)| DueView { kind, at }),
        })
    }

    fn refund_view(&self) -> Result<Option<RefundView>, StoreError> {
        let (Some(id), Some(source), Some(request_id), Some(body)) =
            (&self.refund_id, &self.refund_source, &self.refund_request_id, &self.refund_body)
        else {
            return Ok(None);
        };
        Ok(Some(RefundView {
            command: CommandView { id: id.clone(), source: source.clone() },
            request_id: request_id.clone(),
            reason: reason(body)?,
            state: self.refund_outcome.clone().unwrap_or_else(|| "open".to_owned()),
            attempts: None,
        }))
    }
}

/// The reason, as the refund's own request has it.
fn reason(body: &[u8]) -> Result<String, StoreError> {
    #[derive(Deserialize)]
    struct Body {
        order: Asked,
    }
    #[derive(Deserialize)]
    struct Asked {
        reason: String,
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| not_ours("refund request"))?;
    Ok(body.order.reason)
}

async fn attempts(connection: &mut PgConnection, command_key: i64) -> Result<Vec<AttemptView>, StoreError> {
    #[derive(FromRow)]
    struct AttemptRow {
        number: i32,
        kind: String,
        started_at: Time,
        finished_at: Time,
        http_status: Option<i16>,
        result: String,
    }
    let rows: Vec<AttemptRow> = sqlx::query_as(
        "SELECT number, kind, started_at, finished_at, http_status, result
         FROM attempts WHERE command_key = $1 ORDER BY number",
    )
    .bind(command_key)
    .fetch_all(connection)
    .await
    .map_err(|e| store_error(&e))?;
    let view = |row: AttemptRow| {
        Ok(AttemptView {
            number: count(row.number)?,
            kind: row.kind,
            started_at: row.started_at,
            // Of a lost attempt the end of its lease is known, not its own.
            finished_at: (row.result != "lost").then_some(row.finished_at),
            http_status: row.http_status.and_then(|status| u16::try_from(status).ok()),
            result: row.result,
        })
    };
    rows.into_iter().map(view).collect()
}

/// State and evidence are read from the event itself: it says what was true at its version.
async fn history(connection: &mut PgConnection, order_key: i64) -> Result<Vec<HistoryView>, StoreError> {
    #[derive(FromRow)]
    struct EventRow {
        version: i32,
        event_id: Uuid,
        body: Vec<u8>,
        created_at: Time,
        published_at: Option<Time>,
    }
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "type")]
        event_type: String,
        data: Told,
    }
    #[derive(Deserialize)]
    struct Told {
        state: String,
        evidence: String,
    }
    let rows: Vec<EventRow> = sqlx::query_as(
        "SELECT version, event_id, body, created_at, published_at
         FROM events WHERE order_key = $1 ORDER BY version",
    )
    .bind(order_key)
    .fetch_all(connection)
    .await
    .map_err(|e| store_error(&e))?;
    let view = |row: EventRow| {
        let body: Body = serde_json::from_slice(&row.body).map_err(|_| not_ours("event"))?;
        Ok(HistoryView {
            version: count(row.version)?,
            state: body.data.state,
            evidence: body.data.evidence,
            at: row.created_at,
            event_id: row.event_id.to_string(),
            event_type: body.event_type,
            published_at: row.published_at,
        })
    };
    rows.into_iter().map(view).collect()
}

async fn notifications(
    connection: &mut PgConnection,
    order_key: i64,
) -> Result<Vec<NotificationView>, StoreError> {
    #[derive(FromRow)]
    struct NotificationRow {
        received_at: Time,
        request_id: String,
        status: Option<String>,
        amount: Option<String>,
        applied: bool,
        reason: Option<String>,
    }
    let rows: Vec<NotificationRow> = sqlx::query_as(
        "SELECT received_at, request_id, status, amount, applied, reason
         FROM notifications WHERE order_key = $1 ORDER BY key",
    )
    .bind(order_key)
    .fetch_all(connection)
    .await
    .map_err(|e| store_error(&e))?;
    let view = |row: NotificationRow| NotificationView {
        received_at: row.received_at,
        request_id: row.request_id,
        status: row.status,
        amount: row.amount,
        applied: row.applied,
        reason: row.reason,
    };
    Ok(rows.into_iter().map(view).collect())
}

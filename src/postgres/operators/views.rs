//! What an operator reads about orders (`orders list|show`). Reads only; several statements, since
//! nothing is decided by what they show.

use super::{actions, decisions};
use crate::postgres::{pool::PgPool, rows::read_straight, settlement, tx::answered};
use crate::{
    domain::Time,
    flow::{
        ports::StoreError,
        view::{
            AttemptView, BlockedView, CommandView, DueView, HistoryView, NotificationView, OrderSummary,
            OrderView, RefundView,
        },
    },
};
use serde::Deserialize;
use sqlx::{FromRow, Row, postgres::PgRow};
use uuid::Uuid;

/// An order's summary, and whose attempts are shown with it.
#[derive(FromRow)]
struct ShownRow {
    #[sqlx(flatten)]
    order: OrderSummary,
    payment: i64,
    refund: Option<i64>,
}

impl FromRow<'_, PgRow> for OrderSummary {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let text = |column| row.try_get::<Option<String>, _>(column);
        let time = |column| row.try_get::<Option<Time>, _>(column);
        let (blocked_detail, command) = (text("blocked_detail")?, text("id")?.zip(text("source")?));
        Ok(Self {
            key: row.try_get("order_key")?,
            revision: row.try_get("revision")?,
            merchant: row.try_get("merchant")?,
            invoice_number: row.try_get("invoice_number")?,
            amount: row.try_get("amount")?,
            state: row.try_get("state")?,
            review_cause: row.try_get("review_cause")?,
            pruned: row.try_get("pruned")?,
            created_at: row.try_get("created_at")?,
            state_since: row.try_get("state_since")?,
            version: number(row, "version")?,
            command: command.map(|(id, source)| CommandView { id, source }),
            request_id: row.try_get("request_id")?,
            doku_status: row.try_get("doku_status")?,
            evidence: row.try_get("evidence")?,
            due: text("due_kind")?.zip(time("due_at")?).map(|(kind, at)| DueView { kind, at }),
            blocked: text("blocked_by")?.zip(time("blocked_since")?).map(|(by, since)| BlockedView {
                by,
                since,
                detail: blocked_detail,
            }),
            refund: refund(row)?,
        })
    }
}

fn refund(row: &PgRow) -> sqlx::Result<Option<RefundView>> {
    #[derive(Deserialize)]
    struct StoredRefund {
        order: StoredRefundOrder,
    }
    #[derive(Deserialize)]
    struct StoredRefundOrder {
        reason: String,
    }
    let Some(body) = row.try_get::<Option<Vec<u8>>, _>("refund_body")? else { return Ok(None) };
    let body: Option<StoredRefund> = serde_json::from_slice(&body).ok();
    Ok(Some(RefundView {
        command: CommandView { id: row.try_get("refund_id")?, source: row.try_get("refund_source")? },
        request_id: row.try_get("refund_request_id")?,
        reason: body.map(|body| body.order.reason).unwrap_or_default(),
        state: row.try_get("refund_state")?,
        attempts: None,
    }))
}

fn number<T>(row: &PgRow, column: &str) -> sqlx::Result<T>
where
    T: TryFrom<i32, Error: std::error::Error + Send + Sync + 'static>,
{
    T::try_from(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
}

macro_rules! select_summary {
    ($rest:expr) => {
        concat!(
            "SELECT o.order_key, o.revision, o.payment, o.refund, o.merchant, o.invoice_number,
                    o.amount::text AS amount, o.state,
                    o.review_cause, octet_length(c.request_body) = 0 AND c.imported IS NULL AS pruned, o.created_at, o.state_since,
                    o.version, o.doku_status, o.evidence,
                    CASE WHEN c.imported IS NULL THEN c.id END AS id,
                    CASE WHEN c.imported IS NULL THEN c.source END AS source,
                    CASE WHEN c.imported IS DISTINCT FROM 'without_request_id' THEN c.request_id END AS request_id,
                    CASE WHEN d.token IS NOT NULL THEN d.attempt
                         WHEN d.send_at <= d.inquire_at AND (d.sends_end_at > jenius_now() OR d.stranded_at IS NOT NULL)
                         THEN 'send'
                         WHEN d.inquire_at IS NOT NULL THEN 'inquiry' END AS due_kind,
                    CASE WHEN d.token IS NOT NULL THEN d.lease_ends_at
                         WHEN d.send_at <= d.inquire_at AND (d.sends_end_at > jenius_now() OR d.stranded_at IS NOT NULL)
                         THEN d.send_at
                         ELSE d.inquire_at END AS due_at,
                    b.by AS blocked_by, b.since AS blocked_since, b.detail AS blocked_detail,
                    r.id AS refund_id, r.source AS refund_source,
                    r.request_id AS refund_request_id, coalesce(r.outcome, 'open') AS refund_state,
                    r.request_body AS refund_body
             FROM orders o JOIN commands c ON c.key = o.payment
             LEFT JOIN commands r ON r.key = o.refund LEFT JOIN due d USING (order_key)
             LEFT JOIN LATERAL (
                 SELECT * FROM (
                     SELECT 1 AS rank, 'stranded' AS by, d.stranded_at AS since,
                            'made for an account or host that is not configured' AS detail
                     WHERE d.stranded_at IS NOT NULL
                     UNION ALL
                     SELECT 2, 'pause', since, reason FROM pauses WHERE scope IN ('*', o.merchant)
                     UNION ALL
                     SELECT 3, stopped_by, since, detail FROM send_stops
                     WHERE merchant = o.merchant AND reported_at > jenius_now() - interval '15 s'
                       AND (stopped_by = 'breaker' OR d.send_at <= jenius_now())) AS all_of_them
                 ORDER BY rank, since LIMIT 1) b
             ON d.token IS NULL AND d.send_at IS NOT NULL
                AND (d.sends_end_at > jenius_now() OR d.stranded_at IS NOT NULL) ",
            $rest
        )
    };
}

pub(in crate::postgres) use select_summary;

/// One order with everything that happened to it; `None` if there is none.
pub async fn order_view(
    pool: &PgPool,
    merchant: &str,
    invoice: &str,
) -> Result<Option<OrderView>, StoreError> {
    let found = sqlx::query_as(select_summary!("WHERE o.merchant = $1 AND o.invoice_number = $2"));
    let shown: Option<ShownRow> = answered!(pool, |c| found.bind(merchant).bind(invoice).fetch_optional(c))?;
    let Some(ShownRow { mut order, payment, refund }) = shown else { return Ok(None) };
    let attempts_made = attempts(pool, payment).await?;
    let history = history(pool, order.key).await?;
    let notifications = notifications(pool, order.key).await?;
    let decisions = decisions::decisions_of_order(pool, order.key).await?;
    let actions = actions::actions_of_order(pool, merchant, invoice).await?;
    let settlement = settlement::row_of_order(pool, merchant, invoice).await?;
    let refund_attempts = match refund {
        Some(key) => Some(attempts(pool, key).await?),
        None => None,
    };
    if let Some(refund) = &mut order.refund {
        refund.attempts = refund_attempts;
    }
    let attempts = attempts_made;
    Ok(Some(OrderView { order, attempts, history, notifications, settlement, decisions, actions }))
}

async fn attempts(pool: &PgPool, command_key: i64) -> Result<Vec<AttemptView>, StoreError> {
    answered!(pool, |c| sqlx::query_as(
        "SELECT number, kind, started_at, finished_at, http_status, result, detail
         FROM attempts WHERE command_key = $1 ORDER BY number",
    )
    .bind(command_key)
    .fetch_all(c))
}

impl FromRow<'_, PgRow> for AttemptView {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let result: String = row.try_get("result")?;
        // Of a lost attempt the end of its lease is known, not its own.
        let finished_at = if result == "lost" { None } else { row.try_get("finished_at")? };
        Ok(Self {
            number: number(row, "number")?,
            kind: row.try_get("kind")?,
            started_at: row.try_get("started_at")?,
            finished_at,
            http_status: row
                .try_get::<Option<i16>, _>("http_status")?
                .and_then(|status| status.try_into().ok()),
            result,
            detail: row.try_get("detail")?,
        })
    }
}

/// State and evidence are read from the event itself: it says what was true at its version.
async fn history(pool: &PgPool, order_key: i64) -> Result<Vec<HistoryView>, StoreError> {
    answered!(pool, |c| sqlx::query_as(
        "SELECT e.version, e.event_id, e.created_at, p.published_at, b.body ->> 'type' AS event_type,
                b.body #>> '{data,state}' AS state, b.body #>> '{data,evidence}' AS evidence
         FROM events e CROSS JOIN LATERAL (SELECT convert_from(e.body, 'UTF8')::json AS body) b
         LEFT JOIN LATERAL (
             SELECT published_at FROM publications WHERE event_id = e.event_id OFFSET 0) p ON true
         WHERE order_key = $1 ORDER BY version",
    )
    .bind(order_key)
    .fetch_all(c))
}

impl FromRow<'_, PgRow> for HistoryView {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            version: number(row, "version")?,
            state: row.try_get("state")?,
            evidence: row.try_get("evidence")?,
            at: row.try_get("created_at")?,
            event_id: row.try_get::<Uuid, _>("event_id")?.to_string(),
            event_type: row.try_get("event_type")?,
            published_at: row.try_get("published_at")?,
        })
    }
}

read_straight!(NotificationView { received_at, request_id, status, amount, applied, reason, about, form });

async fn notifications(pool: &PgPool, order_key: i64) -> Result<Vec<NotificationView>, StoreError> {
    answered!(pool, |c| sqlx::query_as(
        "SELECT received_at, request_id, status, amount, applied, reason, request AS about, form
         FROM (SELECT * FROM notifications WHERE order_key = $1 OFFSET 0) AS of_the_order ORDER BY key",
    )
    .bind(order_key)
    .fetch_all(c))
}

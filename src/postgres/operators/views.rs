//! What an operator reads about orders (`orders list|show`). Reads only; several statements, since
//! nothing is decided by what they show.

use super::{actions, decisions};
use crate::postgres::{error::unknown_value, pool::PgPool, settlement, tx::answered};
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
use sqlx::FromRow;
use uuid::Uuid;

#[derive(FromRow)]
pub(in crate::postgres) struct SummaryRow {
    order_key: i64,
    revision: i64,
    merchant: String,
    invoice_number: String,
    amount: i64,
    state: String,
    review_cause: Option<String>,
    pruned: bool,
    created_at: Time,
    state_since: Time,
    version: i32,
    doku_status: Option<String>,
    evidence: Option<String>,
    payment: i64,
    id: Option<String>,
    source: Option<String>,
    request_id: Option<String>,
    due_kind: Option<String>,
    due_at: Option<Time>,
    blocked_by: Option<String>,
    blocked_since: Option<Time>,
    blocked_detail: Option<String>,
    refund: Option<i64>,
    refund_id: Option<String>,
    refund_source: Option<String>,
    refund_request_id: Option<String>,
    refund_outcome: Option<String>,
    refund_body: Option<Vec<u8>>,
}

impl SummaryRow {
    pub(in crate::postgres) fn summary(self) -> Result<OrderSummary, StoreError> {
        let refund = self.refund_view();
        Ok(OrderSummary {
            key: self.order_key,
            revision: self.revision,
            merchant: self.merchant,
            invoice_number: self.invoice_number,
            amount: self.amount.to_string(),
            state: self.state,
            review_cause: self.review_cause,
            pruned: self.pruned,
            created_at: self.created_at,
            state_since: self.state_since,
            version: whole(self.version)?,
            command: self.id.zip(self.source).map(|(id, source)| CommandView { id, source }),
            request_id: self.request_id,
            doku_status: self.doku_status,
            evidence: self.evidence,
            due: self.due_kind.zip(self.due_at).map(|(kind, at)| DueView { kind, at }),
            blocked: self.blocked_by.zip(self.blocked_since).map(|(by, since)| BlockedView {
                by,
                since,
                detail: self.blocked_detail,
            }),
            refund,
        })
    }

    fn refund_view(&self) -> Option<RefundView> {
        #[derive(Deserialize)]
        struct StoredRefund {
            order: StoredRefundOrder,
        }
        #[derive(Deserialize)]
        struct StoredRefundOrder {
            reason: String,
        }
        let body: Option<StoredRefund> = serde_json::from_slice(self.refund_body.as_deref()?).ok();
        Some(RefundView {
            command: CommandView { id: self.refund_id.clone()?, source: self.refund_source.clone()? },
            request_id: self.refund_request_id.clone()?,
            reason: body.map(|body| body.order.reason).unwrap_or_default(),
            state: self.refund_outcome.clone().unwrap_or_else(|| "open".to_owned()),
            attempts: None,
        })
    }
}

fn whole<T: TryFrom<i32>>(number: i32) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_| unknown_value("number"))
}

macro_rules! select_summary {
    ($rest:expr) => {
        concat!(
            "SELECT o.order_key, o.revision, o.payment, o.refund, o.merchant, o.invoice_number, o.amount, o.state,
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
                    r.request_id AS refund_request_id, r.outcome AS refund_outcome,
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
    let row: Option<SummaryRow> = answered!(pool, |c| found.bind(merchant).bind(invoice).fetch_optional(c))?;
    let Some(row) = row else { return Ok(None) };
    let attempts_made = attempts(pool, row.payment).await?;
    let history = history(pool, row.order_key).await?;
    let notifications = notifications(pool, row.order_key).await?;
    let decisions = decisions::decisions_of_order(pool, row.order_key).await?;
    let actions = actions::actions_of_order(pool, merchant, invoice).await?;
    let settlement = settlement::row_of_order(pool, merchant, invoice).await?;
    let refund_attempts = match row.refund {
        Some(key) => Some(attempts(pool, key).await?),
        None => None,
    };
    let mut order = row.summary()?;
    if let Some(refund) = &mut order.refund {
        refund.attempts = refund_attempts;
    }
    let attempts = attempts_made;
    Ok(Some(OrderView { order, attempts, history, notifications, settlement, decisions, actions }))
}

async fn attempts(pool: &PgPool, command_key: i64) -> Result<Vec<AttemptView>, StoreError> {
    #[derive(FromRow)]
    struct AttemptRow {
        number: i32,
        kind: String,
        started_at: Time,
        finished_at: Time,
        http_status: Option<i16>,
        result: String,
        detail: Option<String>,
    }
    let rows: Vec<AttemptRow> = answered!(pool, |c| sqlx::query_as(
        "SELECT number, kind, started_at, finished_at, http_status, result, detail
         FROM attempts WHERE command_key = $1 ORDER BY number",
    )
    .bind(command_key)
    .fetch_all(c))?;
    let view = |row: AttemptRow| {
        Ok(AttemptView {
            number: whole(row.number)?,
            kind: row.kind,
            started_at: row.started_at,
            // Of a lost attempt the end of its lease is known, not its own.
            finished_at: (row.result != "lost").then_some(row.finished_at),
            http_status: row.http_status.and_then(|status| u16::try_from(status).ok()),
            result: row.result,
            detail: row.detail,
        })
    };
    rows.into_iter().map(view).collect()
}

/// State and evidence are read from the event itself: it says what was true at its version.
async fn history(pool: &PgPool, order_key: i64) -> Result<Vec<HistoryView>, StoreError> {
    #[derive(FromRow)]
    struct EventRow {
        version: i32,
        event_id: Uuid,
        body: Vec<u8>,
        created_at: Time,
        published_at: Option<Time>,
    }
    #[derive(Deserialize)]
    struct StoredEvent {
        #[serde(rename = "type")]
        event_type: String,
        data: StoredEventData,
    }
    #[derive(Deserialize)]
    struct StoredEventData {
        state: String,
        evidence: String,
    }
    let rows: Vec<EventRow> = answered!(pool, |c| sqlx::query_as(
        "SELECT version, event_id, body, created_at, p.published_at FROM events e
         LEFT JOIN LATERAL (
             SELECT published_at FROM publications WHERE event_id = e.event_id OFFSET 0) p ON true
         WHERE order_key = $1 ORDER BY version",
    )
    .bind(order_key)
    .fetch_all(c))?;
    let event_view = |row: EventRow| {
        let body: StoredEvent = serde_json::from_slice(&row.body).map_err(|_| unknown_value("event"))?;
        Ok(HistoryView {
            version: whole(row.version)?,
            state: body.data.state,
            evidence: body.data.evidence,
            at: row.created_at,
            event_id: row.event_id.to_string(),
            event_type: body.event_type,
            published_at: row.published_at,
        })
    };
    rows.into_iter().map(event_view).collect()
}

async fn notifications(pool: &PgPool, order_key: i64) -> Result<Vec<NotificationView>, StoreError> {
    #[derive(FromRow)]
    struct NotificationRow {
        received_at: Time,
        request_id: String,
        status: Option<String>,
        amount: Option<String>,
        applied: bool,
        reason: Option<String>,
        request: Option<String>,
        form: String,
    }
    let rows: Vec<NotificationRow> = answered!(pool, |c| sqlx::query_as(
        "SELECT received_at, request_id, status, amount, applied, reason, request, form
         FROM (SELECT * FROM notifications WHERE order_key = $1 OFFSET 0) AS of_the_order ORDER BY key",
    )
    .bind(order_key)
    .fetch_all(c))?;
    let view = |row: NotificationRow| NotificationView {
        received_at: row.received_at,
        request_id: row.request_id,
        status: row.status,
        amount: row.amount,
        applied: row.applied,
        reason: row.reason,
        about: row.request,
        form: row.form,
    };
    Ok(rows.into_iter().map(view).collect())
}

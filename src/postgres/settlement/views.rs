//! What people read about settlement: files, one batch with both sums, breaks with their history, an order's rows.

use super::SettlementStore;
use crate::{
    domain::{
        Time,
        ids::MerchantName,
        settlement::breaks::{Cause, Owner},
    },
    flow::{ports::StoreError, view::SettlementRowView},
    postgres::{pool::PgPool, tx::answered},
};
use chrono::NaiveDate;
use serde::Serialize;
use sqlx::FromRow;

/// A file that came in. Amounts are whole rupiah.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct FileView {
    pub merchant: String,
    pub name: String,
    /// Hexadecimal.
    pub sha256: Option<String>,
    pub state: String,
    pub received_at: Time,
    pub done_at: Option<Time>,
    pub batch: Option<String>,
    pub rows: i64,
    pub own_rows: i64,
    pub own_net: i64,
    pub unreadable: i64,
    pub open_breaks: i64,
}

/// One batch: what DOKU says of our channel, and what our orders say of the same invoices.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct BatchView {
    pub merchant: String,
    pub batch: String,
    pub paid_out_on: Option<NaiveDate>,
    pub purchases: i64,
    pub gross: i64,
    pub fee: i64,
    pub discount: i64,
    pub net: i64,
    pub refunds: i64,
    pub refunded: i64,
    /// Of the same purchases, those that are paid here, and their orders' amounts.
    pub own_purchases: i64,
    pub own_gross: i64,
    pub own_refunds: i64,
    pub own_refunded: i64,
    /// What the whole file states that is paid out, with all channels.
    pub stated_net: Option<i64>,
    pub forms: i64,
    pub open_breaks: i64,
}

/// Which breaks.
#[derive(Debug, Clone, Default)]
pub struct BreakFilter {
    pub merchant: Option<MerchantName>,
    pub open: bool,
    pub batch: Option<String>,
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakView {
    /// By which it is closed.
    pub number: i64,
    pub merchant: String,
    pub cause: String,
    /// `operator` or `finance`.
    pub owner: String,
    pub invoice_number: Option<String>,
    pub batch: Option<String>,
    /// Whole rupiah, in digits.
    pub at_stake: String,
    pub found: String,
    pub first_seen_at: Time,
    pub closed_at: Option<Time>,
    /// `file`, `check` or `person`.
    pub closed_by: Option<String>,
    pub history: Vec<HistoryEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct HistoryEntry {
    #[serde(skip)]
    #[sqlx(rename = "break")]
    break_key: i64,
    pub at: Time,
    pub what: String,
    pub at_stake: i64,
    pub found: String,
    pub done_by: Option<String>,
    pub reason: Option<String>,
}

#[derive(FromRow)]
struct BreakRow {
    key: i64,
    merchant: String,
    cause: String,
    invoice_number: Option<String>,
    batch: Option<String>,
    at_stake: i64,
    found: String,
    first_seen_at: Time,
    closed_at: Option<Time>,
    closed_by: Option<String>,
}

/// Entries of one break that are shown: the latest.
const HISTORY_MAX: i64 = 20;

impl SettlementStore {
    /// The files, the latest first.
    pub async fn list_files(&self, limit: u32) -> Result<Vec<FileView>, StoreError> {
        answered!(self.context.pool, |c| {
            sqlx::query_as(
            "SELECT merchant, name, encode(sha256, 'hex') AS sha256, state, received_at, done_at, batch, rows, own_rows,
                    own_net, unreadable,
                    (SELECT count(*) FROM settlement_breaks b
                     WHERE b.merchant = f.merchant AND b.batch = f.batch AND b.closed_at IS NULL) AS open_breaks
             FROM settlement_files f ORDER BY key DESC LIMIT $1"
        )
        .bind(i64::from(limit))
        .fetch_all(c)
        })
    }

    /// A batch of whatever merchant has one of this name; several have, where names are days.
    pub async fn batches(&self, batch: &str) -> Result<Vec<BatchView>, StoreError> {
        answered!(self.context.pool, |c| {
            sqlx::query_as(
            "WITH ours AS (
                 SELECT r.*, o.amount, o.state FROM settlement_rows r
                 LEFT JOIN orders o ON o.merchant = r.merchant AND o.invoice_number = r.invoice_number
                 WHERE r.batch = $1
                   AND EXISTS (SELECT FROM settlement_files f
                               WHERE f.key = ANY (r.files) AND f.state IN ('matching', 'done')))
             SELECT merchant, batch, max(paid_out_on) AS paid_out_on,
                    count(*) FILTER (WHERE kind = 'purchase') AS purchases,
                    coalesce(sum(gross) FILTER (WHERE kind = 'purchase'), 0)::bigint AS gross,
                    sum(fee)::bigint AS fee, sum(discount)::bigint AS discount, sum(net)::bigint AS net,
                    count(*) FILTER (WHERE kind = 'refund') AS refunds,
                    coalesce(sum(gross) FILTER (WHERE kind = 'refund'), 0)::bigint AS refunded,
                    count(DISTINCT invoice_number) FILTER (
                        WHERE kind = 'purchase' AND state IN ('paid', 'refunding', 'refunded')) AS own_purchases,
                    (SELECT coalesce(sum(amount), 0) FROM (
                        SELECT DISTINCT invoice_number, amount FROM ours i
                        WHERE i.merchant = ours.merchant AND kind = 'purchase'
                          AND state IN ('paid', 'refunding', 'refunded')) AS once)::bigint AS own_gross,
                    count(DISTINCT invoice_number) FILTER (WHERE kind = 'refund' AND state = 'refunded') AS own_refunds,
                    (SELECT coalesce(sum(amount), 0) FROM (
                        SELECT DISTINCT invoice_number, amount FROM ours i
                        WHERE i.merchant = ours.merchant AND kind = 'refund' AND state = 'refunded') AS once)::bigint
                        AS own_refunded,
                    (SELECT f.stated_net FROM settlement_files f
                     WHERE f.merchant = ours.merchant AND f.batch = ours.batch ORDER BY key DESC LIMIT 1) AS stated_net,
                    (SELECT count(*) FROM settlement_forms f
                     WHERE f.merchant = ours.merchant AND f.batch = ours.batch) AS forms,
                    (SELECT count(*) FROM settlement_breaks b
                     WHERE b.merchant = ours.merchant AND b.batch = ours.batch AND b.closed_at IS NULL) AS open_breaks
             FROM ours GROUP BY merchant, batch ORDER BY merchant"
        )
        .bind(batch)
        .fetch_all(c)
        })
    }

    /// Breaks, those with most at stake first.
    pub async fn list_breaks(&self, filter: &BreakFilter) -> Result<Vec<BreakView>, StoreError> {
        let rows: Vec<BreakRow> = answered!(self.context.pool, |c| {
            sqlx::query_as(
            "SELECT key, merchant, cause, invoice_number, batch, at_stake, found, first_seen_at, closed_at, closed_by
             FROM settlement_breaks
             WHERE ($1::text IS NULL OR merchant = $1) AND (closed_at IS NULL OR NOT $2)
               AND ($3::text IS NULL OR batch = $3)
             ORDER BY closed_at IS NOT NULL, at_stake DESC, key LIMIT $4"
        )
        .bind(filter.merchant.as_ref().map(MerchantName::as_str))
        .bind(filter.open)
        .bind(&filter.batch)
        .bind(i64::from(filter.limit))
        .fetch_all(c)
        })?;
        let keys: Vec<i64> = rows.iter().map(|row| row.key).collect();
        let mut history: Vec<HistoryEntry> = answered!(self.context.pool, |c| sqlx::query_as(
            "SELECT h.* FROM unnest($1::bigint[]) AS b (key)
             CROSS JOIN LATERAL (
                 SELECT break, at, what, at_stake, found, done_by, reason, key FROM settlement_break_history
                 WHERE break = b.key ORDER BY key DESC LIMIT $2) AS h
             ORDER BY h.key"
        )
        .bind(&keys)
        .bind(HISTORY_MAX)
        .fetch_all(c))?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            let (own, others) = history.into_iter().partition(|entry| entry.break_key == row.key);
            history = others;
            views.push(row.view(own));
        }
        Ok(views)
    }
}

impl BreakRow {
    fn view(self, history: Vec<HistoryEntry>) -> BreakView {
        BreakView {
            number: self.key,
            owner: Cause::from_name(&self.cause).map_or(Owner::Finance, Cause::owner).name().to_owned(),
            merchant: self.merchant,
            cause: self.cause,
            invoice_number: self.invoice_number,
            batch: self.batch,
            at_stake: self.at_stake.to_string(),
            found: self.found,
            first_seen_at: self.first_seen_at,
            closed_at: self.closed_at,
            closed_by: self.closed_by,
            history,
        }
    }
}

#[derive(FromRow)]
struct OrderRow {
    seen_at: Time,
    batch: String,
    paid_out_on: NaiveDate,
    kind: String,
    gross: i64,
    fee: i64,
    discount: i64,
    net: i64,
}

/// Rows of one order that are shown.
const ROWS_MAX: i64 = 100;

/// The rows of an order, in the order of their pay-out.
pub async fn row_of_order(
    pool: &PgPool,
    merchant: &str,
    invoice: &str,
) -> Result<Vec<SettlementRowView>, StoreError> {
    let rows: Vec<OrderRow> = answered!(pool, |c| sqlx::query_as(
        "SELECT seen_at, batch, paid_out_on, kind, gross, fee, discount, net FROM settlement_rows
         WHERE merchant = $1 AND invoice_number = $2 ORDER BY paid_out_on, id, number LIMIT $3"
    )
    .bind(merchant)
    .bind(invoice)
    .bind(ROWS_MAX)
    .fetch_all(c))?;
    let view = |row: OrderRow| SettlementRowView {
        seen_at: row.seen_at,
        batch: row.batch,
        paid_out_on: row.paid_out_on.to_string(),
        kind: row.kind,
        gross: row.gross.to_string(),
        fee: row.fee.to_string(),
        discount: row.discount.to_string(),
        net: row.net.to_string(),
    };
    Ok(rows.into_iter().map(view).collect())
}

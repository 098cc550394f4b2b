//! What people read about settlement: files, breaks with their history, an order's rows.

use super::{FileKey, SettlementStore};
use crate::{
    domain::{
        Time,
        ids::MerchantName,
        settlement::breaks::{Cause, Owner},
    },
    flow::{
        ports::StoreError,
        view::{
            SettlementRowView,
            settlement::{BreakFilter, BreakView, FileView, HistoryEntry},
        },
    },
    postgres::{pool::PgPool, tx::answered},
};
use chrono::NaiveDate;
use sqlx::{FromRow, Row, postgres::PgRow};
use std::collections::HashMap;

impl FromRow<'_, PgRow> for FileView {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            number: row.try_get("key")?,
            merchant: row.try_get("merchant")?,
            name: row.try_get("name")?,
            profile: row.try_get("profile")?,
            sha256: row.try_get("sha256")?,
            state: row.try_get("state")?,
            received_at: row.try_get("received_at")?,
            done_at: row.try_get("done_at")?,
            batch: row.try_get("batch")?,
            rows: row.try_get("rows")?,
            own_rows: row.try_get("own_rows")?,
            own_gross: row.try_get("own_gross")?,
            own_fee: row.try_get("own_fee")?,
            own_discount: row.try_get("own_discount")?,
            own_net: row.try_get("own_net")?,
            without_order: row.try_get("without_order")?,
            unreadable: row.try_get("unreadable")?,
            net: row.try_get("net")?,
            stated_net: row.try_get("stated_net")?,
            totals_fault: row.try_get("totals_fault")?,
            open_breaks: row.try_get("open_breaks")?,
        })
    }
}

#[derive(FromRow)]
struct HistoryRow {
    #[sqlx(rename = "break")]
    break_key: i64,
    at: Time,
    what: String,
    at_stake: i64,
    found: String,
    done_by: Option<String>,
    reason: Option<String>,
}

impl HistoryRow {
    fn view(self) -> HistoryEntry {
        let Self { at, what, at_stake, found, done_by, reason, .. } = self;
        HistoryEntry { at, what, at_stake, found, done_by, reason }
    }
}

#[derive(FromRow)]
struct BreakRow {
    key: i64,
    merchant: String,
    cause: String,
    subject: String,
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
        self.files(None, limit).await
    }

    /// One file.
    pub async fn view_file(&self, file: FileKey) -> Result<Option<FileView>, StoreError> {
        Ok(self.files(Some(file), 1).await?.pop())
    }

    async fn files(&self, only: Option<FileKey>, limit: u32) -> Result<Vec<FileView>, StoreError> {
        answered!(self.context.pool, |c| {
            sqlx::query_as(
            "SELECT key, merchant, name, profile, encode(sha256, 'hex') AS sha256, state, received_at, done_at, batch, rows, own_rows,
                    own_gross, own_fee, own_discount, own_net, without_order, unreadable, net, stated_net, totals_fault,
                    (SELECT count(*) FROM settlement_breaks b
                     WHERE b.merchant = f.merchant AND b.closed_at IS NULL
                       AND (b.batch = f.batch OR b.batch IS NULL AND EXISTS (
                           SELECT FROM settlement_rows r
                           WHERE r.invoice_number = b.invoice_number AND r.merchant = b.merchant
                             AND r.batch = f.batch))) AS open_breaks
             FROM settlement_files f WHERE ($1::bigint IS NULL OR key = $1) ORDER BY key DESC LIMIT $2"
        )
        .bind(only)
        .bind(i64::from(limit))
        .fetch_all(c)
        })
    }

    /// Breaks, those with most at stake first.
    pub async fn list_breaks(&self, filter: &BreakFilter) -> Result<Vec<BreakView>, StoreError> {
        let rows: Vec<BreakRow> = answered!(self.context.pool, |c| {
            sqlx::query_as(
            "SELECT key, merchant, cause, subject, invoice_number, batch, at_stake, found, first_seen_at, closed_at, closed_by
             FROM settlement_breaks b
             WHERE ($1::text IS NULL OR merchant = $1) AND (closed_at IS NULL OR NOT $2)
               AND ($3::text IS NULL OR batch = $3 OR batch IS NULL AND EXISTS (
                   SELECT FROM settlement_rows r
                   WHERE r.invoice_number = b.invoice_number AND r.merchant = b.merchant AND r.batch = $3))
               AND ($4::text IS NULL OR cause = $4)
             ORDER BY closed_at IS NOT NULL, at_stake DESC, key LIMIT $5"
        )
        .bind(filter.merchant.as_ref().map(MerchantName::as_str))
        .bind(filter.open)
        .bind(&filter.batch)
        .bind(&filter.cause)
        .bind(i64::from(filter.limit))
        .fetch_all(c)
        })?;
        let keys: Vec<i64> = rows.iter().map(|row| row.key).collect();
        let history: Vec<HistoryRow> = answered!(self.context.pool, |c| sqlx::query_as(
            "SELECT h.* FROM unnest($1::bigint[]) AS b (key)
             CROSS JOIN LATERAL (
                 SELECT break, at, what, at_stake, found, done_by, reason, key FROM settlement_break_history
                 WHERE break = b.key ORDER BY key DESC LIMIT $2) AS h
             ORDER BY h.key"
        )
        .bind(&keys)
        .bind(HISTORY_MAX)
        .fetch_all(c))?;
        let mut of_break: HashMap<i64, Vec<HistoryEntry>> = HashMap::new();
        for entry in history {
            of_break.entry(entry.break_key).or_default().push(entry.view());
        }
        let view = |row: BreakRow| {
            let history = of_break.remove(&row.key).unwrap_or_default();
            row.view(history)
        };
        Ok(rows.into_iter().map(view).collect())
    }
}

impl BreakRow {
    fn view(self, history: Vec<HistoryEntry>) -> BreakView {
        BreakView {
            number: self.key,
            owner: Cause::from_name(&self.cause).map_or(Owner::Finance, Cause::owner).name().to_owned(),
            merchant: self.merchant,
            cause: self.cause,
            subject: self.subject,
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

/// The rows of an order that count, in the order of their pay-out: those in the last form of their batch.
pub async fn row_of_order(
    pool: &PgPool,
    merchant: &str,
    invoice: &str,
) -> Result<Vec<SettlementRowView>, StoreError> {
    let rows: Vec<OrderRow> = answered!(pool, |c| sqlx::query_as(
        "SELECT seen_at, batch, paid_out_on, kind, gross, fee, discount, net FROM settlement_rows r
         WHERE merchant = $1 AND invoice_number = $2 AND files @> ARRAY[(
             SELECT max(o.file) FROM settlement_forms o JOIN settlement_files f ON f.key = o.file
             WHERE o.merchant = $1 AND o.batch = r.batch AND f.state IN ('matching', 'done'))]
         ORDER BY paid_out_on, id, number LIMIT $3"
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

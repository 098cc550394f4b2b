//! What people read about settlement: files, breaks with their history, an order's rows.

use super::{FileKey, SettlementStore};
use crate::{
    domain::{
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
    postgres::{pool::PgPool, rows::read_straight, tx::answered},
};
use sqlx::{FromRow, Row, postgres::PgRow};
use std::collections::HashMap;

read_straight!(FileView {
    number,
    merchant,
    name,
    profile,
    sha256,
    state,
    received_at,
    done_at,
    batch,
    rows,
    own_rows,
    own_gross,
    own_refunded,
    own_fee,
    own_discount,
    own_net,
    without_order,
    unreadable,
    net,
    stated_net,
    totals_fault,
    open_breaks,
});
read_straight!(HistoryEntry { at, what, at_stake, found, done_by, reason });
read_straight!(SettlementRowView { seen_at, batch, paid_out_on, kind, gross, fee, discount, net });

#[derive(FromRow)]
struct HistoryRow {
    #[sqlx(rename = "break")]
    break_key: i64,
    #[sqlx(flatten)]
    entry: HistoryEntry,
}

impl FromRow<'_, PgRow> for BreakView {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let cause: String = row.try_get("cause")?;
        Ok(Self {
            number: row.try_get("key")?,
            owner: Cause::from_name(&cause).map_or(Owner::Finance, Cause::owner).name().to_owned(),
            merchant: row.try_get("merchant")?,
            cause,
            subject: row.try_get("subject")?,
            invoice_number: row.try_get("invoice_number")?,
            batch: row.try_get("batch")?,
            at_stake: row.try_get::<i64, _>("at_stake")?.to_string(),
            found: row.try_get("found")?,
            first_seen_at: row.try_get("first_seen_at")?,
            closed_at: row.try_get("closed_at")?,
            closed_by: row.try_get("closed_by")?,
            history: Vec::new(),
        })
    }
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
            "SELECT key AS number, merchant, name, profile, encode(sha256, 'hex') AS sha256, state, received_at, done_at, batch, rows, own_rows,
                    own_gross, own_refunded, own_fee, own_discount, own_net, without_order, unreadable, net, stated_net, totals_fault,
                    (SELECT count(*) FROM settlement_breaks b
                     WHERE b.merchant = f.merchant AND b.closed_at IS NULL
                       AND (b.batch IN (SELECT batch FROM settlement_forms WHERE merchant = f.merchant AND file = f.key)
                            OR b.batch IS NULL AND EXISTS (
                                SELECT FROM settlement_rows r
                                WHERE r.invoice_number = b.invoice_number AND r.merchant = b.merchant
                                  AND r.files @> ARRAY[f.key])
                            -- Of the file itself, where it names no batch.
                            OR b.batch IS NULL AND b.invoice_number IS NULL
                               AND (b.subject = 'file ' || f.key OR starts_with(b.subject, 'file ' || f.key || ' line '))))
                        AS open_breaks
             FROM settlement_files f WHERE ($1::bigint IS NULL OR key = $1) ORDER BY key DESC LIMIT $2"
        )
        .bind(only)
        .bind(i64::from(limit))
        .fetch_all(c)
        })
    }

    /// Breaks, those with most at stake first.
    pub async fn list_breaks(&self, filter: &BreakFilter) -> Result<Vec<BreakView>, StoreError> {
        let mut breaks: Vec<BreakView> = answered!(self.context.pool, |c| {
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
        let keys: Vec<i64> = breaks.iter().map(|one| one.number).collect();
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
        for row in history {
            of_break.entry(row.break_key).or_default().push(row.entry);
        }
        for one in &mut breaks {
            one.history = of_break.remove(&one.number).unwrap_or_default();
        }
        Ok(breaks)
    }
}

/// Rows of one order that are shown.
const ROWS_MAX: i64 = 100;

/// The rows of an order that count, in the order of their pay-out: those in the last form of their batch. A day without a batch
/// may come in parts: all of it counts.
pub async fn row_of_order(
    pool: &PgPool,
    merchant: &str,
    invoice: &str,
) -> Result<Vec<SettlementRowView>, StoreError> {
    answered!(pool, |c| {
        sqlx::query_as(
        "SELECT seen_at, batch, to_char(paid_out_on, 'YYYY-MM-DD') AS paid_out_on, kind, gross::text, fee::text,
                discount::text, net::text
         FROM settlement_rows r
         WHERE merchant = $1 AND invoice_number = $2 AND files && (
             SELECT CASE r.batch WHEN 'PAYOUT-' || to_char(r.paid_out_on, 'YYYY-MM-DD')
                    THEN array_agg(o.file) ELSE ARRAY[max(o.file)] END
             FROM settlement_forms o JOIN settlement_files f ON f.key = o.file
             WHERE o.merchant = $1 AND o.batch = r.batch AND f.state IN ('matching', 'done'))
         ORDER BY r.paid_out_on, id, number LIMIT $3"
    )
    .bind(merchant)
    .bind(invoice)
    .bind(ROWS_MAX)
    .fetch_all(c)
    })
}

//! One batch with the sums of both sides. DOKU's are kept with each form of it; ours, and those of a day that came in parts, are
//! counted anew, a slice of its rows at a time: a batch may have a million.

use super::{FileKey, SettlementStore};
use crate::{
    domain::settlement::row::{RowKind, SettlementRow, is_batch_of_day},
    flow::{ports::StoreError, view::settlement::BatchView},
    postgres::tx::answered,
};
use chrono::NaiveDate;
use sqlx::FromRow;

/// Rows that one statement compares with our orders.
const KEYS: i64 = 20_000;

/// What the rows of a batch come to: those in one file, or those of a day.
#[derive(Default, FromRow)]
pub(super) struct FormSums {
    pub purchases: i64,
    pub gross: i64,
    pub fee: i64,
    pub discount: i64,
    pub net: i64,
    pub refunds: i64,
    pub refunded: i64,
    pub paid_out_on: Option<NaiveDate>,
}

impl FormSums {
    fn merge(&mut self, more: &Self) {
        self.purchases += more.purchases;
        self.refunds += more.refunds;
        self.gross = self.gross.saturating_add(more.gross);
        self.fee = self.fee.saturating_add(more.fee);
        self.discount = self.discount.saturating_add(more.discount);
        self.net = self.net.saturating_add(more.net);
        self.refunded = self.refunded.saturating_add(more.refunded);
        self.paid_out_on = self.paid_out_on.max(more.paid_out_on);
    }

    pub fn add(&mut self, row: &SettlementRow) {
        match row.kind {
            RowKind::Purchase => {
                self.purchases += 1;
                self.gross = self.gross.saturating_add(row.gross);
            }
            RowKind::Refund => {
                self.refunds += 1;
                self.refunded = self.refunded.saturating_add(row.gross);
            }
            RowKind::Unknown => {}
        }
        self.fee = self.fee.saturating_add(row.fee);
        self.discount = self.discount.saturating_add(row.discount);
        self.net = self.net.saturating_add(row.net);
        self.paid_out_on = self.paid_out_on.max(Some(row.paid_out_on));
    }
}

/// The last form of a batch that counts.
#[derive(FromRow)]
struct FormRow {
    merchant: String,
    file: FileKey,
    #[sqlx(flatten)]
    sums: FormSums,
    stated_net: Option<i64>,
    open_breaks: i64,
    /// All of its files that count.
    files: Vec<FileKey>,
}

/// What our orders make of the same invoices.
#[derive(FromRow, Default)]
struct OwnSums {
    purchases: i64,
    gross: i64,
    refunds: i64,
    refunded: i64,
}

/// Rows of a batch that stand together, of the files that count.
struct RowSlice<'a> {
    batch: &'a str,
    merchant: &'a str,
    files: &'a [FileKey],
    after: i64,
}

impl SettlementStore {
    /// A batch of whatever merchant has one of this name; several have, where names are days.
    pub async fn batches(&self, batch: &str) -> Result<Vec<BatchView>, StoreError> {
        let forms: Vec<FormRow> = answered!(self.context.pool, |c| {
            sqlx::query_as(
            "SELECT DISTINCT ON (o.merchant) o.merchant, o.file, o.paid_out_on, o.purchases, o.gross, o.fee, o.discount,
                    o.net, o.refunds, o.refunded, CASE WHEN f.batch = o.batch THEN f.stated_net END AS stated_net,
                    array_agg(o.file) OVER (PARTITION BY o.merchant) AS files,
                    (SELECT count(*) FROM settlement_breaks b
                     WHERE b.merchant = o.merchant AND b.closed_at IS NULL
                       AND (b.batch = $1 OR b.batch IS NULL AND EXISTS (
                           SELECT FROM settlement_rows r
                           WHERE r.invoice_number = b.invoice_number AND r.merchant = b.merchant AND r.batch = $1)))
                        AS open_breaks
             FROM settlement_forms o JOIN settlement_files f ON f.key = o.file
             WHERE o.batch = $1 AND f.state IN ('matching', 'done')
             ORDER BY o.merchant, o.file DESC"
        )
        .bind(batch)
        .fetch_all(c)
        })?;
        let mut batches = Vec::new();
        for mut form in forms {
            // A day without a batch may come in parts, and all of it counts; of a batch, its last form.
            let is_in_parts = is_batch_of_day(batch) && form.files.len() > 1;
            let files = if is_in_parts { form.files.clone() } else { vec![form.file] };
            let (first, last) = self.keys_of(&form.merchant, vec![batch.to_owned()]).await?;
            let (mut ours, mut theirs, mut after) = (OwnSums::default(), FormSums::default(), first - 1);
            while after < last {
                let slice = RowSlice { batch, merchant: &form.merchant, files: &files, after };
                ours.add(&self.own_sums(&slice).await?);
                if is_in_parts {
                    theirs.merge(&self.row_sums(&slice).await?);
                }
                after += KEYS;
            }
            if is_in_parts {
                (form.sums, form.stated_net) = (theirs, None);
            }
            batches.push(form.view(batch, &ours));
        }
        Ok(batches)
    }

    /// Each row once, in however many files it came.
    async fn row_sums(&self, slice: &RowSlice<'_>) -> Result<FormSums, StoreError> {
        answered!(self.context.pool, |c| sqlx::query_as(
            "SELECT count(*) FILTER (WHERE kind = 'purchase') AS purchases,
                    coalesce(sum(gross) FILTER (WHERE kind = 'purchase'), 0)::bigint AS gross,
                    coalesce(sum(fee), 0)::bigint AS fee, coalesce(sum(discount), 0)::bigint AS discount,
                    coalesce(sum(net), 0)::bigint AS net, count(*) FILTER (WHERE kind = 'refund') AS refunds,
                    coalesce(sum(gross) FILTER (WHERE kind = 'refund'), 0)::bigint AS refunded,
                    max(paid_out_on) AS paid_out_on
             FROM settlement_rows
             WHERE key > $4 AND key <= $4 + $5 AND batch = $1 AND merchant = $2 AND files && $3"
        )
        .bind(slice.batch)
        .bind(slice.merchant)
        .bind(slice.files)
        .bind(slice.after)
        .bind(KEYS)
        .fetch_one(c))
    }

    async fn own_sums(&self, slice: &RowSlice<'_>) -> Result<OwnSums, StoreError> {
        answered!(self.context.pool, |c| sqlx::query_as(
            // An invoice counts once, however many rows it has.
            "SELECT count(*) FILTER (WHERE kind = 'purchase') AS purchases,
                    coalesce(sum(amount) FILTER (WHERE kind = 'purchase'), 0)::bigint AS gross,
                    count(*) FILTER (WHERE kind = 'refund') AS refunds,
                    coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0)::bigint AS refunded
             FROM settlement_rows r
             JOIN LATERAL (
                 SELECT amount, state FROM orders
                 WHERE merchant = r.merchant AND invoice_number = r.invoice_number OFFSET 0) AS o ON true
             WHERE r.key > $4 AND r.key <= $4 + $5 AND r.batch = $1 AND r.merchant = $2
               AND r.files && $3
               AND (r.kind = 'purchase' AND o.state IN ('paid', 'refunding', 'refunded')
                    OR r.kind = 'refund' AND o.state = 'refunded')
               AND NOT EXISTS (
                   SELECT FROM settlement_rows e
                   WHERE e.invoice_number = r.invoice_number AND e.merchant = r.merchant AND e.batch = r.batch
                     AND e.kind = r.kind AND e.key < r.key AND e.files && $3)"
        )
        .bind(slice.batch)
        .bind(slice.merchant)
        .bind(slice.files)
        .bind(slice.after)
        .bind(KEYS)
        .fetch_one(c))
    }
}

impl OwnSums {
    fn add(&mut self, more: &Self) {
        self.purchases += more.purchases;
        self.gross = self.gross.saturating_add(more.gross);
        self.refunds += more.refunds;
        self.refunded = self.refunded.saturating_add(more.refunded);
    }
}

impl FormRow {
    fn view(self, batch: &str, ours: &OwnSums) -> BatchView {
        let FormSums { purchases, gross, fee, discount, net, refunds, refunded, paid_out_on } = self.sums;
        BatchView {
            merchant: self.merchant,
            batch: batch.to_owned(),
            paid_out_on,
            purchases,
            gross,
            fee,
            discount,
            net,
            refunds,
            refunded,
            own_purchases: ours.purchases,
            own_gross: ours.gross,
            own_refunds: ours.refunds,
            own_refunded: ours.refunded,
            stated_net: self.stated_net,
            forms: i64::try_from(self.files.len()).unwrap_or(i64::MAX),
            open_breaks: self.open_breaks,
        }
    }
}

//! One batch with the sums of both sides. DOKU's are kept with each form of it; ours are counted anew, a slice of its rows at
//! a time: a batch may have a million.

use super::{FileKey, SettlementStore, rows::FormSums};
use crate::{flow::ports::StoreError, flow::view::settlement::BatchView, postgres::tx::answered};
use sqlx::FromRow;

/// Rows that one statement compares with our orders.
const KEYS: i64 = 20_000;

/// The last form of a batch that counts.
#[derive(FromRow)]
struct FormRow {
    merchant: String,
    file: FileKey,
    #[sqlx(flatten)]
    sums: FormSums,
    stated_net: Option<i64>,
    forms: i64,
    open_breaks: i64,
}

/// What our orders make of the same invoices.
#[derive(FromRow, Default)]
struct OwnSums {
    purchases: i64,
    gross: i64,
    refunds: i64,
    refunded: i64,
}

impl SettlementStore {
    /// A batch of whatever merchant has one of this name; several have, where names are days.
    pub async fn batches(&self, batch: &str) -> Result<Vec<BatchView>, StoreError> {
        let forms: Vec<FormRow> = answered!(self.context.pool, |c| {
            sqlx::query_as(
            "SELECT DISTINCT ON (o.merchant) o.merchant, o.file, o.paid_out_on, o.purchases, o.gross, o.fee, o.discount,
                    o.net, o.refunds, o.refunded, CASE WHEN f.batch = o.batch THEN f.stated_net END AS stated_net,
                    count(*) OVER (PARTITION BY o.merchant) AS forms,
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
        for form in forms {
            let ours = self.own_sums(batch, &form).await?;
            batches.push(form.view(batch, &ours));
        }
        Ok(batches)
    }

    async fn own_sums(&self, batch: &str, form: &FormRow) -> Result<OwnSums, StoreError> {
        let (first, last) = self.keys_of(&form.merchant, vec![batch.to_owned()]).await?;
        let (mut ours, mut after) = (OwnSums::default(), first - 1);
        while after < last {
            ours.add(&self.own_sums_between(batch, form, after).await?);
            after += KEYS;
        }
        Ok(ours)
    }

    async fn own_sums_between(&self, batch: &str, form: &FormRow, after: i64) -> Result<OwnSums, StoreError> {
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
               AND r.files @> ARRAY[$3::bigint]
               AND (r.kind = 'purchase' AND o.state IN ('paid', 'refunding', 'refunded')
                    OR r.kind = 'refund' AND o.state = 'refunded')
               AND NOT EXISTS (
                   SELECT FROM settlement_rows e
                   WHERE e.invoice_number = r.invoice_number AND e.merchant = r.merchant AND e.batch = r.batch
                     AND e.kind = r.kind AND e.key < r.key AND e.files @> ARRAY[$3::bigint])"
        )
        .bind(batch)
        .bind(&form.merchant)
        .bind(form.file)
        .bind(after)
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
            forms: self.forms,
            open_breaks: self.open_breaks,
        }
    }
}

//! The search forward: orders that a batch should have held, and did not. Slices of keys, so that no look at the table is
//! long, and from where the last search ended.

use super::{FileKey, Judging, SettledSlice, SettlementStore, group::GroupCounts};
use crate::{
    domain::{Time, ids::MerchantName},
    flow::ports::StoreError,
    postgres::tx::answered,
};
use tokio::time::{Instant, sleep};

/// Keys that one statement looks at.
const KEYS: i64 = 2_000;
/// An order that was claimed so many days, and twice the due days, before the latest pay-out is searched once more and then
/// left: a payment that comes later than this after its claim is seen by its row, and not missed without it.
const SEARCHED_DAYS: i32 = 60;
/// Invoices that one transaction judges.
pub(super) const GROUP: usize = 1_000;

impl SettlementStore {
    /// Judges every order that may be missing in the files, every refund that may, and everything that was missing.
    pub async fn search(
        &self,
        merchant: &MerchantName,
        judging: &Judging,
    ) -> Result<GroupCounts, StoreError> {
        let mut counts = GroupCounts::default();
        let asked_at = self.search_asked(merchant).await?;
        for invoices in self.open_ones(merchant).await?.chunks(GROUP) {
            counts.add(self.judge_group(merchant, invoices.to_vec(), judging, None).await?);
        }
        let (mut next, end, keep) = self.bounds(merchant, judging).await?;
        while next <= end {
            let began = Instant::now();
            let invoices = self.without_row(merchant, next, next + KEYS).await?;
            for invoices in invoices.chunks(GROUP) {
                counts.add(self.judge_group(merchant, invoices.to_vec(), judging, None).await?);
            }
            next += KEYS;
            self.searched(merchant, next.min(keep)).await?;
            // As long a rest as it was work: payments find a processor free.
            sleep(began.elapsed()).await;
        }
        let mut after = String::new();
        while let Some(last) = self.refunds(merchant, &after, judging, &mut counts).await? {
            after = last;
        }
        self.search_done(merchant, asked_at).await?;
        Ok(counts)
    }

    async fn search_asked(&self, merchant: &MerchantName) -> Result<Option<Time>, StoreError> {
        let asked_at: Option<Option<Time>> = answered!(self.context.pool, |c| sqlx::query_scalar(
            "SELECT search_asked_at FROM settlement_accounts WHERE merchant = $1"
        )
        .bind(merchant.as_str())
        .fetch_optional(c))?;
        Ok(asked_at.flatten())
    }

    /// A search that was asked for meanwhile is still to be made.
    async fn search_done(&self, merchant: &MerchantName, asked_at: Option<Time>) -> Result<(), StoreError> {
        answered!(self.context.pool, |c| {
            sqlx::query(
            "UPDATE settlement_accounts SET search_asked_at = NULL WHERE merchant = $1 AND search_asked_at = $2"
        )
        .bind(merchant.as_str())
        .bind(asked_at)
        .execute(c)
        })?;
        Ok(())
    }

    /// Where the search begins and ends, and from which order on it begins again. What no file can be late with yet is searched
    /// again with the next one, and so is everything while an unknown channel may hide it.
    async fn bounds(
        &self,
        merchant: &MerchantName,
        judging: &Judging,
    ) -> Result<(i64, i64, i64), StoreError> {
        let (from, last, has_unknown_channel): (i64, i64, bool) =
            answered!(self.context.pool, |c| sqlx::query_as(
                "SELECT coalesce((SELECT search_from FROM settlement_accounts WHERE merchant = $1), 0),
                    (SELECT coalesce(max(order_key), 0) FROM orders),
                    EXISTS (SELECT FROM settlement_breaks
                            WHERE merchant = $1 AND cause = 'unknown_channel' AND closed_at IS NULL)"
            )
            .bind(merchant.as_str())
            .fetch_one(c))?;
        if has_unknown_channel {
            return Ok((from, last, from));
        }
        let due_days = i32::try_from(judging.rules.calendar.due_days).unwrap_or(i32::MAX);
        let days = due_days.saturating_mul(2).saturating_add(SEARCHED_DAYS);
        // Keys follow the time of claims: the first that is young is found by halving.
        let (mut low, mut high) = (from, last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let is_old: Option<bool> = answered!(self.context.pool, |c| {
                sqlx::query_scalar(
                "SELECT created_at < least((SELECT jenius_now()), coalesce(
                            (SELECT latest_paid_out_on::timestamptz FROM settlement_accounts WHERE merchant = $3), '-infinity'))
                            - make_interval(days => $2)
                 FROM orders WHERE order_key >= $1 ORDER BY order_key LIMIT 1"
            )
            .bind(middle)
            .bind(days)
            .bind(merchant.as_str())
            .fetch_optional(c)
            })?;
            if is_old == Some(true) { low = middle + 1 } else { high = middle }
        }
        Ok((from, last, low))
    }

    async fn searched(&self, merchant: &MerchantName, from: i64) -> Result<(), StoreError> {
        answered!(self.context.pool, |c| sqlx::query(
            "UPDATE settlement_accounts SET search_from = greatest(search_from, $2) WHERE merchant = $1"
        )
        .bind(merchant.as_str())
        .bind(from)
        .execute(c))?;
        Ok(())
    }

    /// Orders of a slice that owe a row and have none.
    async fn without_row(
        &self,
        merchant: &MerchantName,
        from: i64,
        to: i64,
    ) -> Result<Vec<String>, StoreError> {
        answered!(self.context.pool, |c| sqlx::query_scalar(
            // By itself the server would read all rows for each slice, as soon as that seems cheaper than a look for each
            // order: of a month that is a thousand times the same table.
            "SELECT o.invoice_number FROM orders o
             LEFT JOIN LATERAL (
                 SELECT true AS is_there FROM settlement_rows r
                 WHERE r.merchant = $1 AND r.invoice_number = o.invoice_number
                   AND (r.kind <> 'refund') = (o.state <> 'refunded')
                   AND NOT r.files <@ ARRAY(SELECT key FROM settlement_files
                                            WHERE merchant = $1 AND state NOT IN ('matching', 'done'))
                 LIMIT 1) AS settled ON true
             WHERE o.order_key >= $2 AND o.order_key < $3 AND o.merchant = $1
               AND o.state IN ('paid', 'refunding', 'refunded') AND settled.is_there IS NULL
             ORDER BY o.order_key"
        )
        .bind(merchant.as_str())
        .bind(from)
        .bind(to)
        .fetch_all(c))
    }

    /// Refunds that were commanded here and have no row; however old their orders are.
    async fn refunds(
        &self,
        merchant: &MerchantName,
        after: &str,
        judging: &Judging,
        counts: &mut GroupCounts,
    ) -> Result<Option<String>, StoreError> {
        let slice: Vec<(String, bool)> = answered!(self.context.pool, |c| {
            sqlx::query_as(
            "SELECT r.invoice_number, EXISTS (
                 SELECT FROM orders o WHERE o.merchant = $1 AND o.invoice_number = r.invoice_number AND o.state = 'refunded')
                 AND NOT EXISTS (
                 SELECT FROM settlement_rows s WHERE s.merchant = $1 AND s.invoice_number = r.invoice_number
                    AND s.kind = 'refund'
                    AND NOT s.files <@ ARRAY(SELECT key FROM settlement_files
                                             WHERE merchant = $1 AND state NOT IN ('matching', 'done')))
             FROM (SELECT DISTINCT invoice_number FROM commands
                   WHERE kind = 'refund' AND merchant = $1 AND invoice_number > $2 ORDER BY invoice_number LIMIT 1000) AS r
             ORDER BY r.invoice_number"
        )
        .bind(merchant.as_str())
        .bind(after)
        .fetch_all(c)
        })?;
        let last = slice.last().map(|(invoice, _)| invoice.clone());
        let missing: Vec<String> =
            slice.into_iter().filter(|(_, missing)| *missing).map(|(invoice, _)| invoice).collect();
        if !missing.is_empty() {
            counts.add(self.judge_group(merchant, missing, judging, None).await?);
        }
        Ok(last)
    }

    /// Invoices with an open break that another file may close.
    async fn open_ones(&self, merchant: &MerchantName) -> Result<Vec<String>, StoreError> {
        answered!(self.context.pool, |c| sqlx::query_scalar(
            "SELECT DISTINCT invoice_number FROM settlement_breaks
             WHERE merchant = $1 AND closed_at IS NULL AND invoice_number IS NOT NULL
               AND cause IN ('missing_at_doku', 'refund_missing')"
        )
        .bind(merchant.as_str())
        .fetch_all(c))
    }

    /// Between which keys the rows stand of all batches that a file has, whichever file had them first.
    pub async fn keys_of_batches(
        &self,
        merchant: &MerchantName,
        file: FileKey,
    ) -> Result<(i64, i64), StoreError> {
        let batches = answered!(self.context.pool, |c| sqlx::query_scalar(
            "SELECT batch FROM settlement_forms WHERE merchant = $1 AND file = $2"
        )
        .bind(merchant.as_str())
        .bind(file)
        .fetch_all(c))?;
        self.keys_of(merchant.as_str(), batches).await
    }

    /// Between which keys the rows of these batches stand.
    pub(super) async fn keys_of(
        &self,
        merchant: &str,
        batches: Vec<String>,
    ) -> Result<(i64, i64), StoreError> {
        // The count keeps the server from walking through all keys to the first that is right.
        let (first, last, _): (Option<i64>, Option<i64>, i64) = answered!(self.context.pool, |c| {
            sqlx::query_as(
                "SELECT min(key), max(key), count(*) FROM settlement_rows WHERE merchant = $1 AND batch = ANY ($2)"
            )
            .bind(merchant)
            .bind(batches)
            .fetch_one(c)
        })?;
        Ok(first.zip(last).unwrap_or((1, 0)))
    }

    /// Invoices of such rows in a slice of the keys.
    pub async fn invoices_between(
        &self,
        merchant: &MerchantName,
        slice: &SettledSlice,
    ) -> Result<Vec<String>, StoreError> {
        answered!(self.context.pool, |c| {
            sqlx::query_scalar(
            "SELECT DISTINCT r.invoice_number FROM settlement_rows r
             WHERE r.key > $3 AND r.key <= $4 AND r.merchant = $1
               AND (r.files @> ARRAY[$2::bigint] OR EXISTS (
                   SELECT FROM settlement_forms o WHERE o.merchant = $1 AND o.batch = r.batch AND o.file = $2))"
        )
        .bind(merchant.as_str())
        .bind(slice.file)
        .bind(slice.after)
        .bind(slice.to)
        .fetch_all(c)
        })
    }
}

//! Keeps the rows of a file, a group at a time, and what the file as a whole says.

use super::{SettlementStore, batches::FormSums, breaks, files::FileKey, keep};
use crate::{
    domain::{
        ids::MerchantName,
        settlement::{
            breaks::{Break, Cause},
            row::{RowKind, SettlementRow},
            table::UnreadableLine,
            totals::{Stated, Sums},
        },
    },
    flow::ports::StoreError,
    postgres::error::TxResult,
};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Lines of a file that are kept in one transaction.
#[derive(Debug, Clone, Default)]
pub struct RowGroup {
    pub rows: Vec<SettlementRow>,
    /// The last line of the group before it; 0: it is the first.
    pub after_line: u64,
    /// Up to this line all is in it.
    pub last_line: u64,
}

/// What became of a group of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKept {
    Now,
    Before,
    /// The group before it is gone, since a server that died had not written it yet.
    AfterAHole,
    /// What is kept ends within it: the file was read in another way then.
    ReadOtherwise,
    /// The file is not being read any more.
    NotReading,
}

/// What is known once the last row is kept.
#[derive(Debug, Clone, Default)]
pub struct FileEnd {
    pub stated: Stated,
    pub sums: Sums,
    /// Names of channels that are in no list, each with its amount.
    pub unknown_channels: BTreeMap<String, i64>,
    /// Rows that could not be read.
    pub unreadable: Vec<UnreadableLine>,
}

/// Breaks that are written in one transaction.
const BREAKS_MAX: usize = 500;

impl SettlementStore {
    /// Keeps a group of a file's rows.
    pub async fn keep_rows(
        &self,
        merchant: &MerchantName,
        file: FileKey,
        group: RowGroup,
    ) -> Result<GroupKept, StoreError> {
        let merchant = merchant.clone();
        let kept = self
            .context
            .transaction(move |c| Box::pin(async move { keep_rows(c, &merchant, file, &group).await }));
        Ok(kept.await?)
    }

    /// Keeps what the file says as a whole; it counts from `begin_matching` on.
    pub async fn end_rows(&self, file: FileKey, end: FileEnd) -> Result<(), StoreError> {
        let fault = end.stated.mismatch(&end.sums);
        let kept = self.context.transaction(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE settlement_files SET batch = $2, rows = $3, net = $4, stated_net = $5, totals_fault = $6,
                            unreadable = $7, latest_batch_on = $8
                     WHERE key = $1 AND state IN ('reading', 'held')",
                )
                .bind(file)
                .bind(&end.stated.batch)
                .bind(end.sums.rows)
                .bind(end.sums.net)
                .bind(end.stated.net())
                .bind(fault)
                .bind(end.sums.unreadable)
                .bind(end.sums.latest_paid_out_on)
                .execute(c)
                .await?;
                Ok(())
            })
        });
        Ok(kept.await?)
    }

    /// A file with too many rows of no order waits for a person.
    pub async fn hold_file(&self, file: FileKey) -> Result<(), StoreError> {
        let held = self.context.transaction(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE settlement_files SET state = 'held' WHERE key = $1 AND state = 'reading'",
                )
                .bind(file)
                .execute(c)
                .await?;
                Ok(())
            })
        });
        Ok(held.await?)
    }

    /// From here on all rows of the file count: what is odd about the file itself becomes breaks.
    pub async fn begin_matching(
        &self,
        merchant: &MerchantName,
        file: FileKey,
        end: FileEnd,
    ) -> Result<(), StoreError> {
        // Before the file counts: an import that is broken off in between writes them again, and they are the same.
        for lines in end.unreadable.chunks(BREAKS_MAX) {
            let broken: Vec<Break> = lines.iter().map(|bad| unreadable(file, bad)).collect();
            let of = merchant.clone();
            let written = self
                .context
                .transaction(move |c| Box::pin(async move { breaks::open_missing(c, &of, &broken).await }));
            written.await?;
        }
        let merchant = merchant.clone();
        let begun = self
            .context
            .transaction(move |c| Box::pin(async move { begin_matching(c, &merchant, file, &end).await }));
        Ok(begun.await?)
    }

    /// The last of its invoices is judged.
    pub async fn end_file(&self, file: FileKey) -> Result<(), StoreError> {
        let ended = self.context.transaction(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE settlement_files SET state = 'done', done_at = jenius_now() WHERE key = $1 AND state = 'matching'",
                )
                .bind(file)
                .execute(c)
                .await?;
                Ok(())
            })
        });
        Ok(ended.await?)
    }
}

async fn keep_rows(
    c: &mut PgConnection,
    merchant: &MerchantName,
    file: FileKey,
    group: &RowGroup,
) -> TxResult<GroupKept> {
    let [after_line, last_line] =
        [group.after_line, group.last_line].map(|line| i64::try_from(line).unwrap_or(i64::MAX));
    super::commit_later(c).await?;
    let lines_read: Option<(i64, bool)> = sqlx::query_as(
        "SELECT lines_read, state = 'reading' FROM settlement_files WHERE key = $1 FOR UPDATE",
    )
    .bind(file)
    .fetch_optional(&mut *c)
    .await?;
    // An import that goes on after it was broken off reads from the beginning: what is kept is kept.
    match lines_read {
        Some((read, _)) if read >= last_line => return Ok(GroupKept::Before),
        Some((read, true)) if read == after_line => {}
        Some((read, true)) if read < after_line => return Ok(GroupKept::AfterAHole),
        Some((_, true)) => return Ok(GroupKept::ReadOtherwise),
        Some((_, false)) | None => return Ok(GroupKept::NotReading),
    }
    let came_before = add_forms(c, merchant, file, &group.rows).await?;
    keep::keep(c, merchant, file, &group.rows, came_before).await?;
    add_sums(c, merchant, file, last_line, &group.rows).await?;
    Ok(GroupKept::Now)
}

/// Adds to the sums of each batch in this file, and says whether one of them came in another file before.
async fn add_forms(
    c: &mut PgConnection,
    merchant: &MerchantName,
    file: FileKey,
    rows: &[SettlementRow],
) -> TxResult<bool> {
    let mut sums: BTreeMap<&str, FormSums> = BTreeMap::new();
    for row in rows {
        sums.entry(&row.batch).or_default().add(row);
    }
    let sum = |of: fn(&FormSums) -> i64| sums.values().map(of).collect::<Vec<_>>();
    Ok(sqlx::query_scalar(
        "WITH form AS (
             INSERT INTO settlement_forms AS o (merchant, batch, file, purchases, gross, fee, discount, net, refunds,
                                                refunded, paid_out_on)
             SELECT $1, s.batch, $3, s.purchases, s.gross, s.fee, s.discount, s.net, s.refunds, s.refunded, s.paid_out_on
             FROM unnest($2::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                         $10::bigint[], $11::date[])
                 AS s (batch, purchases, gross, fee, discount, net, refunds, refunded, paid_out_on)
             ON CONFLICT (merchant, batch, file) DO UPDATE
             SET purchases = o.purchases + excluded.purchases, gross = o.gross + excluded.gross,
                 fee = o.fee + excluded.fee, discount = o.discount + excluded.discount, net = o.net + excluded.net,
                 refunds = o.refunds + excluded.refunds, refunded = o.refunded + excluded.refunded,
                 paid_out_on = greatest(o.paid_out_on, excluded.paid_out_on))
         SELECT EXISTS (SELECT FROM settlement_forms WHERE merchant = $1 AND batch = ANY ($2) AND file <> $3)",
    )
    .bind(merchant.as_str())
    .bind(sums.keys().copied().collect::<Vec<_>>())
    .bind(file)
    .bind(sum(|of| of.purchases))
    .bind(sum(|of| of.gross))
    .bind(sum(|of| of.fee))
    .bind(sum(|of| of.discount))
    .bind(sum(|of| of.net))
    .bind(sum(|of| of.refunds))
    .bind(sum(|of| of.refunded))
    .bind(sums.values().map(|of| of.paid_out_on).collect::<Vec<_>>())
    .fetch_one(c)
    .await?)
}

async fn add_sums(
    c: &mut PgConnection,
    merchant: &MerchantName,
    file: FileKey,
    last_line: i64,
    rows: &[SettlementRow],
) -> TxResult<()> {
    let sum = |of: fn(&SettlementRow) -> i64| rows.iter().map(of).fold(0_i64, i64::saturating_add);
    let of = |kind: RowKind| rows.iter().filter(move |row| row.kind == kind);
    let gross = |kind: RowKind| of(kind).map(|row| row.gross).fold(0_i64, i64::saturating_add);
    let first = of(RowKind::Purchase).map(|row| (row.paid_out_on, row.transaction_on)).min();
    sqlx::query(
        "UPDATE settlement_files
         SET lines_read = $2, own_rows = own_rows + $3, own_gross = own_gross + $4, own_refunded = own_refunded + $13,
             own_fee = own_fee + $5, own_discount = own_discount + $6, own_net = own_net + $7,
             first_transaction_on = CASE
                 WHEN first_paid_out_on IS NULL OR ($12, $8) < (first_paid_out_on, first_transaction_on) THEN $8
                 ELSE first_transaction_on END,
             first_paid_out_on = least(first_paid_out_on, $12), latest_paid_out_on = greatest(latest_paid_out_on, $9),
             without_order = without_order + (
                 SELECT count(*) FROM unnest($11::text[]) AS r (number)
                 WHERE NOT EXISTS (SELECT FROM orders WHERE merchant = $10 AND invoice_number = r.number))
         WHERE key = $1",
    )
    .bind(file)
    .bind(last_line)
    .bind(i64::try_from(rows.len()).unwrap_or(i64::MAX))
    .bind(gross(RowKind::Purchase))
    .bind(sum(|row| row.fee))
    .bind(sum(|row| row.discount))
    .bind(sum(|row| row.net))
    .bind(first.map(|(_, transaction_on)| transaction_on))
    .bind(rows.iter().map(|row| row.paid_out_on).max())
    .bind(merchant.as_str())
    .bind(rows.iter().map(|row| row.invoice_number.as_str()).collect::<Vec<_>>())
    .bind(first.map(|(paid_out_on, _)| paid_out_on))
    .bind(gross(RowKind::Refund))
    .execute(c)
    .await?;
    Ok(())
}

fn unreadable(file: FileKey, bad: &UnreadableLine) -> Break {
    let batch = bad.batch.clone();
    let of = batch.clone().unwrap_or_else(|| format!("file {file}"));
    Break {
        cause: Cause::UnreadableRow,
        subject: format!("{of} line {}", bad.line),
        // Nothing closes it but a person: it is no invoice's.
        invoice_number: None,
        batch,
        at_stake: bad.gross.abs(),
        values: format!("line {}: {}", bad.line, bad.why),
    }
}

async fn begin_matching(
    c: &mut PgConnection,
    merchant: &MerchantName,
    file: FileKey,
    end: &FileEnd,
) -> TxResult<()> {
    let began = sqlx::query(
        "UPDATE settlement_files SET state = 'matching' WHERE key = $1 AND state IN ('reading', 'held')",
    )
    .bind(file)
    .execute(&mut *c)
    .await?;
    if began.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO settlement_accounts AS a (merchant, profile, first_paid_out_on, first_transaction_on, latest_paid_out_on,
                                               latest_batch_on)
         SELECT merchant, profile, first_paid_out_on, first_transaction_on, latest_paid_out_on, latest_batch_on
         FROM settlement_files WHERE key = $1
         ON CONFLICT (merchant) DO UPDATE
         SET profile = excluded.profile,
             -- Earlier payments are expected now: the search begins anew.
             search_from = CASE WHEN a.first_transaction_on IS NULL
                                  OR excluded.first_transaction_on < a.first_transaction_on THEN 0
                                ELSE a.search_from END,
             -- Of the first pay-out: what a later one brings after all says nothing about the days before.
             first_transaction_on = CASE
                 WHEN a.first_paid_out_on IS NULL OR (excluded.first_paid_out_on, excluded.first_transaction_on)
                                                     < (a.first_paid_out_on, a.first_transaction_on)
                 THEN excluded.first_transaction_on ELSE a.first_transaction_on END,
             first_paid_out_on = least(a.first_paid_out_on, excluded.first_paid_out_on),
             latest_paid_out_on = greatest(a.latest_paid_out_on, excluded.latest_paid_out_on),
             latest_batch_on = greatest(a.latest_batch_on, excluded.latest_batch_on)",
    )
    .bind(file)
    .execute(&mut *c)
    .await?;
    // All forms of a batch are compared, also one with none of our rows.
    sqlx::query(
        "INSERT INTO settlement_forms (merchant, batch, file)
         SELECT merchant, batch, key FROM settlement_files WHERE key = $1 AND batch IS NOT NULL
         ON CONFLICT DO NOTHING",
    )
    .bind(file)
    .execute(&mut *c)
    .await?;
    let unknown: Vec<Break> = end
        .unknown_channels
        .iter()
        .map(|(word, gross)| Break {
            cause: Cause::UnknownChannel,
            subject: word.clone(),
            invoice_number: None,
            batch: end.stated.batch.clone(),
            at_stake: gross.abs(),
            values: format!("channel {word:?}"),
        })
        .collect();
    breaks::open_missing(c, merchant, &unknown).await?;
    totals(c, merchant, file).await
}

/// A batch adds up where one of its forms does; a file that names none stands for itself.
async fn totals(c: &mut PgConnection, merchant: &MerchantName, file: FileKey) -> TxResult<()> {
    let stated: Option<(String, Option<String>, Option<String>, i64)> = sqlx::query_as(
        "SELECT coalesce(f.batch, 'file ' || f.key), f.batch,
                CASE WHEN bool_and(o.totals_fault IS NOT NULL) THEN min(o.totals_fault) END,
                coalesce(max(abs(abs(coalesce(o.stated_net, o.net)) - abs(o.net))), 0)
         FROM settlement_files f
         JOIN settlement_files o ON o.merchant = f.merchant AND (o.key = f.key OR o.batch = f.batch)
         WHERE f.key = $1 AND o.state IN ('matching', 'done')
         GROUP BY f.key",
    )
    .bind(file)
    .fetch_optional(&mut *c)
    .await?;
    let Some((subject, batch, fault, at_stake)) = stated else { return Ok(()) };
    let found = fault.map(|values| Break {
        cause: Cause::TotalsMismatch,
        subject: subject.clone(),
        invoice_number: None,
        batch,
        at_stake,
        values,
    });
    breaks::settle(c, merchant, Cause::TotalsMismatch, Some(&subject), found, super::By::File).await
}

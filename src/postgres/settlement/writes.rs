//! What was judged of all invoices of a group, written in a few statements.

use super::{By, SettledSlice, breaks, group::StoredRow};
use crate::{
    domain::{
        Time,
        ids::MerchantName,
        settlement::{
            breaks::{Cause, Change},
            case::Judgement,
            row::RowId,
        },
    },
    postgres::error::TxResult,
};
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashSet};

#[derive(Default)]
pub(super) struct GroupWrites {
    changes: Vec<Change>,
    fits: Vec<FittingRow>,
    /// Rows that a changed batch made void.
    void: Vec<i64>,
    looks: BTreeMap<String, Look>,
    done: Vec<String>,
}

/// A row whose event goes out.
struct FittingRow {
    key: i64,
    id: RowId,
    void: Option<RowId>,
    /// It may have been judged before: its event waits, or is out.
    may_be_known: bool,
}

struct Look {
    at: Time,
    order_key: Option<i64>,
    asks: bool,
    /// Paid out for an order that was not paid, or deducted for one that was not refunded, from now on.
    is_alarm: bool,
}

/// An order that DOKU is to be asked about, by its key and its invoice.
pub(super) type AskedOrder = (i64, String);

impl GroupWrites {
    pub fn take(
        &mut self,
        invoice: &str,
        rows: &[StoredRow],
        slice: Option<&SettledSlice>,
        order_key: Option<i64>,
        judgement: Judgement,
        changed: Vec<Change>,
    ) {
        for fit in &judgement.fits {
            let Some(row) = rows.get(fit.at) else { continue };
            let void: Vec<&StoredRow> = fit.replaces.iter().filter_map(|at| rows.get(*at)).collect();
            self.fits.push(FittingRow {
                key: row.key,
                id: row.id,
                void: void.first().map(|row| row.id),
                may_be_known: rows.len() > 1 || slice.is_none_or(|slice| !slice.is_new(row)),
            });
            self.void.extend(void.iter().map(|row| row.key));
        }
        match judgement.look_again_at {
            Some(at) => {
                let is_alarm = |cause| matches!(cause, Cause::StatusMismatch | Cause::RefundUnexpected);
                let opened = |change: &Change| matches!(change, Change::Open(new) | Change::Reopen(new) if is_alarm(new.cause));
                let is_alarm = changed.iter().any(opened);
                let look = Look { at, order_key, asks: judgement.asks, is_alarm };
                self.looks.insert(invoice.to_owned(), look);
            }
            None => self.done.push(invoice.to_owned()),
        }
        self.changes.extend(changed);
    }

    /// How many breaks opened and closed.
    pub fn count_changes(&self) -> (u64, u64) {
        let is_opened = |change: &&Change| matches!(change, Change::Open(_) | Change::Reopen(_));
        let is_closed = |change: &&Change| matches!(change, Change::Close(_));
        let count =
            |of: &dyn Fn(&&Change) -> bool| self.changes.iter().filter(|change| of(change)).count() as u64;
        (count(&is_opened), count(&is_closed))
    }

    /// Writes all, and says about which orders DOKU is asked.
    pub async fn write(
        self,
        c: &mut PgConnection,
        merchant: &MerchantName,
        by: By,
    ) -> TxResult<Vec<AskedOrder>> {
        breaks::write(c, merchant, &self.changes, by).await?;
        self.write_fits(c).await?;
        self.write_looks(c, merchant, by).await
    }

    /// An event goes out once. One that a changed batch made void does not go out any more where it still waits.
    async fn write_fits(&self, c: &mut PgConnection) -> TxResult<()> {
        if !self.void.is_empty() {
            sqlx::query("DELETE FROM settlement_waiting WHERE row_key = ANY ($1)")
                .bind(&self.void)
                .execute(&mut *c)
                .await?;
        }
        let out = self.out(c).await?;
        let fits: Vec<&FittingRow> = self.fits.iter().filter(|fit| !out.contains(&fit.id)).collect();
        if fits.is_empty() {
            return Ok(());
        }
        // A row that is judged again may wait already.
        let void = |fit: &&FittingRow| fit.void.filter(|void| out.contains(void));
        sqlx::query(
            "INSERT INTO settlement_waiting (row_key, replaces) SELECT * FROM unnest($1::bigint[], $2::uuid[])
             ON CONFLICT (row_key) DO NOTHING",
        )
        .bind(fits.iter().map(|fit| fit.key).collect::<Vec<_>>())
        .bind(fits.iter().map(void).collect::<Vec<_>>())
        .execute(c)
        .await?;
        Ok(())
    }

    /// Rows whose events are out, of those that may be. That costs nothing for a file that comes for the first time.
    async fn out(&self, c: &mut PgConnection) -> TxResult<HashSet<RowId>> {
        let may_be = self.fits.iter().filter(|fit| fit.may_be_known).map(|fit| fit.id);
        let ids: Vec<RowId> = may_be.chain(self.fits.iter().filter_map(|fit| fit.void)).collect();
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let out: Vec<RowId> = sqlx::query_scalar("SELECT event_id FROM events WHERE event_id = ANY ($1)")
            .bind(ids)
            .fetch_all(c)
            .await?;
        Ok(out.into_iter().collect())
    }

    /// Says whom DOKU is asked about: what is looked at for the first time, what became an alarm, and what was not asked about
    /// though it was to be.
    async fn write_looks(
        &self,
        c: &mut PgConnection,
        merchant: &MerchantName,
        by: By,
    ) -> TxResult<Vec<AskedOrder>> {
        // Nothing of a file that comes for the first time is looked at yet: that costs no statement.
        if !self.done.is_empty() && (by == By::Check || !self.changes.is_empty()) {
            sqlx::query("DELETE FROM settlement_looks WHERE merchant = $1 AND invoice_number = ANY ($2)")
                .bind(merchant.as_str())
                .bind(&self.done)
                .execute(&mut *c)
                .await?;
        }
        if self.looks.is_empty() {
            return Ok(Vec::new());
        }
        let looks = || self.looks.values();
        let asks: Vec<String> = sqlx::query_scalar(
            "WITH written AS (
                 INSERT INTO settlement_looks (merchant, invoice_number, look_at, ask)
                 SELECT $1, l.* FROM unnest($2::text[], $3::timestamptz[], $4::boolean[]) AS l
                 ON CONFLICT (merchant, invoice_number) DO UPDATE
                 SET look_at = excluded.look_at,
                     ask = excluded.ask AND (settlement_looks.ask OR excluded.invoice_number = ANY ($5))
                 RETURNING invoice_number, ask)
             SELECT invoice_number FROM written WHERE ask",
        )
        .bind(merchant.as_str())
        .bind(self.looks.keys().map(String::as_str).collect::<Vec<_>>())
        .bind(looks().map(|look| look.at).collect::<Vec<_>>())
        .bind(looks().map(|look| look.asks && look.order_key.is_some()).collect::<Vec<_>>())
        .bind(
            self.looks
                .iter()
                .filter(|(_, look)| look.is_alarm)
                .map(|(invoice, _)| invoice.as_str())
                .collect::<Vec<_>>(),
        )
        .fetch_all(c)
        .await?;
        let key = |invoice: String| Some((self.looks.get(&invoice)?.order_key?, invoice));
        Ok(asks.into_iter().filter_map(key).collect())
    }
}

//! Judges a group of invoices in one transaction: all that is known of them is read, the domain says what does not fit, and
//! that is written with the events of what fits.

use super::{By, Judging, SettlementStore, account, ask, breaks, shares};
use crate::{
    domain::{
        Time,
        ids::MerchantName,
        order::OrderState,
        settlement::{
            breaks::{Cause, Change, StoredBreak, changes},
            case::{AccountFacts, Case, Judgement, KnownRow, OrderFacts},
            judge::judge,
            row::{RowKind, SettlementRow},
        },
    },
    flow::ports::StoreError,
    postgres::error::{TxResult, unknown_value},
};
use chrono::NaiveDate;
use sqlx::{FromRow, PgConnection};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// What a group of invoices came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupCounts {
    pub invoices: u64,
    pub fits: u64,
    pub opened: u64,
    pub closed: u64,
    pub asked: u64,
}

impl GroupCounts {
    pub fn add(&mut self, more: Self) {
        self.invoices += more.invoices;
        self.fits += more.fits;
        self.opened += more.opened;
        self.closed += more.closed;
        self.asked += more.asked;
    }
}

impl SettlementStore {
    /// Judges these invoices, which are no more than a group. `of_file`: how far the file's import is with them.
    pub async fn judge_group(
        &self,
        merchant: &MerchantName,
        invoices: Vec<String>,
        judging: &Judging,
        of_file: Option<(i64, u64)>,
    ) -> Result<GroupCounts, StoreError> {
        let (of, judging) = (merchant.clone(), judging.clone());
        let group = self.context.transaction(move |c| {
            Box::pin(async move {
                let judged = judge_all(c, &of, &invoices, &judging).await?;
                if let Some((file, line)) = of_file {
                    matched(c, file, line).await?;
                }
                Ok(judged)
            })
        });
        let (mut counts, asks) = group.await?;
        // An inquiry that is not asked for now is asked for at the next look.
        counts.asked = ask::ask(&self.context, asks).await?;
        Ok(counts)
    }
}

async fn matched(c: &mut PgConnection, file: i64, line: u64) -> TxResult<()> {
    sqlx::query("UPDATE settlement_files SET lines_matched = greatest(lines_matched, $2) WHERE key = $1")
        .bind(file)
        .bind(i64::try_from(line).unwrap_or(i64::MAX))
        .execute(c)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct KnownRowRow {
    id: Uuid,
    number: i32,
    batch: String,
    invoice_number: String,
    kind: String,
    type_word: String,
    sub_account: String,
    gross: i64,
    fee: i64,
    discount: i64,
    net: i64,
    transaction_on: NaiveDate,
    paid_out_on: NaiveDate,
    files: Vec<i64>,
    seen_at: Time,
}

#[derive(FromRow)]
struct OrderRow {
    order_key: i64,
    invoice_number: String,
    amount: i64,
    state: String,
    review_cause: Option<String>,
    state_since: Time,
}

/// All that is known of the invoices of a group.
struct KnownInvoices {
    now: Time,
    account: AccountFacts,
    rows: HashMap<String, Vec<(Uuid, KnownRow)>>,
    orders: HashMap<String, (i64, OrderFacts)>,
    breaks: HashMap<String, Vec<StoredBreak>>,
}

async fn judge_all(
    c: &mut PgConnection,
    merchant: &MerchantName,
    invoices: &[String],
    judging: &Judging,
) -> TxResult<(GroupCounts, Vec<i64>)> {
    let known = read(c, merchant, invoices, judging).await?;
    let mut counts = GroupCounts::default();
    let mut writes = GroupWrites::default();
    for invoice in invoices.iter().collect::<BTreeSet<_>>() {
        let rows = known.rows.get(invoice).map(Vec::as_slice).unwrap_or_default();
        let facts: Vec<KnownRow> = rows.iter().map(|(_, row)| row.clone()).collect();
        let order = known.orders.get(invoice);
        let case = Case {
            invoice_number: invoice,
            order: order.map(|(_, facts)| *facts),
            rows: &facts,
            account: &known.account,
            rules: &judging.rules,
            now: known.now,
        };
        let judgement = judge(&case);
        let stored = known.breaks.get(invoice).map(Vec::as_slice).unwrap_or_default();
        let changed = changes(stored, &judgement.breaks);
        counts.invoices += 1;
        counts.fits += judgement.fits.len() as u64;
        writes.take(invoice, rows, order.map(|(key, _)| *key), judgement, changed);
    }
    counts.opened =
        writes.changes.iter().filter(|change| matches!(change, Change::Open(_) | Change::Reopen(_))).count()
            as u64;
    counts.closed = writes.changes.iter().filter(|change| matches!(change, Change::Close(_))).count() as u64;
    breaks::write(c, merchant, &writes.changes, judging.by).await?;
    writes.write_fits(c).await?;
    let asks = writes.write_looks(c, merchant, judging.by).await?;
    Ok((counts, asks))
}

async fn read(
    c: &mut PgConnection,
    merchant: &MerchantName,
    invoices: &[String],
    judging: &Judging,
) -> TxResult<KnownInvoices> {
    let now: Time = sqlx::query_scalar("SELECT jenius_now()").fetch_one(&mut *c).await?;
    let rows = rows(c, merchant, invoices).await?;
    let batches: BTreeSet<String> = rows.values().flatten().map(|(_, row)| row.row.batch.clone()).collect();
    let account = account::facts(c, merchant, &batches.into_iter().collect::<Vec<_>>()).await?;
    let mut orders = orders(c, merchant, invoices, judging).await?;
    let odd: Vec<String> = orders
        .iter()
        .filter(|(invoice, (_, facts))| may_have_shares(rows.get(*invoice), facts))
        .map(|(invoice, _)| invoice.clone())
        .collect();
    for invoice in shares::with_shares(c, merchant, &odd).await? {
        if let Some((_, facts)) = orders.get_mut(&invoice) {
            facts.has_shares = true;
        }
    }
    let mut breaks: HashMap<String, Vec<StoredBreak>> = HashMap::new();
    for stored in breaks::of_invoices(c, merchant, invoices).await? {
        breaks.entry(stored.found.invoice_number.clone().unwrap_or_default()).or_default().push(stored);
    }
    Ok(KnownInvoices { now, account, rows, orders, breaks })
}

/// An order whose one row has its amount is whole, whatever it asked for.
fn may_have_shares(rows: Option<&Vec<(Uuid, KnownRow)>>, order: &OrderFacts) -> bool {
    rows.is_some_and(|rows| {
        let is_odd = |row: &KnownRow| !row.row.sub_account.is_empty() || row.row.gross != order.amount;
        rows.len() > 1 || rows.iter().any(|(_, row)| is_odd(row))
    })
}

async fn rows(
    c: &mut PgConnection,
    merchant: &MerchantName,
    invoices: &[String],
) -> TxResult<HashMap<String, Vec<(Uuid, KnownRow)>>> {
    let not_counting = account::not_counting(c, merchant).await?;
    let stored: Vec<KnownRowRow> = sqlx::query_as(
        "SELECT id, number, batch, invoice_number, kind, type_word, sub_account, gross, fee, discount, net,
                transaction_on, paid_out_on, files, seen_at
         FROM settlement_rows WHERE merchant = $1 AND invoice_number = ANY ($2)
         ORDER BY batch, id, number",
    )
    .bind(merchant.as_str())
    .bind(invoices)
    .fetch_all(c)
    .await?;
    let mut rows: HashMap<String, Vec<(Uuid, KnownRow)>> = HashMap::new();
    for row in stored {
        let files: BTreeSet<i64> =
            row.files.iter().copied().filter(|file| !not_counting.contains(file)).collect();
        if !files.is_empty() {
            rows.entry(row.invoice_number.clone()).or_default().push((row.id, row.known(files)?));
        }
    }
    Ok(rows)
}

impl KnownRowRow {
    fn known(self, files: BTreeSet<i64>) -> Result<KnownRow, StoreError> {
        let kind = RowKind::ALL.into_iter().find(|kind| kind.name() == self.kind);
        let row = SettlementRow {
            batch: self.batch,
            invoice_number: self.invoice_number,
            kind: kind.ok_or_else(|| unknown_value("kind of row"))?,
            type_word: self.type_word,
            sub_account: self.sub_account,
            gross: self.gross,
            fee: self.fee,
            discount: self.discount,
            net: self.net,
            transaction_on: self.transaction_on,
            paid_out_on: self.paid_out_on,
        };
        Ok(KnownRow { row, number: self.number.unsigned_abs(), files, seen_at: self.seen_at })
    }
}

async fn orders(
    c: &mut PgConnection,
    merchant: &MerchantName,
    invoices: &[String],
    judging: &Judging,
) -> TxResult<HashMap<String, (i64, OrderFacts)>> {
    let rows: Vec<OrderRow> = sqlx::query_as(
        "SELECT order_key, invoice_number, amount, state, review_cause, state_since
         FROM orders WHERE merchant = $1 AND invoice_number = ANY ($2)",
    )
    .bind(merchant.as_str())
    .bind(invoices)
    .fetch_all(c)
    .await?;
    let facts = |row: OrderRow| {
        let state = OrderState::from_names(&row.state, row.review_cause.as_deref())
            .ok_or_else(|| unknown_value("state"))?;
        let state_since = row.state_since.with_timezone(&judging.zone).date_naive();
        let facts = OrderFacts { amount: row.amount, state, state_since, has_shares: false };
        Ok((row.invoice_number, (row.order_key, facts)))
    };
    Ok(rows.into_iter().map(facts).collect::<Result<_, StoreError>>()?)
}

/// What was judged of all invoices of the group, to be written in a few statements.
#[derive(Default)]
struct GroupWrites {
    changes: Vec<Change>,
    fits: Vec<(Uuid, Option<Uuid>)>,
    void: Vec<Uuid>,
    looks: BTreeMap<String, Look>,
    done: Vec<String>,
}

struct Look {
    at: Time,
    order_key: Option<i64>,
    asks: bool,
    /// Paid out for an order that was not paid, from now on.
    is_alarm: bool,
}

impl GroupWrites {
    fn take(
        &mut self,
        invoice: &str,
        rows: &[(Uuid, KnownRow)],
        order_key: Option<i64>,
        judgement: Judgement,
        changed: Vec<Change>,
    ) {
        let id = |at: usize| rows.get(at).map(|(id, _)| *id);
        for fit in &judgement.fits {
            let void: Vec<Uuid> = fit.replaces.iter().filter_map(|at| id(*at)).collect();
            self.fits.extend(id(fit.at).map(|row| (row, void.first().copied())));
            self.void.extend(void);
        }
        match judgement.look_again_at {
            Some(at) => {
                let opened = |change: &Change| matches!(change, Change::Open(new) | Change::Reopen(new) if new.cause == Cause::StatusMismatch);
                let is_alarm = changed.iter().any(opened);
                let look = Look { at, order_key, asks: judgement.asks, is_alarm };
                self.looks.insert(invoice.to_owned(), look);
            }
            None => self.done.push(invoice.to_owned()),
        }
        self.changes.extend(changed);
    }

    /// An event goes out once. One that a changed batch made void does not go out any more where it still waits.
    async fn write_fits(&self, c: &mut PgConnection) -> TxResult<()> {
        if !self.void.is_empty() {
            sqlx::query("DELETE FROM settlement_waiting WHERE row_id = ANY ($1)")
                .bind(&self.void)
                .execute(&mut *c)
                .await?;
        }
        if self.fits.is_empty() {
            return Ok(());
        }
        let (rows, void): (Vec<Uuid>, Vec<Option<Uuid>>) = self.fits.iter().copied().unzip();
        sqlx::query(
            "INSERT INTO settlement_waiting (row_id, replaces)
             SELECT f.row_id, CASE WHEN v.event_id IS NOT NULL THEN f.void END
             FROM unnest($1::uuid[], $2::uuid[]) AS f (row_id, void) LEFT JOIN events v ON v.event_id = f.void
             WHERE NOT EXISTS (SELECT FROM events WHERE event_id = f.row_id)
             ON CONFLICT (row_id) DO NOTHING",
        )
        .bind(rows)
        .bind(void)
        .execute(c)
        .await?;
        Ok(())
    }

    /// Says whom DOKU is asked about: what is looked at for the first time, and what became an alarm.
    async fn write_looks(&self, c: &mut PgConnection, merchant: &MerchantName, by: By) -> TxResult<Vec<i64>> {
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
        let new: Vec<(String, bool)> = sqlx::query_as(
            "INSERT INTO settlement_looks (merchant, invoice_number, look_at)
             SELECT $1, l.* FROM unnest($2::text[], $3::timestamptz[]) AS l
             ON CONFLICT (merchant, invoice_number) DO UPDATE SET look_at = excluded.look_at
             RETURNING invoice_number, xmax = 0",
        )
        .bind(merchant.as_str())
        .bind(self.looks.keys().map(String::as_str).collect::<Vec<_>>())
        .bind(self.looks.values().map(|look| look.at).collect::<Vec<_>>())
        .fetch_all(c)
        .await?;
        let new: BTreeSet<&str> =
            new.iter().filter(|(_, is_new)| *is_new).map(|(invoice, _)| invoice.as_str()).collect();
        let asks = self
            .looks
            .iter()
            .filter(|(invoice, look)| look.asks && (look.is_alarm || new.contains(invoice.as_str())));
        Ok(asks.filter_map(|(_, look)| look.order_key).collect())
    }
}

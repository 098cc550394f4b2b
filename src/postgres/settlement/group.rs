//! Judges a group of invoices in one transaction: all that is known of them is read, the domain says what does not fit, and
//! that is written with the events of what fits.

use super::{
    FileKey, Judging, SettlementStore, account, ask, breaks, shares,
    writes::{AskedOrder, GroupWrites},
};
use crate::{
    domain::{
        Time,
        ids::MerchantName,
        order::OrderState,
        settlement::{
            breaks::{StoredBreak, are_closed_by_person, changes},
            case::{AccountFacts, Case, KnownRow, OrderFacts},
            judge::judge,
            row::{RowId, RowKind, SettlementRow},
        },
    },
    flow::ports::StoreError,
    postgres::error::{TxResult, unknown_value},
};
use chrono::NaiveDate;
use sqlx::{FromRow, PgConnection};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use uuid::Uuid;

/// What a person closed is judged again so often: it may be thousands, and more every day.
const LOOK_SELDOM: Duration = Duration::from_secs(24 * 3600);

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

/// Rows of a file, by their keys, that are judged in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettledSlice {
    pub file: FileKey,
    pub after: i64,
    pub to: i64,
    /// Up to which key the file says that its invoices are judged.
    pub judged_to: i64,
}

impl SettledSlice {
    /// Whether the row is judged for the first time.
    pub(super) fn is_new(&self, row: &StoredRow) -> bool {
        let is_only_here = row.known.files.iter().all(|file| *file == self.file);
        is_only_here && row.key > self.after && row.key <= self.to
    }
}

impl SettlementStore {
    /// Judges these invoices, which are no more than a group. `slice`: the part of a file that they are.
    pub async fn judge_group(
        &self,
        merchant: &MerchantName,
        invoices: Vec<String>,
        judging: &Judging,
        slice: Option<SettledSlice>,
    ) -> Result<GroupCounts, StoreError> {
        let (of, judging) = (merchant.clone(), judging.clone());
        let group = self.context.transaction(move |c| {
            Box::pin(async move {
                if let Some(slice) = &slice {
                    super::commit_later(c).await?;
                    judged_to(c, slice).await?;
                }
                judge_all(c, &of, &invoices, &judging, slice.as_ref()).await
            })
        });
        let (mut counts, asks) = group.await?;
        // What is not asked for now is asked for at the next look.
        counts.asked = ask::ask(&self.context, merchant, asks).await?;
        Ok(counts)
    }
}

async fn judged_to(c: &mut PgConnection, slice: &SettledSlice) -> TxResult<()> {
    let judged = sqlx::query("UPDATE settlement_files SET judged_to = $2 WHERE key = $1 AND judged_to = $3")
        .bind(slice.file)
        .bind(slice.to)
        .bind(slice.judged_to)
        .execute(c)
        .await?;
    if judged.rows_affected() == 0 {
        return Err(
            StoreError::Away("a server took over that lacks the invoices judged last".to_owned()).into()
        );
    }
    Ok(())
}

#[derive(FromRow)]
struct KnownRowRow {
    key: i64,
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

/// A row, and by what it is known here and to others.
pub(super) struct StoredRow {
    pub key: i64,
    pub id: RowId,
    pub known: KnownRow,
}

/// All that is known of the invoices of a group.
struct KnownInvoices {
    now: Time,
    account: AccountFacts,
    rows: HashMap<String, Vec<StoredRow>>,
    orders: HashMap<String, (i64, OrderFacts)>,
    breaks: HashMap<String, Vec<StoredBreak>>,
}

async fn judge_all(
    c: &mut PgConnection,
    merchant: &MerchantName,
    invoices: &[String],
    judging: &Judging,
    slice: Option<&SettledSlice>,
) -> TxResult<(GroupCounts, Vec<AskedOrder>)> {
    let known = read(c, merchant, invoices, judging).await?;
    let mut counts = GroupCounts::default();
    let mut writes = GroupWrites::default();
    for invoice in invoices.iter().collect::<BTreeSet<_>>() {
        let rows = known.rows.get(invoice).map(Vec::as_slice).unwrap_or_default();
        let facts: Vec<KnownRow> = rows.iter().map(|row| row.known.clone()).collect();
        let order = known.orders.get(invoice);
        let case = Case {
            invoice_number: invoice,
            order: order.map(|(_, facts)| *facts),
            rows: &facts,
            account: &known.account,
            rules: &judging.rules,
            now: known.now,
        };
        let mut judgement = judge(&case);
        let stored = known.breaks.get(invoice).map(Vec::as_slice).unwrap_or_default();
        if are_closed_by_person(stored, &judgement.breaks) {
            // An order may still become what fits; one that is none here comes with a file or not at all.
            judgement.look_again_at = order.map(|_| known.now + LOOK_SELDOM);
        }
        let changed = changes(stored, &judgement.breaks);
        counts.invoices += 1;
        counts.fits += judgement.fits.len() as u64;
        writes.take(invoice, rows, slice, order.map(|(key, _)| *key), judgement, changed);
    }
    (counts.opened, counts.closed) = writes.count_changes();
    let asks = writes.write(c, merchant, judging.by).await?;
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
    let batches: BTreeSet<String> = rows.values().flatten().map(|row| row.known.row.batch.clone()).collect();
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
    let without_row: Vec<String> =
        orders.keys().filter(|invoice| !has_purchase(rows.get(*invoice))).cloned().collect();
    for (invoice, is_imported, paid_at) in payments(c, merchant, &without_row).await? {
        if let Some((_, facts)) = orders.get_mut(&invoice) {
            facts.is_imported = is_imported;
            facts.paid_on = paid_at.map_or(facts.paid_on, |at| at.with_timezone(&judging.zone).date_naive());
        }
    }
    let mut breaks: HashMap<String, Vec<StoredBreak>> = HashMap::new();
    for stored in breaks::of_invoices(c, merchant, invoices).await? {
        breaks.entry(stored.found.invoice_number.clone().unwrap_or_default()).or_default().push(stored);
    }
    Ok(KnownInvoices { now, account, rows, orders, breaks })
}

fn has_purchase(rows: Option<&Vec<StoredRow>>) -> bool {
    rows.is_some_and(|rows| rows.iter().any(|row| row.known.row.kind == RowKind::Purchase))
}

/// Whether an order was paid before this service ran, and since when it is paid, whatever it became after that.
async fn payments(
    c: &mut PgConnection,
    merchant: &MerchantName,
    invoices: &[String],
) -> TxResult<Vec<(String, bool, Option<Time>)>> {
    if invoices.is_empty() {
        return Ok(Vec::new());
    }
    let payments = sqlx::query_as(
        "SELECT o.invoice_number, k.imported IS NOT NULL, (
             SELECT min(e.created_at) FROM events e WHERE e.order_key = o.order_key AND e.type = 'order.paid')
         FROM orders o JOIN commands k ON k.key = o.payment
         WHERE o.merchant = $1 AND o.invoice_number = ANY ($2)",
    );
    Ok(payments.bind(merchant.as_str()).bind(invoices).fetch_all(c).await?)
}

/// An order whose one row has its amount is whole, whatever it asked for.
fn may_have_shares(rows: Option<&Vec<StoredRow>>, order: &OrderFacts) -> bool {
    rows.is_some_and(|rows| {
        let is_odd = |row: &SettlementRow| !row.sub_account.is_empty() || row.gross != order.amount;
        rows.len() > 1 || rows.iter().any(|row| is_odd(&row.known.row))
    })
}

async fn rows(
    c: &mut PgConnection,
    merchant: &MerchantName,
    invoices: &[String],
) -> TxResult<HashMap<String, Vec<StoredRow>>> {
    let not_counting = account::not_counting(c, merchant).await?;
    let stored: Vec<KnownRowRow> = sqlx::query_as(
        "SELECT key, id, number, batch, invoice_number, kind, type_word, sub_account, gross, fee, discount, net,
                transaction_on, paid_out_on, files, seen_at
         FROM settlement_rows WHERE merchant = $1 AND invoice_number = ANY ($2)
         ORDER BY batch, id, number",
    )
    .bind(merchant.as_str())
    .bind(invoices)
    .fetch_all(c)
    .await?;
    let mut rows: HashMap<String, Vec<StoredRow>> = HashMap::new();
    for row in stored {
        let files: BTreeSet<i64> =
            row.files.iter().copied().filter(|file| !not_counting.contains(file)).collect();
        if !files.is_empty() {
            let (key, id, invoice) = (row.key, row.id, row.invoice_number.clone());
            rows.entry(invoice).or_default().push(StoredRow { key, id, known: row.into_known(files)? });
        }
    }
    Ok(rows)
}

impl KnownRowRow {
    fn into_known(self, files: BTreeSet<i64>) -> Result<KnownRow, StoreError> {
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
        let facts = OrderFacts {
            amount: row.amount,
            state,
            state_since,
            paid_on: state_since,
            has_shares: false,
            is_imported: false,
        };
        Ok((row.invoice_number, (row.order_key, facts)))
    };
    Ok(rows.into_iter().map(facts).collect::<Result<_, StoreError>>()?)
}

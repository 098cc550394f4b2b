//! Orders that were paid before this service ran, from an operator's file: all of them in one transaction, or none. Nothing is
//! published: an imported order has version 0, and its first event is that of its refund.

use crate::postgres::{
    PostgresStore,
    error::TxResult,
    rows::{WITH_REQUEST_ID, WITHOUT_REQUEST_ID},
};
use crate::{
    domain::{
        Time,
        action::ActionKind,
        event::EvidenceSource,
        ids::{InvoiceNumber, MerchantName, RequestId, payment_request_id},
        money::Rupiah,
        order::OrderState,
    },
    flow::ports::{Account, StoreError},
};
use sqlx::{FromRow, PgConnection};
use std::sync::Arc;

/// Stands for the command that no service published.
const SOURCE: &str = "jenius-pay:import";
/// Orders of one statement.
const CHUNK: usize = 1_000;
/// More do not fit into one transaction on a slow machine.
pub const IMPORTED_MAX: usize = 20_000;

/// One order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidOrder {
    pub merchant: MerchantName,
    pub invoice_number: InvoiceNumber,
    pub amount: Rupiah,
    pub paid_at: Time,
    /// `None`: the file does not name it.
    pub request_id: Option<RequestId>,
}

/// A whole file, who brings it in, and why.
#[derive(Debug, Clone)]
pub struct OrderImport {
    /// No invoice of a merchant is there twice.
    pub orders: Vec<PaidOrder>,
    /// DOKU is asked about an order with its merchant's.
    pub accounts: Vec<Account>,
    /// As the file is called.
    pub file: String,
    pub reason: String,
    pub done_by: Option<String>,
    /// Only say what it would do.
    pub dry_run: bool,
}

/// What an import did, or would do. With conflicts it did nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OrdersImported {
    pub new: usize,
    /// The same were imported before.
    pub known: usize,
    /// The place of an order in the file, from 0, and why it cannot be imported.
    pub conflicts: Vec<(usize, ImportConflict)>,
}

/// The order is here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportConflict {
    /// A command asked for it.
    Commanded,
    Amount,
    PaidAt,
    RequestId,
}

impl PostgresStore {
    /// Takes in all orders of a file, or none.
    pub async fn import_orders(&self, import: OrderImport) -> Result<OrdersImported, StoreError> {
        let import = Arc::new(import);
        let imported =
            self.context.transaction(move |c| Box::pin(async move { import_all(c, &import).await }));
        Ok(imported.await?)
    }
}

async fn import_all(connection: &mut PgConnection, import: &OrderImport) -> TxResult<OrdersImported> {
    let mut done = OrdersImported::default();
    let mut new = Vec::new();
    for (chunk, first) in import.orders.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
        let stored = stored(connection, chunk).await?;
        let mut is_new = vec![true; chunk.len()];
        for found in &stored {
            let Some(at) = usize::try_from(found.place - 1).ok().filter(|at| *at < chunk.len()) else {
                continue;
            };
            is_new[at] = false;
            match found.conflict(&chunk[at]) {
                Some(conflict) => done.conflicts.push((first + at, conflict)),
                None => done.known += 1,
            }
        }
        new.extend(chunk.iter().zip(is_new).filter_map(|(order, is_new)| is_new.then_some(order)));
    }
    done.conflicts.sort_by_key(|(at, _)| *at);
    done.new = new.len();
    if done.conflicts.is_empty() && !import.dry_run {
        for chunk in new.chunks(CHUNK) {
            insert(connection, import, chunk).await?;
        }
    }
    Ok(done)
}

#[derive(FromRow)]
struct StoredOrder {
    place: i64,
    imported: Option<String>,
    amount: i64,
    claimed_at: Time,
    request_id: String,
}

impl StoredOrder {
    fn conflict(&self, order: &PaidOrder) -> Option<ImportConflict> {
        let request_id = match self.imported.as_deref() {
            None => return Some(ImportConflict::Commanded),
            Some(WITH_REQUEST_ID) => Some(self.request_id.as_str()),
            Some(_) => None,
        };
        if self.amount != amount(order) {
            Some(ImportConflict::Amount)
        } else if self.claimed_at != order.paid_at {
            Some(ImportConflict::PaidAt)
        } else if request_id != order.request_id.as_ref().map(RequestId::as_str) {
            Some(ImportConflict::RequestId)
        } else {
            None
        }
    }
}

async fn stored(connection: &mut PgConnection, orders: &[PaidOrder]) -> TxResult<Vec<StoredOrder>> {
    let rows = sqlx::query_as(
        "SELECT w.place, c.imported, o.amount, c.claimed_at, c.request_id
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (merchant, invoice_number, place)
         JOIN orders o USING (merchant, invoice_number) JOIN commands c ON c.key = o.payment",
    )
    .bind(orders.iter().map(|order| order.merchant.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.invoice_number.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// A row of `commands` keeps what DOKU is asked about an order with: its account. Its body is empty, as after `prune`.
const INSERT: &str = "
    WITH asked AS MATERIALIZED (
        SELECT a.*, (SELECT jenius_now()) AS now
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[])
             AS a (merchant, invoice_number, amount, paid_at, request_id, imported, client_id, base_url)),
    command AS (
        INSERT INTO commands (source, id, kind, merchant, digest, invoice_number, received_at, request_id, client_id,
                              base_url, request_body, claimed_at, sends_end_at, imported, outcome, settled_at)
        SELECT $9, merchant || '/' || invoice_number, 'payment', merchant,
               sha256(convert_to(merchant || '/' || invoice_number, 'UTF8')), invoice_number, now, request_id, client_id,
               base_url, '', paid_at, paid_at, imported, 'accepted', paid_at
        FROM asked
        RETURNING key, merchant, invoice_number),
    opened AS (
        INSERT INTO orders (merchant, invoice_number, amount, state, state_since, announced_paid, evidence, payment,
                            created_at)
        SELECT merchant, invoice_number, amount, $10, paid_at, true, $11, key, now
        FROM asked JOIN command USING (merchant, invoice_number))
    INSERT INTO operator_actions (action, subject, merchant, reason, done_by, detail)
    SELECT $12, invoice_number, merchant, $13, $14, $15 FROM asked";

async fn insert(connection: &mut PgConnection, import: &OrderImport, orders: &[&PaidOrder]) -> TxResult<()> {
    let accounts = orders.iter().map(|order| {
        let found = import.accounts.iter().find(|account| account.merchant == order.merchant);
        found.ok_or_else(|| StoreError::Refused(format!("merchant {} has no account", order.merchant)))
    });
    let accounts = accounts.collect::<Result<Vec<_>, _>>()?;
    let request_id = |order: &&PaidOrder| {
        order.request_id.clone().unwrap_or_else(|| payment_request_id(&order.invoice_number)).to_string()
    };
    let kind = |order: &&PaidOrder| {
        if order.request_id.is_some() { WITH_REQUEST_ID } else { WITHOUT_REQUEST_ID }
    };
    sqlx::query(INSERT)
        .bind(orders.iter().map(|order| order.merchant.as_str()).collect::<Vec<_>>())
        .bind(orders.iter().map(|order| order.invoice_number.as_str()).collect::<Vec<_>>())
        .bind(orders.iter().map(|order| amount(order)).collect::<Vec<_>>())
        .bind(orders.iter().map(|order| order.paid_at).collect::<Vec<_>>())
        .bind(orders.iter().map(request_id).collect::<Vec<_>>())
        .bind(orders.iter().map(kind).collect::<Vec<_>>())
        .bind(accounts.iter().map(|account| account.client_id.as_str()).collect::<Vec<_>>())
        .bind(accounts.iter().map(|account| account.base_url.as_str()).collect::<Vec<_>>())
        .bind(SOURCE)
        .bind(OrderState::Paid.name())
        .bind(EvidenceSource::Operator.name())
        .bind(ActionKind::ImportOrder.name())
        .bind(&import.reason)
        .bind(&import.done_by)
        .bind(format!("from {}", import.file))
        .execute(connection)
        .await?;
    Ok(())
}

/// No amount is larger than a bigint.
fn amount(order: &PaidOrder) -> i64 {
    i64::try_from(order.amount.get()).unwrap_or(i64::MAX)
}

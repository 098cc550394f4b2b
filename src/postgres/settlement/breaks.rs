//! Breaks as they are stored: read with how they stand, and written with their history.

use super::By;
use crate::{
    domain::{
        ids::MerchantName,
        settlement::breaks::{Break, Cause, Change, Standing, StoredBreak, changes},
    },
    flow::ports::StoreError,
    postgres::error::{TxResult, unknown_value},
};
use sqlx::{FromRow, PgConnection};

#[derive(FromRow)]
pub(super) struct BreakRow {
    cause: String,
    subject: String,
    invoice_number: Option<String>,
    batch: Option<String>,
    at_stake: i64,
    found: String,
    closed_by: Option<String>,
}

impl BreakRow {
    pub fn stored(self) -> Result<StoredBreak, StoreError> {
        let cause = Cause::from_name(&self.cause).ok_or_else(|| unknown_value("cause"))?;
        let standing = match self.closed_by.as_deref() {
            None => Standing::Open,
            Some("person") => Standing::ClosedByPerson,
            Some(_) => Standing::ClosedByItself,
        };
        let Self { subject, invoice_number, batch, at_stake, found: values, .. } = self;
        Ok(StoredBreak { found: Break { cause, subject, invoice_number, batch, at_stake, values }, standing })
    }
}

/// All breaks that the judge may have found of these invoices.
pub(super) async fn of_invoices(
    c: &mut PgConnection,
    merchant: &MerchantName,
    invoices: &[String],
) -> TxResult<Vec<StoredBreak>> {
    let rows: Vec<BreakRow> = sqlx::query_as(
        "SELECT cause, subject, invoice_number, batch, at_stake, found, closed_by FROM settlement_breaks
         WHERE merchant = $1 AND invoice_number = ANY ($2)",
    )
    .bind(merchant.as_str())
    .bind(invoices)
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(BreakRow::stored).collect::<Result<_, _>>()?)
}

/// Opens what is not known yet, and what closed by itself; whatever a person closed stays so until its values change.
pub(super) async fn open_missing(
    c: &mut PgConnection,
    merchant: &MerchantName,
    found: &[Break],
) -> TxResult<()> {
    for found in found {
        let stored = of_subject(c, merchant, found.cause, Some(&found.subject)).await?;
        write(c, merchant, &changes(&stored, std::slice::from_ref(found)), By::File).await?;
    }
    Ok(())
}

/// One subject is odd, or is not. `None`: so is the only one of this cause.
pub(super) async fn settle(
    c: &mut PgConnection,
    merchant: &MerchantName,
    cause: Cause,
    subject: Option<&str>,
    found: Option<Break>,
    by: By,
) -> TxResult<()> {
    let stored = of_subject(c, merchant, cause, subject).await?;
    write(c, merchant, &changes(&stored, found.as_slice()), by).await
}

async fn of_subject(
    c: &mut PgConnection,
    merchant: &MerchantName,
    cause: Cause,
    subject: Option<&str>,
) -> TxResult<Vec<StoredBreak>> {
    let rows: Vec<BreakRow> = sqlx::query_as(
        "SELECT cause, subject, invoice_number, batch, at_stake, found, closed_by FROM settlement_breaks
         WHERE merchant = $1 AND cause = $2 AND ($3::text IS NULL OR subject = $3)",
    )
    .bind(merchant.as_str())
    .bind(cause.name())
    .bind(subject)
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(BreakRow::stored).collect::<Result<_, _>>()?)
}

/// Writes changes, each with an entry of its history.
pub(super) async fn write(
    c: &mut PgConnection,
    merchant: &MerchantName,
    changes: &[Change],
    by: By,
) -> TxResult<()> {
    for change in changes {
        let (found, what, closed_by) = match change {
            Change::Open(found) => (found, "opened", None),
            Change::Update(found) => (found, "changed", None),
            Change::Reopen(found) => (found, "reopened", None),
            Change::Close(found) => (found, "closed", Some(by.name())),
        };
        sqlx::query(
            "WITH written AS (
                 INSERT INTO settlement_breaks (merchant, cause, subject, invoice_number, batch, at_stake, found)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (merchant, cause, subject) DO UPDATE
                 SET at_stake = excluded.at_stake, found = excluded.found, batch = excluded.batch, closed_by = $8,
                     first_seen_at = CASE WHEN $9 = 'reopened' THEN jenius_now() ELSE settlement_breaks.first_seen_at END,
                     closed_at = CASE WHEN $8::text IS NOT NULL THEN jenius_now() END
                 RETURNING key)
             INSERT INTO settlement_break_history (break, what, at_stake, found)
             SELECT key, $9, $6, $7 FROM written",
        )
        .bind(merchant.as_str())
        .bind(found.cause.name())
        .bind(&found.subject)
        .bind(&found.invoice_number)
        .bind(&found.batch)
        .bind(found.at_stake)
        .bind(&found.values)
        .bind(closed_by)
        .bind(what)
        .execute(&mut *c)
        .await?;
    }
    Ok(())
}

//! Writes the rows of a group, each with its number among equal ones of its file.

use super::files::FileKey;
use crate::{
    domain::{
        ids::MerchantName,
        settlement::row::{RowId, SettlementRow},
    },
    postgres::error::{TxError, TxResult},
};
use sqlx::{Connection, PgConnection};
use std::collections::{HashMap, HashSet};

type Numbered<'r> = (RowId, i32, &'r SettlementRow);

macro_rules! insert_rows {
    () => {
        "INSERT INTO settlement_rows (merchant, files, id, number, batch, invoice_number, kind, type_word, sub_account,
                                      gross, fee, discount, net, transaction_on, paid_out_on)
         SELECT $1, ARRAY[$2::bigint], r.* FROM unnest($3::uuid[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[],
             $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::date[], $15::date[]) AS r"
    };
}

/// Says which were kept: not those that this file has already.
const MERGE: &str = concat!(
    insert_rows!(),
    " ON CONFLICT (invoice_number, id, number) DO UPDATE SET files = settlement_rows.files || $2::bigint
     WHERE NOT settlement_rows.files @> ARRAY[$2::bigint]
     RETURNING id, number"
);

/// Keeps rows. That an equal one is kept already is rare, unless its batch `came_before`: one of the same batch in another
/// file, or of an earlier group of this one.
pub(super) async fn keep(
    c: &mut PgConnection,
    merchant: &MerchantName,
    file: FileKey,
    rows: &[SettlementRow],
    came_before: bool,
) -> TxResult<()> {
    let mut counts: HashMap<RowId, i32> = HashMap::new();
    let numbered: Vec<Numbered<'_>> =
        rows.iter().map(|row| next(&mut counts, row.id(merchant), row)).collect();
    if numbered.is_empty() || (!came_before && add(c, merchant, file, &numbered).await?) {
        return Ok(());
    }
    merge(c, merchant, file, numbered).await
}

fn next<'r>(counts: &mut HashMap<RowId, i32>, id: RowId, row: &'r SettlementRow) -> Numbered<'r> {
    let count = counts.entry(id).or_default();
    *count += 1;
    (id, *count, row)
}

/// Writes all of them, or none: `false` where one is kept already. It costs less than an insertion that looks for equal ones.
/// (COPY costs the least, but its data and its end are two writes: on a socket that waits to fill its packets the second one
/// is late by 40 ms.)
async fn add(
    c: &mut PgConnection,
    merchant: &MerchantName,
    file: FileKey,
    rows: &[Numbered<'_>],
) -> TxResult<bool> {
    let mut attempt = c.begin().await?;
    match insert(&mut attempt, insert_rows!(), merchant, file, rows).await {
        Ok(_) => {
            attempt.commit().await?;
            Ok(true)
        }
        Err(error) if error.as_database_error().is_some_and(|refusal| refusal.is_unique_violation()) => {
            attempt.rollback().await?;
            Ok(false)
        }
        Err(error) => Err(TxError::from(error)),
    }
}

/// Adds the file to rows that are kept, and inserts the others. What is left out then stands in an earlier group of this file,
/// and gets the next number.
async fn merge(
    c: &mut PgConnection,
    merchant: &MerchantName,
    file: FileKey,
    mut numbered: Vec<Numbered<'_>>,
) -> TxResult<()> {
    loop {
        let kept: HashSet<_> = insert(c, MERGE, merchant, file, &numbered).await?.into_iter().collect();
        numbered.retain(|(id, number, _)| !kept.contains(&(*id, *number)));
        if numbered.is_empty() {
            return Ok(());
        }
        let highest: Vec<(RowId, i32)> = sqlx::query_as(
            "SELECT id, max(number) FROM settlement_rows
             WHERE invoice_number = ANY ($1) AND id = ANY ($2) AND files @> ARRAY[$3::bigint] GROUP BY id",
        )
        .bind(numbered.iter().map(|(_, _, row)| row.invoice_number.as_str()).collect::<Vec<_>>())
        .bind(numbered.iter().map(|(id, _, _)| *id).collect::<Vec<_>>())
        .bind(file)
        .fetch_all(&mut *c)
        .await?;
        let mut counts: HashMap<RowId, i32> = highest.into_iter().collect();
        numbered = numbered.into_iter().map(|(id, _, row)| next(&mut counts, id, row)).collect();
    }
}

async fn insert(
    c: &mut PgConnection,
    sql: &'static str,
    merchant: &MerchantName,
    file: FileKey,
    rows: &[Numbered<'_>],
) -> sqlx::Result<Vec<(RowId, i32)>> {
    let text = |of: fn(&SettlementRow) -> &str| rows.iter().map(|(_, _, row)| of(row)).collect::<Vec<_>>();
    let amount = |of: fn(&SettlementRow) -> i64| rows.iter().map(|(_, _, row)| of(row)).collect::<Vec<_>>();
    sqlx::query_as(sql)
        .bind(merchant.as_str())
        .bind(file)
        .bind(rows.iter().map(|(id, _, _)| *id).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, number, _)| *number).collect::<Vec<_>>())
        .bind(text(|row| &row.batch))
        .bind(text(|row| &row.invoice_number))
        .bind(text(|row| row.kind.name()))
        .bind(text(|row| &row.type_word))
        .bind(text(|row| &row.sub_account))
        .bind(amount(|row| row.gross))
        .bind(amount(|row| row.fee))
        .bind(amount(|row| row.discount))
        .bind(amount(|row| row.net))
        .bind(rows.iter().map(|(_, _, row)| row.transaction_on).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, row)| row.paid_out_on).collect::<Vec<_>>())
        .fetch_all(c)
        .await
}

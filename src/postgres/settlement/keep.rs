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
use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

type Numbered<'r> = (RowId, i32, &'r SettlementRow);

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
    if numbered.is_empty() || (!came_before && copy(c, merchant, file, &numbered).await?) {
        return Ok(());
    }
    merge(c, merchant, file, numbered).await
}

fn next<'r>(counts: &mut HashMap<RowId, i32>, id: RowId, row: &'r SettlementRow) -> Numbered<'r> {
    let count = counts.entry(id).or_default();
    *count += 1;
    (id, *count, row)
}

/// Writes all of them, or none: `false` where one is kept already. COPY costs half of an insertion. Its data and its end are
/// two writes, and on a socket that waits to fill its packets the second is late by 40 ms: a group is to last as long anyway.
async fn copy(
    c: &mut PgConnection,
    merchant: &MerchantName,
    file: FileKey,
    rows: &[Numbered<'_>],
) -> TxResult<bool> {
    let text = copied(merchant, file, rows);
    let mut attempt = c.begin().await?;
    let mut copy = attempt
        .copy_in_raw(
            "COPY settlement_rows (merchant, files, id, number, batch, invoice_number, kind, type_word, sub_account, gross, fee,
                                   discount, net, transaction_on, paid_out_on) FROM STDIN",
        )
        .await?;
    copy.send(text.as_bytes()).await?;
    match copy.finish().await {
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

/// Rows in COPY's text form.
fn copied(merchant: &MerchantName, file: FileKey, rows: &[Numbered<'_>]) -> String {
    let mut text = String::with_capacity(rows.len() * 256);
    for (id, number, row) in rows {
        // A string takes whatever is written to it.
        let _ = write!(text, "{merchant}\t{{{file}}}\t{id}\t{number}\t");
        for value in [&row.batch, &row.invoice_number, row.kind.name(), &row.type_word, &row.sub_account] {
            escape(&mut text, value);
            text.push('\t');
        }
        let SettlementRow { gross, fee, discount, net, transaction_on, paid_out_on, .. } = row;
        let _ = writeln!(text, "{gross}\t{fee}\t{discount}\t{net}\t{transaction_on}\t{paid_out_on}");
    }
    text
}

/// A backslash begins what stands for other characters, and these end a value or a row.
fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            other => text.push(other),
        }
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
        let kept = insert(c, merchant, file, &numbered).await?;
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

/// Says which were kept: not those that this file has already.
async fn insert(
    c: &mut PgConnection,
    merchant: &MerchantName,
    file: FileKey,
    rows: &[Numbered<'_>],
) -> TxResult<HashSet<(RowId, i32)>> {
    let text = |of: fn(&SettlementRow) -> &str| rows.iter().map(|(_, _, row)| of(row)).collect::<Vec<_>>();
    let amount = |of: fn(&SettlementRow) -> i64| rows.iter().map(|(_, _, row)| of(row)).collect::<Vec<_>>();
    let kept: Vec<(RowId, i32)> = sqlx::query_as(
        "INSERT INTO settlement_rows (merchant, files, id, number, batch, invoice_number, kind, type_word, sub_account,
                                      gross, fee, discount, net, transaction_on, paid_out_on)
         SELECT $1, ARRAY[$2::bigint], r.* FROM unnest($3::uuid[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[],
             $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::date[], $15::date[]) AS r
         ON CONFLICT (invoice_number, id, number) DO UPDATE SET files = settlement_rows.files || $2::bigint
         WHERE NOT settlement_rows.files @> ARRAY[$2::bigint]
         RETURNING id, number",
    )
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
    .await?;
    Ok(kept.into_iter().collect())
}

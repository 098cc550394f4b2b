//! What is known of a merchant's account from all files that count.

use super::SettlementStore;
use crate::{
    domain::{
        Time,
        ids::MerchantName,
        settlement::{
            breaks::{Break, Cause},
            calendar::{Calendar, Rhythm},
            case::AccountFacts,
        },
    },
    flow::ports::StoreError,
    postgres::{error::TxResult, tx::answered},
};
use chrono::{FixedOffset, NaiveDate};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

/// A merchant with files, and the profile of the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportingAccount {
    pub merchant: MerchantName,
    pub profile: String,
    /// Orders are to be searched that a batch came without.
    pub search_due: bool,
}

impl SettlementStore {
    /// Every merchant of whom a file counts.
    pub async fn accounts(&self) -> Result<Vec<ImportingAccount>, StoreError> {
        let rows: Vec<(String, String, bool)> = answered!(self.context.pool, |c| {
            sqlx::query_as(
            "SELECT merchant, profile, search_asked_at IS NOT NULL FROM settlement_accounts ORDER BY merchant"
        )
        .fetch_all(c)
        })?;
        let read = |(merchant, profile, search_due): (String, String, bool)| {
            Ok(ImportingAccount {
                merchant: crate::postgres::rows::merchant(&merchant)?,
                profile,
                search_due,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// A batch that is late by its rhythm is one break, until the next one comes, of whatever channels its rows are.
    pub async fn judge_rhythm(
        &self,
        merchant: &MerchantName,
        rhythm: Rhythm,
        calendar: Calendar,
        zone: FixedOffset,
    ) -> Result<(), StoreError> {
        let merchant = merchant.clone();
        let judged = self.context.transaction(move |c| {
            Box::pin(async move {
                let (latest, now): (Option<NaiveDate>, Time) = sqlx::query_as(
                    "SELECT latest_batch_on, jenius_now() FROM settlement_accounts WHERE merchant = $1",
                )
                .bind(merchant.as_str())
                .fetch_one(&mut *c)
                .await?;
                let today = now.with_timezone(&zone).date_naive();
                let by = latest.and_then(|latest| calendar.next_batch_by(rhythm, latest));
                let found = by.filter(|by| today > *by).map(|by| Break {
                    cause: Cause::BatchMissing,
                    subject: rhythm.name().to_owned(),
                    invoice_number: None,
                    batch: None,
                    at_stake: 0,
                    values: format!("a batch was to come by {by}"),
                });
                // By another rhythm none is missed any more.
                super::breaks::settle(c, &merchant, Cause::BatchMissing, None, found, super::By::File).await
            })
        });
        Ok(judged.await?)
    }
}

/// The facts, with the forms of these batches alone.
pub(super) async fn facts(
    c: &mut PgConnection,
    merchant: &MerchantName,
    batches: &[String],
) -> TxResult<AccountFacts> {
    let account: Option<(Option<NaiveDate>, Option<NaiveDate>, bool)> = sqlx::query_as(
        "SELECT first_transaction_on, latest_paid_out_on, EXISTS (
             SELECT FROM settlement_breaks b
             WHERE b.merchant = a.merchant AND b.cause = 'unknown_channel' AND b.closed_at IS NULL)
         FROM settlement_accounts a WHERE merchant = $1",
    )
    .bind(merchant.as_str())
    .fetch_optional(&mut *c)
    .await?;
    let (first_transaction_on, latest_paid_out_on, has_unknown_channel) = account.unwrap_or_default();
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT o.batch, o.file FROM settlement_forms o JOIN settlement_files f ON f.key = o.file
         WHERE o.merchant = $1 AND o.batch = ANY ($2) AND f.state IN ('matching', 'done')",
    )
    .bind(merchant.as_str())
    .bind(batches)
    .fetch_all(c)
    .await?;
    let mut forms: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for (batch, file) in rows {
        forms.entry(batch).or_default().insert(file);
    }
    Ok(AccountFacts { first_transaction_on, latest_paid_out_on, has_unknown_channel, forms })
}

/// Files whose rows do not count yet: an import that was broken off, or is held.
pub(super) async fn not_counting(c: &mut PgConnection, merchant: &MerchantName) -> TxResult<BTreeSet<i64>> {
    let files: Vec<i64> = sqlx::query_scalar(
        "SELECT key FROM settlement_files WHERE merchant = $1 AND state NOT IN ('matching', 'done')",
    )
    .bind(merchant.as_str())
    .fetch_all(c)
    .await?;
    Ok(files.into_iter().collect())
}

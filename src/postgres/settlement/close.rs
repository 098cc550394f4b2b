//! A person closes a break, with a reason that is kept.

use super::SettlementStore;
use crate::{
    domain::{
        action::{Action, ActionKind},
        ids::MerchantName,
        settlement::breaks::Cause,
    },
    flow::{
        ports::{Mark, StoreError},
        view::settlement,
    },
    postgres::{error::TxResult, operators::actions, rows},
};
use sqlx::PgConnection;

/// What came of asking to close one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    Closed {
        cause: String,
        subject: String,
    },
    AlreadyClosed,
    /// It is not what was looked at: its values changed, or the number is another break's.
    Another,
    Unknown,
}

impl SettlementStore {
    /// Closes a break until its values change. `name`: as `BreakView::name` gave it, where it was looked at.
    ///
    /// # Errors
    /// The database is away, or refuses.
    pub async fn close(
        &self,
        key: i64,
        name: Option<String>,
        reason: String,
        done_by: String,
        mark: Option<Mark>,
    ) -> Result<Closing, StoreError> {
        let closing = self.context.transaction(move |c| {
            Box::pin(async move { close(c, key, name.as_deref(), &reason, &done_by, mark.as_ref()).await })
        });
        Ok(closing.await?)
    }
}

async fn close(
    c: &mut PgConnection,
    key: i64,
    name: Option<&str>,
    reason: &str,
    done_by: &str,
    mark: Option<&Mark>,
) -> TxResult<Closing> {
    let broken: Option<(String, String, String, Option<String>, i64, String, bool)> = sqlx::query_as(
        "SELECT merchant, cause, subject, invoice_number, at_stake, found, closed_at IS NOT NULL FROM settlement_breaks
         WHERE key = $1 FOR UPDATE",
    )
    .bind(key)
    .fetch_optional(&mut *c)
    .await?;
    let Some((merchant, cause, subject, invoice, at_stake, found, is_closed)) = broken else {
        return Ok(Closing::Unknown);
    };
    let is_now = || settlement::name(&merchant, &cause, &subject, &at_stake.to_string(), &found);
    if name.is_some_and(|name| name != is_now()) {
        return Ok(Closing::Another);
    }
    if is_closed {
        return Ok(Closing::AlreadyClosed);
    }
    sqlx::query(
        "WITH closed AS (
             UPDATE settlement_breaks SET closed_at = jenius_now(), closed_by = 'person' WHERE key = $1
             RETURNING key, at_stake, found)
         INSERT INTO settlement_break_history (break, what, at_stake, found, done_by, reason)
         SELECT key, 'closed', at_stake, found, $2, $3 FROM closed",
    )
    .bind(key)
    .bind(done_by)
    .bind(reason)
    .execute(&mut *c)
    .await?;
    // What could be missing behind it is searched again.
    if cause == Cause::UnknownChannel.name() {
        sqlx::query("UPDATE settlement_accounts SET search_asked_at = jenius_now() WHERE merchant = $1")
            .bind(&merchant)
            .execute(&mut *c)
            .await?;
    }
    let merchant: MerchantName = rows::merchant(&merchant)?;
    let action = Action {
        kind: ActionKind::CloseBreak,
        subject: invoice.unwrap_or_else(|| subject.clone()),
        merchant: Some(merchant.to_string()),
        reason: Some(reason.to_owned()),
        done_by: Some(done_by.to_owned()),
        detail: Some(format!("break {key}: {cause}")),
    };
    actions::write_marked(c, &action, mark).await?;
    Ok(Closing::Closed { cause, subject })
}

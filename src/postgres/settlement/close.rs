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
        view::settlement::BreakView,
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
    let broken: Option<BreakView> = sqlx::query_as(
        "SELECT key, merchant, cause, subject, invoice_number, batch, at_stake, found, first_seen_at, closed_at, closed_by
         FROM settlement_breaks WHERE key = $1 FOR UPDATE",
    )
    .bind(key)
    .fetch_optional(&mut *c)
    .await?;
    let Some(broken) = broken else { return Ok(Closing::Unknown) };
    if name.is_some_and(|name| name != broken.name()) {
        return Ok(Closing::Another);
    }
    if broken.closed_at.is_some() {
        return Ok(Closing::AlreadyClosed);
    }
    let BreakView { merchant, cause, subject, invoice_number, .. } = broken;
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
        subject: invoice_number.unwrap_or_else(|| subject.clone()),
        merchant: Some(merchant.to_string()),
        reason: Some(reason.to_owned()),
        done_by: Some(done_by.to_owned()),
        detail: Some(format!("break {key}: {cause}")),
    };
    actions::write_marked(c, &action, mark).await?;
    Ok(Closing::Closed { cause, subject })
}

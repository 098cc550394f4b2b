//! What operators did, kept with who and why. Written in the transaction of what was done where that is
//! one, else before it is done: an action nobody knows of must not exist.

use super::{error::Done, rows::storable, tx::answered};
use crate::{domain::action::Action, flow::ports::StoreError};
use sqlx::{PgConnection, PgPool, Postgres, postgres::PgArguments, query::Query};

/// As long as the table's columns take.
const SUBJECT_CHARS_MAX: usize = 255;
const MERCHANT_CHARS_MAX: usize = 255;
const REASON_CHARS_MAX: usize = 500;
const NAME_CHARS_MAX: usize = 64;
const DETAIL_CHARS_MAX: usize = 1000;

/// Keeps an action by itself.
pub async fn record_action(pool: &PgPool, action: &Action) -> Result<(), StoreError> {
    answered!(pool, |c| insert(action).execute(c))?;
    Ok(())
}

/// Keeps an action in the transaction of what was done.
pub(super) async fn write(connection: &mut PgConnection, action: &Action) -> Done<()> {
    insert(action).execute(connection).await?;
    Ok(())
}

fn insert(action: &Action) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(
        "INSERT INTO operator_actions (action, subject, merchant, reason, done_by, detail)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(action.kind.name())
    .bind(storable(&action.subject, SUBJECT_CHARS_MAX))
    .bind(bounded(action.merchant.as_deref(), MERCHANT_CHARS_MAX))
    .bind(bounded(action.reason.as_deref(), REASON_CHARS_MAX))
    .bind(bounded(action.done_by.as_deref(), NAME_CHARS_MAX))
    .bind(bounded(action.detail.as_deref(), DETAIL_CHARS_MAX))
}

/// An empty text says nothing: it is none.
fn bounded(text: Option<&str>, chars_max: usize) -> Option<String> {
    text.map(|text| storable(text, chars_max)).filter(|text| !text.is_empty())
}

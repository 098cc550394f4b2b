//! Attempts that were made, as the person on call will read them.

use super::{error::TxResult, rows::storable, write_statement::Statement};
use crate::domain::{
    Time,
    attempt::{ABOUT_ANOTHER, AttemptMade, AttemptResult},
    finding::AttemptKind,
};
use sqlx::PgConnection;
use uuid::Uuid;

/// DOKU's words and reasons are short; longer ones are cut.
const RESULT_CHARS_MAX: usize = 64;
const DETAIL_CHARS_MAX: usize = 500;

/// Whether the attempt of this claim has its record: asked for twice, it is written once.
pub(super) async fn is_recorded(
    connection: &mut PgConnection,
    command_key: i64,
    token: Uuid,
) -> TxResult<bool> {
    let recorded =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM attempts WHERE command_key = $1 AND token = $2)")
            .bind(command_key)
            .bind(token)
            .fetch_one(connection)
            .await?;
    Ok(recorded)
}

/// Whether an attempt says something else about its order than the inquiry before it. One that failed says nothing.
pub(super) async fn is_news(
    connection: &mut PgConnection,
    command_key: i64,
    made: &AttemptMade,
) -> TxResult<bool> {
    if made.kind == AttemptKind::Send {
        return Ok(true);
    }
    let detail = detail_of(made);
    let is_about_another = detail.as_deref().is_some_and(|detail| detail.starts_with(ABOUT_ANOTHER));
    if made.result == AttemptResult::InquiryFailed && !is_about_another {
        return Ok(false);
    }
    let before: Option<(String, Option<String>)> = sqlx::query_as(
        "SELECT result, detail FROM attempts
         WHERE command_key = $1 AND kind = 'inquiry' AND result <> 'lost'
           AND (result <> 'inquiry_failed' OR starts_with(detail, $2))
         ORDER BY number DESC LIMIT 1",
    )
    .bind(command_key)
    .bind(ABOUT_ANOTHER)
    .fetch_optional(connection)
    .await?;
    Ok(before != Some((result_of(made), detail)))
}

fn result_of(made: &AttemptMade) -> String {
    storable(made.result.name(), RESULT_CHARS_MAX)
}

fn detail_of(made: &AttemptMade) -> Option<String> {
    made.detail.as_deref().map(|text| storable(text, DETAIL_CHARS_MAX))
}

/// A command's next attempt. `token`: its claim's; `None` for one that was lost.
#[derive(Clone, Copy)]
pub(super) struct NewAttempt<'a> {
    pub command_key: i64,
    pub made: &'a AttemptMade,
    pub started_at: Time,
    pub finished_at: Time,
    pub token: Option<Uuid>,
}

/// The columns of `write_statement::WRITE` for attempts, one a command at most. The orders' row locks keep the numbers
/// contiguous.
pub(super) fn bind<'q>(statement: Statement<'q>, all: &[NewAttempt<'_>]) -> Statement<'q> {
    let status = |new: &NewAttempt<'_>| new.made.http_status.and_then(|status| i16::try_from(status).ok());
    statement
        .bind(all.iter().map(|new| new.command_key).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.made.kind.name()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.started_at).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.finished_at).collect::<Vec<_>>())
        .bind(all.iter().map(status).collect::<Vec<_>>())
        .bind(all.iter().map(|new| result_of(new.made)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| detail_of(new.made)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.token).collect::<Vec<_>>())
}

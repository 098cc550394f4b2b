//! Attempts that were made, as the person on call will read them.

use super::{error::Done, rows::storable};
use crate::domain::{Time, attempt::AttemptMade};
use sqlx::PgConnection;
use uuid::Uuid;

/// DOKU's words and reasons are short; longer ones are cut.
const RESULT_CHARS_MAX: usize = 64;
const DETAIL_CHARS_MAX: usize = 500;

/// Whether the attempt of this claim has its record: asked for twice, it is written once.
pub(super) async fn is_recorded(connection: &mut PgConnection, command_key: i64, token: Uuid) -> Done<bool> {
    let recorded =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM attempts WHERE command_key = $1 AND token = $2)")
            .bind(command_key)
            .bind(token)
            .fetch_one(connection)
            .await?;
    Ok(recorded)
}

/// A command's next attempt. `token`: its claim's; `None` for one that was lost.
pub(super) struct NewAttempt<'a> {
    pub command_key: i64,
    pub made: &'a AttemptMade,
    pub started_at: Time,
    pub finished_at: Time,
    pub token: Option<Uuid>,
}

/// Adds attempts, one a command. The orders' row locks keep the numbers contiguous.
pub(super) async fn insert_all(connection: &mut PgConnection, all: &[NewAttempt<'_>]) -> Done<()> {
    if all.is_empty() {
        return Ok(());
    }
    let status = |new: &NewAttempt<'_>| new.made.http_status.and_then(|status| i16::try_from(status).ok());
    let detail =
        |new: &NewAttempt<'_>| new.made.detail.as_deref().map(|text| storable(text, DETAIL_CHARS_MAX));
    sqlx::query(
        "INSERT INTO attempts
             (command_key, number, kind, started_at, finished_at, http_status, result, detail, token)
         SELECT n.command_key,
                (SELECT coalesce(max(number), 0) + 1 FROM attempts a WHERE a.command_key = n.command_key),
                n.kind, n.started_at, n.finished_at, n.http_status, n.result, n.detail, n.token
         FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::smallint[],
                     $6::text[], $7::text[], $8::uuid[])
              AS n (command_key, kind, started_at, finished_at, http_status, result, detail, token)",
    )
    .bind(all.iter().map(|new| new.command_key).collect::<Vec<_>>())
    .bind(all.iter().map(|new| new.made.kind.name()).collect::<Vec<_>>())
    .bind(all.iter().map(|new| new.started_at).collect::<Vec<_>>())
    .bind(all.iter().map(|new| new.finished_at).collect::<Vec<_>>())
    .bind(all.iter().map(status).collect::<Vec<_>>())
    .bind(all.iter().map(|new| storable(&new.made.result, RESULT_CHARS_MAX)).collect::<Vec<_>>())
    .bind(all.iter().map(detail).collect::<Vec<_>>())
    .bind(all.iter().map(|new| new.token).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

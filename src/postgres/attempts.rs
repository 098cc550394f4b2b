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

/// Adds a command's next attempt. The order's row lock keeps the numbers contiguous.
/// `token`: its claim's; `None` for one that was lost.
pub(super) async fn insert(
    connection: &mut PgConnection,
    command_key: i64,
    made: &AttemptMade,
    started_at: Time,
    finished_at: Time,
    token: Option<Uuid>,
) -> Done<()> {
    sqlx::query(
        "INSERT INTO attempts
             (command_key, number, kind, started_at, finished_at, http_status, result, detail, token)
         SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7, $8
         FROM attempts WHERE command_key = $1",
    )
    .bind(command_key)
    .bind(made.kind.name())
    .bind(started_at)
    .bind(finished_at)
    .bind(made.http_status.and_then(|status| i16::try_from(status).ok()))
    .bind(storable(&made.result, RESULT_CHARS_MAX))
    .bind(made.detail.as_deref().map(|detail| storable(detail, DETAIL_CHARS_MAX)))
    .bind(token)
    .execute(connection)
    .await?;
    Ok(())
}

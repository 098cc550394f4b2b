//! When something is judged: by the database's clock, and by when the database last went back in time.

use super::error::TxResult;
use crate::domain::Time;
use sqlx::{FromRow, PgConnection};

#[derive(FromRow)]
pub(super) struct Moment {
    pub now: Time,
    /// When the database last went back in time, as an operator reported it.
    pub restored_at: Option<Time>,
}

impl Moment {
    pub async fn read(connection: &mut PgConnection) -> TxResult<Self> {
        let moment = "SELECT jenius_now() AS now, (SELECT at FROM restored WHERE only_row) AS restored_at";
        Ok(sqlx::query_as(moment).fetch_one(connection).await?)
    }
}

//! The stored request of a command, and the claim that is given away with it.

use super::{
    error::TxResult,
    rows::{command_kind, invoice_number, merchant, request_id},
};
use crate::domain::{command::StoredRequest, money::Rupiah};
use sqlx::{FromRow, PgConnection};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

#[derive(FromRow)]
pub(super) struct RequestRow {
    merchant: String,
    kind: String,
    invoice_number: String,
    request_id: String,
    client_id: String,
    base_url: String,
    request_body: Vec<u8>,
    payment_body: Option<Vec<u8>>,
    birth: Uuid,
}

/// Reads a command's request as it was stored with its claim, and the birth of that.
pub(super) async fn read(
    connection: &mut PgConnection,
    command_key: i64,
    amount: Rupiah,
) -> TxResult<(StoredRequest, Uuid)> {
    let read = read_all(connection, &[(command_key, amount)]).await?.pop();
    Ok(read.ok_or(sqlx::Error::RowNotFound)?)
}

/// The same for several commands, each with its order's amount; in the same order.
pub(super) async fn read_all(
    connection: &mut PgConnection,
    commands: &[(i64, Rupiah)],
) -> TxResult<Vec<(StoredRequest, Uuid)>> {
    let keys: Vec<i64> = commands.iter().map(|(key, _)| *key).collect();
    let rows: Vec<RequestRow> = sqlx::query_as(
        "SELECT c.merchant, c.kind, c.invoice_number, c.request_id, c.client_id, c.base_url, c.request_body, c.birth,
                CASE WHEN c.kind = 'refund' THEN
                    (SELECT p.request_body FROM orders o JOIN commands p ON p.key = o.payment
                     WHERE o.merchant = c.merchant AND o.invoice_number = c.invoice_number) END AS payment_body
         FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (key, ordinal) JOIN commands c USING (key)
         ORDER BY ordinal",
    )
    .bind(&keys)
    .fetch_all(connection)
    .await?;
    if rows.len() != keys.len() {
        return Err(sqlx::Error::RowNotFound.into());
    }
    rows.into_iter().zip(commands).map(|(row, (_, amount))| row.read(*amount)).collect()
}

impl RequestRow {
    pub fn read(self, amount: Rupiah) -> TxResult<(StoredRequest, Uuid)> {
        let request = StoredRequest {
            merchant: merchant(&self.merchant)?,
            kind: command_kind(&self.kind)?,
            invoice_number: invoice_number(&self.invoice_number)?,
            amount,
            request_id: request_id(&self.request_id)?,
            client_id: self.client_id,
            base_url: self.base_url,
            body: self.request_body,
            payment_body: self.payment_body.unwrap_or_default(),
        };
        Ok((request, self.birth))
    }
}

/// What the database's clock says will be `left` from now, on this machine's clock. `asked_at` was
/// before the statement: the answer is never later than what the database holds.
pub(super) fn instant(asked_at: Instant, left: chrono::TimeDelta) -> Instant {
    /// Far enough that nothing waits for it, near enough to be an `Instant` anywhere.
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    asked_at + left.to_std().unwrap_or_default().min(FAR)
}

/// A duration as Postgres takes it.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_ends_at_the_time_of_asking() {
        let asked_at = Instant::now();
        assert_eq!(instant(asked_at, chrono::TimeDelta::seconds(-5)), asked_at);
        assert_eq!(instant(asked_at, chrono::TimeDelta::seconds(5)), asked_at + Duration::from_secs(5));
        assert!(instant(asked_at, chrono::TimeDelta::MAX) > asked_at);
    }
}

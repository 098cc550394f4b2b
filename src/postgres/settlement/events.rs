//! The events of rows that fit. They wait in a table of their own, and enter the outbox a few at a time while nothing waits
//! there, not even the few before: a month of rows never stands before a payment's event.

use super::SettlementStore;
use crate::{
    domain::{Time, event::EventType, ids::MerchantName},
    flow::ports::StoreError,
    postgres::{
        error::TxResult,
        event_body::{CURRENCY, CloudEvent, SettledData},
        rows,
    },
};
use chrono::{NaiveDate, SecondsFormat};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// Events that enter the outbox in one transaction.
const ENTER_MAX: i64 = 200;

#[derive(FromRow)]
struct WaitingRow {
    row_key: i64,
    id: Uuid,
    replaces: Option<Uuid>,
    merchant: String,
    batch: String,
    invoice_number: String,
    kind: String,
    gross: i64,
    fee: i64,
    discount: i64,
    net: i64,
    paid_out_on: NaiveDate,
}

impl SettlementStore {
    /// Puts the next events into the outbox, and says how many: 0 where none waits, or something is before them.
    pub async fn publish_matched(&self) -> Result<usize, StoreError> {
        let entered = self.context.transaction(|c| Box::pin(enter(c))).await?;
        if entered > 0 {
            self.context.event_committed();
        }
        Ok(entered)
    }
}

async fn enter(c: &mut PgConnection) -> TxResult<usize> {
    let rows: Vec<WaitingRow> = sqlx::query_as(
        // Rows and what waits grow by thousands before the server counts them: without OFFSET 0 it would read all rows for
        // each of these few.
        "WITH next AS MATERIALIZED (
             SELECT row_key, replaces FROM settlement_waiting
             WHERE NOT EXISTS (SELECT FROM outbox)
             ORDER BY row_key LIMIT $1 FOR UPDATE SKIP LOCKED)
         SELECT n.row_key, r.id, n.replaces, r.merchant, r.batch, r.invoice_number, r.kind, r.gross, r.fee,
                r.discount, r.net, r.paid_out_on
         FROM next n CROSS JOIN LATERAL (SELECT * FROM settlement_rows WHERE key = n.row_key OFFSET 0) AS r",
    )
    .bind(ENTER_MAX)
    .fetch_all(&mut *c)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let now: Time = sqlx::query_scalar("SELECT jenius_now()").fetch_one(&mut *c).await?;
    let bodies = rows.iter().map(|row| row.body(now)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<i64> = rows.iter().map(|row| row.row_key).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    sqlx::query(
        "WITH gone AS (DELETE FROM settlement_waiting WHERE row_key = ANY ($5)),
                  written AS (
                 INSERT INTO events (event_id, type, body, created_at)
                 SELECT event_id, $3, body, $4 FROM unnest($1::uuid[], $2::bytea[]) AS e (event_id, body)
                 ON CONFLICT (event_id) DO NOTHING RETURNING event_id)
             INSERT INTO outbox (event_id) SELECT event_id FROM written",
    )
    .bind(&ids)
    .bind(&bodies)
    .bind(EventType::SettlementMatched.routing_key())
    .bind(now)
    .bind(&keys)
    .execute(c)
    .await?;
    Ok(rows.len())
}

impl WaitingRow {
    fn body(&self, now: Time) -> Result<Vec<u8>, StoreError> {
        let merchant: MerchantName = rows::merchant(&self.merchant)?;
        let data = SettledData {
            merchant: merchant.as_str(),
            invoice_number: &self.invoice_number,
            batch: &self.batch,
            paid_out_on: self.paid_out_on.to_string(),
            kind: &self.kind,
            currency: CURRENCY,
            gross: self.gross.to_string(),
            fee: self.fee.to_string(),
            discount: self.discount.to_string(),
            net: self.net.to_string(),
            replaces: self.replaces.map(|id| id.to_string()),
        };
        let event = CloudEvent {
            specversion: "1.0",
            id: self.id.to_string(),
            source: &format!("/jenius-pay/{merchant}"),
            event_type: &EventType::SettlementMatched.name(),
            subject: Some(&self.invoice_number),
            time: now.to_rfc3339_opts(SecondsFormat::Micros, true),
            sequence: None,
            traceparent: None,
            tracestate: None,
            data,
        };
        serde_json::to_vec(&event)
            .map_err(|error| StoreError::Refused(format!("an event could not be written: {error}")))
    }
}

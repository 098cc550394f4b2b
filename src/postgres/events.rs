//! The bytes of an event: a CloudEvent in structured mode, written once, in the transaction of the change
//! it tells of. Nothing of the request's body is in it: no name, phone, e-mail or cash tag.

use super::{
    error::TxResult,
    event_body::{CURRENCY, CloudEvent, ErrorData, OrderData, RejectedData, ViolationData},
    rows::{storable, storable_trace},
    write_statement::Statement,
};
use crate::{
    domain::{
        Time,
        command::{Command, TraceContext},
        event::{EventType, OrderEvent},
        record::OrderRecord,
        validate::Violation,
    },
    flow::ports::StoreError,
};
use chrono::SecondsFormat;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::{NoContext, Timestamp, Uuid};

/// At most this many characters of a rejected command's `merchant` are repeated.
const MERCHANT_CHARS_MAX: usize = 255;

/// An event on its way into the outbox.
pub(super) struct NewEvent {
    pub event_id: Uuid,
    pub event_type: EventType,
    /// The order it is about, and its version with this event; `None` for a rejection.
    pub order: Option<(i64, u32)>,
    pub correlation_id: Option<String>,
    pub traceparent: Option<String>,
    pub created_at: Time,
    pub body: Vec<u8>,
}

/// An event of an order. `trace` is that of the command the event speaks of.
pub(super) fn order_event(
    order_key: i64,
    order: &OrderRecord,
    event: &OrderEvent,
    trace: &TraceContext,
    now: Time,
) -> Result<NewEvent, StoreError> {
    let command = event.command.as_ref();
    let command_id = command.map(|c| c.identity.id.as_str());
    let data = OrderData {
        merchant: order.merchant.as_str(),
        invoice_number: order.invoice_number.as_str(),
        amount: order.amount.to_string(),
        currency: CURRENCY,
        state: event.state.name(),
        previous_state: event.previous_state.name(),
        evidence: event.evidence.name(),
        doku_status: event.doku_status.as_deref(),
        command_id,
        command_source: command.map(|c| c.identity.source.as_str()),
        request_id: command.map(|c| c.request_id.as_str()),
        error: event.error.as_ref().map(|error| ErrorData {
            code: &error.code,
            message: &error.message,
            http_status: error.http_status,
        }),
        late: event.late,
    };
    let about = About {
        source: format!("/jenius-pay/{}", order.merchant),
        subject: Some(order.invoice_number.as_str()),
        order: Some((order_key, event.version)),
        correlation_id: command_id,
        trace,
    };
    about.event(event.event_type, now, data)
}

/// The event of a rejected command.
pub(super) fn rejection_event(
    command: &Command,
    violations: &[Violation],
    now: Time,
) -> Result<NewEvent, StoreError> {
    let merchant = storable(&command.merchant, MERCHANT_CHARS_MAX);
    let unknown = violations.iter().any(Violation::leaves_no_merchant);
    let data = RejectedData {
        merchant: &merchant,
        command_id: command.identity.id.as_str(),
        command_source: command.identity.source.as_str(),
        invoice_number: command.invoice_number.as_deref(),
        errors: violations
            .iter()
            .map(|v| ViolationData { code: v.code.name(), field: &v.field, message: &v.message })
            .collect(),
    };
    let about = About {
        source: if unknown { "/jenius-pay".to_owned() } else { format!("/jenius-pay/{merchant}") },
        // CloudEvents: a subject, if there is one, is not empty.
        subject: command.invoice_number.as_deref().filter(|number| !number.is_empty()),
        order: None,
        correlation_id: Some(command.identity.id.as_str()),
        trace: &command.trace,
    };
    about.event(EventType::CommandRejected, now, data)
}

/// What an event's attributes are made of.
struct About<'a> {
    source: String,
    subject: Option<&'a str>,
    order: Option<(i64, u32)>,
    correlation_id: Option<&'a str>,
    trace: &'a TraceContext,
}

impl About<'_> {
    fn event(&self, event_type: EventType, now: Time, data: impl Serialize) -> Result<NewEvent, StoreError> {
        let event_id = new_id(now);
        let traceparent = storable_trace(self.trace.traceparent.as_deref());
        let tracestate = storable_trace(self.trace.tracestate.as_deref());
        let body = serde_json::to_vec(&CloudEvent {
            specversion: "1.0",
            id: event_id.to_string(),
            source: &self.source,
            event_type: &event_type.name(),
            subject: self.subject,
            time: now.to_rfc3339_opts(SecondsFormat::Micros, true),
            sequence: self.order.map(|(_, version)| version.to_string()),
            traceparent: traceparent.as_deref(),
            tracestate: tracestate.as_deref(),
            data,
        })
        .map_err(|error| StoreError::Refused(format!("an event could not be written: {error}")))?;
        Ok(NewEvent {
            event_id,
            event_type,
            order: self.order,
            correlation_id: self.correlation_id.map(str::to_owned),
            traceparent,
            created_at: now,
            body,
        })
    }
}

/// A UUIDv7 of the change's own time.
fn new_id(now: Time) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos()))
}

/// The columns of `write_statement::WRITE` for events.
pub(super) fn bind<'q>(statement: Statement<'q>, events: &'q [NewEvent]) -> Statement<'q> {
    statement
        .bind(events.iter().map(|e| e.event_id).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.order.map(|(key, _)| key)).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.order.and_then(|(_, v)| i32::try_from(v).ok())).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.event_type.routing_key()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.correlation_id.as_deref()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.traceparent.as_deref()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.body.as_slice()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.created_at).collect::<Vec<_>>())
}

/// Publishes an event again: a row of its own, that holds no order back. While its first publication is
/// still to come it keeps its order's turn, or it could be first published before an earlier version.
pub(super) async fn publish_again(connection: &mut PgConnection, event_id: Uuid) -> TxResult<()> {
    sqlx::query(
        "INSERT INTO outbox (event_id, order_key)
         SELECT e.event_id, CASE WHEN p.event_id IS NULL THEN e.order_key END
         FROM events e LEFT JOIN publications p USING (event_id) WHERE e.event_id = $1",
    )
    .bind(event_id)
    .execute(connection)
    .await?;
    Ok(())
}

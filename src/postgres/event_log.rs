//! What a commit did, in the log: a line at INFO for each event of an order and for each rejection. A search for an invoice
//! number finds the order's story. Never: a body, a key, a customer.

use crate::{
    domain::{
        Time,
        command::{Command, Outcome, TraceContext},
        event::EventType,
        ids::{InvoiceNumber, MerchantName},
    },
    metric,
};
use std::time::Duration;

/// Where the trace's id stands in a `traceparent`.
const TRACE_ID: std::ops::Range<usize> = 3..35;

/// An event of an order, as a line of the log.
#[derive(Debug)]
pub(super) struct LoggedEvent {
    pub merchant: MerchantName,
    pub invoice_number: InvoiceNumber,
    pub event: EventType,
    pub state: &'static str,
    pub evidence: &'static str,
    /// The order's amount.
    pub rupiah: u64,
    /// DOKU's code, where it declined.
    pub declined: Option<String>,
    /// Of a command that has its outcome by this event: since its claim.
    pub took: Option<Duration>,
    pub trace_id: Option<String>,
    pub at: Time,
}

impl LoggedEvent {
    /// Counts and logs it.
    pub fn tell(&self) {
        metric::order_event(self.merchant.as_str(), self.event, self.at);
        metric::event_happened(self.event, self.rupiah, self.declined.as_deref());
        self.log();
    }

    fn log(&self) {
        let Self { merchant, invoice_number, state, evidence, .. } = self;
        let (event, outcome) =
            (self.event.routing_key(), self.event.settles().map(|(_, outcome)| outcome.name()));
        let (trace_id, ms) = (self.trace_id.as_deref(), self.took.map(millis));
        tracing::info!(%merchant, invoice = %invoice_number, event, outcome, ms, state, evidence, trace_id, "the order changed");
    }
}

/// A command that broke a rule.
pub(super) fn rejected(command: &Command) {
    let invoice = command.invoice_number.as_deref();
    let (id, source) = (command.identity.id.as_str(), command.identity.source.as_str());
    let (kind, outcome, trace_id) = (command.kind.name(), Outcome::Rejected.name(), trace_id(&command.trace));
    tracing::info!(
        merchant = command.merchant,
        invoice,
        kind,
        outcome,
        id,
        source,
        trace_id,
        "the command is rejected"
    );
}

/// The id of the trace, where there is one: a bad `traceparent` was dropped before.
pub(super) fn trace_id(trace: &TraceContext) -> Option<&str> {
    trace.traceparent.as_deref()?.get(TRACE_ID)
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

//! What the console asks about events.

use super::{Act, StoreError, letters::WorkStart};
use crate::domain::{
    Time,
    event::EventType,
    ids::{InvoiceNumber, MerchantName},
};
use std::{future::Future, time::Duration};
use tokio::sync::broadcast;
use uuid::Uuid;

/// Which events; what is not named is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub event_type: Option<EventType>,
    /// Of one order.
    pub order: Option<(MerchantName, InvoiceNumber)>,
    pub merchant: Option<MerchantName>,
    pub younger_than: Option<Duration>,
    /// Only those with a smaller id: the next page.
    pub before: Option<Uuid>,
    pub limit: u32,
}

/// An event that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventView {
    pub event_id: Uuid,
    pub event_type: String,
    /// As its source names it.
    pub merchant: Option<String>,
    pub invoice_number: Option<String>,
    pub version: Option<i32>,
    pub at: Time,
    /// `None`: the broker has not confirmed it yet.
    pub published_at: Option<Time>,
}

/// A page of events, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    pub events: Vec<EventView>,
    /// Where the search stopped because it had read enough.
    pub stopped: Option<(Uuid, Time)>,
}

/// Events that are to be published again, from `since` on and before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRange {
    pub since: Time,
    pub until: Time,
    pub event_type: Option<EventType>,
}

/// An event as it is published, in JSON for the browser's script.
pub type LiveLine = std::sync::Arc<str>;

/// Why a stream cannot begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveRefusal {
    /// Other streams have every place.
    Full,
    Away(String),
}

pub trait EventOperations {
    fn events(&self, filter: &EventFilter) -> impl Future<Output = Result<EventPage, StoreError>> + Send;

    /// How many published events there are, as far as a person waits for the count; true: there are more.
    fn count_events(&self, range: EventRange)
    -> impl Future<Output = Result<(u64, bool), StoreError>> + Send;

    /// Begins to publish them again, a slice at a time.
    fn publish_range(&self, range: EventRange, act: Act) -> impl Future<Output = WorkStart> + Send;

    /// Events from now on, for a person.
    fn live(&self, viewer: &str) -> impl Future<Output = Result<LiveEvents, LiveRefusal>> + Send;
}

/// A place among those who look at events as they pass. It ends with the process, or when it is dropped.
pub struct LiveEvents {
    pub lines: broadcast::Receiver<LiveLine>,
    pub stop: tokio_util::sync::CancellationToken,
    /// Among all who look, and among the windows of one person.
    pub places: [tokio::sync::OwnedSemaphorePermit; 2],
}

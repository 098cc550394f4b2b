//! One function a metric: whoever records cannot misspell a name or invent a label.

use super::name;
use crate::domain::{
    command::{CommandKind, Outcome},
    event::EventType,
    learned::{AttemptClass, AttemptKind},
    order::OrderState,
};
use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// How a delivery was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    Acked,
    DeadLettered,
    Requeued,
}

impl Finished {
    pub const ALL: [Self; 3] = [Self::Acked, Self::DeadLettered, Self::Requeued];

    pub fn name(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::DeadLettered => "dead_lettered",
            Self::Requeued => "requeued",
        }
    }
}

/// What DOKU is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Payment,
    Refund,
    Check,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Check => "check",
        }
    }
}

impl From<CommandKind> for Operation {
    fn from(kind: CommandKind) -> Self {
        match kind {
            CommandKind::Payment => Self::Payment,
            CommandKind::Refund => Self::Refund,
        }
    }
}

/// What DOKU does that its pages do not say: worth a person's look, harmless as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    UnknownStatus,
    UnsignedCheck,
}

impl Oddity {
    pub const ALL: [Self; 2] = [Self::UnknownStatus, Self::UnsignedCheck];

    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownStatus => "unknown_status",
            Self::UnsignedCheck => "unsigned_check",
        }
    }
}

pub fn doku_oddity(oddity: Oddity) {
    oddities(oddity).increment(1);
}

fn oddities(oddity: Oddity) -> metrics::Counter {
    counter!(name::DOKU_ODDITIES, "kind" => oddity.name())
}

/// What the process depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    Postgres,
    Broker,
}

impl Dependency {
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Broker];

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Broker => "broker",
        }
    }
}

/// What became of a notification. The first four are the ingress's answers; the reconciler's are
/// `NotAuthentic`, `Malformed` and the last four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Accepted,
    Unavailable,
    NotAuthentic,
    Malformed,
    Applied,
    NoChange,
    Parked,
    Mismatch,
}

impl Received {
    pub const BY_INGRESS: [Self; 4] =
        [Self::Accepted, Self::Unavailable, Self::NotAuthentic, Self::Malformed];
    pub const BY_RECONCILER: [Self; 6] =
        [Self::NotAuthentic, Self::Malformed, Self::Applied, Self::NoChange, Self::Parked, Self::Mismatch];

    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unavailable => "unavailable",
            Self::NotAuthentic => "not_authentic",
            Self::Malformed => "malformed",
            Self::Applied => "applied",
            Self::NoChange => "no_change",
            Self::Parked => "parked",
            Self::Mismatch => "mismatch",
        }
    }
}

/// `queue` is the queue's name, prefix included, as the broker's own metrics have it.
pub fn delivery_finished(queue: &str, finished: Finished) {
    deliveries(queue, finished).increment(1);
}

fn deliveries(queue: &str, finished: Finished) -> metrics::Counter {
    counter!(name::DELIVERIES_FINISHED, "queue" => queue.to_owned(), "disposition" => finished.name())
}

/// Its outcome is committed; `took`: from its claim, `None` for a rejection, which has none.
pub fn command_settled(kind: CommandKind, outcome: Outcome, took: Option<Duration>) {
    commands(kind, outcome).increment(1);
    if let Some(took) = took {
        histogram!(name::COMMAND_OUTCOME, "kind" => kind.name()).record(took);
    }
}

fn commands(kind: CommandKind, outcome: Outcome) -> metrics::Counter {
    counter!(name::COMMANDS_SETTLED, "kind" => kind.name(), "outcome" => outcome.name())
}

pub fn attempt_made(kind: AttemptKind, class: AttemptClass) {
    attempts(kind, class).increment(1);
}

fn attempts(kind: AttemptKind, class: AttemptClass) -> metrics::Counter {
    counter!(name::ATTEMPTS_MADE, "kind" => kind.name(), "class" => class.name())
}

pub fn doku_request(operation: Operation, took: Duration) {
    histogram!(name::DOKU_REQUEST, "operation" => operation.name()).record(took);
}

/// The broker has confirmed an event; `age`: since the commit of its change.
pub fn event_published(event_type: EventType, age: Duration) {
    events(event_type).increment(1);
    histogram!(name::EVENT_PUBLISH).record(age);
}

fn events(event_type: EventType) -> metrics::Counter {
    counter!(name::EVENTS_PUBLISHED, "type" => event_type.name())
}

pub fn notification_received_by_ingress(result: Received) {
    notifications("ingress", result).increment(1);
}

pub fn notification_received_by_reconciler(result: Received) {
    notifications("reconciler", result).increment(1);
}

fn notifications(role: &'static str, result: Received) -> metrics::Counter {
    counter!(name::NOTIFICATIONS_RECEIVED, "role" => role, "result" => result.name())
}

/// `oldest`: zero where nothing waits.
pub fn outbox(events: u64, oldest: Duration) {
    gauge!(name::OUTBOX_EVENTS).set(events as f64);
    gauge!(name::OUTBOX_OLDEST).set(oldest);
}

/// To be called with zeroes too, or a gauge keeps what it last said.
pub fn open_orders(merchant: &str, state: OrderState, orders: u64, rupiah: u64, oldest: Duration) {
    let labels = [("merchant", merchant.to_owned()), ("state", state.name().to_owned())];
    gauge!(name::OPEN_ORDERS, &labels).set(orders as f64);
    gauge!(name::OPEN_ORDERS_RUPIAH, &labels).set(rupiah as f64);
    gauge!(name::OPEN_ORDERS_OLDEST, &labels).set(oldest);
}

pub fn parked_notifications(parked: u64) {
    gauge!(name::PARKED_NOTIFICATIONS).set(parked as f64);
}

pub fn claims_lost(lost: u64) {
    counter!(name::CLAIMS_LOST).increment(lost);
}

/// The breaker of DOKU (`doku`), which stops everybody's sends, or of one merchant's key and clock.
pub fn breaker(scope: &str, open: bool) {
    gauge!(name::BREAKER_OPEN, "scope" => scope.to_owned()).set(f64::from(open));
}

pub fn connection_up(dependency: Dependency, up: bool) {
    gauge!(name::CONNECTION_UP, "dependency" => dependency.name()).set(f64::from(up));
}

pub fn reconnected(dependency: Dependency) {
    reconnects(dependency).increment(1);
}

fn reconnects(dependency: Dependency) -> metrics::Counter {
    counter!(name::RECONNECTS, "dependency" => dependency.name())
}

/// Positive where DOKU's clock is ahead of ours.
pub fn clock_drift(seconds: f64) {
    gauge!(name::CLOCK_DRIFT).set(seconds);
}

pub fn stranded_orders(orders: u64) {
    gauge!(name::STRANDED_ORDERS).set(orders as f64);
}

pub fn balance(commands: i64) {
    gauge!(name::BALANCE_COMMANDS).set(commands as f64);
}

/// A rate over a counter that appears with its first event misses that event.
pub(super) fn create_counters() {
    for kind in CommandKind::ALL {
        Outcome::ALL.into_iter().for_each(|outcome| commands(kind, outcome).absolute(0));
    }
    for kind in AttemptKind::ALL {
        AttemptClass::ALL.into_iter().for_each(|class| attempts(kind, class).absolute(0));
    }
    EventType::ALL.into_iter().for_each(|event_type| events(event_type).absolute(0));
    Received::BY_INGRESS.into_iter().for_each(|result| notifications("ingress", result).absolute(0));
    Received::BY_RECONCILER.into_iter().for_each(|result| notifications("reconciler", result).absolute(0));
    Dependency::ALL.into_iter().for_each(|dependency| reconnects(dependency).absolute(0));
    Oddity::ALL.into_iter().for_each(|oddity| oddities(oddity).absolute(0));
    counter!(name::CLAIMS_LOST).absolute(0);
    let revision = option_env!("JENIUS_PAY_REVISION").unwrap_or("unknown");
    gauge!(name::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "revision" => revision).set(1.0);
}

/// The same for labels that configuration bounds. May be called again, for other queues.
pub fn create_counters_of(queues: &[&str]) {
    for queue in queues {
        Finished::ALL.into_iter().for_each(|finished| deliveries(queue, finished).absolute(0));
    }
}

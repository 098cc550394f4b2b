//! One function a metric: a caller cannot misspell a name or invent a label.

use super::{
    label::{
        Blocked, Dependency, DokuOperation, Finished, GaugeGroup, KeyGeneration, NotificationRefusal,
        NotificationRole, Oddity, PanicIn, Received,
    },
    name,
};
use crate::domain::{
    Time,
    command::{CommandKind, Outcome},
    event::EventType,
    finding::{AttemptClass, AttemptKind},
    order::OrderState,
    settlement::breaks::Cause,
    signed::Form,
};
use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// The commit that this program was built from, where its builder names it.
pub const REVISION: &str = match option_env!("JENIUS_PAY_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// The scope that stands for all merchants.
const ALL_MERCHANTS: &str = "doku";
/// No command waits longer for its first delivery, unless its sender's clock is wrong.
const COMMAND_AGE_MAX: Duration = Duration::from_secs(604_800);

/// `queue` is the queue's name, prefix included, as the broker's own metrics have it.
pub fn delivery_finished(queue: &str, finished: Finished) {
    deliveries(queue, finished).increment(1);
}

/// `reason` is the header `x-jenius-reason`.
pub fn delivery_dead_lettered(queue: &str, reason: &'static str) {
    dead_letters(queue, reason).increment(1);
}

fn dead_letters(queue: &str, reason: &'static str) -> metrics::Counter {
    counter!(name::DELIVERIES_DEAD_LETTERED, "queue" => queue.to_owned(), "reason" => reason)
}

fn deliveries(queue: &str, finished: Finished) -> metrics::Counter {
    counter!(name::DELIVERIES_FINISHED, "queue" => queue.to_owned(), "disposition" => finished.name())
}

/// A command that claims to be older was published by a clock that is wrong: it would spoil the sum.
const PUBLISHED_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Its outcome is committed; `took`: from its claim, `None` for a rejection, which has none; `published`: since
/// its sender published it, where that is known.
pub fn command_settled(
    kind: CommandKind,
    outcome: Outcome,
    took: Option<Duration>,
    published: Option<Duration>,
) {
    commands(kind, outcome).increment(1);
    if let Some(took) = took {
        histogram!(name::COMMAND_OUTCOME, "kind" => kind.name()).record(took);
    }
    if let Some(published) = published.filter(|published| *published <= PUBLISHED_MAX) {
        histogram!(name::PUBLICATION_OUTCOME, "kind" => kind.name()).record(published);
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

pub fn doku_request(operation: DokuOperation, took: Duration) {
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

/// A notification verifies; `form` is the one in which DOKU sent it.
pub fn notification_verified(role: NotificationRole, form: Form) {
    verified(role, form).increment(1);
}

fn verified(role: NotificationRole, form: Form) -> metrics::Counter {
    counter!(name::NOTIFICATIONS_VERIFIED, "role" => role.name(), "form" => form.name())
}

pub fn notification_refused_by_ingress(why: NotificationRefusal) {
    refusals("ingress", why).increment(1);
}

pub fn notification_refused_by_reconciler(why: NotificationRefusal) {
    refusals("reconciler", why).increment(1);
}

fn refusals(role: &'static str, why: NotificationRefusal) -> metrics::Counter {
    counter!(name::NOTIFICATIONS_REFUSED, "role" => role, "reason" => why.name())
}

/// Which of a merchant's keys made a signature of DOKU's.
pub fn key_verified(merchant: &str, key: KeyGeneration) {
    keys(merchant, key).increment(1);
}

fn keys(merchant: &str, key: KeyGeneration) -> metrics::Counter {
    counter!(name::KEYS_VERIFIED, "merchant" => merchant.to_owned(), "key" => key.name())
}

/// An order's event is committed, at this time of the database's.
pub fn order_event(merchant: &str, event: EventType, at: Time) {
    order_events(merchant, event).increment(1);
    if event == EventType::OrderPaid {
        gauge!(name::LAST_PAID_AT, "merchant" => merchant.to_owned()).set(at.timestamp() as f64);
    }
}

fn order_events(merchant: &str, event: EventType) -> metrics::Counter {
    counter!(name::ORDER_EVENTS, "merchant" => merchant.to_owned(), "event" => event.routing_key())
}

/// By what this process verifies from now on; processes that differ are seen by it.
pub fn keys_in_use(before: Option<&str>, fingerprint: &str) {
    if let Some(before) = before {
        gauge!(name::KEYS_INFO, "fingerprint" => before.to_owned()).set(0.0);
    }
    gauge!(name::KEYS_INFO, "fingerprint" => fingerprint.to_owned()).set(1.0);
}

/// `oldest`: zero where nothing waits.
pub fn outbox(events: u64, oldest: Duration) {
    gauge!(name::OUTBOX_EVENTS).set(events as f64);
    gauge!(name::OUTBOX_OLDEST).set(oldest);
}

/// To be called with zeroes too, or a gauge keeps its last value.
pub fn open_orders(merchant: &str, state: OrderState, orders: u64, rupiah: u64, oldest: Duration) {
    let labels = [("merchant", merchant.to_owned()), ("state", state.name().to_owned())];
    gauge!(name::OPEN_ORDERS, &labels).set(orders as f64);
    gauge!(name::OPEN_ORDERS_RUPIAH, &labels).set(rupiah as f64);
    gauge!(name::OPEN_ORDERS_OLDEST, &labels).set(oldest);
}

/// To be called with zeroes too. `oldest`: since its claim.
pub fn in_doubt(merchant: &str, kind: CommandKind, commands: u64, oldest: Duration) {
    let labels = [("merchant", merchant.to_owned()), ("kind", kind.name().to_owned())];
    gauge!(name::IN_DOUBT_COMMANDS, &labels).set(commands as f64);
    gauge!(name::IN_DOUBT_OLDEST, &labels).set(oldest);
}

/// What the broker has ready in a queue of ours; what a consumer holds is not counted.
pub fn queue_messages(queue: &str, ready: u32) {
    gauge!(name::QUEUE_MESSAGES, "queue" => queue.to_owned()).set(f64::from(ready));
}

pub fn parked_notifications(parked: u64) {
    gauge!(name::PARKED_NOTIFICATIONS).set(parked as f64);
}

/// To be called with zeroes too.
pub fn due_sends(merchant: &str, blocked: Blocked, sends: u64, oldest: Duration) {
    let labels = [("merchant", merchant.to_owned()), ("blocked", blocked.name().to_owned())];
    gauge!(name::DUE_SENDS, &labels).set(sends as f64);
    gauge!(name::DUE_SENDS_OLDEST, &labels).set(oldest);
}

/// From its `time` to its first delivery. A clock that is wrong by years must not spoil the sum.
pub fn command_age(kind: CommandKind, age: Duration) {
    histogram!(name::COMMAND_AGE, "kind" => kind.name()).record(age.min(COMMAND_AGE_MAX));
}

pub fn claims_lost(lost: u64) {
    counter!(name::CLAIMS_LOST).increment(lost);
}

/// A claim of ours that the database does not know any more.
pub fn claim_forgotten() {
    counter!(name::CLAIMS_FORGOTTEN).increment(1);
}

/// The breaker of DOKU (`doku`), which stops all sends, or of one merchant's key and clock.
pub fn breaker(scope: &str, open: bool, probing: bool) {
    gauge!(name::BREAKER_OPEN, "scope" => scope.to_owned()).set(f64::from(open));
    gauge!(name::BREAKER_PROBING, "scope" => scope.to_owned()).set(f64::from(probing));
}

/// An operator stopped all sends (`doku`), or one merchant's.
pub fn paused(scope: &str, paused: bool) {
    gauge!(name::PAUSED, "scope" => scope.to_owned()).set(f64::from(paused));
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

pub fn doku_oddity(oddity: Oddity) {
    oddities(oddity).increment(1);
}

fn oddities(oddity: Oddity) -> metrics::Counter {
    counter!(name::DOKU_ODDITIES, "kind" => oddity.name())
}

/// Positive where DOKU's clock is ahead of ours.
pub fn clock_drift(seconds: f64) {
    gauge!(name::CLOCK_DRIFT).set(seconds);
}

pub fn panic_caught(place: PanicIn) {
    panics(place).increment(1);
}

fn panics(place: PanicIn) -> metrics::Counter {
    counter!(name::PANICS_CAUGHT, "place" => place.name())
}

pub fn log_line_dropped() {
    counter!(name::LOG_LINES_DROPPED).increment(1);
}

pub fn task_restarted(task: &'static str) {
    restarts(task).increment(1);
}

fn restarts(task: &'static str) -> metrics::Counter {
    counter!(name::TASK_RESTARTS, "task" => task)
}

pub fn stranded_orders(orders: u64) {
    gauge!(name::STRANDED_ORDERS).set(orders as f64);
}

pub fn balance(commands: i64) {
    gauge!(name::BALANCE_COMMANDS).set(commands as f64);
}

/// To be called with zeroes too.
pub fn reports_never_matched(merchant: &str, others: u64) {
    gauge!(name::REPORTS_NEVER_MATCHED, "merchant" => merchant.to_owned()).set(others as f64);
}

/// To be called with zeroes too.
pub fn settlement_breaks(cause: Cause, open: u64, rupiah: u64, oldest: Duration) {
    gauge!(name::SETTLEMENT_BREAKS, "cause" => cause.name()).set(open as f64);
    gauge!(name::SETTLEMENT_BREAKS_RUPIAH, "cause" => cause.name()).set(rupiah as f64);
    gauge!(name::SETTLEMENT_BREAKS_OLDEST, "cause" => cause.name()).set(oldest);
}

/// Gauges keep their last value: this says since when.
pub fn figures_counted(figures: GaugeGroup, at: Time) {
    gauge!(name::FIGURES_COUNTED_AT, "figures" => figures.name()).set(at.timestamp() as f64);
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
    NotificationRefusal::ALL.into_iter().for_each(|why| refusals("ingress", why).absolute(0));
    NotificationRefusal::BY_RECONCILER.into_iter().for_each(|why| refusals("reconciler", why).absolute(0));
    for role in NotificationRole::ALL {
        Form::ALL.into_iter().for_each(|form| verified(role, form).absolute(0));
    }
    gauge!(name::PAUSED, "scope" => ALL_MERCHANTS).increment(0.0);
    Dependency::ALL.into_iter().for_each(|dependency| reconnects(dependency).absolute(0));
    Oddity::ALL.into_iter().for_each(|oddity| oddities(oddity).absolute(0));
    counter!(name::CLAIMS_LOST).absolute(0);
    counter!(name::CLAIMS_FORGOTTEN).absolute(0);
    counter!(name::LOG_LINES_DROPPED).absolute(0);
    PanicIn::ALL.into_iter().for_each(|place| panics(place).absolute(0));
    gauge!(name::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "revision" => REVISION).set(1.0);
}

/// The same for a work queue; `dead_reasons` are all that its dead letters may have.
pub fn create_counters_of(queue: &str, dead_reasons: &[&'static str]) {
    Finished::ALL.into_iter().for_each(|finished| deliveries(queue, finished).absolute(0));
    dead_reasons.iter().for_each(|reason| dead_letters(queue, reason).absolute(0));
}

/// The same for a merchant. A gauge is left as it is, if it is there already.
pub fn create_counters_of_merchant(merchant: &str) {
    KeyGeneration::ALL.into_iter().for_each(|key| keys(merchant, key).absolute(0));
    let of_orders = EventType::ALL.into_iter().filter(|event| *event != EventType::CommandRejected);
    of_orders.for_each(|event| order_events(merchant, event).absolute(0));
    gauge!(name::PAUSED, "scope" => merchant.to_owned()).increment(0.0);
}

/// The same for a background task that may be restarted.
pub fn create_counters_of_task(task: &'static str) {
    restarts(task).absolute(0);
}

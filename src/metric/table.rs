//! The table of metrics: that of deploy/REFERENCE.md is compared with it.

/// The Prometheus type; a histogram's buckets are upper bounds in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

impl MetricKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// The names; fixed, dashboards and alerts use them.
pub mod name {
    pub const BUILD_INFO: &str = "jenius_build_info";
    pub const DELIVERIES_FINISHED: &str = "jenius_deliveries_finished_total";
    pub const DELIVERIES_DEAD_LETTERED: &str = "jenius_deliveries_dead_lettered_total";
    pub const COMMANDS_SETTLED: &str = "jenius_commands_settled_total";
    pub const ORDER_EVENTS: &str = "jenius_order_events_total";
    pub const LAST_PAID_AT: &str = "jenius_last_paid_at_seconds";
    pub const ATTEMPTS_MADE: &str = "jenius_attempts_made_total";
    pub const DOKU_REQUEST: &str = "jenius_doku_request_seconds";
    pub const COMMAND_OUTCOME: &str = "jenius_command_outcome_seconds";
    pub const PUBLICATION_OUTCOME: &str = "jenius_publication_outcome_seconds";
    pub const EVENT_PUBLISH: &str = "jenius_event_publish_seconds";
    pub const EVENTS_PUBLISHED: &str = "jenius_events_published_total";
    pub const NOTIFICATIONS_RECEIVED: &str = "jenius_notifications_received_total";
    pub const NOTIFICATIONS_VERIFIED: &str = "jenius_notifications_verified_total";
    pub const NOTIFICATIONS_REFUSED: &str = "jenius_notifications_refused_total";
    pub const KEYS_VERIFIED: &str = "jenius_keys_verified_total";
    pub const KEYS_INFO: &str = "jenius_keys_info";
    pub const OUTBOX_EVENTS: &str = "jenius_outbox_events";
    pub const OUTBOX_OLDEST: &str = "jenius_outbox_oldest_seconds";
    pub const OPEN_ORDERS: &str = "jenius_open_orders";
    pub const OPEN_ORDERS_RUPIAH: &str = "jenius_open_orders_rupiah";
    pub const OPEN_ORDERS_OLDEST: &str = "jenius_open_orders_oldest_seconds";
    pub const IN_DOUBT_COMMANDS: &str = "jenius_in_doubt_commands";
    pub const IN_DOUBT_OLDEST: &str = "jenius_in_doubt_oldest_seconds";
    pub const QUEUE_MESSAGES: &str = "jenius_queue_messages";
    pub const PARKED_NOTIFICATIONS: &str = "jenius_parked_notifications";
    pub const DUE_SENDS: &str = "jenius_due_sends";
    pub const DUE_SENDS_OLDEST: &str = "jenius_due_sends_oldest_seconds";
    pub const COMMAND_AGE: &str = "jenius_command_age_seconds";
    pub const CLAIMS_LOST: &str = "jenius_claims_lost_total";
    pub const CLAIMS_FORGOTTEN: &str = "jenius_claims_forgotten_total";
    pub const BREAKER_OPEN: &str = "jenius_breaker_open";
    pub const BREAKER_PROBING: &str = "jenius_breaker_probing";
    pub const PAUSED: &str = "jenius_paused";
    pub const CONNECTION_UP: &str = "jenius_connection_up";
    pub const RECONNECTS: &str = "jenius_reconnects_total";
    pub const CLOCK_DRIFT: &str = "jenius_clock_drift_seconds";
    pub const DOKU_ODDITIES: &str = "jenius_doku_oddities_total";
    pub const STRANDED_ORDERS: &str = "jenius_stranded_orders";
    pub const PANICS_CAUGHT: &str = "jenius_panics_caught_total";
    pub const LOG_LINES_DROPPED: &str = "jenius_log_lines_dropped_total";
    pub const TASK_RESTARTS: &str = "jenius_task_restarts_total";
    pub const BALANCE_COMMANDS: &str = "jenius_balance_commands";
    pub const REPORTS_NEVER_MATCHED: &str = "jenius_reports_never_matched";
    pub const SETTLEMENT_BREAKS: &str = "jenius_settlement_breaks";
    pub const SETTLEMENT_BREAKS_RUPIAH: &str = "jenius_settlement_breaks_rupiah";
    pub const SETTLEMENT_BREAKS_OLDEST: &str = "jenius_settlement_breaks_oldest_seconds";
    pub const FIGURES_COUNTED_AT: &str = "jenius_figures_counted_at_seconds";
}

/// One HTTP exchange: up to the longest timeout that makes sense.
const REQUEST: MetricKind =
    MetricKind::Histogram(&[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0]);
/// From the claim on: most in a second, a refund in doubt after a day.
const OUTCOME: MetricKind = MetricKind::Histogram(&[
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 86400.0,
]);
/// From commit to confirm: milliseconds, unless the broker is away.
const PUBLISH: MetricKind = MetricKind::Histogram(&[
    0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0,
]);

/// From a command's `time` to its first delivery: up to a week, beyond which it is a clock that is wrong.
const AGE: MetricKind =
    MetricKind::Histogram(&[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 600.0, 900.0, 3600.0, 86400.0, 604_800.0]);

/// Every metric.
pub fn all_metrics() -> &'static [Metric] {
    ALL
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels, help }
}

use MetricKind::{Counter, Gauge};

const ALL: &[Metric] = &[
    metric(name::BUILD_INFO, Gauge, &["version", "revision"], "1; which build this is"),
    metric(
        name::DELIVERIES_FINISHED,
        Counter,
        &["queue", "disposition"],
        "deliveries that were acked, dead-lettered or requeued",
    ),
    metric(
        name::DELIVERIES_DEAD_LETTERED,
        Counter,
        &["queue", "reason"],
        "deliveries that went to the dead queue, by why",
    ),
    metric(name::COMMANDS_SETTLED, Counter, &["kind", "outcome"], "commands with a recorded outcome"),
    metric(name::ORDER_EVENTS, Counter, &["merchant", "event"], "events of orders, as they are committed"),
    metric(
        name::LAST_PAID_AT,
        Gauge,
        &["merchant"],
        "when this process last saw an order paid, in seconds since 1970",
    ),
    metric(name::ATTEMPTS_MADE, Counter, &["kind", "class"], "round trips to DOKU, by what they taught us"),
    metric(name::DOKU_REQUEST, REQUEST, &["operation"], "one request to DOKU, until its answer is read"),
    metric(name::COMMAND_OUTCOME, OUTCOME, &["kind"], "from the claim to the recorded outcome"),
    metric(
        name::PUBLICATION_OUTCOME,
        OUTCOME,
        &["kind"],
        "from a claimed command's publication, where its sender dates it, to the recorded outcome",
    ),
    metric(name::EVENT_PUBLISH, PUBLISH, &[], "from the commit of a change to the confirm of its event"),
    metric(name::EVENTS_PUBLISHED, Counter, &["type"], "events the broker has confirmed"),
    metric(
        name::NOTIFICATIONS_RECEIVED,
        Counter,
        &["role", "result"],
        "notifications, by who saw them and what became of them",
    ),
    metric(
        name::NOTIFICATIONS_VERIFIED,
        Counter,
        &["role", "form"],
        "notifications with a right signature, by the role that judged them and DOKU's form (`jenius`, `snap`)",
    ),
    metric(
        name::NOTIFICATIONS_REFUSED,
        Counter,
        &["role", "reason"],
        "notifications that were not taken, by who refused them and why",
    ),
    metric(
        name::KEYS_VERIFIED,
        Counter,
        &["merchant", "key"],
        "signatures of DOKU's, by the key that made them",
    ),
    metric(
        name::KEYS_INFO,
        Gauge,
        &["fingerprint"],
        "1 for the keys and notification paths that this process verifies by",
    ),
    metric(name::OUTBOX_EVENTS, Gauge, &[], "events committed and not published yet"),
    metric(name::OUTBOX_OLDEST, Gauge, &[], "age of the oldest unpublished event; 0: none"),
    metric(name::OPEN_ORDERS, Gauge, &["merchant", "state"], "orders that are not ended"),
    metric(name::OPEN_ORDERS_RUPIAH, Gauge, &["merchant", "state"], "their amounts"),
    metric(name::OPEN_ORDERS_OLDEST, Gauge, &["merchant", "state"], "age of the oldest of them"),
    metric(
        name::IN_DOUBT_COMMANDS,
        Gauge,
        &["merchant", "kind"],
        "open commands in doubt: it is not known whether DOKU acted",
    ),
    metric(
        name::IN_DOUBT_OLDEST,
        Gauge,
        &["merchant", "kind"],
        "since the send that left the oldest of them in doubt; 0: none",
    ),
    metric(name::QUEUE_MESSAGES, Gauge, &["queue"], "messages that are ready in a queue of ours"),
    metric(name::PARKED_NOTIFICATIONS, Gauge, &[], "verified notifications for invoices without an order"),
    metric(
        name::DUE_SENDS,
        Gauge,
        &["merchant", "blocked"],
        "sends that are due now, by what keeps them from going",
    ),
    metric(
        name::DUE_SENDS_OLDEST,
        Gauge,
        &["merchant", "blocked"],
        "since the time of the oldest of them; 0: none",
    ),
    metric(
        name::COMMAND_AGE,
        AGE,
        &["kind"],
        "from a command's time, where its sender dates it, to its first delivery",
    ),
    metric(name::CLAIMS_LOST, Counter, &[], "claims with a lease that ran out before anything was recorded"),
    metric(
        name::CLAIMS_FORGOTTEN,
        Counter,
        &[],
        "claims of ours that the database does not know any more: it went back in time",
    ),
    metric(name::BREAKER_OPEN, Gauge, &["scope"], "1: sends are stopped, for all (doku) or for a merchant"),
    metric(name::BREAKER_PROBING, Gauge, &["scope"], "1: one send at a time tries whether they can go on"),
    metric(name::PAUSED, Gauge, &["scope"], "1: an operator stopped sends, for all (doku) or for a merchant"),
    metric(name::CONNECTION_UP, Gauge, &["dependency"], "1: connected"),
    metric(name::RECONNECTS, Counter, &["dependency"], "times that it was connected again after a loss"),
    metric(name::DOKU_ODDITIES, Counter, &["kind"], "answers that DOKU does not document"),
    metric(name::CLOCK_DRIFT, Gauge, &[], "DOKU's clock minus ours"),
    metric(name::STRANDED_ORDERS, Gauge, &[], "made for an account or host that is not configured"),
    metric(
        name::PANICS_CAUGHT,
        Counter,
        &["place"],
        "panics, by what they cost: one delivery, order, batch or request, or a background task",
    ),
    metric(
        name::LOG_LINES_DROPPED,
        Counter,
        &[],
        "lines of the log that standard error did not take, or not soon enough",
    ),
    metric(name::TASK_RESTARTS, Counter, &["task"], "background tasks that ended unasked and were restarted"),
    metric(
        name::BALANCE_COMMANDS,
        Gauge,
        &[],
        "claimed + rejected - settled - open; anything but 0 is a fault of ours",
    ),
    metric(
        name::REPORTS_NEVER_MATCHED,
        Gauge,
        &["merchant"],
        "reports about requests that are not ours, of a merchant with none about one of ours; else 0",
    ),
    metric(
        name::SETTLEMENT_BREAKS,
        Gauge,
        &["cause"],
        "open breaks between DOKU's settlement files and our orders",
    ),
    metric(name::SETTLEMENT_BREAKS_RUPIAH, Gauge, &["cause"], "what is at stake in them"),
    metric(name::SETTLEMENT_BREAKS_OLDEST, Gauge, &["cause"], "since the oldest of them opened; 0: none"),
    metric(
        name::FIGURES_COUNTED_AT,
        Gauge,
        &["figures"],
        "when the gauges of the database were last counted, in seconds since 1970",
    ),
];

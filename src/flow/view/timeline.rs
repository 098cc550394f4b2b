//! What happened to one order, in the order of time: for the command line and for the console.

use super::{
    ActionView, AttemptView, DecisionView, HistoryView, NotificationView, OrderView, SettlementRowView,
};
use crate::domain::{Time, money::group_digits, signed::Form};

/// A shorter round trip is shown without its duration.
const SLOW: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    Action,
    Send,
    Inquiry,
    Notification,
    Settlement,
    Decision,
    Event,
}

/// Something that happened. Its texts may hold what others wrote, as they wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineStep {
    pub at: Time,
    pub kind: StepKind,
    pub what: String,
    pub detail: String,
}

/// Stable: what happened at one time stays in the order action, attempt, notification, decision, event, which
/// is cause before effect.
pub fn steps(view: &OrderView) -> Vec<TimelineStep> {
    let refund = view.order.refund.as_ref().and_then(|refund| refund.attempts.as_deref()).unwrap_or_default();
    let mut steps: Vec<_> = view.actions.iter().map(action_step).collect();
    steps.extend(view.attempts.iter().map(|attempt| attempt_step("payment", attempt)));
    steps.extend(refund.iter().map(|attempt| attempt_step("refund", attempt)));
    steps.extend(view.notifications.iter().map(notification_step));
    steps.extend(view.settlement.iter().map(settlement_step));
    steps.extend(view.decisions.iter().map(decision_step));
    steps.extend(view.history.iter().map(event_step));
    steps.sort_by_key(|step| step.at);
    steps
}

fn action_step(action: &ActionView) -> TimelineStep {
    let what = format!("operator: {}", action.words());
    TimelineStep { at: action.at, kind: StepKind::Action, what, detail: action.why() }
}

impl ActionView {
    /// `check order`.
    pub fn words(&self) -> String {
        self.action.replace('_', " ")
    }

    /// `by ratna: reason (detail)`, as far as it was given.
    pub fn why(&self) -> String {
        let by = self.done_by.as_deref().map(|name| format!("by {name}"));
        let given: Vec<_> = by.into_iter().chain(self.reason.clone()).collect();
        let detail = self.detail.as_deref().map(|detail| format!(" ({detail})"));
        (given.join(": ") + &detail.unwrap_or_default()).trim_start().to_owned()
    }
}

fn attempt_step(command: &str, attempt: &AttemptView) -> TimelineStep {
    let mut detail = attempt.result.clone();
    if let Some(status) = attempt.http_status {
        detail.push_str(&format!(", HTTP {status}"));
    }
    if let Some(took) = attempt.finished_at.map(|finished| finished - attempt.started_at)
        && took >= SLOW
    {
        detail.push_str(&format!(", took {} s", took.num_seconds()));
    }
    if let Some(why) = attempt.detail.as_deref() {
        // DOKU's refusals begin with the status, which stands there already.
        let known = attempt.http_status.map(|status| format!("HTTP {status}: ")).unwrap_or_default();
        detail.push_str(&format!(": {}", why.strip_prefix(&known).unwrap_or(why)));
    }
    let kind = if attempt.kind == "inquiry" { StepKind::Inquiry } else { StepKind::Send };
    let what = format!("{command} {} {}", attempt.kind, attempt.number);
    TimelineStep { at: attempt.started_at, kind, what, detail }
}

fn notification_step(notification: &NotificationView) -> TimelineStep {
    let status = notification.status.as_deref().unwrap_or("no status");
    let reason = notification.reason.as_deref().unwrap_or_default();
    let amount = notification
        .amount
        .as_deref()
        .map_or(", no amount".to_owned(), |amount| format!(" {}", group_digits(amount)));
    let mut detail = status.to_owned() + &amount;
    if !notification.applied {
        detail.push_str(&format!(", not applied: {}", reason.replace('_', " ")));
    }
    if let Some(about) = notification.about.as_deref().filter(|_| reason == "other_request") {
        detail.push_str(&format!(", it is about request {about}, which is not this order's"));
    }
    let is_snap = notification.form == Form::Snap.name();
    let what = if is_snap { "notification (SNAP)" } else { "notification" };
    TimelineStep { at: notification.received_at, kind: StepKind::Notification, what: what.to_owned(), detail }
}

fn settlement_step(row: &SettlementRowView) -> TimelineStep {
    let [gross, fee, net] = [&row.gross, &row.fee, &row.net].map(|amount| group_digits(amount));
    let detail = format!("{gross}, fee {fee}, net {net}, paid out {} in {}", row.paid_out_on, row.batch);
    let what = format!("settlement {}", row.kind);
    TimelineStep { at: row.seen_at, kind: StepKind::Settlement, what, detail }
}

fn decision_step(decision: &DecisionView) -> TimelineStep {
    let by = decision.decided_by.as_deref().map(|name| format!(" by {name}")).unwrap_or_default();
    let detail = format!("{}{by}: {}", decision.state, decision.reason);
    let what = format!("decision on {}", decision.review_cause);
    TimelineStep { at: decision.at, kind: StepKind::Decision, what, detail }
}

fn event_step(event: &HistoryView) -> TimelineStep {
    let published = if event.published_at.is_some() { "" } else { ", not published yet" };
    let detail = format!("{} by {}{published}", event.state, event.evidence);
    let what = format!("event {} {}", event.version, event.word());
    TimelineStep { at: event.at, kind: StepKind::Event, what, detail }
}

impl HistoryView {
    /// The type as its routing key: `order.paid`.
    pub fn word(&self) -> &str {
        let name = self.event_type.strip_prefix("jenius.").unwrap_or(&self.event_type);
        name.strip_suffix(".v1").unwrap_or(name)
    }
}

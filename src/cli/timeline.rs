//! Orders for people: a table of them, and one's timeline. On a terminal with lines and fitted to its
//! width; in a pipe plain columns, a row a line.

use super::print::clean;
use crate::{
    domain::{Time, signed::Form},
    flow::view::{
        ActionView, AttemptView, BlockedView, DecisionView, DueView, HistoryView, NotificationView,
        OrderSummary, OrderView, SettlementRowView,
    },
};
use chrono::SecondsFormat;
use comfy_table::{ContentArrangement, Table, presets};

/// A table of orders.
pub fn list(orders: &[OrderSummary], terminal: bool) -> String {
    if orders.is_empty() {
        return "no orders".to_owned();
    }
    let mut table = table(terminal, ["merchant", "invoice", "amount", "state", "status", "waits for"]);
    for order in orders {
        table.add_row([
            clean(&order.merchant),
            clean(&order.invoice_number),
            rupiah(&order.amount),
            state(order),
            order.doku_status.as_deref().map(clean).unwrap_or_default(),
            due(order.due.as_ref()),
        ]);
    }
    printed(&table)
}

/// One order: what it is, what happened to it in the order of time, and what it waits for.
pub fn show(view: &OrderView, terminal: bool) -> String {
    let order = &view.order;
    let mut facts = vec![
        format!("order    {} of {}", clean(&order.invoice_number), clean(&order.merchant)),
        format!("state    {} (version {})", state(order), order.version),
        format!("amount   {}", rupiah(&order.amount)),
        format!("command  {} from {}", clean(&order.command.id), clean(&order.command.source)),
    ];
    if let Some(status) = &order.doku_status {
        let evidence = order.evidence.as_deref().unwrap_or("nobody");
        facts.push(format!("status   {} (by {})", clean(status), clean(evidence)));
    }
    if let Some(refund) = &order.refund {
        let [reason, state] = [&refund.reason, &refund.state].map(|text| clean(text));
        facts.push(format!("refund   {state}: {reason} ({})", clean(&refund.command.id)));
    }
    if order.due.is_some() {
        facts.push(format!("next     {}", due(order.due.as_ref())));
    }
    if let Some(blocked) = &order.blocked {
        facts.push(format!("blocked  {}", blocked_word(blocked)));
    }
    if order.pruned {
        facts.push(
            "pruned   request, attempts and repeated notifications are gone, events are kept".to_owned(),
        );
    }
    let mut table = table(terminal, ["time (UTC)", "what", "how it went"]);
    for step in steps(view) {
        table.add_row([time(step.at), step.what, step.detail]);
    }
    format!("{}\n\n{}", facts.join("\n"), printed(&table))
}

/// A table of what operators did.
pub fn actions(actions: &[ActionView], terminal: bool) -> String {
    if actions.is_empty() {
        return "nothing was done".to_owned();
    }
    let mut table = table(terminal, ["time (UTC)", "what", "merchant", "to", "who and why"]);
    for action in actions {
        let merchant = action.merchant.as_deref().map(clean).unwrap_or_default();
        table.add_row([time(action.at), action_word(action), merchant, clean(&action.subject), why(action)]);
    }
    printed(&table)
}

/// What is different about an order now.
pub fn changed(before: &OrderView, after: &OrderView) -> String {
    let (was, is) = (state(&before.order), state(&after.order));
    let mut facts =
        vec![if was == is { format!("state  {is}, as before") } else { format!("state  {was} -> {is}") }];
    let new = after.history.iter().filter(|event| event.version > before.order.version);
    facts.extend(new.map(|event| format!("event  {} {}", event.version, clean(&event.event_type))));
    if after.order.due.is_some() {
        facts.push(format!("next   {}", due(after.order.due.as_ref())));
    }
    facts.join("\n")
}

/// Something that happened.
struct TimelineStep {
    at: Time,
    what: String,
    detail: String,
}

/// Stable: what happened at one time stays in the order action, attempt, notification, decision, event, which
/// is cause before effect.
fn steps(view: &OrderView) -> Vec<TimelineStep> {
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
    TimelineStep { at: action.at, what: format!("operator: {}", action_word(action)), detail: why(action) }
}

fn action_word(action: &ActionView) -> String {
    clean(&action.action).replace('_', " ")
}

/// `by ratna: reason (detail)`, as far as it was said.
fn why(action: &ActionView) -> String {
    let by = action.done_by.as_deref().map(|name| format!("by {}", clean(name)));
    let said: Vec<_> = by.into_iter().chain(action.reason.as_deref().map(clean)).collect();
    let detail = action.detail.as_deref().map(|detail| format!(" ({})", clean(detail)));
    (said.join(": ") + &detail.unwrap_or_default()).trim_start().to_owned()
}

fn attempt_step(command: &str, attempt: &AttemptView) -> TimelineStep {
    let mut detail = clean(&attempt.result);
    if let Some(status) = attempt.http_status {
        detail.push_str(&format!(", HTTP {status}"));
    }
    if let Some(finished) = attempt.finished_at {
        detail.push_str(&format!(", {} ms", (finished - attempt.started_at).num_milliseconds()));
    }
    if let Some(why) = attempt.detail.as_deref().map(clean) {
        // DOKU's refusals begin with the status, which stands there already.
        let known = attempt.http_status.map(|status| format!("HTTP {status}: ")).unwrap_or_default();
        detail.push_str(&format!(": {}", why.strip_prefix(&known).unwrap_or(&why)));
    }
    TimelineStep {
        at: attempt.started_at,
        what: format!("{command} {} {}", attempt.kind, attempt.number),
        detail,
    }
}

fn notification_step(notification: &NotificationView) -> TimelineStep {
    let status = notification.status.as_deref().map_or("no status".to_owned(), clean);
    let reason = notification.reason.as_deref().map(clean).unwrap_or_default();
    let mut detail = if notification.applied { status } else { format!("{status}, not applied: {reason}") };
    if let Some(about) = notification.about.as_deref().filter(|_| reason == "other_request") {
        detail.push_str(&format!(", {}", clean(about)));
    }
    let is_snap = notification.form == Form::Snap.name();
    let what = if is_snap { "notification (SNAP)" } else { "notification" };
    TimelineStep { at: notification.received_at, what: what.to_owned(), detail }
}

fn settlement_step(row: &SettlementRowView) -> TimelineStep {
    let [batch, kind, day] = [&row.batch, &row.kind, &row.paid_out_on].map(|text| clean(text));
    let [gross, fee, net] = [&row.gross, &row.fee, &row.net].map(|amount| rupiah(amount));
    let detail = format!("{gross}, fee {fee}, net {net}, paid out {day} in {batch}");
    TimelineStep { at: row.seen_at, what: format!("settlement {kind}"), detail }
}

fn decision_step(decision: &DecisionView) -> TimelineStep {
    let by = decision.decided_by.as_deref().map(|name| format!(" by {}", clean(name))).unwrap_or_default();
    let detail = format!("{}{by}: {}", clean(&decision.state), clean(&decision.reason));
    TimelineStep { at: decision.at, what: format!("decision on {}", clean(&decision.review_cause)), detail }
}

fn event_step(event: &HistoryView) -> TimelineStep {
    let published = if event.published_at.is_some() { "" } else { ", not published yet" };
    let detail = format!("{} by {}{published}", clean(&event.state), clean(&event.evidence));
    TimelineStep {
        at: event.at,
        what: format!("event {} {}", event.version, clean(&event.event_type)),
        detail,
    }
}

/// With what a person must decide about.
fn state(order: &OrderSummary) -> String {
    let cause = order.review_cause.as_deref().map(|cause| format!(": {}", clean(cause))).unwrap_or_default();
    format!("{}{cause}", clean(&order.state))
}

fn blocked_word(blocked: &BlockedView) -> String {
    let detail = blocked.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("by {} since {}{detail}", blocked.by, time(blocked.since))
}

fn due(due: Option<&DueView>) -> String {
    due.map(|due| format!("{} at {}", due.kind, time(due.at))).unwrap_or_default()
}

pub fn time(at: Time) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `Rp50.000`, as Indonesia writes it.
pub fn rupiah(digits: &str) -> String {
    let digits = clean(digits);
    let mut grouped = String::from("Rp");
    let length = digits.chars().count();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (length - index).is_multiple_of(3) {
            grouped.push('.');
        }
        grouped.push(digit);
    }
    grouped
}

pub(super) fn table<const N: usize>(terminal: bool, header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.set_header(header);
    if terminal {
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_preset(presets::NOTHING).force_no_tty();
    }
    table
}

pub(super) fn printed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::view::sample;

    /// A line's words, whatever the widths of columns.
    fn words(text: &str) -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn the_http_status_of_a_refusal_is_told_once() {
        let mut view = sample::order();
        for attempt in &mut view.attempts {
            attempt.detail = Some("HTTP 200: invalid_signature".to_owned());
        }
        let text = words(&show(&view, false)).join("\n");
        assert!(text.contains("payment send 1 accepted, HTTP 200, 1000 ms: invalid_signature\n"), "{text}");
    }

    #[test]
    fn a_timeline_tells_what_happened_in_the_order_of_time() {
        let mut view = sample::order();
        let mut refund = sample::refund();
        refund
            .attempts
            .iter_mut()
            .flatten()
            .for_each(|a| a.detail = Some("HTTP 200 without a signature".to_owned()));
        view.order.refund = Some(refund);
        view.order.due = Some(DueView { kind: "inquiry".to_owned(), at: sample::at(60) });
        view.notifications[0].applied = false;
        view.notifications[0].reason = Some("duplicate".to_owned());
        view.history[1].published_at = None;
        view.decisions = vec![DecisionView {
            at: sample::at(10),
            review_cause: "check_gave_up".to_owned(),
            state: "paid".to_owned(),
            reason: "seen in the back office".to_owned(),
            decided_by: Some("ratna".to_owned()),
        }];
        view.actions = vec![ActionView {
            at: sample::at(10),
            action: "check_order".to_owned(),
            subject: "INV-1".to_owned(),
            merchant: Some("default".to_owned()),
            reason: Some("the shop asked".to_owned()),
            done_by: Some("ratna".to_owned()),
            detail: None,
        }];
        let expected = [
            "order INV-1 of default",
            "state paid (version 2)",
            "amount Rp50.000",
            "command c-1 from /shop",
            "status SUCCESS (by notification)",
            "refund open: cancelled (r-1)",
            "next inquiry at 2026-01-01T00:01:00.000Z",
            "",
            "time (UTC) what how it went",
            "2026-01-01T00:00:00.000Z payment send 1 accepted, HTTP 200, 1000 ms",
            "2026-01-01T00:00:01.000Z event 1 jenius.payment.accepted.v1 awaiting_payment by response",
            "2026-01-01T00:00:10.000Z operator: check order by ratna: the shop asked",
            "2026-01-01T00:00:10.000Z notification SUCCESS, not applied: duplicate",
            "2026-01-01T00:00:10.000Z decision on check_gave_up paid by ratna: seen in the back office",
            "2026-01-01T00:00:10.000Z event 2 jenius.order.paid.v1 paid by notification, not published yet",
            "2026-01-01T00:00:20.000Z refund send 1 in_doubt, HTTP 200, 1000 ms: HTTP 200 without a signature",
        ];
        assert_eq!(words(&show(&view, false)), expected);
    }

    #[test]
    fn a_pipe_gets_a_row_a_line_and_no_drawing() {
        let orders = [sample::order().order, sample::order().order];
        let plain = list(&orders, false);
        assert_eq!(plain.lines().count(), 3);
        assert!(plain.is_ascii(), "{plain}");
        assert_eq!(words(&plain)[1], "default INV-1 Rp50.000 paid SUCCESS");
        assert!(!list(&orders, true).is_ascii());
        assert_eq!(list(&[], false), "no orders");
    }

    #[test]
    fn what_operators_did_is_told_as_far_as_they_said() {
        let said = ActionView {
            at: sample::at(0),
            action: "replay_events".to_owned(),
            subject: "INV-1".to_owned(),
            merchant: Some("default".to_owned()),
            reason: Some("its queue was lost".to_owned()),
            done_by: Some("ratna".to_owned()),
            detail: Some("2 events".to_owned()),
        };
        let short = ActionView { merchant: None, reason: None, done_by: None, ..said.clone() };
        let told = words(&actions(&[said, short], false));
        let head = "2026-01-01T00:00:00.000Z replay events";
        assert_eq!(told[1], format!("{head} default INV-1 by ratna: its queue was lost (2 events)"));
        assert_eq!(told[2], format!("{head} INV-1 (2 events)"));
        assert_eq!(actions(&[], false), "nothing was done");
    }

    #[test]
    fn what_changed_is_the_state_and_the_events_since() {
        let after = sample::order();
        let mut before = sample::order();
        assert_eq!(words(&changed(&after, &after)), ["state paid, as before"]);
        (before.order.state, before.order.version) = ("awaiting_payment".to_owned(), 1);
        let expected = ["state awaiting_payment -> paid", "event 2 jenius.order.paid.v1"];
        assert_eq!(words(&changed(&before, &after)), expected);
    }

    #[test]
    fn people_see_why_an_order_is_in_review() {
        let mut view = sample::order();
        view.order.state = "review".to_owned();
        view.order.review_cause = Some("check_gave_up".to_owned());
        assert_eq!(
            words(&list(&[view.order.clone()], false))[1],
            "default INV-1 Rp50.000 review: check_gave_up SUCCESS"
        );
        assert!(words(&show(&view, false)).contains(&"state review: check_gave_up (version 2)".to_owned()));
    }

    #[test]
    fn what_others_wrote_cannot_drive_the_terminal() {
        let mut view = sample::order();
        view.order.doku_status = Some("\u{1b}[2J".to_owned());
        view.attempts[0].result = "\u{7}".to_owned();
        assert!(!show(&view, false).contains(['\u{1b}', '\u{7}']));
    }

    #[test]
    fn rupiah_are_grouped() {
        let all = ["1", "999", "1000", "50000", "999999999999"].map(rupiah);
        assert_eq!(all, ["Rp1", "Rp999", "Rp1.000", "Rp50.000", "Rp999.999.999.999"]);
    }
}

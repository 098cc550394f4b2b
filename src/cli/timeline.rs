//! One order for people: what it is, what happened to it in the order of time, and what it waits for.

use super::{
    print::clean,
    table::{ColumnFit, Room, TextTable},
    times::Times,
};
use crate::{
    domain::money::group_digits,
    flow::view::{ActionView, BlockedView, DueView, OrderSummary, OrderView, steps},
};

/// One order: facts, and a table of what happened.
pub fn show(view: &OrderView, times: Times, room: Room) -> String {
    let happened = format!("time ({})", times.zone());
    let mut table = TextTable::new([
        (happened.as_str(), ColumnFit::Whole),
        ("what", ColumnFit::Whole),
        ("how it went", ColumnFit::Flows),
    ]);
    for step in steps(view) {
        table.row([times.short_time(step.at), clean(&step.what), clean(&step.detail)]);
    }
    format!("{}\n\n{}", facts(view, times).join("\n"), table.print(room))
}

fn facts(view: &OrderView, times: Times) -> Vec<String> {
    let order = &view.order;
    let since = |at| format!("{}, {}", times.full(at), times.away(at));
    let mut facts = vec![
        format!("order    {} of {}", clean(&order.invoice_number), clean(&order.merchant)),
        format!("state    {} (version {})", state(order), order.version),
        format!("since    {}", since(order.state_since)),
        format!("created  {}", since(order.created_at)),
        format!("amount   {}", rupiah(&order.amount)),
        match &order.command {
            Some(command) => format!("command  {} from {}", clean(&command.id), clean(&command.source)),
            None => "command  none: it was paid before, and imported".to_owned(),
        },
    ];
    if let Some(status) = &order.doku_status {
        let evidence = order.evidence.as_deref().unwrap_or("no evidence");
        facts.push(format!("status   {} (by {})", clean(status), clean(evidence)));
    }
    if let Some(refund) = &order.refund {
        let [reason, state] = [&refund.reason, &refund.state].map(|text| clean(text));
        facts.push(format!("refund   {state}: {reason} ({})", clean(&refund.command.id)));
        facts.push(format!("         Request-Id {}", clean(&refund.request_id)));
    }
    if let Some(next) = &order.due {
        facts.push(format!("next     {}", due(next, times)));
    }
    if let Some(blocked) = &order.blocked {
        facts.push(format!("blocked  {}", blocked_word(blocked, times)));
    }
    if order.pruned {
        facts.push(
            "pruned   request, attempts and repeated notifications are gone, events are kept".to_owned(),
        );
    }
    facts
}

/// What is different about an order now.
pub fn describe_change(before: &OrderView, after: &OrderView, times: Times) -> String {
    let (was, is) = (state(&before.order), state(&after.order));
    let mut facts =
        vec![if was == is { format!("state  {is}, as before") } else { format!("state  {was} -> {is}") }];
    let new = after.history.iter().filter(|event| event.version > before.order.version);
    facts.extend(new.map(|event| format!("event  {} {}", event.version, clean(event.word()))));
    if let Some(next) = &after.order.due {
        facts.push(format!("next   {}", due(next, times)));
    }
    facts.join("\n")
}

pub(super) fn action_word(action: &ActionView) -> String {
    clean(&action.words())
}

/// `by ratna: reason (detail)`, as far as it is known.
pub(super) fn why(action: &ActionView) -> String {
    clean(&action.why())
}

/// With what a person must decide about.
pub(super) fn state(order: &OrderSummary) -> String {
    let cause = order.review_cause.as_deref().map(|cause| format!(": {}", clean(cause))).unwrap_or_default();
    format!("{}{cause}", clean(&order.state))
}

fn blocked_word(blocked: &BlockedView, times: Times) -> String {
    let detail = blocked.detail.as_deref().map(|detail| format!(": {}", clean(detail))).unwrap_or_default();
    format!("by {} since {}{detail}", clean(&blocked.by), times.full(blocked.since))
}

fn due(due: &DueView, times: Times) -> String {
    format!("{} at {}, {}", due.kind, times.full(due.at), times.away(due.at))
}

/// `Rp50.000`, as Indonesia writes it; what is no whole number stays as it is.
pub fn rupiah(digits: &str) -> String {
    group_digits(&clean(digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::times::sample::times,
        flow::view::{AttemptView, DecisionView, sample},
    };

    fn words(text: &str) -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    fn describe_all(view: &OrderView) -> Vec<String> {
        words(&show(view, times(), Room::Any))
    }

    #[test]
    fn the_http_status_of_a_refusal_is_told_once() {
        let mut view = sample::order();
        for attempt in &mut view.attempts {
            attempt.detail = Some("HTTP 200: invalid_signature".to_owned());
        }
        let text = describe_all(&view).join("\n");
        assert!(text.contains("payment send 1 accepted, HTTP 200, took 1 s: invalid_signature\n"), "{text}");
    }

    /// An order to which everything happened.
    fn eventful() -> OrderView {
        let mut view = sample::order();
        let mut refund = sample::refund();
        for attempt in refund.attempts.iter_mut().flatten() {
            attempt.detail = Some("HTTP 200 without a signature".to_owned());
        }
        view.order.refund = Some(refund);
        view.order.due = Some(DueView { kind: "inquiry".to_owned(), at: sample::at(65) });
        view.order.blocked = Some(BlockedView {
            by: "pause".to_owned(),
            since: sample::at(30),
            detail: Some("a release".to_owned()),
        });
        view.notifications[0].applied = false;
        view.notifications[0].reason = Some("other_request".to_owned());
        view.notifications[0].about = Some("VA-1".to_owned());
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
            done_from: None,
        }];
        let inquiry = AttemptView {
            kind: "inquiry".to_owned(),
            finished_at: Some(sample::at(9)),
            detail: Some("amount 50000".to_owned()),
            ..sample::attempt(2, 9, "success")
        };
        view.attempts.push(inquiry);
        view
    }

    #[test]
    fn a_timeline_tells_what_happened_in_the_order_of_time() {
        let expected = [
            "order INV-1 of default",
            "state paid (version 2)",
            "since 2026-01-01 07:00:10 WIB, 50 s ago",
            "created 2026-01-01 07:00:00 WIB, 60 s ago",
            "amount Rp50.000",
            "command c-1 from /shop",
            "status SUCCESS (by notification)",
            "refund open: cancelled (r-1)",
            "Request-Id r",
            "next inquiry at 2026-01-01 07:01:05 WIB, in 5 s",
            "blocked by pause since 2026-01-01 07:00:30 WIB: a release",
            "",
            "time (WIB) what how it went",
            "2026-01-01 07:00:00 payment send 1 accepted, HTTP 200, took 1 s",
            "2026-01-01 07:00:01 event 1 payment.accepted awaiting_payment by response",
            "2026-01-01 07:00:09 payment inquiry 2 success, HTTP 200: amount 50000",
            "2026-01-01 07:00:10 operator: check order by ratna: the shop asked",
            "2026-01-01 07:00:10 notification SUCCESS Rp50.000, not applied: other request, it is about request VA-1, \
             which is not this order's",
            "2026-01-01 07:00:10 decision on check_gave_up paid by ratna: seen in the back office",
            "2026-01-01 07:00:10 event 2 order.paid paid by notification, not published yet",
            "2026-01-01 07:00:20 refund send 1 in_doubt, HTTP 200, took 1 s: HTTP 200 without a signature",
        ];
        assert_eq!(describe_all(&eventful()), expected);
    }

    #[test]
    fn a_timeline_fits_eighty_columns() {
        let text = show(&eventful(), times(), Room::Columns(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn what_changed_is_the_state_and_the_events_since() {
        let after = sample::order();
        let mut before = sample::order();
        assert_eq!(words(&describe_change(&after, &after, times())), ["state paid, as before"]);
        (before.order.state, before.order.version) = ("awaiting_payment".to_owned(), 1);
        let expected = ["state awaiting_payment -> paid", "event 2 order.paid"];
        assert_eq!(words(&describe_change(&before, &after, times())), expected);
    }

    #[test]
    fn people_see_why_an_order_is_in_review() {
        let mut view = sample::order();
        view.order.state = "review".to_owned();
        view.order.review_cause = Some("check_gave_up".to_owned());
        assert!(describe_all(&view).contains(&"state review: check_gave_up (version 2)".to_owned()));
    }

    #[test]
    fn what_others_wrote_cannot_drive_the_terminal() {
        let mut view = eventful();
        view.order.doku_status = Some("\u{1b}[2J".to_owned());
        view.attempts[0].result = "\u{7}".to_owned();
        view.notifications[0].about = Some("\u{1b}[2J".to_owned());
        assert!(!show(&view, times(), Room::Any).contains(['\u{1b}', '\u{7}']));
    }

    #[test]
    fn rupiah_are_grouped() {
        let all = ["1", "999", "1000", "50000", "999999999999", "50000.50", "-50000", "-", "--1"].map(rupiah);
        assert_eq!(
            all,
            ["Rp1", "Rp999", "Rp1.000", "Rp50.000", "Rp999.999.999.999", "50000.50", "-Rp50.000", "-", "--1"]
        );
    }
}

//! Names, labels and buckets as they are scraped.

use super::*;
use crate::domain::{
    command::{CommandKind, Outcome},
    event::EventType,
    finding::{AttemptClass, AttemptKind},
    order::OrderState,
    signed::Form,
};
use std::collections::BTreeSet;

fn record_everything() {
    let second = Duration::from_secs(1);
    keys_in_use(None, "0123456789abcdef");
    delivery_finished("jenius.payments", Finished::Acked);
    delivery_dead_lettered("jenius.payments", "malformed");
    command_settled(CommandKind::Payment, Outcome::Accepted, Some(second), Some(second));
    attempt_made(AttemptKind::Send, AttemptClass::Answered);
    doku_request(DokuOperation::Check, second);
    event_published(EventType::OrderPaid, second);
    order_event("default", EventType::OrderPaid, crate::domain::Time::UNIX_EPOCH);
    notification_received_by_ingress(Received::Accepted);
    notification_received_by_reconciler(Received::Applied);
    notification_verified(NotificationRole::Ingress, Form::Snap);
    notification_refused_by_ingress(NotificationRefusal::AnotherPath);
    notification_refused_by_reconciler(NotificationRefusal::SignatureWrong);
    key_verified("default", KeyGeneration::Previous);
    in_doubt("default", CommandKind::Refund, 1, second);
    queue_messages("jenius.dead", 7);
    paused("default", true);
    outbox(3, second);
    open_orders("default", OrderState::Submitting, 1, 50_000, second);
    parked_notifications(1);
    due_sends("default", Blocked::Pause, 2, second);
    command_age(CommandKind::Payment, second);
    claims_lost(1);
    claim_forgotten();
    breaker("doku", true, true);
    doku_oddity(Oddity::UnknownStatus);
    breaker("default", false, false);
    connection_up(Dependency::Postgres, true);
    reconnected(Dependency::Broker);
    clock_drift(-0.5);
    stranded_orders(2);
    log_line_dropped();
    panic_caught(PanicIn::Request);
    task_restarted("gauges");
    balance(0);
    reports_never_matched("default", 0);
    for cause in crate::domain::settlement::breaks::Cause::ALL {
        settlement_breaks(cause, 0, 0, Duration::ZERO);
    }
    GaugeGroup::ALL.into_iter().for_each(|figures| figures_counted(figures, crate::domain::Time::UNIX_EPOCH));
}

#[test]
fn every_metric_of_the_table_is_recorded_with_its_type_and_its_labels() {
    install().unwrap();
    record_everything();
    let text = render();
    for metric in all_metrics() {
        let line = format!("# TYPE {} {}\n", metric.name, metric.kind.name());
        assert!(text.contains(&line), "{line} is not in\n{text}");
        let written = text.lines().find(|l| l.starts_with(metric.name) && !l.starts_with('#')).unwrap();
        let labels: BTreeSet<_> = written
            .split_once('{')
            .map_or("", |(_, rest)| rest.split_once('}').unwrap().0)
            .split(',')
            .filter_map(|pair| Some(pair.split_once('=')?.0))
            .filter(|label| *label != "le")
            .collect();
        assert_eq!(labels, metric.labels.iter().copied().collect(), "{written}");
    }
    let table: BTreeSet<_> = all_metrics().iter().map(|metric| metric.name).collect();
    for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let recorded = line.split(' ').next().unwrap();
        assert!(table.contains(recorded), "{recorded} is recorded, and not in the table");
    }
    assert_eq!(table.len(), all_metrics().len());
}

#[test]
fn counters_exist_before_anything_happens() {
    install().unwrap();
    create_counters_of("other.refunds", &["crashed"]);
    create_counters_of_merchant("quiet");
    create_counters_of_task("other");
    let text = render();
    for line in [
        r#"jenius_commands_settled_total{kind="refund",outcome="unresolved"} 0"#,
        r#"jenius_attempts_made_total{kind="inquiry",class="lost"} 0"#,
        r#"jenius_events_published_total{type="jenius.order.resolved.v1"} 0"#,
        r#"jenius_notifications_received_total{role="ingress",result="unavailable"} 0"#,
        r#"jenius_deliveries_dead_lettered_total{queue="other.refunds",reason="crashed"} 0"#,
        r#"jenius_notifications_refused_total{role="reconciler",reason="client_id_unknown"} 0"#,
        r#"jenius_notifications_verified_total{role="reconciler",form="snap"} 0"#,
        r#"jenius_keys_verified_total{merchant="quiet",key="previous"} 0"#,
        r#"jenius_panics_caught_total{place="batch"} 0"#,
        r#"jenius_task_restarts_total{task="other"} 0"#,
        r#"jenius_paused{scope="doku"} 0"#,
        r#"jenius_paused{scope="quiet"} 0"#,
        r#"jenius_reconnects_total{dependency="postgres"} 0"#,
        r#"jenius_deliveries_finished_total{queue="other.refunds",disposition="requeued"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.contains("jenius_build_info{version=\""), "{text}");
}

#[test]
fn installing_again_keeps_the_first_recorder() {
    let first: *const _ = install().unwrap();
    assert_eq!(first, std::ptr::from_ref(install().unwrap()));
}

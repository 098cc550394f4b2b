//! The whole table, a row for every combination of state, cause of review and evidence, written out by
//! hand: not derived from the code it judges.

use super::{
    event::EventType,
    finding::ReportedStatus,
    order::{OrderState, Verdict},
    reconcile::{Evidence, Step, reconcile},
};

/// A cell: `-` stays; else the state after, and the events' routing keys.
///
/// Columns: submitting, awaiting_payment, paid, failed, expired, abandoned, refunding, refunded,
/// then review by payment_unresolved, refund_unresolved, check_gave_up, amount_mismatch, other_request.
#[rustfmt::skip]
const TABLE: [(Evidence, [&str; 13]); 20] = [
    (Evidence::AnswerTaken,
        ["awaiting_payment payment.accepted", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    (Evidence::AnswerFailed,
        ["failed payment.declined", "failed order.failed", "-", "-", "-", "-", "-", "-",
         "failed order.failed", "-", "failed order.failed", "-", "failed order.failed"]),
    (Evidence::AnswerDeclined,
        ["failed payment.declined", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    (Evidence::RefundAnswerSuccess,
        ["refunded payment.accepted order.refunded", "refunded order.refunded", "refunded order.refunded",
         "refunded order.refunded", "refunded order.refunded", "refunded order.refunded",
         "refunded refund.accepted order.refunded", "-",
         "refunded order.refunded", "refunded order.refunded", "refunded order.refunded", "-", "refunded order.refunded"]),
    (Evidence::RefundAnswerFailed,
        ["-", "-", "-", "-", "-", "-", "paid refund.declined", "-", "-", "paid order.paid", "-", "-", "-"]),
    (Evidence::RefundAnswerDeclined,
        ["-", "-", "-", "-", "-", "-", "paid refund.declined", "-", "-", "-", "-", "-", "-"]),
    (Evidence::Reported(ReportedStatus::Success),
        ["paid payment.accepted order.paid", "paid order.paid", "-", "paid order.paid", "paid order.paid",
         "paid order.paid", "-", "-", "paid order.paid", "-", "paid order.paid", "-", "paid order.paid"]),
    (Evidence::Reported(ReportedStatus::Failed),
        ["failed payment.declined", "failed order.failed", "-", "-", "-", "-", "-", "-",
         "failed order.failed", "-", "failed order.failed", "-", "failed order.failed"]),
    (Evidence::Reported(ReportedStatus::Expired),
        ["expired payment.accepted order.expired", "expired order.expired", "-", "-", "-", "-", "-", "-",
         "expired order.expired", "-", "expired order.expired", "-", "expired order.expired"]),
    (Evidence::Reported(ReportedStatus::Refunded),
        ["refunded payment.accepted order.refunded", "refunded order.refunded", "refunded order.refunded",
         "refunded order.refunded", "refunded order.refunded", "refunded order.refunded",
         "refunded refund.accepted order.refunded", "-",
         "refunded order.refunded", "refunded order.refunded", "refunded order.refunded", "-", "refunded order.refunded"]),
    (Evidence::Reported(ReportedStatus::NotFinal),
        ["awaiting_payment payment.accepted", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    (Evidence::OtherAmount,
        ["review:amount_mismatch payment.unresolved order.review", "review:amount_mismatch order.review",
         "review:amount_mismatch order.review", "review:amount_mismatch order.review",
         "review:amount_mismatch order.review", "review:amount_mismatch order.review",
         "review:amount_mismatch refund.unresolved order.review", "review:amount_mismatch order.review",
         "review:amount_mismatch order.review", "review:amount_mismatch order.review",
         "review:amount_mismatch order.review", "-", "review:amount_mismatch order.review"]),
    (Evidence::OtherRequestPaid,
        ["review:other_request payment.unresolved order.review", "review:other_request order.review",
         "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    (Evidence::OtherRequestRefunded,
        ["review:other_request payment.unresolved order.review", "review:other_request order.review",
         "review:other_request order.review", "-", "-", "-", "review:refund_unresolved refund.unresolved", "-",
         "-", "-", "-", "-", "-"]),
    (Evidence::EndedWithoutAct,
        ["abandoned payment.abandoned", "-", "-", "-", "-", "-", "paid refund.abandoned", "-", "-", "-", "-", "-", "-"]),
    (Evidence::EndedInDoubt,
        ["review:payment_unresolved payment.unresolved", "-", "-", "-", "-", "-",
         "review:refund_unresolved refund.unresolved", "-", "-", "-", "-", "-", "-"]),
    (Evidence::CheckGaveUp,
        ["-", "review:check_gave_up order.review", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    (Evidence::Operator(Verdict::Paid),
        ["-", "-", "-", "-", "-", "-", "-", "-",
         "paid order.paid", "paid order.paid", "paid order.paid", "paid order.paid", "paid order.paid"]),
    (Evidence::Operator(Verdict::Failed),
        ["-", "-", "-", "-", "-", "-", "-", "-",
         "failed order.failed", "failed order.failed", "failed order.failed", "failed order.failed", "failed order.failed"]),
    (Evidence::Operator(Verdict::Refunded),
        ["-", "-", "-", "-", "-", "-", "-", "-", "refunded order.refunded", "refunded order.refunded",
         "refunded order.refunded", "refunded order.refunded", "refunded order.refunded"]),
];

fn shown(step: Step) -> String {
    match step {
        Step::Stay => "-".to_owned(),
        Step::Move(state, events) => {
            let cause = state.review_cause().map(|c| format!(":{}", c.name())).unwrap_or_default();
            let events = events.iter().map(|e: &EventType| e.routing_key());
            format!("{}{cause} {}", state.name(), events.collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn every_combination_of_state_and_evidence_does_what_the_table_says() {
    assert_eq!(TABLE.map(|(evidence, _)| evidence), Evidence::ALL);
    for (evidence, row) in TABLE {
        for (state, expected) in OrderState::ALL.into_iter().zip(row) {
            assert_eq!(shown(reconcile(state, evidence)), expected, "{state:?} + {evidence:?}");
        }
    }
}

/// `failed` and `expired` counted as one: DOKU's pages disagree which of them is final.
fn end(state: OrderState) -> OrderState {
    if state == OrderState::Expired { OrderState::Failed } else { state }
}

/// For a payment that was accepted, every order of the same reports ends in the same state.
#[test]
fn reports_end_in_the_same_state_in_whatever_order_they_come() {
    let reports: Vec<Evidence> = Evidence::ALL
        .into_iter()
        .filter(|e| matches!(e, Evidence::AnswerTaken | Evidence::Reported(_) | Evidence::OtherAmount))
        .collect();
    let apply = |state, evidence| match reconcile(state, evidence) {
        Step::Stay => state,
        Step::Move(to, _) => to,
    };
    for a in &reports {
        for b in &reports {
            for c in &reports {
                let ends: Vec<OrderState> =
                    [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]]
                        .into_iter()
                        .map(|order| end(order.into_iter().fold(OrderState::Submitting, |s, e| apply(s, *e))))
                        .collect();
                assert!(ends.windows(2).all(|w| w[0] == w[1]), "{a:?} {b:?} {c:?}: {ends:?}");
            }
        }
    }
}

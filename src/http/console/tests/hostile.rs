//! An order about which others wrote what no page may take as it is.

use super::fake::{HOSTILE_PATH, hostile};
use crate::flow::view::{
    ActionView, BlockedView, CommandView, DecisionView, DueView, OrderView, SettlementRowView, sample,
};

/// An order to which everything happened, told by hostile people.
pub fn hostile_order() -> OrderView {
    let mut view = sample::order();
    view.order.invoice_number = HOSTILE_PATH.to_owned();
    view.order.command = Some(CommandView { id: hostile(), source: hostile() });
    view.order.request_id = Some(hostile());
    view.order.doku_status = Some(hostile());
    view.order.state = "review".to_owned();
    view.order.review_cause = Some("amount_mismatch".to_owned());
    view.order.due = Some(DueView { kind: "inquiry".to_owned(), at: sample::at(65) });
    let detail = Some(hostile());
    view.order.blocked = Some(BlockedView { by: "pause".to_owned(), since: sample::at(30), detail });
    let mut refund = sample::refund();
    (refund.reason, refund.command.id) = (hostile(), hostile());
    view.order.refund = Some(refund);
    for attempt in &mut view.attempts {
        attempt.detail = Some(hostile());
    }
    view.notifications[0].status = Some(hostile());
    view.notifications[0].about = Some(hostile());
    view.notifications[0].amount = Some("50001".to_owned());
    (view.notifications[0].applied, view.notifications[0].reason) = (false, Some("other_request".to_owned()));
    view.decisions = vec![DecisionView {
        at: sample::at(10),
        review_cause: "check_gave_up".to_owned(),
        state: "paid".to_owned(),
        reason: hostile(),
        decided_by: Some(hostile()),
    }];
    view.actions = actions();
    view.settlement = vec![SettlementRowView {
        seen_at: sample::at(12),
        batch: hostile(),
        paid_out_on: "2026-01-05".to_owned(),
        kind: "purchase".to_owned(),
        gross: "50000".to_owned(),
        fee: "1500".to_owned(),
        discount: "0".to_owned(),
        net: "48500".to_owned(),
    }];
    view
}

pub fn actions() -> Vec<ActionView> {
    vec![ActionView {
        at: sample::at(10),
        action: "check_order".to_owned(),
        subject: HOSTILE_PATH.to_owned(),
        merchant: Some("default".to_owned()),
        reason: Some(hostile()),
        done_by: Some(hostile()),
        detail: Some(hostile()),
        done_from: Some(hostile()),
    }]
}

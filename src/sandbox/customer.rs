//! The customer: pays, lets it expire or changes his mind, each after `pay_after_ms`, and DOKU reports it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::book::{OrderIndex, Then};
use super::clock;
use super::fault_script::{FaultScript, Repeat};
use super::faults::NotifyHabit;
use super::ledger::TransactionStatus;
use super::notify::{self, NotifyForm, OutgoingNotification};
use super::world::World;

/// Starts what follows from DOKU's having acted.
pub(super) fn start(world: &Arc<World>, then: Then) {
    let tasks = &world.tasks;
    let world = world.clone();
    match then {
        Then::CustomerPays { order, plan } => drop(tasks.spawn(pay(world.clone(), order, plan))),
        Then::RefundIsNotified { order } => drop(tasks.spawn(report_refund(world.clone(), order))),
    }
}

/// A person answers in the customer's place. Nothing happens if the payment does not wait any more.
pub(super) fn answer(world: &Arc<World>, order: OrderIndex, status: TransactionStatus, wrong_amount: bool) {
    if world.book.lock().status(order) != TransactionStatus::Pending || !step(world, order, status) {
        return;
    }
    let words = if wrong_amount { "notify_wrong_amount" } else { "" };
    let plan = FaultScript::parse(words, Repeat::Once).unwrap_or_default();
    for notification in notifications(world, order, status, &plan) {
        report(world, notification, &plan);
    }
}

async fn pay(world: Arc<World>, order: OrderIndex, plan: Arc<FaultScript>) {
    if world.by_hand.load(Ordering::Relaxed) {
        return;
    }
    let reordered = plan.notifies(NotifyHabit::Reordered);
    let mut held = Vec::new();
    if reordered {
        held.extend(notifications(&world, order, TransactionStatus::Pending, &plan));
    }
    for status in plan.goes() {
        if !world.sleep(Duration::from_millis(world.config.pay_after_ms)).await {
            return;
        }
        if !step(&world, order, *status) {
            break;
        }
        for notification in notifications(&world, order, *status, &plan) {
            if reordered {
                held.push(notification);
            } else {
                report(&world, notification, &plan);
            }
        }
    }
    if plan.notifies(NotifyHabit::Never) {
        return;
    }
    while let Some(notification) = held.pop() {
        notify::deliver(&world, notification).await;
    }
}

/// False if the order was refunded meanwhile: nothing that the customer does changes it any more.
fn step(world: &World, order: OrderIndex, status: TransactionStatus) -> bool {
    let mut book = world.book.lock();
    let open = book.status(order) != TransactionStatus::Refunded;
    if open {
        book.change(order, status, clock::now());
    }
    open
}

fn report(world: &Arc<World>, notification: OutgoingNotification, plan: &FaultScript) {
    if plan.notifies(NotifyHabit::Never) {
        return;
    }
    let late_ms = if plan.notifies(NotifyHabit::Late) { world.config.notify_late_ms } else { 0 };
    let copies = if plan.notifies(NotifyHabit::Twice) { 2 } else { 1 };
    let tasks = &world.tasks;
    let world = world.clone();
    tasks.spawn(async move {
        if !world.sleep(Duration::from_millis(late_ms)).await {
            return;
        }
        for _ in 0..copies {
            notify::deliver(&world, notification.clone()).await;
        }
    });
}

async fn report_refund(world: Arc<World>, order: OrderIndex) {
    for notification in notifications(&world, order, TransactionStatus::Refunded, &FaultScript::default()) {
        notify::deliver(&world, notification).await;
    }
}

/// One for each form in which DOKU reports this order.
fn notifications(
    world: &World,
    order: OrderIndex,
    status: TransactionStatus,
    plan: &FaultScript,
) -> Vec<OutgoingNotification> {
    let facts = world.book.lock().facts(order);
    let amount = facts.amount.saturating_add(u64::from(plan.notifies(NotifyHabit::WrongAmount)));
    let amount = if plan.notifies(NotifyHabit::Number) {
        amount.to_string()
    } else if plan.notifies(NotifyHabit::Decimal) {
        format!("{amount}.00")
    } else {
        format!("\"{amount}\"")
    };
    let notification = OutgoingNotification {
        client_id: facts.client_id,
        invoice_number: facts.invoice_number,
        amount,
        status: status.as_str().to_owned(),
        original_request_id: facts.original_request_id,
        date: clock::now(),
        url: facts.notify_url,
        form: NotifyForm::default(),
    };
    plan.forms(world.config.notify_form)
        .into_iter()
        .map(|form| OutgoingNotification { form, ..notification.clone() })
        .collect()
}

//! Evidence as the property tests bring it: a piece at a time, through the store, whatever the order waits
//! for.

use super::*;
use crate::{
    domain::notification::Notification,
    flow::ports::{OperatorStore, Reconciled},
};

/// A store on the same database that does not wait for the disk, with a plan of its own.
pub(super) fn hasty(db: &Db, schedule: AttemptSchedule) -> PostgresStore {
    let options = db.options.clone().options([("synchronous_commit", "off")]);
    PostgresStore::with_jitter(pool(options, 8), schedule, Arc::new(|| 0.5))
}

pub(super) fn report(word: &str, amount: u64) -> Report {
    let amount = Rupiah::new(amount).map_or(ReportedAmount::Other, ReportedAmount::Whole);
    Report { status: ReportedStatus::read(word), word: word.to_owned(), amount, request: None }
}

/// What a verified notification says.
pub(super) fn notification(invoice: &str, word: &str, amount: u64) -> Notification {
    Notification {
        form: Form::Jenius,
        request_id: "n".to_owned(),
        invoice_number: invoice.to_owned(),
        status: Some(word.to_owned()),
        amount: Some(amount.to_string()),
        request: None,
    }
}

/// A verified notification.
pub(super) async fn notify(store: &PostgresStore, invoice: &str, word: &str, amount: u64) {
    let reconciled = store.reconcile(&merchant(), &notification(invoice, word, amount)).await.unwrap();
    assert_ne!(reconciled, Reconciled::Parked, "the order is known");
}

/// The right to inquire about an order.
pub(super) async fn inquiry(store: &PostgresStore, invoice: &str) -> Claim {
    let invoice = InvoiceNumber::parse(invoice).unwrap();
    store.inquire_now(&merchant(), &invoice, LEASE).await.unwrap().unwrap()
}

/// A Check Status answer.
pub(super) async fn check(store: &PostgresStore, invoice: &str, word: &str, amount: u64) {
    let claim = inquiry(store, invoice).await;
    store.record(&claim, &reported(word, amount), Duration::ZERO).await.unwrap();
}

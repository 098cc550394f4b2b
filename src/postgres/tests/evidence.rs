//! Evidence as the property tests bring it: a piece at a time, through the store, whatever the order waits
//! for.

use super::*;
use crate::{flow::ports::OperatorStore, postgres::orders};

/// A store on the same database that does not wait for the disk, with a plan of its own.
pub(super) fn hasty(db: &Db, plan: Plan) -> PostgresStore {
    let options = db.options.clone().options([("synchronous_commit", "off")]);
    PostgresStore::new(pool(options, 8), plan, Arc::new(|| 0.5))
}

pub(super) fn report(word: &str, amount: u64) -> Report {
    let amount = Rupiah::new(amount).map_or(ReportedAmount::Other, ReportedAmount::Whole);
    Report { status: ReportedStatus::read(word), word: word.to_owned(), amount }
}

/// A verified notification. The one place to change when the store takes notifications itself.
pub(super) async fn notify(store: &PostgresStore, invoice: &str, word: &str, amount: u64) {
    let (report, plan) = (report(word, amount), store.inner.plan.clone());
    let invoice = InvoiceNumber::parse(invoice).unwrap();
    let done = store.inner.transaction(move |c| {
        Box::pin(async move {
            let order = orders::lock_invoice(c, &merchant(), &invoice).await?.unwrap();
            let change = order.record.clone().after_notification(&report, &plan, order.now);
            order.write(c, &change).await
        })
    });
    done.await.unwrap();
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

//! What DOKU's own key signed: recorded once, never as what was told before, and an inquiry at most once a minute.

use super::{
    evidence::{notification, notify},
    *,
};
use crate::{domain::notification::Notification, flow::ports::Reconciled};

fn unbound(invoice: &str, word: &str) -> Notification {
    Notification { form: Form::Snap, ..notification(invoice, word, 50_000) }
}

/// Whether an inquiry is due now.
const DUE: &str = "SELECT count(*) FROM due WHERE inquire_at <= jenius_now() AND token IS NULL";
const KEPT: &str = "SELECT count(*) FROM notifications WHERE reason = 'not_bound'";

async fn ask(db: &Db, invoice: &str, word: &str) {
    let reconciled = db.store.ask_about(&merchant(), &unbound(invoice, word)).await.unwrap();
    assert_eq!(reconciled, Reconciled::NoChange);
}

async fn paid(db: &Db, invoice: &str) {
    let claim = db.claim(payment(&format!("c-{invoice}"), invoice)).await;
    db.store.record(&claim, &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
    notify(&db.store, invoice, "SUCCESS", 50_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_makes_an_inquiry_due_once_a_minute_whatever_the_order_waits_for() {
    on_a_database(|db| async move {
        ask(&db, "INV-0", "SUCCESS").await;
        assert_eq!((db.number(KEPT).await, db.number(DUE).await), (0, 0), "nothing is parked");

        let claim = db.claim(payment("c-1", "INV-1")).await;
        ask(&db, "INV-1", "SUCCESS").await;
        assert_eq!(db.number(DUE).await, 0, "an attempt is under way");
        db.store.record(&claim, &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
        assert_eq!((db.number(KEPT).await, db.number(DUE).await), (1, 1), "kept for its record");

        let asked = evidence::inquiry(&db.store, "INV-1").await;
        db.store.record(&asked, &reported("PENDING", 50_000), Duration::ZERO).await.unwrap();
        ask(&db, "INV-1", "SUCCESS").await;
        ask(&db, "INV-1", "FAILED").await;
        assert_eq!((db.number(KEPT).await, db.number(DUE).await), (2, 0), "once a minute");
        let earlier = "UPDATE orders SET prompted_at = prompted_at - interval '1 minute'";
        db.execute(earlier).await.unwrap();
        ask(&db, "INV-1", "SUCCESS").await;
        assert_eq!((db.number(KEPT).await, db.number(DUE).await), (2, 1));

        // The account's own report is the first that says so.
        notify(&db.store, "INV-1", "SUCCESS", 50_000).await;
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'paid'").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_ended_is_asked_about_once_and_goes_by_no_schedule() {
    on_a_database(|db| async move {
        paid(&db, "INV-1").await;
        assert_eq!(db.number("SELECT count(*) FROM due").await, 0);
        ask(&db, "INV-1", "REFUNDED").await;
        assert_eq!(db.number(DUE).await, 1);
        let claim = evidence::inquiry(&db.store, "INV-1").await;
        db.store.record(&claim, &reported("SUCCESS", 50_000), Duration::ZERO).await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM due").await, 0);

        paid(&db, "INV-2").await;
        ask(&db, "INV-2", "REFUNDED").await;
        let claim = evidence::inquiry(&db.store, "INV-2").await;
        db.store.record(&claim, &reported("REFUNDED", 50_000), Duration::ZERO).await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'refunded'").await, 1);
        assert_eq!(db.number("SELECT count(*) FROM notifications WHERE applied AND reason IS NULL").await, 2);
    })
    .await;
}

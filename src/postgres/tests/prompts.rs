//! What DOKU's own key signed: recorded once, never as what was told before, and an inquiry at most once a minute.

use super::{
    evidence::{notification, notify},
    *,
};
use crate::{
    domain::{finding::DokuError, notification::Notification},
    flow::ports::Reconciled,
};

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

fn declined() -> Finding {
    let error = DokuError { code: "declined".to_owned(), message: "no".to_owned() };
    send(SendFindingKind::Declined(error))
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
        db.jump(61).await;
        assert_eq!(db.number(DUE).await, 1, "what it says is asked about when the minute ends");
        let asked = evidence::inquiry(&db.store, "INV-1").await;
        db.store.record(&asked, &reported("PENDING", 50_000), Duration::ZERO).await.unwrap();
        ask(&db, "INV-1", "SUCCESS").await;
        assert_eq!(db.number(DUE).await, 0, "the minute after that one");
        db.jump(122).await;
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

/// The second report comes within the minute of the first, and says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_soon_after_another_is_asked_about_too() {
    for is_under_way in [false, true] {
        on_a_database(|db| async move {
            let claim = db.claim(payment("c-1", "INV-1")).await;
            db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
            ask(&db, "INV-1", "SUCCESS").await;
            let asked = evidence::inquiry(&db.store, "INV-1").await;
            if is_under_way {
                ask(&db, "INV-1", "REFUNDED").await;
            }
            db.store.record(&asked, &reported("SUCCESS", 50_000), Duration::ZERO).await.unwrap();
            assert_eq!(db.state().await, "paid");
            if !is_under_way {
                db.jump(20).await;
                ask(&db, "INV-1", "REFUNDED").await;
            }
            assert_eq!(db.number(DUE).await, 0, "{is_under_way}");
            db.jump(61).await;
            assert_eq!(db.number(DUE).await, 1, "{is_under_way}");
            let asked = evidence::inquiry(&db.store, "INV-1").await;
            db.store.record(&asked, &reported("REFUNDED", 50_000), Duration::ZERO).await.unwrap();
            assert_eq!(db.state().await, "refunded");
            assert_eq!(db.number("SELECT count(*) FROM due").await, 0);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inquiry_that_a_report_made_due_and_that_fails_is_made_again() {
    on_a_database(|db| async move {
        paid(&db, "INV-1").await;
        ask(&db, "INV-1", "REFUNDED").await;
        let asked = evidence::inquiry(&db.store, "INV-1").await;
        let finding = InquiryFindingKind::Failed { why: "HTTP 500".to_owned() };
        let failed = InquiryFinding { kind: finding, http_status: Some(500), retry_after: None };
        db.store.record(&asked, &Finding::Inquiry(failed), Duration::ZERO).await.unwrap();
        assert_eq!(db.number(DUE).await, 0);
        db.jump(61).await;
        assert_eq!(db.number(DUE).await, 1);
        let asked = evidence::inquiry(&db.store, "INV-1").await;
        db.store.record(&asked, &reported("REFUNDED", 50_000), Duration::ZERO).await.unwrap();
        assert_eq!(db.state().await, "refunded");
    })
    .await;
}

/// What the claim of a refund, or of a send, writes about the order comes before the inquiry is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_before_the_inquiry_is_made_does_not_put_it_off() {
    on_a_database(|db| async move {
        paid(&db, "INV-1").await;
        ask(&db, "INV-1", "REFUNDED").await;
        let claimed = db.store.claim(NewCommand { lease: None, ..refund("r-1", "INV-1") }).await;
        assert!(matches!(claimed, Ok(Claimed::Deferred)), "{claimed:?}");
        assert_eq!(db.number(DUE).await, 1, "the claim of a refund");
        let asked = evidence::inquiry(&db.store, "INV-1").await;
        db.store.record(&asked, &reported("REFUNDED", 50_000), Duration::ZERO).await.unwrap();
        assert_eq!((db.number(DUE).await, db.state().await.as_str()), (0, "refunded"));

        let claimed = db.store.claim(NewCommand { lease: None, ..payment("c-2", "INV-2") }).await;
        assert!(matches!(claimed, Ok(Claimed::Deferred)), "{claimed:?}");
        ask(&db, "INV-2", "SUCCESS").await;
        let due = db.store.due(&filter()).await.unwrap();
        let send = due.iter().find(|order| matches!(order.what, DueWhat::Send { .. })).expect("a send");
        let DueClaim::Attempt(send) = db.store.claim_due(send, for_it(send), LEASE).await.unwrap() else {
            panic!("not taken")
        };
        db.store.record(&send, &declined(), Duration::ZERO).await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'failed'").await, 1);
        assert_eq!(db.number(DUE).await, 1, "the record of a send");
        let asked = evidence::inquiry(&db.store, "INV-2").await;
        db.store.record(&asked, &reported("SUCCESS", 50_000), Duration::ZERO).await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'paid'").await, 1);
        assert_eq!(db.number("SELECT count(*) FROM due").await, 0);
    })
    .await;
}

/// The report commits while the record is written that ends what the order waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inquiry_that_becomes_due_while_a_first_answer_is_written_is_kept() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("c-1", "INV-1")).await;
        let (late, held) = db.overtaken("orders", "all_or_nothing").await;
        let recording = tokio::spawn(async move { late.record(&claim, &declined(), Duration::ZERO).await });
        db.until_overtaken().await;
        ask(&db, "INV-1", "SUCCESS").await;
        held.rollback().await.unwrap();
        recording.await.unwrap().unwrap();
        assert_eq!((db.state().await.as_str(), db.number(DUE).await), ("failed", 1));
    })
    .await;
}

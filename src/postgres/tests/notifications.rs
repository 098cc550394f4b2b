//! Verified notifications: recorded with their effect, or parked until their order appears, whoever of the
//! two commits first.

use super::*;
use crate::{domain::notification::Notification, flow::ports::Reconciled};
use futures_util::future::join_all;
use tokio::sync::Barrier;

fn said(invoice: &str, status: &str, amount: &str) -> Notification {
    Notification {
        form: Form::Jenius,
        request_id: "R-1".to_owned(),
        invoice_number: invoice.to_owned(),
        status: Some(status.to_owned()),
        amount: Some(amount.to_owned()),
        request: None,
    }
}

async fn notify(db: &Db, invoice: &str, status: &str, amount: &str) -> Reconciled {
    db.store.reconcile(&merchant(), &said(invoice, status, amount)).await.unwrap()
}

/// As a worker does it: the claim is committed, then parked rows are looked for.
async fn claim_and_look(db: &Db, invoice: &str) -> bool {
    let claim = db.claim(payment(&format!("c-{invoice}"), invoice)).await;
    db.store.apply_parked(&claim).await.unwrap()
}

async fn parked(db: &Db) -> i64 {
    db.number("SELECT count(*) FROM notifications WHERE order_key IS NULL").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_and_a_claim_that_commit_at_once_always_meet() {
    const LANES: usize = 10;
    const EACH: usize = 100;
    on_a_database(|db| async move {
        let lanes = (0..LANES).map(|lane| {
            let db = &db;
            async move {
                let (mut by_claim, mut by_notification) = (0, 0);
                for n in 0..EACH {
                    let invoice = format!("INV-{lane}-{n}");
                    let barrier = Barrier::new(2);
                    let late = |head_start: bool| async move {
                        if head_start {
                            tokio::time::sleep(Duration::from_micros(300 * (n as u64 % 8))).await;
                        }
                    };
                    let claiming = async {
                        barrier.wait().await;
                        late(n % 2 == 0).await;
                        claim_and_look(db, &invoice).await
                    };
                    let notified = async {
                        barrier.wait().await;
                        late(n % 2 == 1).await;
                        notify(db, &invoice, "SUCCESS", "50000").await
                    };
                    let (decided, reconciled) = tokio::join!(claiming, notified);
                    by_claim += usize::from(decided && reconciled == Reconciled::Parked);
                    by_notification += usize::from(reconciled == Reconciled::Applied);
                }
                (by_claim, by_notification)
            }
        });
        let ends = join_all(lanes).await;
        let total = ends.iter().fold((0, 0), |sum, end| (sum.0 + end.0, sum.1 + end.1));
        assert!(total.0 > 0 && total.1 > 0, "only one order was seen: {total:?}");
        assert_eq!(total.0 + total.1, LANES * EACH, "{total:?}");
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'paid'").await, 1000);
        assert_eq!(db.number("SELECT count(*) FROM notifications WHERE applied").await, 1000);
        assert_eq!(parked(&db).await, 0);
        assert_eq!(db.number("SELECT count(*) FROM events WHERE type = 'order.paid'").await, 1000);
    })
    .await;
}

/// The claim commits, and looks, between the notification's look and its commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_within_the_parking_is_found_by_the_second_look() {
    on_a_database(|db| async move {
        let mut holding = db.sql.begin().await.unwrap();
        sqlx::query("LOCK TABLE notifications IN SHARE MODE").execute(&mut *holding).await.unwrap();
        let parking = tokio::spawn({
            let db = db.clone();
            async move { notify(&db, "INV-1", "SUCCESS", "50000").await }
        });
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'notifications'::regclass";
        while db.number(waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!claim_and_look(&db, "INV-1").await, "nothing is parked yet");
        holding.commit().await.unwrap();
        assert_eq!(parking.await.unwrap(), Reconciled::Applied);
        assert_eq!(db.state().await, "paid");
    })
    .await;
}

/// The notification is parked, and has looked twice, while the claim is not committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_parked_within_a_claim_is_found_before_the_send() {
    on_a_database(|db| async move {
        let mut holding = db.sql.begin().await.unwrap();
        sqlx::query("LOCK TABLE orders IN SHARE MODE").execute(&mut *holding).await.unwrap();
        let claiming = tokio::spawn({
            let db = db.clone();
            async move { claim_and_look(&db, "INV-1").await }
        });
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass";
        while db.number(waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50000").await, Reconciled::Parked);
        holding.commit().await.unwrap();
        assert!(claiming.await.unwrap(), "it decided the order");
        assert_eq!(db.types().await, ["jenius.payment.accepted.v1", "jenius.order.paid.v1"]);
    })
    .await;
}

#[tokio::test]
async fn what_was_parked_may_decide_nothing_and_is_recorded_all_the_same() {
    on_a_database(|db| async move {
        let incomplete = Notification { amount: None, ..said("INV-1", "SUCCESS", "") };
        for _ in 0..2 {
            let parked = db.store.reconcile(&merchant(), &incomplete).await.unwrap();
            assert_eq!(parked, Reconciled::Parked);
        }
        assert!(!claim_and_look(&db, "INV-1").await);
        assert_eq!(db.state().await, "submitting");
        let incomplete = "SELECT count(*) FROM notifications WHERE reason = 'incomplete' AND NOT applied";
        assert_eq!(db.number(incomplete).await, 1);
        // Parked twice, kept once, applied once.
        for _ in 0..2 {
            notify(&db, "INV-2", "SUCCESS", "50000").await;
        }
        assert!(claim_and_look(&db, "INV-2").await);
        let reasons = "SELECT string_agg(coalesce(reason, 'applied'), ' ' ORDER BY key) FROM notifications
                       WHERE invoice_number = 'INV-2'";
        assert_eq!(db.text(reasons).await, "applied");
        assert_eq!(db.types().await, ["jenius.payment.accepted.v1", "jenius.order.paid.v1"]);
    })
    .await;
}

#[tokio::test]
async fn the_net_applies_what_is_parked_though_its_order_is_known() {
    on_a_database(|db| async move {
        for n in 0..3 {
            assert_eq!(notify(&db, &format!("INV-{n}"), "SUCCESS", "50000").await, Reconciled::Parked);
        }
        // A worker that died between its claim and its look.
        for n in 0..2 {
            let _claim = db.claim(payment(&format!("{n}"), &format!("INV-{n}"))).await;
        }
        db.store.sweep_parked().await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'paid'").await, 2);
        assert_eq!(parked(&db).await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_nobodys_order_came_for_is_dropped_after_seven_days_and_nothing_else_is() {
    const WEEK: i64 = 7 * 86_400;
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50000").await, Reconciled::NoChange);
        for strange in ["VA/77 of another channel", &"x".repeat(128), "INV-2"] {
            assert_eq!(notify(&db, strange, "SUCCESS", "1").await, Reconciled::Parked);
        }
        for (seconds, left) in [(WEEK - 60, 3), (WEEK + 60, 0)] {
            db.jump(seconds).await;
            db.store.sweep_parked().await.unwrap();
            assert_eq!(parked(&db).await, left);
        }
        assert_eq!(db.number("SELECT count(*) FROM notifications").await, 1);
    })
    .await;
}

/// An order that cannot be written, whatever the reason, holds up no other, nor the deletion of what is old.
#[tokio::test]
async fn the_net_goes_on_behind_an_order_that_is_refused() {
    on_a_database(|db| async move {
        for n in 0..4 {
            assert_eq!(notify(&db, &format!("INV-{n}"), "SUCCESS", "50000").await, Reconciled::Parked);
        }
        for n in 0..3 {
            let _claim = db.claim(payment(&format!("{n}"), &format!("INV-{n}"))).await;
        }
        let refuse = "ALTER TABLE orders ADD CONSTRAINT refused CHECK (invoice_number <> 'INV-0' OR state = 'submitting')";
        db.execute(refuse).await.unwrap();
        assert_eq!(notify(&db, "VA/1", "SUCCESS", "1").await, Reconciled::Parked);
        db.execute("UPDATE notifications SET received_at = now() - interval '8 days' WHERE amount = '1'").await.unwrap();
        assert!(db.store.sweep_parked().await.is_err(), "it says so");
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'paid'").await, 2);
        assert_eq!(db.number("SELECT count(*) FROM notifications WHERE amount = '1'").await, 0);
        assert_eq!(parked(&db).await, 2, "the refused one's, and one that nobody's order came for");
        db.execute("ALTER TABLE orders DROP CONSTRAINT refused").await.unwrap();
        db.store.sweep_parked().await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'paid'").await, 3);
    })
    .await;
}

/// More than one look of the net, and more than one statement drops.
#[tokio::test]
async fn the_net_passes_many_rows_and_all_that_is_old_goes_at_once() {
    const STRANGERS: &str =
        "INSERT INTO notifications (merchant, invoice_number, request_id, status, amount, report_key, received_at)
        SELECT 'default', 'A/' || n, 'R', 'SUCCESS', '1', 'SUCCESS', now() - interval '8 days' * (n % 2)
        FROM generate_series(1, 25000) n";
    on_a_database(|db| async move {
        db.execute(STRANGERS).await.unwrap();
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50000").await, Reconciled::Parked);
        let _claim = db.claim(payment("1", "INV-1")).await;
        db.store.sweep_parked().await.unwrap();
        assert_eq!((db.state().await, parked(&db).await), ("paid".to_owned(), 12_500));
        db.execute("VACUUM notifications").await.unwrap();
        let believed = db.store.gauges(CountingPace::AtOnce).await.unwrap().parked_notifications;
        assert!((10_000..=13_000).contains(&believed), "{believed}");
    })
    .await;
}

/// What was told stays known, whatever order it is told of, and a person's decision holds.
#[tokio::test]
async fn of_parked_rows_only_what_is_worth_it_is_kept() {
    on_a_database(|db| async move {
        for n in 0..250 {
            let failed =
                Notification { request: Some(format!("VA-{n}")), ..said("INV-1", "FAILED", "50000") };
            assert_eq!(db.store.reconcile(&merchant(), &failed).await.unwrap(), Reconciled::Parked);
        }
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50000").await, Reconciled::Parked);
        assert!(claim_and_look(&db, "INV-1").await, "it decided the order");
        assert_eq!((db.state().await, parked(&db).await), ("paid".to_owned(), 0));
        let kept = "SELECT count(*) FROM notifications WHERE reason = 'other_request'";
        assert_eq!(db.number(kept).await, 250);
    })
    .await;
}

/// A back office that resends for ever fills no table; what changes something is kept all the same.
#[tokio::test]
async fn an_order_keeps_so_many_notifications_and_no_more() {
    on_a_database(|db| async move {
        let _claim = db.claim(payment("1", "INV-1")).await;
        for _ in 0..120 {
            notify(&db, "INV-1", "PENDING", "50000").await;
        }
        assert_eq!(db.number("SELECT count(*) FROM notifications").await, 100);
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50000").await, Reconciled::Applied);
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50000").await, Reconciled::NoChange);
        assert_eq!(db.number("SELECT count(*) FROM notifications").await, 101);
        assert_eq!(db.state().await, "paid");
    })
    .await;
}

#[tokio::test]
async fn a_notification_came_no_later_than_the_event_it_made() {
    on_a_database(|db| async move {
        let _claim = db.claim(payment("1", "INV-1")).await;
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50000").await, Reconciled::Applied);
        let earlier = "SELECT count(*) FROM events e JOIN notifications n USING (order_key)
                       WHERE n.received_at <= e.created_at";
        assert_eq!(db.number(earlier).await, 2);
    })
    .await;
}

/// The same evidence again is no new evidence, also where a person has decided in between.
#[tokio::test]
async fn a_repeated_contradiction_does_not_undo_what_a_person_decided() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50001").await, Reconciled::Mismatch);
        assert_eq!(db.state().await, "review");
        sqlx::query("UPDATE orders SET state = 'paid', review_cause = NULL").execute(&db.sql).await.unwrap();
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50001").await, Reconciled::NoChange);
        assert_eq!(db.state().await, "paid");
        assert_eq!(notify(&db, "INV-1", "SUCCESS", "50002").await, Reconciled::Mismatch);
        assert_eq!(db.state().await, "review");
    })
    .await;
}

/// What the alert and `doctor` recommend ends what they complain of.
#[tokio::test]
async fn while_the_rule_about_requests_is_off_no_merchant_is_never_matched() {
    on_a_database(|db| async move {
        db.execute("INSERT INTO reported_requests (merchant, others) VALUES ('default', 5)").await.unwrap();
        for (match_request_id, found) in [(true, vec![(merchant(), 5)]), (false, vec![])] {
            let store = evidence::hasty(&db, AttemptSchedule { match_request_id, ..schedule() });
            assert_eq!(store.never_matched().await.unwrap(), found);
        }
    })
    .await;
}

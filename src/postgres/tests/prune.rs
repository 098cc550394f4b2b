//! Retention: what goes, and what must never go.

use super::*;
use crate::postgres::{OrderImport, PaidOrder, PruneRun, Pruned, order_view};

const DAY: i64 = 24 * 3600;

/// Everything older than 30 days, or what that would be.
async fn prune(db: &Db, dry_run: bool) -> Pruned {
    let mut run = PruneRun::begin(&db.pool, 30).await.unwrap();
    let mut pruned = Pruned::default();
    while !run.is_done() {
        pruned.add(run.batch(&db.pool, dry_run).await.unwrap());
    }
    pruned
}

async fn bodies(db: &Db) -> i64 {
    db.number("SELECT count(*) FROM commands WHERE octet_length(request_body) > 0").await
}

#[tokio::test]
async fn what_ended_long_ago_loses_its_details_and_keeps_its_identity_and_events() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let events = db.number("SELECT count(*) FROM events").await;
        assert_eq!(prune(&db, false).await, Pruned::default(), "nothing is old");
        db.jump(31 * DAY).await;
        let would = prune(&db, true).await;
        assert_eq!(
            (would.requests, would.attempts, bodies(&db).await),
            (1, 2, 1),
            "a dry run changes nothing"
        );
        assert_eq!(prune(&db, false).await, would);
        assert_eq!((bodies(&db).await, db.number("SELECT count(*) FROM attempts").await), (0, 0));
        assert_eq!(db.number("SELECT count(*) FROM events").await, events);
        assert_eq!(prune(&db, false).await, Pruned::default(), "once is enough");

        let view = order_view(&db.pool, "default", "INV-1").await.unwrap().unwrap();
        assert!(view.order.pruned && view.attempts.is_empty());
        assert_eq!(view.history.len(), 2);
        let again = db.store.claim(payment("pay-INV-1", "INV-1")).await.unwrap();
        assert!(matches!(again, Claimed::Duplicate), "{again:?}");
    })
    .await;
}

#[tokio::test]
async fn an_order_that_is_open_or_in_review_keeps_everything() {
    on_a_database(|db| async move {
        for invoice in ["INV-submitting", "INV-awaiting", "INV-review", "INV-due"] {
            let claim = db.claim(payment(invoice, invoice)).await;
            if invoice != "INV-submitting" {
                db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
            }
        }
        let states = "UPDATE orders SET state = 'review', review_cause = 'amount_mismatch'
                      WHERE invoice_number = 'INV-review';
                      UPDATE orders SET state = 'expired', announced_expired = true WHERE invoice_number = 'INV-due';
                      DELETE FROM due USING orders o WHERE o.order_key = due.order_key AND o.state = 'review'";
        db.execute(states).await.unwrap();
        db.jump(31 * DAY).await;
        assert_eq!(prune(&db, false).await, Pruned::default());
        assert_eq!(bodies(&db).await, 4);
        db.execute("DELETE FROM due USING orders o WHERE o.order_key = due.order_key AND o.state = 'expired'")
            .await
            .unwrap();
        assert_eq!(prune(&db, false).await.requests, 1, "now nothing is due for it");
    })
    .await;
}

#[tokio::test]
async fn an_order_that_somebody_works_on_is_left_for_the_next_run() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        db.jump(31 * DAY).await;
        let mut held = db.sql.begin().await.unwrap();
        sqlx::query("SELECT FROM orders FOR UPDATE").execute(&mut *held).await.unwrap();
        assert_eq!(prune(&db, false).await, Pruned::default());
        held.rollback().await.unwrap();
        assert_eq!(prune(&db, false).await.requests, 1);
    })
    .await;
}

/// What was learned of an order after its request went, and of one that never had a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_run_takes_what_came_after_the_request_was_emptied() {
    on_a_database(|db| async move {
        for imported in [false, true] {
            if imported {
                let import = OrderImport {
                    orders: vec![PaidOrder {
                        merchant: merchant(),
                        invoice_number: InvoiceNumber::parse("INV-true").unwrap(),
                        amount: Rupiah::new(50_000).unwrap(),
                        paid_at: chrono::DateTime::UNIX_EPOCH,
                        request_id: None,
                    }],
                    accounts: vec![account()],
                    file: "orders.csv".to_owned(),
                    reason: "from before".to_owned(),
                    done_by: None,
                    dry_run: false,
                };
                db.store.import_orders(import).await.unwrap();
            } else {
                db.paid_order("INV-false").await;
            }
            let invoice = format!("INV-{imported}");
            db.jump(31 * DAY).await;
            assert_eq!(prune(&db, false).await.requests, i64::from(!imported), "{imported}");
            db.store
                .ask_about(&merchant(), &evidence::notification(&invoice, "SUCCESS", 50_000))
                .await
                .unwrap();
            let asked = evidence::inquiry(&db.store, &invoice).await;
            db.store.record(&asked, &reported("SUCCESS", 50_000), Duration::ZERO).await.unwrap();
            for _ in 0..2 {
                evidence::notify(&db.store, &invoice, "SUCCESS", 50_000).await;
            }
            db.jump(62 * DAY).await;
            let would = prune(&db, true).await;
            assert_eq!((would.requests, would.attempts, would.notifications), (0, 1, 1), "{imported}");
            assert_eq!(prune(&db, false).await, would, "{imported}");
            assert_eq!(prune(&db, false).await, Pruned::default(), "{imported}");

            // A repeat alone.
            evidence::notify(&db.store, &invoice, "SUCCESS", 50_000).await;
            let repeat = Pruned { notifications: 1, ..Pruned::default() };
            assert_eq!(prune(&db, false).await, repeat, "{imported}");
        }
    })
    .await;
}

//! Events that are published again.

use super::*;
use crate::{
    domain::{Time, event::EventType},
    postgres::{Replayed, operators::replay::Slice},
};

/// As if the relay had published everything.
async fn publish_all(db: &Db) {
    db.execute(
        "INSERT INTO publications (event_id, published_at) SELECT event_id, jenius_now() FROM outbox;
         DELETE FROM outbox",
    )
    .await
    .unwrap();
}

async fn slices(db: &Db, of: Replayed, events: u32) -> Vec<Slice> {
    let mut all: Vec<Slice> = Vec::new();
    while let Some(slice) = db.store.next_slice(of, all.last().copied(), events).await.unwrap() {
        all.push(slice);
    }
    all
}

fn ever() -> Replayed {
    Replayed::Time { since: Time::UNIX_EPOCH, until: Time::from_timestamp(4_000_000_000, 0).unwrap() }
}

async fn put_back(db: &Db, of: Replayed, event_type: Option<EventType>, events: u32) -> i64 {
    let mut count = 0;
    for slice in slices(db, of, events).await {
        let counted = db.store.count_published(slice, event_type).await.unwrap();
        let put = db.store.put_back(slice, event_type).await.unwrap();
        assert_eq!((put.count, db.store.left_of(put).await.unwrap()), (counted, counted));
        count += put.count;
    }
    count
}

#[tokio::test]
async fn an_orders_events_are_published_again_in_their_order_and_hold_nothing_back() {
    on_a_database(|db| async move {
        for invoice in ["INV-1", "INV-2"] {
            db.paid_order(invoice).await;
        }
        publish_all(&db).await;
        let first = InvoiceNumber::parse("INV-1").unwrap();
        let of = db.store.order_to_replay(&merchant(), &first).await.unwrap().unwrap();
        assert_eq!(put_back(&db, of, None, 500).await, 2);
        let told = "SELECT string_agg(type || ' ' || (o.order_key IS NULL), ', ' ORDER BY sequence)
                    FROM outbox o JOIN events USING (event_id)";
        assert_eq!(db.text(told).await, "payment.accepted true, order.paid true");
        assert_eq!(put_back(&db, of, Some(EventType::OrderPaid), 500).await, 1);
        let nobodys = InvoiceNumber::parse("INV-3").unwrap();
        assert!(db.store.order_to_replay(&merchant(), &nobodys).await.unwrap().is_none());
    })
    .await;
}

/// It has its turn already: put in again, it could be first published before an earlier version.
#[tokio::test]
async fn what_was_never_published_is_left_to_its_turn() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        assert_eq!(put_back(&db, ever(), None, 500).await, 0);
        assert_eq!(db.number("SELECT count(*) FROM outbox").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_time_is_from_its_first_moment_to_before_its_last() {
    on_a_database(|db| async move {
        for (n, seconds) in [(1, 0), (2, 600), (3, 1200)] {
            db.jump(seconds).await;
            let claim = db.claim(payment(&n.to_string(), &format!("INV-{n}"))).await;
            db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        }
        publish_all(&db).await;
        let at: Vec<Time> = sqlx::query_scalar("SELECT created_at FROM events ORDER BY created_at")
            .fetch_all(&db.sql)
            .await
            .unwrap();
        let moment = chrono::TimeDelta::microseconds(1);
        for (since, until, count) in [
            (at[0], at[2] + moment, 3),
            (at[0], at[2], 2),
            (at[0] + moment, at[2], 1),
            (at[1], at[1] + moment, 1),
            (at[1], at[1], 0),
            (at[2], at[0], 0),
        ] {
            assert_eq!(
                put_back(&db, Replayed::Time { since, until }, None, 1).await,
                count,
                "{since} {until}"
            );
        }
        let declined = Some(EventType::PaymentDeclined);
        assert_eq!(put_back(&db, ever(), declined, 500).await, 0);
    })
    .await;
}

/// Ids of one millisecond are in no order: cut within one, a slice could bring an order's second event
/// before its first.
#[tokio::test]
async fn slices_are_bounded_and_end_between_milliseconds() {
    on_a_database(|db| async move {
        let milliseconds = [1, 1, 1, 1, 2, 3, 3, 4, 5, 6];
        for (n, ms) in milliseconds.into_iter().enumerate() {
            let id = format!("0190000000{ms:02}-7{n:03}-8000-{:012}", 97 - 7 * n).replace('-', "");
            let row = format!(
                "INSERT INTO events (event_id, type, body, created_at)
                 VALUES ('{id}', 'command.rejected', '{{}}', to_timestamp(x'0190000000{ms:02}'::bigint / 1000.0));
                 INSERT INTO publications VALUES ('{id}', now())"
            );
            db.execute(&row).await.unwrap();
        }
        let mut counts = Vec::new();
        for slice in slices(&db, ever(), 2).await {
            counts.push(db.store.count_published(slice, None).await.unwrap());
        }
        assert_eq!(counts, [0, 4, 1, 2, 2, 1], "one millisecond may be more than was asked for");
        assert_eq!(put_back(&db, ever(), None, 3).await, 10);
        assert_eq!(db.number("SELECT count(DISTINCT event_id) FROM outbox").await, 10);
    })
    .await;
}

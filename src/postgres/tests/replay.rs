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

async fn slices(db: &Db, of: Replayed, event_type: Option<EventType>, events: u32) -> Vec<Slice> {
    let mut all: Vec<Slice> = Vec::new();
    while let Some(slice) = db.store.next_slice(of, event_type, all.last().copied(), events).await.unwrap() {
        all.push(slice);
    }
    all
}

fn ever() -> Replayed {
    Replayed::Time { since: Time::UNIX_EPOCH, until: Time::from_timestamp(4_000_000_000, 0).unwrap() }
}

async fn put_back(db: &Db, of: Replayed, event_type: Option<EventType>, events: u32) -> i64 {
    let mut count = 0;
    for slice in slices(db, of, event_type, events).await {
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
        for slice in slices(&db, ever(), None, 2).await {
            counts.push(db.store.count_published(slice, None).await.unwrap());
        }
        assert_eq!(counts, [0, 4, 1, 2, 2, 1], "one millisecond may be more than was asked for");
        assert_eq!(put_back(&db, ever(), None, 3).await, 10);
        assert_eq!(db.number("SELECT count(DISTINCT event_id) FROM outbox").await, 10);
    })
    .await;
}

/// Settled rows, two of one order, whose ids are those of rows and not of a time.
async fn settle(db: &Db) {
    for (key, invoice, hours) in [(1, "INV-1", 0), (2, "INV-2", 1), (3, "INV-1", 2), (4, "INV-3", 3)] {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &[key]);
        db.execute(&format!(
            "INSERT INTO settlement_rows (id, number, merchant, batch, invoice_number, kind, gross, fee, discount, net,
                                          transaction_on, paid_out_on, files)
             VALUES ('{id}', 1, 'default', 'B', '{invoice}', 'purchase', 1, 0, 0, 1, '2026-01-01', '2026-01-02', '{{1}}');
             INSERT INTO events (event_id, type, body, created_at)
             VALUES ('{id}', 'settlement.matched', '{{\"data\":{{\"invoice_number\":\"{invoice}\"}}}}',
                     jenius_now() + interval '{hours} hours');
             INSERT INTO publications VALUES ('{id}', now())"
        ))
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn events_of_settled_rows_are_published_again_by_time_and_with_their_order() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        settle(&db).await;
        publish_all(&db).await;
        let settled = Some(EventType::SettlementMatched);
        for (of_type, events, expected) in [
            (None, 500, 6),
            (None, 1, 6),
            (settled, 500, 4),
            (settled, 1, 4),
            (Some(EventType::OrderPaid), 500, 1),
        ] {
            assert_eq!(put_back(&db, ever(), of_type, events).await, expected, "{of_type:?} {events}");
        }
        let now = db.store.now().await.unwrap();
        let minutes = chrono::TimeDelta::minutes;
        let hour = Replayed::Time { since: now + minutes(30), until: now + minutes(90) };
        assert_eq!(put_back(&db, hour, settled, 500).await, 1);
        let first = InvoiceNumber::parse("INV-1").unwrap();
        let of = db.store.order_to_replay(&merchant(), &first).await.unwrap().unwrap();
        assert_eq!(put_back(&db, of, None, 500).await, 4, "its own two, and two of its rows");
    })
    .await;
}

/// Most of their ids are larger than any id of a time.
#[tokio::test]
async fn events_of_settled_rows_hide_no_other_in_the_consoles_list_and_have_their_own() {
    use crate::{flow::ports::EventFilter, postgres::latest_events};
    on_a_database(|db| async move {
        settle(&db).await;
        db.paid_order("INV-1").await;
        let listed = async |filter: EventFilter| latest_events(&db.pool, &filter).await.unwrap().events;
        let any = EventFilter { limit: 10, ..EventFilter::default() };
        let types: Vec<_> = listed(any.clone()).await.into_iter().map(|e| e.event_type).collect();
        assert_eq!(types, ["order.paid", "payment.accepted"]);
        let settled = EventFilter { event_type: Some(EventType::SettlementMatched), limit: 3, ..any };
        let first = listed(settled.clone()).await;
        let invoices = |events: &[crate::flow::ports::EventView]| {
            events.iter().map(|e| e.invoice_number.clone().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(invoices(&first), ["INV-3", "INV-1", "INV-2"]);
        let next = EventFilter { before: Some(first[2].event_id), ..settled.clone() };
        assert_eq!(invoices(&listed(next).await), ["INV-1"]);
        let order = Some((merchant(), InvoiceNumber::parse("INV-1").unwrap()));
        assert_eq!(listed(EventFilter { order, ..settled }).await.len(), 2);
    })
    .await;
}

//! The relay's leadership and its outbox.

use super::*;
use crate::{
    flow::ports::{Outbox, OutboxEvent, RelayLeadership, StoreError},
    postgres::PostgresLeadership,
};
use std::sync::Arc;
use tokio::sync::Notify;

#[tokio::test]
async fn one_relay_is_active_and_another_takes_over_when_it_is_gone() {
    on_a_database(|db| async move {
        let (first, second) = (PostgresLeadership::new(db.pool.clone()), PostgresLeadership::new(db.pool.clone()));
        let mut active = first.acquire().await.unwrap().unwrap();
        assert!(second.acquire().await.unwrap().is_none());
        let end = "SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                   WHERE l.locktype = 'advisory' AND d.datname = current_database()";
        assert_eq!(db.number(end).await, 1);
        let lost = active.unpublished(10, &LeftOut::default()).await;
        assert!(matches!(lost, Err(StoreError::Away(_))), "a relay without its seat reads nothing: {lost:?}");
        for _ in 0..100 {
            if second.acquire().await.unwrap().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nobody took over");
    })
    .await;
}

#[tokio::test]
async fn an_event_leaves_the_outbox_only_when_it_is_marked() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let mut outbox = PostgresLeadership::new(db.pool.clone()).acquire().await.unwrap().unwrap();
        let events = outbox.unpublished(10, &LeftOut::default()).await.unwrap();
        let keys: Vec<_> = events.iter().map(|e| e.routing_key.as_str()).collect();
        assert_eq!(keys, ["payment.accepted", "order.paid"]);
        assert_eq!(outbox.unpublished(1, &LeftOut::default()).await.unwrap().len(), 1);
        let first = &events[0];
        assert_eq!(first.event_type, "jenius.payment.accepted.v1");
        assert_eq!(first.correlation_id.as_deref(), Some("pay-INV-1"));
        assert_eq!(first.traceparent.as_deref(), Some("00-aa-bb-01"));
        assert_eq!(first.order_key, events[1].order_key);
        assert!(first.age < Duration::from_secs(60));
        let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
        assert_eq!(body["id"], first.event_id.to_string());
        outbox.mark_published(&[first.sequence]).await.unwrap();
        let rest = outbox.unpublished(10, &LeftOut::default()).await.unwrap();
        assert_eq!(rest.iter().map(|e| e.sequence).collect::<Vec<_>>(), [events[1].sequence]);
        assert_eq!(db.number("SELECT count(*) FROM publications").await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_a_look_leaves_out_hides_nothing_else() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        db.paid_order("INV-2").await;
        db.execute("INSERT INTO events (event_id, type, body, created_at) SELECT gen_random_uuid(), 'settlement.matched', '{}', now()")
            .await
            .unwrap();
        db.execute("INSERT INTO outbox (event_id) SELECT event_id FROM events WHERE order_key IS NULL").await.unwrap();
        let mut outbox = PostgresLeadership::new(db.pool.clone()).acquire().await.unwrap().unwrap();
        let all = outbox.unpublished(10, &LeftOut::default()).await.unwrap();
        let [first, _, .., last] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((all.len(), last.order_key), (5, None));
        let but = LeftOut { sequences: vec![last.sequence], orders: first.order_key.into_iter().collect() };
        let seen = outbox.unpublished(10, &but).await.unwrap();
        let of_other = |event: &&OutboxEvent| event.order_key.is_some() && event.order_key != first.order_key;
        let others: Vec<_> = all.iter().filter(of_other).map(|event| event.sequence).collect();
        assert_eq!(seen.iter().map(|event| event.sequence).collect::<Vec<_>>(), others);
        let but = LeftOut { sequences: Vec::new(), ..but };
        assert_eq!(outbox.unpublished(10, &but).await.unwrap().len(), others.len() + 1);
    })
    .await;
}

#[tokio::test]
async fn a_commit_wakes_the_relay_and_follow_up_where_something_is_due_soon() {
    on_a_database(|db| async move {
        let within = |notify: Arc<Notify>| async move {
            tokio::time::timeout(Duration::from_millis(200), notify.notified()).await.is_ok()
        };
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        assert!(within(db.store.outbox_changed()).await);
        assert!(!within(db.store.due_changed()).await, "Check Status is a minute away");
        let claim = db.claim(payment("2", "INV-2")).await;
        db.store.record(&claim, &not_acted(), Duration::ZERO).await.unwrap();
        assert!(within(db.store.due_changed()).await);
    })
    .await;
}

#[tokio::test]
async fn a_commit_wakes_a_relay_in_another_process() {
    on_a_database(|db| async move {
        let schedule = db.store.context.schedule.clone();
        let elsewhere = PostgresStore::with_jitter(pool(db.options.clone(), 2), schedule, Arc::new(|| 0.5));
        let (_here, relay_is_here) = tokio::sync::watch::channel(false);
        let listening = tokio::spawn(elsewhere.listen_for_others(true));
        let telling = tokio::spawn(db.store.tell_other_relays(relay_is_here));
        let mut woken = false;
        // The first commits may come before it listens.
        for n in 0..20 {
            let id = n.to_string();
            let claim = db.claim(payment(&id, &format!("INV-{n}"))).await;
            db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
            let notified = elsewhere.outbox_changed();
            woken = tokio::time::timeout(Duration::from_millis(300), notified.notified()).await.is_ok();
            if woken {
                break;
            }
        }
        listening.abort();
        telling.abort();
        assert!(woken);
    })
    .await;
}

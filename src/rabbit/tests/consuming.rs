//! What becomes of a delivery, and how much is taken.

use super::*;
use crate::{flow::disposition::DeadReason, rabbit::deliveries::LARGE_BYTES};
use lapin::types::AMQPValue;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Semaphore;

fn text(headers: &FieldTable, name: &str) -> String {
    match &headers.inner()[name] {
        AMQPValue::LongString(text) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

fn header(message: &BasicGetMessage, name: &str) -> String {
    text(message.properties.headers().as_ref().unwrap(), name)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acked_is_gone() {
    with_rig(async |rig| {
        let queue = &rig.names.payments_queue;
        rig.put_numbers(queue, 0..200).await;
        let done = Arc::new(AtomicUsize::new(0));
        let counter = done.clone();
        let consumer = rig.consumer(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            dispose(Disposition::Ack)
        });
        until("all are handled", async || done.load(Ordering::SeqCst) == 200).await;
        consumer.stop().await;
        assert_eq!(rig.ready(queue).await, 0);
        assert_eq!(done.load(Ordering::SeqCst), 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_keeps_its_bytes_and_says_why() {
    with_rig(async |rig| {
        let queue = &rig.names.payments_queue;
        let body: Vec<u8> = (0..=255).collect();
        let mut headers = FieldTable::default();
        headers.insert("theirs".into(), AMQPValue::LongString("kept".into()));
        let properties = BasicProperties::default()
            .with_content_type("text/odd".into())
            .with_message_id("m-1".into())
            .with_user_id("guest".into())
            .with_headers(headers);
        rig.put(queue, &body, properties).await;
        let consumer = rig.consumer(|_| {
            dispose(Disposition::DeadLetter { reason: DeadReason::Malformed, detail: "not JSON".to_owned() })
        });
        until("it is dead", async || rig.ready(&rig.names.dead_queue).await == 1).await;
        consumer.stop().await;
        assert_eq!(rig.ready(queue).await, 0);
        let dead = rig.get(&rig.names.dead_queue).await.unwrap();
        assert_eq!(dead.data, body);
        assert_eq!(dead.routing_key.as_str(), queue);
        assert_eq!(dead.properties.content_type(), &Some("text/odd".into()));
        assert_eq!(dead.properties.message_id(), &Some("m-1".into()));
        let said = ["x-jenius-reason", "x-jenius-detail", "x-jenius-queue", "x-jenius-at", "theirs"]
            .map(|h| header(&dead, h));
        assert_eq!(said, ["malformed", "not JSON", queue, "1970-01-01T00:00:00Z", "kept"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_stays_while_its_dead_letter_is_not_taken() {
    with_rig(async |rig| {
        let n = &rig.names;
        let letters = Arc::new(AtomicUsize::new(0));
        let counter = letters.clone();
        let consumer = rig.consumer(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            dispose(Disposition::DeadLetter { reason: DeadReason::Malformed, detail: String::new() })
        });
        until("the links are up", async || rig.broker.health().ok).await;
        let unbind = async |queue: &str, exchange: &str| {
            rig.channel
                .queue_unbind(
                    short_string(queue),
                    short_string(exchange),
                    short_string("#"),
                    FieldTable::default(),
                )
                .await
                .unwrap();
        };
        unbind(&n.dead_queue, &n.dead_exchange).await;
        rig.put(&n.payments_queue, b"x", BasicProperties::default()).await;
        // It came back, was given back, and the queue was bound again.
        until("it is dead", async || rig.ready(&n.dead_queue).await == 1).await;
        assert!(letters.load(Ordering::SeqCst) >= 2);
        consumer.stop().await;
        assert_eq!(rig.ready(&n.payments_queue).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_comes_again() {
    with_rig(async |rig| {
        let sent_at = 1_769_878_800;
        rig.put(&rig.names.payments_queue, b"x", BasicProperties::default().with_timestamp(sent_at)).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let consumer = rig.consumer(move |delivery| {
            assert_eq!(delivery.sent_at.map(|at| at.timestamp()), i64::try_from(sent_at).ok());
            log.lock().unwrap().push((delivery.delivery_count, delivery.redelivered));
            dispose(if delivery.redelivered { Disposition::Ack } else { Disposition::Requeue })
        });
        until("it came twice", async || seen.lock().unwrap().len() == 2).await;
        consumer.stop().await;
        assert_eq!(*seen.lock().unwrap(), [(0, false), (1, true)]);
        assert_eq!(rig.ready(&rig.names.payments_queue).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_panics_ends_in_the_dead_queue_and_its_neighbours_are_done() {
    with_rig(async |rig| {
        rig.put_numbers(&rig.names.payments_queue, 0..40).await;
        let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let log = seen.clone();
        let consumer = rig.consumer(move |delivery| {
            let body = String::from_utf8(delivery.body.to_vec()).unwrap();
            *log.lock().unwrap().entry(body.clone()).or_default() += 1;
            async move {
                assert_ne!(body, "20", "planted");
                Disposition::Ack
            }
            .boxed()
        });
        until("it is dead", async || rig.ready(&rig.names.dead_queue).await == 1).await;
        until("all came", async || seen.lock().unwrap().len() == 40).await;
        consumer.stop().await;
        assert_eq!(rig.ready(&rig.names.payments_queue).await, 0);
        let dead = rig.get(&rig.names.dead_queue).await.unwrap();
        assert_eq!(dead.data, b"20");
        let Some(AMQPValue::FieldArray(deaths)) =
            dead.properties.headers().as_ref().unwrap().inner().get("x-death").cloned()
        else {
            panic!("no x-death");
        };
        let AMQPValue::FieldTable(death) = &deaths.as_slice()[0] else { panic!("no table") };
        assert_eq!(text(death, "reason"), "delivery_limit");
        let seen = seen.lock().unwrap();
        assert!(seen.iter().all(|(body, times)| *times == if body == "20" { 11 } else { 1 }), "{seen:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_twice_is_worked_on_alone() {
    with_rig(async |rig| {
        rig.put_numbers(&rig.names.payments_queue, 0..20).await;
        let (working, crowd, done) =
            (AtomicUsize::new(0), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let state = Arc::new((working, crowd));
        let (shared, counter) = (state.clone(), done.clone());
        let consumer = rig.consumer(move |delivery| {
            let (state, done) = (shared.clone(), counter.clone());
            async move {
                let beside = state.0.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                state.0.fetch_sub(1, Ordering::SeqCst);
                if delivery.delivery_count < 2 {
                    return Disposition::Requeue;
                }
                state.1.fetch_max(beside + 1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                Disposition::Ack
            }
            .boxed()
        });
        until("all are done", async || done.load(Ordering::SeqCst) == 20).await;
        consumer.stop().await;
        assert_eq!(state.1.load(Ordering::SeqCst), 1);
    })
    .await;
}

/// A handler that is done with all but these, which wait: at their first delivery, or only once they are suspects.
fn holding(
    held: &'static [(&'static str, u64)],
    waiting: &Arc<Semaphore>,
    in_hand: &Arc<AtomicUsize>,
    done: &Arc<AtomicUsize>,
) -> impl Fn(Delivery) -> BoxFuture<'static, Disposition> + use<> {
    let (waiting, in_hand, done) = (waiting.clone(), in_hand.clone(), done.clone());
    move |delivery| {
        let (waiting, in_hand, done) = (waiting.clone(), in_hand.clone(), done.clone());
        let from = held.iter().find(|(body, _)| body.as_bytes() == delivery.body.as_ref());
        let from = from.map(|(_, from)| *from);
        async move {
            match from {
                Some(from) if delivery.delivery_count < from => return Disposition::Requeue,
                Some(_) => {
                    in_hand.fetch_add(1, Ordering::SeqCst);
                    waiting.acquire().await.unwrap().forget();
                }
                None => {}
            }
            done.fetch_add(1, Ordering::SeqCst);
            Disposition::Ack
        }
        .boxed()
    }
}

/// One that came back twice; several, of which the later ones come when one at a time is taken; and one that came once,
/// beside one that came back twice and has nothing to wait for but it.
#[tokio::test(flavor = "multi_thread")]
async fn those_that_only_wait_hold_nobody_back_however_many_they_are() {
    let cases: [(&[(&str, u64)], &str); 3] =
        [(&[("7", 2)], "none"), (&[("7", 2), ("8", 2), ("9", 2)], "none"), (&[("7", 0)], "12")];
    for (held, back) in cases {
        with_rig(async |rig| {
            let (waiting, in_hand, done) = (Arc::new(Semaphore::new(0)), Arc::default(), Arc::default());
            let handle = holding(held, &waiting, &in_hand, &done);
            let consumer = rig.consumer(move |delivery| {
                let is_back = delivery.body.as_ref() == back.as_bytes() && delivery.delivery_count < 2;
                if is_back { dispose(Disposition::Requeue) } else { handle(delivery) }
            });
            rig.put_numbers(&rig.names.payments_queue, 0..20).await;
            let count = held.len();
            until("all that wait are held", async || in_hand.load(Ordering::SeqCst) == count).await;
            rig.put_numbers(&rig.names.payments_queue, 20..40).await;
            let others = async || done.load(Ordering::SeqCst) == 40 - count;
            until("all others are done, those that came later too", others).await;
            waiting.add_permits(count);
            until("they themselves", async || done.load(Ordering::SeqCst) == 40).await;
            consumer.stop().await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pace_is_followed() {
    with_rig(async |rig| {
        let queue = &rig.names.payments_queue;
        let held = Arc::new(AtomicUsize::new(0));
        let permits = Arc::new(Semaphore::new(0));
        let (counter, gate) = (held.clone(), permits.clone());
        let consumer = rig.consumer(move |_| {
            let (held, gate) = (counter.clone(), gate.clone());
            async move {
                held.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                held.fetch_sub(1, Ordering::SeqCst);
                Disposition::Ack
            }
            .boxed()
        });
        let holds = async |count: usize, ready: u32| {
            until(&format!("{count} held, {ready} ready"), async || {
                held.load(Ordering::SeqCst) == count && rig.ready(queue).await == ready
            })
            .await;
        };
        rig.put_numbers(queue, 0..120).await;
        // The probe is innocent, and is still held beside a full prefetch.
        holds(51, 69).await;
        consumer.consume.send_replace(Consume::Stopped);
        permits.add_permits(51);
        holds(0, 69).await;
        rig.put_numbers(queue, 0..1).await;
        consumer.consume.send_replace(Consume::OneAtATime);
        holds(1, 69).await;
        permits.add_permits(1);
        holds(1, 68).await;
        consumer.consume.send_replace(Consume::Normal);
        holds(51, 18).await;
        // Slower again: what is in hand must be done first.
        consumer.consume.send_replace(Consume::OneAtATime);
        tokio::time::sleep(Duration::from_millis(500)).await;
        permits.add_permits(50);
        until("one is held", async || held.load(Ordering::SeqCst) <= 2).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((held.load(Ordering::SeqCst), rig.ready(queue).await), (1, 18));
        permits.add_permits(1);
        holds(1, 17).await;
        consumer.leave_now.cancel();
        until("all is given back", async || rig.ready(queue).await == 18).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_in_hand_and_takes_no_more() {
    with_rig(async |rig| {
        let queue = &rig.names.payments_queue;
        let (held, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counter, gate) = (held.clone(), permits.clone());
        let consumer = rig.consumer(move |_| {
            let (held, gate) = (counter.clone(), gate.clone());
            async move {
                held.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                Disposition::Ack
            }
            .boxed()
        });
        rig.put_numbers(queue, 0..5).await;
        until("all are held", async || held.load(Ordering::SeqCst) == 5).await;
        consumer.stop.cancel();
        // The cancel takes its time; a queue counts the consumer until its last delivery is acked.
        until("something stays where it is", async || {
            rig.put_numbers(queue, 5..6).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            rig.ready(queue).await > 0
        })
        .await;
        let (taken, left) = (held.load(Ordering::SeqCst), rig.ready(queue).await);
        assert!(!consumer.task.is_finished());
        permits.add_permits(taken);
        consumer.stop().await;
        assert_eq!((held.load(Ordering::SeqCst), rig.ready(queue).await), (taken, left));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishers_delivery_count_serialises_nobody() {
    with_rig(async |rig| {
        const MESSAGES: usize = 20;
        let mut headers = FieldTable::default();
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(2));
        for _ in 0..MESSAGES {
            let properties = BasicProperties::default().with_headers(headers.clone());
            rig.put(&rig.names.payments_queue, b"x", properties).await;
        }
        // None is done before all of them are in hand.
        let (all_in_hand, counts) =
            (Arc::new(tokio::sync::Barrier::new(MESSAGES)), Arc::new(Mutex::new(Vec::new())));
        let (barrier, log) = (all_in_hand.clone(), counts.clone());
        let consumer = rig.consumer(move |delivery| {
            let (barrier, log) = (barrier.clone(), log.clone());
            async move {
                barrier.wait().await;
                log.lock().unwrap().push(delivery.delivery_count);
                Disposition::Ack
            }
            .boxed()
        });
        until("all are done", async || counts.lock().unwrap().len() == MESSAGES).await;
        assert_eq!(*counts.lock().unwrap(), [0; MESSAGES]);
        consumer.stop().await;
    })
    .await;
}

/// The broker sends as many as the prefetch allows, whatever their size.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_in_hand_one_at_a_time() {
    with_rig(async |rig| {
        let (in_hand, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let state = Arc::new((in_hand, most, done));
        for _ in 0..8 {
            rig.put(&rig.names.payments_queue, &vec![b' '; LARGE_BYTES + 1], BasicProperties::default())
                .await;
        }
        let shared = state.clone();
        let consumer = rig.consumer(move |_| {
            let state = shared.clone();
            async move {
                let beside = state.0.fetch_add(1, Ordering::SeqCst);
                state.1.fetch_max(beside + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
                state.0.fetch_sub(1, Ordering::SeqCst);
                state.2.fetch_add(1, Ordering::SeqCst);
                Disposition::Ack
            }
            .boxed()
        });
        until("all are done", async || state.2.load(Ordering::SeqCst) == 8).await;
        consumer.stop().await;
        assert_eq!(state.1.load(Ordering::SeqCst), 1);
    })
    .await;
}

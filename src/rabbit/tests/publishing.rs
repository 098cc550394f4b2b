//! What the broker says about what is published.

use super::*;
use crate::{
    flow::ports::{EventPublisher, OutboxEvent, Published},
    rabbit::{Message, PublishAnswer, PublishAnswer::*, Watch},
};
use bytes::Bytes;
use lapin::types::AMQPValue;
use uuid::Uuid;

fn publisher(broker: &Broker) -> Publisher {
    let (publisher, task) = Publisher::new(broker, "publisher", &[Part::Events]);
    tokio::spawn(task.run(CancellationToken::new()));
    publisher
}

/// A queue that takes nothing: everything routed to it is refused.
async fn full_queue(rig: &Rig, exchange: &str, key: &str) -> String {
    let queue = format!("{}.full", rig.names.payments_queue);
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    rig.channel.queue_declare(short_string(&queue), exclusive, arguments).await.unwrap();
    crate::rabbit::declare::bind(&rig.channel, &queue, exchange, key).await.unwrap();
    queue
}

fn event(number: u32, key: &str) -> OutboxEvent {
    OutboxEvent {
        sequence: i64::from(number),
        event_id: Uuid::now_v7(),
        order_key: Some(1),
        routing_key: key.to_owned(),
        event_type: format!("jenius.{key}.v1"),
        correlation_id: Some("c-1".to_owned()),
        traceparent: Some("00-1-2-01".to_owned()),
        body: Bytes::from(number.to_string()),
        age: Duration::ZERO,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_a_batch_gets_its_own_answer() {
    with_rig(async |rig| {
        let n = &rig.names;
        full_queue(rig, &n.dead_exchange, "full").await;
        // The events exchange has no alternate one: what reaches no queue comes back.
        let message = |exchange: &str, key: &str, id: usize| {
            Message::cloud_event(exchange, key, &id.to_string(), "t", Bytes::from(format!("{id}"))).unwrap()
        };
        let mut messages = Vec::new();
        let mut expected: Vec<PublishAnswer> = Vec::new();
        for id in 0..300 {
            let (exchange, key, answer) = match id % 7 {
                3 => (&n.events_exchange, "nowhere", Returned),
                5 => (&n.dead_exchange, "full", Refused),
                _ => (&n.commands_exchange, "payment.request", Confirmed),
            };
            messages.push(message(exchange, key, id));
            expected.push(answer);
        }
        let publisher = publisher(&rig.broker);
        assert_eq!(publisher.publish_all(messages).await, expected);
        let confirmed = expected.iter().filter(|a| **a == Confirmed).count();
        assert_eq!(rig.ready(&n.payments_queue).await as usize, confirmed);
        // An alternate exchange takes what is misrouted, and confirms it.
        let misrouted = message(&n.commands_exchange, "payment.requests", 1);
        assert_eq!(publisher.publish_one(misrouted).await, Confirmed);
        assert_eq!(rig.ready(&n.unrouted_queue).await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_the_same_time_get_their_own_answers() {
    with_rig(async |rig| {
        let publisher = publisher(&rig.broker);
        let mut callers = tokio::task::JoinSet::new();
        for id in 0..200 {
            let (publisher, names) = (publisher.clone(), rig.names.clone());
            callers.spawn(async move {
                let (exchange, expected) = match id % 2 {
                    0 => (&names.events_exchange, Returned),
                    _ => (&names.commands_exchange, Confirmed),
                };
                let message =
                    Message::cloud_event(exchange, "payment.request", &id.to_string(), "t", Bytes::new())
                        .unwrap();
                assert_eq!(publisher.publish_one(message).await, expected);
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller.unwrap();
        }
        assert_eq!(rig.ready(&rig.names.payments_queue).await, 100);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nacked_event_is_not_published_and_its_neighbours_are() {
    with_rig(async |rig| {
        full_queue(rig, &rig.names.events_exchange, "order.failed").await;
        let events = [event(1, "order.paid"), event(2, "order.failed"), event(3, "order.paid")];
        let published = publisher(&rig.broker).publish(&events).await;
        assert_eq!(published, [Published::Confirmed, Published::Refused, Published::Confirmed]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_carries_the_documented_properties() {
    with_rig(async |rig| {
        let queue = format!("{}.subscriber", rig.names.payments_queue);
        let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        rig.channel.queue_declare(short_string(&queue), exclusive, FieldTable::default()).await.unwrap();
        crate::rabbit::declare::bind(&rig.channel, &queue, &rig.names.events_exchange, "order.*")
            .await
            .unwrap();
        let full = event(1, "order.paid");
        let bare = OutboxEvent { correlation_id: None, traceparent: None, ..event(2, "order.paid") };
        publisher(&rig.broker).publish(&[full.clone(), bare]).await;
        let message = rig.get(&queue).await.unwrap();
        let p = &message.properties;
        assert_eq!(message.data, full.body);
        assert_eq!(p.message_id(), &Some(short_string(&full.event_id.to_string())));
        assert_eq!(p.kind(), &Some("jenius.order.paid.v1".into()));
        assert_eq!(p.correlation_id(), &Some("c-1".into()));
        assert_eq!(p.content_type(), &Some("application/cloudevents+json".into()));
        assert_eq!(p.delivery_mode(), &Some(2));
        let trace = &p.headers().as_ref().unwrap().inner()["traceparent"];
        assert_eq!(trace, &AMQPValue::LongString("00-1-2-01".into()));
        let bare = rig.get(&queue).await.unwrap();
        assert_eq!((bare.properties.correlation_id(), bare.properties.headers()), (&None, &None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sees_the_events_of_its_keys() {
    with_rig(async |rig| {
        let mut all = Watch::start(&rig.broker, &[]).await.unwrap();
        let mut paid = Watch::start(&rig.broker, &["order.paid"]).await.unwrap();
        let events: Vec<_> =
            (0..250).map(|n| event(n, if n % 2 == 0 { "order.paid" } else { "order.failed" })).collect();
        assert!(publisher(&rig.broker).publish(&events).await.iter().all(|p| *p == Published::Confirmed));
        for number in 0..250 {
            assert_eq!(all.next().await.unwrap(), number.to_string());
        }
        for number in (0..250).step_by(2) {
            assert_eq!(paid.next().await.unwrap(), number.to_string());
        }
        all.close().await;
        paid.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_publisher_says_that_it_knows_nothing() {
    with_rig(async |rig| {
        let (publisher, task) = Publisher::new(&rig.broker, "publisher", &[]);
        let stop = CancellationToken::new();
        let task = tokio::spawn(task.run(stop.clone()));
        until("it is up", async || rig.broker.health().ok).await;
        stop.cancel();
        tokio::time::timeout(PATIENCE, task).await.expect("it does not stop").unwrap();
        assert_eq!(publisher.publish(&[event(1, "order.paid")]).await, [Published::Unconfirmed]);
        assert!(!rig.broker.health_of("publisher").ok);
    })
    .await;
}

//! Looking at dead letters loses none, and keeps their order.

use super::*;
use crate::{
    domain::command::CommandKind,
    flow::disposition::DeadReason,
    rabbit::{
        dead::{DeadLetterBrowser, DeadQueue, Destination, FetchedLetter, SearchMax},
        publisher::PublishAnswer,
    },
};
use bytes::Bytes;

async fn all(look: &mut DeadLetterBrowser, queue: DeadQueue) -> Vec<FetchedLetter> {
    let mut all = Vec::new();
    while let Some(held) = look.take(queue).await.unwrap() {
        all.push(held);
    }
    all
}

/// Ids and bodies of the dead queue, at one look.
async fn seen(rig: &Rig) -> Vec<(String, Bytes)> {
    let mut look = DeadLetterBrowser::start(&rig.broker).await.unwrap();
    let seen = all(&mut look, DeadQueue::Dead).await;
    look.end().await.unwrap();
    seen.into_iter().map(|held| (held.letter.id, held.body)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_keeps_every_letter_its_place_and_its_id() {
    with_rig(async |rig| {
        let queue = &rig.names.dead_queue;
        rig.put_numbers(queue, 0..20).await;
        rig.put_numbers(queue, 3..5).await;
        until("all are there", async || rig.ready(queue).await == 22).await;
        let first = seen(rig).await;
        for _ in 0..10 {
            assert_eq!(seen(rig).await, first, "all are given back at once, in their order");
        }
        let bodies: Vec<_> = (0..20).chain(3..5).map(|n: u32| Bytes::from(n.to_string())).collect();
        assert_eq!(first.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>(), bodies);
        let ids: std::collections::BTreeSet<_> = first.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), 22, "{first:?}");
        assert_eq!(first[20].0, format!("{}-2", first[3].0), "alike to the byte");
        // A look that is cut, as by a failpoint, loses nothing either; but the broker gives back in its own order.
        let mut cut = DeadLetterBrowser::start(&rig.broker).await.unwrap();
        assert_eq!(all(&mut cut, DeadQueue::Dead).await.len(), 22);
        drop(cut);
        until("all are back", async || rig.ready(queue).await == 22).await;
        let sorted = |mut seen: Vec<(String, Bytes)>| {
            seen.sort();
            seen
        };
        assert_eq!(sorted(seen(rig).await), sorted(first));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_gone_and_the_rest_stays() {
    with_rig(async |rig| {
        let queue = &rig.names.dead_queue;
        rig.put_numbers(queue, 0..5).await;
        until("all are there", async || rig.ready(queue).await == 5).await;
        let mut look = DeadLetterBrowser::start(&rig.broker).await.unwrap();
        let held = all(&mut look, DeadQueue::Dead).await;
        assert_eq!(held.iter().map(|held| held.left).collect::<Vec<_>>(), [4, 3, 2, 1, 0]);
        for held in held.into_iter().filter(|held| held.body != "2") {
            held.remove().await.unwrap();
        }
        look.end().await.unwrap();
        let left = seen(rig).await;
        assert_eq!(left.iter().map(|(_, body)| body.as_ref()).collect::<Vec<_>>(), [b"2"]);
    })
    .await;
}

/// Each look puts what it saw behind the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_says_whether_a_letter_that_it_did_not_find_may_lie_further_back() {
    with_rig(async |rig| {
        let queue = &rig.names.dead_queue;
        rig.put_numbers(queue, 0..20).await;
        until("all are there", async || rig.ready(queue).await == 20).await;
        let ids: Vec<String> = seen(rig).await.into_iter().map(|(id, _)| id).collect();
        let find = async |wanted: &[&str], letters, bytes| {
            let mut look = DeadLetterBrowser::start(&rig.broker).await.unwrap();
            let mut wanted = wanted.iter().map(|id| (*id).to_owned()).collect();
            let found = look.find(&mut wanted, SearchMax { letters, bytes }).await.unwrap();
            look.end().await.unwrap();
            (found.letters.len(), wanted.len(), found.is_cut)
        };
        assert_eq!(find(&[&ids[3], &ids[12]], 10, 1000).await, (1, 1, true));
        // The first ten are at the back now, and a longer search finds them.
        assert_eq!(find(&[&ids[3]], 10, 1000).await, (0, 1, true));
        assert_eq!(find(&[&ids[3]], 20, 1000).await, (1, 0, false));
        let both = [ids[0].as_str(), &ids[1]];
        assert_eq!(find(&both, 100, 1).await, (1, 1, true), "bodies are bounded too");
        assert_eq!(find(&["none"], 100, 1000).await, (0, 1, false), "it is in no queue");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_tells_how_it_died_and_goes_back_as_it_was_sent() {
    with_rig(async |rig| {
        let queue = &rig.names.payments_queue;
        let mut headers = FieldTable::default();
        headers.insert("theirs".into(), lapin::types::AMQPValue::LongString("kept".into()));
        let properties = BasicProperties::default().with_message_id("m-1".into()).with_headers(headers);
        rig.put(queue, b"{\xff", properties).await;
        let consumer = rig.consumer(|_| {
            dispose(Disposition::DeadLetter { reason: DeadReason::Malformed, detail: "not UTF-8".to_owned() })
        });
        let dead = &rig.names.dead_queue;
        until("it is dead", async || rig.ready(dead).await == 1).await;
        for replays in 0..2 {
            let mut look = DeadLetterBrowser::start(&rig.broker).await.unwrap();
            let held = look.take(DeadQueue::Dead).await.unwrap().unwrap();
            let letter = &held.letter;
            assert_eq!((letter.reason(), letter.detail()), ("malformed", Some("not UTF-8")));
            assert_eq!(letter.at(), Some(chrono::DateTime::UNIX_EPOCH));
            assert_eq!(letter.destination, Some(Destination::Command(CommandKind::Payment)));
            assert_eq!(
                (letter.replays, letter.bytes, letter.message_id.as_deref()),
                (replays, 2, Some("m-1"))
            );
            assert!(letter.headers.contains(&("theirs".to_owned(), None)), "{:?}", letter.headers);
            let again = held.again(&rig.names).unwrap().unwrap();
            assert_eq!(consumer.publisher.publish_one(again).await, PublishAnswer::Confirmed);
            held.remove().await.unwrap();
            look.end().await.unwrap();
            until("it died again", async || rig.ready(dead).await == 1).await;
        }
        consumer.stop().await;
        let died = rig.get(dead).await.unwrap();
        let told = died.properties.headers().as_ref().unwrap().inner()["x-jenius-deaths"].clone();
        let twice = "malformed 1970-01-01T00:00:00Z; malformed 1970-01-01T00:00:00Z";
        assert_eq!(told, lapin::types::AMQPValue::LongString(twice.into()));
        assert_eq!(died.data, b"{\xff");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reached_no_queue_says_so_and_goes_where_it_belongs() {
    with_rig(async |rig| {
        let body = br#"{"type":"jenius.refund.request.v1","id":"r-1"}"#;
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default().with_timestamp(7);
        let exchange = short_string(&rig.names.commands_exchange);
        rig.channel
            .basic_publish(exchange, short_string("refunds.please"), options, body, properties)
            .await
            .unwrap();
        until("it is there", async || rig.ready(&rig.names.unrouted_queue).await == 1).await;
        let mut look = DeadLetterBrowser::start(&rig.broker).await.unwrap();
        let held = look.take(DeadQueue::Unrouted).await.unwrap().unwrap();
        look.end().await.unwrap();
        let letter = &held.letter;
        assert_eq!((letter.reason(), letter.at().map(|at| at.timestamp())), ("unrouted", Some(7)));
        assert!(letter.detail().unwrap().contains("refunds.please"), "{letter:?}");
        assert_eq!(letter.destination, Some(Destination::Command(CommandKind::Refund)));
        assert_eq!(letter.command_id.as_deref(), Some("r-1"));
    })
    .await;
}

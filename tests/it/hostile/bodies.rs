//! A thousand bodies with something wrong in them, under absurd properties, over all three queues.

use super::Thrown;
use crate::harness::{
    World, broker, commands::Message, eventually_or, payment, refund, reports::Report, snap::SnapReport,
};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldArray, FieldTable, LongString},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const COUNT: usize = 1000;
const NEIGHBOUR_EVERY: usize = 20;
const NEIGHBOUR_WAITS_MAX: Duration = Duration::from_secs(15);

/// Members and values that parsers stumble over, as they stand in JSON.
const VALUES: [&str; 12] = [
    "null",
    "[]",
    "{}",
    "true",
    "-1",
    "1e400",
    "9999999999999999999999999999999999999999",
    "0.1",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"a\\r\\nX-Evil: 1\"",
    "\"\u{202e}\u{feff}\"",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Payments,
    Refunds,
    Notifications,
}

/// The good text of a queue, its own by its id.
fn good(queue: Queue, invoice: &str, nth: usize) -> String {
    match queue {
        Queue::Payments => payment(invoice).body.to_string(),
        Queue::Refunds => refund(invoice).body.to_string(),
        Queue::Notifications if nth.is_multiple_of(2) => Report::success(invoice).event().to_string(),
        Queue::Notifications => SnapReport::success(invoice).event().to_string(),
    }
}

fn paths(value: &Value, here: &str, found: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in members {
        let path = format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
        paths(value, &path, found);
        found.push(path);
    }
}

/// One place of the text holds another value.
fn with_another_value(text: &str, dice: &mut fastrand::Rng) -> Vec<u8> {
    const MARK: &str = "\u{1}here";
    let mut body: Value = serde_json::from_str(text).unwrap();
    let mut all = Vec::new();
    paths(&body, "", &mut all);
    *body.pointer_mut(&all[dice.usize(..all.len())]).unwrap() = json!(MARK);
    body.to_string().replace(&json!(MARK).to_string(), VALUES[dice.usize(..VALUES.len())]).into_bytes()
}

fn mutated(nth: usize, text: &str, dice: &mut fastrand::Rng) -> Vec<u8> {
    let mut body = text.as_bytes().to_vec();
    match nth % 10 {
        0 if nth < 60 => vec![b'x'; 1024 * 1024 + nth],
        0 => Vec::new(),
        1 => {
            body.insert(dice.usize(..body.len()), 0xff);
            body
        }
        2 => [vec![b'['; 5000 + nth], vec![b']'; 5000 + nth]].concat(),
        3 => text.replacen("\"data\":", "\"data\":{},\"data\":", 1).into_bytes(),
        4 => text.replacen('{', &format!("{{\"x\":{},", "[".repeat(dice.usize(1..300))), 1).into_bytes(),
        5 => {
            body.truncate(dice.usize(..body.len()));
            body
        }
        _ => with_another_value(text, dice),
    }
}

fn absurd(nth: usize) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut nested = AMQPValue::FieldArray(FieldArray::default());
    for _ in 0..60 {
        nested = AMQPValue::FieldArray(vec![nested].into());
    }
    let (name, value) = match nth % 6 {
        0 => ("x-jenius-reason", AMQPValue::LongString("crashed".into())),
        1 => ("x-delivery-count", AMQPValue::LongLongInt(i64::MAX)),
        2 => ("nested", nested),
        3 => ("wide", AMQPValue::LongString(LongString::from(vec![0xff; 60_000]))),
        4 => ("x-death\r\nX-Evil: 1", AMQPValue::Void),
        _ => ("x-delivery-count", AMQPValue::Double(-1e300)),
    };
    headers.insert(name.into(), value);
    let content_type = match nth % 40 {
        0 => "text/html",
        1 => "\r\nX-Evil: 1",
        2 => "",
        3 => "APPLICATION/JSON; charset=x",
        _ => "application/cloudevents+json",
    };
    BasicProperties::default()
        .with_content_type(content_type.into())
        .with_content_encoding("gzip".into())
        .with_priority(255)
        .with_correlation_id("c".repeat(255).as_str().into())
        .with_reply_to("\r\nX-Evil: 1\0".into())
        .with_message_id("\u{202e}".repeat(85).as_str().into())
        .with_timestamp(u64::MAX / 2)
        .with_app_id("'; DROP TABLE orders; --".into())
        .with_delivery_mode(2)
        .with_headers(headers)
}

async fn publish(channel: &Channel, world: &World, queue: Queue, properties: BasicProperties, body: &[u8]) {
    let (exchange, key) = match queue {
        Queue::Payments => ("commands", "payment.request"),
        Queue::Refunds => ("commands", "refund.request"),
        Queue::Notifications => ("notifications", "any"),
    };
    let exchange = format!("{}.{exchange}", world.broker.prefix);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange.as_str().into(), key.into(), options, body, properties).await;
    assert!(sent.unwrap().await.unwrap().is_ack());
}

/// Waits for every neighbour, and says how long the slowest took.
async fn worst(world: &World, neighbours: &[(String, Instant)]) -> Duration {
    let mut worst = Duration::ZERO;
    for (invoice, published) in neighbours {
        world.event(invoice, "payment.accepted").await;
        worst = worst.max(published.elapsed());
        assert!(published.elapsed() < NEIGHBOUR_WAITS_MAX, "{invoice} waited {:?}", published.elapsed());
    }
    worst
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_hostile_messages_on_three_queues_end_as_a_rejection_or_a_dead_letter() {
    let world = World::new().await;
    let connection = Connection::connect(&broker::url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut dice = fastrand::Rng::with_seed(4_100);
    let mut thrown: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    let mut neighbours = Vec::new();
    for nth in 0..COUNT {
        let queue = [Queue::Payments, Queue::Refunds, Queue::Notifications][dice.usize(..3)];
        let body = mutated(nth, &good(queue, &format!("H-{}-{nth}", world.unique()), nth / 2), &mut dice);
        publish(&channel, &world, queue, absurd(nth), &body).await;
        *thrown.entry(body).or_default() += 1;
        if nth % NEIGHBOUR_EVERY == 0 {
            let invoice = world.invoice();
            let started = Instant::now();
            publish(
                &channel,
                &world,
                Queue::Payments,
                BasicProperties::default(),
                &payment(&invoice).bytes(),
            )
            .await;
            neighbours.push((invoice, started));
        }
        if nth % (NEIGHBOUR_EVERY * 5) == 0 {
            slowest = slowest.max(worst(&world, &std::mem::take(&mut neighbours)).await);
        }
    }
    slowest = slowest.max(worst(&world, &neighbours).await);
    let (dead, rejected, taken) = accounted(&world, thrown).await;
    assert!(dead > 400 && rejected > 50, "{dead} dead letters, {rejected} rejections");
    world.end().await;
    let became = format!("{dead} dead letters, {rejected} rejections, {taken} valid after all");
    Thrown { what: "messages on three queues", count: COUNT, became, worst: Some(slowest) }.prove();
}

/// Every message is exactly one of: a dead letter, byte for byte; a rejection, told; taken as it was.
async fn accounted(world: &World, mut thrown: BTreeMap<Vec<u8>, usize>) -> (usize, usize, usize) {
    const REJECTED: &str = "SELECT count(*) FROM commands WHERE outcome = 'rejected'";
    const COMMANDS: &str =
        "SELECT count(*) FROM commands WHERE coalesce(invoice_number, '') NOT LIKE 'INV-%'";
    const NOTIFIED: &str = "SELECT count(*) FROM notifications";
    let settled = async || {
        let dead = usize::try_from(world.broker.depth("dead").await).unwrap();
        let known = world.database.count(COMMANDS).await + world.database.count(NOTIFIED).await;
        (dead, usize::try_from(known).unwrap())
    };
    let what = || "every message to be known or dead".to_owned();
    let (dead, known) = eventually_or(what, async || {
        let (dead, known) = settled().await;
        (dead + known >= COUNT).then_some((dead, known))
    })
    .await;
    assert_eq!(dead + known, COUNT);
    for _ in 0..dead {
        let letter = world.broker.get("dead").await.unwrap();
        let left = thrown.get_mut(&letter.body).expect("a dead letter that nobody threw");
        *left = left.checked_sub(1).expect("dead-lettered twice");
        let reason = letter.reason.unwrap();
        assert!(["malformed", "not_authentic"].contains(&reason.as_str()), "{reason}");
        let detail = letter.detail.unwrap();
        assert!(!detail.is_empty() && !detail.contains(char::is_control), "{detail:?}");
    }
    let rejected = usize::try_from(world.database.count(REJECTED).await).unwrap();
    let told = || world.events(|e| e.routing_key == "command.rejected").len();
    let what = || format!("{rejected} rejections; told so far: {}", told());
    eventually_or(what, async || (told() >= rejected).then_some(())).await;
    (dead, rejected, known - rejected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_and_texts_at_the_edge_of_what_postgres_holds_are_taken_or_rejected() {
    let world = World::new().await;
    let mut messages = Vec::new();
    for time in [
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "2026-12-31T23:59:60Z",
        "9999-12-31T23:59:59.999999999Z",
    ] {
        messages.push(payment(&world.invoice()).with("expirytime", time));
    }
    for source in ["\u{10ffff}".repeat(255), "é".repeat(255)] {
        messages.push(payment(&world.invoice()).with("source", source));
    }
    let tracestate = "a=".to_owned() + &"~".repeat(510);
    let traced =
        payment(&world.invoice()).with("traceparent", format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16)));
    messages.push(traced.with("tracestate", tracestate));
    messages.push(payment(&world.invoice()).with("merchant", "\u{10ffff}".repeat(128)));
    messages.push(payment(&world.invoice()).with("id", "~".repeat(128)));
    for message in &messages {
        world.publish(message).await;
    }
    for message in &messages {
        let ended = async || {
            world
                .events(|e| e.data("command_id").as_str() == Some(Message::id(message)))
                .pop()
                .map(|e| e.routing_key)
        };
        eventually_or(|| message.body.to_string(), ended).await;
    }
    assert_eq!(world.broker.depth("dead").await, 0);
    world.end().await;
}

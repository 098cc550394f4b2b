//! AMQP properties that no client library writes: the message ends in the dead queue, and alone.

use super::Thrown;
use crate::harness::{
    World, broker, eventually, payment,
    raw::{CONTENT_TYPE, CORRELATION_ID, HEADERS, Raw, long, short},
    refund,
    reports::Report,
};
use std::time::{Duration, Instant};

const NEIGHBOURS: usize = 120;
const NEIGHBOUR_WAITS_MAX: Duration = Duration::from_secs(25);

/// lapin cannot parse what is no UTF-8: it ends the connection, each time the message comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_properties_nobody_can_parse_ends_dead_and_alone() {
    let world = World::with().notified().build().await;
    let order = world.waiting().await;
    let no_utf8 = short(b"\xff\xfe");
    let header = long(&[&no_utf8[..], b"V"].concat());
    let poison = [
        ("commands", "payment.request", CONTENT_TYPE, no_utf8.clone()),
        ("commands", "refund.request", CORRELATION_ID, no_utf8),
        ("notifications", "any", HEADERS, header),
    ];
    let prefix = world.broker.prefix.clone();
    let throw = move || {
        let mut raw = Raw::connect(&broker::url());
        for (exchange, key, flags, properties) in &poison {
            raw.publish(&format!("{prefix}.{exchange}"), key, *flags, properties, b"poison");
        }
    };
    tokio::task::spawn_blocking(throw).await.unwrap();
    let started = Instant::now();
    let invoices: Vec<String> = (0..NEIGHBOURS).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    let refused = refund(&world.invoice());
    world.publish(&refused).await;
    world.queue(&Report::success(&order).event()).await;
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    world.rejected(refused.id()).await;
    world.event(&order, "order.paid").await;
    let worst = started.elapsed();
    assert!(worst < NEIGHBOUR_WAITS_MAX, "neighbours waited {worst:?}");
    let dead = async || (world.broker.depth("dead").await >= 3).then_some(());
    eventually("three dead letters", dead).await;
    assert_eq!(world.broker.depth("dead").await, 3, "a neighbour was dead-lettered");
    world.end().await;
    let became = "3 dead letters, by the broker's delivery limit".to_owned();
    Thrown { what: "properties that are no UTF-8", count: 3, became, worst: Some(worst) }.prove();
}

//! What RabbitMQ takes, durably: for each command a delivery, an event published with a confirm, and then the ack.
//! As a worker would do it that has nothing else to do: what is there is published together, on a connection of
//! its own, while the next deliveries come.

use crate::{
    commands::payments_route,
    load::{Load, Route, all_confirmed},
    measure::{Pace, Reading},
    progress::ProgressLine,
    setup::BenchSetup,
};
use anyhow::Context;
use futures_util::StreamExt;
use lapin::{message::Delivery, options::BasicAckOptions};
use tokio::sync::mpsc;

/// Deliveries in hand, each waiting for its confirm.
const PREFETCH: u16 = 1000;
/// Published in one write, and acked by one ack.
const TOGETHER_MAX: usize = 250;
const GROUPS_UNDER_WAY: usize = 4;

pub async fn run(setup: &BenchSetup<'_>, messages: u64) -> anyhow::Result<Pace> {
    let (commands, events) = (setup.name("commands"), setup.name("events"));
    let preloading = ProgressLine::new("preloading", messages);
    setup.load.publish_all(payments_route(&commands), setup.commands.payments(messages), &preloading).await?;
    drop(preloading);
    let progress = ProgressLine::new("RabbitMQ", messages);
    let groups = setup.groups();
    let publisher = Load::connect(&setup.bench.servers.amqp).await?;
    let first = Reading::take(0, &groups);
    let (consumer, channel) = setup.load.consume(&setup.name("payments"), PREFETCH).await?;
    let (sender, mut published) = mpsc::channel(GROUPS_UNDER_WAY);
    let publishing = async {
        let route = Route { exchange: &events, key: "payment.accepted" };
        let mut consumer = consumer.ready_chunks(TOGETHER_MAX);
        let mut number = 0;
        while number < messages {
            let deliveries = consumer.next().await.context("the subscription ended")?;
            let deliveries: Vec<Delivery> = deliveries.into_iter().collect::<Result<_, _>>()?;
            let mut bodies = Vec::with_capacity(deliveries.len());
            for _ in &deliveries {
                bodies.push(setup.commands.event(number));
                number += 1;
            }
            let confirms = publisher.publish_group(route, &bodies).await?;
            sender.send((confirms, deliveries)).await?;
        }
        // The last group was sent.
        drop(sender);
        anyhow::Ok(())
    };
    let acking = async {
        while let Some((confirms, deliveries)) = published.recv().await {
            let count = all_confirmed(confirms).await?;
            // Everything before the last one is done too: one ack for all.
            if let Some(last) = deliveries.last() {
                channel.basic_ack(last.delivery_tag, BasicAckOptions { multiple: true }).await?;
            }
            progress.add(count);
        }
        anyhow::Ok(())
    };
    tokio::try_join!(publishing, acking)?;
    Ok(first.until(&Reading::take(messages, &groups)))
}

//! What RabbitMQ takes, durably: for each command a delivery, an event published with a confirm, and then the ack.
//! As a worker would do it that has nothing else to do: what is there is published together, on a connection of
//! its own, while the next deliveries come.

use crate::bench::{
    commands::payments_route,
    load::{Load, Route, confirmed},
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
/// Published before the confirms of the first of them are waited for.
const TOGETHER_MAX: usize = 250;

pub async fn run(setup: &BenchSetup<'_>, messages: u64) -> anyhow::Result<Pace> {
    let (commands, events) = (setup.name("commands"), setup.name("events"));
    let preloading = ProgressLine::of("preloading", messages);
    setup.load.publish_all(payments_route(&commands), setup.commands.payments(messages), &preloading).await?;
    drop(preloading);
    let progress = ProgressLine::of("RabbitMQ", messages);
    let groups = setup.groups();
    let publisher = Load::connect(&setup.bench.servers.amqp).await?;
    let first = Reading::take(0, &groups);
    let (consumer, _channel) = setup.load.consume(&setup.name("payments"), PREFETCH).await?;
    let (sender, mut published) = mpsc::channel(usize::from(PREFETCH));
    let publishing = async {
        let mut consumer = consumer.ready_chunks(TOGETHER_MAX);
        let mut number = 0;
        while number < messages {
            let deliveries = consumer.next().await.context("the subscription ended")?;
            for delivery in deliveries {
                let Delivery { acker, .. } = delivery?;
                let route = Route { exchange: &events, key: "payment.accepted" };
                let confirm = publisher.publish(route, &setup.commands.event(number)).await?;
                sender.send((confirm, acker)).await?;
                number += 1;
            }
        }
        anyhow::Ok(())
    };
    let acking = async {
        for _ in 0..messages {
            let (confirm, acker) = published.recv().await.context("publishing ended")?;
            confirmed(confirm).await?;
            acker.ack(BasicAckOptions::default()).await?;
            progress.add(1);
        }
        anyhow::Ok(())
    };
    tokio::try_join!(publishing, acking)?;
    Ok(first.until(&Reading::take(messages, &groups)))
}

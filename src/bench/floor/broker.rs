//! What RabbitMQ takes, durably: for each command a delivery, an event published with a confirm, and then the ack.

use crate::bench::{
    commands::payments_route,
    load::{Route, confirmed},
    measure::{Pace, Reading},
    progress::Progress,
    stage::Stage,
};
use anyhow::Context;
use futures_util::StreamExt;
use lapin::options::BasicAckOptions;
use tokio::sync::mpsc;

/// Deliveries in hand, each waiting for its confirm.
const PREFETCH: u16 = 500;

pub async fn run(stage: &Stage<'_>, messages: u64) -> anyhow::Result<Pace> {
    let (commands, events) = (stage.name("commands"), stage.name("events"));
    let preloading = Progress::of("preloading", messages);
    stage.load.publish_all(payments_route(&commands), stage.commands.payments(messages), &preloading).await?;
    drop(preloading);
    let progress = Progress::of("RabbitMQ", messages);
    let groups = stage.groups();
    let first = Reading::take(0, &groups);
    let (mut consumer, _channel) = stage.load.consume(&stage.name("payments"), PREFETCH).await?;
    let (sender, mut published) = mpsc::channel(usize::from(PREFETCH));
    let publishing = async {
        for number in 0..messages {
            let delivery = consumer.next().await.context("the subscription ended")??;
            let route = Route { exchange: &events, key: "payment.accepted" };
            let confirm = stage.load.publish(route, &stage.commands.event(number)).await?;
            sender.send((confirm, delivery.acker)).await?;
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

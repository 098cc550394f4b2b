//! The world around the service: publishes what upstream services publish, and takes what subscribers take. A client
//! of the broker of its own, as an outsider has.

use super::progress::ProgressLine;
use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, future::try_join_all};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, PublisherConfirm,
    options::{
        BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::timeout;

/// Messages that leave in one write.
const GROUP: usize = 250;
/// Groups that are published before the confirms of the oldest one are waited for.
const GROUPS_UNDER_WAY: usize = 3;
/// A broker that answers nothing for this long has stopped.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// An exchange and a routing key.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    pub exchange: &'a str,
    pub key: &'a str,
}

pub struct Load {
    connection: Connection,
    channel: Channel,
}

impl Load {
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let connection =
            Connection::connect(url, ConnectionProperties::default()).await.context("the broker is away")?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel })
    }

    /// A durable quorum queue, bound to everything of an exchange where one is named.
    pub async fn declare(&self, queue: &str, exchange: Option<&str>) -> anyhow::Result<()> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), durable, arguments).await?;
        if let Some(exchange) = exchange {
            let options = QueueBindOptions::default();
            let bound = self.channel.queue_bind(
                queue.into(),
                exchange.into(),
                "#".into(),
                options,
                FieldTable::default(),
            );
            bound.await?;
        }
        Ok(())
    }

    /// Publishes, persistent, and waits for every confirm.
    pub async fn publish_all(
        &self,
        route: Route<'_>,
        bodies: impl IntoIterator<Item = Vec<u8>>,
        progress: &ProgressLine,
    ) -> anyhow::Result<()> {
        let mut bodies = bodies.into_iter();
        let mut waiting = VecDeque::new();
        loop {
            let group: Vec<Vec<u8>> = bodies.by_ref().take(GROUP).collect();
            if group.is_empty() {
                break;
            }
            waiting.push_back(self.publish_group(route, &group).await?);
            if waiting.len() == GROUPS_UNDER_WAY
                && let Some(oldest) = waiting.pop_front()
            {
                progress.add(all_confirmed(oldest).await?);
            }
        }
        for group in waiting {
            all_confirmed(group).await?;
        }
        Ok(())
    }

    /// Publishes all of a group in one write to the socket: every message is handed to the link before the first is
    /// awaited.
    pub async fn publish_group(
        &self,
        route: Route<'_>,
        bodies: &[Vec<u8>],
    ) -> anyhow::Result<Vec<PublisherConfirm>> {
        try_join_all(bodies.iter().map(|body| self.publish(route, body))).await
    }

    /// Publishes, persistent; the confirm is the caller's to wait for.
    pub async fn publish(&self, route: Route<'_>, body: &[u8]) -> anyhow::Result<PublisherConfirm> {
        let properties = BasicProperties::default()
            .with_content_type("application/cloudevents+json".into())
            .with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let (exchange, key) = (route.exchange.into(), route.key.into());
        Ok(self.channel.basic_publish(exchange, key, options, body, properties).await?)
    }

    /// Everything of a queue, as fast as it comes, without acks.
    pub async fn subscribe(&self, queue: &str) -> anyhow::Result<Subscription> {
        let channel = self.connection.create_channel().await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        Ok(Subscription { consumer, _channel: channel })
    }

    /// All events from now on, on a queue of this connection's own that keeps nothing: what arrives is timed,
    /// not how durably a subscriber stores it.
    pub async fn listen(&self, exchange: &str) -> anyhow::Result<Subscription> {
        let own =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare("".into(), own, FieldTable::default()).await?;
        let (all, options) = ("#".into(), QueueBindOptions::default());
        self.channel
            .queue_bind(queue.name().clone(), exchange.into(), all, options, FieldTable::default())
            .await?;
        self.subscribe(queue.name().as_str()).await
    }

    /// A queue's deliveries, each to be acked.
    pub async fn consume(&self, queue: &str, prefetch: u16) -> anyhow::Result<(Consumer, Channel)> {
        let channel = self.connection.create_channel().await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        Ok((consumer, channel))
    }

    /// Messages that are ready.
    pub async fn depth(&self, queue: &str) -> anyhow::Result<u32> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        Ok(self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count())
    }

    pub async fn delete(&self, queues: &[String], exchanges: &[String]) -> anyhow::Result<()> {
        for queue in queues {
            self.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
        }
        for exchange in exchanges {
            self.channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await?;
        }
        Ok(())
    }
}

pub async fn confirmed(confirm: PublisherConfirm) -> anyhow::Result<()> {
    let answer = timeout(SILENCE_MAX, confirm).await.context("the broker confirms nothing")??;
    ensure!(matches!(answer, Confirmation::Ack(None)), "the broker did not take a message: {answer:?}");
    Ok(())
}

/// Waits for a whole group, and gives the number of its messages.
pub async fn all_confirmed(group: Vec<PublisherConfirm>) -> anyhow::Result<usize> {
    let count = group.len();
    for confirm in group {
        confirmed(confirm).await?;
    }
    Ok(count)
}

pub struct Subscription {
    consumer: Consumer,
    _channel: Channel,
}

impl Subscription {
    /// The next body.
    pub async fn next(&mut self) -> anyhow::Result<Vec<u8>> {
        match timeout(SILENCE_MAX, self.consumer.next()).await {
            Ok(Some(delivery)) => Ok(delivery?.data),
            Ok(None) => bail!("the broker ended the subscription"),
            Err(_) => bail!("no message within {} s", SILENCE_MAX.as_secs()),
        }
    }
}

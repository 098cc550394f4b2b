//! A look at the events as they pass, for a person or a waiting program. It keeps nothing: the queue goes
//! with the link, and an event that passes while no watch runs is not seen.

use crate::rabbit::{
    connection::{Broker, BrokerError, Events, Link, within_limit},
    declare::{bind, declare_now},
    topology::{Part, short_string},
};
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use std::sync::Arc;
use uuid::Uuid;

/// At most this many events wait here for the watcher.
const PREFETCH: u16 = 100;
/// Events that wait for the viewers of one console.
const CONSOLE_EVENTS_MAX: i32 = 1000;
const NAME: &str = "watch";

/// Events from when it was started on.
pub struct Watch {
    deliveries: lapin::Consumer,
    link: Link,
    _events: Events,
}

impl Watch {
    /// Starts to watch events with a routing key that matches one of `keys` (`#` is all of them, none too).
    pub async fn start(broker: &Broker, keys: &[&str]) -> Result<Self, BrokerError> {
        Self::by_queue(broker, keys, "", FieldTable::default()).await
    }

    /// All events, for the viewers of a console: by a queue named after it, the only name that its user of the broker has to
    /// be allowed. What is not taken in time is dropped, the oldest first: no event waits for a viewer.
    pub async fn for_console(broker: &Broker) -> Result<Self, BrokerError> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(CONSOLE_EVENTS_MAX));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("drop-head".into()));
        let queue = format!("{}{}", broker.names().console_queues, Uuid::new_v4().simple());
        Self::by_queue(broker, &[], &queue, arguments).await
    }

    async fn by_queue(
        broker: &Broker,
        keys: &[&str],
        name: &str,
        arguments: FieldTable,
    ) -> Result<Self, BrokerError> {
        let health = Arc::new(broker.link_health(NAME));
        let (link, events) = broker.open(health, NAME).await?;
        let channel = link.channel().await?;
        declare_now(&link, broker, &[Part::Events]).await?;
        // Transient queues must be exclusive: RabbitMQ 4 refuses the others.
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(short_string(name), options, arguments);
        let queue = within_limit("declaring a queue", declared).await?.name().to_string();
        for key in if keys.is_empty() { &["#"] } else { keys } {
            bind(&channel, &queue, &broker.names().events_exchange, key).await?;
        }
        within_limit("setting the prefetch", channel.basic_qos(PREFETCH, BasicQosOptions { global: false }))
            .await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming = channel.basic_consume(short_string(&queue), short_string(""), options, arguments);
        let deliveries = within_limit("consuming", consuming).await?;
        link.up();
        Ok(Self { deliveries, link, _events: events })
    }

    /// The next event's body. After an error nothing more comes: start anew.
    pub async fn next(&mut self) -> Result<Bytes, BrokerError> {
        const DOING: &str = "watching";
        match self.deliveries.next().await {
            Some(Ok(delivery)) => {
                within_limit("acking", delivery.acker.ack(BasicAckOptions { multiple: false })).await?;
                Ok(Bytes::from(delivery.data))
            }
            Some(Err(e)) => Err(BrokerError::failed(DOING, e)),
            None => Err(BrokerError::failed(DOING, "ended by the broker")),
        }
    }

    pub async fn close(self) {
        self.link.close().await;
    }
}

//! The broker as upstream and downstream services see it, through a client of the test's own.

use super::{commands::Message, eventually};
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions,
        ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// What the names of a world's own queues begin with, before its prefix.
pub const LISTENING: &str = "test.";

/// Upstream and downstream of one prefix.
pub struct Broker {
    pub prefix: String,
    url: String,
    connection: Connection,
    channel: Channel,
    pub events: Arc<Mutex<Vec<Event>>>,
    /// Whether the subscription held from the beginning.
    pub saw_everything: bool,
}

/// An event as a subscriber gets it.
#[derive(Debug, Clone)]
pub struct Event {
    pub routing_key: String,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub message_type: Option<String>,
    pub content_type: Option<String>,
    pub traceparent: Option<String>,
    pub body: Value,
}

impl Event {
    pub fn invoice(&self) -> Option<&str> {
        self.body["subject"].as_str()
    }

    pub fn data(&self, member: &str) -> &Value {
        &self.body["data"][member]
    }

    pub fn sequence(&self) -> Option<u32> {
        self.body["sequence"].as_str()?.parse().ok()
    }
}

/// A dead-lettered message.
#[derive(Debug, Clone)]
pub struct Dead {
    pub body: Vec<u8>,
    pub reason: Option<String>,
    pub detail: Option<String>,
}

pub fn url() -> String {
    std::env::var("AMQP_URL").expect("AMQP_URL is not set: run ./deploy/local/test")
}

impl Broker {
    /// Connects, declares the events' exchange as the service does, and subscribes to everything.
    pub async fn connect(url: &str, prefix: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let broker = Self {
            prefix: prefix.to_owned(),
            url: url.to_owned(),
            connection,
            channel,
            events: Arc::default(),
            saw_everything: true,
        };
        broker.subscribe().await;
        broker
    }

    /// Connects again after the broker was gone; events in between are missed.
    pub async fn reconnect(&mut self) {
        let connect = async || {
            let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.ok()?;
            let channel = connection.create_channel().await.ok()?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
            Some((connection, channel))
        };
        (self.connection, self.channel) = eventually("the broker", connect).await;
        self.saw_everything = false;
        self.subscribe().await;
    }

    async fn subscribe(&self) {
        let channel = self.connection.create_channel().await.unwrap();
        let exchange = format!("{}.events", self.prefix);
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel
            .exchange_declare(
                exchange.as_str().into(),
                lapin::ExchangeKind::Topic,
                durable,
                FieldTable::default(),
            )
            .await
            .unwrap();
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let name = format!("{LISTENING}{}.{}", self.prefix, uuid::Uuid::new_v4().simple());
        let name: ShortString = name.into();
        channel.queue_declare(name.clone(), options, FieldTable::default()).await.unwrap();
        channel
            .queue_bind(
                name.clone(),
                exchange.as_str().into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer =
            channel.basic_consume(name, "".into(), options, FieldTable::default()).await.unwrap();
        let events = Arc::clone(&self.events);
        tokio::spawn(async move {
            let _open = channel;
            while let Some(Ok(delivery)) = consumer.next().await {
                let text = |t: &Option<ShortString>| t.as_ref().map(ToString::to_string);
                let properties = &delivery.properties;
                let event = Event {
                    routing_key: delivery.routing_key.to_string(),
                    message_id: text(properties.message_id()),
                    correlation_id: text(properties.correlation_id()),
                    message_type: text(properties.kind()),
                    content_type: text(properties.content_type()),
                    traceparent: header(properties, "traceparent"),
                    body: serde_json::from_slice(&delivery.data).unwrap(),
                };
                events.lock().unwrap().push(event);
            }
        });
    }

    /// Publishes a command with a confirm, as an upstream service has to.
    pub async fn publish(&self, message: &Message) {
        self.publish_bytes(message.routing_key, message.content_type, &message.bytes()).await;
    }

    /// The same with a `user_id`; false where the broker refuses it.
    pub async fn publish_as(&self, user: &str, message: &Message) -> bool {
        publish_by(&self.connection, &format!("{}.commands", self.prefix), user, message).await
    }

    pub async fn publish_bytes(&self, routing_key: &str, content_type: &str, body: &[u8]) {
        self.publish_to("commands", routing_key, content_type, body).await;
    }

    /// Publishes with a confirm to any of the exchanges.
    pub async fn publish_to(&self, exchange: &str, routing_key: &str, content_type: &str, body: &[u8]) {
        let properties = BasicProperties::default().with_content_type(content_type.into());
        self.publish_with(exchange, routing_key, properties, body).await;
    }

    /// A command with the broker's own count of deliveries, set by its publisher.
    pub async fn publish_counted(&self, message: &Message, deliveries: i64) {
        let mut headers = FieldTable::default();
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(deliveries));
        let properties =
            BasicProperties::default().with_content_type(message.content_type.into()).with_headers(headers);
        self.publish_with("commands", message.routing_key, properties, &message.bytes()).await;
    }

    /// A command whose delivery says that it was published then, in seconds since 1970.
    pub async fn publish_dated(&self, message: &Message, timestamp: u64) {
        let properties = BasicProperties::default()
            .with_content_type(message.content_type.into())
            .with_timestamp(timestamp);
        self.publish_with("commands", message.routing_key, properties, &message.bytes()).await;
    }

    /// Puts an event into one subscriber's queue, beside the exchange.
    pub async fn deliver(&self, queue: &str, event: &Value) {
        self.confirmed("", queue, BasicProperties::default(), event.to_string().as_bytes()).await;
    }

    async fn publish_with(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) {
        self.confirmed(&format!("{}.{exchange}", self.prefix), routing_key, properties, body).await;
    }

    async fn confirmed(&self, exchange: &str, routing_key: &str, properties: BasicProperties, body: &[u8]) {
        let properties = properties.with_delivery_mode(2);
        let confirm = self
            .channel
            .basic_publish(
                exchange.into(),
                routing_key.into(),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await
            .unwrap()
            .await
            .unwrap();
        assert!(matches!(confirm, Confirmation::Ack(_)), "not confirmed: {confirm:?}");
    }

    /// Takes one message off a queue, if there is one.
    pub async fn get(&self, queue: &str) -> Option<Dead> {
        let queue = format!("{}.{queue}", self.prefix);
        let options = BasicGetOptions { no_ack: false };
        let message = self.channel.basic_get(queue.as_str().into(), options).await.unwrap()?;
        message.delivery.ack(BasicAckOptions::default()).await.unwrap();
        Some(Dead {
            reason: header(&message.properties, "x-jenius-reason"),
            detail: header(&message.properties, "x-jenius-detail"),
            body: message.delivery.data,
        })
    }

    /// Takes the first message of a work queue and puts it back, until the broker has enough of it.
    pub async fn exhaust(&self, queue: &str) {
        let queue = format!("{}.{queue}", self.prefix);
        let take = async || {
            let options = BasicGetOptions { no_ack: false };
            self.channel.basic_get(queue.as_str().into(), options).await.unwrap()
        };
        let mut message = Some(eventually("a message to exhaust", take).await);
        while let Some(taken) = message {
            taken.delivery.reject(BasicRejectOptions { requeue: true }).await.unwrap();
            message = take().await;
        }
    }

    /// Waits for one dead-lettered message.
    pub async fn dead(&self) -> Dead {
        eventually("a dead-lettered message", async || self.get("dead").await).await
    }

    /// Messages that are ready in a queue.
    pub async fn depth(&self, queue: &str) -> u32 {
        let queue = format!("{}.{queue}", self.prefix);
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = self.connection.create_channel().await.unwrap();
        channel
            .queue_declare(queue.as_str().into(), options, FieldTable::default())
            .await
            .unwrap()
            .message_count()
    }

    /// Whether there is such a queue, by its whole name.
    pub async fn exists(&self, queue: &str) -> bool {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = self.connection.create_channel().await.unwrap();
        channel.queue_declare(queue.into(), options, FieldTable::default()).await.is_ok()
    }

    /// A quorum queue by its whole name, with a delivery limit that is not ours.
    pub async fn declare_with_limit(&self, queue: &str, limit: i32) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), durable, arguments).await.unwrap();
    }

    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments).await.unwrap();
    }

    pub async fn unbind(&self, queue: &str, exchange: &str, key: &str) {
        let arguments = FieldTable::default();
        self.channel.queue_unbind(queue.into(), exchange.into(), key.into(), arguments).await.unwrap();
    }

    pub async fn delete(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Deletes what the service declared under this prefix.
    pub async fn clean(&self) {
        for queue in ["payments", "refunds", "notifications", "dead", "unrouted"] {
            let name = format!("{}.{queue}", self.prefix);
            let _ = self.channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await;
        }
        for exchange in ["commands", "notifications", "events", "dead", "unrouted"] {
            let name = format!("{}.{exchange}", self.prefix);
            let _ =
                self.channel.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await;
        }
        let _ = self.connection.close(200, "done".into()).await;
    }
}

/// Publishes with a `user_id`; false where the broker refuses it. Its channel is then closed: it has one of its own.
pub async fn publish_by(connection: &Connection, exchange: &str, user: &str, message: &Message) -> bool {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let properties = BasicProperties::default()
        .with_content_type(message.content_type.into())
        .with_delivery_mode(2)
        .with_user_id(user.into());
    let (options, body) = (BasicPublishOptions::default(), message.bytes());
    let key = message.routing_key.into();
    let Ok(confirm) = channel.basic_publish(exchange.into(), key, options, &body, properties).await else {
        return false;
    };
    matches!(confirm.await, Ok(Confirmation::Ack(_)))
}

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    let value = properties.headers().as_ref()?.inner().get(name)?;
    Some(value.as_long_string()?.to_string())
}

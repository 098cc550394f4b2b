//! The edge against a real broker. Every test has a prefix of its own and takes its queues away again.

mod consuming;
mod dead;
mod links;
mod proxy;
mod publishing;

use super::{
    Broker, Consume, Consumer, Delivery, Handler, Publisher, TopologyNames,
    connection::keep_connected,
    connection::{BrokerError, Link, LinkSession},
    topology::{Part, short_string},
};
use crate::flow::disposition::Disposition;
use futures_util::{FutureExt, future::BoxFuture};
use lapin::{
    BasicProperties, Channel,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, BasicPublishOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::FieldTable,
};
use secrecy::SecretString;
use std::{
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

/// A prefix on the broker, and a channel of the test's own to look at it.
struct Rig {
    url: String,
    names: TopologyNames,
    broker: Broker,
    channel: Channel,
    _connection: lapin::Connection,
}

/// Runs a test on a declared topology, and takes it away, whatever happens.
async fn with_rig(test: impl AsyncFnOnce(&Rig)) {
    let url = std::env::var("AMQP_URL").expect("AMQP_URL is not set: run ./deploy/local/test");
    let names = TopologyNames::new(&format!("test-{}", uuid::Uuid::new_v4().simple())).unwrap();
    let broker = Broker::new(&[SecretString::from(url.as_str())], None, names.clone()).unwrap();
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    broker.declare(&Part::ALL).await.unwrap();
    let rig = Rig { url, names, broker, channel, _connection: connection };
    let result = AssertUnwindSafe(test(&rig)).catch_unwind().await;
    rig.take_away().await;
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

impl Rig {
    async fn take_away(&self) {
        let n = &self.names;
        let channel = self._connection.create_channel().await.unwrap();
        for queue in n.work_queues().into_iter().chain([n.dead_queue.as_str(), &n.unrouted_queue]) {
            channel.queue_delete(short_string(queue), QueueDeleteOptions::default()).await.unwrap();
        }
        for exchange in [
            &n.commands_exchange,
            &n.notifications_exchange,
            &n.events_exchange,
            &n.dead_exchange,
            &n.unrouted_exchange,
        ] {
            channel.exchange_delete(short_string(exchange), ExchangeDeleteOptions::default()).await.unwrap();
        }
    }

    /// Straight into a queue.
    async fn put(&self, queue: &str, body: &[u8], properties: BasicProperties) {
        self.channel
            .basic_publish(
                short_string(""),
                short_string(queue),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await
            .unwrap();
    }

    async fn put_numbers(&self, queue: &str, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.put(queue, number.to_string().as_bytes(), BasicProperties::default()).await;
        }
    }

    async fn get(&self, queue: &str) -> Option<BasicGetMessage> {
        self.channel.basic_get(short_string(queue), BasicGetOptions { no_ack: true }).await.unwrap()
    }

    /// Messages that nobody holds.
    async fn ready(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue =
            self.channel.queue_declare(short_string(queue), passive, FieldTable::default()).await.unwrap();
        queue.message_count()
    }

    fn consumer(
        &self,
        handle: impl Fn(Delivery) -> BoxFuture<'static, Disposition> + Send + Sync + 'static,
    ) -> Running {
        Running::start(&self.broker, &self.names.payments_queue, handle)
    }
}

struct Script<F>(F);

impl<F: Fn(Delivery) -> BoxFuture<'static, Disposition> + Send + Sync + 'static> Handler for Script<F> {
    fn handle(&self, delivery: Delivery) -> impl Future<Output = Disposition> + Send {
        (self.0)(delivery)
    }
}

/// A consumer at work, with the publisher of its dead letters.
struct Running {
    publisher: Publisher,
    consume: watch::Sender<Consume>,
    stop: CancellationToken,
    leave_now: CancellationToken,
    task: JoinHandle<()>,
}

const PREFETCH: u16 = 50;

impl Running {
    fn start(
        broker: &Broker,
        queue: &str,
        handle: impl Fn(Delivery) -> BoxFuture<'static, Disposition> + Send + Sync + 'static,
    ) -> Self {
        let never = CancellationToken::new();
        tokio::spawn(broker.clone().keep_declared(Part::ALL.into(), never.clone()));
        let (publisher, task) = Publisher::new(broker, "publisher", &[Part::Dead]);
        tokio::spawn(task.run(never));
        let consume = watch::Sender::new(Consume::Normal);
        let consumer = Consumer {
            broker: broker.clone(),
            queue: queue.to_owned(),
            prefetch: PREFETCH,
            handler: Script(handle),
            publisher: publisher.clone(),
            now: || chrono::DateTime::UNIX_EPOCH,
            consume: consume.subscribe(),
        };
        let (stop, leave_now) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn(consumer.run(stop.clone(), leave_now.clone()));
        Self { publisher, consume, stop, leave_now, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the consumer does not stop").unwrap();
    }
}

/// Waits until a thing is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn dispose(disposition: Disposition) -> BoxFuture<'static, Disposition> {
    std::future::ready(disposition).boxed()
}

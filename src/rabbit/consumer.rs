//! One consumer of one queue, on a link of its own. Deliveries go to the handler, each in its own task,
//! never more than the prefetch at a time. What becomes of them afterwards is `deliveries`'s.
//!
//! A delivery that comes again and again may be what kills the process, and everything held beside it is
//! counted as often. So a consumer starts on every link with one delivery at a time, goes to the full
//! prefetch at the first innocent one, and back when a suspect comes, or a body that is too large.

use super::{
    acks::{self, Acks},
    connection::{Broker, BrokerError, Link, LinkSession, keep_connected, within_limit},
    deliveries::{ALONE_MAX, DeliveryTasks},
    publisher::Publisher,
    topology::short_string,
};
use crate::{domain::Time, flow::disposition::Disposition};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use lapin::{
    Channel,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// A consumer that holds nothing and gets nothing for this long consumes anew. RabbitMQ 3.10 was seen to
/// forget one without a word, when its queue was deleted and declared again within milliseconds.
const IDLE_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });

/// How much a consumer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consume {
    /// Up to the configured prefetch.
    Normal,
    /// The next one when the last one is done.
    OneAtATime,
    /// Nothing. What is in hand goes to the handler, which knows how to defer it.
    Stopped,
}

/// One hand-over of a message by the broker.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub body: Bytes,
    pub content_type: Option<String>,
    /// The user who published it, if the message has one: the broker refuses another user's name.
    pub user_id: Option<String>,
    pub routing_key: String,
    pub redelivered: bool,
    /// The property `timestamp`, where its sender set it: whole seconds.
    pub sent_at: Option<DateTime<Utc>>,
    /// The header of the same name.
    pub traceparent: Option<String>,
    /// How often it came before and was neither acked nor dead-lettered.
    pub delivery_count: u64,
}

impl Delivery {
    /// The body's size in bytes. The broker sets no useful limit: the handler must.
    pub fn size(&self) -> usize {
        self.body.len()
    }
}

/// Works on deliveries. It may panic: the delivery comes again, until the broker dead-letters it.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, delivery: Delivery) -> impl Future<Output = Disposition> + Send;
}

/// A consumer that is not running yet.
pub struct Consumer<H> {
    pub broker: Broker,
    pub queue: String,
    /// 0 would be unbounded memory: taken as 1, refused by the configuration.
    pub prefetch: u16,
    pub handler: H,
    /// For dead letters. On a link of its own.
    pub publisher: Publisher,
    /// When a letter is dead; nothing depends on it.
    pub now: fn() -> Time,
    pub consume: watch::Receiver<Consume>,
}

impl<H: Handler> Consumer<H> {
    /// Consumes until `stop`; then takes nothing more, waits for what is in hand, and acks it. How long
    /// that may take is the caller's decision: `leave_now` drops what is in hand; the broker has it.
    pub async fn run(self, stop: CancellationToken, leave_now: CancellationToken) {
        let Self { broker, queue, prefetch, handler, publisher, now, consume } = self;
        let names = broker.names().clone();
        let deliveries =
            Arc::new(DeliveryTasks::new(names, &queue, handler, publisher, now, leave_now.clone()));
        let mut session = ConsumerSession {
            broker: broker.clone(),
            queue: queue.clone(),
            prefetch: prefetch.max(1),
            consume,
            is_cautious: true,
            was_waited_for: false,
            stop: stop.clone(),
            deliveries: deliveries.clone(),
        };
        tokio::select! {
            biased;
            () = leave_now.cancelled() => {}
            () = keep_connected(&broker, &queue, &stop, &mut session) => {}
        }
        // The link may have been lost while handlers were working.
        deliveries.all_done().await;
    }
}

struct ConsumerSession<H> {
    broker: Broker,
    queue: String,
    prefetch: u16,
    consume: watch::Receiver<Consume>,
    /// One delivery at a time, until an innocent one comes.
    is_cautious: bool,
    /// What is in hand was, when the last consumer was left.
    was_waited_for: bool,
    stop: CancellationToken,
    deliveries: Arc<DeliveryTasks<H>>,
}

impl<H: Handler> LinkSession for ConsumerSession<H> {
    async fn run(&mut self, link: &Link) -> Result<(), BrokerError> {
        let stop = self.stop.clone();
        let channel = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            channel = self.set_up(link) => channel?,
        };
        // What ended the last link may have been a message that no handler ever saw.
        self.is_cautious = true;
        let (acks, endings) = Acks::new();
        tokio::select! {
            end = self.consume(link, &channel, &acks) => end,
            end = acks::write(&channel, endings) => end,
        }
    }
}

impl<H: Handler> ConsumerSession<H> {
    async fn consume(&mut self, link: &Link, channel: &Channel, acks: &Acks) -> Result<(), BrokerError> {
        let (stop, broken) = (self.stop.clone(), CancellationToken::new());
        while !stop.is_cancelled() {
            self.consume.borrow_and_update();
            match self.wanted() {
                None => {
                    link.up();
                    self.wait_while_paused(&broken).await?;
                }
                // Whatever made us slow must not happen beside others, and happens soon if at all.
                Some(1) if !self.drained(&broken).await? => {}
                Some(prefetch) => self.take(link, channel, prefetch, acks, &broken).await?,
            }
        }
        self.deliveries.all_done().await;
        Ok(())
    }

    async fn set_up(&self, link: &Link) -> Result<Channel, BrokerError> {
        let part = self.broker.names().part_of_queue(&self.queue);
        link.wait_for_parts(&self.broker, &[part]).await;
        link.channel().await
    }

    /// The prefetch that is wanted now; `None`: no consumer.
    fn wanted(&self) -> Option<u16> {
        let pace = *self.consume.borrow();
        match pace {
            Consume::Stopped => None,
            Consume::OneAtATime => Some(1),
            Consume::Normal if self.is_cautious => Some(1),
            Consume::Normal => Some(self.prefetch),
        }
    }

    async fn wait_while_paused(&mut self, broken: &CancellationToken) -> Result<(), BrokerError> {
        tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            () = broken.cancelled() => Err(lost_ack()),
            () = wait_for_change(&mut self.consume) => Ok(()),
        }
    }

    /// Waits until nothing is in hand, or what is there was waited for long enough; false: another pace is wanted.
    async fn drained(&mut self, broken: &CancellationToken) -> Result<bool, BrokerError> {
        if std::mem::take(&mut self.was_waited_for) {
            return Ok(true);
        }
        let deliveries = self.deliveries.clone();
        tokio::select! {
            biased;
            () = deliveries.all_done() => Ok(true),
            paused = self.wait_while_paused(broken) => paused.map(|()| false),
            () = sleep(ALONE_MAX) => Ok(true),
        }
    }

    /// Consumes with one prefetch, until another is wanted, nothing comes or it must stop.
    async fn take(
        &mut self,
        link: &Link,
        channel: &Channel,
        prefetch: u16,
        acks: &Acks,
        broken: &CancellationToken,
    ) -> Result<(), BrokerError> {
        const DOING: &str = "consuming";
        self.was_waited_for = false;
        within_limit("setting the prefetch", channel.basic_qos(prefetch, BasicQosOptions { global: false }))
            .await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming =
            channel.basic_consume(short_string(&self.queue), short_string(""), options, arguments);
        let mut deliveries = within_limit(DOING, consuming).await?;
        link.up();
        // While one at a time is taken: until when the last one may keep the next from coming.
        let mut alone_until = None;
        while self.wanted() == Some(prefetch) {
            let alone = alone_until.filter(|_| prefetch == 1 && !self.deliveries.is_empty());
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = broken.cancelled() => return Err(lost_ack()),
                () = wait_for_change(&mut self.consume) => {}
                () = sleep(IDLE_LIMIT) => if self.deliveries.is_empty() { break },
                () = sleep_until(alone.unwrap_or_else(Instant::now)), if alone.is_some() => {
                    // It keeps the only place, and only waits: the next consumer has a place of its own.
                    self.was_waited_for = self.deliveries.len() < usize::from(self.prefetch);
                    if self.was_waited_for { break }
                    alone_until = Some(Instant::now() + ALONE_MAX);
                }
                next = deliveries.next() => match next {
                    Some(Ok(delivery)) => {
                        alone_until = Some(Instant::now() + ALONE_MAX);
                        self.is_cautious = self.deliveries.start(delivery, acks, broken);
                    }
                    Some(Err(e)) => return Err(BrokerError::while_doing(DOING, &e)),
                    None => return Err(cancelled()),
                },
            }
        }
        let cancelling = channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default());
        within_limit("cancelling", cancelling).await?;
        // What the broker sent before it heard of it is in hand too; then the stream ends.
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery.map_err(|e| BrokerError::while_doing(DOING, &e))?;
            self.was_waited_for = false;
            self.is_cautious |= self.deliveries.start(delivery, acks, broken);
        }
        Ok(())
    }
}

/// As a rule because the queue was deleted.
fn cancelled() -> BrokerError {
    BrokerError::NotFound {
        doing: "consuming",
        cause: "cancelled by the broker: is the queue gone?".to_owned(),
    }
}

fn lost_ack() -> BrokerError {
    BrokerError::failed("acking", "not possible on this link any more")
}

/// Waits for another pace; for ever if no sender of paces is left.
async fn wait_for_change(consume: &mut watch::Receiver<Consume>) {
    if consume.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

//! The deliveries of one work queue that are being worked on, and how each ends: acked, dead-lettered or given
//! back. Nothing else ends a delivery of a work queue; `acks` writes it.

use super::{
    acks::{Acks, DeliveryEnd},
    connection::BrokerError,
    consumer::{Delivery, Handler},
    message::{Message, TRACEPARENT_HEADER},
    publisher::{PublishAnswer, Publisher},
    topology::TopologyNames,
};
use crate::{
    domain::Time,
    failpoint::{self, Failpoint, failpoint},
    flow::disposition::{DeadReason, Disposition},
    metric::{self, Finished, PanicIn},
    panics::caught,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::{RwLock, RwLockWriteGuard},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A delivery that came this often before may be what kills the process: it is worked on alone.
const SUSPECT_FROM: u64 = 2;
/// What kills the process does so at once: one that is worked on alone for this long is no danger to others, and only waits
/// for something.
pub(super) const ALONE_MAX: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 5 });
/// A body of more than this is larger than any that is worked on: while such ones come, one at a time is taken. The broker
/// sends a whole prefetch, whatever its size.
pub(super) const LARGE_BYTES: usize = 2 * 1024 * 1024;
/// The pause before a delivery is requeued because its dead letter was not taken: it comes again at once.
const DEAD_LETTER_PAUSE: Duration = Duration::from_secs(1);

/// Where a delivery came from, and ends.
struct OnChannel {
    acks: Acks,
    tag: u64,
}

pub(super) struct DeliveryTasks<H> {
    names: TopologyNames,
    queue: String,
    handler: H,
    publisher: Publisher,
    now: fn() -> Time,
    leave_now: CancellationToken,
    tasks: TaskTracker,
    /// Held for reading by deliveries that are worked on beside others, for writing by one that is
    /// worked on alone, until `ALONE_MAX` is over. That is waited for no longer either.
    exclusive: Arc<RwLock<()>>,
}

impl<H: Handler> DeliveryTasks<H> {
    pub fn new(
        names: TopologyNames,
        queue: &str,
        handler: H,
        publisher: Publisher,
        now: fn() -> Time,
        leave_now: CancellationToken,
    ) -> Self {
        let tasks = TaskTracker::new();
        // Closed, so that one can wait for it to be empty; it takes tasks nevertheless.
        tasks.close();
        let exclusive = Arc::default();
        Self { names, queue: queue.to_owned(), handler, publisher, now, leave_now, tasks, exclusive }
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    pub async fn all_done(&self) {
        self.tasks.wait().await;
    }

    /// Starts to work on a delivery, and returns whether the next one is to be taken alone. Cancels `broken` if the delivery cannot be
    /// settled on this link.
    pub fn start(
        self: &Arc<Self>,
        raw: lapin::message::Delivery,
        acks: &Acks,
        broken: &CancellationToken,
    ) -> bool {
        let count = delivery_count(&raw);
        let wants_caution = count >= SUSPECT_FROM || raw.data.len() > LARGE_BYTES;
        let (deliveries, broken) = (self.clone(), broken.clone());
        let on = OnChannel { acks: acks.clone(), tag: raw.delivery_tag };
        self.tasks.spawn(async move {
            let finished = async {
                let worked = Box::pin(deliveries.handle(raw, &on, count));
                match caught(PanicIn::Delivery, worked).await {
                    Some(settled) => settled,
                    None => deliveries.requeue_after_panic(&on, count).await,
                }
            };
            let settled = tokio::select! {
                biased;
                () = deliveries.leave_now.cancelled() => Ok(()),
                settled = finished => settled,
            };
            if let Err(e) = settled {
                tracing::warn!(
                    queue = deliveries.queue,
                    error = %e,
                    "settling a delivery failed; the broker delivers it again"
                );
                broken.cancel();
            }
        });
        wants_caution
    }

    async fn handle(
        &self,
        mut raw: lapin::message::Delivery,
        on: &OnChannel,
        count: u64,
    ) -> Result<(), BrokerError> {
        let (alone, _beside) = if count >= SUSPECT_FROM {
            // Others may wait for long too: beside them it is after that.
            (timeout(ALONE_MAX, self.exclusive.write()).await.ok(), None)
        } else {
            (None, Some(self.exclusive.read().await))
        };
        let body = Bytes::from(std::mem::take(&mut raw.data));
        failpoint::on_delivery(&body);
        failpoint(Failpoint::Received).await;
        let delivery = Delivery {
            body: body.clone(),
            content_type: raw.properties.content_type().as_ref().map(ToString::to_string),
            user_id: raw.properties.user_id().as_ref().map(ToString::to_string),
            routing_key: raw.routing_key.to_string(),
            redelivered: raw.redelivered,
            sent_at: sent_at(&raw.properties),
            traceparent: traceparent(&raw.properties),
            delivery_count: count,
        };
        match self.handled(delivery, alone).await {
            Disposition::Ack => {
                failpoint(Failpoint::BeforeAck).await;
                let acked = self.end(on, DeliveryEnd::Ack, Finished::Acked).await;
                failpoint(Failpoint::AfterAck).await;
                acked
            }
            Disposition::Requeue => self.requeue(on).await,
            Disposition::DeadLetter { reason, detail } => {
                self.dead_letter(on, &raw.properties, body, reason, &detail).await
            }
        }
    }

    async fn handled(&self, delivery: Delivery, alone: Option<RwLockWriteGuard<'_, ()>>) -> Disposition {
        let mut handled = pin!(self.handler.handle(delivery));
        if alone.is_some()
            && let Ok(end) = timeout(ALONE_MAX, &mut handled).await
        {
            return end;
        }
        drop(alone);
        handled.await
    }

    async fn requeue_after_panic(&self, on: &OnChannel, count: u64) -> Result<(), BrokerError> {
        tracing::error!(
            queue = self.queue,
            delivery_count = count,
            "the task of a delivery panicked; the broker delivers it again"
        );
        self.end(on, DeliveryEnd::Reject, Finished::Requeued).await
    }

    async fn requeue(&self, on: &OnChannel) -> Result<(), BrokerError> {
        self.end(on, DeliveryEnd::Requeue, Finished::Requeued).await
    }

    async fn end(&self, on: &OnChannel, end: DeliveryEnd, finished: Finished) -> Result<(), BrokerError> {
        on.acks.end(on.tag, end).await?;
        metric::delivery_finished(&self.queue, finished);
        Ok(())
    }

    /// Published first and confirmed, then acked: a crash in between makes two dead letters, never none.
    /// A rejection by AMQP's own means could not carry the reason.
    async fn dead_letter(
        &self,
        on: &OnChannel,
        properties: &BasicProperties,
        body: Bytes,
        reason: DeadReason,
        detail: &str,
    ) -> Result<(), BrokerError> {
        failpoint(Failpoint::BeforeDeadLetter).await;
        let at = (self.now)();
        let letter = Message::dead_letter(&self.names, &self.queue, properties, body, reason, detail, at)
            .map_err(|e| BrokerError::failed("dead-lettering", e))?;
        match self.publisher.publish_one(letter).await {
            PublishAnswer::Confirmed => {
                metric::delivery_dead_lettered(&self.queue, reason.name());
                failpoint(Failpoint::AfterDeadLetter).await;
                self.end(on, DeliveryEnd::Ack, Finished::DeadLettered).await
            }
            answer @ (PublishAnswer::Returned | PublishAnswer::Refused | PublishAnswer::Unknown) => {
                tracing::error!(
                    queue = self.queue,
                    ?answer,
                    "a dead letter was not confirmed; the delivery is requeued"
                );
                sleep(DEAD_LETTER_PAUSE).await;
                self.requeue(on).await
            }
        }
    }
}

fn traceparent(properties: &BasicProperties) -> Option<String> {
    let header = properties.headers().as_ref()?.inner().get(TRACEPARENT_HEADER)?;
    Some(String::from_utf8_lossy(header.as_long_string()?.as_bytes()).into_owned())
}

fn sent_at(properties: &BasicProperties) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from((*properties.timestamp())?).ok()?;
    DateTime::from_timestamp(seconds, 0)
}

/// The broker's count of earlier deliveries. A publisher may set the header too, and RabbitMQ 3.10 hands that on
/// with the first delivery: only what was redelivered was counted.
fn delivery_count(raw: &lapin::message::Delivery) -> u64 {
    let headers = raw.properties.headers().as_ref().filter(|_| raw.redelivered);
    headers.map_or(0, |headers| count_in(headers, "x-delivery-count"))
}

/// A header that counts; 0 where it is missing, or no count.
pub(super) fn count_in(headers: &FieldTable, name: &str) -> u64 {
    let count = match headers.inner().get(name) {
        Some(AMQPValue::LongLongInt(n)) => *n,
        Some(AMQPValue::LongInt(n)) => i64::from(*n),
        Some(AMQPValue::LongUInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortUInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortShortInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortShortUInt(n)) => i64::from(*n),
        _ => 0,
    };
    u64::try_from(count).unwrap_or(0)
}

//! The publisher: one task owns one link and one channel in confirm mode. It publishes one message after
//! the other without waiting, then waits for every publish confirm, and only then judges: lapin may hand
//! a returned message to the wrong publish of the same batch. What was not confirmed in time is *not
//! known*, never *failed*: the caller publishes it again, with the same id.

use super::{
    connection::{ANSWER_LIMIT, Broker, BrokerError, Link, LinkSession, keep_connected, within_limit},
    message::Message,
    topology::Part,
    wire::notification,
};
use crate::flow::ports::{
    EventPublisher, NotificationPublisher, OutboxEvent, Published, ReceivedNotification,
};
use crate::telemetry::span::Span;
use futures_util::future::try_join_all;
use lapin::{
    Channel, Confirmation, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use std::time::Duration;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The routing key of a notification; the queue takes any.
pub const NOTIFICATION_KEY: &str = "notification.received";

/// How long a publish waits for a link before it says that nothing is known.
const AWAY_LIMIT: Duration = Duration::from_secs(5);
/// Messages that are handed to the link at once: some 0.5 MB of events, a fraction of its buffer.
const GROUP_MAX: usize = 500;
const DOING: &str = "publishing";
/// For all confirms of a batch, while the broker takes anything.
const CONFIRM_LIMIT: Duration = ANSWER_LIMIT;
/// For one call: another batch may have to end first.
const PUBLISH_LIMIT: Duration = Duration::from_secs(21);
/// For one notification, waiting for a link included: then DOKU gets an answer that makes it send again.
const NOTIFICATION_LIMIT: Duration = Duration::from_secs(3);
/// What a span says of a message that the broker did not confirm.
const UNCONFIRMED: &str = "unconfirmed";
/// Callers that wait at the same time, and share a batch.
const REQUESTS_MAX: usize = 256;

/// The broker's answer about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishAnswer {
    /// It is stored where it was routed to.
    Confirmed,
    /// It had to reach a queue, and none is bound for it: not stored.
    Returned,
    /// A queue it was routed to did not take it: full, or without a leader.
    Refused,
    /// The broker is away, or did not answer in time: stored or not.
    Unknown,
}

struct PublishRequest {
    messages: Vec<Message>,
    answers: oneshot::Sender<Vec<PublishAnswer>>,
}

/// A handle of the publisher; all of them share its link.
#[derive(Debug, Clone)]
pub struct Publisher {
    broker: Broker,
    requests: mpsc::Sender<PublishRequest>,
    up: watch::Receiver<bool>,
}

/// The task behind the handles.
pub struct PublisherTask {
    broker: Broker,
    name: String,
    session: PublisherSession,
}

impl Publisher {
    /// `name` names the link, in `/readyz` and at the broker; `parts` are what is published to.
    pub fn new(broker: &Broker, name: &str, parts: &[Part]) -> (Self, PublisherTask) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let up = watch::Sender::new(false);
        let handle = Self { broker: broker.clone(), requests: sender, up: up.subscribe() };
        let (broker_of_session, parts, stop) = (broker.clone(), parts.to_vec(), CancellationToken::new());
        let session = PublisherSession { broker: broker_of_session, parts, requests, up, stop };
        (handle, PublisherTask { broker: broker.clone(), name: name.to_owned(), session })
    }

    /// Publishes one message and waits for its publish confirm, a bounded time.
    pub async fn publish_one(&self, message: Message) -> PublishAnswer {
        self.publish_all(vec![message]).await.first().copied().unwrap_or(PublishAnswer::Unknown)
    }

    /// Publishes all, pipelined. One answer a message, in the same order.
    pub async fn publish_all(&self, messages: Vec<Message>) -> Vec<PublishAnswer> {
        let unknown = vec![PublishAnswer::Unknown; messages.len()];
        let mut up = self.up.clone();
        let is_up = timeout(AWAY_LIMIT, up.wait_for(|up| *up)).await.is_ok_and(|up| up.is_ok());
        if !is_up || messages.is_empty() {
            return unknown;
        }
        let (answers, answered) = oneshot::channel();
        let asked = async {
            self.requests.send(PublishRequest { messages, answers }).await.ok()?;
            answered.await.ok()
        };
        timeout(PUBLISH_LIMIT, asked).await.ok().flatten().unwrap_or(unknown)
    }
}

impl EventPublisher for Publisher {
    async fn publish(&self, events: &[OutboxEvent]) -> Vec<Published> {
        let mut results = vec![Published::Unconfirmed; events.len()];
        let mut places = Vec::with_capacity(events.len());
        let mut messages = Vec::with_capacity(events.len());
        let exchange = &self.broker.names().events_exchange;
        let span =
            |e: &OutboxEvent| Span::publish(exchange, &e.routing_key, e.event_id, e.traceparent.as_deref());
        let spans: Vec<Span> = events.iter().map(span).collect();
        for (place, event) in events.iter().enumerate() {
            match Message::event(self.broker.names(), event) {
                Ok(message) => {
                    places.push(place);
                    messages.push(message);
                }
                Err(e) => {
                    tracing::error!(event_id = %event.event_id, error = %e, "an event cannot be made into a message; it stays in the outbox")
                }
            }
        }
        for (place, answer) in places.into_iter().zip(self.publish_all(messages).await) {
            results[place] = match answer {
                PublishAnswer::Confirmed => Published::Confirmed,
                PublishAnswer::Refused => Published::Refused,
                PublishAnswer::Returned | PublishAnswer::Unknown => Published::Unconfirmed,
            };
        }
        for (span, _) in spans.iter().zip(&results).filter(|(_, is)| **is != Published::Confirmed) {
            span.failed(UNCONFIRMED);
        }
        results
    }
}

impl NotificationPublisher for Publisher {
    async fn publish_notification(&self, received: &ReceivedNotification) -> Published {
        let id = Uuid::now_v7().to_string();
        let exchange = &self.broker.names().notifications_exchange;
        let span = Span::publish(exchange, NOTIFICATION_KEY, &id, None);
        let message = notification::write(received, &id).ok().and_then(|body| {
            Message::cloud_event(exchange, NOTIFICATION_KEY, &id, notification::EVENT_TYPE, body).ok()
        });
        let Some(message) = message else {
            tracing::error!("a notification cannot be made into a message; DOKU is answered 503");
            return Published::Unconfirmed;
        };
        let message = message.traced(span.traceparent().as_deref());
        match timeout(NOTIFICATION_LIMIT, self.publish_one(message)).await {
            Ok(PublishAnswer::Confirmed) => Published::Confirmed,
            Ok(PublishAnswer::Returned | PublishAnswer::Refused | PublishAnswer::Unknown) | Err(_) => {
                span.failed(UNCONFIRMED);
                Published::Unconfirmed
            }
        }
    }
}

impl PublisherTask {
    /// Ends when every handle is gone, or on `stop`: what is not confirmed by then is not known.
    pub async fn run(mut self, stop: CancellationToken) {
        self.session.stop = stop.clone();
        keep_connected(&self.broker, &self.name, &stop, &mut self.session).await;
    }
}

struct PublisherSession {
    broker: Broker,
    parts: Vec<Part>,
    requests: mpsc::Receiver<PublishRequest>,
    up: watch::Sender<bool>,
    stop: CancellationToken,
}

/// Says that the publisher is away, however its session ends.
struct Up<'a>(&'a watch::Sender<bool>);

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl LinkSession for PublisherSession {
    async fn run(&mut self, link: &Link) -> Result<(), BrokerError> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            end = self.publish_until_lost(link) => end,
        }
    }
}

impl PublisherSession {
    async fn publish_until_lost(&mut self, link: &Link) -> Result<(), BrokerError> {
        link.wait_for_parts(&self.broker, &self.parts).await;
        let channel = link.channel().await?;
        within_limit("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        link.up();
        let up = Up(&self.up);
        let mut blocked = link.blocked();
        loop {
            // While the broker blocks us nothing is written, and no caller waits for it.
            up.0.send_replace(false);
            if blocked.wait_for(|blocked| !blocked).await.is_err() {
                return Ok(());
            }
            up.0.send_replace(true);
            let mut requests = Vec::new();
            tokio::select! {
                biased;
                _ = blocked.wait_for(|blocked| *blocked) => continue,
                taken = self.requests.recv_many(&mut requests, REQUESTS_MAX) => if taken == 0 {
                    return Ok(());
                },
            }
            // A caller that does not wait any more has the answer "not known", and may have asked again.
            requests.retain(|request| !request.answers.is_closed());
            let messages: Vec<&Message> = requests.iter().flat_map(|request| &request.messages).collect();
            let answers = tokio::select! {
                biased;
                answers = publish(&channel, &messages) => answers?,
                () = silent(&mut blocked, up.0) => {
                    return Err(BrokerError::Silent { doing: DOING, limit: CONFIRM_LIMIT });
                }
            };
            if answers.contains(&PublishAnswer::Returned) {
                // A binding is gone.
                self.broker.declared().forget_all();
            }
            let mut answers = answers.into_iter();
            for request in requests {
                let own = answers.by_ref().take(request.messages.len()).collect();
                // A caller that went away in between publishes again.
                let _ = request.answers.send(own);
            }
        }
    }
}

/// One batch. An error says nothing about any of its messages.
///
/// Each group is handed to the link as a whole before the first of it is awaited: its frames leave in one write.
async fn publish(channel: &Channel, messages: &[&Message]) -> Result<Vec<PublishAnswer>, BrokerError> {
    let batch = async {
        let mut awaited = Vec::with_capacity(messages.len());
        for group in messages.chunks(GROUP_MAX) {
            awaited.extend(try_join_all(group.iter().map(|message| hand_over(channel, message))).await?);
        }
        try_join_all(awaited).await
    };
    let confirmations = batch.await.map_err(|e| BrokerError::while_doing(DOING, &e))?;
    Ok(judge(messages, confirmations))
}

/// Ends when the broker had its time to confirm a batch. While it blocks us it reads nothing: that does not count, for on
/// another link the same events would only be written once more. Callers need not wait meanwhile.
async fn silent(blocked: &mut watch::Receiver<bool>, up: &watch::Sender<bool>) {
    while timeout(CONFIRM_LIMIT, blocked.wait_for(|blocked| *blocked)).await.is_ok_and(|is| is.is_ok()) {
        up.send_replace(false);
        if blocked.wait_for(|blocked| !blocked).await.is_err() {
            return;
        }
        up.send_replace(true);
    }
}

async fn hand_over(channel: &Channel, message: &Message) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
    let (exchange, key) = (message.exchange.clone(), message.routing_key.clone());
    channel.basic_publish(exchange, key, options, &message.body, message.properties.clone()).await
}

fn judge(messages: &[&Message], confirmations: Vec<Confirmation>) -> Vec<PublishAnswer> {
    let mut returned = Vec::new();
    let mut answers: Vec<PublishAnswer> = confirmations
        .into_iter()
        .map(|confirmation| match confirmation {
            Confirmation::Ack(back) => {
                returned.extend(back);
                PublishAnswer::Confirmed
            }
            Confirmation::Nack(back) => {
                returned.extend(back);
                PublishAnswer::Refused
            }
            Confirmation::NotRequested => PublishAnswer::Unknown,
        })
        .collect();
    // The returned message says itself which publish it was; where it was found says nothing.
    for back in returned {
        let place = (0..answers.len())
            .find(|&i| answers[i] == PublishAnswer::Confirmed && messages[i].is_same(&back));
        if let Some(place) = place {
            answers[place] = PublishAnswer::Returned;
        }
    }
    answers
}

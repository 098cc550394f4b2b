//! A message of our own that shows that a queue takes and keeps what comes, and is taken away again. It goes
//! straight into the queue: through the exchange it would reach the queues that others bound there too. Only into
//! a queue that is empty: to look past what waits there would count as a delivery of it, and those have a limit.

use crate::rabbit::{
    connection::{BrokerError, Link, within_limit},
    operators::inspect::{Inspected, QueueSeen},
    topology::short_string,
};
use lapin::{
    BasicProperties, Channel, Confirmation,
    message::BasicGetMessage,
    options::{
        BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    },
};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// It brings a message to the queue that its routing key names, and nowhere else.
const DEFAULT_EXCHANGE: &str = "";
const BODY: &[u8] = b"a probe of `jenius-pay doctor`: it expires by itself";
/// More often than RabbitMQ 4 allows by itself.
const PUT_BACK_TIMES: usize = 25;
/// A message that was put back is there for the next who asks; to be sure, it is asked for once more.
const PAUSE: Duration = Duration::from_millis(200);
/// Should we die before it is taken away.
const EXPIRES_AFTER_MS: &str = "60000";

/// What became of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// It came through, and stays there however often it is put back.
    Through,
    /// It came through, and was gone after it had been put back a few times: RabbitMQ 4 does that, unless a
    /// policy says otherwise.
    Dropped,
    /// Something waits in the queue already, so nothing was tried.
    Occupied,
    /// The queue is not there, or cannot be seen, so nothing was tried.
    NoQueue,
    /// This user may not publish there, so nothing was tried.
    NotAllowed,
    /// The queue is gone.
    Returned,
    /// The queue did not take it: full, or without a leader.
    Refused,
    /// It was routed, and another consumer took it, or it went elsewhere.
    Elsewhere,
    /// The broker did not say.
    Unknown(String),
}

pub(in crate::rabbit) async fn probe(link: &Link, queue: Option<&QueueSeen>) -> ProbeResult {
    let Some(queue) = queue.filter(|queue| can_be_seen(&queue.found)) else { return ProbeResult::NoQueue };
    if queue.messages > 0 {
        return ProbeResult::Occupied;
    }
    match send(link, &queue.name).await {
        Ok(route) => route,
        Err(BrokerError::Refused { .. }) => ProbeResult::NotAllowed,
        Err(error) => ProbeResult::Unknown(error.to_string()),
    }
}

fn can_be_seen(found: &Inspected) -> bool {
    match found {
        Inspected::AsExpected | Inspected::There | Inspected::Differs(_) => true,
        Inspected::Missing | Inspected::Hidden(_) => false,
    }
}

async fn send(link: &Link, queue: &str) -> Result<ProbeResult, BrokerError> {
    let channel = link.channel().await?;
    within_limit("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let id = Uuid::new_v4().to_string();
    let properties = BasicProperties::default()
        .with_message_id(short_string(&id))
        .with_type(short_string("jenius.doctor.probe"))
        .with_expiration(short_string(EXPIRES_AFTER_MS));
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let published = async {
        channel
            .basic_publish(short_string(DEFAULT_EXCHANGE), short_string(queue), options, BODY, properties)
            .await?
            .await
    };
    match within_limit("publishing a probe", published).await? {
        Confirmation::Ack(None) => take(&channel, queue, &id).await,
        Confirmation::Ack(Some(_)) => Ok(ProbeResult::Returned),
        Confirmation::Nack(_) => Ok(ProbeResult::Refused),
        Confirmation::NotRequested => Ok(ProbeResult::Unknown("no publish confirm".to_owned())),
    }
}

async fn take(channel: &Channel, queue: &str, id: &str) -> Result<ProbeResult, BrokerError> {
    for times in 0..=PUT_BACK_TIMES {
        let Some(got) = get(channel, queue).await? else {
            return Ok(if times == 0 { ProbeResult::Elsewhere } else { ProbeResult::Dropped });
        };
        let acker = &got.delivery.acker;
        let is_ours = got.properties.message_id().as_ref().is_some_and(|found| found.as_str() == id);
        if is_ours && times == PUT_BACK_TIMES {
            within_limit("removing the probe", acker.ack(BasicAckOptions::default())).await?;
            return Ok(ProbeResult::Through);
        }
        let back = BasicNackOptions { multiple: false, requeue: true };
        within_limit("putting back", acker.nack(back)).await?;
        if !is_ours {
            // It came in between; the probe behind it expires.
            return Ok(ProbeResult::Occupied);
        }
    }
    Ok(ProbeResult::Through)
}

async fn get(channel: &Channel, queue: &str) -> Result<Option<BasicGetMessage>, BrokerError> {
    let ask = || {
        within_limit(
            "taking the probe",
            channel.basic_get(short_string(queue), BasicGetOptions { no_ack: false }),
        )
    };
    match ask().await? {
        Some(got) => Ok(Some(got)),
        None => {
            sleep(PAUSE).await;
            ask().await
        }
    }
}

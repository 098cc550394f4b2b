//! A dead letter as it is shown: what died, how, when, and where it belongs. Of the body only what tells
//! one from another.

use super::{
    DeadQueue,
    death_record::{DeathRecord, deaths, published_at, text},
};
use crate::{
    domain::{Time, command::CommandKind},
    flow::view::letters::LetterView,
    rabbit::{
        deliveries::count_in,
        message::{REPLAYS_HEADER, carried_properties},
        topology::TopologyNames,
        wire::peek::{Peeked, peek},
    },
    shown::clean,
};
use lapin::{BasicProperties, message::Delivery, types::FieldTable};
use sha2::{Digest, Sha256};

/// Hexadecimal digits of an id: enough to tell a queue of millions apart.
const ID_DIGITS: usize = 12;
/// What the broker counts with each look: no part of what a letter is.
const COUNTS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// Where a message is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Command(CommandKind),
    Notification,
}

impl Destination {
    /// What it is worked on as.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command(kind) => kind.routing_key(),
            Self::Notification => "notifications",
        }
    }
}

/// A message in a queue without a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The same at every look. If several letters are equal to the byte, those after the first have a number appended.
    pub id: String,
    pub queue: DeadQueue,
    /// The latest first; a message that reached no queue has died once, of that. Never empty.
    pub deaths: Vec<DeathRecord>,
    pub event_type: Option<String>,
    pub source: Option<String>,
    pub command_id: Option<String>,
    pub bytes: usize,
    /// How often an operator had it worked on again before it died anew.
    pub replays: u64,
    /// How often it was given back after a look.
    pub returns: u64,
    pub destination: Option<Destination>,
    pub content_type: Option<String>,
    pub message_id: Option<String>,
    /// The headers: their values where they are ours or the broker's, else nothing.
    pub headers: Vec<(String, Option<String>)>,
}

impl DeadLetter {
    /// Without the number that tells it from its likes.
    pub(super) fn read(names: &TopologyNames, queue: DeadQueue, raw: &Delivery) -> Self {
        let properties = &raw.properties;
        let headers = properties.headers().clone().unwrap_or_default();
        let peeked = peek(&raw.data);
        let deaths = match queue {
            DeadQueue::Dead => Some(deaths(properties)).filter(|deaths| !deaths.is_empty()),
            DeadQueue::Unrouted => None,
        };
        Self {
            id: id(queue, raw),
            queue,
            deaths: deaths.unwrap_or_else(|| vec![unexplained(queue, raw)]),
            bytes: raw.data.len(),
            replays: count_in(&headers, REPLAYS_HEADER),
            returns: count_in(&headers, COUNTS[0]),
            destination: destination(names, &peeked, raw.routing_key.as_str()),
            content_type: properties.content_type().as_ref().map(ToString::to_string),
            message_id: properties.message_id().as_ref().map(ToString::to_string),
            headers: shown_headers(&headers),
            event_type: peeked.event_type,
            source: peeked.source,
            command_id: peeked.command_id,
        }
    }

    pub fn reason(&self) -> &str {
        self.deaths.first().map_or("unknown", |death| &death.reason)
    }

    pub fn detail(&self) -> Option<&str> {
        self.deaths.first().and_then(|death| death.detail.as_deref())
    }

    /// What is lost with it, in a line.
    pub fn summary(&self) -> String {
        let what = self.destination.map_or("unreadable", Destination::name);
        let command = self.command_id.as_deref().map(|id| format!(" {}", clean(id))).unwrap_or_default();
        format!("{what}{command}, {} bytes, died of {}", self.bytes, clean(self.reason()))
    }

    /// As pages show it.
    pub fn view(&self) -> LetterView {
        LetterView {
            id: self.id.clone(),
            queue: self.queue.name(),
            reason: self.reason().to_owned(),
            detail: self.detail().map(str::to_owned),
            at: self.at(),
            event_type: self.event_type.clone(),
            source: self.source.clone(),
            command_id: self.command_id.clone(),
            bytes: self.bytes,
            replays: self.replays,
        }
    }

    pub fn at(&self) -> Option<Time> {
        self.deaths.first().and_then(|death| death.at)
    }
}

/// A message that no queue was bound for, or one with headers that do not say why it is here.
fn unexplained(queue: DeadQueue, raw: &Delivery) -> DeathRecord {
    let (reason, detail) = match queue {
        DeadQueue::Dead => ("unknown", "its headers do not say why it is here".to_owned()),
        DeadQueue::Unrouted => {
            let (exchange, key) = (raw.exchange.as_str(), raw.routing_key.as_str());
            ("unrouted", format!("no queue of {exchange} takes the routing key {key:?}"))
        }
    };
    let at = published_at(&raw.properties);
    DeathRecord { reason: reason.to_owned(), detail: Some(detail), at, queue: None, times: 1 }
}

/// A message says itself what it is; where it does not, it goes back to where it died.
fn destination(names: &TopologyNames, peeked: &Peeked, routing_key: &str) -> Option<Destination> {
    if let Some(kind) = peeked.command_kind() {
        return Some(Destination::Command(kind));
    }
    if peeked.is_notification() || routing_key == names.notifications_queue {
        return Some(Destination::Notification);
    }
    [(&names.payments_queue, CommandKind::Payment), (&names.refunds_queue, CommandKind::Refund)]
        .into_iter()
        .find(|(queue, _)| *queue == routing_key)
        .map(|(_, kind)| Destination::Command(kind))
}

/// Made of all that stays as it is: where it lies, how it came there, its properties and its body.
fn id(queue: DeadQueue, raw: &Delivery) -> String {
    let mut hash = Sha256::new();
    let properties = format!("{:?}", carried_properties(&raw.properties));
    let headers = format!("{:?}", lasting(&raw.properties));
    let parts = [queue.name(), raw.exchange.as_str(), raw.routing_key.as_str(), &properties, &headers];
    for part in parts.map(str::as_bytes).into_iter().chain([raw.data.as_slice()]) {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let digits = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits[..ID_DIGITS].to_owned()
}

fn lasting(properties: &BasicProperties) -> FieldTable {
    let mut lasting = FieldTable::default();
    for (name, value) in properties.headers().iter().flatten() {
        if !COUNTS.contains(&name.as_str()) {
            lasting.insert(name.clone(), value.clone());
        }
    }
    lasting
}

/// Of a stranger's header the name alone: its value may be anything, a customer's name too.
fn shown_headers(headers: &FieldTable) -> Vec<(String, Option<String>)> {
    let is_known =
        |name: &str| name.starts_with("x-jenius-") || name == "traceparent" || COUNTS.contains(&name);
    headers
        .into_iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| *name != "x-death")
        .map(|name| {
            let value = is_known(name)
                .then(|| text(headers, name).unwrap_or_else(|| count_in(headers, name).to_string()));
            (name.to_owned(), value)
        })
        .collect()
}

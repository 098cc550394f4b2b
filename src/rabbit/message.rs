//! One message on its way to the broker: where to, what bytes, which properties. Bodies are carried,
//! never read or changed.

use super::{
    operators::dead::{DeadLetter, Destination},
    publisher::NOTIFICATION_KEY,
    topology::TopologyNames,
};
use crate::{
    domain::Time,
    flow::{disposition::DeadReason, ports::OutboxEvent},
};
use bytes::Bytes;
use chrono::SecondsFormat;
use lapin::{
    BasicProperties,
    message::BasicReturnMessage,
    types::{AMQPValue, FieldTable, ShortString},
};

pub const CLOUD_EVENT: &str = "application/cloudevents+json";
pub const REASON_HEADER: &str = "x-jenius-reason";
pub const DETAIL_HEADER: &str = "x-jenius-detail";
pub const QUEUE_HEADER: &str = "x-jenius-queue";
pub const TRACEPARENT_HEADER: &str = "traceparent";
pub const AT_HEADER: &str = "x-jenius-at";
/// How often an operator replayed a message that had died.
pub const REPLAYS_HEADER: &str = "x-jenius-replays";
/// What it had died of before.
pub const DEATHS_HEADER: &str = "x-jenius-deaths";

const PERSISTENT: u8 = 2;
/// Characters of a dead letter's detail.
const DETAIL_CHARS_MAX: usize = 500;
/// The sender's headers of a dead letter, as text. All properties must fit one frame of 128 KiB with
/// ours added, or the broker closes the connection.
const HEADERS_TEXT_BYTES_MAX: usize = 64 * 1024;

/// A text that AMQP has no room for: its short strings end at 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: at most 255 bytes")]
pub struct TooLong {
    what: &'static str,
}

fn short(what: &'static str, text: &str) -> Result<ShortString, TooLong> {
    ShortString::try_new(text).map_err(|_| TooLong { what })
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Message {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    /// It must reach a queue, or comes back.
    pub(super) mandatory: bool,
    pub(super) body: Bytes,
    pub(super) properties: BasicProperties,
}

impl Message {
    /// A CloudEvent that must reach a queue: a command, a notification.
    pub fn cloud_event(
        exchange: &str,
        routing_key: &str,
        id: &str,
        event_type: &str,
        body: Bytes,
    ) -> Result<Self, TooLong> {
        Ok(Self {
            exchange: short("exchange", exchange)?,
            routing_key: short("routing key", routing_key)?,
            mandatory: true,
            body,
            properties: cloud_event_properties(id, event_type)?,
        })
    }

    /// An event of the outbox. If no queue subscribes, the broker drops it: that is what an event is.
    pub fn event(names: &TopologyNames, event: &OutboxEvent) -> Result<Self, TooLong> {
        let mut properties = cloud_event_properties(&event.event_id.to_string(), &event.event_type)?;
        if let Some(id) = &event.correlation_id {
            properties = properties.with_correlation_id(short("correlation id", id)?);
        }
        let message = Self {
            exchange: short("exchange", &names.events_exchange)?,
            routing_key: short("routing key", &event.routing_key)?,
            mandatory: false,
            body: event.body.clone(),
            properties,
        };
        Ok(message.traced(event.traceparent.as_deref()))
    }

    /// With the trace it belongs to, where that is known. For a message of our own: it has no headers yet.
    pub fn traced(mut self, traceparent: Option<&str>) -> Self {
        if let Some(traceparent) = traceparent {
            let mut headers = FieldTable::default();
            headers.insert(TRACEPARENT_HEADER.into(), AMQPValue::LongString(traceparent.into()));
            self.properties = self.properties.with_headers(headers);
        }
        self
    }

    /// With the user who publishes it, which the broker compares with the user of the link.
    pub fn from_user(mut self, user: &str) -> Result<Self, TooLong> {
        self.properties = self.properties.with_user_id(short("user", user)?);
        Ok(self)
    }

    /// What a consumer could not use, byte for byte, with what is wrong with it and when that was found.
    pub(super) fn dead_letter(
        names: &TopologyNames,
        queue: &str,
        original: &BasicProperties,
        body: Bytes,
        reason: DeadReason,
        detail: &str,
        at: Time,
    ) -> Result<Self, TooLong> {
        let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
        let mut headers = original.headers().as_ref().map(carried_headers).unwrap_or_default();
        let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        for (name, text) in [
            (REASON_HEADER, reason.name()),
            (DETAIL_HEADER, detail.as_str()),
            (QUEUE_HEADER, queue),
            (AT_HEADER, at.as_str()),
        ] {
            headers.insert(name.into(), AMQPValue::LongString(text.into()));
        }
        Ok(Self {
            exchange: short("exchange", &names.dead_exchange)?,
            routing_key: short("routing key", queue)?,
            mandatory: true,
            body,
            properties: carried_properties(original).with_headers(headers).with_delivery_mode(PERSISTENT),
        })
    }

    /// A dead letter for the consumer that works on it, byte for byte. It keeps its sender's properties, and a header
    /// that it has died; how it died is written anew if it dies again.
    pub(super) fn replayed(
        names: &TopologyNames,
        destination: Destination,
        original: &BasicProperties,
        body: Bytes,
        letter: &DeadLetter,
    ) -> Result<Self, TooLong> {
        let (exchange, key) = match destination {
            Destination::Command(kind) => (&names.commands_exchange, kind.routing_key()),
            Destination::Notification => (&names.notifications_exchange, NOTIFICATION_KEY),
        };
        let before =
            original.headers().as_ref().and_then(|headers| match headers.inner().get(DEATHS_HEADER) {
                Some(AMQPValue::LongString(text)) => Some(text.to_string()),
                _ => None,
            });
        let at = letter.at().map_or("unknown".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
        let deaths = format!("{} {at}; {}", letter.reason(), before.unwrap_or_default());
        let deaths: String = deaths.trim_end_matches("; ").chars().take(DETAIL_CHARS_MAX).collect();
        let mut headers = FieldTable::default();
        for (name, value) in original.headers().as_ref().map(carried_headers).unwrap_or_default().inner() {
            if !tells_of_death(name.as_str()) {
                headers.insert(name.clone(), value.clone());
            }
        }
        let replays = i64::try_from(letter.replays).unwrap_or_default().saturating_add(1);
        headers.insert(REPLAYS_HEADER.into(), AMQPValue::LongLongInt(replays));
        headers.insert(DEATHS_HEADER.into(), AMQPValue::LongString(deaths.into()));
        Ok(Self {
            exchange: short("exchange", exchange)?,
            routing_key: short("routing key", key)?,
            mandatory: true,
            body,
            properties: carried_properties(original).with_headers(headers).with_delivery_mode(PERSISTENT),
        })
    }

    /// Whether the broker speaks of this message when it returns one.
    pub(super) fn is_same(&self, returned: &BasicReturnMessage) -> bool {
        self.exchange == returned.exchange
            && self.routing_key == returned.routing_key
            && self.properties.message_id() == returned.properties.message_id()
            && self.body == returned.data
    }
}

/// Headers of a dead letter that say how it died.
fn tells_of_death(name: &str) -> bool {
    [REASON_HEADER, DETAIL_HEADER, QUEUE_HEADER, AT_HEADER, "x-death"].contains(&name)
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

fn cloud_event_properties(id: &str, event_type: &str) -> Result<BasicProperties, TooLong> {
    Ok(BasicProperties::default()
        .with_content_type(CLOUD_EVENT.into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short("id", id)?)
        .with_type(short("type", event_type)?))
}

/// The sender's properties, without those that would act on the dead letter: an expiration would lose
/// it, a user id that is not ours closes the channel.
pub(super) fn carried_properties(original: &BasicProperties) -> BasicProperties {
    let mut carried = BasicProperties::default();
    macro_rules! carry {
        ($($get:ident => $with:ident),*) => {
            $(if let Some(value) = original.$get().clone() { carried = carried.$with(value); })*
        };
    }
    carry!(
        content_type => with_content_type,
        content_encoding => with_content_encoding,
        priority => with_priority,
        correlation_id => with_correlation_id,
        reply_to => with_reply_to,
        message_id => with_message_id,
        timestamp => with_timestamp,
        kind => with_type,
        app_id => with_app_id
    );
    carried
}

/// The sender's headers, without those that would route the dead letter elsewhere, and the broker's own
/// count, which starts anew.
fn carried_headers(original: &FieldTable) -> FieldTable {
    let mut carried = FieldTable::default();
    if format!("{original:?}").len() > HEADERS_TEXT_BYTES_MAX {
        return carried;
    }
    for (name, value) in original {
        if !matches!(name.as_str(), "CC" | "BCC" | "x-delivery-count") {
            carried.insert(name.clone(), value.clone());
        }
    }
    carried
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(original: BasicProperties, detail: &str) -> Message {
        let names = TopologyNames::new("p").unwrap();
        let body = Bytes::from_static(b"\xff{");
        let at = chrono::DateTime::UNIX_EPOCH;
        Message::dead_letter(&names, "p.payments", &original, body, DeadReason::Malformed, detail, at)
            .unwrap()
    }

    #[test]
    fn a_dead_letter_carries_nothing_that_would_expire_it_or_send_it_elsewhere() {
        let mut headers = FieldTable::default();
        for name in ["CC", "BCC", "x-delivery-count", "kept"] {
            headers.insert(name.into(), AMQPValue::LongString("x".into()));
        }
        let original = BasicProperties::default()
            .with_expiration("1".into())
            .with_user_id("someone".into())
            .with_delivery_mode(1)
            .with_message_id("m-1".into())
            .with_headers(headers);
        let message = dead(original, "no");
        let kept: Vec<&str> = message
            .properties
            .headers()
            .as_ref()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(kept, ["kept", AT_HEADER, DETAIL_HEADER, QUEUE_HEADER, REASON_HEADER]);
        assert_eq!(message.properties.expiration(), &None);
        assert_eq!(message.properties.user_id(), &None);
        assert_eq!(message.properties.delivery_mode(), &Some(2));
        assert_eq!(message.properties.message_id(), &Some("m-1".into()));
    }

    #[test]
    fn a_dead_letters_headers_are_bounded() {
        let mut headers = FieldTable::default();
        headers.insert("wide".into(), AMQPValue::LongString("x".repeat(HEADERS_TEXT_BYTES_MAX).into()));
        let message = dead(BasicProperties::default().with_headers(headers), &"ä".repeat(10_000));
        let headers = message.properties.headers().as_ref().unwrap().inner();
        assert!(!headers.contains_key("wide"));
        assert_eq!(headers[DETAIL_HEADER], AMQPValue::LongString("ä".repeat(500).into()));
    }

    #[test]
    fn what_amqp_has_no_room_for_is_refused() {
        let long = "x".repeat(256);
        for (key, id) in [(long.as_str(), "1"), ("k", long.as_str())] {
            assert!(Message::cloud_event("e", key, id, "t", Bytes::new()).is_err());
        }
    }
}

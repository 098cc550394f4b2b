//! The exchanges and queues of this system: their names, and their declaration. Declaring is idempotent
//! and never deletes: what exists with other arguments is an error for a person to see.
//!
//! Every argument is accepted by RabbitMQ 3.10 and by 4.x.

use super::connection::{BrokerError, bounded};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

/// The routing keys of the two commands.
pub const PAYMENT_KEY: &str = "payment.request";
pub const REFUND_KEY: &str = "refund.request";

/// How often the broker hands a message out again before it dead-letters it. Set explicitly: 4.x has a
/// default of its own.
pub const DELIVERY_LIMIT: i32 = 10;

/// Bytes of a prefix, so that every name made from it fits an AMQP short string.
const PREFIX_BYTES_MAX: usize = 200;

/// A prefix that no name can be made from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("amqp.prefix: 1–200 bytes of a-z, A-Z, 0-9, `-`, `_` and `.`")]
pub struct BadPrefix;

/// Every name, made from `amqp.prefix`, so that several environments can share a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub commands_exchange: String,
    pub notifications_exchange: String,
    pub events_exchange: String,
    pub dead_exchange: String,
    pub unrouted_exchange: String,
    pub payments_queue: String,
    pub refunds_queue: String,
    pub notifications_queue: String,
    pub dead_queue: String,
    pub unrouted_queue: String,
}

impl Names {
    pub fn new(prefix: &str) -> Result<Self, BadPrefix> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if prefix.is_empty() || prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(allowed) {
            return Err(BadPrefix);
        }
        let name = |what: &str| format!("{prefix}.{what}");
        Ok(Self {
            commands_exchange: name("commands"),
            notifications_exchange: name("notifications"),
            events_exchange: name("events"),
            dead_exchange: name("dead"),
            unrouted_exchange: name("unrouted"),
            payments_queue: name("payments"),
            refunds_queue: name("refunds"),
            notifications_queue: name("notifications"),
            dead_queue: name("dead"),
            unrouted_queue: name("unrouted"),
        })
    }

    /// The queues whose deliveries are worked on.
    pub fn work_queues(&self) -> [&str; 3] {
        [&self.payments_queue, &self.refunds_queue, &self.notifications_queue]
    }
}

/// Declares everything. Each answer of the broker is waited for, a bounded time.
pub(super) async fn declare(channel: &Channel, names: &Names) -> Result<(), BrokerError> {
    let spilled = table([("alternate-exchange", text(&names.unrouted_exchange))]);
    exchange(channel, &names.unrouted_exchange, ExchangeKind::Fanout, FieldTable::default()).await?;
    exchange(channel, &names.dead_exchange, ExchangeKind::Topic, FieldTable::default()).await?;
    exchange(channel, &names.events_exchange, ExchangeKind::Topic, FieldTable::default()).await?;
    exchange(channel, &names.commands_exchange, ExchangeKind::Topic, spilled.clone()).await?;
    exchange(channel, &names.notifications_exchange, ExchangeKind::Topic, spilled).await?;

    let quorum = table([("x-queue-type", text("quorum"))]);
    queue(channel, &names.dead_queue, quorum.clone()).await?;
    queue(channel, &names.unrouted_queue, quorum).await?;
    for name in names.work_queues() {
        declare_work_queue(channel, names, name).await?;
    }

    for (queue, exchange, key) in [
        (&names.dead_queue, &names.dead_exchange, "#"),
        (&names.unrouted_queue, &names.unrouted_exchange, ""),
        (&names.payments_queue, &names.commands_exchange, PAYMENT_KEY),
        (&names.refunds_queue, &names.commands_exchange, REFUND_KEY),
        (&names.notifications_queue, &names.notifications_exchange, "#"),
    ] {
        bind(channel, queue, exchange, key).await?;
    }
    Ok(())
}

pub(super) async fn declare_work_queue(
    channel: &Channel,
    names: &Names,
    name: &str,
) -> Result<(), BrokerError> {
    let arguments = table([
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(&names.dead_exchange)),
        ("x-dead-letter-routing-key", text(name)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
    ]);
    queue(channel, name, arguments).await
}

async fn exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    arguments: FieldTable,
) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(short(name), kind, options, arguments);
    bounded("declaring an exchange", declared).await
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(short(name), options, arguments);
    bounded("declaring a queue", declared).await.map(|_| ())
}

pub(super) async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), BrokerError> {
    let bound = channel.queue_bind(
        short(queue),
        short(exchange),
        short(key),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bounded("binding a queue", bound).await
}

/// An AMQP short string holds 255 bytes, and lapin panics over longer ones: cut, so that the broker says
/// that there is no such thing. Names made here always fit.
pub(super) fn short(text: &str) -> ShortString {
    const BYTES_MAX: usize = 255;
    ShortString::from(&text[..text.floor_char_boundary(BYTES_MAX)])
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table<const N: usize>(arguments: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(short(name), value);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_carries_the_prefix() {
        let names = Names::new("shop-7").unwrap();
        assert_eq!(names.commands_exchange, "shop-7.commands");
        assert_eq!(names.work_queues(), ["shop-7.payments", "shop-7.refunds", "shop-7.notifications"]);
    }

    #[test]
    fn a_prefix_that_makes_no_names_is_refused() {
        for bad in ["", "a b", "a#", "ä", &"x".repeat(201)] {
            assert_eq!(Names::new(bad), Err(BadPrefix), "{bad:?}");
        }
    }

    #[test]
    fn a_short_string_is_cut_at_a_character() {
        assert_eq!(short(&"ä".repeat(200)).as_str().len(), 254);
    }
}

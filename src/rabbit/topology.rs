//! The exchanges and queues of this system: their names and their arguments. `declare` declares them; that is
//! idempotent and never deletes: what exists with other arguments is an error for a person to see.
//!
//! Every argument is accepted by RabbitMQ 3.10 and by 4.x.

use lapin::{
    ExchangeKind,
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
pub struct TopologyNames {
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
    /// What begins the names of the queues by which consoles see events pass.
    pub console_queues: String,
}

impl TopologyNames {
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
            console_queues: name("console."),
        })
    }

    /// The queues with consumers of ours.
    pub fn work_queues(&self) -> [&str; 3] {
        [&self.payments_queue, &self.refunds_queue, &self.notifications_queue]
    }
}

/// An exchange, and what it is declared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange<'n> {
    pub name: &'n str,
    pub kind: ExchangeType,
    /// Where a message goes that no queue is bound to.
    pub alternate: Option<&'n str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeType {
    Topic,
    Fanout,
}

/// A queue, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec<'n> {
    pub name: &'n str,
    pub arguments: Vec<(&'static str, Argument<'n>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument<'n> {
    Text(&'n str),
    Number(i32),
}

/// What brings an exchange's messages to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'n> {
    pub queue: &'n str,
    pub exchange: &'n str,
    pub key: &'static str,
}

/// An exchange with everything behind it, as one role or another needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Commands,
    Notifications,
    Events,
    /// The dead letters.
    Dead,
    /// What reached no queue.
    Unrouted,
}

impl Part {
    pub const ALL: [Self; 5] =
        [Self::Commands, Self::Notifications, Self::Events, Self::Dead, Self::Unrouted];
}

/// What belongs to a part.
impl TopologyNames {
    pub fn exchanges_of(&self, part: Part) -> impl Iterator<Item = Exchange<'_>> {
        let (unrouted, dead) = (self.unrouted_exchange.as_str(), self.dead_exchange.as_str());
        let wanted = match part {
            Part::Commands => vec![unrouted, dead, &self.commands_exchange],
            Part::Notifications => vec![unrouted, dead, &self.notifications_exchange],
            Part::Events => vec![self.events_exchange.as_str()],
            Part::Dead => vec![dead],
            Part::Unrouted => vec![unrouted],
        };
        self.exchanges().into_iter().filter(move |exchange| wanted.contains(&exchange.name))
    }

    /// Those that a binding of its exchanges leads to.
    pub fn queues_of(&self, part: Part) -> impl Iterator<Item = QueueSpec<'_>> {
        let wanted: Vec<&str> = self.bindings_of(part).map(|binding| binding.queue).collect();
        self.queues().into_iter().filter(move |queue| wanted.contains(&queue.name))
    }

    pub fn bindings_of(&self, part: Part) -> impl Iterator<Item = Binding<'_>> {
        let exchanges: Vec<&str> = self.exchanges_of(part).map(|exchange| exchange.name).collect();
        self.bindings().into_iter().filter(move |binding| exchanges.contains(&binding.exchange))
    }

    /// The part that a work queue belongs to.
    pub fn part_of_queue(&self, queue: &str) -> Part {
        if queue == self.notifications_queue { Part::Notifications } else { Part::Commands }
    }
}

/// What is declared, as a table: declaring, checking and describing read the same one.
impl TopologyNames {
    /// Each before those that it is the alternate of.
    pub fn exchanges(&self) -> [Exchange<'_>; 5] {
        let topic = |name, alternate| Exchange { name, kind: ExchangeType::Topic, alternate };
        let spilled = Some(self.unrouted_exchange.as_str());
        [
            Exchange { name: &self.unrouted_exchange, kind: ExchangeType::Fanout, alternate: None },
            topic(&self.dead_exchange, None),
            topic(&self.events_exchange, None),
            topic(&self.commands_exchange, spilled),
            topic(&self.notifications_exchange, spilled),
        ]
    }

    pub fn queues(&self) -> [QueueSpec<'_>; 5] {
        let plain = |name| QueueSpec { name, arguments: vec![QUORUM] };
        let [payments, refunds, notifications] = self.work_queues().map(|name| self.work_queue(name));
        [plain(&self.dead_queue), plain(&self.unrouted_queue), payments, refunds, notifications]
    }

    fn work_queue<'n>(&'n self, name: &'n str) -> QueueSpec<'n> {
        let arguments = vec![
            QUORUM,
            ("x-dead-letter-exchange", Argument::Text(&self.dead_exchange)),
            ("x-dead-letter-routing-key", Argument::Text(name)),
            ("x-dead-letter-strategy", Argument::Text("at-least-once")),
            ("x-overflow", Argument::Text("reject-publish")),
            ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)),
        ];
        QueueSpec { name, arguments }
    }

    pub fn bindings(&self) -> [Binding<'_>; 5] {
        [
            Binding { queue: &self.dead_queue, exchange: &self.dead_exchange, key: EVERYTHING },
            Binding { queue: &self.unrouted_queue, exchange: &self.unrouted_exchange, key: "" },
            Binding { queue: &self.payments_queue, exchange: &self.commands_exchange, key: PAYMENT_KEY },
            Binding { queue: &self.refunds_queue, exchange: &self.commands_exchange, key: REFUND_KEY },
            Binding {
                queue: &self.notifications_queue,
                exchange: &self.notifications_exchange,
                key: EVERYTHING,
            },
        ]
    }
}

const QUORUM: (&str, Argument<'static>) = ("x-queue-type", Argument::Text("quorum"));
/// Of a topic exchange.
const EVERYTHING: &str = "#";

impl Exchange<'_> {
    pub(super) fn kind(&self) -> ExchangeKind {
        match self.kind {
            ExchangeType::Topic => ExchangeKind::Topic,
            ExchangeType::Fanout => ExchangeKind::Fanout,
        }
    }

    pub(super) fn arguments(&self) -> FieldTable {
        table(self.alternate.map(|name| ("alternate-exchange", Argument::Text(name))))
    }
}

/// An AMQP short string holds 255 bytes, and lapin panics over longer ones: cut, so that the broker says
/// that there is no such thing. Names made here always fit.
pub(super) fn short_string(text: &str) -> ShortString {
    const BYTES_MAX: usize = 255;
    ShortString::from(&text[..text.floor_char_boundary(BYTES_MAX)])
}

pub(super) fn table<'n>(arguments: impl IntoIterator<Item = (&'static str, Argument<'n>)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.into()),
            Argument::Number(number) => AMQPValue::LongInt(number),
        };
        table.insert(short_string(name), value);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_carries_the_prefix() {
        let names = TopologyNames::new("shop-7").unwrap();
        assert_eq!(names.commands_exchange, "shop-7.commands");
        assert_eq!(names.work_queues(), ["shop-7.payments", "shop-7.refunds", "shop-7.notifications"]);
    }

    #[test]
    fn a_prefix_that_makes_no_names_is_refused() {
        for bad in ["", "a b", "a#", "ä", &"x".repeat(201)] {
            assert_eq!(TopologyNames::new(bad), Err(BadPrefix), "{bad:?}");
        }
    }

    #[test]
    fn a_part_has_everything_behind_its_exchange() {
        let names = TopologyNames::new("p").unwrap();
        let of = |part| {
            let exchanges: Vec<&str> = names.exchanges_of(part).map(|it| it.name).collect();
            let queues: Vec<&str> = names.queues_of(part).map(|it| it.name).collect();
            (exchanges.join(" "), queues.join(" "))
        };
        for (part, exchanges, queues) in [
            (Part::Commands, "p.unrouted p.dead p.commands", "p.dead p.unrouted p.payments p.refunds"),
            (Part::Notifications, "p.unrouted p.dead p.notifications", "p.dead p.unrouted p.notifications"),
            (Part::Events, "p.events", ""),
            (Part::Dead, "p.dead", "p.dead"),
            (Part::Unrouted, "p.unrouted", "p.unrouted"),
        ] {
            assert_eq!(of(part), (exchanges.to_owned(), queues.to_owned()), "{part:?}");
        }
    }

    #[test]
    fn a_short_string_is_cut_at_a_character() {
        assert_eq!(short_string(&"ä".repeat(200)).as_str().len(), 254);
    }
}

//! Looks at the broker, for `doctor`: is everything there, with the arguments it should have, and does it route.
//!
//! Never: create what is missing; put anything into a work queue; take a message that is not our own probe.

use crate::rabbit::{
    connection::{Broker, BrokerError, Link},
    operators::greeting::{Greeting, greet},
    operators::probe::{ProbeResult, probe},
    refusal::{ACCESS_REFUSED, ChannelRefusal, NOT_FOUND, PRECONDITION_FAILED, asked},
    topology::{self, Exchange, QueueSpec, short_string},
    url::{host, place},
};
use futures_util::future::join_all;
use lapin::{
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
    uri::AMQPUri,
};
use std::sync::Arc;

const NAME: &str = "doctor";

/// What there is under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    AsExpected,
    /// It is there, and this user may not compare how it was declared.
    There,
    Missing,
    /// It is there, and the broker says what is different.
    Differs(String),
    /// The broker did not let us see.
    Hidden(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeSeen {
    pub name: String,
    pub found: Inspected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSeen {
    pub name: String,
    pub found: Inspected,
    /// Ready ones; unacked ones are not counted.
    pub messages: u32,
    pub consumers: u32,
}

/// What was seen from the inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    pub exchanges: Vec<ExchangeSeen>,
    pub queues: Vec<QueueSeen>,
    /// What became of a probe in the dead queue.
    pub dead_route: ProbeResult,
    /// The same in the queue of the unrouted.
    pub unrouted_route: ProbeResult,
}

impl Broker {
    /// What answers at each node of `amqp.url`, before any login.
    pub async fn greetings(&self) -> Vec<(String, Result<Greeting, BrokerError>)> {
        let greet = async |node: AMQPUri| (host(&node), greet(&node, self.tls()).await);
        join_all(self.nodes().into_iter().map(greet)).await
    }

    /// Hosts, ports and virtual host.
    pub fn place(&self) -> String {
        place(&self.nodes())
    }

    /// Whether the way to one of them leaves this machine.
    pub fn is_remote(&self) -> bool {
        self.nodes().iter().any(|node| {
            let host = node.authority.host.as_str();
            host != "localhost" && !host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        })
    }

    /// Looks at everything. Each answer of the broker is waited for, a bounded time.
    pub async fn inspect(&self) -> Result<Inspection, BrokerError> {
        let (link, _events) = self.open(Arc::new(self.link_health(NAME)), NAME).await?;
        let names = self.names();
        let mut exchanges = Vec::new();
        for exchange in names.exchanges() {
            exchanges.push(see_exchange(&link, exchange).await?);
        }
        let mut queues = Vec::new();
        for queue in names.queues() {
            queues.push(see_queue(&link, queue).await?);
        }
        let of = |name: &str| queues.iter().find(|queue| queue.name == name);
        let (dead, unrouted) = (of(&names.dead_queue), of(&names.unrouted_queue));
        let dead_route = probe(&link, dead).await;
        let unrouted_route = probe(&link, unrouted).await;
        link.close().await;
        Ok(Inspection { exchanges, queues, dead_route, unrouted_route })
    }
}

/// A refusal closes the channel, so each has its own. A passive declaration compares no arguments; the other
/// kind does, and creates nothing where the first has found it.
async fn see_exchange(link: &Link, exchange: Exchange<'_>) -> Result<ExchangeSeen, BrokerError> {
    let channel = link.channel().await?;
    let declare = |options, arguments| {
        asked(channel.exchange_declare(short_string(exchange.name), exchange.kind(), options, arguments))
    };
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let found = match declare(passive, FieldTable::default()).await {
        Err(refusal) => found(refusal),
        Ok(()) => {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            declare(options, exchange.arguments()).await.map_or_else(compared, |()| Inspected::AsExpected)
        }
    };
    Ok(ExchangeSeen { name: exchange.name.to_owned(), found })
}

async fn see_queue(link: &Link, queue: QueueSpec<'_>) -> Result<QueueSeen, BrokerError> {
    let channel = link.channel().await?;
    let declare =
        |options, arguments| asked(channel.queue_declare(short_string(queue.name), options, arguments));
    let name = queue.name.to_owned();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match declare(passive, FieldTable::default()).await {
        Err(refusal) => Ok(QueueSeen { name, found: found(refusal), messages: 0, consumers: 0 }),
        Ok(there) => {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let same = declare(options, topology::table(queue.arguments)).await;
            let found = same.map_or_else(compared, |_| Inspected::AsExpected);
            Ok(QueueSeen { name, found, messages: there.message_count(), consumers: there.consumer_count() })
        }
    }
}

/// Of what is there.
fn compared(refusal: ChannelRefusal) -> Inspected {
    if refusal.code == ACCESS_REFUSED { Inspected::There } else { found(refusal) }
}

fn found(refusal: ChannelRefusal) -> Inspected {
    match refusal.code {
        NOT_FOUND => Inspected::Missing,
        PRECONDITION_FAILED => Inspected::Differs(refusal.text),
        _ => Inspected::Hidden(refusal.text),
    }
}

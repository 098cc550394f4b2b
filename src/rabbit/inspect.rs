//! Looks at the broker, for `doctor`: is everything there, with the arguments it should have, and does it route.
//!
//! Never: create what is missing; put anything into a work queue; take a message that is not our own probe.

use super::{
    connection::{ANSWER_LIMIT, Broker, BrokerError, Link},
    greeting::{Greeting, greet},
    probe::{Route, probe},
    topology::{self, Exchange, Queue, short},
};
use lapin::{
    ErrorKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
};
use std::{future::Future, sync::Arc};
use tokio::time::timeout;

const NAME: &str = "doctor";
/// AMQP's reply codes.
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;

/// What there is under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    AsExpected,
    Missing,
    /// It is there, and the broker says what is different.
    Differs(String),
    /// The broker did not let us see.
    Hidden(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeSeen {
    pub name: String,
    pub found: Found,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSeen {
    pub name: String,
    pub found: Found,
    /// Ready ones; those in somebody's hands are not counted.
    pub messages: u32,
    pub consumers: u32,
}

/// What was seen from the inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    pub exchanges: Vec<ExchangeSeen>,
    pub queues: Vec<QueueSeen>,
    /// From the dead exchange to the dead queue.
    pub dead_route: Route,
    /// From a key that nobody bound on the commands' exchange to the queue of the unrouted.
    pub unrouted_route: Route,
}

/// How the broker refused.
struct Refusal {
    /// 0 where it is no answer of the broker.
    code: u16,
    text: String,
}

impl Broker {
    /// Who answers there, whoever may log in.
    pub async fn greeting(&self) -> Result<Greeting, BrokerError> {
        greet(&self.uri()).await
    }

    /// Host, port and virtual host.
    pub fn place(&self) -> String {
        let uri = self.uri();
        format!("{}:{}, virtual host {}", uri.authority.host, uri.authority.port, uri.vhost)
    }

    /// Whether the way to it leaves this machine.
    pub fn is_remote(&self) -> bool {
        let host = self.uri().authority.host;
        host != "localhost" && !host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
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
        let dead_route = probe(&link, &names.dead_exchange, dead).await;
        let unrouted_route = probe(&link, &names.commands_exchange, unrouted).await;
        link.close().await;
        Ok(Inspection { exchanges, queues, dead_route, unrouted_route })
    }
}

/// A refusal closes the channel, so each has its own. A passive declaration compares no arguments; the other
/// kind does, and creates nothing where the first has found it.
async fn see_exchange(link: &Link, exchange: Exchange<'_>) -> Result<ExchangeSeen, BrokerError> {
    let channel = link.channel().await?;
    let declare = |options, arguments| {
        asked(channel.exchange_declare(short(exchange.name), exchange.kind(), options, arguments))
    };
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let found = match declare(passive, FieldTable::default()).await {
        Err(refusal) => refusal.found(),
        Ok(()) => {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            declare(options, exchange.arguments()).await.map_or_else(Refusal::found, |()| Found::AsExpected)
        }
    };
    Ok(ExchangeSeen { name: exchange.name.to_owned(), found })
}

async fn see_queue(link: &Link, queue: Queue<'_>) -> Result<QueueSeen, BrokerError> {
    let channel = link.channel().await?;
    let declare = |options, arguments| asked(channel.queue_declare(short(queue.name), options, arguments));
    let name = queue.name.to_owned();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match declare(passive, FieldTable::default()).await {
        Err(refusal) => Ok(QueueSeen { name, found: refusal.found(), messages: 0, consumers: 0 }),
        Ok(there) => {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let same = declare(options, topology::table(queue.arguments)).await;
            let found = same.map_or_else(Refusal::found, |_| Found::AsExpected);
            Ok(QueueSeen { name, found, messages: there.message_count(), consumers: there.consumer_count() })
        }
    }
}

impl Refusal {
    fn found(self) -> Found {
        match self.code {
            NOT_FOUND => Found::Missing,
            PRECONDITION_FAILED => Found::Differs(self.text),
            _ => Found::Hidden(self.text),
        }
    }
}

async fn asked<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Refusal> {
    let Ok(answer) = timeout(ANSWER_LIMIT, answer).await else {
        return Err(Refusal { code: 0, text: format!("no answer within {} s", ANSWER_LIMIT.as_secs()) });
    };
    answer.map_err(|error| match error.kind() {
        ErrorKind::ProtocolError(refusal) => {
            Refusal { code: refusal.get_id(), text: refusal.get_message().to_string() }
        }
        _ => Refusal { code: 0, text: error.to_string() },
    })
}

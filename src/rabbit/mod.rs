//! The only AMQP: topology, connections, consumers, the publisher. Nothing here knows what a message
//! means, and nothing here reconnects behind anybody's back: every link is rebuilt whole by `connection`.

mod acks;
pub mod connection;
pub mod consumer;
mod declare;
mod deliveries;
mod depth;
mod error;
pub mod health;
pub mod message;
mod operators;
pub mod publisher;
mod reconnect;
mod refusal;
mod socket;
#[cfg(test)]
mod tests;
pub mod topology;
mod url;
pub mod wire;

pub use connection::BrokerError;
pub use consumer::{Consume, Consumer, Delivery, Handler};
pub use depth::{QueueDepths, watch_depth};
pub use health::BrokerHealth;
pub use message::Message;
pub use operators::dead;
pub use operators::greeting::Greeting;
pub use operators::inspect::{ExchangeSeen, Inspected, Inspection, QueueSeen};
pub use operators::management::{Managed, ManagedQueue};
pub use operators::probe::ProbeResult;
pub use operators::watch::Watch;
pub use publisher::{PublishAnswer, Publisher, PublisherTask};
pub use topology::{Part, TopologyNames};

use declare::Declared;
use health::Board;
use lapin::{tcp::OwnedTLSConfig, uri::AMQPUri};
use parking_lot::Mutex;
use std::sync::{Arc, atomic::AtomicUsize};

/// The broker: where it is, what everything on it is called, and how the links to it are.
#[derive(Clone)]
pub struct Broker {
    nodes: Arc<Mutex<Vec<AMQPUri>>>,
    /// The node that was reached last.
    reached: Arc<AtomicUsize>,
    tls: Arc<OwnedTLSConfig>,
    names: Arc<TopologyNames>,
    board: Board,
    declared: Declared,
    depths: QueueDepths,
}

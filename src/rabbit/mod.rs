//! The only AMQP: topology, connections, consumers, the publisher. Nothing here knows what a message
//! means, and nothing here reconnects behind anybody's back: every link is rebuilt whole by `connection`.

mod acks;
pub mod connection;
pub mod consumer;
pub mod dead;
mod declare;
mod deliveries;
mod depth;
mod error;
mod greeting;
pub mod health;
mod inspect;
mod management;
pub mod message;
mod probe;
pub mod publisher;
mod reconnect;
mod refusal;
mod socket;
#[cfg(test)]
mod tests;
pub mod topology;
mod url;
pub mod watch;
pub mod wire;

pub use connection::{Broker, BrokerError};
pub use consumer::{Consume, Consumer, Delivery, Handler};
pub use depth::watch_depth;
pub use greeting::Greeting;
pub use health::BrokerHealth;
pub use inspect::{ExchangeSeen, Inspected, Inspection, QueueSeen};
pub use management::{Managed, ManagedQueue};
pub use message::Message;
pub use probe::ProbeResult;
pub use publisher::{PublishAnswer, Publisher, PublisherTask};
pub use topology::{Part, TopologyNames};
pub use watch::Watch;

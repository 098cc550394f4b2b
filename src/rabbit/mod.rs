//! The only AMQP: topology, connections, consumers, the publisher. Nothing here knows what a message
//! means, and nothing here reconnects behind anybody's back: every link is rebuilt whole by `connection`.

pub mod connection;
pub mod consumer;
pub mod dead;
mod depth;
pub mod health;
mod in_hand;
pub mod message;
pub mod publisher;
#[cfg(test)]
mod tests;
pub mod topology;
mod url;
pub mod watch;
pub mod wire;

pub use connection::{Broker, BrokerError};
pub use consumer::{Consume, Consumer, Delivery, Handler};
pub use depth::watch_depth;
pub use health::Health;
pub use message::Message;
pub use publisher::{PublishAnswer, Publisher, PublisherTask};
pub use topology::Names;
pub use watch::Watch;

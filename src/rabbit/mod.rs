//! The only AMQP: topology, connections, consumers, the publisher. Nothing here knows what a message
//! means, and nothing here reconnects behind anybody's back: every link is rebuilt whole by `connection`.

pub mod connection;
pub mod health;
pub mod topology;

pub use connection::{Broker, BrokerError};
pub use health::Health;
pub use topology::Names;
pub mod wire;

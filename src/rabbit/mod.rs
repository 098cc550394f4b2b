//! The only AMQP: topology, connections, consumers, the publisher.

pub mod wire;

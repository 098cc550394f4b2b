//! The only AMQP: topology, connections, consumers, the publisher.

//! How much is ready in each queue of ours, on a link of its own: no other work waits for it, and a broker
//! that blocks publishers still answers it. While the broker is away the figures stay as they were.

use super::{
    connection::{Broker, BrokerError, Link, LinkSession, bounded, keep_connected},
    topology::short,
};
use crate::metric;
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const NAME: &str = "depth";
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Keeps the metric of queues until `stop`.
pub async fn watch_depth(broker: Broker, stop: CancellationToken) {
    for queue in broker.names().queues() {
        metric::queue_messages(queue.name, 0);
    }
    let mut session = DepthSession { broker: broker.clone(), stop: stop.clone() };
    keep_connected(&broker, NAME, &stop, &mut session).await;
}

struct DepthSession {
    broker: Broker,
    stop: CancellationToken,
}

impl LinkSession for DepthSession {
    const HANDLES_REFUSALS: bool = true;

    async fn run(&mut self, link: &Link) -> Result<(), BrokerError> {
        let looking = async {
            let mut channel = link.channel().await?;
            link.up();
            loop {
                for queue in self.broker.names().queues() {
                    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                    let looking = channel.queue_declare(short(queue.name), passive, FieldTable::default());
                    match bounded("looking at a queue", looking).await {
                        Ok(found) => metric::queue_messages(queue.name, found.message_count()),
                        Err(BrokerError::NotFound { .. }) => {
                            metric::queue_messages(queue.name, 0);
                            self.broker.declared().lost_queue(queue.name, self.broker.names());
                            channel = link.channel().await?;
                        }
                        Err(error) => return Err(error),
                    }
                }
                sleep(LOOK_EVERY).await;
            }
        };
        self.stop.run_until_cancelled(looking).await.unwrap_or(Ok(()))
    }
}

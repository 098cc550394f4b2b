//! How much is ready in each queue of ours, on a link of its own: no other work waits for it, and a broker
//! that blocks publishers still answers it. While the broker is away the figures stay as they were.

use super::{
    connection::{Broker, BrokerError, Link, LinkSession, keep_connected, within_limit},
    topology::short_string,
};
use crate::metric;
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const NAME: &str = "depth";

/// What was ready in each queue when it was looked at last.
#[derive(Debug, Clone, Default)]
pub struct QueueDepths(Arc<Mutex<BTreeMap<String, u32>>>);

impl QueueDepths {
    /// `None`: it was not looked at yet, or there is no such queue.
    pub fn ready(&self, queue: &str) -> Option<u32> {
        self.0.lock().get(queue).copied()
    }

    fn note_depth(&self, queue: &str, ready: Option<u32>) {
        metric::queue_messages(queue, ready.unwrap_or_default());
        match ready {
            Some(ready) => self.0.lock().insert(queue.to_owned(), ready),
            None => self.0.lock().remove(queue),
        };
    }
}
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
                    let looking =
                        channel.queue_declare(short_string(queue.name), passive, FieldTable::default());
                    match within_limit("looking at a queue", looking).await {
                        Ok(found) => {
                            self.broker.depths().note_depth(queue.name, Some(found.message_count()));
                        }
                        Err(BrokerError::NotFound { .. }) => {
                            self.broker.depths().note_depth(queue.name, None);
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

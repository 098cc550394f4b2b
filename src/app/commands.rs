//! A delivery becomes a command, and the command's story decides about the delivery.

use crate::{
    domain::command::CommandKind,
    flow::{
        disposition::{DeadReason, Disposition},
        ports::{Gateway, Store},
        process_command::Worker,
    },
    rabbit::{Delivery, Handler, wire},
};
use std::sync::Arc;

/// Handles one of the two queues of commands.
pub struct CommandHandler<S, G> {
    pub worker: Arc<Worker<S, G>>,
    pub kind: CommandKind,
}

impl<S: Store, G: Gateway> Handler for CommandHandler<S, G> {
    async fn handle(&self, delivery: Delivery) -> Disposition {
        match wire::read_command(self.kind, delivery.content_type.as_deref(), &delivery.body) {
            Ok(mut incoming) => {
                incoming.command.published_at = incoming.command.published_at.or(delivery.sent_at);
                self.worker.process(incoming).await
            }
            Err(malformed) => {
                Disposition::DeadLetter { reason: DeadReason::Malformed, detail: malformed.detail }
            }
        }
    }
}

//! A delivery becomes a command, and the command's story decides about the delivery.

use crate::{
    domain::{
        command::CommandKind,
        senders::{SenderClaim, Senders},
    },
    flow::{
        disposition::{DeadReason, Disposition},
        ports::{Gateway, Incoming, Store},
        process_command::Worker,
    },
    rabbit::{Delivery, Handler, wire},
    telemetry::span::Span,
};
use std::sync::Arc;

/// Handles one of the two queues of commands.
pub struct CommandHandler<S, G> {
    pub worker: Arc<Worker<S, G>>,
    pub kind: CommandKind,
    pub queue: String,
    pub senders: Arc<Senders>,
}

impl<S: Store, G: Gateway> Handler for CommandHandler<S, G> {
    async fn handle(&self, delivery: Delivery) -> Disposition {
        let read = wire::read_command(self.kind, delivery.content_type.as_deref(), &delivery.body);
        let mut incoming = match read {
            Ok(incoming) => incoming,
            Err(malformed) => return self.dead_letter(DeadReason::Malformed, malformed.detail),
        };
        let claim = SenderClaim {
            source: &incoming.command.identity.source,
            user_id: delivery.user_id.as_deref(),
            kind: self.kind,
            merchant: &incoming.command.merchant,
        };
        if let Err(detail) = self.senders.judge(claim) {
            // Nothing of it is stored: the identity is still its source's own.
            return self.dead_letter(DeadReason::NotAuthentic, detail);
        }
        // The property is another clock's, and no part of the command: no payment ends by it.
        incoming.command.published_at = incoming.command.published_at.or(delivery.sent_at);
        // A publisher may set the count; only the broker sets the flag.
        incoming.command.came_before = if delivery.redelivered { delivery.delivery_count.max(1) } else { 0 };
        let span = self.span(&mut incoming);
        span.around(self.worker.process(incoming)).await
    }
}

impl<S, G> CommandHandler<S, G> {
    fn dead_letter(&self, reason: DeadReason, detail: String) -> Disposition {
        Span::process(&self.queue, None).failed(reason.name());
        Disposition::DeadLetter { reason, detail }
    }

    /// What follows hours later, and the events, go on with its trace: its sender's, or else one begun here.
    fn span(&self, incoming: &mut Incoming) -> Span {
        let command = &mut incoming.command;
        let span = Span::process(&self.queue, command.trace.traceparent.as_deref());
        span.set_attribute("jenius.merchant", &command.merchant);
        if let Some(invoice_number) = &command.invoice_number {
            span.set_attribute("jenius.invoice_number", invoice_number);
        }
        if command.trace.traceparent.is_none() {
            command.trace.traceparent = span.traceparent();
        }
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doku::{client::Client, clock::SystemClock},
        postgres::PostgresStore,
    };
    use std::future::Future;

    #[test]
    fn a_delivery_in_hand_is_small() {
        /// As long as DOKU takes, thousands of these may wait.
        const BYTES_MAX: usize = 6 * 1024;
        type Payments = CommandHandler<PostgresStore, Client<SystemClock>>;
        fn size<F: Future>(_: impl Fn(&'static Payments, Delivery) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(|handler, delivery| handler.handle(delivery));
        assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    }
}

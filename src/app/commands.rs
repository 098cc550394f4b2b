//! A delivery becomes a command, and the command's story decides about the delivery.

use crate::{
    domain::command::CommandKind,
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
}

impl<S: Store, G: Gateway> Handler for CommandHandler<S, G> {
    async fn handle(&self, delivery: Delivery) -> Disposition {
        match wire::read_command(self.kind, delivery.content_type.as_deref(), &delivery.body) {
            Ok(mut incoming) => {
                incoming.command.published_at = incoming.command.published_at.or(delivery.sent_at);
                let span = self.span(&mut incoming);
                span.around(self.worker.process(incoming)).await
            }
            Err(malformed) => {
                Span::process(&self.queue, None).failed(DeadReason::Malformed.name());
                Disposition::DeadLetter { reason: DeadReason::Malformed, detail: malformed.detail }
            }
        }
    }
}

impl<S, G> CommandHandler<S, G> {
    /// What follows hours later, and the events, go on with its trace: its sender's, or else one begun here.
    fn span(&self, incoming: &mut Incoming) -> Span {
        let command = &mut incoming.command;
        let span = Span::process(&self.queue, command.trace.traceparent.as_deref());
        span.say("jenius.merchant", &command.merchant);
        if let Some(invoice_number) = &command.invoice_number {
            span.say("jenius.invoice_number", invoice_number);
        }
        if command.trace.traceparent.is_none() {
            command.trace.traceparent = span.traceparent();
        }
        span
    }
}

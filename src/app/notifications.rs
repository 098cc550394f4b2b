//! A delivery becomes a notification, and the notification's story decides about the delivery.

use crate::{
    flow::{
        disposition::Disposition,
        ports::{NotificationReader, Store},
        reconcile_notification::{Reconciler, malformed, not_signed},
    },
    rabbit::{
        Delivery, Handler,
        wire::notification::{self, Unreadable},
    },
    telemetry::span::Span,
};

/// Handles the queue of notifications.
pub struct NotificationHandler<S, R> {
    pub reconciler: Reconciler<S, R>,
    pub queue: String,
}

impl<S: Store, R: NotificationReader> Handler for NotificationHandler<S, R> {
    async fn handle(&self, delivery: Delivery) -> Disposition {
        let span = Span::process(&self.queue, delivery.traceparent.as_deref());
        let disposition = match notification::read(delivery.content_type.as_deref(), &delivery.body) {
            Ok(received) => span.around(self.reconciler.process(received)).await,
            Err(Unreadable::Malformed(why)) => malformed(why.detail),
            Err(Unreadable::NotSigned(missing)) => not_signed(missing),
        };
        if let Disposition::DeadLetter { reason, .. } = &disposition {
            span.failed(reason.name());
        }
        disposition
    }
}

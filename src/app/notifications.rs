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
};

/// Handles the queue of notifications.
pub struct NotificationHandler<S, R>(pub Reconciler<S, R>);

impl<S: Store, R: NotificationReader> Handler for NotificationHandler<S, R> {
    async fn handle(&self, delivery: Delivery) -> Disposition {
        match notification::read(delivery.content_type.as_deref(), &delivery.body) {
            Ok(received) => self.0.process(received).await,
            Err(Unreadable::Malformed(why)) => malformed(why.detail),
            Err(Unreadable::NotSigned(missing)) => not_signed(missing),
        }
    }
}

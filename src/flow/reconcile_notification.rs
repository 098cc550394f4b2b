//! The story of a notification: verified, read, reconciled, acked, in that order.
//!
//! Never: a message is believed because of the queue it came from; a delivery is acked before what follows
//! from it is committed.

use super::{
    disposition::{DeadReason, Disposition},
    ports::{NotificationReader, ReceivedNotification, Reconciled, Store},
    store_outage::{StoreOutage, StoreRetry},
};
use crate::{
    domain::signed::{MissingHeader, SignedBy},
    failpoint::{Failpoint, failpoint},
    metric::{self, NotificationRefusal, NotificationRole, Received},
};
use std::sync::Arc;

/// Reconciles notifications, many at a time.
pub struct Reconciler<S, R> {
    pub store: Arc<S>,
    pub reader: R,
    pub outage: StoreOutage,
}

impl<S: Store, R: NotificationReader> Reconciler<S, R> {
    /// Brings one notification to its order, or parks it.
    pub async fn process(&self, received: ReceivedNotification) -> Disposition {
        // 1 Verify, whichever user published it: by the configured paths, never by the one the message names.
        let verified = match self.reader.verify(&received.headers, &received.body) {
            Ok(verified) => verified,
            Err(why) => return not_authentic(why.into(), why.to_string()),
        };
        metric::notification_verified(NotificationRole::Reconciler, received.headers.form());
        // 2 Read leniently: who cannot say which order it is about cannot be reconciled.
        let Some(notification) = self.reader.read(&verified) else {
            return malformed("a JSON object that names an invoice is allowed");
        };
        // 3 Reconcile: the mark and its effect commit together. If we die before the ack, the next delivery
        //   is a duplicate of what is recorded. What no account signed has DOKU asked, and no other effect.
        failpoint(Failpoint::BeforeReconcile).await;
        let mut retry = StoreRetry::start();
        loop {
            let reconciled = match &verified.by {
                SignedBy::Merchant(merchant) => self.store.reconcile(merchant, &notification).await,
                SignedBy::Doku { named } => self.store.ask_about(named, &notification).await,
            };
            match reconciled {
                Ok(reconciled) => {
                    failpoint(Failpoint::AfterReconcile).await;
                    self.outage.store_is_back();
                    metric::notification_received_by_reconciler(counted(reconciled));
                    return Disposition::Ack;
                }
                Err(error) => {
                    if let Some(given_up) = self.outage.on(&mut retry, &error).await {
                        return given_up;
                    }
                }
            }
        }
    }
}

/// It changes nothing.
fn not_authentic(why: NotificationRefusal, detail: String) -> Disposition {
    metric::notification_received_by_reconciler(Received::NotAuthentic);
    metric::notification_refused_by_reconciler(why);
    Disposition::DeadLetter { reason: DeadReason::NotAuthentic, detail }
}

/// Without its headers it is not known which merchant it is for.
pub fn not_signed(missing: MissingHeader) -> Disposition {
    not_authentic(NotificationRefusal::HeaderMissing, missing.to_string())
}

/// It cannot be read.
pub fn malformed(detail: impl Into<String>) -> Disposition {
    metric::notification_received_by_reconciler(Received::Malformed);
    metric::notification_refused_by_reconciler(NotificationRefusal::Malformed);
    Disposition::DeadLetter { reason: DeadReason::Malformed, detail: detail.into() }
}

fn counted(reconciled: Reconciled) -> Received {
    match reconciled {
        Reconciled::Applied => Received::Applied,
        Reconciled::NoChange => Received::NoChange,
        Reconciled::Mismatch => Received::Mismatch,
        Reconciled::Parked => Received::Parked,
    }
}

//! What the flow and the ingress need for notifications: how one came, who judges it, where it goes, and the tokens that
//! DOKU fetches before it sends one.

use super::ports::Published;
use crate::domain::{
    notification::Notification,
    signed::{NotAuthentic, SignedBy, SignedHeaders},
};
use std::{borrow::Cow, future::Future};

/// A notification as it came: what was signed, byte for byte. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedNotification {
    /// The path it was sent to. It is never what is verified.
    pub request_target: String,
    pub headers: SignedHeaders,
    pub body: bytes::Bytes,
}

/// What a notification is about, as far as its answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOf {
    Order,
    /// A transfer to a virtual account: another channel of the merchant's account.
    VirtualAccount,
}

/// A notification with a right signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<'a> {
    pub headers: &'a SignedHeaders,
    pub by: SignedBy,
    /// The bytes that were hashed: nothing else is read.
    pub body: Cow<'a, [u8]>,
}

/// Judges notifications by the configured keys and paths.
pub trait NotificationReader: Send + Sync + 'static {
    /// Who signed it, for a configured path.
    fn verify<'a>(&self, headers: &'a SignedHeaders, body: &'a [u8]) -> Result<Verified<'a>, NotAuthentic>;

    /// What a verified one is about.
    fn report_of(&self, verified: &Verified<'_>) -> ReportOf;

    /// What a verified one says; `None` if it names no order.
    fn read(&self, verified: &Verified<'_>) -> Option<Notification>;
}

/// DOKU's request for a bearer token. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    pub client_id: String,
    pub timestamp: String,
    pub signature: String,
}

/// Gives DOKU the bearer tokens of the SNAP form.
pub trait TokenIssuer: Send + Sync + 'static {
    /// Where tokens are handed out; `None`: nowhere, since DOKU's public key is not known.
    fn path(&self) -> Option<&str>;

    /// A token and its life in seconds, if DOKU signed the request lately for an account of ours.
    fn issue(&self, request: &TokenRequest) -> Option<(String, u64)>;
}

/// The broker, as the ingress sees it.
pub trait NotificationPublisher: Send + Sync + 'static {
    /// Publishes a verified notification and waits for the publish confirm, a short time: DOKU waits too.
    fn publish_notification(&self, received: &ReceivedNotification)
    -> impl Future<Output = Published> + Send;
}

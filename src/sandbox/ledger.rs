//! What DOKU really did, in a form for readers: the answer of `GET /ledger`, and what tests hold the product
//! against. No customer data, no keys, no bodies: digests of bodies only.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The newest requests that are kept. Charges and refunds are kept without a limit: they are the truth that
/// idempotency rests on, and go with the process.
pub const REQUESTS_KEPT_MAX: usize = 100_000;
/// The newest notifications that are kept.
pub const NOTIFICATIONS_KEPT_MAX: usize = 100_000;

/// DOKU's word for where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TransactionStatus {
    Pending,
    Success,
    Failed,
    Expired,
    Refunded,
}

impl TransactionStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Expired => "EXPIRED",
            Self::Refunded => "REFUNDED",
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Payment,
    Refund,
    Check,
}

/// DOKU acted once on a payment request.
#[derive(Clone, Debug, Serialize)]
pub struct Charge {
    pub at: DateTime<Utc>,
    pub client_id: String,
    pub request_id: String,
    pub invoice_number: String,
    /// Whole rupiah.
    pub amount: u64,
    pub status: TransactionStatus,
}

/// DOKU acted once on a refund request. `status` is `SUCCESS`, or `FAILED` if a fault makes it refuse.
#[derive(Clone, Debug, Serialize)]
pub struct Refund {
    pub at: DateTime<Utc>,
    pub client_id: String,
    pub request_id: String,
    pub invoice_number: String,
    /// Whole rupiah.
    pub amount: u64,
    pub status: TransactionStatus,
}

/// A request with right headers and signature.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    pub at: DateTime<Utc>,
    pub operation: Operation,
    pub client_id: String,
    pub request_id: String,
    /// What the request names: an invoice number, or whatever was asked for by Check Status; empty if the
    /// body could not be read.
    pub invoice_number: String,
    /// `base64(sha256(body))`; `null` for Check Status.
    pub body_digest: Option<String>,
    /// `null` where no answer was given.
    pub http_status: Option<u16>,
    /// The fault that was played.
    pub fault: Option<String>,
    /// Whether this very request made DOKU act at once; `hang_then_act` acts later, and shows in the charges.
    pub acted: bool,
}

/// One try to deliver a notification.
#[derive(Clone, Debug, Serialize)]
pub struct NotificationSend {
    pub at: DateTime<Utc>,
    pub client_id: String,
    pub request_id: String,
    pub invoice_number: String,
    /// As it stood in the body, quotation marks and all.
    pub amount: String,
    pub status: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// `null` where no answer came.
    pub http_status: Option<u16>,
}

/// A snapshot.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ledger {
    pub charges: Vec<Charge>,
    pub refunds: Vec<Refund>,
    pub requests: Vec<Request>,
    pub notifications: Vec<NotificationSend>,
    /// Requests that did not get past the header checks, by code, and redirects that were followed.
    pub refused: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Every charge of that invoice, of all merchants.
    pub fn charges_of<'a>(&'a self, invoice_number: &'a str) -> impl Iterator<Item = &'a Charge> {
        self.charges.iter().filter(move |charge| charge.invoice_number == invoice_number)
    }

    /// Every refund of that invoice that DOKU made.
    pub fn refunds_of<'a>(&'a self, invoice_number: &'a str) -> impl Iterator<Item = &'a Refund> {
        self.refunds
            .iter()
            .filter(move |made| made.invoice_number == invoice_number)
            .filter(|made| made.status == TransactionStatus::Success)
    }

    /// The payment and refund requests with that Request-Id.
    pub fn sends_of<'a>(&'a self, request_id: &'a str) -> impl Iterator<Item = &'a Request> {
        self.requests
            .iter()
            .filter(move |request| request.request_id == request_id && request.operation != Operation::Check)
    }

    /// The inquiries that named that invoice number or Request-Id.
    pub fn inquiries_of<'a>(&'a self, invoice_number: &'a str) -> impl Iterator<Item = &'a Request> {
        self.requests.iter().filter(move |request| {
            request.invoice_number == invoice_number && request.operation == Operation::Check
        })
    }

    /// How many different bodies were sent under that Request-Id: anything above 1 is a fault of the client.
    #[must_use]
    pub fn distinct_bodies_of(&self, request_id: &str) -> usize {
        self.sends_of(request_id).map(|request| &request.body_digest).collect::<BTreeSet<_>>().len()
    }

    /// The Request-Ids under which that invoice was asked to be paid or refunded.
    #[must_use]
    pub fn request_ids_of(&self, operation: Operation, invoice_number: &str) -> BTreeSet<&str> {
        self.requests
            .iter()
            .filter(|request| request.operation == operation && request.invoice_number == invoice_number)
            .map(|request| request.request_id.as_str())
            .collect()
    }

    /// The tries to notify of that invoice.
    pub fn notifications_of<'a>(
        &'a self,
        invoice_number: &'a str,
    ) -> impl Iterator<Item = &'a NotificationSend> {
        self.notifications.iter().filter(move |sent| sent.invoice_number == invoice_number)
    }
}

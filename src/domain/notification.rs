//! What a verified notification says about an order. How it is verified and read is `doku`'s.

use super::learned::Report;

/// A verified notification: the merchant whose key signed it is known to the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub request_id: String,
    /// As it was written: it may be an invoice that is not ours.
    pub invoice_number: String,
    /// `None` where the status or the amount is missing: recorded, changes nothing.
    pub report: Option<Report>,
}

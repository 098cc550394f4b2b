//! What a verified notification says about an order, and what follows from it. How it is verified and read
//! is `doku`'s.

use super::{
    Time,
    learned::{Report, ReportedStatus},
    money::ReportedAmount,
    plan::Plan,
    record::{Change, OrderRecord},
};

/// The headers that are signed, and the signature.
pub const HEADERS: [&str; 4] = ["Client-Id", "Request-Id", "Request-Timestamp", "Signature"];

/// Longer headers are nobody's: DOKU's own limit for a Request-Id is 128.
pub const HEADER_BYTES_MAX: usize = 256;

/// The signed headers of one notification, whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    pub client_id: String,
    pub request_id: String,
    pub timestamp: String,
    pub signature: String,
}

/// A header that is missing, empty, or nothing DOKU would write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} is missing or unusable")]
pub struct MissingHeader(pub &'static str);

/// Why nobody's key speaks for a notification. Who sent it is told no more than that it is not authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAuthentic {
    #[error("no account here has the Client-Id it names")]
    ClientIdUnknown,
    #[error("no key of the account it names signed it for a configured path")]
    SignatureWrong,
}

impl SignedHeaders {
    /// Reads them through `get`, which finds a header by its name in any letter case.
    pub fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, MissingHeader> {
        let usable = |value: &&str| {
            (1..=HEADER_BYTES_MAX).contains(&value.len()) && !value.contains(|c: char| c.is_control())
        };
        let read =
            |name: &'static str| get(name).filter(usable).map(str::to_owned).ok_or(MissingHeader(name));
        let [client_id, request_id, timestamp, signature] = HEADERS;
        Ok(Self {
            client_id: read(client_id)?,
            request_id: read(request_id)?,
            timestamp: read(timestamp)?,
            signature: read(signature)?,
        })
    }
}

/// A verified notification: the merchant whose key signed it is known to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub request_id: String,
    /// As it was written: it may be an invoice that is not ours.
    pub invoice_number: String,
    /// DOKU's word.
    pub status: Option<String>,
    /// Digits where it is an amount an order can have; else a text that never reads as one.
    pub amount: Option<String>,
}

/// Why a notification changed nothing, or could not be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotApplied {
    /// The order was told the same before, by whatever Request-Id.
    Duplicate,
    /// The order is where it says, or evidence that counts more has moved it on.
    NoChange,
    /// It names another amount than the order's: a person must decide.
    AmountMismatch,
    /// It has no status or no amount.
    Incomplete,
}

impl NotApplied {
    /// `notifications[].reason` of `orders show`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::NoChange => "no_change",
            Self::AmountMismatch => "amount_mismatch",
            Self::Incomplete => "incomplete",
        }
    }
}

impl Notification {
    /// `None` where the status or the amount is missing.
    pub fn report(&self) -> Option<Report> {
        let (word, amount) = (self.status.clone()?, self.amount.as_deref()?);
        Some(Report { status: ReportedStatus::read(&word), word, amount: ReportedAmount::read(amount) })
    }
}

impl OrderRecord {
    /// What a verified notification about this order changes; `told_before`: another one said the same. The
    /// same evidence again is no new evidence, also where a person has decided in between.
    pub fn after_notified(
        self,
        notification: &Notification,
        told_before: bool,
        plan: &Plan,
        now: Time,
    ) -> (Change, Option<NotApplied>) {
        let Some(report) = notification.report() else {
            return (Change::none(self), Some(NotApplied::Incomplete));
        };
        if told_before {
            return (Change::none(self), Some(NotApplied::Duplicate));
        }
        let (before, amount) = (self.state, self.amount);
        let change = self.after_notification(&report, plan, now);
        let reason = if !report.amount.is(amount) {
            Some(NotApplied::AmountMismatch)
        } else if change.order.state == before {
            Some(NotApplied::NoChange)
        } else {
            None
        };
        (change, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signed_header_must_be_there_and_usable() {
        let long = "x".repeat(HEADER_BYTES_MAX + 1);
        for missing in HEADERS {
            for bad in [None, Some(""), Some("a\nb"), Some("a\0"), Some(long.as_str())] {
                let read = SignedHeaders::read(|name| if name == missing { bad } else { Some("x") });
                assert_eq!(read, Err(MissingHeader(missing)), "{missing}: {bad:?}");
            }
        }
        assert!(SignedHeaders::read(|_| Some("x")).is_ok());
    }

    #[test]
    fn a_report_needs_a_status_and_an_amount() {
        let notification = |status: Option<&str>, amount: Option<&str>| Notification {
            request_id: "R-1".to_owned(),
            invoice_number: "INV-1".to_owned(),
            status: status.map(str::to_owned),
            amount: amount.map(str::to_owned),
        };
        assert!(notification(Some("SUCCESS"), Some("50000")).report().is_some());
        assert!(notification(Some("SUCCESS"), None).report().is_none());
        assert!(notification(None, Some("50000")).report().is_none());
    }

    #[test]
    fn why_a_notification_changed_nothing_is_told_by_these_words() {
        use NotApplied::{AmountMismatch, Duplicate, Incomplete, NoChange};
        let told = [Duplicate, NoChange, AmountMismatch, Incomplete].map(NotApplied::name);
        assert_eq!(told, ["duplicate", "no_change", "amount_mismatch", "incomplete"]);
    }
}

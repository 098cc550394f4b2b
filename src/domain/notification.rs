//! What a verified notification says about an order, and why it changed nothing. How it is verified and read
//! is `doku`'s.

use super::{
    change::OTHER_REQUEST,
    finding::{Report, ReportedStatus},
    money::{self, ReportedAmount},
    signed::Form,
};

/// A verified notification: the caller knows which merchant's key signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// In which form DOKU sent it: it decides nothing.
    pub form: Form,
    pub request_id: String,
    /// As it was written: it may be an invoice that is not ours.
    pub invoice_number: String,
    /// DOKU's word.
    pub status: Option<String>,
    /// Digits where it is an amount an order can have; else a text that never reads as one.
    pub amount: Option<String>,
    /// The request that it is about, where it says so.
    pub request: Option<String>,
}

/// Why a notification changed nothing, or could not be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotApplied {
    /// It is about another request for the invoice: the account's other channels have theirs.
    OtherRequest,
    /// The same report about this order came before, under any Request-Id.
    Duplicate,
    /// The order is where it says, or evidence that counts more has moved it on.
    NoChange,
    /// It names another amount than the order's: a person must decide.
    AmountMismatch,
    /// It has no status or no amount.
    Incomplete,
    /// DOKU's own key signed it, and no account: DOKU is asked instead.
    NotBound,
}

impl NotApplied {
    /// `notifications[].reason` of `orders show`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OtherRequest => OTHER_REQUEST,
            Self::Duplicate => "duplicate",
            Self::NoChange => "no_change",
            Self::AmountMismatch => "amount_mismatch",
            Self::Incomplete => "incomplete",
            Self::NotBound => "not_bound",
        }
    }
}

impl Notification {
    /// `None` if the status or the amount is missing.
    pub fn report(&self) -> Option<Report> {
        let (word, amount) = (self.status.clone()?, self.amount.as_deref()?);
        let (status, amount) = (ReportedStatus::read(&word), ReportedAmount::read(amount));
        Some(Report { status, word, amount, request: self.request.clone() })
    }

    /// Two reports of an order that have this in common say the same, however each is written: about the same request,
    /// the same status, the same amount.
    pub fn report_key(&self) -> String {
        let status = self.status.as_deref().map(|word| {
            ReportedStatus::read(word).name().map_or_else(|| word.to_ascii_uppercase(), str::to_owned)
        });
        let amount = self.amount.as_deref().map(money::by_value);
        let parts = [status.as_deref(), amount.as_deref(), self.request.as_deref()];
        parts.map(Option::unwrap_or_default).join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_needs_a_status_and_an_amount() {
        let notification = |status: Option<&str>, amount: Option<&str>| Notification {
            form: Form::Jenius,
            request_id: "R-1".to_owned(),
            invoice_number: "INV-1".to_owned(),
            status: status.map(str::to_owned),
            amount: amount.map(str::to_owned),
            request: None,
        };
        assert!(notification(Some("SUCCESS"), Some("50000")).report().is_some());
        assert!(notification(Some("SUCCESS"), None).report().is_none());
        assert!(notification(None, Some("50000")).report().is_none());
    }

    #[test]
    fn why_a_notification_changed_nothing_is_told_by_these_words() {
        use NotApplied::{AmountMismatch, Duplicate, Incomplete, NoChange, NotBound, OtherRequest};
        let told = [Duplicate, NoChange, AmountMismatch, Incomplete, OtherRequest, NotBound];
        let words = ["duplicate", "no_change", "amount_mismatch", "incomplete", "other_request", "not_bound"];
        assert_eq!(told.map(NotApplied::name), words);
    }

    #[test]
    fn two_reports_say_the_same_however_they_are_written() {
        let said = |status: &str, amount: &str, request: Option<&str>| {
            let notification = Notification {
                form: Form::Snap,
                request_id: "R-1".to_owned(),
                invoice_number: "INV-1".to_owned(),
                status: Some(status.to_owned()),
                amount: Some(amount.to_owned()),
                request: request.map(str::to_owned),
            };
            notification.report_key()
        };
        let success = said("SUCCESS", "50000", None);
        assert_eq!(said("success", "5E+4", None), success);
        assert_eq!(said("REFUND", "50000.010", None), said("refunded", "5000001e-2", None));
        for other in [
            said("SUCCESS", "50000", Some("INV-1")),
            said("SUCCESS", "50001", None),
            said("FAILED", "50000", None),
            said("PENDING", "50000", None),
            said("TIMEOUT", "50000", None),
        ] {
            assert_ne!(other, success);
        }
    }
}

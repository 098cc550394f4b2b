//! The rules of a command's `data`, checked in the order that `payment` and `refund` have, every violation
//! reported at once. A violation names the field, what is allowed and what was found; it shows the value only if the
//! value is no customer's data.

mod payment;
mod reader;
mod refund;
pub mod rules;
#[cfg(test)]
pub(crate) mod tests;

use super::{ids::InvoiceNumber, money::Rupiah};

pub use payment::payment;
pub use refund::refund;

/// No more violations than these are reported of one command: enough to mend it, too few to flood.
pub const VIOLATIONS_MAX: usize = 100;

/// A rule that a command breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub code: Code,
    /// The path from `data` (`order.line_items[0].price`), or the attribute's name.
    pub field: String,
    /// What is allowed, and what was found.
    pub message: String,
}

impl Violation {
    /// `found` goes on with "; it", as in "is empty".
    pub fn new(code: Code, field: impl Into<String>, allowed: &str, found: Option<&str>) -> Self {
        let found = found.map(|found| format!("; it {found}")).unwrap_or_default();
        Self { code, field: field.into(), message: format!("must be {allowed}{found}") }
    }

    /// What is wrong with the attribute `merchant`. `found` as in `new`.
    pub fn of_merchant(code: Code, found: Option<&str>) -> Self {
        Self::new(code, MERCHANT, "the name of a configured merchant", found)
    }

    /// Whether it is not known which merchant the command is for. In `data` a member of that name is an unknown field.
    pub fn leaves_no_merchant(&self) -> bool {
        self.code == Code::MerchantUnknown || self.field == MERCHANT && self.code != Code::UnknownField
    }
}

/// The attribute that names the account.
const MERCHANT: &str = "merchant";

/// Longer values are not repeated.
const SHOWN_CHARS_MAX: usize = 64;

/// A value that is no customer's data, if a message can hold it.
pub fn shown_value(text: &str) -> Option<String> {
    let fits = text.len() <= SHOWN_CHARS_MAX && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    fits.then(|| format!("is {text:?}"))
}

/// What the rules depend on besides the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The path that an override of the notification URL must have (`doku.notification_path`).
    pub notification_path: String,
    /// The override must be https.
    pub production: bool,
}

/// What we need of data that keeps every rule, as far as it can be judged without the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidData {
    pub invoice_number: InvoiceNumber,
    pub amount: Rupiah,
    /// A refund's reason; a payment has none.
    pub reason: Option<String>,
}

/// The kind of a violation: the `code` of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    Missing,
    WrongType,
    TooShort,
    TooLong,
    InvalidCharacters,
    InvalidFormat,
    OutOfRange,
    NotAllowed,
    SumMismatch,
    AmountMismatch,
    UnknownField,
    IdentityConflict,
    InvoiceExists,
    OrderUnknown,
    RefundInProgress,
    AlreadyRefunded,
    OrderNotPaid,
    MerchantUnknown,
    CommandExpired,
}

impl Code {
    pub const ALL: [Self; 19] = [
        Self::Missing,
        Self::WrongType,
        Self::TooShort,
        Self::TooLong,
        Self::InvalidCharacters,
        Self::InvalidFormat,
        Self::OutOfRange,
        Self::NotAllowed,
        Self::SumMismatch,
        Self::AmountMismatch,
        Self::UnknownField,
        Self::IdentityConflict,
        Self::InvoiceExists,
        Self::OrderUnknown,
        Self::RefundInProgress,
        Self::AlreadyRefunded,
        Self::OrderNotPaid,
        Self::MerchantUnknown,
        Self::CommandExpired,
    ];

    /// The name it has in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::InvalidCharacters => "invalid_characters",
            Self::InvalidFormat => "invalid_format",
            Self::OutOfRange => "out_of_range",
            Self::NotAllowed => "not_allowed",
            Self::SumMismatch => "sum_mismatch",
            Self::AmountMismatch => "amount_mismatch",
            Self::UnknownField => "unknown_field",
            Self::IdentityConflict => "identity_conflict",
            Self::InvoiceExists => "invoice_exists",
            Self::OrderUnknown => "order_unknown",
            Self::RefundInProgress => "refund_in_progress",
            Self::AlreadyRefunded => "already_refunded",
            Self::OrderNotPaid => "order_not_paid",
            Self::MerchantUnknown => "merchant_unknown",
            Self::CommandExpired => "command_expired",
        }
    }
}

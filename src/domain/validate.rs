//! The rules of a command's `data`, checked in the order of its fields, every violation reported.

/// A rule that a command breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub code: Code,
    /// The path from `data` (`order.line_items[0].price`), or the attribute's name.
    pub field: String,
    /// What is allowed.
    pub message: String,
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

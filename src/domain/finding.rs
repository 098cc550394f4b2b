//! What one attempt taught us. Three classes, not two: answered, not acted, in doubt.
//!
//! An inquiry's result is a type of its own, so that a 429 to an inquiry can never read as "DOKU did
//! nothing".

use super::money::ReportedAmount;
use std::time::Duration;

/// DOKU's own code and message of an error answer, bounded in length, without customer data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DokuError {
    pub code: String,
    pub message: String,
}

/// What one send taught us.
#[derive(Debug, Clone, PartialEq)]
pub struct SendFinding {
    pub kind: SendFindingKind,
    pub http_status: Option<u16>,
    /// DOKU asked not to be called again before this has passed.
    pub retry_after: Option<Duration>,
    pub health: DokuHealth,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SendFindingKind {
    /// A verified answer for our invoice and amount: DOKU took the request. `status` is its word.
    Accepted { status: String },
    /// A verified answer for our invoice and amount: status Failed.
    Failed { status: String },
    /// An error of DOKU's own. Final only if no earlier send can have acted.
    Declined(DokuError),
    /// DOKU certainly did nothing with this send: `why` says how we know.
    NotActed { why: String },
    /// DOKU may have acted.
    InDoubt { why: String },
    /// A verified answer that names another invoice or amount: in doubt, and for a person if it stays so.
    Contradiction { why: String },
}

/// What an attempt says about DOKU and our standing with it; the breakers listen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DokuHealth {
    Well,
    /// DOKU does not work as it should: refused connections, timeouts, 5xx, unreadable bodies.
    Unwell,
    /// DOKU works, but not for this account: too many requests, an answer that its key does not verify.
    AccountUnwell,
    /// Our key or clock is refused: every send of this merchant would be.
    KeyRefused,
    /// Something refuses the request and may mean this order's content alone: a firewall, a proxy.
    OrderRefused,
}

/// What one inquiry (Check Status) taught us.
#[derive(Debug, Clone, PartialEq)]
pub struct InquiryFinding {
    pub kind: InquiryFindingKind,
    pub http_status: Option<u16>,
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum InquiryFindingKind {
    Reported(Report),
    /// DOKU does not know the order. `proves` where the answer is signed and the invoice number needs no
    /// percent-encoding: then, late enough, it proves for a payment that DOKU did nothing.
    NotFound {
        proves: bool,
    },
    /// Nothing was learned about the order.
    Failed {
        why: String,
    },
}

/// What a notification or a Check Status answer says about an order, verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub status: ReportedStatus,
    /// DOKU's own word, as it was written.
    pub word: String,
    pub amount: ReportedAmount,
    /// The request that it is about, where it says so.
    pub request: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReportedStatus {
    Success,
    Failed,
    Expired,
    Refunded,
    /// PENDING, TIMEOUT, REDIRECT and unknown words: ask again later.
    NotFinal,
}

impl ReportedStatus {
    /// Reads DOKU's word, in any letter case.
    pub fn read(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => Self::Success,
            "FAILED" => Self::Failed,
            "EXPIRED" => Self::Expired,
            "REFUND" | "REFUNDED" => Self::Refunded,
            _ => Self::NotFinal,
        }
    }

    /// One word for all that mean the same; `None` if a word means nothing that is final.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Success => Some("SUCCESS"),
            Self::Failed => Some("FAILED"),
            Self::Expired => Some("EXPIRED"),
            Self::Refunded => Some("REFUNDED"),
            Self::NotFinal => None,
        }
    }
}

/// The class of an attempt, as metrics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptClass {
    Answered,
    NotActed,
    InDoubt,
    /// An inquiry from which nothing was learned.
    Failed,
    /// The lease ran out before anything was recorded.
    Lost,
}

impl AttemptClass {
    pub const ALL: [Self; 5] = [Self::Answered, Self::NotActed, Self::InDoubt, Self::Failed, Self::Lost];

    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NotActed => "not_acted",
            Self::InDoubt => "in_doubt",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptKind {
    Send,
    Inquiry,
}

impl AttemptKind {
    pub const ALL: [Self; 2] = [Self::Send, Self::Inquiry];

    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Inquiry => "inquiry",
        }
    }
}

//! The labels' values, where the domain has no words for them: each set is bounded here.

use crate::domain::{command::CommandKind, signed::NotAuthentic};

/// How a delivery was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    Acked,
    DeadLettered,
    Requeued,
}

impl Finished {
    pub const ALL: [Self; 3] = [Self::Acked, Self::DeadLettered, Self::Requeued];

    pub fn name(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::DeadLettered => "dead_lettered",
            Self::Requeued => "requeued",
        }
    }
}

/// What keeps a due send from going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    None,
    Pause,
    Breaker,
    Rate,
    Stranded,
}

impl Blocked {
    pub const ALL: [Self; 5] = [Self::None, Self::Pause, Self::Breaker, Self::Rate, Self::Stranded];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pause => "pause",
            Self::Breaker => "breaker",
            Self::Rate => "rate",
            Self::Stranded => "stranded",
        }
    }
}

/// What a panic cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanicIn {
    Delivery,
    Order,
    /// Items that are written in one transaction; each is done again alone.
    Batch,
    Request,
    /// A task of the supervisor's.
    Background,
}

impl PanicIn {
    pub const ALL: [Self; 5] = [Self::Delivery, Self::Order, Self::Batch, Self::Request, Self::Background];

    pub fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Order => "order",
            Self::Batch => "batch",
            Self::Request => "request",
            Self::Background => "background",
        }
    }
}

/// What DOKU is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DokuOperation {
    Payment,
    Refund,
    Check,
}

impl DokuOperation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Check => "check",
        }
    }
}

impl From<CommandKind> for DokuOperation {
    fn from(kind: CommandKind) -> Self {
        match kind {
            CommandKind::Payment => Self::Payment,
            CommandKind::Refund => Self::Refund,
        }
    }
}

/// What DOKU does that its pages do not say: worth a person's look, harmless as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    UnknownStatus,
    UnsignedCheck,
}

impl Oddity {
    pub const ALL: [Self; 2] = [Self::UnknownStatus, Self::UnsignedCheck];

    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownStatus => "unknown_status",
            Self::UnsignedCheck => "unsigned_check",
        }
    }
}

/// What the process depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    Postgres,
    Broker,
}

impl Dependency {
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Broker];

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Broker => "broker",
        }
    }
}

/// Who judges notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationRole {
    Ingress,
    Reconciler,
}

impl NotificationRole {
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Reconciler];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Reconciler => "reconciler",
        }
    }
}

/// What became of a notification. The first four are the ingress's answers; the reconciler's are
/// `NotAuthentic`, `Malformed` and the last four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Accepted,
    Unavailable,
    NotAuthentic,
    Malformed,
    Applied,
    NoChange,
    Parked,
    Mismatch,
}

impl Received {
    pub const BY_INGRESS: [Self; 4] =
        [Self::Accepted, Self::Unavailable, Self::NotAuthentic, Self::Malformed];
    pub const BY_RECONCILER: [Self; 6] =
        [Self::NotAuthentic, Self::Malformed, Self::Applied, Self::NoChange, Self::Parked, Self::Mismatch];

    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unavailable => "unavailable",
            Self::NotAuthentic => "not_authentic",
            Self::Malformed => "malformed",
            Self::Applied => "applied",
            Self::NoChange => "no_change",
            Self::Parked => "parked",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Why a notification is refused. The reconciler sees only what cannot be read or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationRefusal {
    AnotherPath,
    TooLarge,
    TooSlow,
    Malformed,
    HeaderMissing,
    ClientIdUnknown,
    SignatureWrong,
    TokenWrong,
}

impl NotificationRefusal {
    pub const ALL: [Self; 8] = [
        Self::AnotherPath,
        Self::TooLarge,
        Self::TooSlow,
        Self::Malformed,
        Self::HeaderMissing,
        Self::ClientIdUnknown,
        Self::SignatureWrong,
        Self::TokenWrong,
    ];
    pub const BY_RECONCILER: [Self; 4] =
        [Self::Malformed, Self::HeaderMissing, Self::ClientIdUnknown, Self::SignatureWrong];

    pub fn name(self) -> &'static str {
        match self {
            Self::AnotherPath => "another_path",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Malformed => "malformed",
            Self::HeaderMissing => "header_missing",
            Self::ClientIdUnknown => "client_id_unknown",
            Self::SignatureWrong => "signature_wrong",
            Self::TokenWrong => "token_wrong",
        }
    }
}

impl From<NotAuthentic> for NotificationRefusal {
    fn from(why: NotAuthentic) -> Self {
        match why {
            NotAuthentic::ClientIdUnknown => Self::ClientIdUnknown,
            NotAuthentic::SignatureWrong => Self::SignatureWrong,
            NotAuthentic::TokenWrong => Self::TokenWrong,
        }
    }
}

/// Which of an account's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyGeneration {
    Current,
    Previous,
}

impl KeyGeneration {
    pub const ALL: [Self; 2] = [Self::Current, Self::Previous];

    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
        }
    }
}

/// Gauges that are counted together in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaugeGroup {
    /// What is open, in the outbox, parked, stranded.
    Open,
    Reviews,
    Balance,
    Reports,
    Settlement,
}

impl GaugeGroup {
    pub const ALL: [Self; 5] = [Self::Open, Self::Reviews, Self::Balance, Self::Reports, Self::Settlement];

    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Reviews => "reviews",
            Self::Balance => "balance",
            Self::Reports => "reports",
            Self::Settlement => "settlement",
        }
    }
}

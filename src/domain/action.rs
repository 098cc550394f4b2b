//! What operators do that is kept: each kind of action, and one of them with who and why.

/// How much of each is kept, in characters. A person's name stands in it with what the operating system says.
pub const REASON_CHARS_MAX: usize = 500;
pub const DONE_BY_CHARS_MAX: usize = 300;
/// The peer's address.
pub const PLACE_CHARS_MAX: usize = 100;
/// A name that a person gives.
pub const NAME_CHARS_MAX: usize = 64;

/// Every kind. A decision about an order in review is kept as such, not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionKind {
    Pause,
    Resume,
    ReplayEvents,
    ReplayDeadLetter,
    DropDeadLetter,
    CheckOrder,
    Prune,
    Restored,
    ImportSettlement,
    CloseBreak,
    ImportOrder,
    ConsoleLogin,
    ConsoleEnter,
    ConsoleLeave,
    ShowCustomer,
    ProposeDecision,
}

impl ActionKind {
    pub const ALL: [Self; 16] = [
        Self::Pause,
        Self::Resume,
        Self::ReplayEvents,
        Self::ReplayDeadLetter,
        Self::DropDeadLetter,
        Self::CheckOrder,
        Self::Prune,
        Self::Restored,
        Self::ImportSettlement,
        Self::CloseBreak,
        Self::ImportOrder,
        Self::ConsoleLogin,
        Self::ConsoleEnter,
        Self::ConsoleLeave,
        Self::ShowCustomer,
        Self::ProposeDecision,
    ];

    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::ReplayEvents => "replay_events",
            Self::ReplayDeadLetter => "replay_dead_letter",
            Self::DropDeadLetter => "drop_dead_letter",
            Self::CheckOrder => "check_order",
            Self::Prune => "prune",
            Self::Restored => "restored",
            Self::ImportSettlement => "import_settlement",
            Self::CloseBreak => "close_break",
            Self::ImportOrder => "import_order",
            Self::ConsoleLogin => "console_login",
            Self::ConsoleEnter => "console_enter",
            Self::ConsoleLeave => "console_leave",
            Self::ShowCustomer => "show_customer",
            Self::ProposeDecision => "propose_decision",
        }
    }
}

/// One action, as it is kept. Never customer data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub kind: ActionKind,
    /// What it was done to: an invoice number, a scope, a dead letter.
    pub subject: String,
    pub merchant: Option<String>,
    pub reason: Option<String>,
    /// `None`: the operator's machine did not say.
    pub done_by: Option<String>,
    pub detail: Option<String>,
}

//! How a delivery is settled with the broker, once everything about it is committed.

/// Why a delivery is dead-lettered: the header `x-jenius-reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// It cannot be read, or cannot be answered for want of an identity.
    Malformed,
    /// The signature of a notification does not verify, or another user than its source's published a command.
    NotAuthentic,
    /// It killed the process that worked on it.
    Crashed,
}

impl DeadReason {
    pub const ALL: [Self; 3] = [Self::Malformed, Self::NotAuthentic, Self::Crashed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotAuthentic => "not_authentic",
            Self::Crashed => "crashed",
        }
    }
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Disposition {
    /// Its claim, rejection or reconciliation is committed.
    Ack,
    /// `detail` says what is wrong and what is allowed, without the sender's data.
    DeadLetter { reason: DeadReason, detail: String },
    /// Postgres is away, or the process stops: the broker keeps it.
    Requeue,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letters_reason_is_told_by_these_words() {
        assert_eq!(DeadReason::ALL.map(DeadReason::name), ["malformed", "not_authentic", "crashed"]);
    }
}

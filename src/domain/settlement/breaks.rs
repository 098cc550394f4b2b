//! What does not fit between DOKU's book and ours, and what becomes of it: a break opens, changes, closes, and opens again
//! only where its values are others than a person saw.

/// Why something does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// A paid order that a later batch came without.
    MissingAtDoku,
    /// A row of an invoice that is no order here.
    MissingHere,
    AmountMismatch,
    /// DOKU paid out; by our records the customer did not pay.
    StatusMismatch,
    RefundMissing,
    RefundUnexpected,
    FeeMismatch,
    NetArithmetic,
    BatchMissing,
    UnknownChannel,
    DuplicateRow,
    DuplicateInOtherBatch,
    BatchChanged,
    TotalsMismatch,
    UnreadableRow,
    UnknownType,
}

/// Who can close a break by finding out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Has the order's state cleared up, with Check Status and DOKU's back office.
    Operator,
    /// Compares amounts and asks DOKU's settlement team.
    Finance,
}

impl Owner {
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Finance => "finance",
        }
    }
}

impl Cause {
    pub const ALL: [Self; 16] = [
        Self::MissingAtDoku,
        Self::MissingHere,
        Self::AmountMismatch,
        Self::StatusMismatch,
        Self::RefundMissing,
        Self::RefundUnexpected,
        Self::FeeMismatch,
        Self::NetArithmetic,
        Self::BatchMissing,
        Self::UnknownChannel,
        Self::DuplicateRow,
        Self::DuplicateInOtherBatch,
        Self::BatchChanged,
        Self::TotalsMismatch,
        Self::UnreadableRow,
        Self::UnknownType,
    ];

    /// As it is stored, counted and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingAtDoku => "missing_at_doku",
            Self::MissingHere => "missing_here",
            Self::AmountMismatch => "amount_mismatch",
            Self::StatusMismatch => "status_mismatch",
            Self::RefundMissing => "refund_missing",
            Self::RefundUnexpected => "refund_unexpected",
            Self::FeeMismatch => "fee_mismatch",
            Self::NetArithmetic => "net_arithmetic",
            Self::BatchMissing => "batch_missing",
            Self::UnknownChannel => "unknown_channel",
            Self::DuplicateRow => "duplicate_row",
            Self::DuplicateInOtherBatch => "duplicate_in_other_batch",
            Self::BatchChanged => "batch_changed",
            Self::TotalsMismatch => "totals_mismatch",
            Self::UnreadableRow => "unreadable_row",
            Self::UnknownType => "unknown_type",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    pub fn owner(self) -> Owner {
        match self {
            Self::MissingHere
            | Self::StatusMismatch
            | Self::RefundUnexpected
            | Self::UnknownChannel
            | Self::UnknownType => Owner::Operator,
            Self::MissingAtDoku
            | Self::AmountMismatch
            | Self::RefundMissing
            | Self::FeeMismatch
            | Self::NetArithmetic
            | Self::BatchMissing
            | Self::DuplicateRow
            | Self::DuplicateInOtherBatch
            | Self::BatchChanged
            | Self::TotalsMismatch
            | Self::UnreadableRow => Owner::Finance,
        }
    }

    /// Whether what an order becomes may close it.
    pub fn depends_on_order(self) -> bool {
        match self {
            Self::MissingAtDoku
            | Self::MissingHere
            | Self::StatusMismatch
            | Self::RefundMissing
            | Self::RefundUnexpected => true,
            Self::AmountMismatch
            | Self::FeeMismatch
            | Self::NetArithmetic
            | Self::BatchMissing
            | Self::UnknownChannel
            | Self::DuplicateRow
            | Self::DuplicateInOtherBatch
            | Self::BatchChanged
            | Self::TotalsMismatch
            | Self::UnreadableRow
            | Self::UnknownType => false,
        }
    }
}

/// One thing that does not fit. Known by its cause and subject within a merchant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Break {
    pub cause: Cause,
    /// The row, the order or the batch.
    pub subject: String,
    pub invoice_number: Option<String>,
    pub batch: Option<String>,
    /// Whole rupiah, never negative.
    pub at_stake: i64,
    /// Both sides, for a person; the same as long as nothing changed.
    pub values: String,
}

/// How a break that was stored stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Open,
    /// A person closed it, who saw these values.
    ClosedByPerson,
    /// It fitted again, by itself.
    ClosedByItself,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBreak {
    pub found: Break,
    pub standing: Standing,
}

/// What is to be written about one break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Open(Break),
    /// It is open and its values are others.
    Update(Break),
    /// It was closed: by a person for other values, or by itself.
    Reopen(Break),
    /// It is open and nothing is wrong any more.
    Close(Break),
}

/// What is to be written where `found` is all that is wrong now, and `stored` all that was known of the same subjects.
pub fn changes(stored: &[StoredBreak], found: &[Break]) -> Vec<Change> {
    let mut changes = Vec::new();
    for new in found {
        let Some(old) = stored.iter().find(|old| is_same(&old.found, new)) else {
            changes.push(Change::Open(new.clone()));
            continue;
        };
        match (&old.standing, !is_unchanged(&old.found, new)) {
            (Standing::Open | Standing::ClosedByPerson, false) => {}
            (Standing::Open, true) => changes.push(Change::Update(new.clone())),
            (Standing::ClosedByPerson, true) | (Standing::ClosedByItself, _) => {
                changes.push(Change::Reopen(new.clone()))
            }
        }
    }
    let gone = stored.iter().filter(|old| old.standing == Standing::Open);
    let gone = gone.filter(|old| !found.iter().any(|new| is_same(&old.found, new)));
    changes.extend(gone.map(|old| Change::Close(old.found.clone())));
    changes
}

/// Whether a person closed all that an order may still change, with the values that are found now.
pub fn are_closed_by_person(stored: &[StoredBreak], found: &[Break]) -> bool {
    let waiting: Vec<&Break> = found.iter().filter(|found| found.cause.depends_on_order()).collect();
    let is_closed = |new: &Break| {
        stored.iter().any(|old| old.standing == Standing::ClosedByPerson && is_unchanged(&old.found, new))
    };
    !waiting.is_empty() && waiting.into_iter().all(is_closed)
}

fn is_same(a: &Break, b: &Break) -> bool {
    a.cause == b.cause && a.subject == b.subject
}

fn is_unchanged(a: &Break, b: &Break) -> bool {
    is_same(a, b) && (a.at_stake, &a.values) == (b.at_stake, &b.values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(at_stake: i64) -> Break {
        let (invoice_number, batch) = (Some("INV-1".to_owned()), None);
        Break {
            cause: Cause::StatusMismatch,
            subject: "INV-1".to_owned(),
            invoice_number,
            batch,
            at_stake,
            values: "v".to_owned(),
        }
    }

    #[test]
    fn every_cause_is_found_by_its_name() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_name(cause.name()), Some(cause));
        }
    }

    #[test]
    fn a_break_opens_changes_closes_and_stays_closed_until_its_values_change() {
        use Standing::{ClosedByItself, ClosedByPerson, Open};
        let stored = |standing| vec![StoredBreak { found: found(1), standing }];
        for (known, now, expected) in [
            (vec![], vec![], vec![]),
            (vec![], vec![found(1)], vec![Change::Open(found(1))]),
            (stored(Open), vec![found(1)], vec![]),
            (stored(Open), vec![found(2)], vec![Change::Update(found(2))]),
            (stored(Open), vec![], vec![Change::Close(found(1))]),
            (stored(ClosedByPerson), vec![found(1)], vec![]),
            (stored(ClosedByPerson), vec![found(2)], vec![Change::Reopen(found(2))]),
            (stored(ClosedByPerson), vec![], vec![]),
            (stored(ClosedByItself), vec![found(1)], vec![Change::Reopen(found(1))]),
            (stored(ClosedByItself), vec![], vec![]),
        ] {
            assert_eq!(changes(&known, &now), expected, "{known:?} {now:?}");
        }
    }
}

//! What a failed statement means: the database is away, or it refused. Never the data of a row: the
//! message of a constraint names the constraint, its detail would name the customer.

use crate::flow::ports::StoreError;
use sqlx::{Error, error::DatabaseError};

/// What `all_or_nothing` of the schema says.
const NOTHING_WRITTEN: &str = "JN001";

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum Undone {
    /// Another transaction committed first what this one judged: judge again.
    Raced,
    /// Another transaction was in the way: alone, or later, it may pass.
    Contended(StoreError),
    Failed(StoreError),
}

pub(super) type Done<T> = Result<T, Undone>;

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        let code = error.as_database_error().and_then(DatabaseError::code);
        if code.as_deref() == Some(NOTHING_WRITTEN) {
            return Self::Raced;
        }
        let is_contended = code.is_some_and(|c| is_contention(&c));
        let error = store_error(&error);
        if is_contended { Self::Contended(error) } else { Self::Failed(error) }
    }
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<Undone> for StoreError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Raced => Self::Away("others kept committing first".to_owned()),
            Undone::Contended(error) | Undone::Failed(error) => error,
        }
    }
}

/// A row that no version of this program wrote.
pub(super) fn not_ours(what: &str) -> StoreError {
    StoreError::Refused(format!("the stored {what} is none that this program knows"))
}

pub(super) fn store_error(error: &Error) -> StoreError {
    match error {
        Error::Database(refusal) => of_database(refusal.as_ref()),
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => StoreError::Away(error.to_string()),
        _ => StoreError::Refused(error.to_string()),
    }
}

fn of_database(refusal: &dyn DatabaseError) -> StoreError {
    let code = refusal.code().unwrap_or_default();
    let constraint = refusal.constraint().map(|name| format!(" ({name})")).unwrap_or_default();
    let text = format!("{code}: {}{constraint}", refusal.message());
    if is_away(&code) { StoreError::Away(text) } else { StoreError::Refused(text) }
}

/// What one row can do to all that share its transaction: a deadlock, a lock that is not given, a statement
/// that waited for too long.
fn is_contention(code: &str) -> bool {
    code.starts_with("40") || ["55P03", "57014"].contains(&code)
}

/// SQLSTATEs that say "not now": classes and single codes of PostgreSQL's appendix A.
fn is_away(code: &str) -> bool {
    const CLASSES: [&str; 6] = [
        "08", // connection
        "28", // authorization: wrong password, no entry in pg_hba
        "40", // serialization failure, deadlock
        "53", // out of memory, disk, connections
        "57", // cancelled by a timeout, shutdown, starting up
        "58", // I/O errors of the server
    ];
    const CODES: [&str; 6] = [
        "25006", // read only: a standby
        "25P03", // idle in transaction for too long
        "3D000", // no such database yet
        "42P01", // no such table: not migrated yet
        "42883", // no such function: not migrated yet
        "55P03", // lock not available in time
    ];
    CLASSES.iter().any(|class| code.starts_with(class)) || CODES.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_or_by_an_operator_is_away() {
        for away in ["08006", "40P01", "40001", "53300", "57P01", "57014", "55P03", "25006", "42P01"] {
            assert!(is_away(away), "{away}");
        }
        for refused in ["23505", "23514", "22P02", "42601", "42703", "22021", ""] {
            assert!(!is_away(refused), "{refused}");
        }
    }

    #[test]
    fn a_lost_connection_is_away_and_a_missing_column_is_not() {
        let lost = Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert!(matches!(store_error(&lost), StoreError::Away(_)));
        assert!(matches!(store_error(&Error::PoolTimedOut), StoreError::Away(_)));
        assert!(matches!(store_error(&Error::ColumnNotFound("x".into())), StoreError::Refused(_)));
    }
}

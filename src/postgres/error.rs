//! What a failed statement means: the database is away, or it refused. Never the data of a row: the
//! message of a constraint names the constraint, its detail would name the customer.

use crate::flow::ports::StoreError;
use sqlx::{Error, error::DatabaseError};
use std::borrow::Cow;

/// The code that `all_or_nothing` of the schema raises.
const NOTHING_WRITTEN: &str = "JN001";
const TOO_MANY_CONNECTIONS: &str = "53300";
const READ_ONLY: &str = "25006";
const DATABASE_DROPPED: &str = "57P04";

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum TxError {
    /// Another transaction committed first what this one judged: judge again.
    Raced,
    /// Another transaction was in the way: alone, or later, it may pass.
    Contended(StoreError),
    Failed(StoreError),
}

/// How often a transaction is judged again after another one overtook it; each time the other has committed what
/// the next look sees.
pub(super) const RACES_MAX: u32 = 5;

pub(super) type TxResult<T> = Result<T, TxError>;

impl From<Error> for TxError {
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

impl From<StoreError> for TxError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Contended(_)) { Self::Contended(error) } else { Self::Failed(error) }
    }
}

impl From<TxError> for StoreError {
    fn from(tx_error: TxError) -> Self {
        match tx_error {
            TxError::Raced => Self::Contended("others kept committing first".to_owned()),
            TxError::Contended(error) | TxError::Failed(error) => error,
        }
    }
}

/// A row that no version of this program wrote.
pub(super) fn unknown_value(what: &str) -> StoreError {
    StoreError::Refused(format!("the stored {what} is none that this program knows"))
}

pub(super) fn store_error(error: &Error) -> StoreError {
    match error {
        Error::Database(refusal) => database_error(refusal.as_ref()),
        Error::Io(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => {
            StoreError::Away("no connection to PostgreSQL: Connection refused".to_owned())
        }
        Error::Io(cause) => {
            StoreError::Away(format!("{error}{}{}", io_hint(cause), tls_hint(&cause.to_string())))
        }
        Error::Tls(cause) => StoreError::Away(format!("{error}{}", tls_hint(&cause.to_string()))),
        // Nothing came where the server should have answered whether it speaks TLS.
        Error::Protocol(text) if text.contains("SSLRequest: 0x00") => StoreError::Away(
            "the connection was closed before PostgreSQL answered: a proxy without a server behind it"
                .to_owned(),
        ),
        Error::Protocol(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => {
            StoreError::Away(error.to_string())
        }
        _ => StoreError::Refused(error.to_string()),
    }
}

/// Why a server takes no connection.
pub(super) enum ConnectFault {
    /// It has no room for another one.
    Full(StoreError),
    Other(StoreError),
}

pub(super) fn code_of(error: &Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}

pub(super) fn fault(error: &Error) -> ConnectFault {
    match code_of(error).as_deref() {
        Some(TOO_MANY_CONNECTIONS) => ConnectFault::Full(store_error(error)),
        _ => ConnectFault::Other(store_error(error)),
    }
}

/// Whether its connection, and all that lead to the same server, are better made anew.
pub(super) fn is_loss(error: &Error) -> bool {
    match error {
        Error::Database(refusal) => refusal.code().is_some_and(|code| {
            code == READ_ONLY
                || code.starts_with("08")
                || (code.starts_with("57P") && code != DATABASE_DROPPED)
        }),
        Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Errors of the machine that name nothing a person could mend.
fn io_hint(cause: &std::io::Error) -> &'static str {
    const DESCRIPTORS: [i32; 2] = [23, 24];
    match cause.raw_os_error() {
        Some(code) if DESCRIPTORS.contains(&code) => {
            " (no file descriptor is left: raise `ulimit -n`, LimitNOFILE of the unit)"
        }
        _ if cause.kind() == std::io::ErrorKind::ConnectionReset => {
            " (the server went away, or a proxy without a server behind it answers)"
        }
        _ => "",
    }
}

fn tls_hint(cause: &str) -> &'static str {
    if cause.contains("UnknownIssuer") {
        " (the authority that signed the server's certificate is not known here: name its file in database.ca_file)"
    } else {
        ""
    }
}

fn database_error(refusal: &dyn DatabaseError) -> StoreError {
    let code = refusal.code().unwrap_or_default();
    let constraint = refusal.constraint().map(|name| format!(" ({name})")).unwrap_or_default();
    let hint = hint_of(&code, refusal.message());
    let text = format!("{code}: {}{constraint}{hint}", refusal.message());
    if is_in_the_way(&code) {
        StoreError::Contended(text)
    } else if is_away(&code) {
        StoreError::Away(text)
    } else {
        StoreError::Refused(text)
    }
}

/// What a person can do about it, where PostgreSQL does not say it.
fn hint_of(code: &str, message: &str) -> &'static str {
    match code {
        "08P01" if message.contains("startup parameter") => {
            "; a pooler (PgBouncer) is in between and does not pass a session's settings on: connect to PostgreSQL \
             itself, or see RUNBOOK.md, PgBouncer"
        }
        "42P05" | "26000" => {
            "; a pooler gives one server session to several connections: connect to PostgreSQL itself, or set \
             pool_mode = session"
        }
        "42501" => "; run `jenius-pay migrate --grant` as the owner, then the work goes on",
        READ_ONLY => "; the primary is needed",
        _ => "",
    }
}

/// What one row can do to all that share its transaction: others are in its way, or its statement takes too long.
fn is_contention(code: &str) -> bool {
    is_in_the_way(code) || code == "57014"
}

/// A deadlock, a serialization failure, a lock that is not given: the server is well, and takes what touches other rows.
fn is_in_the_way(code: &str) -> bool {
    code.starts_with("40") || code == "55P03"
}

/// SQLSTATEs that say "not now": classes and single codes of PostgreSQL's appendix A.
fn is_away(code: &str) -> bool {
    const CLASSES: [&str; 4] = [
        "08", // connection
        "53", // out of memory, disk, connections
        "57", // cancelled by a timeout, shutdown, starting up
        "58", // I/O errors of the server
    ];
    const CODES: [&str; 4] = [
        "25006", // read only: a standby
        "25P03", // idle in transaction for too long
        "42P01", // no such table: not migrated yet
        "42883", // no such function: not migrated yet
    ];
    CLASSES.iter().any(|class| code.starts_with(class)) || CODES.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_away() {
        for away in ["08006", "53300", "57P01", "57014", "25006", "42P01"] {
            assert!(is_away(away) && !is_in_the_way(away), "{away}");
        }
        for in_the_way in ["40P01", "40001", "55P03"] {
            assert!(is_in_the_way(in_the_way) && !is_away(in_the_way), "{in_the_way}");
        }
        for refused in
            ["23505", "23514", "22P02", "42601", "42703", "22021", "28P01", "28000", "3D000", "42501", ""]
        {
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

    #[test]
    fn what_a_machine_says_is_told_with_what_to_do() {
        let text = |error: Error| store_error(&error).to_string();
        assert!(text(Error::Io(std::io::Error::from_raw_os_error(24))).contains("LimitNOFILE"));
        let reset = Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(text(reset).contains("proxy without a server"));
        let silent = "unexpected response from SSLRequest: 0x00";
        assert!(text(Error::Protocol(silent.to_owned())).contains("proxy without a server"));
        let unknown = "invalid peer certificate: UnknownIssuer";
        assert!(text(Error::Tls(unknown.into())).contains("database.ca_file"));
        assert!(text(Error::Io(std::io::Error::other(unknown))).contains("database.ca_file"));
    }
}

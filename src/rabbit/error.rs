//! How the broker does not do what was asked, and the wait for its answers, which is always bounded.

use super::refusal::{ACCESS_REFUSED, NOT_FOUND};
use std::{fmt, future::Future, time::Duration};
use tokio::time::timeout;

/// No answer from the broker takes longer. Declaring a quorum queue in a busy cluster takes seconds.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Why the broker did not do what was asked. Always worth another try, on a new link.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    #[error("{doing}: no answer within {} s", .limit.as_secs())]
    Silent { doing: &'static str, limit: Duration },
    #[error("{doing}: {cause}")]
    Failed { doing: &'static str, cause: String },
    /// This user lacks the permission.
    #[error("{doing}: {cause}")]
    Refused { doing: &'static str, cause: String },
    /// An exchange or a queue is not there, or not any more.
    #[error("{doing}: {cause}")]
    NotFound { doing: &'static str, cause: String },
    /// Properties that are no AMQP: lapin ends the connection, and the same message comes again, until the
    /// broker's delivery limit. A dead letter is then in the way of all behind it, until a person takes it off.
    #[error("{doing}: a message with properties that cannot be read (RUNBOOK, Dead letters)")]
    Unreadable { doing: &'static str },
}

impl BrokerError {
    pub(super) fn failed(doing: &'static str, cause: impl fmt::Display) -> Self {
        Self::Failed { doing, cause: cause.to_string() }
    }

    /// With what to do about it, where the broker's certificate is refused.
    pub(super) fn connecting(self) -> Self {
        let explained = |cause: &str| {
            if cause.contains("UnknownIssuer") {
                Some(
                    "the authority that signed the broker's certificate is not known here; amqp.ca_file names it",
                )
            } else if cause.contains("certificate") && cause.contains("name") {
                Some("amqp.url must name the host as the certificate does")
            } else {
                None
            }
        };
        match self {
            Self::Failed { doing, cause } => match explained(&cause) {
                Some(help) => Self::Failed { doing, cause: format!("{cause}: {help}") },
                None => Self::Failed { doing, cause },
            },
            other => other,
        }
    }

    pub(super) fn while_doing(doing: &'static str, error: &lapin::Error) -> Self {
        match error.kind() {
            lapin::ErrorKind::ParsingError(_) => Self::Unreadable { doing },
            lapin::ErrorKind::ProtocolError(refusal) => {
                let cause = refusal.get_message().to_string();
                match refusal.get_id() {
                    ACCESS_REFUSED => Self::Refused { doing, cause },
                    NOT_FOUND => Self::NotFound { doing, cause },
                    _ => Self::failed(doing, error),
                }
            }
            _ => Self::failed(doing, error),
        }
    }
}

/// Waits for one answer of the broker, no longer than [`ANSWER_LIMIT`].
pub(super) async fn within_limit<T>(
    doing: &'static str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    bounded_by(ANSWER_LIMIT, doing, answer).await
}

pub(super) async fn bounded_by<T>(
    limit: Duration,
    doing: &'static str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|e| BrokerError::while_doing(doing, &e)),
        Err(_) => Err(BrokerError::Silent { doing, limit }),
    }
}

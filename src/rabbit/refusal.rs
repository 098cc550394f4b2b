//! How the broker refuses: its reply code, and its text.

use super::connection::{ANSWER_LIMIT, BrokerError};
use lapin::ErrorKind;
use std::future::Future;
use tokio::time::timeout;

/// AMQP's reply codes.
pub(super) const ACCESS_REFUSED: u16 = 403;
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const PRECONDITION_FAILED: u16 = 406;

/// A refusal closes the channel on which it comes.
pub(super) struct ChannelRefusal {
    /// 0 where it is no answer of the broker.
    pub code: u16,
    pub text: String,
}

impl ChannelRefusal {
    /// The broker did not answer at all.
    pub fn is_silence(&self) -> bool {
        self.code == 0
    }

    pub fn error(self, doing: &'static str) -> BrokerError {
        BrokerError::failed(doing, self.text)
    }
}

/// Waits for one answer of the broker, no longer than [`ANSWER_LIMIT`].
pub(super) async fn asked<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, ChannelRefusal> {
    let Ok(answer) = timeout(ANSWER_LIMIT, answer).await else {
        return Err(ChannelRefusal {
            code: 0,
            text: format!("no answer within {} s", ANSWER_LIMIT.as_secs()),
        });
    };
    answer.map_err(|error| match error.kind() {
        ErrorKind::ProtocolError(refusal) => {
            ChannelRefusal { code: refusal.get_id(), text: refusal.get_message().to_string() }
        }
        _ => ChannelRefusal { code: 0, text: error.to_string() },
    })
}

//! What can be read of a body that may be malformed: enough to sort dead letters by, and to see where one
//! belongs. Nothing is decided by it.

use super::{json, notification};
use crate::domain::{
    command::CommandKind,
    ids::{CommandId, CommandSource},
};

/// A longer type is none of ours.
const TYPE_BYTES_MAX: usize = 128;

/// The attributes of a CloudEvent that tell one dead letter from another, each where it is readable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peeked {
    pub event_type: Option<String>,
    pub source: Option<String>,
    /// Of a command.
    pub command_id: Option<String>,
}

impl Peeked {
    /// The kind of command it says it is.
    pub fn command_kind(&self) -> Option<CommandKind> {
        CommandKind::ALL.into_iter().find(|kind| self.event_type.as_deref() == Some(kind.event_type()))
    }

    pub fn is_notification(&self) -> bool {
        self.event_type.as_deref() == Some(notification::EVENT_TYPE)
    }
}

/// Reads them, whatever else is wrong with the body.
pub fn peek(body: &[u8]) -> Peeked {
    let text = if body.len() > notification::BYTES_MAX { None } else { std::str::from_utf8(body).ok() };
    let Some(Ok(envelope)) = text.map(json::read_envelope) else { return Peeked::default() };
    let is_type = |text: &&str| {
        (1..=TYPE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    };
    let event_type = envelope.text("type").filter(is_type).map(str::to_owned);
    let id = envelope.text("id").and_then(|id| CommandId::parse(id).ok());
    let source = envelope.text("source").and_then(|source| CommandSource::parse(source).ok());
    let source = source.map(|source| source.as_str().to_owned());
    let mut peeked = Peeked { event_type, source, command_id: None };
    if !peeked.is_notification() {
        peeked.command_id = id.map(|id| id.as_str().to_owned());
    }
    peeked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_readable_is_read_and_nothing_else_is_guessed() {
        let peeked = |body: &str| {
            let Peeked { event_type, command_id, .. } = peek(body.as_bytes());
            (event_type.unwrap_or_default(), command_id.unwrap_or_default())
        };
        for (body, event_type, command_id) in [
            (r#"{"type":"jenius.payment.request.v1","id":"c-1"}"#, "jenius.payment.request.v1", "c-1"),
            (
                r#"{"type":"jenius.notification.received.v1","id":"n-1"}"#,
                "jenius.notification.received.v1",
                "",
            ),
            (r#"{"type":"a b","id":"a b"}"#, "", ""),
            (r#"{"type":7,"id":null}"#, "", ""),
            (r#"{"id":"1","id":"2"}"#, "", ""),
            ("pay please", "", ""),
            ("", "", ""),
        ] {
            assert_eq!(peeked(body), (event_type.to_owned(), command_id.to_owned()), "{body}");
        }
        assert_eq!(peek(b"\xff"), Peeked::default());
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(TYPE_BYTES_MAX + 1));
        assert_eq!(peek(long.as_bytes()), Peeked::default());
    }
}

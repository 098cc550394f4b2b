//! What the broker tells about itself before any login. lapin does not hand it on, so it is read here, on a
//! connection of its own that ends with it.

use crate::rabbit::connection::{BrokerError, CONNECT_LIMIT};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use lapin::{
    tcp::{AMQPUriTcpExt, OwnedTLSConfig},
    types::{AMQPValue, FieldTable, parsing::parse_field_table},
    uri::{AMQPScheme, AMQPUri},
};
use std::io;
use tokio::time::timeout;

const DOING: &str = "greeting";
const HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";
/// Frame type 1 (a method) on channel 0, then its length.
const FRAME_HEAD: usize = 7;
/// Class 10, method 10: `connection.start`; then two bytes of version.
const START: [u8; 4] = [0, 10, 0, 10];
const TABLE_AT: usize = START.len() + 2;
/// A broker's properties are a few hundred bytes.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
const TEXT_CHARS_MAX: usize = 64;

/// Who answers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    pub product: String,
    pub version: String,
    pub tls: bool,
}

/// Waits for the greeting, a bounded time.
pub(in crate::rabbit) async fn greet(uri: &AMQPUri, tls: &OwnedTLSConfig) -> Result<Greeting, BrokerError> {
    let read = timeout(CONNECT_LIMIT, read_properties(uri, tls)).await;
    let properties = match read {
        Ok(read) => read.map_err(|e| BrokerError::failed(DOING, e).connecting())?,
        Err(_) => return Err(BrokerError::Silent { doing: DOING, limit: CONNECT_LIMIT }),
    };
    let tls = uri.scheme == AMQPScheme::AMQPS;
    Ok(Greeting { product: text(&properties, "product"), version: text(&properties, "version"), tls })
}

async fn read_properties(uri: &AMQPUri, tls: &OwnedTLSConfig) -> io::Result<FieldTable> {
    let runtime = lapin::runtime::default_runtime().map_err(io::Error::other)?;
    let mut stream = uri.connect_with_config_async(tls.as_ref(), &runtime).await?;
    stream.write_all(HELLO).await?;
    stream.flush().await?;
    let mut head = [0; FRAME_HEAD];
    stream.read_exact(&mut head).await?;
    let [1, 0, 0, length @ ..] = head else { return Err(not_amqp()) };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > PAYLOAD_BYTES_MAX {
        return Err(not_amqp());
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    properties(&payload).ok_or_else(not_amqp)
}

fn properties(payload: &[u8]) -> Option<FieldTable> {
    let table = payload.strip_prefix(&START).and_then(|_| payload.get(TABLE_AT..))?;
    parse_field_table(table).ok().map(|(_, properties)| properties)
}

fn not_amqp() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is not AMQP 0-9-1")
}

fn text(properties: &FieldTable, name: &str) -> String {
    match properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => {
            text.to_string().chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
        }
        Some(_) | None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_start_with_its_table_is_a_greeting() {
        let table = b"\x00\x00\x00\x12\x07versionS\x00\x00\x00\x054.1.0";
        let start = [START.as_slice(), b"\x00\x09", table].concat();
        assert_eq!(properties(&start).map(|p| text(&p, "version")).as_deref(), Some("4.1.0"));
        assert_eq!(properties(&start).map(|p| text(&p, "product")).as_deref(), Some("unknown"));
        let cut = &start[..start.len() - 1];
        let other = [b"\x00\x0a\x00\x0b\x00\x09".as_slice(), table].concat();
        for (name, payload) in [("cut", cut), ("another method", &other), ("nothing", b"")] {
            assert!(properties(payload).is_none(), "{name}");
        }
    }
}

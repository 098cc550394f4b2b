//! AMQP written byte by byte: what no client library lets one send, and a broker carries nevertheless.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use url::Url;

/// A broker is slow to confirm what is nested deeply: seconds for what fills a frame.
const PATIENCE: Duration = Duration::from_secs(60);
const FRAME_METHOD: u8 = 1;
const FRAME_HEADER: u8 = 2;
const FRAME_BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
/// What is left of the smallest usual frame for one piece of a body.
const BODY_PIECE: usize = 100_000;

/// A property's bit among the flags of a content header.
pub const CONTENT_TYPE: u16 = 1 << 15;
pub const HEADERS: u16 = 1 << 13;
pub const CORRELATION_ID: u16 = 1 << 10;

/// A connection with one channel in confirm mode.
pub struct Raw {
    stream: TcpStream,
    /// As the broker says it.
    pub version: String,
}

pub fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// A long string, a table or an array: its length, then its bytes.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The long string that stands in a table after this name and type.
fn text_of(table: &[u8], field: &[u8]) -> Option<String> {
    let at = table.windows(field.len()).position(|part| part == field)? + field.len();
    let length = u32::from_be_bytes(table.get(at..at + 4)?.try_into().ok()?);
    let text = table.get(at + 4..)?.get(..usize::try_from(length).ok()?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

impl Raw {
    pub fn connect(url: &str) -> Self {
        let url: Url = url.parse().unwrap();
        let stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap_or(5672))).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self { stream, version: String::new() };
        raw.stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
        raw.version = text_of(&raw.until(10, 10), b"\x07versionS").unwrap();
        let login = format!("\0{}\0{}", url.username(), url.password().unwrap_or_default());
        raw.method(
            0,
            10,
            11,
            &[long(b""), short(b"PLAIN"), long(login.as_bytes()), short(b"en_US")].concat(),
        );
        raw.until(10, 30);
        raw.method(0, 10, 31, &[0x07, 0xff, 0, 2, 0, 0, 0, 0]);
        raw.method(0, 10, 40, &[short(b"/"), short(b""), vec![0]].concat());
        raw.until(10, 41);
        raw.method(1, 20, 10, &short(b""));
        raw.until(20, 11);
        raw.method(1, 85, 10, &[0]);
        raw.until(85, 11);
        raw
    }

    /// Publishes with properties as they are written here, and waits for the confirm.
    pub fn publish(&mut self, exchange: &str, key: &str, flags: u16, properties: &[u8], body: &[u8]) {
        let to = [vec![0, 0], short(exchange.as_bytes()), short(key.as_bytes()), vec![0]].concat();
        self.method(1, 60, 40, &to);
        let size = u64::try_from(body.len()).unwrap().to_be_bytes();
        let header = [&[0, 60, 0, 0], &size[..], &flags.to_be_bytes()[..], properties].concat();
        self.frame(FRAME_HEADER, 1, &header);
        for piece in body.chunks(BODY_PIECE) {
            self.frame(FRAME_BODY, 1, piece);
        }
        self.until(60, 80);
    }

    fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) {
        let payload = [&class.to_be_bytes(), &method.to_be_bytes(), arguments].concat();
        self.frame(FRAME_METHOD, channel, &payload);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&[kind], &channel.to_be_bytes()[..], &size[..], payload, &[FRAME_END]].concat();
        self.stream.write_all(&frame).unwrap();
    }

    /// Reads until the broker says this, and gives its words; anything that closes is a failure of the test.
    fn until(&mut self, class: u16, method: u16) -> Vec<u8> {
        loop {
            let mut head = [0; 7];
            self.stream.read_exact(&mut head).unwrap();
            let size = u32::from_be_bytes(head[3..].try_into().unwrap());
            let mut payload = vec![0; usize::try_from(size).unwrap() + 1];
            self.stream.read_exact(&mut payload).unwrap();
            let said = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
            if head[0] != FRAME_METHOD {
                continue;
            }
            if (said(0), said(2)) == (class, method) {
                return payload;
            }
            let text = String::from_utf8_lossy(&payload);
            assert!(!matches!((said(0), said(2)), (10, 50) | (20, 40)), "the broker closed: {text}");
        }
    }
}

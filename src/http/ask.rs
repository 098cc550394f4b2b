//! One look at a listener, for `doctor` and `health`: does a server listen, and what does it answer to a
//! GET. Nothing it asks is counted or changes anything.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// It is this machine that is asked, or one near by.
const ASK_MAX: Duration = Duration::from_secs(5);
/// A page of ours is smaller, the metrics of a thousand merchants too.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub body: String,
}

/// GETs a path, a bounded time.
///
/// # Errors
/// No server listens, or its answer is no HTTP.
pub async fn ask(listen: SocketAddr, path: &str) -> io::Result<Answered> {
    timeout(ASK_MAX, get(reachable(listen), path)).await?
}

/// The same of everything that a name with a port stands for, each with its address.
pub async fn ask_all(place: &str, path: &str) -> Vec<(String, io::Result<Answered>)> {
    let found = match timeout(ASK_MAX, lookup_host(place)).await {
        Ok(Ok(found)) => found.collect::<BTreeSet<_>>(),
        Ok(Err(error)) => return vec![(place.to_owned(), Err(error))],
        Err(silent) => return vec![(place.to_owned(), Err(silent.into()))],
    };
    let mut answers = Vec::new();
    for address in found {
        answers.push((address.to_string(), ask(address, path).await));
    }
    answers
}

async fn get(address: SocketAddr, path: &str) -> io::Result<Answered> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    read(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers there speaks no HTTP"))
}

fn read(answer: &str) -> Option<Answered> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answered { status, body: body.to_owned() })
}

/// Who listens everywhere is asked here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let here = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(here, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_is_an_answer() {
        let answered = |status, body: &str| Some(Answered { status, body: body.to_owned() });
        for (answer, expected) in [
            ("HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\n\r\n{}", answered(405, "{}")),
            ("HTTP/1.0 200\r\n\r\n", answered(200, "")),
            ("HTTP/1.1 405", None),
            ("SSH-2.0-x\r\n\r\n", None),
            ("HTTP/1.1 many\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(read(answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        for (listen, asked) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.7:80", "10.0.0.7:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}

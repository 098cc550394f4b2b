//! One look at a listener, for `doctor` and `health`: does a server listen, and what does it answer to a
//! GET. Nothing it asks is counted or changes anything.

use axum::body::{Body, to_bytes};
use hyper::{Request, client::conn::http1::handshake, header::HOST};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// It is this machine that is asked, or one near by.
const ASK_MAX: Duration = Duration::from_secs(5);
/// A page of ours is smaller, the metrics of a thousand merchants too.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

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

/// One request on one connection: no pool, no TLS, no proxy, and nothing is followed.
async fn get(address: SocketAddr, path: &str) -> io::Result<Answered> {
    let no_http = |error| io::Error::other(format!("the answer is not HTTP: {error}"));
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut requests, connection) = handshake(stream).await.map_err(no_http)?;
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, address.to_string()).body(Body::empty());
    let answer = requests.send_request(request.map_err(io::Error::other)?).await.map_err(no_http)?;
    let status = answer.status().as_u16();
    let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await.map_err(io::Error::other)?;
    Ok(Answered { status, body: String::from_utf8_lossy(&body).into_owned() })
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
    fn who_listens_everywhere_is_asked_here() {
        for (listen, asked) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.7:80", "10.0.0.7:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}

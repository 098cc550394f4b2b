//! `health`: asks the process beside it whether it lives, for an image that has no other program to ask with.

use crate::config::{Needs, Parts, Source};
use anyhow::Context;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

/// Who does not answer within this is as good as dead.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The status line, and more.
const ANSWER_BYTES_MAX: u64 = 1024;
const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

pub fn run(source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let nothing = Needs { database: false, amqp: false, merchants: false };
    let address = reachable(Parts::load(source, nothing)?.admin_listen);
    let answer = ask(address).with_context(|| format!("nobody answers on {address}: is `run` up?"))?;
    let status = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(is_ok(status), "{address} answered `{status}`, which is not a living jenius-pay");
    Ok(ExitCode::SUCCESS)
}

/// Who listens on every address is asked on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => listen.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_ok(status: &str) -> bool {
    status.split(' ').nth(1) == Some("200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_is_alive() {
        for dead in ["", "HTTP/1.1", "HTTP/1.1 503 Service Unavailable", "HTTP/1.1 2000", "SSH-2.0-200"] {
            assert!(!is_ok(dead), "{dead}");
        }
        assert!(is_ok("HTTP/1.1 200 OK"));
    }

    #[test]
    fn every_address_is_asked_on_the_loopback() {
        for (listen, asked) in
            [("0.0.0.0:9464", "127.0.0.1:9464"), ("[::]:9464", "[::1]:9464"), ("10.0.0.7:1", "10.0.0.7:1")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}

//! The machine and the servers the figures were measured on: without them a figure says nothing.

use super::Servers;
use anyhow::Context;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

const BROKER_TIMEOUT: Duration = Duration::from_secs(5);
/// More processes than this waiting for each core: others use the machine too.
const BUSY_LOAD_PER_CORE: f64 = 0.5;

#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    /// Over the minute before the start.
    pub load_average: f64,
    pub jenius_pay: &'static str,
    pub postgres: String,
    pub rabbitmq: String,
    /// What of Postgres' durability is on.
    pub fsync: String,
    pub synchronous_commit: String,
    pub full_page_writes: String,
    pub release: bool,
}

impl Machine {
    pub async fn look(servers: &Servers) -> anyhow::Result<Self> {
        let mut sql = PgConnection::connect(servers.database.as_str()).await.context("PostgreSQL is away")?;
        let amqp = servers.amqp.clone();
        let rabbitmq = tokio::task::spawn_blocking(move || broker_version(&amqp)).await?;
        Ok(Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_gib(&read("/proc/meminfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: load_average(),
            jenius_pay: env!("CARGO_PKG_VERSION"),
            postgres: read_setting(&mut sql, "server_version").await?,
            rabbitmq: rabbitmq.unwrap_or_else(|| "unknown".to_owned()),
            fsync: read_setting(&mut sql, "fsync").await?,
            synchronous_commit: read_setting(&mut sql, "synchronous_commit").await?,
            full_page_writes: read_setting(&mut sql, "full_page_writes").await?,
            release: !cfg!(debug_assertions),
        })
    }

    /// What makes the figures worth less than they look.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 cores")]
        let busy = self.load_average / self.cores as f64 > BUSY_LOAD_PER_CORE;
        if busy {
            warnings.push(format!(
                "the load average was {} at the start: others use this machine, so compare ratios and CPU times only",
                self.load_average
            ));
        }
        if self.fsync != "on" || self.synchronous_commit == "off" {
            warnings
                .push("PostgreSQL does not wait for its disk: these figures are not durable ones".to_owned());
        }
        if !self.release {
            warnings.push("this is a debug build: build with --release".to_owned());
        }
        warnings
    }
}

async fn read_setting(sql: &mut PgConnection, name: &str) -> anyhow::Result<String> {
    Ok(sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(sql).await?)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
}

fn memory_gib(text: &str) -> f64 {
    let total = field(text, "MemTotal");
    total.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0 / 1024.0
}

pub fn load_average() -> f64 {
    read("/proc/loadavg").split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// The broker says who it is in its first frame; the client library keeps that to itself.
fn broker_version(url: &str) -> Option<String> {
    let url: url::Url = url.parse().ok()?;
    if url.scheme() != "amqp" {
        return None;
    }
    let mut stream = TcpStream::connect((url.host_str()?, url.port().unwrap_or(5672))).ok()?;
    stream.set_read_timeout(Some(BROKER_TIMEOUT)).ok()?;
    stream.write_all(b"AMQP\0\0\x09\x01").ok()?;
    let mut head = [0; 7];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes(head[3..7].try_into().ok()?).min(64 * 1024);
    let mut frame = vec![0; usize::try_from(length).ok()?];
    stream.read_exact(&mut frame).ok()?;
    text_of(&frame, b"\x07version")
}

/// The long string that follows a key in an AMQP table.
fn text_of(frame: &[u8], key: &[u8]) -> Option<String> {
    let at = frame.windows(key.len()).position(|part| part == key)? + key.len();
    let rest = frame.get(at..)?.strip_prefix(b"S")?;
    let length = usize::try_from(u32::from_be_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
    Some(String::from_utf8_lossy(rest.get(4..4 + length)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_says_its_version_in_its_table() {
        let frame = b"..\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8rest";
        assert_eq!(text_of(frame, b"\x07version").as_deref(), Some("3.10.8"));
        assert_eq!(text_of(b"\x07versionS\0\0\0\xffx", b"\x07version"), None);
    }

    #[test]
    fn what_the_kernel_does_not_say_is_unknown() {
        assert_eq!(field("model name\t: Some CPU\n", "model name"), "Some CPU");
        assert_eq!(field("", "model name"), "unknown");
        assert!((memory_gib("MemTotal:       2097152 kB") - 2.0).abs() < 1e-9);
    }
}

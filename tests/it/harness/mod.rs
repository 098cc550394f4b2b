//! One harness on the production wiring: a world is a database, a prefix on the broker, a sandbox and
//! the service itself, each the test's own.

pub mod broker;
pub mod browser;
pub mod child;
pub mod commands;
pub mod contract;
pub mod database;
pub mod mounted;
pub mod proof;
pub mod proxy;
pub mod raw;
pub mod reports;
pub mod servers;
pub mod snap;
pub mod visitor;
pub mod vitals;
pub mod world;

pub use commands::{payment, refund};
pub use world::World;

use std::{
    future::Future,
    net::TcpListener,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Stories wait for facts, never for time; this is when they give up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One client for all requests of a test, each on a connection of its own: to build one takes as long as many
/// requests, and a connection that was kept may be closed by its server just when it is used again.
pub fn http() -> &'static reqwest::Client {
    static HTTP: OnceLock<reqwest::Client> = OnceLock::new();
    HTTP.get_or_init(|| reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap())
}

/// A port for a service that the test names before it starts, and may start again: below the ephemeral range, so that
/// no outgoing connection takes it meanwhile, and below the ports of the servers.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 9_000;
    static DRAWN: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    loop {
        let port = FIRST + (start + DRAWN.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What a page says: its status, its text.
pub async fn get(url: String) -> reqwest::Result<(u16, String)> {
    let answer = http().get(url).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Waits until `fact` gives something, asking again every few milliseconds.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, fact: impl FnMut() -> F) -> T {
    eventually_or(|| what.to_owned(), fact).await
}

/// The same, saying at the end what there is instead.
pub async fn eventually_or<T, F: Future<Output = Option<T>>>(
    what: impl Fn() -> String,
    mut fact: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = fact().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for {}", what());
        sleep(Duration::from_millis(20)).await;
    }
}

//! The sandbox through its front door: real HTTP, real connections, a client that signs and verifies.

mod client;
mod face;
mod fast;
mod faults;
mod notifications;
mod requests;

use super::*;
use client::Client;

const CLIENT_ID: &str = "MCH-1";
const SECRET_KEY: &str = "SK-1";

async fn sandbox(change: impl FnOnce(&mut SandboxConfig)) -> (Sandbox, Client) {
    let mut config = SandboxConfig {
        merchants: vec![Merchant::new(CLIENT_ID, SECRET_KEY), Merchant::new("MCH-2", "SK-2")],
        pay_after_ms: 20,
        hang_ms: 300,
        ..SandboxConfig::default()
    };
    change(&mut config);
    let sandbox = Sandbox::start(config).await.unwrap();
    let client = Client::new(&sandbox, CLIENT_ID, SECRET_KEY);
    (sandbox, client)
}

/// Looks until `done`, for at most five seconds.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

fn status_of(sandbox: &Sandbox, invoice: &str) -> Option<TransactionStatus> {
    sandbox.ledger().charges_of(invoice).next().map(|charge| charge.status)
}

//! What HTTP and the signatures take: calls to DOKU's stand-in, signed, with their answers verified.

use crate::{
    commands::Commands,
    measure::{Pace, Reading},
    progress::ProgressLine,
    setup::BenchSetup,
};
use anyhow::{Context, ensure};
use doku_sandbox::{
    EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY, PAYMENT_PATH,
    signature::{self, SecretKey, SignatureInput, Stamp},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// Connections that are kept alive.
const CONCURRENCY: usize = 64;

struct LoadCaller {
    http: reqwest::Client,
    url: String,
    key: SecretKey,
    stamp: String,
    commands: Commands,
    next: AtomicU64,
}

pub async fn run(setup: &BenchSetup<'_>, calls: u64) -> anyhow::Result<Pace> {
    setup.doku_answers_after(Duration::ZERO).await?;
    let caller = Arc::new(LoadCaller {
        http: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(CONCURRENCY).build()?,
        url: format!("{}{PAYMENT_PATH}", setup.doku_url()),
        key: SecretKey::new(EXAMPLE_SECRET_KEY),
        stamp: stamp(),
        commands: setup.commands.clone(),
        next: AtomicU64::new(0),
    });
    let progress = Arc::new(ProgressLine::new("signed calls", calls));
    let groups = setup.groups();
    let first = Reading::take(0, &groups);
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (caller, progress) = (Arc::clone(&caller), Arc::clone(&progress));
        tasks.spawn(async move {
            loop {
                let number = caller.next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return anyhow::Ok(());
                }
                caller.pay(number).await?;
                progress.add(1);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(first.until(&Reading::take(calls, &groups)))
}

#[expect(clippy::disallowed_methods, reason = "it signs as an outsider, by the machine's clock")]
fn stamp() -> String {
    chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl LoadCaller {
    async fn pay(&self, number: u64) -> anyhow::Result<()> {
        let id = self.commands.invoice(number);
        let body = self.commands.payment_data(number);
        let digest = signature::digest(body.as_bytes());
        let signed = SignatureInput {
            client_id: EXAMPLE_CLIENT_ID,
            request_id: &id,
            stamp: Stamp::Request(&self.stamp),
            target: PAYMENT_PATH,
            digest: Some(&digest),
        };
        let request = self
            .http
            .post(&self.url)
            .header("Client-Id", EXAMPLE_CLIENT_ID)
            .header("Request-Id", &id)
            .header("Request-Timestamp", &self.stamp)
            .header("Signature", signature::sign(&signed, &self.key))
            .header("Content-Type", "application/json");
        let answer = request.body(body).send().await?;
        ensure!(answer.status() == 200, "DOKU answers {}", answer.status());
        let headers = answer.headers().clone();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let digest = signature::digest(&answer.bytes().await?);
        let stamp = Stamp::Response(header("Response-Timestamp").context("no timestamp")?);
        let signed = SignatureInput { stamp, digest: Some(&digest), ..signed };
        let given = header("Signature").context("no signature")?;
        ensure!(signature::verify(&signed, &self.key, given), "the answer's signature is wrong");
        Ok(())
    }
}

//! `notifications`: a queue full of DOKU's signed reports about orders that wait for them, reconciled as fast as it
//! goes.

use super::{
    Bench, Section,
    load::Route,
    measure::{Pace, Row, paces, watch},
    progress::ProgressLine,
    service::{Counter, Service},
    setup::{BenchSetup, with_setup},
    tables,
};
use anyhow::ensure;
use doku_sandbox::{
    EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY,
    signature::{self, SecretKey, SignatureInput, Stamp},
};
use serde::Serialize;

const APPLIED: Counter = ("jenius_notifications_received_total", "result=\"applied\"");
/// As long as nothing else is configured.
const PATH: &str = "/payments/notifications";
/// There is no freshness window: DOKU tries again for twelve hours.
const STAMP: &str = "2026-01-02T03:04:05Z";

#[derive(Serialize)]
struct Results {
    reconciler: Pace,
    orders_paid: i64,
}

pub async fn run(bench: &Bench) -> anyhow::Result<Section> {
    let count = bench.options.commands;
    let results = with_setup(bench, async |setup| reconcile(setup, count).await).await?;
    let row = Row { what: "reconciler".to_owned(), pace: &results.reconciler, more: vec![] };
    let text = format!("{}\n{} orders are paid", paces("notifications", &[row]), results.orders_paid);
    Section::new("notifications", &results, text)
}

async fn reconcile(setup: &BenchSetup<'_>, count: u64) -> anyhow::Result<Results> {
    let mut sql = setup.sql().await?;
    setup.filled(&setup.commands, count).awaiting_payment(&mut sql).await?;
    tables::settle(&mut sql).await?;
    let exchange = setup.name("notifications");
    let route = Route { exchange: &exchange, key: "bench" };
    let key = SecretKey::new(EXAMPLE_SECRET_KEY);
    let bodies = (0..count).map(|number| report(&key, &setup.commands.invoice(number)));
    let progress = ProgressLine::new("preloading", count);
    setup.load.publish_all(route, bodies, &progress).await?;
    drop(progress);
    let service = Service::start(setup, &["reconciler"], &[])?;
    let groups = setup.groups().with("worker", service.process.pid());
    let reconciler = watch(&mut [service], APPLIED, count, &groups, "reconciler").await?;
    let paid =
        "SELECT count(*) FROM orders JOIN outbox USING (order_key) WHERE state = 'paid' AND version = 2";
    let orders_paid: i64 = sqlx::query_scalar(paid).fetch_one(&mut sql).await?;
    ensure!(u64::try_from(orders_paid)? == count, "{orders_paid} of {count} orders are paid and announced");
    Ok(Results { reconciler, orders_paid })
}

/// As the ingress, or a gateway of the user's own, puts it on the queue.
fn report(key: &SecretKey, invoice: &str) -> Vec<u8> {
    let body = format!(
        concat!(
            r#"{{"service":{{"id":"INTERNET_BANKING"}},"acquirer":{{"id":"JENIUS"}},"#,
            r#""order":{{"invoice_number":"{invoice}","amount":"50000"}},"#,
            r#""transaction":{{"status":"SUCCESS","date":"{stamp}","original_request_id":"{invoice}"}}}}"#
        ),
        invoice = invoice,
        stamp = STAMP,
    );
    let request_id = format!("N-{invoice}");
    let digest = signature::digest(body.as_bytes());
    let signed = SignatureInput {
        client_id: EXAMPLE_CLIENT_ID,
        request_id: &request_id,
        stamp: Stamp::Request(STAMP),
        target: PATH,
        digest: Some(&digest),
    };
    let event = serde_json::json!({
        "specversion": "1.0", "id": request_id, "source": "/gateway", "type": "jenius.notification.received.v1",
        "data": {
            "request_target": PATH,
            "headers": {
                "Client-Id": EXAMPLE_CLIENT_ID, "Request-Id": request_id, "Request-Timestamp": STAMP,
                "Signature": signature::sign(&signed, key),
            },
            "body": body,
        },
    });
    event.to_string().into_bytes()
}

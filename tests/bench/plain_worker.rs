//! A plain payment worker, for comparison with the service by `jenius-pay bench`: what one writes by hand in an
//! afternoon. A task per delivery; one insert before the call; one transaction (update and insert) and one confirmed
//! publish after it; then the ack. No outbox, no claims, no retries: a crash or a lost answer loses track of money.
//!
//! It must stay honest: the same durability (fsync, quorum queues, persistent messages, confirms), signed requests,
//! verified answers, an event of the same size; and simple: no batches, no tricks.

#![allow(clippy::disallowed_methods, reason = "it signs by the machine's clock, as one does")]

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    },
    types::FieldTable,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use sqlx::{Executor, PgPool, postgres::PgPoolOptions};
use std::{
    env,
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;
use uuid::Uuid;

const PATH: &str = "/jenius-digital-banking/v2/ServiceRequestPayment";
const TABLES: &str = "
    CREATE TABLE plain_orders (invoice_number text PRIMARY KEY, command_id text NOT NULL, amount text NOT NULL,
        body bytea NOT NULL, status text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz);
    CREATE TABLE plain_attempts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, invoice_number text NOT NULL,
        http_status integer NOT NULL, status text NOT NULL, at timestamptz NOT NULL DEFAULT now())";

#[derive(Deserialize)]
struct Command<'a> {
    id: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Payment {
    order: Order,
}

#[derive(Deserialize)]
struct Order {
    invoice_number: String,
    amount: String,
}

#[derive(Deserialize)]
struct Answer {
    order: Order,
    internet_banking_payment: Status,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

struct Worker {
    pool: PgPool,
    http: reqwest::Client,
    channel: Channel,
    exchange: String,
    url: String,
    client_id: String,
    key: Hmac<Sha256>,
    done: AtomicU64,
    wanted: u64,
    finished: Notify,
}

/// Arguments: the queue, the exchange, how many commands, prefetch, database connections. Prints `first` when the
/// first command is done and `last` when all are, and stays until its input is closed, so that it can be measured.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [queue, exchange, wanted, prefetch, connections] = arguments.as_slice() else {
        anyhow::bail!("usage: plain_worker QUEUE EXCHANGE COMMANDS PREFETCH CONNECTIONS");
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let variable = |name: &str| env::var(name).with_context(|| format!("{name} is not set"));
    let pool = PgPoolOptions::new()
        .max_connections(connections.parse()?)
        .connect(&variable("DATABASE_URL")?)
        .await?;
    pool.execute(TABLES).await?;
    let amqp = Connection::connect(&variable("AMQP_URL")?, ConnectionProperties::default()).await?;
    let publishing = amqp.create_channel().await?;
    publishing.confirm_select(ConfirmSelectOptions::default()).await?;
    let worker = Arc::new(Worker {
        pool,
        http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?,
        channel: publishing,
        exchange: exchange.clone(),
        url: variable("DOKU_BASE_URL")? + PATH,
        client_id: variable("DOKU_CLIENT_ID")?,
        key: Hmac::new_from_slice(variable("DOKU_SECRET_KEY")?.as_bytes())?,
        done: AtomicU64::new(0),
        wanted: wanted.parse()?,
        finished: Notify::new(),
    });
    let consuming = amqp.create_channel().await?;
    consuming.basic_qos(prefetch.parse()?, BasicQosOptions::default()).await?;
    let mut deliveries = consuming
        .basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    loop {
        tokio::select! {
            delivery = deliveries.next() => {
                let delivery = delivery.context("the consumer was cancelled")??;
                let worker = Arc::clone(&worker);
                tokio::spawn(async move {
                    if let Err(error) = worker.process(delivery).await {
                        eprintln!("a command was lost: {error:#}");
                    }
                });
            }
            () = worker.finished.notified() => break,
        }
    }
    say("last");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

impl Worker {
    async fn process(&self, delivery: Delivery) -> anyhow::Result<()> {
        let command: Command = serde_json::from_slice(&delivery.data)?;
        let body = command.data.get().to_owned();
        let order = serde_json::from_str::<Payment>(&body)?.order;
        sqlx::query("INSERT INTO plain_orders (invoice_number, command_id, amount, body, status) VALUES ($1, $2, $3, $4, 'sent')")
            .bind(&order.invoice_number)
            .bind(&command.id)
            .bind(&order.amount)
            .bind(body.as_bytes())
            .execute(&self.pool)
            .await?;
        let status = self.pay(&order, body).await?;
        let mut tx = self.pool.begin().await?;
        sqlx::query("UPDATE plain_orders SET status = $2, updated_at = now() WHERE invoice_number = $1")
            .bind(&order.invoice_number)
            .bind(&status)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO plain_attempts (invoice_number, http_status, status) VALUES ($1, 200, $2)")
            .bind(&order.invoice_number)
            .bind(&status)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.publish(&command.id, &order).await?;
        delivery.ack(BasicAckOptions::default()).await?;
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if done == 1 {
            say("first");
        }
        if done == self.wanted {
            self.finished.notify_one();
        }
        Ok(())
    }

    /// The status DOKU answers with, once its signature is verified.
    async fn pay(&self, order: &Order, body: String) -> anyhow::Result<String> {
        let id = &order.invoice_number;
        let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let signature =
            STANDARD.encode(self.mac(id, "Request", &now, body.as_bytes()).finalize().into_bytes());
        let answer = self
            .http
            .post(&self.url)
            .header("Client-Id", &self.client_id)
            .header("Request-Id", id)
            .header("Request-Timestamp", &now)
            .header("Signature", format!("HMACSHA256={signature}"))
            .header("Content-Type", "application/json")
            .body(body)
            .send()
            .await?;
        ensure!(answer.status() == 200, "DOKU answers {}", answer.status());
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let stamp = header("Response-Timestamp").context("no timestamp")?.to_owned();
        let signature = header("Signature").and_then(|text| text.strip_prefix("HMACSHA256="));
        let signature = STANDARD.decode(signature.context("no signature")?)?;
        let body = answer.bytes().await?;
        self.mac(id, "Response", &stamp, &body).verify_slice(&signature)?;
        let answer: Answer = serde_json::from_slice(&body)?;
        ensure!(answer.order.invoice_number == *id && answer.order.amount == order.amount, "another order");
        Ok(answer.internet_banking_payment.status)
    }

    fn mac(&self, id: &str, kind: &str, stamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let digest = STANDARD.encode(Sha256::digest(body));
        let text = format!(
            "Client-Id:{}\nRequest-Id:{id}\n{kind}-Timestamp:{stamp}\nRequest-Target:{PATH}\nDigest:{digest}",
            self.client_id
        );
        let mut mac = self.key.clone();
        mac.update(text.as_bytes());
        mac
    }

    async fn publish(&self, command_id: &str, order: &Order) -> anyhow::Result<()> {
        let id = Uuid::now_v7().to_string();
        let event = serde_json::json!({
            "specversion": "1.0", "id": id, "source": "/jenius-pay/default", "type": "jenius.payment.accepted.v1",
            "subject": order.invoice_number, "time": chrono::Utc::now().to_rfc3339(), "sequence": "1",
            "data": {
                "merchant": "default", "invoice_number": order.invoice_number, "amount": order.amount,
                "currency": "IDR", "state": "awaiting_payment", "previous_state": "submitting",
                "evidence": "response", "doku_status": "SUCCESS", "command_id": command_id,
                "command_source": "/checkout", "request_id": order.invoice_number, "error": null, "late": false
            }
        });
        let properties = BasicProperties::default()
            .with_content_type("application/cloudevents+json".into())
            .with_message_id(id.as_str().into())
            .with_correlation_id(command_id.into())
            .with_delivery_mode(2);
        let body = event.to_string();
        let published = self.channel.basic_publish(
            self.exchange.as_str().into(),
            "payment.accepted".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        let confirm = published.await?.await?;
        ensure!(matches!(confirm, Confirmation::Ack(_)), "not confirmed: {confirm:?}");
        Ok(())
    }
}

fn say(word: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{word}").and_then(|()| out.flush());
}

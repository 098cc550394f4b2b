//! Upstream: commands all the time, good, bad and repeated ones, each published until the broker has
//! confirmed it. It remembers what it has asked for: that is what the outcomes are held against.

use crate::harness::commands::{Message, payment_data, refund_data};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How DOKU plays a payment. All of them end: nothing here makes DOKU undecided for good.
const PAYMENTS: [&str; 24] = [
    "$admin",
    "$admin",
    "$admin",
    "$admin",
    "drop",
    "act_then_drop",
    "500",
    "act_then_500",
    "503",
    "429",
    "$admin",
    "wrong_signature",
    "no_signature",
    "act_then_reset",
    "act_then_cut_headers",
    "html_502",
    "pending",
    "failed",
    "pay_fails",
    "expires",
    "declined",
    "notify_twice",
    "act_then_hang:3000",
    "hang:3000",
];
const REFUNDS: [&str; 7] = ["x", "drop", "act_then_drop", "500", "429", "failed", "act_then_hang:3000"];
/// An order is refunded no sooner: before, most are not paid yet.
const REFUNDED_AFTER: Duration = Duration::from_secs(8);
/// A proxy may lead to a frozen node, which accepts connections and never answers.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Of its link, in seconds: a frozen node is noticed after twice as long.
const HEARTBEAT: &str = "6";
/// More than a live node takes to find the new leader of a queue whose leader froze.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What was asked for.
#[derive(Default)]
pub struct Asked {
    pub commands: Vec<Message>,
    pub malformed: Vec<Vec<u8>>,
    pub repeated: usize,
    payments: Vec<(String, Instant)>,
}

impl Asked {
    /// How many commands ask for the payment of each invoice.
    pub fn payment_commands(&self) -> BTreeMap<String, usize> {
        let mut commands = BTreeMap::new();
        for command in self.commands.iter().filter(|command| command.routing_key == "payment.request") {
            let invoice = command.body["data"]["order"]["invoice_number"].as_str().unwrap();
            *commands.entry(invoice.to_owned()).or_default() += 1;
        }
        commands
    }
}

pub struct Upstream {
    url: String,
    prefix: String,
    link: Option<(Connection, Channel)>,
    dice: fastrand::Rng,
    pub asked: Asked,
}

impl Upstream {
    pub fn new(url: &str, prefix: &str, seed: u64) -> Self {
        let dice = fastrand::Rng::with_seed(seed);
        Self { url: url.to_owned(), prefix: prefix.to_owned(), link: None, dice, asked: Asked::default() }
    }

    /// One thing at a time, so far apart on average, until it is over.
    pub async fn run(mut self, pace: impl Fn() -> Option<Duration>) -> Self {
        while let Some(every) = pace() {
            let (routing_key, body) = self.next();
            self.until_confirmed(routing_key, &body).await;
            sleep(every.mul_f64(self.dice.f64() * 2.0)).await;
        }
        self
    }

    /// Everything once more, in the same order: what upstream does that cannot know what became of it.
    pub async fn repeat_all(&mut self) {
        for command in self.asked.commands.clone() {
            self.until_confirmed(command.routing_key, &command.bytes()).await;
            self.asked.repeated += 1;
        }
    }

    async fn until_confirmed(&mut self, routing_key: &str, body: &[u8]) {
        while !self.is_confirmed(routing_key, body).await {
            self.link = None;
            sleep(Duration::from_millis(300)).await;
        }
    }

    fn next(&mut self) -> (&'static str, Vec<u8>) {
        let command = match self.dice.u8(..100) {
            0..60 => self.payment(),
            60..76 => self.refund(),
            76..86 => self.again(),
            86..92 => {
                let mut broken = self.payment();
                broken.body["data"]["customer"] = serde_json::Value::Null;
                broken
            }
            92..96 => {
                let (invoice, _) = self.a_payment();
                Message::payment(payment_data(&invoice, "$admin"))
            }
            96.. => {
                let body = format!("no command {}", self.dice.u64(..)).into_bytes();
                self.asked.malformed.push(body.clone());
                return ("payment.request", body);
            }
        };
        if self.asked.commands.iter().all(|known| known.id() != command.id()) {
            self.asked.commands.push(command.clone());
        }
        (command.routing_key, command.bytes())
    }

    fn payment(&mut self) -> Message {
        let invoice = format!("SOAK-{:016x}", self.dice.u64(..));
        let words = PAYMENTS[self.dice.usize(..PAYMENTS.len())];
        self.asked.payments.push((invoice.clone(), Instant::now()));
        Message::payment(payment_data(&invoice, words))
    }

    /// One that was asked for before, or a new one that nobody knows.
    fn a_payment(&mut self) -> (String, Instant) {
        let known = &self.asked.payments;
        if known.is_empty() {
            return (format!("NONE-{:016x}", self.dice.u64(..)), Instant::now());
        }
        known[self.dice.usize(..known.len())].clone()
    }

    fn refund(&mut self) -> Message {
        let (invoice, at) = self.a_payment();
        if at.elapsed() < REFUNDED_AFTER {
            return self.payment();
        }
        let words = REFUNDS[self.dice.usize(..REFUNDS.len())];
        Message::refund(refund_data(&invoice, words))
    }

    fn again(&mut self) -> Message {
        if self.asked.commands.is_empty() {
            return self.payment();
        }
        self.asked.repeated += 1;
        self.asked.commands[self.dice.usize(..self.asked.commands.len())].clone()
    }

    async fn is_confirmed(&mut self, routing_key: &str, body: &[u8]) -> bool {
        if self.link.is_none() {
            self.link = timeout(CONNECT_MAX, self.connect()).await.ok().flatten();
        }
        timeout(ANSWER_MAX, self.publish(routing_key, body)).await.ok().flatten().is_some()
    }

    async fn connect(&self) -> Option<(Connection, Channel)> {
        let mut url = url::Url::parse(&self.url).ok()?;
        url.query_pairs_mut().append_pair("heartbeat", HEARTBEAT);
        let connection = Connection::connect(url.as_str(), ConnectionProperties::default()).await.ok()?;
        let channel = connection.create_channel().await.ok()?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
        Some((connection, channel))
    }

    async fn publish(&self, routing_key: &str, body: &[u8]) -> Option<()> {
        let (_, channel) = self.link.as_ref()?;
        let exchange = format!("{}.commands", self.prefix);
        let properties = BasicProperties::default()
            .with_content_type("application/cloudevents+json".into())
            .with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let confirm = channel
            .basic_publish(exchange.as_str().into(), routing_key.into(), options, body, properties)
            .await
            .ok()?;
        matches!(confirm.await.ok()?, Confirmation::Ack(_)).then_some(())
    }
}

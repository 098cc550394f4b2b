//! The end of a soak: drained, then everything that was asked for is held against the tables, the events,
//! the dead letters and DOKU's ledger. Nothing here may excuse a command that has no outcome.

use super::traffic::Asked;
use crate::harness::{World, commands::Message};
use doku_sandbox::TransactionStatus;
use serde_json::Value;
use sqlx::Row;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

const DRAINED_WITHIN: Duration = Duration::from_secs(120);
const OUTCOMES: [&str; 5] = ["accepted", "declined", "unresolved", "abandoned", "rejected"];

/// Whether the database lost its last changes. Then what was told of them is told once more, as new events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    Kept,
    LostItsEnd,
}

#[derive(Debug, Default)]
pub struct Verdict {
    pub outcomes: BTreeMap<String, usize>,
    pub lost: usize,
    pub doubled: usize,
    pub stuck: i64,
    pub events: usize,
    pub events_repeated: usize,
    pub dead: usize,
    pub faults_by_doku: usize,
    pub drained_in: Duration,
}

const OPEN: &str = "SELECT (SELECT count(*) FROM commands WHERE outcome IS NULL)
    + (SELECT count(*) FROM orders WHERE state IN ('submitting', 'awaiting_payment', 'refunding'))
    + (SELECT count(*) FROM outbox)";

/// Waits until nothing is open; leases that nobody holds any more are let run out. Says what is left.
pub async fn drain(world: &World) -> (i64, Duration) {
    let start = Instant::now();
    let mut ahead = Duration::ZERO;
    loop {
        let mut left = world.database.count(OPEN).await;
        for queue in ["payments", "refunds", "notifications"] {
            left += i64::from(world.broker.depth(queue).await);
        }
        if left == 0 {
            return (left, start.elapsed());
        }
        if start.elapsed() > DRAINED_WITHIN {
            eprintln!("still open:\n{}", still_open(world).await);
            return (left, start.elapsed());
        }
        if start.elapsed() > ahead / 2 {
            ahead += Duration::from_secs(20);
            world.database.jump(ahead).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// For whoever has to find out why.
async fn still_open(world: &World) -> String {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' | ', o.invoice_number, o.state, o.version, o.revision, 'due', d.send_at - jenius_now(), d.inquire_at - jenius_now(),
                          d.token, d.stranded_at, 'sends', c.sends, c.last_send_at, c.maybe_acted_at, c.inquired_at,
                          'attempts', (SELECT string_agg(kind || ' ' || result || ' ' || coalesce(detail, ''), '; ')
                                       FROM attempts a WHERE a.command_key = c.key))
         FROM orders o LEFT JOIN due d USING (order_key) JOIN commands c ON c.key = coalesce(o.refund, o.payment)
         WHERE o.state IN ('submitting', 'awaiting_payment', 'refunding')",
    )
    .fetch_all(&world.database.pool)
    .await
    .unwrap();
    rows.join("\n")
}

pub async fn judge(world: &World, asked: &Asked, history: History) -> Verdict {
    let mut verdict = Verdict::default();
    let outcomes = outcomes(world).await;
    for command in &asked.commands {
        match outcomes.get(command.id()) {
            Some(outcome) => *verdict.outcomes.entry(outcome.clone()).or_default() += 1,
            None => verdict.lost += 1,
        }
    }
    assert_eq!(outcomes.len() + verdict.lost, asked.commands.len(), "commands nobody sent");
    verdict.doubled = doubled(world, asked);
    check_states(world).await;
    let events = events(world).await;
    verdict.events = check_events(world, &asked.commands, &events, history, verdict.lost).await;
    verdict.events_repeated = events.len() - verdict.events;
    verdict.dead = check_dead(world, asked).await;
    verdict.faults_by_doku = world.sandbox.ledger().requests.iter().filter(|r| r.fault.is_some()).count();
    verdict
}

async fn outcomes(world: &World) -> BTreeMap<String, String> {
    let rows = sqlx::query("SELECT id, outcome FROM commands WHERE outcome IS NOT NULL");
    let rows = rows.fetch_all(&world.database.pool).await.unwrap();
    rows.iter().map(|row| (row.get("id"), row.get("outcome"))).collect()
}

/// By the ledger: an invoice that was charged or refunded more than once.
fn doubled(world: &World, asked: &Asked) -> usize {
    let ledger = world.sandbox.ledger();
    let invoices: BTreeSet<&str> = asked.commands.iter().map(invoice).collect();
    let twice =
        |invoice: &&&str| ledger.charges_of(invoice).count() > 1 || ledger.refunds_of(invoice).count() > 1;
    invoices.iter().filter(twice).count()
}

fn invoice(command: &Message) -> &str {
    command.body["data"]["order"]["invoice_number"].as_str().unwrap()
}

/// What we believe of each order is what DOKU's ledger says of it; what was never charged is not believed
/// to be.
async fn check_states(world: &World) {
    let ledger = world.sandbox.ledger();
    let charged: BTreeMap<&str, TransactionStatus> =
        ledger.charges.iter().map(|charge| (charge.invoice_number.as_str(), charge.status)).collect();
    let rows = sqlx::query("SELECT invoice_number, state FROM orders").fetch_all(&world.database.pool).await;
    let states: BTreeMap<String, String> =
        rows.unwrap().iter().map(|row| (row.get("invoice_number"), row.get("state"))).collect();
    for (invoice, state) in &states {
        let expected: &[&str] = match charged.get(invoice.as_str()) {
            Some(TransactionStatus::Pending) => &["awaiting_payment"],
            Some(TransactionStatus::Success) => &["paid"],
            Some(TransactionStatus::Failed) => &["failed"],
            Some(TransactionStatus::Expired) => &["expired"],
            Some(TransactionStatus::Refunded) => &["refunded"],
            None => &["failed", "abandoned"],
        };
        assert!(expected.contains(&state.as_str()), "{invoice} is {state}, by the ledger {expected:?}");
    }
    for invoice in charged.keys() {
        assert!(states.contains_key(*invoice), "{invoice} was charged, and nobody here knows it");
    }
}

/// What a subscriber with a durable queue got, in its order.
async fn events(world: &World) -> Vec<Value> {
    let mut events = Vec::new();
    while let Some(message) = world.broker.get(super::SUBSCRIBER).await {
        events.push(serde_json::from_slice(&message.body).unwrap());
    }
    events
}

/// One outcome event for each command, every event of the tables, first published in the order of versions.
/// Gives the number of different ones.
async fn check_events(
    world: &World,
    commands: &[Message],
    events: &[Value],
    history: History,
    lost: usize,
) -> usize {
    let is_kept = history == History::Kept;
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        if !seen.insert(event["id"].as_str().unwrap()) {
            continue;
        }
        let kind = event["type"].as_str().unwrap().split('.').nth(2).unwrap();
        if OUTCOMES.contains(&kind) {
            *told.entry(event["data"]["command_id"].as_str().unwrap()).or_default() += 1;
        }
        if let Some(version) = event["sequence"].as_str() {
            let last = versions.entry(event["subject"].as_str().unwrap()).or_default();
            let version: u64 = version.parse().unwrap();
            let follows = version == *last + 1 || !is_kept && version <= *last;
            assert!(follows, "out of order, after {last}: {event}");
            *last = version;
        }
    }
    for command in commands {
        let count = told.get(command.id()).copied().unwrap_or_default();
        assert!(
            count == 1 || lost > 0 || !is_kept && count > 1,
            "{count} outcome events of {}",
            command.body
        );
    }
    let stored = world.database.count("SELECT count(*) FROM events").await;
    let seen_too = i64::try_from(seen.len()).unwrap();
    assert!(seen_too == stored || !is_kept && seen_too > stored, "events missing: {seen_too} of {stored}");
    seen.len()
}

/// Only what nobody can read, byte for byte; a consumer that dies may dead-letter it twice.
async fn check_dead(world: &World, asked: &Asked) -> usize {
    let mut dead: Vec<Vec<u8>> = Vec::new();
    while let Some(letter) = world.broker.get("dead").await {
        assert_eq!(letter.reason.as_deref(), Some("malformed"), "{}", String::from_utf8_lossy(&letter.body));
        dead.push(letter.body);
    }
    let expected: BTreeSet<_> = asked.malformed.iter().collect();
    assert_eq!(dead.iter().collect::<BTreeSet<_>>(), expected, "dead letters that cannot be explained");
    assert_eq!(world.broker.depth("unrouted").await, 0);
    dead.len()
}

//! What became of a cell: held against DOKU's ledger, the tables, and the events that a subscriber saw.

use super::plays::{Case, End, Plays};
use crate::harness::{World, broker::Event};
use doku_sandbox::{Ledger, TransactionStatus};
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong, a line for each; none of them may have any in the end.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// A command without an outcome, a notification without a trace, a version nobody was told.
    pub lost: Vec<String>,
    /// DOKU acted twice, or the world was told two different outcomes.
    pub doubled: Vec<String>,
    /// The order is not what DOKU says.
    pub stuck: Vec<String>,
}

impl Findings {
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.stuck.is_empty()
    }
}

/// Which part of the world is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Tables,
    /// What a subscriber saw, too.
    Everything,
}

#[derive(Default)]
struct Tables {
    /// State and version, by merchant and invoice number.
    orders: BTreeMap<(String, String), (String, i32)>,
    outcomes: BTreeMap<String, Option<String>>,
    /// Request-Ids of recorded notifications, by invoice number.
    notified: BTreeMap<String, BTreeSet<String>>,
}

async fn read(world: &World, plays: &Plays) -> Tables {
    let invoices: Vec<&str> = plays.cases.iter().map(|case| case.invoice.as_str()).collect();
    let ids: Vec<&str> = plays.cases.iter().filter_map(|case| Some(case.command.as_ref()?.id())).collect();
    let pool = &world.database.pool;
    let mut tables = Tables::default();
    let orders = "SELECT merchant, invoice_number, state, version FROM orders WHERE invoice_number = ANY($1)";
    for row in sqlx::query(orders).bind(&invoices).fetch_all(pool).await.unwrap() {
        tables.orders.insert((row.get(0), row.get(1)), (row.get(2), row.get(3)));
    }
    let commands = "SELECT id, outcome FROM commands WHERE id = ANY($1)";
    for row in sqlx::query(commands).bind(&ids).fetch_all(pool).await.unwrap() {
        tables.outcomes.insert(row.get(0), row.get(1));
    }
    let notified = "SELECT invoice_number, request_id FROM notifications WHERE invoice_number = ANY($1)";
    for row in sqlx::query(notified).bind(&invoices).fetch_all(pool).await.unwrap() {
        tables.notified.entry(row.get(0)).or_default().insert(row.get(1));
    }
    tables
}

pub async fn judge(world: &World, plays: &Plays, ask: Ask) -> Findings {
    let (tables, ledger) = (read(world, plays).await, world.sandbox.ledger());
    let mut findings = Findings::default();
    for case in &plays.cases {
        judge_by_tables(case, &tables, &ledger, &mut findings);
    }
    if ask == Ask::Tables || !findings.is_clean() {
        return findings;
    }
    let told = told(world, plays);
    for case in &plays.cases {
        let events = told.get(&case.invoice).map(Vec::as_slice).unwrap_or_default();
        judge_doubles(case, events, &ledger, &mut findings);
        let version = tables.orders.get(&key(case)).map_or(0, |(_, version)| *version);
        judge_told(case, events, version, &mut findings);
    }
    findings
}

fn told(world: &World, plays: &Plays) -> BTreeMap<String, Vec<Event>> {
    let invoices: BTreeSet<&str> = plays.cases.iter().map(|case| case.invoice.as_str()).collect();
    let mut told: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in world.events(|e| e.invoice().is_some_and(|invoice| invoices.contains(invoice))) {
        told.entry(event.invoice().unwrap().to_owned()).or_default().push(event);
    }
    told
}

fn key(case: &Case) -> (String, String) {
    (case.merchant.to_owned(), case.invoice.clone())
}

fn judge_by_tables(case: &Case, tables: &Tables, ledger: &Ledger, findings: &mut Findings) {
    let what = format!("{} ({})", case.words, case.invoice);
    let outcome = case.command.as_ref().map(|command| tables.outcomes.get(command.id()).cloned().flatten());
    if outcome == Some(None) {
        findings.lost.push(format!("{what}: its command has no outcome"));
    }
    let recorded = tables.notified.get(&case.invoice);
    for report in &case.reports {
        if !recorded.is_some_and(|recorded| recorded.contains(&report.request_id)) {
            findings.lost.push(format!("{what}: a notification was not recorded"));
        }
    }
    let state = tables.orders.get(&key(case)).map(|(state, _)| state.as_str());
    let expected = match case.end {
        End::Rejected => {
            // A refused refund's order is as it was.
            let is_rejected = outcome.flatten().as_deref() == Some("rejected");
            if !is_rejected {
                findings.stuck.push(format!("{what}: not rejected"));
            }
            return;
        }
        End::State(expected) => vec![expected],
        End::PaidUnasked => {
            if ledger.sends_of(&case.invoice).count() > 0 {
                findings.doubled.push(format!("{what}: DOKU was asked for what was known"));
            }
            vec!["paid"]
        }
        End::Ledger => by_ledger(case, ledger),
        End::LedgerOrReview => [by_ledger(case, ledger), vec!["review"]].concat(),
    };
    if !state.is_some_and(|state| expected.contains(&state)) {
        findings.stuck.push(format!("{what}: {state:?}, not one of {expected:?}"));
    }
}

/// What an order may be, after what DOKU did for it.
fn by_ledger(case: &Case, ledger: &Ledger) -> Vec<&'static str> {
    let charge = ledger.charges_of(&case.invoice).find(|charge| charge.client_id == case.client_id());
    match charge.map(|charge| charge.status) {
        None => vec!["failed", "abandoned"],
        Some(TransactionStatus::Pending) => vec!["awaiting_payment"],
        Some(TransactionStatus::Success) => vec!["paid"],
        Some(TransactionStatus::Failed) => vec!["failed"],
        Some(TransactionStatus::Expired) => vec!["expired"],
        Some(TransactionStatus::Refunded) => vec!["refunded"],
    }
}

const OUTCOMES: [&str; 4] = ["accepted", "declined", "abandoned", "unresolved"];

fn is_outcome_of(event: &Event, command_id: &str) -> bool {
    let of_command = event.data("command_id").as_str() == Some(command_id);
    let is_outcome = event.routing_key == "command.rejected"
        || event
            .routing_key
            .strip_prefix("payment.")
            .or(event.routing_key.strip_prefix("refund."))
            .is_some_and(|word| OUTCOMES.contains(&word));
    of_command && is_outcome
}

fn ids<'a>(events: impl Iterator<Item = &'a Event>) -> BTreeSet<&'a str> {
    events.map(|event| event.body["id"].as_str().unwrap()).collect()
}

fn judge_doubles(case: &Case, events: &[Event], ledger: &Ledger, findings: &mut Findings) {
    let what = format!("{} ({})", case.words, case.invoice);
    let charges = ledger.charges_of(&case.invoice).count();
    let refunds = ledger.refunds_of(&case.invoice).count();
    if charges > 1 || refunds > 1 {
        findings.doubled.push(format!("{what}: {charges} charges, {refunds} refunds"));
    }
    let paid = ids(events.iter().filter(|e| e.routing_key == "order.paid")).len();
    let outcomes = case
        .command
        .as_ref()
        .map_or(0, |command| ids(events.iter().filter(|e| is_outcome_of(e, command.id()))).len());
    if paid > 1 || outcomes > 1 {
        findings.doubled.push(format!("{what}: {outcomes} outcomes, {paid} times paid"));
    }
}

fn judge_told(case: &Case, events: &[Event], version: i32, findings: &mut Findings) {
    let what = format!("{} ({})", case.words, case.invoice);
    let versions: BTreeSet<u32> = events.iter().filter_map(Event::sequence).collect();
    if !versions.iter().copied().eq(1..=u32::try_from(version).unwrap()) {
        findings.lost.push(format!("{what}: version {version}, told {versions:?}"));
    }
    if let Some(command) = &case.command
        && !events.iter().any(|e| is_outcome_of(e, command.id()))
    {
        findings.lost.push(format!("{what}: no outcome was told"));
    }
}

/// How many of a cell's events came more than once.
pub fn duplicates(world: &World, plays: &Plays) -> usize {
    told(world, plays).values().map(|events| events.len() - ids(events.iter()).len()).sum()
}

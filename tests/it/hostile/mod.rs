//! Hostile input: whatever comes, nothing panics, no neighbour waits for it, and nothing private gets out.

mod bodies;
mod echo;
mod http;
mod nested;
mod properties;

use crate::harness::proof;
use std::{collections::BTreeMap, sync::Mutex, time::Duration};

/// What every row's test fails without.
const ASSERTED: &str = "A run that ends in a row had no panic, no dead letter beyond those it names, and no \
    customer's data or key in any event, column (but the stored request), metric, page or, where the service is \
    a process of its own, log at debug level.";

/// The rows of the table so far; whoever adds one writes them all.
static ROWS: Mutex<BTreeMap<&'static str, String>> = Mutex::new(BTreeMap::new());

/// What one test threw, and what became of it.
struct Thrown {
    what: &'static str,
    count: usize,
    became: String,
    /// The longest that a neighbour waited, where there were any.
    worst: Option<Duration>,
}

impl Thrown {
    /// Called after `World::end`, which looked for leaks everywhere.
    fn prove(self) {
        let Self { what, count, became, worst } = self;
        let worst = worst.map_or_else(|| "–".to_owned(), |worst| format!("{} ms", worst.as_millis()));
        let row = format!("| {what} | {count} | {became} | {worst} |");
        let mut rows = ROWS.lock().unwrap();
        rows.insert(what, row);
        let head = "| thrown | how many | became | neighbours' worst |\n|---|---|---|---|";
        let rows: Vec<&str> = rows.values().map(String::as_str).collect();
        proof::section("hostile", &format!("{head}\n{}\n\n{ASSERTED}", rows.join("\n")));
    }
}

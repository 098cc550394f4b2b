//! Hostile input: whatever comes, nothing panics, no neighbour waits for it, and nothing private gets out.

mod bodies;
mod echo;
mod http;
mod properties;
mod raw;

use crate::harness::proof;
use std::{collections::BTreeMap, sync::Mutex, time::Duration};

/// The rows of the table so far; whoever adds one writes them all.
static ROWS: Mutex<BTreeMap<&'static str, String>> = Mutex::new(BTreeMap::new());

/// What one test threw, and what became of it.
struct Thrown {
    what: &'static str,
    count: usize,
    became: String,
    /// The longest that a neighbour waited.
    worst: Duration,
}

impl Thrown {
    /// Called after `World::end`, which looked for leaks everywhere.
    fn prove(self) {
        let Self { what, count, became, worst } = self;
        let row = format!("| {what} | {count} | {became} | 0 | {} ms | 0 |", worst.as_millis());
        let mut rows = ROWS.lock().unwrap();
        rows.insert(what, row);
        let head =
            "| thrown | how many | became | panics | neighbours' worst | leaks |\n|---|---|---|---|---|---|";
        let rows: Vec<&str> = rows.values().map(String::as_str).collect();
        proof::section("hostile", &format!("{head}\n{}", rows.join("\n")));
    }
}

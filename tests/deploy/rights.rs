//! What each role may do in the database: one table in the program, which `grants.sql` grants and the runbook shows.

use crate::read;
use jenius_pay::postgres::{RIGHTS, privilege};
use std::collections::BTreeSet;

const ROLES: [&str; 5] =
    ["jenius_worker", "jenius_follow_up", "jenius_reconciler", "jenius_relay", "jenius_operator"];

#[test]
fn grants_grant_what_each_role_needs_and_nothing_else() {
    let mut granted = BTreeSet::new();
    let text = read("postgres/grants.sql");
    let grants = text.lines().filter_map(|line| line.strip_prefix("GRANT "));
    let (keys, tables): (Vec<&str>, Vec<&str>) = grants.partition(|grant| grant.contains(" ON SEQUENCE "));
    assert_eq!(keys, ["USAGE ON SEQUENCE commands_key_seq, orders_order_key_seq TO jenius_worker;"]);
    for line in tables {
        let (rights, rest) = line.strip_suffix(';').unwrap().split_once(" ON ").unwrap();
        let (tables, role) = rest.split_once(" TO ").unwrap();
        for table in tables.split(", ") {
            granted.extend(rights.split(", ").map(|right| format!("{role} {right} {table}")));
        }
    }
    let mut needed = BTreeSet::new();
    for (table, rights) in RIGHTS {
        for (role, rights) in ROLES.into_iter().zip(rights) {
            needed.extend(rights.chars().map(|letter| format!("{role} {} {table}", privilege(letter))));
        }
    }
    assert_eq!(granted, needed);
}

#[test]
fn the_runbook_shows_what_each_role_needs() {
    let row = |(table, rights): (&str, [&str; 5])| {
        let cell = |rights: &str| match rights {
            "" => "–".to_owned(),
            rights => rights.chars().map(|l| privilege(l).to_lowercase()).collect::<Vec<_>>().join(", "),
        };
        format!("| `{table}` | {} |\n", rights.map(cell).join(" | "))
    };
    let rows: String = RIGHTS.into_iter().map(row).collect();
    let runbook = read("RUNBOOK.md");
    assert!(runbook.contains(&rows), "Database users should show\n{rows}");
}

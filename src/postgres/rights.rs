//! What each role needs of the database, and no more. `deploy/postgres/grants.sql` grants it, RUNBOOK shows it, and every
//! process asks whether it has it before it takes anything: a delivery that meets a missing right could only be held.

use super::{pool::PgPool, tx::answered};
use crate::{config::Role, flow::ports::StoreError};
use sqlx::{PgConnection, postgres::PgArguments, postgres::Postgres, query::QueryScalar};
use std::collections::BTreeSet;

/// A table, and what worker, follow-up, reconciler, relay and the command line's operators may do with it: S(elect),
/// I(nsert), U(pdate), D(elete).
pub type TableRights = (&'static str, [&'static str; 5]);

/// Nobody but the owner, who migrates, may change the schema; and what operators did is only ever added to.
pub const RIGHTS: [TableRights; 18] = [
    ("_sqlx_migrations", ["S", "S", "S", "S", "S"]),
    ("installation", ["SI", "SI", "SI", "SI", "SI"]),
    ("commands", ["SIU", "SU", "SU", "S", "SIU"]),
    ("orders", ["SIU", "SU", "SU", "S", "SIU"]),
    ("due", ["SIUD", "SIUD", "SIUD", "S", "SIUD"]),
    ("attempts", ["SI", "SI", "SI", "", "SID"]),
    ("notifications", ["SU", "SUD", "SIUD", "S", "SUD"]),
    ("decisions", ["", "", "", "", "SI"]),
    ("events", ["SI", "SI", "SI", "S", "SI"]),
    ("outbox", ["SI", "SI", "SI", "SD", "SI"]),
    ("publications", ["S", "S", "S", "SI", "S"]),
    ("pauses", ["S", "S", "S", "S", "SID"]),
    ("rate_schedule", ["SIU", "SIU", "", "", ""]),
    ("balance", ["SU", "SU", "SU", "SU", "S"]),
    ("operator_actions", ["", "", "", "", "SI"]),
    ("restored", ["S", "", "", "", "SIU"]),
    ("send_stops", ["SIUD", "SIUD", "", "", "S"]),
    ("reported_requests", ["SIU", "SIU", "SIU", "S", "S"]),
];

fn column(role: Role) -> Option<usize> {
    match role {
        Role::Worker => Some(0),
        Role::FollowUp => Some(1),
        Role::Reconciler => Some(2),
        Role::Relay => Some(3),
        Role::Ingress => None,
    }
}

pub fn privilege(letter: char) -> &'static str {
    match letter {
        'I' => "INSERT",
        'U' => "UPDATE",
        'D' => "DELETE",
        _ => "SELECT",
    }
}

/// What these roles need and this connection's user may not do.
pub(super) async fn missing(
    connection: &mut PgConnection,
    roles: &BTreeSet<Role>,
) -> sqlx::Result<Vec<String>> {
    asked(roles).fetch_all(connection).await
}

/// Whether the schema can be worked with by these roles.
///
/// # Errors
/// A right is missing, or the database cannot hold every text.
pub async fn check_rights(pool: &PgPool, roles: &BTreeSet<Role>) -> Result<(), StoreError> {
    let missing: Vec<String> = answered!(pool, |c| asked(roles).fetch_all(c))?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "42501: this user lacks {}: apply deploy/postgres/grants.sql",
        missing.join(", ")
    )))
}

fn asked<'q>(roles: &BTreeSet<Role>) -> QueryScalar<'q, Postgres, String, PgArguments> {
    let mut needed = BTreeSet::new();
    for (table, rights) in &RIGHTS {
        for rights in roles.iter().filter_map(|role| Some(rights[column(*role)?])) {
            needed.extend(rights.chars().map(|letter| (*table, privilege(letter))));
        }
    }
    let (tables, privileges): (Vec<&str>, Vec<&str>) = needed.into_iter().unzip();
    sqlx::query_scalar(
        "SELECT privilege || ' on ' || relation FROM unnest($1::text[], $2::text[]) AS needed (relation, privilege)
         WHERE NOT has_table_privilege(relation, privilege)",
    )
    .bind(tables)
    .bind(privileges)
}

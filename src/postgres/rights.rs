//! What each role needs of the database, and no more. `migrate --grant` gives it, `deploy/postgres/grants.sql` is the same for
//! psql, RUNBOOK shows it, and every process asks whether it has it before it takes anything: a delivery that meets a
//! missing right could only be held.

use super::{
    error::{code_of, store_error},
    pool::PgPool,
    tx::answered,
};
use crate::{config::Role, flow::ports::StoreError};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgArguments, PgConnectOptions, Postgres},
    query::QueryScalar,
};
use std::{collections::BTreeSet, fmt::Write};

/// A table, and what worker, follow-up, reconciler, relay and the command line's operators may do with it: S(elect),
/// I(nsert), U(pdate), D(elete); with a sequence: N(ext).
pub type TableRights = (&'static str, [&'static str; 5]);

/// The groups of users that the rights are given to, in the same order.
pub const GROUPS: [&str; 5] =
    ["jenius_worker", "jenius_follow_up", "jenius_reconciler", "jenius_relay", "jenius_operator"];

/// Only the owner, who migrates, may change the schema; and what operators did is only ever added to. A claim draws
/// its keys itself.
pub const RIGHTS: [TableRights; 36] = [
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
    ("balance", ["SU", "SU", "SU", "SU", "SU"]),
    ("operator_actions", ["", "", "", "", "SI"]),
    ("restored", ["S", "", "", "", "SIU"]),
    ("send_stops", ["SIUD", "SIUD", "", "", "S"]),
    ("reported_requests", ["SIU", "SIU", "SIU", "S", "S"]),
    ("settlement_files", ["", "SIUD", "", "", "SIUD"]),
    ("settlement_pieces", ["", "I", "", "", "SID"]),
    ("settlement_rows", ["", "SIUD", "", "", "SIUD"]),
    ("settlement_forms", ["", "SIU", "", "", "SIU"]),
    ("settlement_accounts", ["", "SIU", "", "", "SIU"]),
    ("settlement_breaks", ["S", "SIU", "S", "S", "SIU"]),
    ("settlement_break_history", ["", "SI", "", "", "SI"]),
    ("settlement_looks", ["", "SIUD", "", "", "SIUD"]),
    ("settlement_waiting", ["", "SIUD", "", "", "SIUD"]),
    ("settlement_shares", ["", "S", "", "", "SI"]),
    ("console_logins", ["", "", "", "", "SID"]),
    ("console_sessions", ["", "", "", "", "SID"]),
    ("decision_proposals", ["", "", "", "", "SIUD"]),
    ("second_person_rule", ["", "", "", "", "SIU"]),
    ("process_reports", ["SID", "SID", "SID", "SID", "SID"]),
    ("review_holds", ["", "", "", "", "SIUD"]),
    ("commands_key_seq", ["N", "", "", "", ""]),
    ("orders_order_key_seq", ["N", "", "", "", ""]),
];

const NEXT: &str = "USAGE";
const NOT_ALLOWED: &str = "42501";
/// Of this database: one process grants at a time.
const LOCK: i64 = 7_145_001;

fn column(role: Role) -> Option<usize> {
    match role {
        Role::Worker => Some(0),
        Role::FollowUp => Some(1),
        Role::Reconciler => Some(2),
        Role::Relay => Some(3),
        Role::Console => Some(4),
        Role::Ingress => None,
    }
}

pub fn privilege(letter: char) -> &'static str {
    match letter {
        'I' => "INSERT",
        'U' => "UPDATE",
        'D' => "DELETE",
        'N' => NEXT,
        _ => "SELECT",
    }
}

/// Makes the groups that are missing, and gives each what it needs, all at once. It takes nothing away: a process of the
/// version before may need it still.
///
/// # Errors
/// The user may not do that, or the database is away.
pub async fn grant(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut connection = PgConnection::connect_with(options).await.map_err(|e| store_error(&e))?;
    sqlx::raw_sql(AssertSqlSafe(grants())).execute(&mut connection).await.map_err(refusal)?;
    connection.close().await.map_err(|e| store_error(&e))
}

fn refusal(error: sqlx::Error) -> StoreError {
    match store_error(&error) {
        StoreError::Refused(why) if code_of(&error).as_deref() == Some(NOT_ALLOWED) => {
            StoreError::Refused(format!(
                "{why}: run it as the owner of the tables, who may make the groups (CREATEROLE), or make them before: {}",
                GROUPS.join(", ")
            ))
        }
        refused_or_away => refused_or_away,
    }
}

fn grants() -> String {
    let mut sql = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK});");
    for (at, group) in GROUPS.into_iter().enumerate() {
        // Groups belong to the server: another database may make them at the same moment.
        let _ = write!(
            sql,
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{group}') THEN CREATE ROLE {group} NOLOGIN;
             END IF; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
        );
        for (relation, rights) in RIGHTS {
            let rights: Vec<&str> = rights[at].chars().map(privilege).collect();
            let kind = if rights.contains(&NEXT) { "SEQUENCE" } else { "TABLE" };
            if !rights.is_empty() {
                let _ = write!(sql, "GRANT {} ON {kind} {relation} TO {group};", rights.join(", "));
            }
        }
    }
    sql + "COMMIT"
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
        "{NOT_ALLOWED}: this user lacks {}: run `jenius-pay migrate --grant` as the owner",
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
    let (relations, privileges): (Vec<&str>, Vec<&str>) = needed.into_iter().unzip();
    sqlx::query_scalar(
        "SELECT privilege || ' on ' || relation FROM unnest($1::text[], $2::text[]) AS needed (relation, privilege)
         WHERE NOT CASE privilege WHEN 'USAGE' THEN has_sequence_privilege(relation, privilege)
                                  ELSE has_table_privilege(relation, privilege) END",
    )
    .bind(relations)
    .bind(privileges)
}

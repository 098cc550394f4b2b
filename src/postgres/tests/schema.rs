//! What the schema itself keeps out, and the indexes the hot reads rely on.

use super::*;
use crate::{
    config::Environment,
    flow::ports::StoreError,
    postgres::{RIGHTS, bind_environment, due, is_migrated, migrate::run, outbox},
};

/// Tries to store a row; the name of the constraint that refuses it.
pub(super) async fn refused_by(db: &Db, sql: &str) -> String {
    match db.execute(sql).await {
        Err(sqlx::Error::Database(error)) => error.constraint().unwrap_or("another error").to_owned(),
        other => format!("{other:?}"),
    }
}

/// A write that no path of the program makes, and the constraint that refuses it.
const ILLEGAL: &[(&str, &str)] = &[
    ("UPDATE orders SET amount = 0", "amount_in_range"),
    ("UPDATE orders SET amount = 1000000000000", "amount_in_range"),
    ("UPDATE orders SET state = 'lost', version = 1, evidence = 'check'", "order_state_is_known"),
    ("UPDATE orders SET state = 'paid'", "orders_"),
    ("UPDATE orders SET state = 'paid', version = 1, evidence = 'check'", "orders_paid_is_announced"),
    ("UPDATE orders SET state = 'failed', version = 1, evidence = 'check'", "orders_failed_is_announced"),
    ("UPDATE orders SET state = 'expired', version = 1, evidence = 'check'", "orders_expired_is_announced"),
    ("UPDATE orders SET state = 'refunded', version = 1, evidence = 'check'", "orders_refunded_is_announced"),
    ("UPDATE orders SET version = 1", "orders_unannounced_while_submitting"),
    ("UPDATE orders SET evidence = 'response'", "orders_evidence_unless_submitting"),
    ("UPDATE orders SET evidence = 'rumour', version = 1, state = 'expired'", "evidence_is_known"),
    ("UPDATE orders SET state = 'review', version = 1, evidence = 'check'", "orders_review_has_a_cause"),
    ("UPDATE orders SET review_cause = 'check_gave_up'", "orders_review_has_a_cause"),
    (
        "UPDATE orders SET state = 'refunding', version = 1, evidence = 'check', announced_paid = true",
        "orders_refund_is_commanded",
    ),
    (
        "UPDATE orders SET state = 'review', review_cause = 'refund_unresolved', version = 1,
                 evidence = 'check'",
        "orders_refund_is_commanded",
    ),
    ("INSERT INTO reported_requests VALUES ('A', 1)", "merchant_is_a_name"),
    ("INSERT INTO reported_requests VALUES ('a', -1)", "reported_requests_count_from_zero"),
    ("UPDATE orders SET merchant = 'A'", "merchant_is_a_name"),
    ("INSERT INTO rate_schedule VALUES ('A', now())", "merchant_is_a_name"),
    ("UPDATE orders SET invoice_number = 'a b'", "invoice_is_a_number"),
    ("UPDATE commands SET outcome = 'accepted'", "commands_settled_with_event"),
    ("UPDATE commands SET settled_at = now()", "commands_settled_with_event"),
    ("UPDATE commands SET request_body = NULL", "commands_request_unless_rejected"),
    ("UPDATE commands SET request_body = ''", "commands_request_is_kept_until_settled"),
    ("UPDATE commands SET digest = 'short'", "digest_is_sha256"),
    ("UPDATE commands SET kind = 'gift'", "command_kind_is_known"),
    (
        "INSERT INTO decisions (order_key, at, review_cause, state, reason, checked_doku)
         SELECT order_key, now(), 'check_gave_up', 'expired', 'x', false FROM orders",
        "decisions_state_is_a_verdict",
    ),
    (
        "INSERT INTO decisions (order_key, at, review_cause, state, reason, checked_doku)
         SELECT order_key, now(), 'refund_unresolved', 'paid', 'x', false FROM orders",
        "decisions_that_allow_a_refund_were_checked",
    ),
    (
        "INSERT INTO decisions (order_key, at, review_cause, state, reason, checked_doku)
         SELECT order_key, now(), 'check_gave_up', 'paid', '', false FROM orders",
        "decisions_have_a_reason",
    ),
    ("UPDATE due SET sends_end_at = NULL", "due_send_is_whole"),
    ("UPDATE due SET send_rank = 3", "send_is_ranked"),
    ("UPDATE due SET inquire_rank = 5", "inquiry_is_ranked"),
    ("UPDATE due SET attempt = 'question'", "attempt_kind_is_known"),
    ("UPDATE due SET token = NULL", "due_lease_is_whole"),
    ("UPDATE due SET lease_ends_at = claimed_at", "due_lease_after_claim"),
    (
        "INSERT INTO send_stops VALUES (gen_random_uuid(), 'default', 'pause', now(), '', now())",
        "send_stops_by_is_known",
    ),
    (
        "INSERT INTO attempts VALUES (1, 1, 'send', now(), now(), NULL, 'maybe', NULL, gen_random_uuid())",
        "attempts_send_result_is_known",
    ),
    (
        "INSERT INTO attempts VALUES (1, 1, 'send', now(), now(), NULL, 'lost', NULL, gen_random_uuid())",
        "attempts_lost_without_a_record",
    ),
    (
        "INSERT INTO notifications (merchant, invoice_number, request_id, report_key, applied) VALUES ('a', 'b', 'c', '', true)",
        "notifications_parked_are_not_applied",
    ),
    (
        "INSERT INTO events VALUES (gen_random_uuid(), 1, NULL, 'order.paid', NULL, NULL, '', now())",
        "events_version_with_order",
    ),
    (
        "INSERT INTO events VALUES (gen_random_uuid(), NULL, NULL, 'order.paid', NULL, NULL, '', now())",
        "events_rejections_have_no_order",
    ),
];

#[tokio::test]
async fn rows_that_no_path_can_make_are_refused() {
    on_a_database(|db| async move {
        let _claim = db.claim(payment("1", "INV-1")).await;
        for (sql, constraint) in ILLEGAL.iter().copied() {
            let by = refused_by(&db, sql).await;
            assert!(by.starts_with(constraint), "{sql}: {by}");
        }
        assert_eq!(db.state().await, "submitting");
    })
    .await;
}

#[tokio::test]
async fn an_open_order_always_has_something_due() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let _open = db.claim(payment("2", "INV-2")).await;
        assert_eq!(refused_by(&db, "DELETE FROM due").await, "open_order_has_due");
        let reopened = "UPDATE orders SET state = 'awaiting_payment' WHERE invoice_number = 'INV-1'";
        assert_eq!(refused_by(&db, reopened).await, "open_order_has_due");
        // Whoever ends an order does so before it deletes what the order waited for.
        let ended = "UPDATE orders SET state = 'abandoned', version = 1, evidence = 'response'
                     WHERE invoice_number = 'INV-2'; DELETE FROM due";
        db.execute(ended).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_database_belongs_to_one_environment() {
    on_a_database(|db| async move {
        for _ in 0..2 {
            bind_environment(&db.pool, Environment::Sandbox).await.unwrap();
        }
        let other = bind_environment(&db.pool, Environment::Production).await;
        let Err(StoreError::Refused(why)) = other else { panic!("{other:?}") };
        assert!(why.contains("sandbox") && why.contains("production"), "{why}");
    })
    .await;
}

#[tokio::test]
async fn a_schema_without_its_last_migration_is_not_migrated() {
    on_a_database(|db| async move {
        assert!(is_migrated(&db.pool).await.unwrap());
        assert_eq!(migrate(&db.options).await.unwrap(), 0);
        db.execute(
            "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
        )
        .await
        .unwrap();
        assert!(!is_migrated(&db.pool).await.unwrap());
        db.execute("DROP TABLE _sqlx_migrations").await.unwrap();
        assert!(!is_migrated(&db.pool).await.unwrap());
    })
    .await;
}

/// Thousands of orders that wait, most of them for later, and a full outbox.
async fn fill(db: &Db) {
    db.execute(
        "INSERT INTO commands (source, id, kind, merchant, digest, invoice_number, received_at, request_id,
                               client_id, base_url, request_body, claimed_at, sends_end_at)
         SELECT '/shop', n::text, 'payment', 'default', decode(repeat('00', 32), 'hex'), n::text, now(),
                n::text, 'BRN-1', 'https://doku.example', 'body', now(), now() + interval '1 day'
         FROM generate_series(1, 20000) n;
         WITH opened AS (
             INSERT INTO orders (merchant, invoice_number, amount, state, state_since, payment, created_at)
             SELECT 'default', invoice_number, 1, 'submitting', now(), key, now() FROM commands
             RETURNING order_key, payment)
         INSERT INTO due (order_key, merchant, inquire_rank, inquire_at, send_rank, send_at, sends_end_at)
         SELECT order_key, 'default', 2, now() + interval '1 day 1 minute', 1,
                now() + (payment % 1000 - 20) * interval '1 minute', now() + interval '1 day'
         FROM opened;
         INSERT INTO events (event_id, type, body, created_at)
         SELECT gen_random_uuid(), 'command.rejected', '{}', now() FROM generate_series(1, 20000);
         INSERT INTO outbox (event_id) SELECT event_id FROM events;
         ANALYZE",
    )
    .await
    .unwrap();
}

async fn explain(db: &Db, sql: &str, arguments: &str) -> String {
    let types = sql.contains("$6").then_some("(text[], text[], text[], bigint[], bigint[], bigint)");
    let mut connection = db.sql.acquire().await.unwrap();
    execute(&mut connection, &format!("PREPARE hot{} AS {sql}", types.unwrap_or("(bigint, bigint[])")))
        .await
        .unwrap();
    let lines: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "EXPLAIN (ANALYZE, TIMING OFF) EXECUTE hot({arguments})"
    )))
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    lines.join("\n")
}

#[tokio::test]
async fn the_hot_reads_walk_an_index_and_touch_what_they_return() {
    on_a_database(|db| async move {
        fill(&db).await;
        let accounts = "'{default}', '{BRN-1}', '{https://doku.example}', '{100}', '{100}', 100";
        let due = explain(&db, due::LIST, accounts).await;
        assert!(due.contains("Index Scan using due_sends on due"), "{due}");
        assert!(!due.contains("Seq Scan on"), "{due}");
        let outbox = explain(&db, outbox::UNPUBLISHED, "100, '{}', '{}'").await;
        assert!(outbox.contains("Index Scan using outbox_pkey on outbox"), "{outbox}");
        assert!(!outbox.contains("Seq Scan on"), "{outbox}");
        // A table of what was confirmed, made once.
        assert!(outbox.contains("NOT (hashed SubPlan"), "{outbox}");
    })
    .await;
}

/// The way of an index on a table that may be big: built beside the work, and anew where it was not built to its end.
#[tokio::test]
async fn a_migration_without_a_transaction_builds_what_an_earlier_try_left_half_done() {
    on_a_database(|db| async move {
        let folder = std::env::temp_dir().join(format!("migrations-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("1_table.sql", "CREATE TABLE big (n int); INSERT INTO big SELECT generate_series(1, 9);");
        write("2_index.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS big_n ON big (n)");
        let migrations = sqlx::migrate::Migrator::new(folder.as_path()).await.unwrap();
        db.execute("CREATE SCHEMA own").await.unwrap();
        let options = db.options.clone().options([("search_path", "own")]);
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        // A unique index over what is not unique stays behind, and is not valid.
        execute(&mut connection, "CREATE TABLE big (n int); INSERT INTO big VALUES (1), (1)").await.unwrap();
        let half = "CREATE UNIQUE INDEX CONCURRENTLY big_n ON big (n)";
        execute(&mut connection, half).await.unwrap_err();
        execute(&mut connection, "ALTER TABLE big RENAME TO big_before").await.unwrap();
        run(&migrations, &mut connection).await.unwrap();
        run(&migrations, &mut connection).await.unwrap();
        let valid = "SELECT count(*) FROM pg_index WHERE indexrelid = 'own.big_n'::regclass AND indisvalid
                     AND indrelid = 'own.big'::regclass";
        assert_eq!(db.number(valid).await, 1);
        std::fs::remove_dir_all(&folder).unwrap();
    })
    .await;
}

/// A process asks for its rights before it takes anything: a table that is left out here would be met by a delivery.
#[tokio::test]
async fn every_table_has_its_row_of_rights() {
    on_a_database(|db| async move {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1",
        )
        .fetch_all(&db.sql)
        .await
        .unwrap();
        // Of the sequences only those that a claim draws from itself need a right.
        let tables_of = RIGHTS.iter().filter(|(_, rights)| !rights.contains(&"N"));
        let mut known: Vec<String> = tables_of.map(|(table, _)| (*table).to_owned()).collect();
        known.sort();
        assert_eq!(
            tables, known,
            "postgres::RIGHTS, deploy/postgres/grants.sql and RUNBOOK name every table"
        );
    })
    .await;
}

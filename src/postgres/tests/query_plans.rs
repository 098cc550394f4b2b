//! Plans: whatever the server believes of its tables, what a payment, a refund and a notification need is found by
//! an index, with what is looked for in its condition.

use super::*;
use crate::{
    flow::ports::{Outbox, RelayLeadership},
    postgres::PostgresLeadership,
};

/// Everything that is asked while work goes on, so that the server has its statements.
async fn work(store: &PostgresStore, db: &Db) {
    let claim = db_claim(store, payment("1", "INV-1")).await;
    store.apply_parked(&claim).await.unwrap();
    store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
    super::evidence::notify(store, "INV-1", "SUCCESS", 50_000).await;
    let claim = db_claim(store, refund("2", "INV-1")).await;
    store.record(&claim, &in_doubt(), Duration::ZERO).await.unwrap();
    db.jump(120).await;
    let claim = taken(store).await;
    store.record(&claim, &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
    store.reconcile(&merchant(), &super::evidence::notification("INV-9", "SUCCESS", 1)).await.unwrap();
    let _waited = super::records::first_send(store, payment("9", "INV-9")).await;
    store.sweep_parked().await.unwrap();
    store.report_stops(uuid::Uuid::nil(), &[]).await.unwrap();
    store.next_due_in(&filter()).await.unwrap();
    let _known = store.claim(payment("1", "INV-1")).await.unwrap();
    let _rejected = store.claim(payment("3", "INV-1")).await.unwrap();
}

async fn db_claim(store: &PostgresStore, new: NewCommand) -> Claim {
    match store.claim(new).await.unwrap() {
        Claimed::Granted(claim) => *claim,
        other => panic!("not ours: {other:?}"),
    }
}

/// Scans of a whole table or index, in the plan of every statement that this connection has made.
pub(super) async fn whole_scans(connection: &mut PgConnection) -> Vec<String> {
    let statements: Vec<(String, String, i32)> = sqlx::query_as(
        "SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements
         WHERE statement ~ '(orders|commands|due|events|outbox|publications|attempts|notifications|settlement_)'",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    assert!(statements.len() > 1, "{} statements", statements.len());
    execute(connection, "SET plan_cache_mode = force_generic_plan").await.unwrap();
    let mut found = Vec::new();
    for (name, statement, parameters) in statements {
        let nulls = vec!["NULL"; usize::try_from(parameters).unwrap()].join(", ");
        let arguments = if parameters == 0 { String::new() } else { format!("({nulls})") };
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE {name}{arguments}");
        let plan: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
        for (line, next) in plan.iter().zip(plan.iter().skip(1).chain([&String::new()])) {
            let reads = ["Index Scan", "Index Only Scan", "Seq Scan on", "Bitmap Index Scan"];
            let function = line.contains("Function Scan") || line.contains("CTE Scan");
            if !function && reads.iter().any(|r| line.contains(r)) && !next.contains("Index Cond") {
                found.push(format!(
                    "{}: {}",
                    line.trim(),
                    statement.split_whitespace().collect::<Vec<_>>().join(" ")
                ));
            }
        }
    }
    found
}

/// The worst moment to count: nothing is due, nothing waits in the outbox, nothing is parked.
#[tokio::test]
async fn what_was_counted_while_nothing_was_open_makes_nobody_read_all_that_is_open_now() {
    on_a_database(|db| async move {
        db.execute("VACUUM (ANALYZE)").await.unwrap();
        let one = pool(db.options.clone(), 1);
        let store = PostgresStore::with_jitter(one.clone(), schedule(), Arc::new(|| 0.5));
        work(&store, &db).await;
        let whole = whole_scans(&mut one.acquire().await.unwrap()).await;
        assert!(whole.is_empty(), "{whole:#?}");
        one.close().await;
    })
    .await;
}

/// Every few seconds all that is open is counted, and never what is done: orders and commands are found one by one.
#[tokio::test]
async fn what_is_looked_at_every_few_seconds_reads_no_order_that_is_done() {
    on_a_database(|db| async move {
        db.execute("VACUUM (ANALYZE)").await.unwrap();
        let one = pool(db.options.clone(), 1);
        let store = PostgresStore::with_jitter(one.clone(), schedule(), Arc::new(|| 0.5));
        store.look_for_stranded(&[]).await.unwrap();
        store.gauges(CountingPace::AtOnce).await.unwrap();
        store.reviews().await.unwrap();
        store.balance().await.unwrap();
        store.never_matched().await.unwrap();
        let mut whole = whole_scans(&mut one.acquire().await.unwrap()).await;
        // Tables that hold only what is open, and indexes of a part of others.
        let open = [" due", " outbox", " balance", "notifications_parked", "events_that_ask_for_a_person"];
        whole.retain(|scan| {
            let of = scan.split(':').next().unwrap_or_default();
            !open.iter().any(|open| of.contains(open))
        });
        assert!(whole.is_empty(), "{whole:#?}");
        one.close().await;
    })
    .await;
}

/// The relay reads its outbox from the start, and stops after so many.
#[tokio::test]
async fn the_relay_reads_nothing_whole_but_the_outbox_up_to_its_limit() {
    on_a_database(|db| async move {
        db.execute("VACUUM (ANALYZE)").await.unwrap();
        db.paid_order("INV-1").await;
        let mut outbox = PostgresLeadership::new(db.pool.clone()).acquire().await.unwrap().unwrap();
        let all = outbox.unpublished(1000, &LeftOut::default()).await.unwrap();
        outbox.mark_published(&all.iter().map(|event| event.sequence).collect::<Vec<_>>()).await.unwrap();
        let whole = whole_scans(outbox.connection()).await;
        assert_eq!(whole.len(), 1, "{whole:#?}");
        assert!(whole[0].starts_with("->  Index Scan using outbox_pkey on outbox o: SELECT"), "{whole:#?}");
    })
    .await;
}

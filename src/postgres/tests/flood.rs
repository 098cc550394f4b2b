//! Parked rows by the million, beside as many orders: only where `JENIUS_TEST_LARGE` says how many, since it takes
//! minutes and some gigabytes (`./deploy/local/test --large`).

use super::*;
use std::time::Instant;

const ORDERS: &str = "
    SET session_replication_role = replica;
    INSERT INTO orders (merchant, invoice_number, amount, state, state_since, version, announced_paid, evidence, payment,
                        created_at)
    SELECT 'default', 'INV-' || n, 50000, 'paid', now(), 1, true, 'check', 1, now() FROM generate_series(1, $N) n;
    RESET session_replication_role";
/// Half of them are older than a week.
const PARKED: &str = "
    INSERT INTO notifications (merchant, invoice_number, request_id, status, amount, report_key, received_at)
    SELECT 'default', 'VA-' || n, 'R', 'SUCCESS', '1', 'SUCCESS', now() - interval '8 days' * (n % 2)
    FROM generate_series(1, $N) n";
/// A round is made once a minute.
const ROUND_MAX: Duration = Duration::from_secs(45);
/// A round drops a million rows at most.
const DROPPED_A_ROUND: i64 = 1_000_000;
const GAUGES_MAX: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_parked_rows_is_kept_up_with() {
    let Ok(rows) = std::env::var("JENIUS_TEST_LARGE") else { return };
    let rows: i64 = rows.parse().expect("JENIUS_TEST_LARGE is how many rows");
    on_a_database(|db| async move {
        let slow = pool(db.options.clone().options([("statement_timeout", "0")]), 1);
        for sql in [ORDERS, PARKED, "VACUUM (ANALYZE)"] {
            let began = Instant::now();
            execute(&mut slow.acquire().await.unwrap(), &sql.replace("$N", &rows.to_string())).await.unwrap();
            eprintln!("{rows} rows: {:?} for {}", began.elapsed(), sql.split_whitespace().last().unwrap());
        }
        slow.close().await;
        // On one connection, which knows every statement that it was asked.
        let one = pool(db.options.clone(), 1);
        let store = PostgresStore::with_jitter(one.clone(), schedule(), Arc::new(|| 0.5));
        let parked = "SELECT count(*) FROM notifications WHERE order_key IS NULL";
        for round in 0..=rows / 2 / DROPPED_A_ROUND {
            let began = Instant::now();
            store.sweep_parked().await.unwrap();
            let (took, left) = (began.elapsed(), db.number(parked).await);
            eprintln!("round {round}: {took:?}, {left} left");
            assert!(took < ROUND_MAX, "round {round} took {took:?}");
        }
        assert_eq!(db.number(parked).await, rows - rows / 2);
        let whole = super::query_plans::whole_scans(&mut one.acquire().await.unwrap()).await;
        assert!(whole.is_empty(), "{whole:#?}");
        let began = Instant::now();
        let gauges = store.gauges(CountingPace::AtOnce).await.unwrap();
        let (took, counted) = (began.elapsed(), gauges.parked_notifications);
        eprintln!("gauges: {took:?}, {counted} parked");
        assert!(took < GAUGES_MAX && counted >= (rows / 2).min(10_000), "{took:?} {gauges:?}");
        one.close().await;
    })
    .await;
}

//! Parked rows by the million, beside millions of orders: only where `JENIUS_TEST_LARGE` is set, since it takes minutes
//! and some gigabytes.

use super::*;
use std::time::Instant;

const ORDERS: &str = "
    SET session_replication_role = replica;
    INSERT INTO orders (merchant, invoice_number, amount, state, state_since, version, announced_paid, evidence, payment,
                        created_at)
    SELECT 'default', 'INV-' || n, 50000, 'paid', now(), 1, true, 'check', 1, now() FROM generate_series(1, 2200000) n;
    RESET session_replication_role";
/// Half of them are older than a week.
const PARKED: &str = "
    INSERT INTO notifications (merchant, invoice_number, request_id, status, amount, said, received_at)
    SELECT 'default', 'VA-' || n, 'R', 'SUCCESS', '1', 'SUCCESS', now() - interval '8 days' * (n % 2)
    FROM generate_series(1, 2400000) n";
/// A round is made once a minute.
const ROUND_MAX: Duration = Duration::from_secs(45);
const GAUGES_MAX: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_parked_rows_is_kept_up_with() {
    if std::env::var_os("JENIUS_TEST_LARGE").is_none() {
        return;
    }
    on_a_database(|db| async move {
        let slow = pool(db.options.clone().options([("statement_timeout", "0")]), 1);
        for sql in [ORDERS, PARKED] {
            execute(&mut slow.acquire().await.unwrap(), sql).await.unwrap();
        }
        slow.close().await;
        let parked = "SELECT count(*) FROM notifications WHERE order_key IS NULL";
        for round in 0..3 {
            let began = Instant::now();
            db.store.tend_parked().await.unwrap();
            let (took, left) = (began.elapsed(), db.number(parked).await);
            eprintln!("round {round}: {took:?}, {left} left");
            assert!(took < ROUND_MAX, "round {round} took {took:?}");
        }
        assert_eq!(db.number(parked).await, 1_200_000);
        let began = Instant::now();
        let gauges = db.store.gauges().await.unwrap();
        assert!(began.elapsed() < GAUGES_MAX && gauges.parked_notifications >= 10_000, "{gauges:?}");
    })
    .await;
}

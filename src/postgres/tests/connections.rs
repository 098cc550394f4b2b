//! Connections that the server has ended meanwhile.

use super::*;
use tokio::time::sleep;

#[tokio::test]
async fn a_connection_that_was_idle_is_tried_before_its_use() {
    on_a_database(|db| async move {
        let one = pool(db.options.clone(), 1);
        let store = PostgresStore::new(one.clone(), schedule(), Arc::new(|| 0.5));
        let mut connection = one.acquire().await.unwrap();
        let asked = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection);
        let process: i32 = asked.await.unwrap();
        connection.release();
        db.execute(&format!("SELECT pg_terminate_backend({process})")).await.unwrap();
        sleep(Duration::from_millis(1100)).await;
        store.gauges(CountingPace::AtOnce).await.unwrap();
        one.close().await;
    })
    .await;
}

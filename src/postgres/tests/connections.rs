//! Connections that the server has ended meanwhile.

use super::*;
use crate::{
    flow::ports::StoreError,
    postgres::{pool::Pooled, tx::end_statement},
};
use tokio::time::sleep;

#[tokio::test]
async fn what_one_pool_finds_out_about_the_server_another_beside_it_knows() {
    on_a_database(|db| async move {
        let one = pool(db.options.clone(), 1);
        let beside = one.separate_pool(db.options.clone(), 1);
        let process = async |connection: &mut Pooled| {
            let asked = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut **connection);
            asked.await.unwrap()
        };
        let mut connection = beside.acquire().await.unwrap();
        let before: i32 = process(&mut connection).await;
        connection.release();
        let mut held = beside.acquire().await.unwrap();
        assert_eq!(process(&mut held).await, before);
        // As it does when it finds another primary.
        one.renew();
        let answer = sqlx::query("SELECT 1").execute(&mut *held).await;
        assert!(matches!(end_statement(held, Ok(answer)), Err(StoreError::Away(_))));
        let mut connection = beside.acquire().await.unwrap();
        assert_ne!(process(&mut connection).await, before);
        connection.release();
        one.close().await;
        beside.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_was_idle_is_tried_before_its_use() {
    on_a_database(|db| async move {
        let one = pool(db.options.clone(), 1);
        let store = PostgresStore::with_jitter(one.clone(), schedule(), Arc::new(|| 0.5));
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

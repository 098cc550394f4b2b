//! The schedule of the rate limit, under many takers.

use super::*;
use crate::flow::ports::RateLimitStore;
use std::time::Instant;

fn shop(name: &str) -> MerchantName {
    MerchantName::parse(name).unwrap()
}

#[tokio::test]
async fn blocks_follow_each_other_and_are_nobody_elses() {
    on_a_database(async |db| {
        let (own, other) = (shop("default"), shop("other"));
        let take =
            async |merchant: &MerchantName, tokens| db.store.take_block(merchant, tokens, 100).await.unwrap();
        let asked = Instant::now();
        assert_eq!(take(&own, 30).await, Some(Duration::ZERO), "nobody had it");
        let second = take(&own, 10).await.unwrap();
        let third = take(&own, 60).await.unwrap();
        let passed = asked.elapsed();
        assert!(
            second <= Duration::from_millis(300) && second + passed >= Duration::from_millis(300),
            "{second:?}"
        );
        assert!(
            third <= Duration::from_millis(400) && third + passed >= Duration::from_millis(400),
            "{third:?}"
        );
        assert_eq!(take(&other, 10).await, Some(Duration::ZERO), "each merchant has its own");
        // Further ahead than anybody waits nothing is given, and nothing is lost by asking.
        assert!(take(&own, 50).await.is_some());
        let mut given = None;
        while asked.elapsed() < Duration::from_secs(5) && given.is_none() {
            given = take(&own, 10).await;
        }
        assert!(asked.elapsed() >= Duration::from_millis(500), "{:?}", asked.elapsed());
        assert!(given.unwrap() <= Duration::from_secs(1));
    })
    .await;
}

#[tokio::test]
async fn takers_at_the_same_time_share_one_schedule() {
    on_a_database(async |db| {
        let merchant = shop("default");
        let started = Instant::now();
        let takers = (0..8).map(|_| async {
            let mut starts = Vec::new();
            for _ in 0..10 {
                if let Some(starts_in) = db.store.take_block(&merchant, 10, 1_000).await.unwrap() {
                    starts.push(started.elapsed() + starts_in);
                }
            }
            starts
        });
        let mut starts: Vec<Duration> = futures_util::future::join_all(takers).await.concat();
        starts.sort();
        // What this machine measures of a moment of the database's is late by a round trip.
        let late = started.elapsed() / 20 + Duration::from_millis(50);
        for (nth, at) in starts.iter().enumerate() {
            let earliest = Duration::from_millis(10) * u32::try_from(nth).unwrap();
            assert!(*at + late >= earliest, "{at:?}, the {nth}th");
        }
        let given_until: f64 = sqlx::query_scalar(
            "SELECT extract(epoch FROM given_until - jenius_now())::float8 FROM rate_schedule",
        )
        .fetch_one(&db.sql)
        .await
        .unwrap();
        assert!(given_until <= 1.01, "{given_until}");
    })
    .await;
}

#[tokio::test]
async fn time_that_nobody_took_is_not_saved_up_and_a_clock_that_went_back_blocks_nobody() {
    on_a_database(async |db| {
        let merchant = shop("default");
        for given_until in ["- interval '1 hour'", "+ interval '1 hour'"] {
            let sql = format!(
                "INSERT INTO rate_schedule VALUES ('default', jenius_now() {given_until})
                 ON CONFLICT (merchant) DO UPDATE SET given_until = EXCLUDED.given_until"
            );
            db.execute(&sql).await.unwrap();
            let first = db.store.take_block(&merchant, 5, 10).await.unwrap();
            let second = db.store.take_block(&merchant, 5, 10).await.unwrap().unwrap();
            assert_eq!(first, Some(Duration::ZERO), "{given_until}");
            assert!(second > Duration::from_millis(100), "{given_until}: {second:?}");
        }
    })
    .await;
}

/// A block of tokens waits for no disk. What a crash empties must be of no worth to anybody but the limit.
#[tokio::test]
async fn a_crash_empties_the_schedule_and_no_other_table() {
    on_a_database(async |db| {
        let unlogged =
            "SELECT string_agg(relname, ', ') FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'";
        assert_eq!(db.text(unlogged).await, "rate_schedule");
    })
    .await;
}

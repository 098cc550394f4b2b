//! Who gives way to whom, and when.

use super::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn places(connections: usize, unverified_bytes: usize) -> Arc<ConnectionPlaces> {
    ConnectionPlaces::new(ServerLimits {
        connections,
        unverified_bytes,
        body_bytes: 0,
        request: 10 * SECOND,
        answer: 5 * SECOND,
        idle: 75 * SECOND,
        upload: None,
    })
}

fn closed(all: &[Arc<ConnectionPlace>]) -> Vec<usize> {
    (0..all.len()).filter(|n| all[*n].end.is_cancelled()).collect()
}

#[tokio::test]
async fn the_longest_idle_one_gives_way_before_any_request_and_then_the_oldest_request() {
    let places = places(3, 100);
    let mut all = vec![places.enter().await, places.enter().await, places.enter().await];
    all[1].received(1);
    all[0].received(1);
    all.push(places.enter().await);
    assert_eq!(closed(&all), [2], "the one that says nothing");
    all[3].received(1);
    all.push(places.enter().await);
    assert_eq!(closed(&all), [1, 2], "the request that began first");
    all[0].finished();
    all[4].received(1);
    all.push(places.enter().await);
    assert_eq!(closed(&all), [1, 2, 3], "what is being answered stays");
    all[0].answered();
    all[5].received(1);
    all.push(places.enter().await);
    assert_eq!(closed(&all), [0, 1, 2, 3], "answered, it is idle");
}

#[tokio::test]
async fn at_the_bound_of_bytes_the_oldest_unfinished_request_gives_way_and_its_bytes_are_free() {
    let places = places(10, 100);
    let all = [places.enter().await, places.enter().await, places.enter().await, places.enter().await];
    all[0].received(60);
    all[0].finished();
    all[1].received(40);
    all[2].received(60);
    assert_eq!(closed(&all), [] as [usize; 0], "a finished one holds nothing unverified");
    all[3].received(1);
    assert_eq!(closed(&all), [1]);
    all[3].received(39);
    assert_eq!((closed(&all), places.table.lock().bytes), (vec![1], 100));
    drop(all);
    let table = places.table.lock();
    assert_eq!((table.bytes, table.connections.len()), (0, 0));
}

#[tokio::test]
async fn only_where_all_are_being_answered_a_new_one_waits() {
    let places = places(1, 100);
    let first = places.enter().await;
    first.received(1);
    first.finished();
    let second = tokio::spawn({
        let places = Arc::clone(&places);
        async move { places.enter().await }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished() && !first.end.is_cancelled());
    first.answered();
    let second = tokio::time::timeout(10 * SECOND, second).await.unwrap().unwrap();
    assert!(first.end.is_cancelled() && !second.end.is_cancelled());
}

/// When a connection is given up, after it came in.
async fn lives(places: &Arc<ConnectionPlaces>, story: impl AsyncFnOnce(&ConnectionPlace)) -> Duration {
    let start = Instant::now();
    let place = places.enter().await;
    let told = async {
        story(&place).await;
        std::future::pending().await
    };
    tokio::select! { () = place.given_up() => {}, () = told => {} }
    start.elapsed()
}

#[tokio::test]
async fn a_silent_one_has_the_time_of_a_request_and_an_idle_one_more() {
    const MS: Duration = Duration::from_millis(1);
    let (request, answer, idle) = (400 * MS, 300 * MS, 4 * SECOND);
    let limits = ServerLimits { request, answer, idle, ..places(10, 100).limits };
    let places = ConnectionPlaces::new(limits);
    let silent = lives(&places, async |_| {});
    let dripping = lives(&places, async |place| {
        loop {
            place.received(1);
            tokio::time::sleep(100 * MS).await;
        }
    });
    let reading = lives(&places, async |place| {
        place.received(1);
        assert!(place.body_until() <= Instant::now() + request);
    });
    let waiting = lives(&places, async |place| {
        place.received(1);
        place.finished();
        place.answered();
    });
    let again = lives(&places, async |place| {
        place.received(1);
        place.finished();
        place.answered();
        tokio::time::sleep(100 * MS).await;
        place.received(1);
    });
    let (silent, dripping, reading, waiting, again) = tokio::join!(silent, dripping, reading, waiting, again);
    assert!((request..idle).contains(&silent), "{silent:?}");
    assert!((request..idle).contains(&dripping), "a byte now and then buys no time: {dripping:?}");
    assert!((request + answer..idle).contains(&reading), "there is time to tell it why: {reading:?}");
    assert!(waiting >= idle, "{waiting:?}");
    assert!((request + 100 * MS..idle).contains(&again), "a request has its own time: {again:?}");
}

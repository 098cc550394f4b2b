//! The rate limit over replicas: two services share one account at DOKU, whose ledger says when each request
//! came.

use crate::harness::{World, child::Service, eventually_or, payment};
use chrono::{DateTime, TimeDelta, Utc};

const PER_SECOND: usize = 40;
const COMMANDS: usize = 110;
/// Tokens that were not spent at their moment live for a fifth of a second; two more for the ends of a window,
/// and for two clocks that were read a round trip apart.
const BURST: usize = PER_SECOND / 5 + 2;
/// A machine that is busy with other tests lets tokens expire: it gets more rounds to show a second at full speed.
const ROUNDS_MAX: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_keep_one_rate_limit_and_use_it_up() {
    let setting = World::with().without_service().set("DOKU__REQUESTS_PER_SECOND", PER_SECOND);
    let world = setting.set("CHECK__FIRST_AFTER_MS", 3_600_000).build().await;
    let services = [Service::start(&world).await, Service::start(&world).await];
    let mut fullest = 0;
    for round in 1..=ROUNDS_MAX {
        for _ in 0..COMMANDS {
            world.publish(&payment(&world.invoice())).await;
        }
        let sent = || world.sandbox.ledger().charges.len();
        let all = async || (sent() >= round * COMMANDS).then_some(());
        eventually_or(|| format!("{} of {} payments", sent(), round * COMMANDS), all).await;
        let at: Vec<_> = world.sandbox.ledger().requests.iter().map(|request| request.at).collect();
        fullest = fullest_second(at);
        println!("round {round}: {fullest} in the fullest second");
        assert!(fullest <= PER_SECOND + BURST, "{fullest} in a second");
        if fullest * 10 >= PER_SECOND * 9 {
            break;
        }
    }
    assert!(fullest * 10 >= PER_SECOND * 9, "{fullest} in the fullest second: the limit is not used up");
    drop(services);
    world.end().await;
}

fn fullest_second(mut at: Vec<DateTime<Utc>>) -> usize {
    at.sort();
    let in_a_second = |from: usize| {
        at[from..].iter().take_while(|later| **later - at[from] < TimeDelta::seconds(1)).count()
    };
    (0..at.len()).map(in_a_second).max().unwrap_or(0)
}

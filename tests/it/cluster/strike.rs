//! What strikes a cluster, and how it is mended.

use super::{ground::Ground, load::Load};
use crate::{
    all_at_once::{fleet::Fleet, verdict::History},
    harness::servers::Server,
};
use doku_sandbox::Faults;
use sqlx::{Connection, Executor, PgConnection};
use std::{net::SocketAddr, time::Duration};
use tokio::time::sleep;

/// A broker's node stays away for so long.
const AWAY: Duration = Duration::from_secs(10);
/// Longer than it takes to give up a node that says nothing: whoever waits for it to wake up is noticed.
const FROZEN: Duration = Duration::from_secs(40);
const MAJORITY_LOST: Duration = Duration::from_secs(15);
/// The way to the database still leads to the old primary for so long.
const LATE: Duration = Duration::from_secs(3);
/// The old primary and the new one are both found for so long.
const BOTH_FOUND: Duration = Duration::from_secs(30);
/// PostgreSQL logs 32 keys of a sequence ahead: more of them are used meanwhile, so that they are given out again.
const LOST_TAIL: Duration = Duration::from_secs(4);
/// What is claimed then waits for its answer, which comes when the claim is gone.
const ANSWERS_TAKE_MS: u64 = 1500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    BrokerKilled,
    BrokersRestarted,
    BrokerFrozen,
    BrokerLeaderFrozen,
    BrokersMajorityLost,
    PrimaryKilled,
    PrimarySwitched,
    PrimaryReadOnly,
    TailLost,
}

impl Strike {
    pub const ALL: [Self; 9] = [
        Self::BrokerKilled,
        Self::BrokersRestarted,
        Self::BrokerFrozen,
        Self::BrokerLeaderFrozen,
        Self::BrokersMajorityLost,
        Self::PrimaryKilled,
        Self::PrimarySwitched,
        Self::PrimaryReadOnly,
        Self::TailLost,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::BrokerKilled => "the broker's node with the leaders killed (-9), back after 10 s",
            Self::BrokersRestarted => "all three nodes of the broker restarted, one after the other",
            Self::BrokerFrozen => "a node of the broker that leads no queue frozen for 40 s (SIGSTOP)",
            Self::BrokerLeaderFrozen => "the broker's node with the leaders frozen for 40 s (SIGSTOP)",
            Self::BrokersMajorityLost => "two nodes of the broker killed (-9), back after 15 s",
            Self::PrimaryKilled => "the primary killed (-9), its synchronous standby promoted",
            Self::PrimarySwitched => "a planned switch-over; the way leads to the old primary for 3 s more",
            Self::PrimaryReadOnly => "the standby promoted; the old primary found too, read-only, for 30 s",
            Self::TailLost => "the primary killed (-9), an asynchronous standby promoted that lost 4 s",
        }
    }

    pub fn history(self) -> History {
        if self == Self::TailLost { History::LostItsEnd } else { History::Kept }
    }

    /// Events flow again in this time, though nothing is mended yet.
    pub fn silence_max(self) -> Option<Duration> {
        match self {
            Self::BrokerFrozen => Some(FROZEN * 3 / 4),
            Self::PrimaryReadOnly => Some(BOTH_FOUND / 2),
            // Where leaders are lost it is up to the broker when it has new ones.
            Self::BrokerKilled
            | Self::BrokersRestarted
            | Self::BrokerLeaderFrozen
            | Self::BrokersMajorityLost
            | Self::PrimaryKilled
            | Self::PrimarySwitched
            | Self::TailLost => None,
        }
    }

    /// Strikes, lasts, and is mended.
    pub async fn play(self, ground: &mut Ground, fleet: &Fleet, load: &Load) {
        match self {
            Self::BrokerKilled => {
                let leader = ground.leader(&fleet.world.broker.prefix).await;
                ground.brokers[leader].kill();
                sleep(AWAY).await;
                ground.brokers[leader].restart().await;
            }
            Self::BrokersRestarted => {
                for broker in &mut ground.brokers {
                    broker.halt().await;
                    broker.restart().await;
                }
            }
            Self::BrokerFrozen => {
                let node = ground.without_leaders(&fleet.world.broker.prefix).await;
                freeze(&ground.brokers[node]).await;
            }
            Self::BrokerLeaderFrozen => {
                let leader = ground.leader(&fleet.world.broker.prefix).await;
                freeze(&ground.brokers[leader]).await;
            }
            Self::BrokersMajorityLost => {
                let [_, second, third] = &mut ground.brokers;
                second.kill();
                third.kill();
                sleep(MAJORITY_LOST).await;
                tokio::join!(second.restart(), third.restart());
            }
            Self::PrimaryKilled => {
                ground.primary.kill();
                fail_over(ground, fleet).await;
                complete(ground).await;
            }
            Self::PrimarySwitched => switch_over(ground, fleet).await,
            Self::PrimaryReadOnly => both_found(ground, fleet).await,
            Self::TailLost => lose_the_tail(ground, fleet, load).await,
        }
    }
}

async fn freeze(node: &Server) {
    node.freeze().await;
    sleep(FROZEN).await;
    node.thaw().await;
}

/// The ways of both instances lead to these. What is open stays where it is.
fn lead(fleet: &Fleet, to: &[SocketAddr]) {
    for instance in &fleet.instances {
        instance.to_postgres.lead_to(to);
    }
}

async fn fail_over(ground: &mut Ground, fleet: &Fleet) {
    ground.fail_over().await;
    lead(fleet, &[ground.primary.address()]);
}

/// A primary and its synchronous standby again.
async fn complete(ground: &mut Ground) {
    ground.rejoin().await;
    ground.primary.synchronous(true).await;
}

/// Nobody cuts the connections that were made to the old primary while it was already a standby.
async fn switch_over(ground: &mut Ground, fleet: &Fleet) {
    ground.primary.halt().await;
    ground.fail_over().await;
    ground.rejoin().await;
    sleep(LATE).await;
    lead(fleet, &[ground.primary.address()]);
    ground.primary.synchronous(true).await;
}

/// As with a name that leads to both for a while.
async fn both_found(ground: &mut Ground, fleet: &Fleet) {
    operate(&ground.primary.url, "ALTER SYSTEM SET default_transaction_read_only = on").await;
    operate(&ground.primary.url, "SELECT pg_reload_conf()").await;
    ground.fail_over().await;
    lead(fleet, &[ground.standby.address(), ground.primary.address()]);
    sleep(BOTH_FOUND).await;
    lead(fleet, &[ground.primary.address()]);
    complete(ground).await;
}

async fn lose_the_tail(ground: &mut Ground, fleet: &Fleet, load: &Load) {
    ground.primary.synchronous(false).await;
    let slow = Faults { latency_ms: ANSWERS_TAKE_MS, ..Faults::default() };
    fleet.world.sandbox.set_faults(slow).unwrap();
    // From here on it hears nothing.
    operate(&ground.standby.url, "ALTER SYSTEM SET primary_conninfo = ''").await;
    operate(&ground.standby.url, "SELECT pg_reload_conf()").await;
    load.hurry(true);
    sleep(LOST_TAIL).await;
    ground.primary.kill();
    fail_over(ground, fleet).await;
    sleep(LOST_TAIL).await;
    load.hurry(false);
    fleet.world.sandbox.set_faults(Faults::default()).unwrap();
    complete(ground).await;
}

async fn operate(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(sql).await.unwrap();
}

//! What strikes: drawn from a deck, so that everything strikes once before anything strikes twice. The seed
//! decides the order, the victim and how long it lasts.

use super::fleet::Fleet;
use crate::harness::{proxy::Mode, servers::Server};
use doku_sandbox::Faults;
use std::time::Duration;
use tokio::time::sleep;

/// What both instances share, to kill.
pub struct Servers {
    pub rabbit: Server,
    pub postgres: Server,
}

impl Servers {
    pub async fn start() -> Self {
        let (rabbit, postgres) = tokio::join!(Server::start("rabbitmq"), Server::start("postgres"));
        Self { rabbit, postgres }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strike {
    InstanceKilled,
    InstanceFrozen,
    InstanceRestarted,
    BrokerStopped,
    BrokerKilled,
    BrokerReset,
    BrokerBlackHole,
    BrokerMemoryAlarm,
    PostgresStopped,
    PostgresReset,
    PostgresBlackHole,
    DokuDown,
    DokuSlow,
    DokuRefuses,
}

impl Strike {
    const ALL: [Self; 14] = [
        Self::InstanceKilled,
        Self::InstanceFrozen,
        Self::InstanceRestarted,
        Self::BrokerStopped,
        Self::BrokerKilled,
        Self::BrokerReset,
        Self::BrokerBlackHole,
        Self::BrokerMemoryAlarm,
        Self::PostgresStopped,
        Self::PostgresReset,
        Self::PostgresBlackHole,
        Self::DokuDown,
        Self::DokuSlow,
        Self::DokuRefuses,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::InstanceKilled => "instance killed (-9)",
            Self::InstanceFrozen => "instance frozen (SIGSTOP)",
            Self::InstanceRestarted => "instance restarted (SIGTERM)",
            Self::BrokerStopped => "RabbitMQ stopped",
            Self::BrokerKilled => "RabbitMQ killed (-9)",
            Self::BrokerReset => "RabbitMQ: connections reset",
            Self::BrokerBlackHole => "RabbitMQ half-open",
            Self::BrokerMemoryAlarm => "RabbitMQ: memory alarm",
            Self::PostgresStopped => "Postgres stopped in immediate mode",
            Self::PostgresReset => "Postgres: connections reset",
            Self::PostgresBlackHole => "Postgres half-open",
            Self::DokuDown => "DOKU down",
            Self::DokuSlow => "DOKU slower than the timeout",
            Self::DokuRefuses => "DOKU refuses every signature",
        }
    }

    /// Strikes one of the two where it strikes instances, lasts, and is mended.
    pub async fn play(self, fleet: &mut Fleet, servers: &mut Servers, which: usize, lasts: Duration) {
        match self {
            Self::InstanceKilled => {
                fleet.take(which).kill();
                sleep(lasts).await;
                fleet.begin(which);
            }
            Self::InstanceFrozen => {
                fleet.service(which).signal("-STOP");
                // Longer than a lease would be a story of its own; this one ends within it or not.
                sleep(lasts * 2).await;
                fleet.service(which).signal("-CONT");
            }
            Self::InstanceRestarted => {
                let mut leaving = fleet.take(which);
                leaving.signal("-TERM");
                let status = leaving.ended(Duration::from_secs(40)).await;
                assert_eq!(status.code(), Some(0), "{}", leaving.log());
                drop(leaving);
                fleet.begin(which);
            }
            Self::BrokerStopped => {
                servers.rabbit.halt().await;
                sleep(lasts).await;
                servers.rabbit.restart().await;
            }
            Self::BrokerKilled => {
                servers.rabbit.kill();
                sleep(lasts).await;
                servers.rabbit.restart().await;
            }
            Self::BrokerReset => fleet.instances[which].to_broker.reset(),
            Self::BrokerBlackHole => {
                fleet.instances[which].to_broker.set(Mode::BlackHole);
                sleep(lasts * 2).await;
                fleet.instances[which].to_broker.set(Mode::Forward);
            }
            Self::BrokerMemoryAlarm => {
                servers.rabbit.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
                sleep(lasts).await;
                servers.rabbit.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
            }
            Self::PostgresStopped => {
                servers.postgres.signal("-QUIT");
                sleep(lasts).await;
                servers.postgres.restart().await;
            }
            Self::PostgresReset => fleet.instances[which].to_postgres.reset(),
            Self::PostgresBlackHole => {
                fleet.instances[which].to_postgres.set(Mode::BlackHole);
                sleep(lasts * 2).await;
                fleet.instances[which].to_postgres.set(Mode::Forward);
            }
            Self::DokuDown => {
                fleet.to_doku.set(Mode::Down);
                sleep(lasts).await;
                fleet.to_doku.set(Mode::Forward);
            }
            Self::DokuSlow => doku(fleet, Faults { latency_ms: 3000, ..Faults::default() }, lasts).await,
            Self::DokuRefuses => {
                let refused = Some("invalid_signature".to_owned());
                let (payment, refund, check) = (refused.clone(), refused.clone(), refused);
                doku(fleet, Faults { payment, refund, check, ..Faults::default() }, lasts).await;
            }
        }
    }
}

async fn doku(fleet: &Fleet, faults: Faults, lasts: Duration) {
    fleet.world.sandbox.set_faults(faults).unwrap();
    sleep(lasts).await;
    fleet.world.sandbox.set_faults(Faults::default()).unwrap();
}

/// The strikes still to come, in the order of the seed.
pub struct Deck {
    dice: fastrand::Rng,
    cards: Vec<Strike>,
}

impl Deck {
    pub fn new(seed: u64) -> Self {
        Self { dice: fastrand::Rng::with_seed(seed), cards: Vec::new() }
    }

    /// The next strike, whom of two it strikes, how long it lasts, and the quiet before it.
    pub fn draw(&mut self) -> (Strike, usize, Duration, Duration) {
        if self.cards.is_empty() {
            self.cards = Strike::ALL.to_vec();
            self.dice.shuffle(&mut self.cards);
        }
        let strike = self.cards.pop().expect("it was refilled");
        let lasts = Duration::from_millis(self.dice.u64(500..4000));
        let quiet = Duration::from_millis(self.dice.u64(200..1500));
        (strike, self.dice.usize(..2), lasts, quiet)
    }
}

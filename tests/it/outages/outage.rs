//! The outages: how each strikes, how it is mended, and what may be expected meanwhile.

use super::{scene::Scene, story};
use crate::harness::{
    commands::{Message, payment_with},
    proxy::Mode,
    world::CLIENT_ID,
};
use doku_sandbox::{Faults, TransactionStatus};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    BrokerStopped,
    BrokerKilled,
    BrokerReset,
    BrokerBlackHole,
    BrokerMemoryAlarm,
    QueueDeleted,
    ConsumerCancelled,
    ChannelClosed,
    AckTimeout,
    PostgresRestarted,
    PostgresBlackHole,
    PostgresFull,
    PostgresReadOnly,
    PostgresLocked,
    DokuDown,
    DokuSlow,
    DokuRefuses,
}

/// How `/readyz` and the tests name what is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    Broker,
    Postgres,
    Doku,
}

impl Dependency {
    pub fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Postgres => "postgres",
            Self::Doku => "doku",
        }
    }

    /// So often it may be tried in so long. The broker has five links, each with its own backoff; the database
    /// is looked for by four roles and two watchers, and a pool tries several times within its wait for a
    /// connection; DOKU is asked for `commands` by attempts with a backoff each, and once a second by a probe.
    pub fn tries_max(self, away: Duration, commands: u64) -> u64 {
        let seconds = away.as_secs() + 1;
        match self {
            Self::Broker => 5 * (4 + seconds / 2),
            Self::Postgres => 40 + 30 * seconds,
            Self::Doku => commands * (4 + seconds) + 2 * seconds,
        }
    }
}

impl Outage {
    pub const ALL: [Self; 17] = [
        Self::BrokerStopped,
        Self::BrokerKilled,
        Self::BrokerReset,
        Self::BrokerBlackHole,
        Self::BrokerMemoryAlarm,
        Self::QueueDeleted,
        Self::ConsumerCancelled,
        Self::ChannelClosed,
        Self::AckTimeout,
        Self::PostgresRestarted,
        Self::PostgresBlackHole,
        Self::PostgresFull,
        Self::PostgresReadOnly,
        Self::PostgresLocked,
        Self::DokuDown,
        Self::DokuSlow,
        Self::DokuRefuses,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::BrokerStopped => "RabbitMQ stopped",
            Self::BrokerKilled => "RabbitMQ killed (-9)",
            Self::BrokerReset => "RabbitMQ: connections reset",
            Self::BrokerBlackHole => "RabbitMQ half-open (black hole)",
            Self::BrokerMemoryAlarm => "RabbitMQ: memory alarm",
            Self::QueueDeleted => "RabbitMQ: queue deleted",
            Self::ConsumerCancelled => "RabbitMQ: consumer cancelled",
            Self::ChannelClosed => "RabbitMQ: channel closed, protocol error",
            Self::AckTimeout => "RabbitMQ: ack timeout, database away",
            Self::PostgresRestarted => "Postgres stopped in immediate mode",
            Self::PostgresBlackHole => "Postgres half-open (black hole)",
            Self::PostgresFull => "Postgres out of connections",
            Self::PostgresReadOnly => "Postgres read-only",
            Self::PostgresLocked => "Postgres: statements time out on a lock",
            Self::DokuDown => "DOKU down",
            Self::DokuSlow => "DOKU slower than the timeout",
            Self::DokuRefuses => "DOKU refuses every signature",
        }
    }

    pub fn strikes(self) -> Dependency {
        match self {
            Self::BrokerStopped
            | Self::BrokerKilled
            | Self::BrokerReset
            | Self::BrokerBlackHole
            | Self::BrokerMemoryAlarm
            | Self::QueueDeleted
            | Self::ConsumerCancelled
            | Self::ChannelClosed => Dependency::Broker,
            Self::AckTimeout
            | Self::PostgresRestarted
            | Self::PostgresBlackHole
            | Self::PostgresFull
            | Self::PostgresReadOnly
            | Self::PostgresLocked => Dependency::Postgres,
            Self::DokuDown | Self::DokuSlow | Self::DokuRefuses => Dependency::Doku,
        }
    }

    /// It is over as soon as it has struck, and the service has only to rebuild a link.
    pub fn is_momentary(self) -> bool {
        matches!(self, Self::BrokerReset | Self::QueueDeleted | Self::ConsumerCancelled | Self::ChannelClosed)
    }

    /// Nobody can publish while it lasts.
    pub fn takes_no_commands(self) -> bool {
        matches!(self, Self::BrokerStopped | Self::BrokerKilled | Self::BrokerMemoryAlarm)
    }

    /// What is away cannot be named before something is sent there.
    pub fn shows_by_commands(self) -> bool {
        matches!(self, Self::PostgresLocked | Self::DokuDown | Self::DokuSlow | Self::DokuRefuses)
    }

    /// What must be set before the service is started: a channel of the broker reads its limits when it is opened.
    pub async fn prepare(self, scene: &mut Scene) {
        if self == Self::AckTimeout {
            ack_timeout(scene, 1000, 500).await;
        }
    }

    /// Strikes. Gives the commands it needed to be seen at all.
    pub async fn strike(self, scene: &mut Scene) -> Vec<Message> {
        let queue = format!("{}.payments", scene.world.broker.prefix);
        match self {
            Self::BrokerStopped => scene.rabbit().halt().await,
            Self::BrokerKilled => scene.rabbit().kill(),
            Self::BrokerReset => scene.to_broker.reset(),
            Self::BrokerBlackHole => scene.to_broker.set(Mode::BlackHole),
            Self::BrokerMemoryAlarm => return vec![alarm(scene).await],
            Self::QueueDeleted => scene.world.broker.delete(&queue).await,
            Self::ConsumerCancelled => scene.rabbit().ctl(&["eval", &cancel_consumers(&queue)]).await,
            Self::ChannelClosed => scene.rabbit().ctl(&["eval", &ack_what_is_not_there(&queue)]).await,
            Self::AckTimeout => return hold_deliveries(scene).await,
            Self::PostgresRestarted => scene.postgres().signal("-QUIT"),
            Self::PostgresBlackHole => scene.to_postgres.set(Mode::BlackHole),
            Self::PostgresFull => {
                scene.operate("ALTER ROLE payer CONNECTION LIMIT 0").await;
                scene.to_postgres.reset();
            }
            Self::PostgresReadOnly => {
                scene.operate("ALTER SYSTEM SET default_transaction_read_only = on").await;
                scene.operate("SELECT pg_reload_conf()").await;
            }
            Self::PostgresLocked => {
                let mut other = PgConnection::connect(scene.world.database.url.as_str()).await.unwrap();
                other.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
                scene.other = Some(other);
            }
            Self::DokuDown => scene.to_doku.set(Mode::Down),
            Self::DokuSlow => doku(scene, &Faults { latency_ms: 3000, ..Faults::default() }),
            Self::DokuRefuses => {
                let refused = Some("invalid_signature".to_owned());
                let (payment, refund, check) = (refused.clone(), refused.clone(), refused);
                doku(scene, &Faults { payment, refund, check, ..Faults::default() });
            }
        }
        Vec::new()
    }

    pub async fn mend(self, scene: &mut Scene) {
        match self {
            Self::BrokerStopped | Self::BrokerKilled => {
                scene.rabbit().restart().await;
            }
            Self::BrokerBlackHole => scene.to_broker.set(Mode::Forward),
            Self::BrokerMemoryAlarm => scene.rabbit().ctl(&["set_vm_memory_high_watermark", "0.4"]).await,
            Self::BrokerReset | Self::QueueDeleted | Self::ConsumerCancelled | Self::ChannelClosed => {}
            Self::AckTimeout => {
                ack_timeout(scene, 1_800_000, 60_000).await;
                scene.to_postgres.set(Mode::Forward);
            }
            Self::PostgresBlackHole => scene.to_postgres.set(Mode::Forward),
            Self::PostgresRestarted => scene.postgres().restart().await,
            Self::PostgresFull => scene.operate("ALTER ROLE payer CONNECTION LIMIT -1").await,
            Self::PostgresReadOnly => {
                scene.operate("SET default_transaction_read_only = off").await;
                scene.operate("ALTER SYSTEM RESET default_transaction_read_only").await;
                scene.operate("SELECT pg_reload_conf()").await;
            }
            Self::PostgresLocked => drop(scene.other.take()),
            Self::DokuDown => scene.to_doku.set(Mode::Forward),
            Self::DokuSlow | Self::DokuRefuses => doku(scene, &Faults::default()),
        }
    }
}

/// The broker stops who publishes, at his next publish: an order that is paid only now makes the service do so.
async fn alarm(scene: &mut Scene) -> Message {
    let invoice = scene.world.invoice();
    let command = payment_with(&invoice, "never_pays");
    scene.world.publish(&command).await;
    scene.world.event(&invoice, "payment.accepted").await;
    scene.rabbit().ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
    assert!(scene.world.sandbox.set_status(CLIENT_ID, &invoice, TransactionStatus::Success));
    command
}

/// The broker takes back what is held for a second, and the database goes while DOKU is asked: what it answers
/// cannot be recorded, and is held. Taken again each time it would be dead-lettered at the delivery limit.
async fn hold_deliveries(scene: &mut Scene) -> Vec<Message> {
    doku(scene, &Faults { latency_ms: 1500, ..Faults::default() });
    let commands = story::publish(scene, story::COMMANDS).await;
    let invoices = story::invoices(&commands);
    let asked = async || {
        let ledger = scene.world.sandbox.ledger();
        invoices.iter().all(|invoice| ledger.charges_of(invoice).count() == 1)
    };
    scene.until("DOKU to be asked", asked).await;
    scene.to_postgres.set(Mode::Refuse);
    doku(scene, &Faults::default());
    commands
}

async fn ack_timeout(scene: &mut Scene, timeout_ms: u32, look_every_ms: u32) {
    let set = format!(
        "application:set_env(rabbit, consumer_timeout, {timeout_ms}), \
         application:set_env(rabbit, channel_tick_interval, {look_every_ms})."
    );
    scene.rabbit().ctl(&["eval", &set]).await;
}

fn doku(scene: &Scene, faults: &Faults) {
    scene.world.sandbox.set_faults(faults.clone()).unwrap();
}

/// Erlang for the broker's node: something for every channel that consumes a queue.
fn each_consumer(queue: &str, then: &str) -> String {
    format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)), \
         Consumers = [{{element(1, C), element(2, C)}} || C <- rabbit_amqqueue:consumers(Q)], \
         true = Consumers =/= [], [{then} || {{Channel, Tag}} <- Consumers]."
    )
}

/// The broker says that it has cancelled the consumer, and the queue is still there.
fn cancel_consumers(queue: &str) -> String {
    each_consumer(queue, "rabbit_channel:send_command(Channel, {'basic.cancel', Tag, true})")
}

/// As if the client had acked a delivery that it never got: 406, and the channel is closed.
fn ack_what_is_not_there(queue: &str) -> String {
    each_consumer(queue, "begin _ = Tag, rabbit_channel:do(Channel, {'basic.ack', 999999, false}) end")
}

//! The dead letters: the messages of the queues `dead` and `unrouted`, which have no consumer. A person
//! looks at them here, and takes one off for good or has it worked on again.
//!
//! A quorum queue cannot be browsed: what is looked at is taken, and given back when the look ends, in the
//! order it had, but behind what other looks gave back. The broker counts every return, and RabbitMQ 4 drops
//! what was returned 20 times, unless a policy says otherwise: nothing is taken that is not wanted. Never: a
//! letter is acked before the action that ends it is done.

mod dead_letter;
mod death_record;

pub use dead_letter::{DeadLetter, Destination};
pub use death_record::DeathRecord;

use crate::rabbit::{
    connection::{Broker, BrokerError, Events, Link, within_limit},
    declare::declare_now,
    message::{Message, TooLong},
    topology::{Part, TopologyNames, short_string},
};
use bytes::Bytes;
use lapin::{
    Acker, BasicProperties, Channel,
    options::{BasicAckOptions, BasicGetOptions, BasicNackOptions},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

const NAME: &str = "dead";

/// Which of the two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadQueue {
    /// A consumer of ours or the broker gave up on it.
    Dead,
    /// No queue was bound for its routing key.
    Unrouted,
}

impl DeadQueue {
    pub const ALL: [Self; 2] = [Self::Dead, Self::Unrouted];

    /// Its name, without the prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Unrouted => "unrouted",
        }
    }

    fn queue(self, names: &TopologyNames) -> &str {
        match self {
            Self::Dead => &names.dead_queue,
            Self::Unrouted => &names.unrouted_queue,
        }
    }
}

/// A look at the dead letters. Whatever was taken and not removed is given back when it ends, however it
/// ends.
pub struct DeadLetterBrowser {
    names: TopologyNames,
    channel: Channel,
    link: Link,
    _events: Events,
    /// How many of each id came.
    alike: HashMap<String, u32>,
}

/// How far a search goes.
#[derive(Debug, Clone, Copy)]
pub struct SearchMax {
    /// That are taken, wanted or not.
    pub letters: usize,
    /// Of the bodies that are found.
    pub bytes: usize,
}

/// What a search found.
pub struct FoundLetters {
    pub letters: Vec<FetchedLetter>,
    /// A bound ended it: what was not found may lie further back.
    pub is_cut: bool,
}

/// A fetched letter: no other client sees it until the browser ends.
pub struct FetchedLetter {
    pub letter: DeadLetter,
    pub body: Bytes,
    /// How many more its queue has.
    pub left: u32,
    properties: BasicProperties,
    acker: Acker,
}

impl DeadLetterBrowser {
    pub async fn start(broker: &Broker) -> Result<Self, BrokerError> {
        let health = Arc::new(broker.link_health(NAME));
        let (link, events) = broker.open(health, NAME).await?;
        let channel = link.channel().await?;
        declare_now(&link, broker, &[Part::Dead, Part::Unrouted]).await?;
        link.up();
        let names = broker.names().clone();
        Ok(Self { names, channel, link, _events: events, alike: HashMap::new() })
    }

    /// The next letter of a queue, oldest first.
    pub async fn take(&mut self, queue: DeadQueue) -> Result<Option<FetchedLetter>, BrokerError> {
        let options = BasicGetOptions { no_ack: false };
        let got = self.channel.basic_get(short_string(queue.queue(&self.names)), options);
        let Some(got) = within_limit("looking at a dead letter", got).await? else { return Ok(None) };
        let (left, mut raw) = (got.message_count, got.delivery);
        let mut letter = DeadLetter::read(&self.names, queue, &raw);
        let alike = self.alike.entry(letter.id.clone()).or_default();
        *alike += 1;
        if *alike > 1 {
            letter.id = format!("{}-{alike}", letter.id);
        }
        let body = Bytes::from(std::mem::take(&mut raw.data));
        Ok(Some(FetchedLetter { letter, body, left, properties: raw.properties, acker: raw.acker }))
    }

    /// Walks both queues, from the oldest letter on, until each wanted letter is found, or a bound is reached. What is left in
    /// `wanted` was not found.
    pub async fn find(
        &mut self,
        wanted: &mut BTreeSet<String>,
        max: SearchMax,
    ) -> Result<FoundLetters, BrokerError> {
        let (mut letters, mut bytes, mut seen) = (Vec::new(), 0_usize, 0);
        for queue in DeadQueue::ALL {
            while !wanted.is_empty() {
                if seen >= max.letters || bytes >= max.bytes {
                    return Ok(FoundLetters { letters, is_cut: true });
                }
                let Some(next) = self.take(queue).await? else { break };
                seen += 1;
                if wanted.remove(&next.letter.id) {
                    bytes = bytes.saturating_add(next.body.len());
                    letters.push(next);
                }
            }
        }
        Ok(FoundLetters { letters, is_cut: false })
    }

    /// Gives back what was not removed.
    pub async fn end(self) -> Result<(), BrokerError> {
        const ALL_OF_THEM: u64 = 0;
        let options = BasicNackOptions { multiple: true, requeue: true };
        within_limit("giving back", self.channel.basic_nack(ALL_OF_THEM, options)).await?;
        // Answered after everything before it was done: acks have no answer of their own.
        within_limit("closing", self.channel.close(200, "OK".into())).await?;
        self.link.close().await;
        Ok(())
    }
}

impl FetchedLetter {
    /// Takes it off for good.
    pub async fn remove(self) -> Result<(), BrokerError> {
        let acked = self.acker.ack(BasicAckOptions { multiple: false });
        if within_limit("acking", acked).await? {
            Ok(())
        } else {
            Err(BrokerError::failed("acking", "the channel is gone"))
        }
    }

    /// The same message for the consumer that works on it, its body byte for byte; `None`: there is no such consumer.
    pub fn again(&self, names: &TopologyNames) -> Option<Result<Message, TooLong>> {
        let destination = self.letter.destination?;
        let body = self.body.clone();
        Some(Message::replayed(names, destination, &self.properties, body, &self.letter))
    }
}

//! The relay: publishes what was committed, in order for each order, and takes a row out of the outbox
//! only after the broker has confirmed it. At least once: a relay that dies between the confirm and the
//! delete publishes again, with the same event id.
//!
//! Never: a row is dropped; an order's second event is first published before its first is confirmed.

use super::ports::{EventPublisher, Outbox, OutboxEvent, Published, RelayLeadership, StoreError};
use crate::{
    domain::event::EventType,
    failpoint::{Failpoint, failpoint},
    metric,
};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Events of one batch: enough to keep the broker busy, few enough to lose little time to one refusal.
const BATCH_MAX: u32 = 500;
/// At least this many events are taken out of the outbox at a time while there is more to publish: each time is a
/// write to disk that commands wait for too. If nothing more can be published now, all are taken out.
const TAKE_OUT_MIN: usize = 64;
/// The longest sleep: other processes commit without waking this one.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Relays the outbox while it is the leader; waits to become the leader otherwise.
pub struct Relay<S, P> {
    pub leadership: S,
    pub publisher: Arc<P>,
    /// Woken when this process committed an event.
    pub outbox_changed: Arc<Notify>,
    pub stop: CancellationToken,
    /// Whether this is the active relay, for `/readyz`.
    pub active: watch::Sender<bool>,
}

impl<S: RelayLeadership, P: EventPublisher> Relay<S, P> {
    /// Runs until the stop, and then until the outbox is empty or cannot be emptied.
    pub async fn run(self) {
        while !self.stop.is_cancelled() {
            // Without leadership there is nothing to relay before the stop.
            let Some(taken) = self.stop.run_until_cancelled(self.leadership.acquire()).await else { return };
            match taken {
                Ok(Some(outbox)) => {
                    self.active.send_replace(true);
                    if let Err(error) = self.relay(outbox).await {
                        tracing::warn!(%error, "this relay lost its leadership");
                    }
                    self.active.send_replace(false);
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the relay waits for the database"),
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(SLEEP_MAX) => {}
            }
        }
    }

    async fn relay(&self, mut outbox: S::Outbox) -> Result<(), StoreError> {
        let mut confirmed = Vec::new();
        loop {
            // 1 Read the oldest that are not confirmed; this fails if leadership is lost.
            let events = outbox.unpublished(BATCH_MAX, &confirmed).await?;
            failpoint(Failpoint::BeforeRelay).await;
            // 2 Publish in waves, and wait for the confirms; 3 meanwhile take out what was confirmed before.
            let gone =
                if confirmed.len() < TAKE_OUT_MIN { Vec::new() } else { std::mem::take(&mut confirmed) };
            let (now, taken_out) = tokio::join!(self.publish_in_waves(events), take_out(&mut outbox, &gone));
            taken_out?;
            if !now.is_empty() {
                confirmed.extend(now);
                continue;
            }
            take_out(&mut outbox, &std::mem::take(&mut confirmed)).await?;
            if self.stop.is_cancelled() {
                return Ok(());
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = timeout(SLEEP_MAX, self.outbox_changed.notified()) => {}
            }
        }
    }

    /// The first unpublished event of each order goes in one wave, the second in the next. An order with an
    /// unconfirmed event waits; the others do not.
    async fn publish_in_waves(&self, events: Vec<OutboxEvent>) -> Vec<i64> {
        let mut confirmed = Vec::with_capacity(events.len());
        let mut held_back: HashSet<i64> = HashSet::new();
        let mut rest = events;
        while !rest.is_empty() {
            let (wave, later) = next_wave(rest);
            rest = later;
            let wave: Vec<_> = wave
                .into_iter()
                .filter(|e| e.order_key.is_none_or(|key| !held_back.contains(&key)))
                .collect();
            let answers = self.publisher.publish(&wave).await;
            failpoint(Failpoint::BetweenWaves).await;
            if answers.iter().all(|answer| *answer == Published::Unconfirmed) {
                // The broker is away: the later waves would only wait for it, one after the other.
                break;
            }
            for (event, answer) in wave.iter().zip(answers) {
                match answer {
                    Published::Confirmed => {
                        confirmed.push(event.sequence);
                        note_published(event);
                    }
                    Published::Unconfirmed => held_back.extend(event.order_key),
                }
            }
        }
        confirmed
    }
}

async fn take_out<O: Outbox>(outbox: &mut O, confirmed: &[i64]) -> Result<(), StoreError> {
    if confirmed.is_empty() {
        return Ok(());
    }
    failpoint(Failpoint::BeforeMark).await;
    outbox.mark_published(confirmed).await?;
    failpoint(Failpoint::AfterMark).await;
    Ok(())
}

fn next_wave(events: Vec<OutboxEvent>) -> (Vec<OutboxEvent>, Vec<OutboxEvent>) {
    let mut seen = HashSet::new();
    events.into_iter().partition(|event| event.order_key.is_none_or(|key| seen.insert(key)))
}

fn note_published(event: &OutboxEvent) {
    if let Some(event_type) = EventType::from_routing_key(&event.routing_key) {
        metric::event_published(event_type, event.age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::VecDeque, sync::Mutex};
    use uuid::Uuid;

    fn event(sequence: i64, order_key: Option<i64>) -> OutboxEvent {
        OutboxEvent {
            sequence,
            event_id: Uuid::nil(),
            order_key,
            routing_key: "order.paid".to_owned(),
            event_type: "jenius.order.paid.v1".to_owned(),
            correlation_id: None,
            traceparent: None,
            body: bytes::Bytes::new(),
            age: Duration::ZERO,
        }
    }

    /// A broker that refuses the sequences it is told to, once each, and remembers the order of confirms.
    #[derive(Default)]
    struct Broker {
        refuse: Mutex<VecDeque<i64>>,
        confirmed: Mutex<Vec<i64>>,
    }

    impl EventPublisher for Broker {
        async fn publish(&self, events: &[OutboxEvent]) -> Vec<Published> {
            let mut refuse = self.refuse.lock().unwrap();
            let mut confirmed = self.confirmed.lock().unwrap();
            let mut judge = |sequence: i64| match refuse.iter().position(|s| *s == sequence) {
                Some(at) => {
                    refuse.remove(at);
                    Published::Unconfirmed
                }
                None => {
                    confirmed.push(sequence);
                    Published::Confirmed
                }
            };
            events.iter().map(|e| judge(e.sequence)).collect()
        }
    }

    /// Leadership of a table in memory.
    struct Table(Arc<Mutex<Vec<OutboxEvent>>>);

    impl RelayLeadership for Table {
        type Outbox = Self;
        async fn acquire(&self) -> Result<Option<Self>, StoreError> {
            Ok(Some(Self(Arc::clone(&self.0))))
        }
    }

    impl Outbox for Table {
        async fn unpublished(&mut self, limit: u32, but: &[i64]) -> Result<Vec<OutboxEvent>, StoreError> {
            let table = self.0.lock().unwrap();
            Ok(table.iter().filter(|e| !but.contains(&e.sequence)).take(limit as usize).cloned().collect())
        }
        async fn mark_published(&mut self, sequences: &[i64]) -> Result<(), StoreError> {
            self.0.lock().unwrap().retain(|e| !sequences.contains(&e.sequence));
            Ok(())
        }
    }

    /// What is left of 600 events by a relay that may look only as long as looks bring something.
    async fn left_after_the_stop(refuse: impl Iterator<Item = i64>) -> usize {
        let rows = (1..=i64::from(BATCH_MAX) + 100).map(|sequence| event(sequence, None)).collect();
        let table = Arc::new(Mutex::new(rows));
        let broker = Broker { refuse: Mutex::new(refuse.collect()), ..Broker::default() };
        let stop = CancellationToken::new();
        stop.cancel();
        let relay = Relay {
            leadership: Table(Arc::clone(&table)),
            publisher: Arc::new(broker),
            outbox_changed: Arc::default(),
            stop,
            active: watch::Sender::new(false),
        };
        relay.relay(Table(Arc::clone(&table))).await.unwrap();
        let table = table.lock().unwrap();
        table.len()
    }

    #[tokio::test]
    async fn a_full_batch_is_followed_by_the_next_at_once_unless_the_broker_takes_nothing() {
        assert_eq!(left_after_the_stop(std::iter::empty()).await, 0);
        assert_eq!(left_after_the_stop(1..=i64::from(BATCH_MAX)).await, BATCH_MAX as usize + 100);
    }

    /// Events that come one after the other, each while the last one is published; and what was taken out at a time.
    struct Trickle(Table, Arc<Mutex<Vec<usize>>>);

    impl Outbox for Trickle {
        async fn unpublished(&mut self, _: u32, but: &[i64]) -> Result<Vec<OutboxEvent>, StoreError> {
            self.0.unpublished(1, but).await
        }
        async fn mark_published(&mut self, sequences: &[i64]) -> Result<(), StoreError> {
            self.1.lock().unwrap().push(sequences.len());
            self.0.mark_published(sequences).await
        }
    }

    impl RelayLeadership for Trickle {
        type Outbox = Self;
        async fn acquire(&self) -> Result<Option<Self>, StoreError> {
            Ok(Some(Self(Table(Arc::clone(&self.0.0)), Arc::clone(&self.1))))
        }
    }

    #[tokio::test]
    async fn what_comes_one_by_one_is_taken_out_together_and_the_last_of_it_at_once() {
        let rows = (1..=100).map(|sequence| event(sequence, None)).collect();
        let taken_out = Arc::default();
        let trickle = Trickle(Table(Arc::new(Mutex::new(rows))), Arc::clone(&taken_out));
        let (left, publisher) = (Arc::clone(&trickle.0.0), Arc::new(Broker::default()));
        let relay = Relay {
            leadership: trickle,
            publisher: Arc::clone(&publisher),
            outbox_changed: Arc::default(),
            stop: CancellationToken::new(),
            active: watch::Sender::new(false),
        };
        relay.stop.cancel();
        relay.relay(relay.leadership.acquire().await.unwrap().unwrap()).await.unwrap();
        assert_eq!(*publisher.confirmed.lock().unwrap(), (1..=100).collect::<Vec<_>>());
        assert!(left.lock().unwrap().is_empty());
        assert_eq!(*taken_out.lock().unwrap(), [TAKE_OUT_MIN, 100 - TAKE_OUT_MIN]);
    }

    #[tokio::test]
    async fn a_refused_event_holds_back_its_order_and_no_other() {
        let rows =
            [event(1, Some(7)), event(2, Some(8)), event(3, Some(7)), event(4, None), event(5, Some(7))];
        let table = Arc::new(Mutex::new(rows.to_vec()));
        let broker = Arc::new(Broker { refuse: Mutex::new(VecDeque::from([1])), ..Broker::default() });
        let stop = CancellationToken::new();
        let changed = Arc::new(Notify::new());
        let relay = Relay {
            leadership: Table(Arc::clone(&table)),
            publisher: Arc::clone(&broker),
            outbox_changed: Arc::clone(&changed),
            stop: stop.clone(),
            active: watch::Sender::new(false),
        };
        let running = tokio::spawn(relay.run());
        while !table.lock().unwrap().is_empty() {
            changed.notify_one();
            tokio::task::yield_now().await;
        }
        stop.cancel();
        running.await.unwrap();
        assert_eq!(*broker.confirmed.lock().unwrap(), [2, 4, 1, 3, 5]);
    }
}

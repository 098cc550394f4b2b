//! The relay: publishes what was committed, in order for each order, and takes a row out of the outbox
//! only after the broker has confirmed it. At least once: a relay that dies between the confirm and the
//! delete publishes again, with the same event id.
//!
//! Never: a row is dropped; an order's second event is first published before its first is confirmed.

mod refused;

use super::ports::{EventPublisher, Outbox, OutboxEvent, Published, RelayLeadership, StoreError};
use crate::{
    domain::event::EventType,
    failpoint::{Failpoint, failpoint},
    metric,
};
use futures_util::stream::{FuturesUnordered, StreamExt};
use refused::RefusedEvents;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// Events of one batch: enough to keep the broker busy, few enough to lose little time to one refusal.
const BATCH_MAX: u32 = 500;
/// At least this many events are taken out of the outbox at a time while there is more to publish: each time is a
/// write to disk that commands wait for too. If nothing more can be published now, all are taken out.
const TAKE_OUT_MIN: usize = 64;
/// The longest sleep: other processes commit without waking this one.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The next look waits for a confirm while more are under way: many share a write to the broker's disk, and a few do
/// not wait for each other.
const UNDER_WAY_MAX: usize = 16;

/// An event's sequence and its order.
type EventKey = (i64, Option<i64>);

/// Events that were handed to the broker and are not confirmed.
#[derive(Default)]
struct UnderWay {
    sequences: HashSet<i64>,
    orders: HashSet<i64>,
}

impl UnderWay {
    /// Those of orders that have no event under way. They are under way from now on.
    fn begin(&mut self, mut events: Vec<OutboxEvent>) -> Vec<OutboxEvent> {
        events.retain(|event| event.order_key.is_none_or(|key| !self.orders.contains(&key)));
        self.sequences.extend(events.iter().map(|event| event.sequence));
        self.orders.extend(events.iter().filter_map(|event| event.order_key));
        events
    }

    fn end(&mut self, group: &[EventKey]) {
        for (sequence, order_key) in group {
            self.sequences.remove(sequence);
            if let Some(key) = order_key {
                self.orders.remove(key);
            }
        }
    }
}

/// What the broker answered to a group.
struct GroupAnswer {
    group: Vec<EventKey>,
    taken: Vec<i64>,
    /// Refused, and not only unanswered.
    not_taken: Vec<EventKey>,
}

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
    /// Runs until the stop, and then until what was in the outbox by then is out of it or cannot be taken out.
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
        let mut publishing = FuturesUnordered::new();
        let relayed = async {
            let (mut under_way, mut confirmed) = (UnderWay::default(), Vec::new());
            let mut refused = RefusedEvents::default();
            let (mut look, mut has_more, mut has_moved) = (true, false, false);
            // Other processes go on committing: what is newer than the stop is another relay's.
            let mut last: Option<i64> = None;
            loop {
                if look && under_way.sequences.len() < UNDER_WAY_MAX {
                    (look, has_moved) = (false, false);
                    if last.is_none() && self.stop.is_cancelled() {
                        last = Some(outbox.newest().await?.unwrap_or(i64::MIN));
                    }
                    // 1 Read the oldest that the broker does not have; this fails if leadership is lost.
                    let mut known = refused.waiting(Instant::now());
                    known.sequences.extend(under_way.sequences.iter().chain(&confirmed));
                    let mut events = outbox.unpublished(BATCH_MAX, &known).await?;
                    events.retain(|event| last.is_none_or(|last| event.sequence <= last));
                    failpoint(Failpoint::BeforeRelay).await;
                    let read = events.len();
                    let group = under_way.begin(events);
                    has_more = read == BATCH_MAX as usize || group.len() < read;
                    // 2 Publish, and look for more while the broker confirms: its disk takes most of the time.
                    if !group.is_empty() {
                        publishing.push(self.publish_group(group));
                    }
                }
                // 3 Take out what was confirmed.
                let is_idle = publishing.is_empty() && !look;
                if is_idle || confirmed.len() >= TAKE_OUT_MIN {
                    take_out(&mut outbox, &std::mem::take(&mut confirmed)).await?;
                }
                if is_idle && self.stop.is_cancelled() {
                    if last.is_some() && !has_moved {
                        return Ok(());
                    }
                    look = true;
                    continue;
                }
                tokio::select! {
                    Some(answered) = publishing.next(), if !publishing.is_empty() => {
                        let GroupAnswer { group, taken, not_taken } = answered;
                        let is_whole = taken.len() == group.len();
                        under_way.end(&group);
                        refused.confirmed(&taken);
                        let now = Instant::now();
                        let set_aside = not_taken.into_iter().filter(|key| refused.note_refused(*key, now)).count();
                        if !taken.is_empty() || set_aside > 0 {
                            has_moved = true;
                            look |= has_more || !is_whole || publishing.is_empty();
                        }
                        confirmed.extend(taken);
                    }
                    () = self.stop.cancelled(), if publishing.is_empty() => {}
                    _ = timeout(SLEEP_MAX, self.outbox_changed.notified()), if !look => look = true,
                }
            }
        };
        let relayed = relayed.await;
        // What is on its way arrives before another relay begins.
        while publishing.next().await.is_some() {}
        relayed
    }

    async fn publish_group(&self, events: Vec<OutboxEvent>) -> GroupAnswer {
        let group = events.iter().map(|event| (event.sequence, event.order_key)).collect();
        let (taken, not_taken) = self.publish_in_waves(events).await;
        GroupAnswer { group, taken, not_taken }
    }

    /// The first unpublished event of each order goes in one wave, the second in the next. An order with an
    /// unconfirmed event waits; the others do not.
    async fn publish_in_waves(&self, events: Vec<OutboxEvent>) -> (Vec<i64>, Vec<EventKey>) {
        let mut confirmed = Vec::with_capacity(events.len());
        let mut refused = Vec::new();
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
                    Published::Refused => {
                        refused.push((event.sequence, event.order_key));
                        held_back.extend(event.order_key);
                    }
                    Published::Unconfirmed => held_back.extend(event.order_key),
                }
            }
        }
        (confirmed, refused)
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
mod tests;

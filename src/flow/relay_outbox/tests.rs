//! Nothing is dropped, an order's events keep their order, and no order waits for another.

use super::*;
use crate::flow::ports::LeftOut;
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
    async fn unpublished(&mut self, limit: u32, but: &LeftOut) -> Result<Vec<OutboxEvent>, StoreError> {
        let table = self.0.lock().unwrap();
        let is_in = |e: &&OutboxEvent| {
            !but.sequences.contains(&e.sequence) && e.order_key.is_none_or(|key| !but.orders.contains(&key))
        };
        Ok(table.iter().filter(is_in).take(limit as usize).cloned().collect())
    }
    async fn newest(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(self.0.lock().unwrap().iter().map(|event| event.sequence).max())
    }
    async fn mark_published(&mut self, sequences: &[i64]) -> Result<(), StoreError> {
        self.0.lock().unwrap().retain(|e| !sequences.contains(&e.sequence));
        Ok(())
    }
}

fn relay<L, P>(leadership: L, publisher: Arc<P>) -> Relay<L, P> {
    Relay {
        leadership,
        publisher,
        outbox_changed: Arc::default(),
        stop: CancellationToken::new(),
        active: watch::Sender::new(false),
    }
}

/// What is left of 600 events by a relay that may look only as long as looks bring something.
async fn left_after_the_stop(refuse: impl Iterator<Item = i64>) -> usize {
    let rows = (1..=i64::from(BATCH_MAX) + 100).map(|sequence| event(sequence, None)).collect();
    let table = Arc::new(Mutex::new(rows));
    let broker = Broker { refuse: Mutex::new(refuse.collect()), ..Broker::default() };
    let relay = relay(Table(Arc::clone(&table)), Arc::new(broker));
    relay.stop.cancel();
    relay.relay(Table(Arc::clone(&table))).await.unwrap();
    let table = table.lock().unwrap();
    table.len()
}

#[tokio::test]
async fn a_full_batch_is_followed_by_the_next_at_once_unless_the_broker_takes_nothing() {
    assert_eq!(left_after_the_stop(std::iter::empty()).await, 0);
    assert_eq!(left_after_the_stop(1..=i64::from(BATCH_MAX)).await, BATCH_MAX as usize + 100);
}

/// A broker with a full queue that some events are routed to.
struct PartlyFull(Broker, Mutex<std::ops::RangeInclusive<i64>>);

impl EventPublisher for PartlyFull {
    async fn publish(&self, events: &[OutboxEvent]) -> Vec<Published> {
        let full = self.1.lock().unwrap().clone();
        let (refused, taken): (Vec<_>, Vec<_>) =
            events.iter().cloned().partition(|event| full.contains(&event.sequence));
        assert!(self.0.publish(&taken).await.iter().all(|answer| *answer == Published::Confirmed));
        let is_refused = |event: &OutboxEvent| refused.iter().any(|other| other.sequence == event.sequence);
        let answer = |event| if is_refused(event) { Published::Refused } else { Published::Confirmed };
        events.iter().map(answer).collect()
    }
}

/// However many events one full queue refuses: those that go elsewhere pass them, and the next events of their orders do not.
#[tokio::test]
async fn what_a_full_queue_refuses_holds_back_its_own_orders_alone() {
    let refused = i64::from(BATCH_MAX) * 2;
    let rows = (1..=refused).map(|sequence| event(sequence, Some(sequence)));
    // More of these than a batch has.
    let later = (1..=refused).map(|order| event(refused + order, Some(order)));
    let free = [event(refused * 2 + 1, None), event(refused * 2 + 2, Some(-1))];
    let rows = rows.chain(later).chain(free);
    let table = Arc::new(Mutex::new(rows.collect::<Vec<_>>()));
    let broker = Arc::new(PartlyFull(Broker::default(), Mutex::new(1..=refused)));
    let relay = relay(Table(Arc::clone(&table)), Arc::clone(&broker));
    let (stop, changed) = (relay.stop.clone(), Arc::clone(&relay.outbox_changed));
    let running = tokio::spawn(relay.run());
    let wake = async || {
        changed.notify_one();
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    while broker.0.confirmed.lock().unwrap().len() < 2 {
        wake().await;
    }
    // It goes on trying what is refused.
    for _ in 0..200 {
        wake().await;
    }
    assert_eq!(*broker.0.confirmed.lock().unwrap(), [refused * 2 + 1, refused * 2 + 2]);
    *broker.1.lock().unwrap() = 0..=0;
    while !table.lock().unwrap().is_empty() {
        wake().await;
    }
    let confirmed = broker.0.confirmed.lock().unwrap().clone();
    let place = |sequence| confirmed.iter().position(|at| *at == sequence).unwrap();
    assert!((1..=refused).all(|order| place(order) < place(refused + order)));
    stop.cancel();
    running.await.unwrap();
}

/// Events that come one after the other, each while the last one is published; and what was taken out at a time.
struct Trickle(Table, Arc<Mutex<Vec<usize>>>);

impl Outbox for Trickle {
    async fn unpublished(&mut self, _: u32, but: &LeftOut) -> Result<Vec<OutboxEvent>, StoreError> {
        self.0.unpublished(1, but).await
    }
    async fn newest(&mut self) -> Result<Option<i64>, StoreError> {
        self.0.newest().await
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
    let relay = relay(trickle, Arc::clone(&publisher));
    relay.stop.cancel();
    relay.relay(relay.leadership.acquire().await.unwrap().unwrap()).await.unwrap();
    assert_eq!(*publisher.confirmed.lock().unwrap(), (1..=100).collect::<Vec<_>>());
    assert!(left.lock().unwrap().is_empty());
    assert_eq!(*taken_out.lock().unwrap(), [TAKE_OUT_MIN, 100 - TAKE_OUT_MIN]);
}

#[tokio::test]
async fn a_refused_event_holds_back_its_order_and_no_other() {
    let rows = [event(1, Some(7)), event(2, Some(8)), event(3, Some(7)), event(4, None), event(5, Some(7))];
    let table = Arc::new(Mutex::new(rows.to_vec()));
    let broker = Arc::new(Broker { refuse: Mutex::new(VecDeque::from([1])), ..Broker::default() });
    let relay = relay(Table(Arc::clone(&table)), Arc::clone(&broker));
    let (stop, changed) = (relay.stop.clone(), Arc::clone(&relay.outbox_changed));
    let running = tokio::spawn(relay.run());
    while !table.lock().unwrap().is_empty() {
        changed.notify_one();
        tokio::task::yield_now().await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(*broker.confirmed.lock().unwrap(), [2, 4, 1, 3, 5]);
}

/// Confirms the first event when it is let go, and the others at once.
struct SlowToConfirm(Broker, Notify);

impl EventPublisher for SlowToConfirm {
    async fn publish(&self, events: &[OutboxEvent]) -> Vec<Published> {
        if events.iter().any(|event| event.sequence == 1) {
            self.1.notified().await;
        }
        self.0.publish(events).await
    }
}

#[tokio::test]
async fn an_event_waits_for_the_confirm_of_its_own_order_and_of_no_other() {
    let table = Arc::new(Mutex::new(vec![event(1, Some(7))]));
    let broker = Arc::new(SlowToConfirm(Broker::default(), Notify::new()));
    let relay = relay(Table(Arc::clone(&table)), Arc::clone(&broker));
    let (stop, changed) = (relay.stop.clone(), Arc::clone(&relay.outbox_changed));
    let running = tokio::spawn(relay.run());
    tokio::task::yield_now().await;
    table.lock().unwrap().extend([event(2, Some(8)), event(3, Some(7))]);
    while broker.0.confirmed.lock().unwrap().is_empty() {
        changed.notify_one();
        tokio::task::yield_now().await;
    }
    broker.1.notify_one();
    while !table.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(*broker.0.confirmed.lock().unwrap(), [2, 1, 3]);
}

/// Another process commits an event whenever this one looks.
struct Busy(Table);

impl Outbox for Busy {
    async fn unpublished(&mut self, limit: u32, but: &LeftOut) -> Result<Vec<OutboxEvent>, StoreError> {
        let newest = self.newest().await?.unwrap_or_default();
        self.0.0.lock().unwrap().push(event(newest + 1, None));
        self.0.unpublished(limit, but).await
    }
    async fn newest(&mut self) -> Result<Option<i64>, StoreError> {
        self.0.newest().await
    }
    async fn mark_published(&mut self, sequences: &[i64]) -> Result<(), StoreError> {
        self.0.mark_published(sequences).await
    }
}

impl RelayLeadership for Busy {
    type Outbox = Self;
    async fn acquire(&self) -> Result<Option<Self>, StoreError> {
        Ok(Some(Self(Table(Arc::clone(&self.0.0)))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_stopped_ends_however_fast_others_commit() {
    let rows = (1..=i64::from(BATCH_MAX) + 100).map(|sequence| event(sequence, None)).collect();
    let broker = Arc::new(Broker::default());
    let relay = relay(Busy(Table(Arc::new(Mutex::new(rows)))), Arc::clone(&broker));
    let stop = relay.stop.clone();
    let running = tokio::spawn(relay.run());
    while broker.confirmed.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("it relays for ever").unwrap();
    let confirmed = broker.confirmed.lock().unwrap();
    assert!(confirmed.starts_with(&(1..=i64::from(BATCH_MAX) + 100).collect::<Vec<_>>()), "{confirmed:?}");
}

//! Group commit: what arrives while a flush runs is flushed together by the next one, in one transaction.
//! A single item does not wait, unless its group gathers: that is for what has waited already.
//!
//! Never: two items of one key share a flush (an `UPDATE … FROM unnest` changes a row once, and drops the
//! second without a word); the flush is the caller's task (one that is dropped must change nothing for the
//! others). What cannot be done together is done alone.

use super::error::{TxError, TxResult};
use crate::{flow::ports::StoreError, metric::PanicIn, panics::caught};
use parking_lot::Mutex;
use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    hash::Hash,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

/// At most this many items share a flush: enough that a commit costs little for each, few enough that none
/// waits long for the others.
const FLUSH_MAX: usize = 256;
/// More items make their commit hardly cheaper: a group that gathers waits for no more.
const GATHERED: usize = 32;

/// What is done together.
pub(super) trait Group: Send + Sync + 'static {
    type Item: Send + Sync + 'static;
    type Key: Eq + Hash + Send;
    type Reply: Send + 'static;

    /// How long a flush waits for more items to come, where they are few.
    const GATHER: Duration = Duration::ZERO;

    /// Items of one key never share a flush.
    fn key(item: &Self::Item) -> Self::Key;

    /// All in one transaction. One answer an item, in the same order; `None` if it is better judged
    /// alone: nothing of it was changed.
    fn together(
        self: Arc<Self>,
        items: Vec<Arc<Self::Item>>,
    ) -> impl Future<Output = TxResult<Vec<Option<Self::Reply>>>> + Send;

    /// One, in a transaction of its own.
    fn alone(
        self: Arc<Self>,
        item: Arc<Self::Item>,
    ) -> impl Future<Output = Result<Self::Reply, StoreError>> + Send;
}

/// Gathers items of one group.
pub(super) struct Batch<G: Group> {
    group: Arc<G>,
    queue: Arc<Mutex<BatchQueue<G>>>,
    gathered: Arc<Notify>,
}

impl<G: Group> Clone for Batch<G> {
    fn clone(&self) -> Self {
        Self {
            group: Arc::clone(&self.group),
            queue: Arc::clone(&self.queue),
            gathered: Arc::clone(&self.gathered),
        }
    }
}

struct BatchQueue<G: Group> {
    waiting: VecDeque<WaitingItem<G>>,
    /// A task flushes, and goes on until nothing waits.
    is_flushing: bool,
}

struct WaitingItem<G: Group> {
    item: Arc<G::Item>,
    answer: oneshot::Sender<Together<G::Reply>>,
}

/// What a flush says to one of its callers.
enum Together<A> {
    Done(A),
    /// Judged alone, it may pass.
    Alone,
    Failed(StoreError),
}

impl<G: Group> Batch<G> {
    pub fn new(group: G) -> Self {
        let queue = BatchQueue { waiting: VecDeque::new(), is_flushing: false };
        Self { group: Arc::new(group), queue: Arc::new(Mutex::new(queue)), gathered: Arc::default() }
    }

    /// Does one item, together with those that wait at the same time.
    pub async fn add(&self, item: G::Item) -> Result<G::Reply, StoreError> {
        let item = Arc::new(item);
        let (answer, answered) = oneshot::channel();
        self.enqueue(WaitingItem { item: Arc::clone(&item), answer });
        match answered.await {
            Ok(Together::Done(answer)) => Ok(answer),
            Ok(Together::Failed(error)) => Err(error),
            // A flush that panicked gave no answer: alone, only the item that made it panic does so again.
            Ok(Together::Alone) | Err(_) => Arc::clone(&self.group).alone(item).await,
        }
    }

    fn enqueue(&self, waiting: WaitingItem<G>) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(waiting);
        if queue.waiting.len() == GATHERED {
            self.gathered.notify_one();
        }
        if !std::mem::replace(&mut queue.is_flushing, true) {
            drop(queue);
            let this = self.clone();
            tokio::spawn(async move {
                if caught(PanicIn::Batch, this.flush_all()).await.is_none() {
                    this.give_up();
                }
            });
        }
    }

    /// Those that wait are done alone; the next item begins a flush.
    fn give_up(&self) {
        let mut queue = self.queue.lock();
        queue.is_flushing = false;
        queue.waiting.clear();
    }

    /// Flushes until nothing waits.
    async fn flush_all(&self) {
        loop {
            if !G::GATHER.is_zero() {
                let _ = timeout(G::GATHER, self.gathered.notified()).await;
            }
            let Some(flush) = self.next_flush() else { return };
            let this = Arc::clone(&self.group);
            // Should it panic, its items are done alone, and the next flush goes on.
            let _ = caught(PanicIn::Batch, flush_one(this, flush)).await;
        }
    }

    /// The oldest of each key; `None`, and no longer flushing, where nothing waits.
    fn next_flush(&self) -> Option<Vec<WaitingItem<G>>> {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() {
            queue.is_flushing = false;
            return None;
        }
        let mut keys = HashSet::new();
        let mut flush = Vec::with_capacity(queue.waiting.len().min(FLUSH_MAX));
        let mut later = VecDeque::new();
        while let Some(waiting) = queue.waiting.pop_front() {
            if keys.insert(G::key(&waiting.item)) {
                flush.push(waiting);
            } else {
                later.push_back(waiting);
            }
            if flush.len() == FLUSH_MAX {
                break;
            }
        }
        later.append(&mut queue.waiting);
        queue.waiting = later;
        Some(flush)
    }
}

async fn flush_one<G: Group>(group: Arc<G>, flush: Vec<WaitingItem<G>>) {
    let items = flush.iter().map(|waiting| Arc::clone(&waiting.item)).collect();
    let mut answers = match group.together(items).await {
        Ok(answers) => answers.into_iter(),
        Err(TxError::Failed(error @ StoreError::Away(_))) => {
            for waiting in flush {
                let _ = waiting.answer.send(Together::Failed(error.clone()));
            }
            return;
        }
        // One of them is in the way of all: each by itself.
        Err(
            TxError::Raced
            | TxError::Contended(_)
            | TxError::Failed(StoreError::Contended(_) | StoreError::Refused(_)),
        ) => Vec::new().into_iter(),
    };
    for waiting in flush {
        let _ = waiting.answer.send(answers.next().flatten().map_or(Together::Alone, Together::Done));
    }
}

#[cfg(test)]
mod tests;

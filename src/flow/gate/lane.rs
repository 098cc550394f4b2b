//! One merchant's way to DOKU: so many attempts at once, so many a second.

use super::Limits;
use crate::domain::{
    learned::AttemptKind,
    rate::{NoToken, Rate},
};
use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

pub struct Lane {
    slots: Arc<Semaphore>,
    is_limited: bool,
    rate: Mutex<Rate>,
    /// Another block of tokens is wanted.
    wanted: Notify,
    /// One has come.
    added: Notify,
    sends: Queue,
    inquiries: Queue,
}

/// Those who wait for a token, first come first served: only the first one watches the clock.
#[derive(Default)]
struct Queue {
    first: tokio::sync::Mutex<()>,
    waiting: AtomicU32,
}

/// Counts one who waits, also when its future is dropped.
struct Waiting<'a>(&'a AtomicU32);

impl Lane {
    pub fn new(limits: &Limits) -> Self {
        let slots = usize::try_from(limits.concurrency).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS))),
            is_limited: limits.requests_per_second > 0,
            rate: Mutex::new(Rate::new(limits.requests_per_second)),
            wanted: Notify::new(),
            added: Notify::new(),
            sends: Queue::default(),
            inquiries: Queue::default(),
        }
    }

    /// Waits for a place, then for a token.
    pub async fn enter(
        &self,
        kind: AttemptKind,
        inquiries_due: impl Fn() -> bool,
    ) -> Option<OwnedSemaphorePermit> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        if self.is_limited {
            self.token(kind, inquiries_due).await;
        }
        Some(slot)
    }

    async fn token(&self, kind: AttemptKind, inquiries_due: impl Fn() -> bool) {
        let (own, other) = match kind {
            AttemptKind::Send => (&self.sends, &self.inquiries),
            AttemptKind::Inquiry => (&self.inquiries, &self.sends),
        };
        let waiting = own.wait();
        self.want_tokens();
        let _first = own.first.lock().await;
        loop {
            let mut added = pin!(self.added.notified());
            added.as_mut().enable();
            let other_waits = other.anybody_waits() || (kind == AttemptKind::Send && inquiries_due());
            let taken = self.rate().take(kind, other_waits, super::now());
            match taken {
                Ok(()) => {
                    drop(waiting);
                    return self.want_tokens();
                }
                Err(NoToken::Until(at)) => {
                    tokio::select! {
                        () = sleep_until(at.into()) => {}
                        () = added => {}
                    }
                }
                Err(NoToken::Held) => {
                    self.want_tokens();
                    added.await;
                }
            }
        }
    }

    fn want_tokens(&self) {
        if self.next_block().is_some() {
            self.wanted.notify_one();
        }
    }

    /// Ends when another block of tokens is wanted, or was until a moment ago.
    pub async fn wants_tokens(&self) {
        self.wanted.notified().await;
    }

    /// How many tokens to take next; `None`: none now.
    pub fn next_block(&self) -> Option<u32> {
        let waiting = self.sends.how_many_wait().saturating_add(self.inquiries.how_many_wait());
        self.rate().next_block(waiting, super::now())
    }

    /// Takes a token back for which DOKU was not asked.
    pub fn give_back(&self) {
        if self.is_limited {
            self.rate().give_back(super::now());
            self.added.notify_waiters();
        }
    }

    /// Takes in a block whose first token is usable at `starts`.
    pub fn add(&self, starts: Instant, tokens: u32) {
        self.rate().add(starts.into_std(), tokens);
        self.added.notify_waiters();
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    fn anybody_waits(&self) -> bool {
        self.how_many_wait() > 0
    }

    fn how_many_wait(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn somebody_waits_until_all_have_gone() {
        let queue = Queue::default();
        assert!(!queue.anybody_waits());
        let (first, second) = (queue.wait(), queue.wait());
        drop(first);
        assert!(queue.anybody_waits());
        drop(second);
        assert!(!queue.anybody_waits());
    }

    #[tokio::test]
    async fn whoever_finds_no_token_waits_for_a_block_or_for_its_moment() {
        let limits = Limits {
            concurrency: 2,
            requests_per_second: 1,
            breaker_failures: 1,
            breaker_open: Duration::from_secs(1),
        };
        let lane = Lane::new(&limits);
        let enter = async || lane.enter(AttemptKind::Send, || false).await.map(drop);
        let feed = async || {
            lane.wants_tokens().await;
            assert_eq!(lane.next_block(), Some(1));
            lane.add(Instant::now() + Duration::from_millis(30), 1);
            Instant::now()
        };
        let (entered, fed) = tokio::join!(async { (enter().await, Instant::now()) }, feed());
        assert_eq!(entered.0, Some(()));
        assert!(entered.1 >= fed + Duration::from_millis(29), "before its moment");
        assert_eq!(lane.next_block(), None, "nobody waits");
    }
}

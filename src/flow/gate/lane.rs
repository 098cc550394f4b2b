//! One merchant's way to DOKU: so many attempts at once, so many a second.

use super::Limits;
use crate::domain::{learned::AttemptKind, rate::Rate};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

pub struct Lane {
    slots: Arc<Semaphore>,
    rate: Mutex<Rate>,
    sends: Queue,
    inquiries: Queue,
}

/// Those who wait for a token, first come first served: only the first one watches the clock.
#[derive(Default)]
struct Queue {
    first: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
}

/// Counts one who waits, also when its future is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Lane {
    pub fn new(limits: &Limits) -> Self {
        let slots = usize::try_from(limits.concurrency).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS))),
            rate: Mutex::new(Rate::new(limits.requests_per_second, super::now())),
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
        self.token(kind, inquiries_due).await;
        Some(slot)
    }

    async fn token(&self, kind: AttemptKind, inquiries_due: impl Fn() -> bool) {
        let (own, other) = match kind {
            AttemptKind::Send => (&self.sends, &self.inquiries),
            AttemptKind::Inquiry => (&self.inquiries, &self.sends),
        };
        let _waiting = own.wait();
        let _first = own.first.lock().await;
        loop {
            let other_waits = other.anybody_waits() || (kind == AttemptKind::Send && inquiries_due());
            match self.take(kind, other_waits) {
                Ok(()) => return,
                Err(ask_again_at) => tokio::time::sleep_until(ask_again_at).await,
            }
        }
    }

    fn take(&self, kind: AttemptKind, other_waits: bool) -> Result<(), Instant> {
        let now = Instant::now();
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.take(kind, other_waits, now.into_std()).map_err(|wait| now + wait)
    }
}

impl Queue {
    fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    fn anybody_waits(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
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

    /// Asked again too early it would be asked again at once: a busy loop.
    #[tokio::test]
    async fn whoever_finds_no_token_asks_again_when_there_is_one() {
        let second = Duration::from_secs(1);
        let limits =
            Limits { concurrency: 1, requests_per_second: 1, breaker_failures: 1, breaker_open: second };
        let before = Instant::now();
        let lane = Lane::new(&limits);
        let again = std::iter::repeat_with(|| lane.take(AttemptKind::Send, false)).find_map(Result::err);
        assert!(again.unwrap() >= before + second);
    }
}

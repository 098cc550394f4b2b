//! Limits one merchant's attempts: how many run at once, and how many start in a second.

use super::GateLimits;
use crate::domain::{
    finding::AttemptKind,
    slots::AttemptSlots,
    token_share::{NoToken, TokenShare},
};
use parking_lot::Mutex;
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How long a limiter counts as jammed after an attempt waited in vain, while any attempt still waits.
const JAMMED_FOR: Duration = Duration::from_secs(1);

pub struct MerchantLimiter {
    slots: Arc<Mutex<AttemptSlots>>,
    /// A place has become free.
    freed: Arc<Notify>,
    is_limited: bool,
    rate: Mutex<TokenShare>,
    /// Another block of tokens is wanted.
    wanted: Notify,
    /// One has come.
    added: Notify,
    sends: WaitQueue,
    inquiries: WaitQueue,
    /// Follow-up found inquiries due.
    inquiries_due: AtomicBool,
}

/// Those who wait, first come first served: only the first one watches places and the clock.
#[derive(Default)]
struct WaitQueue {
    first: tokio::sync::Mutex<()>,
    waiting: AtomicU32,
    jammed: Mutex<Option<Jam>>,
}

/// Attempts wait in vain: since when without a gap, and until when that is taken for the truth.
#[derive(Debug, Clone, Copy)]
struct Jam {
    since: Instant,
    until: Instant,
}

/// Counts one waiting attempt, also when its future is dropped. When one stops waiting, the other kind may go.
struct Waiting<'a> {
    limiter: &'a MerchantLimiter,
    kind: AttemptKind,
}

/// The place of one attempt.
#[derive(Debug)]
pub struct AttemptSlot {
    slots: Arc<Mutex<AttemptSlots>>,
    freed: Arc<Notify>,
    kind: AttemptKind,
}

impl MerchantLimiter {
    pub fn new(limits: &GateLimits) -> Self {
        Self {
            slots: Arc::new(Mutex::new(AttemptSlots::new(limits.concurrency))),
            freed: Arc::default(),
            is_limited: limits.requests_per_second > 0,
            rate: Mutex::new(TokenShare::new(limits.requests_per_second)),
            wanted: Notify::new(),
            added: Notify::new(),
            sends: WaitQueue::default(),
            inquiries: WaitQueue::default(),
            inquiries_due: AtomicBool::new(false),
        }
    }

    /// Waits for a place, then for a token. Only the first of each kind holds a place while it waits for its
    /// token.
    pub async fn enter(&self, kind: AttemptKind) -> AttemptSlot {
        if !self.is_limited
            && !self.queue(kind).anybody_waits()
            && let Some(slot) = self.free_slot(kind)
        {
            return slot;
        }
        let waiting = self.wait(kind);
        self.want_tokens();
        let _first = self.queue(kind).first.lock().await;
        let slot = self.slot(kind).await;
        if self.is_limited {
            self.token(kind).await;
        }
        drop(waiting);
        self.want_tokens();
        slot
    }

    async fn slot(&self, kind: AttemptKind) -> AttemptSlot {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            match self.free_slot(kind) {
                Some(slot) => return slot,
                None => freed.await,
            }
        }
    }

    fn free_slot(&self, kind: AttemptKind) -> Option<AttemptSlot> {
        let other_waits = self.other(kind).anybody_waits();
        let taken = self.slots.lock().take(kind, other_waits);
        let (slots, freed) = (Arc::clone(&self.slots), Arc::clone(&self.freed));
        taken.then(|| AttemptSlot { slots, freed, kind })
    }

    async fn token(&self, kind: AttemptKind) {
        loop {
            let mut added = pin!(self.added.notified());
            added.as_mut().enable();
            let inquiries_due = kind == AttemptKind::Send && self.inquiries_due.load(Ordering::Relaxed);
            let other_waits = self.other(kind).anybody_waits() || inquiries_due;
            let taken = self.rate.lock().take(kind, other_waits, super::now());
            match taken {
                Ok(()) => return,
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

    /// An attempt waited in vain.
    pub fn jam(&self, kind: AttemptKind) {
        let now = Instant::now();
        let mut jammed = self.queue(kind).jammed.lock();
        let since = jammed.filter(|jam| now < jam.until).map_or(now, |jam| jam.since);
        *jammed = Some(Jam { since, until: now + JAMMED_FOR });
    }

    /// Since when a new attempt would wait in vain; `None`: not now.
    pub fn jammed_since(&self, kind: AttemptKind) -> Option<Instant> {
        let queue = self.queue(kind);
        let jam = queue.jammed.lock().filter(|jam| Instant::now() < jam.until)?;
        queue.anybody_waits().then_some(jam.since)
    }

    /// Whether it is the tokens that are short.
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// Follow-up says whether any inquiry is due: then one token in five is kept for inquiries.
    pub fn set_inquiries_due(&self, due: bool) {
        self.inquiries_due.store(due, Ordering::Relaxed);
    }

    fn want_tokens(&self) {
        if self.is_limited && self.next_block().is_some() {
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
        self.rate.lock().next_block(waiting, super::now())
    }

    /// Takes a token back for which DOKU was not asked.
    pub fn return_token(&self) {
        if self.is_limited {
            self.rate.lock().return_token(super::now());
            self.added.notify_waiters();
        }
    }

    /// Takes in a block whose first token is usable at `starts`.
    pub fn add(&self, starts: Instant, tokens: u32) {
        self.rate.lock().add(starts.into_std(), tokens);
        self.added.notify_waiters();
    }

    fn wait(&self, kind: AttemptKind) -> Waiting<'_> {
        self.queue(kind).waiting.fetch_add(1, Ordering::Relaxed);
        Waiting { limiter: self, kind }
    }

    fn queue(&self, kind: AttemptKind) -> &WaitQueue {
        match kind {
            AttemptKind::Send => &self.sends,
            AttemptKind::Inquiry => &self.inquiries,
        }
    }

    fn other(&self, kind: AttemptKind) -> &WaitQueue {
        match kind {
            AttemptKind::Send => &self.inquiries,
            AttemptKind::Inquiry => &self.sends,
        }
    }
}

impl Drop for AttemptSlot {
    fn drop(&mut self) {
        self.slots.lock().release(self.kind);
        self.freed.notify_waiters();
    }
}

impl WaitQueue {
    fn anybody_waits(&self) -> bool {
        self.how_many_wait() > 0
    }

    fn how_many_wait(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.limiter.queue(self.kind).waiting.fetch_sub(1, Ordering::Relaxed);
        self.limiter.freed.notify_waiters();
        self.limiter.added.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttemptKind::{Inquiry, Send};

    fn limits(concurrency: u32, requests_per_second: u32) -> GateLimits {
        let breaker_open = Duration::from_secs(1);
        GateLimits { prefetch: 16, concurrency, requests_per_second, breaker_failures: 1, breaker_open }
    }

    #[test]
    fn somebody_waits_until_all_have_gone() {
        let limiter = MerchantLimiter::new(&limits(1, 0));
        assert!(!limiter.sends.anybody_waits());
        let (first, second) = (limiter.wait(Send), limiter.wait(Send));
        drop(first);
        assert!(limiter.sends.anybody_waits());
        drop(second);
        assert!(!limiter.sends.anybody_waits());
    }

    #[tokio::test]
    async fn whoever_finds_no_token_waits_for_a_block_or_for_its_moment() {
        let limiter = MerchantLimiter::new(&limits(2, 1));
        let feed = async || {
            limiter.wants_tokens().await;
            assert_eq!(limiter.next_block(), Some(1));
            limiter.add(Instant::now() + Duration::from_millis(30), 1);
            Instant::now()
        };
        let enter = async || {
            drop(limiter.enter(Send).await);
            Instant::now()
        };
        let (entered, fed) = tokio::join!(enter(), feed());
        assert!(entered >= fed + Duration::from_millis(29), "before its moment");
        assert_eq!(limiter.next_block(), None, "nobody waits");
    }

    #[tokio::test]
    async fn inquiries_that_hang_leave_half_of_the_places_to_sends() {
        let limiter = MerchantLimiter::new(&limits(4, 0));
        let _hanging = (limiter.enter(Inquiry).await, limiter.enter(Inquiry).await);
        let third = tokio::time::timeout(Duration::from_millis(20), limiter.enter(Inquiry)).await;
        assert!(third.is_err(), "a third place for inquiries");
        let _sends = (limiter.enter(Send).await, limiter.enter(Send).await);
    }

    #[tokio::test]
    async fn whoever_waited_in_vain_jams_the_lane_while_somebody_waits() {
        let limiter = MerchantLimiter::new(&limits(1, 0));
        let slot = limiter.enter(Send).await;
        limiter.jam(Send);
        assert!(limiter.jammed_since(Send).is_none(), "nobody waits");
        let mut waits = Box::pin(limiter.enter(Send));
        assert!(futures_util::poll!(&mut waits).is_pending());
        assert!(limiter.jammed_since(Send).is_some());
        assert!(limiter.jammed_since(Inquiry).is_none(), "the other kind's own");
        drop(slot);
        drop(waits.await);
        assert!(limiter.jammed_since(Send).is_none());
    }
}

//! Who may ask DOKU now: concurrency, rate and breakers, shared by the worker and follow-up.
//!
//! A permit is taken before the claim, so that no lease runs out in our own queue. Breakers stop sends;
//! they must never stop an inquiry. A further reason to stop sends belongs into `Breakers`.

mod breakers;
mod lane;
mod tokens;

use crate::domain::{
    breaker::Phase,
    ids::MerchantName,
    learned::{AttemptKind, Health},
    pause::Paused,
};
use breakers::{Breakers, Changed, Probes};
use lane::Lane;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};

/// The configured limits (`doku.concurrency`, `doku.requests_per_second`, `breaker.*`).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Attempts under way at once, per merchant.
    pub concurrency: u32,
    /// Per merchant; 0: no limit.
    pub requests_per_second: u32,
    pub breaker_failures: u32,
    pub breaker_open: Duration,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPermit {
    /// Sends are stopped, or the merchant is not configured.
    Stopped,
    /// None became free within the wait.
    Busy,
}

/// What the command consumers are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    Open,
    /// One message at a time: its send tries whether DOKU works again.
    Probe,
    /// Take nothing; commands wait in RabbitMQ.
    Stopped,
}

/// Whose sends cannot start now, for follow-up's filter. A running probe stops the others too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    pub all: bool,
    pub merchants: Vec<MerchantName>,
}

/// How the breakers stand: DOKU's, and those of merchants that are not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases {
    pub doku: Phase,
    pub merchants: BTreeMap<MerchantName, Phase>,
}

pub struct Gate {
    breaker_open: Duration,
    lanes: BTreeMap<MerchantName, Lane>,
    breakers: Mutex<Breakers>,
    sends: watch::Sender<Sends>,
    inquiries_due: AtomicBool,
}

/// The right to make one attempt. It ends by `learned`, or unused by being dropped.
#[must_use]
pub struct Permit {
    gate: Arc<Gate>,
    merchant: MerchantName,
    kind: AttemptKind,
    probes: Probes,
    /// DOKU is asked: its token is used up.
    is_used: bool,
    _slot: OwnedSemaphorePermit,
}

impl Gate {
    /// No send starts before `set_paused` has told what operators paused.
    pub fn new(limits: &Limits, merchants: impl IntoIterator<Item = MerchantName>) -> Arc<Self> {
        let lanes: BTreeMap<_, _> =
            merchants.into_iter().map(|merchant| (merchant, Lane::new(limits))).collect();
        let breakers = Breakers::new(limits, lanes.keys());
        Arc::new(Self {
            breaker_open: limits.breaker_open,
            lanes,
            breakers: Mutex::new(breakers),
            sends: watch::Sender::new(Sends::Stopped),
            inquiries_due: AtomicBool::new(false),
        })
    }

    /// Waits for a place and a token, at most `wait_max`. A send is refused at once while a breaker is
    /// open or an operator paused it; an inquiry never is.
    pub async fn permit(
        self: &Arc<Self>,
        merchant: &MerchantName,
        kind: AttemptKind,
        wait_max: Duration,
    ) -> Result<Permit, NoPermit> {
        let lane = self.lanes.get(merchant).ok_or(NoPermit::Stopped)?;
        if kind == AttemptKind::Send && self.lock().stops(merchant, now()) {
            return Err(NoPermit::Stopped);
        }
        let inquiries_due = || self.inquiries_due.load(Ordering::Relaxed);
        let slot = match tokio::time::timeout(wait_max, lane.enter(kind, inquiries_due)).await {
            Ok(Some(slot)) => slot,
            Ok(None) | Err(_) => return Err(NoPermit::Busy),
        };
        // Judged last: a probe that still waited for its token would occupy the only place.
        let probes = match kind {
            AttemptKind::Send => self.lock().admit(merchant, now()).ok_or(NoPermit::Stopped)?,
            AttemptKind::Inquiry => Probes::default(),
        };
        Ok(Permit {
            gate: Arc::clone(self),
            merchant: merchant.clone(),
            kind,
            probes,
            is_used: false,
            _slot: slot,
        })
    }

    /// Whose sends cannot start now. `flow` tells of every change.
    pub fn sends_stopped(&self) -> Stopped {
        self.lock().stopped(now())
    }

    /// What the command consumers are to do, now and at every change. It may say the same word twice: a
    /// probe that became free is news.
    pub fn flow(&self) -> watch::Receiver<Sends> {
        self.sends.subscribe()
    }

    /// How the breakers stand, pauses aside.
    pub fn phases(&self) -> Phases {
        self.lock().phases(now())
    }

    /// What operators paused; `None`: not known yet.
    pub fn paused(&self) -> Option<Paused> {
        self.lock().paused().cloned()
    }

    /// Says what operators paused. Sends that have their permit are made.
    pub fn set_paused(&self, paused: Paused) {
        let is_news = self.lock().set_paused(paused);
        if is_news {
            self.announce();
        }
    }

    /// Follow-up says whether any inquiry is due: then one token in five is kept for inquiries.
    pub fn set_inquiries_due(&self, due: bool) {
        self.inquiries_due.store(due, Ordering::Relaxed);
    }

    fn learned(self: &Arc<Self>, merchant: &MerchantName, probes: Probes, health: Health) {
        let changed = self.lock().learned(merchant, probes, health, now());
        match changed {
            Changed::Nothing => {}
            Changed::Something => self.announce(),
            Changed::Opened => {
                self.announce();
                self.announce_when_half_open();
            }
        }
    }

    /// An open breaker half-opens by time alone, and nobody comes by to notice while the consumers are
    /// stopped: this task looks once, and ends.
    fn announce_when_half_open(self: &Arc<Self>) {
        let (gate, open) = (Arc::downgrade(self), self.breaker_open);
        tokio::spawn(async move {
            tokio::time::sleep(open).await;
            if let Some(gate) = gate.upgrade() {
                gate.announce();
            }
        });
    }

    /// Under the lock, so that the last word said is the last one found.
    fn announce(&self) {
        let breakers = self.lock();
        breakers.show(now());
        self.sends.send_replace(breakers.sends(now()));
    }

    fn lock(&self) -> MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// DOKU is asked now. An unused permit gives its token back: the order may have been another process's.
    pub fn used(&mut self) {
        self.is_used = true;
    }

    /// Tells the breakers what the attempt says about DOKU, and gives the place back. Inquiries neither
    /// open nor close a breaker: another service of DOKU's answers them.
    pub fn learned(mut self, health: Health) {
        self.used();
        if self.kind == AttemptKind::Send {
            // Taken, so that the drop does not release a later probe.
            let probes = std::mem::take(&mut self.probes);
            self.gate.learned(&self.merchant, probes, health);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(lane) = self.gate.lanes.get(&self.merchant).filter(|_| !self.is_used) {
            lane.give_back();
        }
        if self.probes.any() {
            self.gate.lock().release(&self.merchant, self.probes);
            self.gate.announce();
        }
    }
}

impl Stopped {
    pub fn stops(&self, merchant: &MerchantName) -> bool {
        self.all || self.merchants.contains(merchant)
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests;

//! Who may ask DOKU now: concurrency, rate and breakers, shared by the worker and follow-up. Places and tokens
//! are kept by merchant.
//!
//! A permit is taken before the claim, so that no lease runs out in our own queue. What stops sends must never
//! stop an inquiry: inquiries have a breaker of their own, for a Check Status that hangs. A further reason to stop
//! sends belongs into `Breakers`.

mod breakers;
mod delivery_places;
mod merchant_limiter;
mod tokens;

use crate::domain::{
    Time,
    breaker::{Breaker, BreakerPhase},
    command::CommandKind,
    finding::{AttemptKind, DokuHealth},
    ids::MerchantName,
    pause::Paused,
};
use breakers::{Breakers, Probes};
use delivery_places::{DeliveryPlace, DeliveryPlaces};
use merchant_limiter::{AttemptSlot, MerchantLimiter};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// While one send at a time may try: how many due orders are looked at for one that was not refused before.
const PROBE_CANDIDATES: u32 = 16;

/// The configured limits (`amqp.prefetch`, `doku.concurrency`, `doku.requests_per_second`, `breaker.*`).
#[derive(Debug, Clone)]
pub struct GateLimits {
    /// Deliveries of a queue in hand.
    pub prefetch: u16,
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
    /// Attempts of this kind are stopped, or the merchant is not configured.
    Stopped,
    /// None became free within the wait.
    Busy,
}

/// What keeps a merchant's due sends from going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    pub by: StopBy,
    pub since: Since,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopBy {
    /// An operator's pause, or it is not known yet what is paused.
    Pause,
    /// DOKU's breaker.
    Doku,
    /// The merchant's own breaker.
    Merchant,
    /// More sends are due than `doku.requests_per_second` lets go.
    Rate,
}

/// When something began, by the database's clock or by how long ago that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    At(Time),
    Ago(Duration),
    Unknown,
}

/// How the breakers stand: DOKU's, and those of merchants that are not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases {
    pub doku: BreakerPhase,
    pub merchants: BTreeMap<MerchantName, BreakerPhase>,
}

pub struct Gate {
    breaker_open: Duration,
    requests_per_second: u32,
    limiters: BTreeMap<MerchantName, MerchantLimiter>,
    /// Those of payments and of refunds; `None`: there is one merchant, who takes no place from others.
    places: Option<[Arc<DeliveryPlaces>; 2]>,
    breakers: Mutex<Breakers>,
}

/// The right to make one attempt. It ends by `learned`, or unused by being dropped.
#[must_use]
pub struct Permit {
    gate: Arc<Gate>,
    merchant: MerchantName,
    probes: Probes,
    /// DOKU is asked: its token is used up.
    is_used: bool,
    _slot: AttemptSlot,
    _place: Option<DeliveryPlace>,
}

impl Gate {
    /// No send starts before `set_paused` has reported what operators paused.
    pub fn new(limits: &GateLimits, merchants: impl IntoIterator<Item = MerchantName>) -> Arc<Self> {
        let limiters: BTreeMap<_, _> =
            merchants.into_iter().map(|merchant| (merchant, MerchantLimiter::new(limits))).collect();
        let breakers = Breakers::new(limits, limiters.keys());
        let places = || DeliveryPlaces::new(limits.prefetch, limiters.keys());
        let places = (limiters.len() > 1).then(|| [places(), places()]);
        Arc::new(Self {
            breaker_open: limits.breaker_open,
            requests_per_second: limits.requests_per_second,
            limiters,
            places,
            breakers: Mutex::new(breakers),
        })
    }

    /// The permit for a command's first send, while its delivery is held. It is not waited for where others have
    /// just waited in vain: the delivery would only keep other merchants' waiting.
    pub async fn first_permit(
        self: &Arc<Self>,
        merchant: &MerchantName,
        command: CommandKind,
        wait_max: Duration,
    ) -> Result<Permit, NoPermit> {
        let limiter = self.limiters.get(merchant).ok_or(NoPermit::Stopped)?;
        if limiter.jammed_since(AttemptKind::Send).is_some() {
            return Err(NoPermit::Busy);
        }
        let (mut place, begun) = (None, Instant::now());
        if let Some([payments, refunds]) = &self.places {
            // What is stopped waits for no place.
            if self.breakers.lock().stops(merchant, AttemptKind::Send, now()) {
                return Err(NoPermit::Stopped);
            }
            let places = match command {
                CommandKind::Payment => payments,
                CommandKind::Refund => refunds,
            };
            place = Some(places.take(merchant, wait_max).await.ok_or(NoPermit::Busy)?);
        }
        let left = wait_max.saturating_sub(begun.elapsed());
        let mut permit = self.permit(merchant, AttemptKind::Send, left).await?;
        permit._place = place;
        Ok(permit)
    }

    /// Waits for a place and a token, at most `wait_max`. It is refused at once while a breaker of its kind is
    /// open; a send also while an operator paused it.
    pub async fn permit(
        self: &Arc<Self>,
        merchant: &MerchantName,
        kind: AttemptKind,
        wait_max: Duration,
    ) -> Result<Permit, NoPermit> {
        let limiter = self.limiters.get(merchant).ok_or(NoPermit::Stopped)?;
        if self.breakers.lock().stops(merchant, kind, now()) {
            return Err(NoPermit::Stopped);
        }
        let Ok(slot) = tokio::time::timeout(wait_max, limiter.enter(kind)).await else {
            limiter.jam(kind);
            return Err(NoPermit::Busy);
        };
        // Judged last: a probe that still waited for its token would occupy the only place.
        let Some(probes) = self.breakers.lock().admit(merchant, kind, now()) else {
            limiter.return_token();
            return Err(NoPermit::Stopped);
        };
        let (gate, merchant) = (Arc::clone(self), merchant.clone());
        Ok(Permit { gate, merchant, probes, is_used: false, _slot: slot, _place: None })
    }

    /// How many due orders of this kind are of use now: none while it is stopped, and no more than go in a quarter of a
    /// second. More of them would come in larger looks, whose work others wait behind.
    pub fn wanted(&self, merchant: &MerchantName, kind: AttemptKind) -> u32 {
        let breakers = self.breakers.lock();
        if breakers.stops(merchant, kind, now()) {
            return 0;
        }
        if breakers.probes(merchant, kind, now()) {
            return PROBE_CANDIDATES;
        }
        if self.requests_per_second > 0 { self.requests_per_second.div_ceil(4) } else { u32::MAX }
    }

    /// While one send at a time may try, one that was not refused before is to: the orders that were.
    pub fn probes_without(&self, merchant: &MerchantName) -> Option<impl Fn(i64) -> bool + '_> {
        let is_probing = self.breakers.lock().probes(merchant, AttemptKind::Send, now());
        let merchant = merchant.clone();
        is_probing.then_some(move |order_key| self.breakers.lock().was_refused(&merchant, order_key))
    }

    /// What keeps a merchant's due sends from going now.
    pub fn stop_of(&self, merchant: &MerchantName) -> Option<Stop> {
        let stop = self.breakers.lock().stop_of(merchant, now());
        stop.or_else(|| {
            let limiter = self.limiters.get(merchant).filter(|limiter| limiter.is_limited())?;
            let since = limiter.jammed_since(AttemptKind::Send)?;
            Some(Stop { by: StopBy::Rate, since: Since::Ago(since.elapsed()) })
        })
    }

    /// The merchants that it keeps slots and tokens for.
    pub fn merchants(&self) -> impl Iterator<Item = &MerchantName> {
        self.limiters.keys()
    }

    /// How the breakers stand, pauses aside.
    pub fn phases(&self) -> Phases {
        self.breakers.lock().phases(now())
    }

    /// What operators paused; `None`: not known yet.
    pub fn paused(&self) -> Option<Paused> {
        self.breakers.lock().paused().cloned()
    }

    /// Says what operators paused. Sends that have their permit are made.
    pub fn set_paused(&self, paused: Paused) {
        self.breakers.lock().set_paused(paused);
    }

    /// Follow-up says whether any inquiry of a merchant is due: then one token in five is kept for inquiries.
    pub fn set_inquiries_due(&self, merchant: &MerchantName, due: bool) {
        if let Some(limiter) = self.limiters.get(merchant) {
            limiter.set_inquiries_due(due);
        }
    }

    /// An open breaker half-opens by time alone, and no attempt comes by to notice while nothing is due: this task
    /// looks then, and once no send has tried for long, and ends.
    fn show_when_half_open(self: &Arc<Self>) {
        let (gate, opened) = (Arc::downgrade(self), Instant::now());
        let looks = Breaker::changes_after(self.breaker_open);
        tokio::spawn(async move {
            for after in looks {
                tokio::time::sleep_until(opened + after).await;
                if let Some(gate) = gate.upgrade() {
                    gate.breakers.lock().show(now());
                }
            }
        });
    }
}

impl Permit {
    /// DOKU is asked now. An unused permit gives its token back: the order may have been another process's.
    pub fn used(&mut self) {
        self.is_used = true;
    }

    /// Tells the breakers what a send for this order says about DOKU, and gives the place back.
    pub fn sent(mut self, order_key: i64, health: DokuHealth) {
        self.used();
        // Taken, so that the drop does not release a later probe.
        let probes = std::mem::take(&mut self.probes);
        if self.gate.breakers.lock().sent(&self.merchant, order_key, probes, health, now()) {
            self.gate.show_when_half_open();
        }
    }

    /// Tells whether an inquiry hung, and gives the place back. No inquiry opens or closes a breaker of sends:
    /// another service of DOKU's answers them.
    pub fn inquired(mut self, hung: bool) {
        self.used();
        let probes = std::mem::take(&mut self.probes);
        let health = if hung { DokuHealth::Unwell } else { DokuHealth::Well };
        self.gate.breakers.lock().inquired(&self.merchant, probes, health, now());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limiter) = self.gate.limiters.get(&self.merchant).filter(|_| !self.is_used) {
            limiter.return_token();
        }
        if self.probes.any() {
            self.gate.breakers.lock().release(&self.merchant, self.probes);
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests;

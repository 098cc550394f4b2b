//! Every reason to stop sends together: DOKU's breaker, one per merchant, and what operators paused. It is
//! decided here and nowhere else; each change is shown as a metric and logged.

use super::{Limits, Phases, Sends, Stopped};
use crate::{
    domain::{
        breaker::{Admission, Breaker, Phase},
        ids::MerchantName,
        learned::Health,
        pause::Paused,
    },
    metric,
};
use std::{collections::BTreeMap, time::Instant};

const SCOPE_DOKU: &str = "doku";

pub struct Breakers {
    doku: Breaker,
    merchants: BTreeMap<MerchantName, Breaker>,
    /// `None`: not known yet, and nobody's sends may start before it is.
    paused: Option<Paused>,
}

/// Which breakers a permit is the probe of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Probes {
    doku: bool,
    merchant: bool,
}

impl Probes {
    pub fn any(self) -> bool {
        self.doku || self.merchant
    }
}

/// What one send's health changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    Nothing,
    Something,
    /// A breaker opened: time alone will half-open it.
    Opened,
}

impl Breakers {
    pub fn new<'a>(limits: &Limits, merchants: impl Iterator<Item = &'a MerchantName>) -> Self {
        let own = || Breaker::of_merchant(limits.breaker_open);
        let merchants: BTreeMap<_, _> = merchants.map(|merchant| (merchant.clone(), own())).collect();
        for scope in std::iter::once(SCOPE_DOKU).chain(merchants.keys().map(MerchantName::as_str)) {
            show(scope, Phase::Closed);
        }
        let doku = Breaker::of_doku(limits.breaker_failures, limits.breaker_open);
        Self { doku, merchants, paused: None }
    }

    /// Asks for one send; `None`: it may not start.
    pub fn admit(&mut self, merchant: &MerchantName, now: Instant) -> Option<Probes> {
        // Before the breakers: a pause is not probed open.
        if self.pauses(merchant) {
            return None;
        }
        let own = self.merchants.get_mut(merchant)?;
        let doku = match self.doku.admit(now) {
            Admission::Pass => false,
            Admission::Probe => true,
            Admission::Stopped => return None,
        };
        let merchant = match own.admit(now) {
            Admission::Pass => false,
            Admission::Probe => true,
            Admission::Stopped => {
                if doku {
                    self.doku.release();
                }
                return None;
            }
        };
        Some(Probes { doku, merchant })
    }

    /// A send that was admitted did not ask DOKU.
    pub fn release(&mut self, merchant: &MerchantName, probes: Probes) {
        if probes.doku {
            self.doku.release();
        }
        if let Some(own) = self.merchants.get_mut(merchant).filter(|_| probes.merchant) {
            own.release();
        }
    }

    /// Takes in what a send says about DOKU and about the merchant's key.
    pub fn learned(
        &mut self,
        merchant: &MerchantName,
        probes: Probes,
        health: Health,
        now: Instant,
    ) -> Changed {
        let doku = learn(&mut self.doku, SCOPE_DOKU, probes.doku, health, now);
        let own = self
            .merchants
            .get_mut(merchant)
            .map_or(Changed::Nothing, |own| learn(own, merchant.as_str(), probes.merchant, health, now));
        match (doku, own) {
            (Changed::Opened, _) | (_, Changed::Opened) => Changed::Opened,
            (Changed::Something, _) | (_, Changed::Something) => Changed::Something,
            (Changed::Nothing, Changed::Nothing) => Changed::Nothing,
        }
    }

    /// What the command consumers are to do.
    pub fn sends(&self, now: Instant) -> Sends {
        let free = self.merchants.iter().filter(|(merchant, _)| !self.pauses(merchant));
        let mut own = free.map(|(_, breaker)| breaker.phase(now));
        let nobody_is_free = !self.merchants.is_empty() && own.clone().next().is_none();
        if self.pauses_everybody() || nobody_is_free {
            return Sends::Stopped;
        }
        match self.doku.phase(now) {
            Phase::Open => Sends::Stopped,
            Phase::HalfOpen { .. } => Sends::Probe,
            Phase::Closed if self.merchants.is_empty() => Sends::Open,
            Phase::Closed if own.clone().any(|phase| phase == Phase::Closed) => Sends::Open,
            Phase::Closed if own.all(|phase| phase == Phase::Open) => Sends::Stopped,
            Phase::Closed => Sends::Probe,
        }
    }

    /// Whose sends cannot start, for whatever reason.
    pub fn stopped(&self, now: Instant) -> Stopped {
        let own = self.merchants.iter().filter(|(_, breaker)| stops(breaker, now));
        let mut stopped = Stopped {
            all: stops(&self.doku, now) || self.pauses_everybody(),
            merchants: own.map(|(merchant, _)| merchant.clone()).collect(),
        };
        stopped.merchants.extend(self.paused.iter().flat_map(|paused| paused.merchants.clone()));
        stopped
    }

    /// How DOKU's breaker stands, and those of merchants that are not closed.
    pub fn phases(&self, now: Instant) -> Phases {
        let own = self.merchants.iter().map(|(merchant, breaker)| (merchant.clone(), breaker.phase(now)));
        Phases {
            doku: self.doku.phase(now),
            merchants: own.filter(|(_, phase)| *phase != Phase::Closed).collect(),
        }
    }

    /// Time alone changes a phase: it is shown to Prometheus here.
    pub fn show(&self, now: Instant) {
        show(SCOPE_DOKU, self.doku.phase(now));
        for (merchant, breaker) in &self.merchants {
            show(merchant.as_str(), breaker.phase(now));
        }
    }

    pub fn paused(&self) -> Option<&Paused> {
        self.paused.as_ref()
    }

    /// Takes in what operators paused; false where it was known.
    pub fn set_paused(&mut self, paused: Paused) -> bool {
        if self.paused.as_ref() == Some(&paused) {
            return false;
        }
        metric::paused(SCOPE_DOKU, paused.everybody);
        for merchant in self.merchants.keys() {
            metric::paused(merchant.as_str(), paused.merchants.contains(merchant));
        }
        let merchants: Vec<&str> = paused.merchants.iter().map(MerchantName::as_str).collect();
        if paused.any() {
            tracing::warn!(everybody = paused.everybody, ?merchants, "sends are paused by an operator");
        } else if self.paused.as_ref().is_some_and(Paused::any) {
            tracing::info!("sends go on: an operator resumed them");
        }
        self.paused = Some(paused);
        true
    }

    fn pauses_everybody(&self) -> bool {
        self.paused.as_ref().is_none_or(|paused| paused.everybody)
    }

    fn pauses(&self, merchant: &MerchantName) -> bool {
        self.paused.as_ref().is_none_or(|paused| paused.stops(merchant))
    }

    /// Whether a send of this merchant would be refused now.
    pub fn stops(&self, merchant: &MerchantName, now: Instant) -> bool {
        self.pauses(merchant)
            || stops(&self.doku, now)
            || self.merchants.get(merchant).is_none_or(|own| stops(own, now))
    }
}

fn stops(breaker: &Breaker, now: Instant) -> bool {
    match breaker.phase(now) {
        Phase::Closed | Phase::HalfOpen { probing: false } => false,
        Phase::HalfOpen { probing: true } | Phase::Open => true,
    }
}

fn learn(breaker: &mut Breaker, scope: &str, probe: bool, health: Health, now: Instant) -> Changed {
    let before = breaker.phase(now);
    breaker.learned(health, probe, now);
    let after = breaker.phase(now);
    if before == after {
        return Changed::Nothing;
    }
    show(scope, after);
    match after {
        Phase::Open => {
            tracing::warn!(scope, "sends are stopped: the breaker opened");
            Changed::Opened
        }
        Phase::Closed => {
            tracing::info!(scope, "sends go on: the breaker closed");
            Changed::Something
        }
        Phase::HalfOpen { .. } => Changed::Something,
    }
}

/// A half-open breaker counts as open: sends are not free yet.
fn show(scope: &str, phase: Phase) {
    let probing = match phase {
        Phase::HalfOpen { .. } => true,
        Phase::Closed | Phase::Open => false,
    };
    metric::breaker(scope, phase != Phase::Closed, probing);
}

//! Every reason to stop sends together: DOKU's breaker, one per merchant, and what operators paused; and what
//! stops inquiries. It is decided here and nowhere else; each change is shown as a metric and logged.

use super::{GateLimits, Phases, Since, Stop, StopBy};
use crate::{
    domain::{
        breaker::{Admission, Breaker, BreakerPhase},
        finding::{AttemptKind, DokuHealth},
        ids::MerchantName,
        pause::Paused,
    },
    metric,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

const SCOPE_DOKU: &str = "doku";
/// So many refused orders of one merchant are remembered, so that a probe is another one.
const REFUSED_MAX: usize = 1000;

pub struct Breakers {
    doku: Watched,
    merchants: BTreeMap<MerchantName, Own>,
    /// `None`: not known yet, and no send may start before it is.
    paused: Option<Paused>,
}

/// One merchant's.
struct Own {
    sends: Watched,
    inquiries: Watched,
    /// Orders that were refused, maybe for their content, and not answered since.
    refused: BTreeSet<i64>,
}

/// A breaker, and since when it is not closed.
struct Watched {
    breaker: Breaker,
    since: Option<Instant>,
}

/// Which breakers a permit is the probe of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Probes {
    doku: bool,
    merchant: bool,
    inquiries: bool,
}

impl Probes {
    pub fn any(self) -> bool {
        self.doku || self.merchant || self.inquiries
    }
}

impl Breakers {
    pub fn new<'a>(limits: &GateLimits, merchants: impl Iterator<Item = &'a MerchantName>) -> Self {
        let (failures, open) = (limits.breaker_failures, limits.breaker_open);
        let own = || Own {
            sends: Watched::new(Breaker::for_merchant(failures, open)),
            inquiries: Watched::new(Breaker::for_inquiries(failures, open)),
            refused: BTreeSet::new(),
        };
        let merchants: BTreeMap<_, _> = merchants.map(|merchant| (merchant.clone(), own())).collect();
        for scope in std::iter::once(SCOPE_DOKU).chain(merchants.keys().map(MerchantName::as_str)) {
            show(scope, BreakerPhase::Closed);
        }
        Self { doku: Watched::new(Breaker::for_doku(failures, open)), merchants, paused: None }
    }

    /// Asks for one attempt; `None`: it may not start.
    pub fn admit(&mut self, merchant: &MerchantName, kind: AttemptKind, now: Instant) -> Option<Probes> {
        match kind {
            AttemptKind::Send => self.admit_send(merchant, now),
            AttemptKind::Inquiry => {
                let own = self.merchants.get_mut(merchant)?;
                let inquiries = own.inquiries.admit(now)?;
                Some(Probes { inquiries, ..Probes::default() })
            }
        }
    }

    fn admit_send(&mut self, merchant: &MerchantName, now: Instant) -> Option<Probes> {
        // Before the breakers: a pause is not probed open.
        if self.pauses(merchant) {
            return None;
        }
        let own = self.merchants.get_mut(merchant)?;
        let doku = self.doku.admit(now)?;
        let Some(merchant) = own.sends.admit(now) else {
            if doku {
                self.doku.breaker.release();
            }
            return None;
        };
        Some(Probes { doku, merchant, inquiries: false })
    }

    /// An attempt that was admitted did not ask DOKU.
    pub fn release(&mut self, merchant: &MerchantName, probes: Probes) {
        if probes.doku {
            self.doku.breaker.release();
        }
        if let Some(own) = self.merchants.get_mut(merchant) {
            if probes.merchant {
                own.sends.breaker.release();
            }
            if probes.inquiries {
                own.inquiries.breaker.release();
            }
        }
    }

    /// Takes in what a send says about DOKU and about the merchant's key. True if a breaker opened: time
    /// alone will half-open it.
    pub fn sent(
        &mut self,
        merchant: &MerchantName,
        order_key: i64,
        probes: Probes,
        health: DokuHealth,
        now: Instant,
    ) -> bool {
        let doku = self.doku.learned(SCOPE_DOKU, health, order_key, probes.doku, now);
        let has_others = self.merchants.len() > 1;
        let Some(own) = self.merchants.get_mut(merchant) else { return doku };
        match health {
            DokuHealth::OrderRefused if own.refused.len() < REFUSED_MAX => {
                own.refused.insert(order_key);
            }
            DokuHealth::Well => {
                own.refused.remove(&order_key);
            }
            DokuHealth::OrderRefused
            | DokuHealth::Unwell
            | DokuHealth::AccountUnwell
            | DokuHealth::KeyRefused => {}
        }
        let merchant_opened = own.sends.learned(merchant.as_str(), health, order_key, probes.merchant, now);
        if doku && has_others {
            own.sends.try_last(merchant.as_str(), now);
        }
        merchant_opened || doku
    }

    /// Takes in whether an inquiry hung.
    pub fn inquired(&mut self, merchant: &MerchantName, probes: Probes, health: DokuHealth, now: Instant) {
        let Some(own) = self.merchants.get_mut(merchant) else { return };
        let before = own.inquiries.breaker.phase(now);
        own.inquiries.breaker.learned(health, 0, probes.inquiries, now);
        match (before, own.inquiries.breaker.phase(now)) {
            (BreakerPhase::Closed, BreakerPhase::Open) => {
                tracing::warn!(%merchant, "Check Status hangs: it is left alone for a while");
            }
            (BreakerPhase::HalfOpen { .. }, BreakerPhase::Closed) => {
                tracing::info!(%merchant, "Check Status answers again");
            }
            (_, _) => {}
        }
    }

    /// Whether an attempt of this kind would be refused now.
    pub fn stops(&self, merchant: &MerchantName, kind: AttemptKind, now: Instant) -> bool {
        let Some(own) = self.merchants.get(merchant) else { return true };
        match kind {
            AttemptKind::Send => self.pauses(merchant) || stops(&self.doku, now) || stops(&own.sends, now),
            AttemptKind::Inquiry => stops(&own.inquiries, now),
        }
    }

    /// Whether one attempt at a time may try.
    pub fn probes(&self, merchant: &MerchantName, kind: AttemptKind, now: Instant) -> bool {
        let Some(own) = self.merchants.get(merchant) else { return false };
        let is_half_open =
            |watched: &Watched| watched.breaker.phase(now) == BreakerPhase::HalfOpen { probing: false };
        match kind {
            AttemptKind::Send => is_half_open(&self.doku) || is_half_open(&own.sends),
            AttemptKind::Inquiry => is_half_open(&own.inquiries),
        }
    }

    /// Whether something refused this order, maybe for its content, and nothing has answered it since.
    pub fn was_refused(&self, merchant: &MerchantName, order_key: i64) -> bool {
        self.merchants.get(merchant).is_some_and(|own| own.refused.contains(&order_key))
    }

    /// Why a merchant's sends stop, where they do.
    pub fn stop_of(&self, merchant: &MerchantName, now: Instant) -> Option<Stop> {
        let own = self.merchants.get(merchant)?;
        let Some(paused) = &self.paused else {
            return Some(Stop { by: StopBy::Pause, since: Since::Unknown });
        };
        if let Some(since) = paused.since(merchant) {
            return Some(Stop { by: StopBy::Pause, since: Since::At(since) });
        }
        let open = |watched: &Watched, by| {
            let since =
                watched.since.map_or(Since::Unknown, |at| Since::Ago(now.saturating_duration_since(at)));
            (watched.breaker.reported(now) != BreakerPhase::Closed).then_some(Stop { by, since })
        };
        open(&self.doku, StopBy::Doku).or_else(|| open(&own.sends, StopBy::Merchant))
    }

    /// How DOKU's breaker stands, and those of merchants that are not closed.
    pub fn phases(&self, now: Instant) -> Phases {
        let own = self.merchants.iter();
        let own = own.map(|(merchant, own)| (merchant.clone(), own.sends.breaker.reported(now)));
        Phases {
            doku: self.doku.breaker.reported(now),
            merchants: own.filter(|(_, phase)| *phase != BreakerPhase::Closed).collect(),
        }
    }

    /// Time alone changes a phase: it is shown to Prometheus here.
    pub fn show(&self, now: Instant) {
        show(SCOPE_DOKU, self.doku.breaker.reported(now));
        for (merchant, own) in &self.merchants {
            show(merchant.as_str(), own.sends.breaker.reported(now));
        }
    }

    pub fn paused(&self) -> Option<&Paused> {
        self.paused.as_ref()
    }

    /// Takes in what operators paused.
    pub fn set_paused(&mut self, paused: Paused) {
        if self.paused.as_ref() == Some(&paused) {
            return;
        }
        metric::paused(SCOPE_DOKU, paused.all.is_some());
        for merchant in self.merchants.keys() {
            metric::paused(merchant.as_str(), paused.merchants.contains_key(merchant));
        }
        let merchants: Vec<&str> = paused.merchants.keys().map(MerchantName::as_str).collect();
        if paused.any() {
            let all = paused.all.is_some();
            tracing::warn!(all, ?merchants, "sends are paused by an operator");
        } else if self.paused.as_ref().is_some_and(Paused::any) {
            tracing::info!("sends go on: an operator resumed them");
        }
        self.paused = Some(paused);
    }

    fn pauses(&self, merchant: &MerchantName) -> bool {
        self.paused.as_ref().is_none_or(|paused| paused.stops(merchant))
    }
}

impl Watched {
    fn new(breaker: Breaker) -> Self {
        Self { breaker, since: None }
    }

    /// `Some(true)`: as the probe.
    fn admit(&mut self, now: Instant) -> Option<bool> {
        match self.breaker.admit(now) {
            Admission::Pass => Some(false),
            Admission::Probe => Some(true),
            Admission::Stopped => None,
        }
    }

    /// True if it opened.
    fn learned(
        &mut self,
        scope: &str,
        health: DokuHealth,
        order_key: i64,
        probe: bool,
        now: Instant,
    ) -> bool {
        self.change_breaker(scope, now, |breaker| breaker.learned(health, order_key, probe, now))
    }

    fn try_last(&mut self, scope: &str, now: Instant) {
        self.change_breaker(scope, now, |breaker| breaker.try_last(now));
    }

    /// True if it opened.
    fn change_breaker(&mut self, scope: &str, now: Instant, change: impl FnOnce(&mut Breaker)) -> bool {
        let before = self.breaker.phase(now);
        change(&mut self.breaker);
        let after = self.breaker.phase(now);
        if before == after {
            return false;
        }
        show(scope, after);
        match after {
            BreakerPhase::Open => {
                self.since = self.since.or(Some(now));
                tracing::warn!(scope, "sends are stopped: the breaker opened");
                true
            }
            BreakerPhase::Closed => {
                self.since = None;
                tracing::info!(scope, "sends go on: the breaker closed");
                false
            }
            BreakerPhase::HalfOpen { .. } => false,
        }
    }
}

fn stops(watched: &Watched, now: Instant) -> bool {
    match watched.breaker.phase(now) {
        BreakerPhase::Closed | BreakerPhase::HalfOpen { probing: false } => false,
        BreakerPhase::HalfOpen { probing: true } | BreakerPhase::Open => true,
    }
}

/// A half-open breaker counts as open while anybody tries: sends are not free yet.
fn show(scope: &str, phase: BreakerPhase) {
    let probing = match phase {
        BreakerPhase::HalfOpen { .. } => true,
        BreakerPhase::Closed | BreakerPhase::Open => false,
    };
    metric::breaker(scope, phase != BreakerPhase::Closed, probing);
}

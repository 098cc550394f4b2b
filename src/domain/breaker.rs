//! When sends stop, and who may try whether they can go on; inquiries have breakers of their own. Pure: time
//! comes in.
//!
//! What sends meet must never stop an inquiry or a notification: they are how doubt ends.

use super::finding::DokuHealth;
use std::time::{Duration, Instant};

/// If this many different orders in a row, or one order this many times, are refused, the cause is more than
/// one order's content.
const REFUSALS_MAX: usize = 3;
/// So many times as long as it was open. By default four minutes, longer than what waits is put off at first, and shorter
/// than what a person is woken for.
const IDLE_AFTER: u32 = 16;

/// This part of the time that it was open is for the other merchants' first tries.
const LAST_AFTER: u32 = 4;

/// What a breaker guards; it decides which health counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guards {
    /// DOKU itself: a number of sends in a row that found it unwell open it.
    Doku { failures: u32 },
    /// One merchant's key, clock, route and share of DOKU. One refusal of the key opens it; so do several that may be
    /// about one order's content, and a number of sends in a row that found DOKU unwell for this account alone.
    Merchant { failures: u32 },
    /// Check Status, as one merchant meets it: a number of inquiries in a row that hung open it.
    Inquiries { failures: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BreakerState {
    Closed {
        failures: u32,
        /// The orders that were refused since anything was answered, one for each refusal.
        refused: Vec<i64>,
    },
    /// Open before `until`, half-open from then on.
    Tripped { until: Instant, probing: bool },
}

/// How a breaker stands at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerPhase {
    Closed,
    /// One send at a time may try. `probing`: one does.
    HalfOpen {
        probing: bool,
    },
    Open,
}

/// Whether a send may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    Pass,
    /// It may, and what it learns decides. The caller must report its end: `learned` or `release`.
    Probe,
    Stopped,
}

#[derive(Debug, Clone)]
pub struct Breaker {
    guards: Guards,
    open: Duration,
    state: BreakerState,
}

impl Breaker {
    /// The breaker of DOKU (`breaker.failures`, at least 1; `breaker.open_ms`).
    pub fn for_doku(failures: u32, open: Duration) -> Self {
        Self { guards: Guards::Doku { failures }, open, state: BreakerState::closed() }
    }

    /// The breaker of one merchant's key, clock, route and share of DOKU.
    pub fn for_merchant(failures: u32, open: Duration) -> Self {
        Self { guards: Guards::Merchant { failures }, open, state: BreakerState::closed() }
    }

    /// The breaker of one merchant's inquiries (`breaker.failures`, `breaker.open_ms`).
    pub fn for_inquiries(failures: u32, open: Duration) -> Self {
        Self { guards: Guards::Inquiries { failures }, open, state: BreakerState::closed() }
    }

    pub fn phase(&self, now: Instant) -> BreakerPhase {
        match self.state {
            BreakerState::Closed { .. } => BreakerPhase::Closed,
            BreakerState::Tripped { until, .. } if now < until => BreakerPhase::Open,
            BreakerState::Tripped { probing, .. } => BreakerPhase::HalfOpen { probing },
        }
    }

    /// How it stands, for reports. One that is half-open and that no send has tried for long keeps no send waiting.
    pub fn reported(&self, now: Instant) -> BreakerPhase {
        match self.state {
            BreakerState::Tripped { until, probing: false } if now >= until + self.open * IDLE_AFTER => {
                BreakerPhase::Closed
            }
            BreakerState::Tripped { .. } | BreakerState::Closed { .. } => self.phase(now),
        }
    }

    /// After it opened: when time alone changes what is reported of it.
    pub fn changes_after(open: Duration) -> [Duration; 4] {
        let (later, idle) = (open / LAST_AFTER, open * IDLE_AFTER);
        [open, open + later, open + idle, open + later + idle]
    }

    /// Asks for one send. A probe occupies the only place until it has learned something.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match &mut self.state {
            BreakerState::Closed { .. } => Admission::Pass,
            BreakerState::Tripped { until, probing } if now >= *until && !*probing => {
                *probing = true;
                Admission::Probe
            }
            BreakerState::Tripped { .. } => Admission::Stopped,
        }
    }

    /// A probe ends without having asked DOKU: its place is free again.
    pub fn release(&mut self) {
        if let BreakerState::Tripped { probing, .. } = &mut self.state {
            *probing = false;
        }
    }

    /// Takes in what one attempt for an order learned. While the breaker is tripped only the probe counts:
    /// attempts that started before it tripped tell of the past.
    pub fn learned(&mut self, health: DokuHealth, order_key: i64, probe: bool, now: Instant) {
        match &mut self.state {
            BreakerState::Tripped { .. } if !probe => {}
            BreakerState::Tripped { .. } => self.probe_learned(health, now),
            BreakerState::Closed { failures, refused } => match (self.guards, health) {
                (_, DokuHealth::Well) => {
                    *failures = 0;
                    refused.clear();
                }
                (Guards::Merchant { .. }, DokuHealth::KeyRefused) => self.trip(now),
                (Guards::Merchant { .. }, DokuHealth::OrderRefused) => {
                    refused.push(order_key);
                    if are_too_many(refused) {
                        self.trip(now);
                    }
                }
                (
                    Guards::Doku { failures: max } | Guards::Inquiries { failures: max },
                    DokuHealth::Unwell,
                )
                | (Guards::Merchant { failures: max }, DokuHealth::AccountUnwell) => {
                    *failures = failures.saturating_add(1);
                    if *failures >= max {
                        self.trip(now);
                    }
                }
                // What is about one account says nothing about DOKU, nor a DOKU that is unwell about the account.
                (
                    Guards::Doku { .. } | Guards::Inquiries { .. },
                    DokuHealth::KeyRefused | DokuHealth::OrderRefused | DokuHealth::AccountUnwell,
                )
                | (Guards::Merchant { .. }, DokuHealth::Unwell) => {}
            },
        }
    }

    fn probe_learned(&mut self, health: DokuHealth, now: Instant) {
        match (self.guards, health) {
            (_, DokuHealth::Well) => self.state = BreakerState::closed(),
            // One merchant's key or share must not keep the others waiting for DOKU.
            (
                Guards::Doku { .. } | Guards::Inquiries { .. },
                DokuHealth::KeyRefused | DokuHealth::OrderRefused | DokuHealth::AccountUnwell,
            ) => {
                self.release();
            }
            (Guards::Doku { .. } | Guards::Inquiries { .. }, DokuHealth::Unwell)
            | (
                Guards::Merchant { .. },
                DokuHealth::Unwell
                | DokuHealth::AccountUnwell
                | DokuHealth::KeyRefused
                | DokuHealth::OrderRefused,
            ) => {
                self.trip(now);
            }
        }
    }

    /// Of several merchants, the one whose send opened DOKU's breaker tries last: the cause may be that merchant alone, and
    /// the others are to find out.
    pub fn try_last(&mut self, now: Instant) {
        self.trip(now + self.open / LAST_AFTER);
    }

    fn trip(&mut self, now: Instant) {
        self.state = BreakerState::Tripped { until: now + self.open, probing: false };
    }
}

impl BreakerState {
    fn closed() -> Self {
        Self::Closed { failures: 0, refused: Vec::new() }
    }
}

/// Three different orders, or one of them three times.
fn are_too_many(refused: &[i64]) -> bool {
    let times = |order| refused.iter().filter(|other| *other == order).count();
    let different = refused.iter().collect::<std::collections::BTreeSet<_>>().len();
    different >= REFUSALS_MAX || refused.iter().any(|order| times(order) >= REFUSALS_MAX)
}

//! When sends stop, and who may try whether they can go on. Pure: time comes in.
//!
//! A breaker judges sends only. It must never stop an inquiry or a notification: they are how doubt ends.

use super::learned::Health;
use std::time::{Duration, Instant};

/// What a breaker guards; it decides which health counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guards {
    /// DOKU itself: so many sends in a row that found it unwell open it.
    Doku { failures: u32 },
    /// One merchant's key, clock and route: one refusal opens it.
    Merchant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    /// Open before `until`, half-open from then on.
    Tripped {
        until: Instant,
        probing: bool,
    },
}

/// How a breaker stands at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
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
    /// It may, and what it learns decides. Its end must be told: `learned` or `release`.
    Probe,
    Stopped,
}

#[derive(Debug, Clone)]
pub struct Breaker {
    guards: Guards,
    open: Duration,
    state: State,
}

impl Breaker {
    /// The breaker of DOKU (`breaker.failures`, at least 1; `breaker.open_ms`).
    pub fn of_doku(failures: u32, open: Duration) -> Self {
        Self { guards: Guards::Doku { failures }, open, state: State::Closed { failures: 0 } }
    }

    /// The breaker of one merchant's key, clock and route.
    pub fn of_merchant(open: Duration) -> Self {
        Self { guards: Guards::Merchant, open, state: State::Closed { failures: 0 } }
    }

    pub fn phase(&self, now: Instant) -> Phase {
        match self.state {
            State::Closed { .. } => Phase::Closed,
            State::Tripped { until, .. } if now < until => Phase::Open,
            State::Tripped { probing, .. } => Phase::HalfOpen { probing },
        }
    }

    /// Asks for one send. A probe occupies the only place until it has learned something.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match &mut self.state {
            State::Closed { .. } => Admission::Pass,
            State::Tripped { until, probing } if now >= *until && !*probing => {
                *probing = true;
                Admission::Probe
            }
            State::Tripped { .. } => Admission::Stopped,
        }
    }

    /// A probe ends without having asked DOKU: its place is free again.
    pub fn release(&mut self) {
        if let State::Tripped { probing, .. } = &mut self.state {
            *probing = false;
        }
    }

    /// Takes in what one send learned. While the breaker is tripped only the probe counts: sends that
    /// started before it tripped tell of the past.
    pub fn learned(&mut self, health: Health, probe: bool, now: Instant) {
        match self.state {
            State::Tripped { .. } if !probe => {}
            State::Tripped { .. } => self.probe_learned(health, now),
            State::Closed { failures } => self.closed_learned(health, failures, now),
        }
    }

    fn closed_learned(&mut self, health: Health, failures: u32, now: Instant) {
        match (self.guards, health) {
            (_, Health::Well) => self.state = State::Closed { failures: 0 },
            (Guards::Merchant, Health::KeyRefused) => self.trip(now),
            (Guards::Doku { failures: max }, Health::Unwell) if failures.saturating_add(1) >= max => {
                self.trip(now);
            }
            (Guards::Doku { .. }, Health::Unwell) => self.state = State::Closed { failures: failures + 1 },
            // A refused key says nothing about DOKU, nor a DOKU that is unwell about the key.
            (Guards::Doku { .. }, Health::KeyRefused) | (Guards::Merchant, Health::Unwell) => {}
        }
    }

    fn probe_learned(&mut self, health: Health, now: Instant) {
        match (self.guards, health) {
            (_, Health::Well) => self.state = State::Closed { failures: 0 },
            // One merchant's key must not keep the others waiting for DOKU.
            (Guards::Doku { .. }, Health::KeyRefused) => self.release(),
            (Guards::Doku { .. }, Health::Unwell)
            | (Guards::Merchant, Health::Unwell | Health::KeyRefused) => self.trip(now),
        }
    }

    fn trip(&mut self, now: Instant) {
        self.state = State::Tripped { until: now + self.open, probing: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(15);

    enum Do {
        /// A send that passes learns this.
        Send(Health),
        /// A send that started earlier learns this.
        Late(Health),
        /// A probe is admitted and learns this.
        Probe(Health),
        /// A probe is admitted, and dropped.
        DropProbe,
        Wait(Duration),
        Stopped,
    }
    use Do::{DropProbe, Late, Probe, Send, Stopped, Wait};
    use Health::{KeyRefused, Unwell, Well};

    fn run(mut breaker: Breaker, story: &[Do]) -> Phase {
        let mut now = Instant::now();
        for step in story {
            match step {
                Send(health) => {
                    assert_eq!(breaker.admit(now), Admission::Pass);
                    breaker.learned(*health, false, now);
                }
                Late(health) => breaker.learned(*health, false, now),
                Probe(health) => {
                    assert_eq!(breaker.admit(now), Admission::Probe);
                    assert_eq!(breaker.admit(now), Admission::Stopped, "one probe at a time");
                    breaker.learned(*health, true, now);
                }
                DropProbe => {
                    assert_eq!(breaker.admit(now), Admission::Probe);
                    breaker.release();
                }
                Wait(time) => now += *time,
                Stopped => assert_eq!(breaker.admit(now), Admission::Stopped),
            }
        }
        breaker.phase(now)
    }

    #[test]
    fn dokus_breaker_opens_by_failures_in_a_row_and_closes_by_a_probe() {
        const HALF: Phase = Phase::HalfOpen { probing: false };
        let just_before = OPEN - Duration::from_millis(1);
        let table: &[(&[Do], Phase)] = &[
            (&[Send(Unwell), Send(Unwell), Send(Unwell), Stopped], Phase::Open),
            (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(just_before), Stopped], Phase::Open),
            (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN)], HALF),
            (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), Probe(Unwell), Stopped], Phase::Open),
            (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), DropProbe, Late(Unwell)], HALF),
            (&[Send(Unwell), Send(Unwell), Send(Unwell), Late(Well), Stopped], Phase::Open),
            (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), Probe(KeyRefused)], HALF),
            (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), Probe(Well), Send(Well)], Phase::Closed),
            (
                &[
                    Send(Unwell),
                    Send(Unwell),
                    Send(Unwell),
                    Wait(OPEN),
                    Probe(Well),
                    Send(Unwell),
                    Send(Unwell),
                ],
                Phase::Closed,
            ),
            (&[Send(Unwell), Send(Unwell), Send(Well), Send(Unwell), Send(Unwell)], Phase::Closed),
            (&[Send(KeyRefused), Send(KeyRefused), Send(KeyRefused), Send(KeyRefused)], Phase::Closed),
            (&[Send(Unwell), Send(KeyRefused), Send(Unwell), Send(KeyRefused), Send(Unwell)], Phase::Open),
        ];
        for (row, (story, expected)) in table.iter().enumerate() {
            assert_eq!(run(Breaker::of_doku(3, OPEN), story), *expected, "row {row}");
        }
    }

    #[test]
    fn a_merchants_breaker_opens_at_once_and_only_for_its_own_key() {
        let table: &[(&[Do], Phase)] = &[
            (&[Send(KeyRefused), Stopped], Phase::Open),
            (&[Send(KeyRefused), Wait(OPEN), Probe(KeyRefused), Stopped], Phase::Open),
            (&[Send(KeyRefused), Wait(OPEN), Probe(Unwell), Stopped], Phase::Open),
            (&[Send(KeyRefused), Wait(OPEN), Probe(Well), Send(Well)], Phase::Closed),
            (&[Send(Unwell), Send(Unwell), Send(Unwell), Send(Unwell)], Phase::Closed),
        ];
        for (row, (story, expected)) in table.iter().enumerate() {
            assert_eq!(run(Breaker::of_merchant(OPEN), story), *expected, "row {row}");
        }
    }

    #[test]
    fn a_refusal_of_an_earlier_send_does_not_lengthen_the_wait() {
        let now = Instant::now();
        let mut breaker = Breaker::of_merchant(OPEN);
        breaker.learned(KeyRefused, false, now);
        breaker.learned(KeyRefused, false, now + OPEN / 2);
        assert_eq!(breaker.admit(now + OPEN), Admission::Probe);
    }
}

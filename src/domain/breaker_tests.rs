//! Every way of a breaker, as short stories.

use super::{breaker::*, finding::DokuHealth};
use std::time::{Duration, Instant};

const OPEN: Duration = Duration::from_secs(15);

enum Do {
    /// A send that passes learns this.
    Send(DokuHealth),
    /// The same of this order.
    Of(i64, DokuHealth),
    /// A send that started earlier learns this.
    Late(DokuHealth),
    /// A probe is admitted and learns this.
    Probe(DokuHealth),
    /// A probe is admitted, and dropped.
    DropProbe,
    Wait(Duration),
    Stopped,
}
use Do::{DropProbe, Late, Of, Probe, Send, Stopped, Wait};
use DokuHealth::{AccountUnwell, KeyRefused, OrderRefused, Unwell, Well};

fn run(mut breaker: Breaker, story: &[Do]) -> BreakerPhase {
    let mut now = Instant::now();
    for step in story {
        match step {
            Send(health) => {
                assert_eq!(breaker.admit(now), Admission::Pass);
                breaker.learned(*health, 1, false, now);
            }
            Of(order_key, health) => {
                assert_eq!(breaker.admit(now), Admission::Pass);
                breaker.learned(*health, *order_key, false, now);
            }
            Late(health) => breaker.learned(*health, 1, false, now),
            Probe(health) => {
                assert_eq!(breaker.admit(now), Admission::Probe);
                assert_eq!(breaker.admit(now), Admission::Stopped, "one probe at a time");
                breaker.learned(*health, 1, true, now);
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
    const HALF: BreakerPhase = BreakerPhase::HalfOpen { probing: false };
    let just_before = OPEN - Duration::from_millis(1);
    let table: &[(&[Do], BreakerPhase)] = &[
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Stopped], BreakerPhase::Open),
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(just_before), Stopped], BreakerPhase::Open),
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN)], HALF),
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), Probe(Unwell), Stopped], BreakerPhase::Open),
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), DropProbe, Late(Unwell)], HALF),
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Late(Well), Stopped], BreakerPhase::Open),
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), Probe(KeyRefused)], HALF),
        (
            &[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), Probe(Well), Send(Well)],
            BreakerPhase::Closed,
        ),
        (
            &[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), Probe(Well), Send(Unwell), Send(Unwell)],
            BreakerPhase::Closed,
        ),
        (&[Send(Unwell), Send(Unwell), Send(Well), Send(Unwell), Send(Unwell)], BreakerPhase::Closed),
        (&[Send(KeyRefused), Send(KeyRefused), Send(KeyRefused), Send(KeyRefused)], BreakerPhase::Closed),
        (&[Send(AccountUnwell), Send(AccountUnwell), Send(AccountUnwell)], BreakerPhase::Closed),
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), Probe(AccountUnwell)], HALF),
        (&[Send(Unwell), Send(KeyRefused), Send(Unwell), Send(KeyRefused), Send(Unwell)], BreakerPhase::Open),
    ];
    for (row, (story, expected)) in table.iter().enumerate() {
        assert_eq!(run(Breaker::for_doku(3, OPEN), story), *expected, "row {row}");
    }
}

#[test]
fn a_merchants_breaker_opens_at_once_and_only_for_its_own_key() {
    let table: &[(&[Do], BreakerPhase)] = &[
        (&[Send(KeyRefused), Stopped], BreakerPhase::Open),
        (&[Send(KeyRefused), Wait(OPEN), Probe(KeyRefused), Stopped], BreakerPhase::Open),
        (&[Send(KeyRefused), Wait(OPEN), Probe(Unwell), Stopped], BreakerPhase::Open),
        (&[Send(KeyRefused), Wait(OPEN), Probe(Well), Send(Well)], BreakerPhase::Closed),
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Send(Unwell)], BreakerPhase::Closed),
        (&[Send(AccountUnwell), Send(AccountUnwell)], BreakerPhase::Closed),
        (&[Send(AccountUnwell), Send(AccountUnwell), Send(AccountUnwell), Stopped], BreakerPhase::Open),
        (&[Send(AccountUnwell), Send(AccountUnwell), Send(Well), Send(AccountUnwell)], BreakerPhase::Closed),
        (
            &[
                Send(AccountUnwell),
                Send(AccountUnwell),
                Send(AccountUnwell),
                Wait(OPEN),
                Probe(AccountUnwell),
                Stopped,
            ],
            BreakerPhase::Open,
        ),
    ];
    for (row, (story, expected)) in table.iter().enumerate() {
        assert_eq!(run(Breaker::for_merchant(3, OPEN), story), *expected, "row {row}");
    }
}

#[test]
fn what_may_be_one_orders_content_stops_its_merchant_only_when_it_is_not() {
    let refused = |order| Of(order, OrderRefused);
    let table: &[(&[Do], BreakerPhase)] = &[
        (&[refused(1), refused(1)], BreakerPhase::Closed),
        (&[refused(1), refused(1), refused(1), Stopped], BreakerPhase::Open),
        (&[refused(1), refused(2)], BreakerPhase::Closed),
        (&[refused(1), refused(2), refused(3), Stopped], BreakerPhase::Open),
        (&[refused(1), refused(2), refused(1), refused(2)], BreakerPhase::Closed),
        (&[refused(1), refused(1), Of(2, Well), refused(1), refused(1)], BreakerPhase::Closed),
        (&[refused(1), refused(2), Of(4, Well), refused(3)], BreakerPhase::Closed),
        // No answer of the merchant's: it tells nothing.
        (&[refused(1), refused(2), Of(4, Unwell), refused(3), Stopped], BreakerPhase::Open),
        (&[refused(1), refused(1), refused(1), Wait(OPEN), Probe(OrderRefused), Stopped], BreakerPhase::Open),
        (&[refused(1), refused(1), refused(1), Wait(OPEN), Probe(Well), refused(1)], BreakerPhase::Closed),
    ];
    for (row, (story, expected)) in table.iter().enumerate() {
        assert_eq!(run(Breaker::for_merchant(3, OPEN), story), *expected, "row {row}");
    }
}

#[test]
fn inquiries_that_hang_are_left_alone_for_a_while() {
    let table: &[(&[Do], BreakerPhase)] = &[
        (&[Send(Unwell), Send(Unwell)], BreakerPhase::Closed),
        (&[Send(Unwell), Send(Unwell), Send(Unwell), Stopped], BreakerPhase::Open),
        (&[Send(Unwell), Send(Unwell), Send(Well), Send(Unwell)], BreakerPhase::Closed),
        (
            &[Send(Unwell), Send(Unwell), Send(Unwell), Wait(OPEN), Probe(Well), Send(Unwell)],
            BreakerPhase::Closed,
        ),
    ];
    for (row, (story, expected)) in table.iter().enumerate() {
        assert_eq!(run(Breaker::for_inquiries(3, OPEN), story), *expected, "row {row}");
    }
}

#[test]
fn one_that_nobody_tries_is_told_as_closed_and_still_lets_one_at_a_time_try() {
    let now = Instant::now();
    let mut breaker = Breaker::for_merchant(3, OPEN);
    breaker.learned(KeyRefused, 1, false, now);
    let [half_open, _, idle, _] = Breaker::changes_after(OPEN).map(|after| now + after);
    let just_before = idle - Duration::from_millis(1);
    assert_eq!(breaker.reported(half_open), BreakerPhase::HalfOpen { probing: false });
    assert_eq!(breaker.reported(just_before), BreakerPhase::HalfOpen { probing: false });
    assert_eq!((breaker.reported(idle), breaker.admit(idle)), (BreakerPhase::Closed, Admission::Probe));
    assert_eq!(breaker.reported(idle), BreakerPhase::HalfOpen { probing: true });
    breaker.learned(KeyRefused, 1, true, idle);
    assert_eq!(breaker.reported(idle), BreakerPhase::Open);
}

#[test]
fn a_refusal_of_an_earlier_send_does_not_lengthen_the_wait() {
    let now = Instant::now();
    let mut breaker = Breaker::for_merchant(3, OPEN);
    breaker.learned(KeyRefused, 1, false, now);
    breaker.learned(KeyRefused, 1, false, now + OPEN / 2);
    assert_eq!(breaker.admit(now + OPEN), Admission::Probe);
}

//! How many requests a second one merchant may make (`doku.requests_per_second`), and how sends and
//! inquiries share them. Pure: time comes in, and nothing here waits.

use super::learned::AttemptKind;
use std::time::{Duration, Instant};

/// A token bucket in billionths of a token, so that no rate is rounded away.
const TOKEN: u128 = 1_000_000_000;

/// While both kinds wait, one token in five is an inquiry's: four sends, then it has its turn.
const SENDS_BEFORE_INQUIRY: u8 = 4;

/// A second's worth by so much is saved up at most: in no second are there many more requests than DOKU
/// allows, not even in the first one after an outage.
const SAVED_SHARE: u32 = 20;
/// Of a slow rate a second's worth up to so many tokens, and at least two: one can then be kept for the kind
/// whose turn it is while the other takes what is beyond it.
const SAVED_FEW: u32 = 10;
const SAVED_MIN: u32 = 2;

/// The tokens of one merchant.
#[derive(Debug, Clone)]
pub struct Rate {
    per_second: u32,
    /// In billionths.
    saved: u128,
    counted_at: Instant,
    /// Sends since the last inquiry.
    sends: u8,
}

impl Rate {
    /// `per_second` 0: no limit.
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, saved: capacity(per_second), counted_at: now, sends: 0 }
    }

    /// Takes a token; or says after how long to ask again. `other_waits`: attempts of the other kind are
    /// wanted too. Then whoever's turn it is not may only take what leaves one token: neither kind starves
    /// the other, and none waits for one that does not come.
    pub fn take(&mut self, kind: AttemptKind, other_waits: bool, now: Instant) -> Result<(), Duration> {
        if self.per_second == 0 {
            return Ok(());
        }
        self.count(now);
        let inquirys_turn = self.sends >= SENDS_BEFORE_INQUIRY;
        let own_turn = match kind {
            AttemptKind::Send => !inquirys_turn,
            AttemptKind::Inquiry => inquirys_turn,
        };
        let needed = if other_waits && !own_turn { 2 * TOKEN } else { TOKEN };
        if self.saved < needed {
            return Err(self.until(needed));
        }
        self.saved -= TOKEN;
        match kind {
            AttemptKind::Send => self.sends = (self.sends + 1).min(SENDS_BEFORE_INQUIRY),
            AttemptKind::Inquiry if own_turn => self.sends = 0,
            AttemptKind::Inquiry => {}
        }
        Ok(())
    }

    fn count(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted_at).as_nanos();
        let earned = passed.saturating_mul(u128::from(self.per_second));
        self.saved = earned.saturating_add(self.saved).min(capacity(self.per_second));
        self.counted_at = self.counted_at.max(now);
    }

    fn until(&self, needed: u128) -> Duration {
        let nanos = (needed - self.saved).div_ceil(u128::from(self.per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

fn capacity(per_second: u32) -> u128 {
    let saved = (per_second / SAVED_SHARE).max(per_second.min(SAVED_FEW)).max(SAVED_MIN);
    u128::from(saved) * TOKEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttemptKind::{Inquiry, Send};

    const MS: Duration = Duration::from_millis(1);

    /// Who gets how many tokens in ten seconds, each asking every millisecond, after the saved ones are
    /// spent.
    fn ten_seconds(per_second: u32, asking: &[AttemptKind], other_waits: bool) -> (u32, u32) {
        let start = Instant::now();
        let mut rate = Rate::new(per_second, start);
        while rate.take(Send, false, start).is_ok() {}
        let (mut sends, mut inquiries) = (0, 0);
        for ms in 1..=10_000 {
            for kind in asking {
                if rate.take(*kind, other_waits, start + MS * ms).is_ok() {
                    match kind {
                        Send => sends += 1,
                        Inquiry => inquiries += 1,
                    }
                }
            }
        }
        (sends, inquiries)
    }

    #[test]
    fn tokens_are_shared_four_to_one_and_nobody_starves() {
        type Row = (&'static str, u32, &'static [AttemptKind], bool, (u32, u32));
        let table: &[Row] = &[
            ("both wait, sends ask first", 50, &[Send, Inquiry], true, (400, 100)),
            ("both wait, inquiries ask first", 50, &[Inquiry, Send], true, (400, 100)),
            ("one a second", 1, &[Send, Inquiry], true, (8, 2)),
            ("only sends", 50, &[Send], false, (500, 0)),
            ("only inquiries", 50, &[Inquiry], false, (0, 500)),
            // One token stays kept for an inquiry that is due but does not come.
            ("inquiries are due, and do not come", 50, &[Send], true, (499, 0)),
            ("sends wait, and do not come", 50, &[Inquiry], true, (0, 499)),
            ("slow", 1, &[Send], true, (9, 0)),
        ];
        for (name, per_second, asking, other_waits, expected) in table {
            assert_eq!(ten_seconds(*per_second, asking, *other_waits), *expected, "{name}");
        }
    }

    #[test]
    fn little_is_saved_up() {
        let start = Instant::now();
        for (per_second, burst) in [(1, 2), (2, 2), (10, 10), (100, 10), (1000, 50)] {
            let mut rate = Rate::new(per_second, start);
            let hour_later = start + Duration::from_secs(3600);
            let taken = (0..100).take_while(|_| rate.take(Send, false, hour_later).is_ok()).count();
            assert_eq!(taken, burst, "{per_second} a second");
        }
    }

    #[test]
    fn the_wait_it_names_is_long_enough() {
        let start = Instant::now();
        let mut rate = Rate::new(3, start);
        while rate.take(Send, false, start).is_ok() {}
        let wait = rate.take(Send, false, start).unwrap_err();
        assert!(wait > 333 * MS && wait < 334 * MS, "{wait:?}");
        assert!(rate.take(Send, false, start + wait - Duration::from_nanos(1)).is_err());
        assert_eq!(rate.take(Send, false, start + wait), Ok(()));
    }

    #[test]
    fn the_wait_counts_what_is_saved() {
        let start = Instant::now();
        let mut rate = Rate::new(2, start);
        while rate.take(Send, false, start).is_ok() {}
        assert_eq!(rate.take(Send, false, start + 200 * MS), Err(300 * MS));
    }

    #[test]
    fn an_inquiry_out_of_its_turn_does_not_use_it_up() {
        let start = Instant::now();
        let mut rate = Rate::new(6, start);
        for kind in [Send, Send, Send, Inquiry, Send] {
            assert_eq!(rate.take(kind, false, start), Ok(()));
        }
        assert!(rate.take(Send, true, start).is_err(), "the last token is kept");
        assert_eq!(rate.take(Inquiry, true, start), Ok(()));
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        let mut rate = Rate::new(0, start);
        assert!((0..10_000).all(|_| rate.take(Send, true, start).is_ok()));
    }

    #[test]
    fn a_clock_that_steps_back_makes_no_tokens() {
        let start = Instant::now();
        let mut rate = Rate::new(2, start + MS * 1000);
        while rate.take(Send, false, start + MS * 1000).is_ok() {}
        assert!(rate.take(Send, false, start).is_err());
        assert!(rate.take(Send, false, start + MS * 1000).is_err());
    }
}

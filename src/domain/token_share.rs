//! How many requests a second one merchant may make (`doku.requests_per_second`), and how sends and
//! inquiries share the tokens that this process holds. Pure: time comes in, and nothing here waits.

use super::{finding::AttemptKind, token_blocks::TokenBlocks};
use std::time::Instant;

/// While both kinds wait, one token in five is an inquiry's: four sends, then it has its turn.
const SENDS_BEFORE_INQUIRY: u8 = 4;

/// The tokens of one merchant.
#[derive(Debug, Clone)]
pub struct TokenShare {
    /// `None`: no limit.
    blocks: Option<TokenBlocks>,
    /// Sends since the last inquiry.
    sends: u8,
    /// How many tokens the last one who found too few needed together.
    needed: u32,
}

/// There is no token now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoToken {
    /// What is held will do then.
    Until(Instant),
    /// What is held will not do: more must be taken.
    Held,
}

impl TokenShare {
    /// `per_second` 0: no limit.
    pub fn new(per_second: u32) -> Self {
        Self { blocks: (per_second > 0).then(|| TokenBlocks::new(per_second)), sends: 0, needed: 0 }
    }

    /// Takes a token. `other_waits`: attempts of the other kind are wanted too. Then the kind that has not its turn
    /// may only take what leaves one token: neither kind starves the other, and none waits for one that does
    /// not come.
    pub fn take(&mut self, kind: AttemptKind, other_waits: bool, now: Instant) -> Result<(), NoToken> {
        let usable = self.usable(now);
        let Some(blocks) = &mut self.blocks else { return Ok(()) };
        let inquirys_turn = self.sends >= SENDS_BEFORE_INQUIRY;
        let own_turn = match kind {
            AttemptKind::Send => !inquirys_turn,
            AttemptKind::Inquiry => inquirys_turn,
        };
        let needed = if other_waits && !own_turn { 2 } else { 1 };
        if usable < needed {
            self.needed = needed;
            return Err(blocks.usable_at(needed).map_or(NoToken::Held, NoToken::Until));
        }
        self.needed = 0;
        blocks.spend();
        match kind {
            AttemptKind::Send => self.sends = (self.sends + 1).min(SENDS_BEFORE_INQUIRY),
            AttemptKind::Inquiry if own_turn => self.sends = 0,
            AttemptKind::Inquiry => {}
        }
        Ok(())
    }

    /// Takes a token back for which DOKU was not asked.
    pub fn return_token(&mut self, now: Instant) {
        if let Some(blocks) = &mut self.blocks {
            blocks.return_token(now);
        }
    }

    /// How many tokens to take from the schedule now for this many waiting attempts; `None`: none.
    pub fn next_block(&mut self, waiting: u32, now: Instant) -> Option<u32> {
        self.usable(now);
        self.blocks.as_ref()?.next(waiting.max(self.needed))
    }

    /// Takes in a block whose first token is usable at `starts`.
    pub fn add(&mut self, starts: Instant, tokens: u32) {
        if let Some(blocks) = &mut self.blocks {
            blocks.add(starts, tokens);
        }
    }

    fn usable(&mut self, now: Instant) -> u32 {
        let (usable, expired) = self.blocks.as_mut().map_or((0, 0), |blocks| blocks.usable(now));
        // An inquiry that lets tokens expire does not come: its turn is over.
        if expired > 0 && self.sends >= SENDS_BEFORE_INQUIRY {
            self.sends = 0;
        }
        usable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttemptKind::{Inquiry, Send};
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    /// The schedule that all processes share, where `shared_by` of them take every block in turn.
    struct Schedule {
        per_second: u32,
        shared_by: u32,
        given_until: Instant,
    }

    impl Schedule {
        fn give(&mut self, rate: &mut TokenShare, waiting: u32, now: Instant) {
            while let Some(tokens) = rate.next_block(waiting, now) {
                let starts = self.given_until.max(now);
                rate.add(starts, tokens);
                self.given_until =
                    starts + Duration::from_secs(1) * (tokens * self.shared_by) / self.per_second;
            }
        }
    }

    /// Who gets how many tokens in ten seconds, each asking every millisecond.
    fn ten_seconds(per_second: u32, shared_by: u32, asking: &[AttemptKind], other_waits: bool) -> (u32, u32) {
        let start = Instant::now();
        let mut rate = TokenShare::new(per_second);
        let mut schedule = Schedule { per_second, shared_by, given_until: start };
        let (mut sends, mut inquiries) = (0, 0);
        for ms in 0..10_000 {
            let now = start + MS * ms;
            schedule.give(&mut rate, 2, now);
            for kind in asking {
                if rate.take(*kind, other_waits, now).is_ok() {
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
        type Row = (&'static str, u32, u32, &'static [AttemptKind], bool, (u32, u32));
        let table: &[Row] = &[
            ("both wait, sends ask first", 50, 1, &[Send, Inquiry], true, (400, 100)),
            ("both wait, inquiries ask first", 50, 1, &[Inquiry, Send], true, (400, 100)),
            ("one a second", 1, 1, &[Send, Inquiry], true, (8, 2)),
            ("only sends", 50, 1, &[Send], false, (500, 0)),
            ("only inquiries", 50, 1, &[Inquiry], false, (0, 500)),
            // One token stays kept for an inquiry that is due but does not come.
            ("inquiries are due, and do not come", 50, 1, &[Send], true, (499, 0)),
            ("sends wait, and do not come", 50, 1, &[Inquiry], true, (0, 499)),
            ("slow", 1, 1, &[Send], true, (9, 0)),
            ("shared, both wait", 50, 5, &[Send, Inquiry], true, (83, 20)),
            // No two tokens are held at the same time: now and then one expires, and the turn with it.
            ("shared, slow, inquiries are due, and do not come", 2, 3, &[Send], true, (6, 0)),
        ];
        for (name, per_second, shared_by, asking, other_waits, expected) in table {
            assert_eq!(ten_seconds(*per_second, *shared_by, asking, *other_waits), *expected, "{name}");
        }
    }

    #[test]
    fn an_inquiry_out_of_its_turn_does_not_use_it_up() {
        let start = Instant::now();
        let mut rate = TokenShare::new(6);
        (0..6).for_each(|_| rate.add(start, 1));
        for kind in [Send, Send, Send, Inquiry, Send] {
            assert_eq!(rate.take(kind, false, start), Ok(()));
        }
        assert!(rate.take(Send, true, start).is_err(), "the last token is kept");
        assert_eq!(rate.take(Inquiry, true, start), Ok(()));
    }

    #[test]
    fn whoever_finds_no_token_is_told_when_or_that_more_must_be_taken() {
        let start = Instant::now();
        let mut rate = TokenShare::new(2);
        assert_eq!(rate.take(Send, false, start), Err(NoToken::Held));
        rate.add(start + MS * 300, 1);
        assert_eq!(rate.take(Send, false, start), Err(NoToken::Until(start + MS * 300)));
        assert_eq!(rate.take(Inquiry, true, start), Err(NoToken::Held), "it may only take the second one");
        assert_eq!(rate.next_block(1, start), Some(1), "for the one who needs two");
        assert_eq!(rate.take(Send, false, start + MS * 300), Ok(()));
    }

    #[test]
    fn zero_is_no_limit_and_takes_no_block() {
        let start = Instant::now();
        let mut rate = TokenShare::new(0);
        assert!((0..10_000).all(|_| rate.take(Send, true, start).is_ok()));
        assert_eq!(rate.next_block(1_000, start), None);
    }
}

//! The tokens of one merchant that this process holds. All processes take them in blocks from one schedule: a
//! block is a stretch of time that belongs to one process, and a token a moment in it. So the sum of all processes
//! keeps the limit, and a process that stops or dies takes its tokens with it: they expire. Pure: time comes
//! in, and nothing here waits.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How many blocks a busy process takes in a second: a block is a tenth of a second's worth at most.
const BLOCKS_PER_SECOND: u32 = 10;
/// The one that is spent, and the one that comes next.
const HELD_MAX: usize = 2;

/// An unused token expires after this time, and not before the second one after it is due: one can then be kept
/// for the kind of attempt that has its turn.
const LIFE_MIN: Duration = Duration::from_millis(200);
const LIFE_HALF_TOKENS: u32 = 5;

/// How many unused tokens are usable at the same moment: a twentieth of a second's worth; of a slow rate a
/// second's worth, at least two and at most ten.
const USABLE_SHARE: u32 = 20;
const USABLE_FEW: u32 = 10;
const USABLE_MIN: u32 = 2;

const SECOND_NANOS: u128 = 1_000_000_000;

/// Blocks in the order in which they were taken.
#[derive(Debug, Clone)]
pub struct TokenBlocks {
    per_second: u32,
    held: VecDeque<Block>,
    /// What the next block should hold: more while blocks are spent to their end, less when tokens expire.
    size: u32,
}

#[derive(Debug, Clone)]
struct Block {
    starts: Instant,
    tokens: u32,
    spent: u32,
    /// Spent or expired, from the first one on.
    gone: u32,
    /// One token that was spent on nothing, and no time of its own.
    is_returned: bool,
}

impl TokenBlocks {
    /// `per_second`: at least 1.
    pub fn new(per_second: u32) -> Self {
        Self { per_second: per_second.max(1), held: VecDeque::new(), size: 1 }
    }

    /// Takes in a block whose first token is usable at `starts`.
    pub fn add(&mut self, starts: Instant, tokens: u32) {
        self.held.push_back(Block { starts, tokens, spent: 0, gone: 0, is_returned: false });
    }

    /// Takes a token back that was spent, and DOKU not asked.
    pub fn return_token(&mut self, now: Instant) {
        self.held.push_front(Block { starts: now, tokens: 1, spent: 0, gone: 0, is_returned: true });
    }

    /// How many tokens could be spent now, and how many have expired since the last look.
    pub fn usable(&mut self, now: Instant) -> (u32, u32) {
        let (rate, life) = (self.per_second, life(self.per_second));
        let (mut usable, mut expired) = (0, 0);
        for block in &mut self.held {
            let dead = now.checked_sub(life).map_or(0, |then| block.due(rate, then));
            expired += dead.saturating_sub(block.gone);
            block.gone = block.gone.max(dead);
            usable += block.due(rate, now).saturating_sub(block.gone);
        }
        let too_many = usable.saturating_sub(usable_max(rate));
        for _ in 0..too_many {
            self.drop_oldest(false);
        }
        self.forget_the_gone();
        (usable - too_many, expired + too_many)
    }

    /// Spends the oldest token. Only after `usable` found one.
    pub fn spend(&mut self) {
        self.drop_oldest(true);
        self.forget_the_gone();
    }

    /// When `count` of the tokens that are held will be usable; `None`: fewer are held.
    pub fn usable_at(&self, count: u32) -> Option<Instant> {
        let mut before = count.checked_sub(1)?;
        for block in &self.held {
            let left = block.tokens - block.gone;
            if before < left {
                return Some(block.token_at(self.per_second, block.gone + before));
            }
            before -= left;
        }
        None
    }

    /// How many tokens to take next where `wanted` attempts wait for one; `None`: none now. While blocks are
    /// spent to their end the next one is taken before it is needed.
    pub fn next(&self, wanted: u32) -> Option<u32> {
        if self.held.iter().filter(|block| !block.is_returned).count() >= HELD_MAX {
            return None;
        }
        let unspent: u32 = self.held.iter().map(|block| block.tokens - block.gone).sum();
        let missing = wanted.saturating_sub(unspent);
        let runs_out = self.size > 1 && unspent <= self.size / 2;
        (missing > 0 || runs_out).then(|| missing.max(self.size).min(block_max(self.per_second)))
    }

    fn drop_oldest(&mut self, spent: bool) {
        if let Some(block) = self.held.iter_mut().find(|block| block.gone < block.tokens) {
            block.gone += 1;
            block.spent += u32::from(spent);
        }
    }

    fn forget_the_gone(&mut self) {
        let (size, size_max) = (&mut self.size, block_max(self.per_second));
        self.held.retain(|block| {
            let is_gone = block.gone == block.tokens;
            if is_gone && !block.is_returned {
                let is_spent = block.spent == block.tokens;
                *size = if is_spent { (2 * block.tokens).min(size_max) } else { block.spent.max(1) };
            }
            !is_gone
        });
    }
}

impl Block {
    /// How many of its tokens have become usable by then.
    fn due(&self, per_second: u32, then: Instant) -> u32 {
        let Some(passed) = then.checked_duration_since(self.starts) else { return 0 };
        let due = passed.as_nanos() * u128::from(per_second) / SECOND_NANOS + 1;
        u32::try_from(due).unwrap_or(u32::MAX).min(self.tokens)
    }

    fn token_at(&self, per_second: u32, nth: u32) -> Instant {
        let nanos = (u128::from(nth) * SECOND_NANOS).div_ceil(u128::from(per_second));
        self.starts + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

fn block_max(per_second: u32) -> u32 {
    per_second.div_ceil(BLOCKS_PER_SECOND)
}

fn life(per_second: u32) -> Duration {
    LIFE_MIN.max(Duration::from_secs(1) * LIFE_HALF_TOKENS / (2 * per_second))
}

fn usable_max(per_second: u32) -> u32 {
    (per_second / USABLE_SHARE).max(per_second.min(USABLE_FEW)).max(USABLE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn blocks(per_second: u32, held: &[(Duration, u32)]) -> (TokenBlocks, Instant) {
        let start = Instant::now() + Duration::from_secs(60);
        let mut blocks = TokenBlocks::new(per_second);
        held.iter().for_each(|(after, tokens)| blocks.add(start + *after, *tokens));
        (blocks, start)
    }

    #[test]
    fn a_token_is_usable_at_its_moment_and_for_its_life() {
        for (per_second, at, usable, expired) in [
            (40, 0, 1, 0),
            (40, 24, 1, 0),
            (40, 25, 2, 0),
            (40, 75, 4, 0),
            (40, 199, 4, 0),
            (40, 200, 3, 1),
            (40, 274, 1, 3),
            (40, 275, 0, 4),
            // A slow rate keeps one until the second one after it is due.
            (2, 0, 1, 0),
            (2, 1_000, 2, 1),
            (2, 1_249, 2, 1),
            (2, 1_250, 2, 1),
            // Of a fast rate no more than a twentieth of a second's worth.
            (1_000, 3, 4, 0),
        ] {
            let (mut blocks, start) = blocks(per_second, &[(Duration::ZERO, 4)]);
            assert_eq!(blocks.usable(start + MS * at), (usable, expired), "{per_second} a second, {at} ms");
        }
    }

    #[test]
    fn no_more_are_kept_than_may_come_at_once() {
        for (per_second, most) in [(1, 2), (2, 2), (10, 6), (100, 10), (1_000, 50)] {
            let (mut blocks, start) = blocks(per_second, &[(Duration::ZERO, 100), (MS, 100)]);
            let usable = (0..2_000).map(|ms| blocks.usable(start + MS * ms).0).max().unwrap();
            assert_eq!(usable, most, "{per_second} a second");
        }
    }

    #[test]
    fn the_moment_it_names_is_the_first_one() {
        let (mut blocks, start) = blocks(3, &[(Duration::ZERO, 1), (500 * MS, 2)]);
        for (count, at) in [(1, Some(0)), (2, Some(500_000_000)), (3, Some(833_333_334)), (4, None)] {
            assert_eq!(blocks.usable_at(count), at.map(|at| start + Duration::from_nanos(at)), "{count}");
        }
        assert_eq!(blocks.usable(start + 499 * MS).0, 1);
        blocks.spend();
        let third = start + Duration::from_nanos(833_333_334);
        assert_eq!(blocks.usable(third - Duration::from_nanos(1)).0, 1);
        assert_eq!(blocks.usable(third).0, 2);
        assert_eq!(blocks.usable_at(0), None);
    }

    #[test]
    fn a_block_is_as_large_as_what_waits_and_a_tenth_of_a_second_at_most() {
        for (per_second, wanted, next) in [
            (1, 1, Some(1)),
            (1, 50, Some(1)),
            (40, 0, None),
            (40, 3, Some(3)),
            (40, 50, Some(4)),
            (1_000, 1, Some(1)),
        ] {
            assert_eq!(
                TokenBlocks::new(per_second).next(wanted),
                next,
                "{per_second} a second, {wanted} wait"
            );
        }
    }

    #[test]
    fn blocks_grow_while_they_are_spent_and_shrink_when_they_are_not() {
        let (mut blocks, mut now) = blocks(1_000, &[]);
        let mut sizes = Vec::new();
        while sizes.last() != Some(&100) {
            let tokens = blocks.next(1).unwrap();
            sizes.push(tokens);
            blocks.add(now, tokens);
            for _ in 0..tokens {
                now += MS;
                assert!(blocks.usable(now).0 > 0);
                blocks.spend();
            }
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64, 100]);
        // The next one before it is needed, and no third one.
        blocks.add(now, 100);
        (0..49).for_each(|_| blocks.spend());
        assert_eq!(blocks.next(0), None);
        blocks.spend();
        assert_eq!(blocks.next(0), Some(100));
        blocks.add(now + 100 * MS, 100);
        assert_eq!(blocks.next(100), None);
        // Nobody comes any more.
        assert_eq!(blocks.usable(now + Duration::from_secs(3)).0, 0);
        assert_eq!((blocks.next(0), blocks.next(1)), (None, Some(1)));
    }

    #[test]
    fn a_token_that_was_spent_on_nothing_is_there_again_for_its_life() {
        let (mut blocks, start) = blocks(2, &[(Duration::ZERO, 1)]);
        assert_eq!(blocks.usable(start).0, 1);
        blocks.spend();
        assert_eq!((blocks.usable(start).0, blocks.next(1)), (0, Some(1)));
        blocks.return_token(start);
        assert_eq!((blocks.usable(start).0, blocks.next(1), blocks.next(3)), (1, None, Some(1)));
        assert_eq!(blocks.usable(start + 1_249 * MS).0, 1);
        assert_eq!(blocks.usable(start + 1_250 * MS), (0, 1));
    }

    #[test]
    fn time_before_its_start_makes_no_tokens() {
        let (mut blocks, start) = blocks(2, &[(MS, 1)]);
        assert_eq!(blocks.usable(start), (0, 0));
        assert_eq!(blocks.usable(start - 50 * MS), (0, 0));
    }
}

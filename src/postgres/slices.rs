//! A long look at all that is due, in slices: commands and events use the same server, and each slice is a moment to them
//! however many orders are open.

use tokio::time::{Instant, sleep};

/// Rows of one slice: a millisecond.
pub(super) const SLICE: i64 = 64;
/// A gentle look takes one part in this many of its time.
const PARTS: u32 = 8;

/// Whether a look may take its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountingPace {
    /// With pauses between the slices: no person waits for it.
    Gentle,
    /// A person waits for it.
    AtOnce,
}

/// Walks by key.
pub(super) struct Slices {
    pace: CountingPace,
    /// The last key that was seen.
    pub after: i64,
    began: Instant,
}

impl Slices {
    pub fn new(pace: CountingPace) -> Self {
        Self { pace, after: 0, began: Instant::now() }
    }

    /// Notes what a slice found, and may pause before the next one; false if that was the last.
    pub async fn go_on(&mut self, found: i64, last: Option<i64>) -> bool {
        let Some(last) = last.filter(|_| found >= SLICE) else { return false };
        self.after = last;
        if self.pace == CountingPace::Gentle {
            sleep(self.began.elapsed() * (PARTS - 1)).await;
        }
        self.began = Instant::now();
        true
    }
}

//! A long look at all that is due, in slices with pauses between them: commands and events use the same server, and
//! each slice is a moment to them however many orders are open.

use tokio::time::{Instant, sleep};

/// Rows of one slice: some milliseconds.
pub(super) const SLICE: i64 = 256;
/// Looks take no more than this share of their time.
const SHARE: u32 = 5;

/// Walks by key.
pub(super) struct Slices {
    /// The last key that was seen.
    pub after: i64,
    began: Instant,
}

impl Slices {
    pub fn new() -> Self {
        Self { after: 0, began: Instant::now() }
    }

    /// Notes what a slice found, and pauses before the next one; false if that was the last.
    pub async fn go_on(&mut self, found: i64, last: Option<i64>) -> bool {
        let Some(last) = last.filter(|_| found >= SLICE) else { return false };
        self.after = last;
        sleep(self.began.elapsed() * (SHARE - 1)).await;
        self.began = Instant::now();
        true
    }
}

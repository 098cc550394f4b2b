//! Events that are published again, a slice at a time, for the command line and the console. The next slice goes into the
//! outbox when the last one is out of it: what happens now never waits behind what happened then.

use crate::{
    domain::event::EventType,
    postgres::{PostgresStore, PutBack, Replayed},
    shown::rfc3339,
};
use anyhow::Context;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// As many as the relay takes at once: no event waits for more than these.
const SLICE_EVENTS: u32 = 500;
/// Counting holds no process up.
const COUNTED_EVENTS: u32 = 10_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// An outbox from which nothing goes for so long will not empty by waiting.
const STILL_MAX: Duration = Duration::from_secs(60);

/// Which events go again.
#[derive(Debug, Clone, Copy)]
pub struct EventReplay {
    pub of: Replayed,
    pub event_type: Option<EventType>,
}

impl EventReplay {
    /// How many there are, and whether the count stopped at `most` or a little later.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count(&self, store: &PostgresStore, most: i64) -> anyhow::Result<(i64, bool)> {
        let (mut count, mut last) = (0, None);
        while let Some(slice) = store.next_slice(self.of, self.event_type, last, COUNTED_EVENTS).await? {
            if count >= most {
                return Ok((count, true));
            }
            count += store.count_published(slice, self.event_type).await?;
            last = Some(slice);
        }
        Ok((count, false))
    }

    /// Puts them back, and says after each slice how many there were until then. Returns how many in all.
    ///
    /// # Errors
    /// The database is away, or nothing leaves the outbox: the error says from where to go on.
    pub async fn put_back(
        &self,
        store: &PostgresStore,
        mut progress: impl FnMut(i64) + Send,
    ) -> anyhow::Result<i64> {
        let (mut done, mut last, mut waiting) = (0, None, None);
        while let Some(slice) = store.next_slice(self.of, self.event_type, last, SLICE_EVENTS).await? {
            if let Some(before) = waiting.take() {
                gone(store, before).await.with_context(|| {
                    let since = rfc3339(slice.since());
                    format!("{done} events are in the outbox again; go on with --since {since}")
                })?;
            }
            let put = store.put_back(slice, self.event_type).await?;
            done += put.count;
            progress(done);
            waiting = (put.count > 0).then_some(put);
            last = Some(slice);
        }
        Ok(done)
    }
}

/// Waits until what was put back is published.
async fn gone(store: &PostgresStore, put: PutBack) -> anyhow::Result<()> {
    let (mut left, mut moved) = (put.count, Instant::now());
    while left > 0 {
        if moved.elapsed() > STILL_MAX {
            anyhow::bail!("nothing leaves the outbox: does a relay run, and is the broker there?");
        }
        sleep(LOOK_EVERY).await;
        let now = store.left_of(put).await?;
        if now < left {
            (left, moved) = (now, Instant::now());
        }
    }
    Ok(())
}

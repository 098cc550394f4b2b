//! How much upstream asks for: steadily, or in a hurry while a strike wants many claims at once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Between two commands, on average.
const EVERY: Duration = Duration::from_millis(200);
const EVERY_IN_A_HURRY: Duration = Duration::from_millis(5);

#[derive(Default)]
pub struct Load {
    is_hurried: AtomicBool,
    is_over: AtomicBool,
}

impl Load {
    pub fn pace(&self) -> Option<Duration> {
        let every = if self.is_hurried.load(Ordering::Relaxed) { EVERY_IN_A_HURRY } else { EVERY };
        (!self.is_over.load(Ordering::Relaxed)).then_some(every)
    }

    pub fn hurry(&self, is_hurried: bool) {
        self.is_hurried.store(is_hurried, Ordering::Relaxed);
    }

    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

//! This machine's clock. It signs and measures drift; nothing that is decided depends on it.

use crate::{domain::Time, flow::ports::Clock};

#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock requests are signed by"
    )]
    fn now(&self) -> Time {
        chrono::Utc::now()
    }
}

//! Two stages of a stop: take nothing new and finish what is held; then leave. Drain and crash take the
//! same path afterwards, drain only shortens it: nothing may depend on a stop being orderly.

use std::{future::Future, io, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two stages, shared by everything that runs.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take nothing new; finish what is held.
    pub stop: CancellationToken,
    /// Leave now, whatever is held. Never cancelled before `stop`.
    pub now: CancellationToken,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Drained {
    /// Everything that was held is finished.
    Finished,
    /// The limit or a second signal cut work off; the next process does it again.
    CutOff,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// What a signal means: the first stops, a second leaves.
    pub fn signal(&self) {
        if self.stop.is_cancelled() {
            self.now.cancel();
        } else {
            self.stop.cancel();
        }
    }

    /// Runs `work` to its end. From `stop` on it has `limit` to finish, and less after a second signal;
    /// then `now` is cancelled and `work` is dropped.
    pub async fn drain(&self, work: impl Future<Output = ()>, limit: Duration) -> Drained {
        let cut_off = async {
            self.stop.cancelled().await;
            // Whether the limit or the signal came first makes no difference.
            let _ = self.now.run_until_cancelled(tokio::time::sleep(limit)).await;
        };
        tokio::select! {
            biased;
            () = work => Drained::Finished,
            () = cut_off => {
                self.now.cancel();
                Drained::CutOff
            }
        }
    }
}

/// SIGTERM and SIGINT, caught from `new` on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// The operating system does not let us listen.
    pub fn new() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// Turns signals into the stages of a stop. Runs for ever.
    pub async fn stop<T>(mut self, shutdown: &Shutdown) -> T {
        loop {
            let came = tokio::select! {
                Some(()) = self.terminate.recv() => "SIGTERM",
                Some(()) = self.interrupt.recv() => "SIGINT",
                else => return std::future::pending().await,
            };
            shutdown.signal();
            if shutdown.now.is_cancelled() {
                tracing::warn!(signal = came, "leaving now");
            } else {
                tracing::info!(signal = came, "stopping: taking nothing new; once more to leave at once");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn the_first_signal_stops_and_the_second_leaves() {
        let shutdown = Shutdown::new();
        shutdown.signal();
        assert!(shutdown.stop.is_cancelled() && !shutdown.now.is_cancelled());
        shutdown.signal();
        assert!(shutdown.now.is_cancelled());
    }

    #[tokio::test]
    async fn work_that_ends_by_itself_is_never_cut_off() {
        let shutdown = Shutdown::new();
        assert_eq!(shutdown.drain(future::ready(()), Duration::ZERO).await, Drained::Finished);
        shutdown.signal();
        let work = tokio::time::sleep(SHORT);
        assert_eq!(shutdown.drain(work, LONG).await, Drained::Finished);
        assert!(!shutdown.now.is_cancelled());
    }

    #[tokio::test]
    async fn the_limit_counts_from_the_stop_and_cuts_off() {
        let shutdown = Shutdown::new();
        let drain = shutdown.drain(future::pending(), SHORT);
        let early = tokio::time::timeout(SHORT * 5, drain).await;
        assert!(early.is_err(), "it was cut off before the stop");

        shutdown.signal();
        assert_eq!(shutdown.drain(future::pending(), SHORT).await, Drained::CutOff);
        assert!(shutdown.now.is_cancelled());
    }

    #[tokio::test]
    async fn a_second_signal_does_not_wait_for_the_limit() {
        let shutdown = Shutdown::new();
        shutdown.signal();
        shutdown.signal();
        assert_eq!(shutdown.drain(future::pending(), LONG).await, Drained::CutOff);
    }
}

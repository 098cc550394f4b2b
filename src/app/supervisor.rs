//! Owns every task of the process. An end without a stop, by itself or by a panic, never goes unnoticed:
//!
//! - The payments need an essential task: its end stops the process, which finishes what it holds and exits
//!   with code 1. The service manager starts the process again.
//! - No payment needs a restartable task: it is made again, later each time, and `/readyz` says so. Five
//!   restarts within ten minutes stop the process too.

use crate::{
    chance, domain::retry::RetryPolicy, failpoint, http::admin::ComponentStatus, metric, metric::PanicIn,
    panics::caught, shutdown::Shutdown,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Restarts of one task within `RESTARTS_WITHIN` that end the process.
const RESTARTS_MAX: usize = 5;
const RESTARTS_WITHIN: Duration = Duration::from_secs(600);
const RESTART: RetryPolicy = RetryPolicy {
    initial: Duration::from_millis(if cfg!(test) { 10 } else { 1000 }),
    multiplier: 2.0,
    jitter: 0.2,
    max_interval: Duration::from_secs(30),
};

/// Makes stages, and knows how their tasks fare.
#[derive(Clone)]
pub struct Supervisor {
    shutdown: Shutdown,
    state: Arc<SupervisorState>,
}

#[derive(Default)]
struct SupervisorState {
    has_failed: AtomicBool,
    /// The latest restarts of each task that was restarted, the oldest first.
    restarts: Mutex<BTreeMap<&'static str, VecDeque<Restart>>>,
}

#[derive(Debug, Clone, Copy)]
struct Restart {
    at: Instant,
    end: TaskEnd,
}

/// How a task ended that was not asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TaskEnd {
    Returned,
    Panicked,
}

impl TaskEnd {
    fn word(self) -> &'static str {
        match self {
            Self::Returned => "ended by itself",
            Self::Panicked => "panicked",
        }
    }
}

/// Tasks that are stopped together.
pub struct ShutdownStage {
    supervisor: Supervisor,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Supervisor {
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, state: Arc::default() }
    }

    /// A stage. Its tasks end once `stop` is cancelled, and not before.
    pub fn stage(&self, stop: CancellationToken) -> ShutdownStage {
        ShutdownStage { supervisor: self.clone(), stop, tasks: TaskTracker::new() }
    }

    /// Whether a task ended that the payments need.
    pub fn has_failed(&self) -> bool {
        self.state.has_failed.load(Ordering::Relaxed)
    }

    /// The tasks that were restarted lately, for `/readyz`.
    pub fn restarted(&self) -> BTreeMap<&'static str, ComponentStatus> {
        let mut restarts = self.state.restarts.lock();
        let now = Instant::now();
        restarts.values_mut().for_each(|all| forget_old(all, now));
        let word = |all: &VecDeque<Restart>| {
            let latest = all.back()?;
            let (times, how, ago) = (all.len(), latest.end.word(), latest.at.elapsed().as_secs());
            Some(ComponentStatus::bad(format!(
                "restarted {times} times in ten minutes; it {how} {ago} s ago"
            )))
        };
        restarts.iter().filter_map(|(task, all)| Some((*task, word(all)?))).collect()
    }

    fn fail(&self, task: &'static str, why: &str) {
        tracing::error!(
            task,
            why,
            "a task has ended that payments need; the process finishes what it holds and exits with code 1"
        );
        self.state.has_failed.store(true, Ordering::Relaxed);
        self.shutdown.stop.cancel();
    }

    /// How long to wait before the restart; `None`: it was restarted too often.
    fn restart(&self, task: &'static str, end: TaskEnd) -> Option<Duration> {
        let mut restarts = self.state.restarts.lock();
        let all = restarts.entry(task).or_default();
        let now = Instant::now();
        forget_old(all, now);
        all.push_back(Restart { at: now, end });
        let times = u32::try_from(all.len()).unwrap_or(u32::MAX);
        (all.len() < RESTARTS_MAX).then(|| RESTART.wait(times, chance::draw(), None))
    }
}

fn forget_old(restarts: &mut VecDeque<Restart>, now: Instant) {
    while restarts.front().is_some_and(|restart| now.duration_since(restart.at) > RESTARTS_WITHIN) {
        restarts.pop_front();
    }
}

impl ShutdownStage {
    /// What the tasks of this stage obey.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts a task that the payments need. It ends after the stop.
    pub fn essential(&self, task: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (supervisor, stop) = (self.supervisor.clone(), self.stop.clone());
        let work = Box::pin(work);
        self.tasks.spawn(async move {
            match end_of(task, work).await {
                TaskEnd::Returned if stop.is_cancelled() => {}
                end => supervisor.fail(task, end.word()),
            }
        });
    }

    /// Starts a task that no payment needs. It ends after the stop; an earlier end makes it again.
    pub fn restartable<W>(&self, task: &'static str, make: impl Fn() -> W + Send + 'static)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        metric::create_counters_of_task(task);
        let (supervisor, stop) = (self.supervisor.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            loop {
                let end = end_of(task, Box::pin(make())).await;
                if stop.is_cancelled() {
                    return;
                }
                metric::task_restarted(task);
                let Some(wait) = supervisor.restart(task, end) else {
                    return supervisor.fail(task, "it was restarted too often");
                };
                let (how, wait_ms) = (end.word(), wait.as_millis());
                tracing::error!(
                    task,
                    how,
                    wait_ms,
                    "a task has ended that no payment needs; it is restarted"
                );
                if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    return;
                }
            }
        });
    }

    /// Waits for the end of all its tasks.
    pub async fn wait_for_all(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn end_of(task: &'static str, work: impl Future<Output = ()>) -> TaskEnd {
    let work = async {
        tokio::select! {
            biased;
            () = failpoint::task_struck(task) => {}
            () = work => {}
        }
    };
    caught(PanicIn::Background, work).await.map_or(TaskEnd::Panicked, |()| TaskEnd::Returned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn stage() -> (Supervisor, ShutdownStage) {
        let supervisor = Supervisor::new(Shutdown::new());
        let stage = supervisor.stage(CancellationToken::new());
        (supervisor, stage)
    }

    #[tokio::test]
    async fn an_essential_task_that_ends_or_panics_stops_the_process() {
        for panics in [false, true] {
            let (supervisor, stage) = stage();
            stage.essential("test", async move { assert!(!panics, "of the test") });
            supervisor.shutdown.stop.cancelled().await;
            assert!(supervisor.has_failed());
        }
    }

    #[tokio::test]
    async fn what_ends_after_the_stop_has_not_failed_unless_it_panicked() {
        for panics in [false, true] {
            let (supervisor, stage) = stage();
            let stop = stage.stop().clone();
            stage.essential("test", async move {
                stop.cancelled().await;
                assert!(!panics, "of the test");
            });
            stage.restartable("other", {
                let stop = stage.stop().clone();
                move || stop.clone().cancelled_owned()
            });
            stage.stop().cancel();
            stage.wait_for_all().await;
            assert_eq!(supervisor.has_failed(), panics);
            assert!(supervisor.restarted().is_empty());
        }
    }

    #[tokio::test]
    async fn a_restartable_task_is_made_again_until_it_was_restarted_too_often() {
        let (supervisor, stage) = stage();
        let made = Arc::new(AtomicUsize::new(0));
        stage.restartable("gauges", {
            let made = Arc::clone(&made);
            move || {
                let nth = made.fetch_add(1, Ordering::Relaxed);
                async move { assert!(nth.is_multiple_of(2), "of the test") }
            }
        });
        stage.wait_for_all().await;
        assert_eq!(made.load(Ordering::Relaxed), RESTARTS_MAX);
        assert!(supervisor.has_failed() && supervisor.shutdown.stop.is_cancelled());
        let told = supervisor.restarted().remove("gauges").unwrap();
        assert!(!told.ok && told.detail.starts_with("restarted 5 times"), "{}", told.detail);
    }

    #[test]
    fn restarts_that_are_long_ago_do_not_count() {
        let at = Instant::now();
        let mut restarts: VecDeque<_> =
            [0, 1, 2].map(|s| Restart { at: at + Duration::from_secs(s), end: TaskEnd::Returned }).into();
        forget_old(&mut restarts, at + RESTARTS_WITHIN);
        assert_eq!(restarts.len(), 3);
        forget_old(&mut restarts, at + RESTARTS_WITHIN + Duration::from_millis(1500));
        assert_eq!(restarts.len(), 1);
    }
}

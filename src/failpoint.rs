//! Named places where a test kills the process: the windows between the numbered steps of the stories.
//!
//! `JENIUS_CRASH_AT=<name>:<nth>` holds every task that reaches that place from the nth on (without `:<nth>`:
//! the first), and once no other comes, the process kills itself with SIGKILL: nothing is finished,
//! nothing is answered, and all that was held is in that very window. `JENIUS_CRASH_ON=<text>` kills it at once
//! whenever a delivery's body contains the text: a message that no process survives.
//!
//! `JENIUS_PANIC_AT=<name>:<nth>` makes the nth task that reaches that place panic, and no other.
//! `JENIUS_STRIKE_TASK=<task>:<end|panic>:<file>` ends that background task, or makes it panic, while the file
//! exists.
//!
//! Never: a release build has it; it becomes configuration.

macro_rules! points {
    ($($(#[$meaning:meta])* $point:ident = $name:literal,)*) => {
        /// A window between two steps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Failpoint { $($(#[$meaning])* $point,)* }

        impl Failpoint {
            pub const ALL: &[Self] = &[$(Self::$point),*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)* }
            }
        }
    };
}

points! {
    /// A delivery is in hand, nothing is done about it.
    Received = "received",
    /// Judged and permitted.
    BeforeClaim = "before_claim",
    /// The claim, or why there is none, is committed.
    AfterClaim = "after_claim",
    /// The rejection is committed.
    AfterRejection = "after_rejection",
    /// What was parked for the order is applied.
    AfterParked = "after_parked",
    /// The attempt is decided on, nothing is sent.
    BeforeAsk = "before_ask",
    /// DOKU has answered; the answer is not recorded.
    AfterAnswer = "after_answer",
    /// What some attempts taught is committed, and none of them knows it.
    RecordsCommitted = "records_committed",
    /// What the attempt taught is committed.
    AfterRecord = "after_record",
    /// The story has ended, the broker does not know.
    BeforeAck = "before_ack",
    /// The ack is on its way.
    AfterAck = "after_ack",
    BeforeDeadLetter = "before_dead_letter",
    /// The dead letter is confirmed, its delivery is not acked.
    AfterDeadLetter = "after_dead_letter",
    /// A due order has its permit.
    BeforeTake = "before_take",
    /// What a due order needs is claimed or concluded.
    AfterTake = "after_take",
    /// Parked notifications are joined with the orders that appeared.
    AfterTending = "after_tending",
    /// A notification is verified and read.
    BeforeReconcile = "before_reconcile",
    /// Some notifications are committed with what follows, and none of their stories knows it.
    NotificationsCommitted = "notifications_committed",
    /// It is committed with what follows, or parked.
    AfterReconcile = "after_reconcile",
    /// The ingress has verified the notification; the broker does not have it.
    BeforePublish = "before_publish",
    /// The broker has it, DOKU waits for its 200.
    AfterPublish = "after_publish",
    /// The relay has read the outbox.
    BeforeRelay = "before_relay",
    /// The first events of some orders are confirmed, their later ones are not published.
    BetweenWaves = "between_waves",
    /// All are confirmed, none is marked.
    BeforeMark = "before_mark",
    AfterMark = "after_mark",
}

/// Reached by a story. A task that is held here never goes on.
#[cfg(debug_assertions)]
pub async fn failpoint(point: Failpoint) {
    if armed::holds(point) {
        std::future::pending::<()>().await;
    }
}

#[cfg(not(debug_assertions))]
pub async fn failpoint(_: Failpoint) {}

/// Kills the process where this delivery is the one that no process survives.
#[cfg(debug_assertions)]
pub fn on_delivery(body: &[u8]) {
    armed::die_of(body);
}

#[cfg(not(debug_assertions))]
pub fn on_delivery(_: &[u8]) {}

/// Ends when this background task is to end, or panics.
#[cfg(debug_assertions)]
pub async fn task_struck(task: &str) {
    armed::task_struck(task).await;
}

#[cfg(not(debug_assertions))]
pub async fn task_struck(_: &str) {
    std::future::pending::<()>().await;
}

#[cfg(debug_assertions)]
mod armed {
    use super::Failpoint;
    use std::{
        io::Write,
        path::{Path, PathBuf},
        process::{Command, abort, exit},
        sync::{
            OnceLock,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
        time::Duration,
    };

    const AT: &str = "JENIUS_CRASH_AT";
    const ON: &str = "JENIUS_CRASH_ON";
    const PANIC_AT: &str = "JENIUS_PANIC_AT";
    const STRIKE_TASK: &str = "JENIUS_STRIKE_TASK";
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    /// If no task has come for this long, no other comes.
    const QUIET: Duration = Duration::from_millis(600);

    struct Strike {
        point: Failpoint,
        nth: usize,
    }

    static STRIKE: OnceLock<Option<Strike>> = OnceLock::new();
    static PANIC: OnceLock<Option<Strike>> = OnceLock::new();
    static PANIC_REACHED: AtomicUsize = AtomicUsize::new(0);
    static DEADLY: OnceLock<Option<String>> = OnceLock::new();
    static REACHED: AtomicUsize = AtomicUsize::new(0);

    pub fn holds(point: Failpoint) -> bool {
        panic_at(point);
        let Some(strike) = STRIKE.get_or_init(|| read(AT)).as_ref().filter(|strike| strike.point == point)
        else {
            return false;
        };
        let reached = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
        if reached == strike.nth {
            thread::spawn(|| die_when_quiet(strike));
        }
        reached >= strike.nth
    }

    fn panic_at(point: Failpoint) {
        let strike = PANIC.get_or_init(|| read(PANIC_AT)).as_ref();
        let Some(strike) = strike.filter(|strike| strike.point == point) else { return };
        assert_ne!(PANIC_REACHED.fetch_add(1, Ordering::SeqCst) + 1, strike.nth, "a panic of a test");
    }

    pub async fn task_struck(task: &str) {
        let strike = std::env::var(STRIKE_TASK).unwrap_or_default();
        let Some((panics, file)) = parse_task(&strike, task) else {
            return std::future::pending().await;
        };
        while !Path::new(&file).exists() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        assert!(!panics, "a panic of a test");
    }

    /// Whether it panics, and while which file exists.
    fn parse_task(strike: &str, task: &str) -> Option<(bool, PathBuf)> {
        let (how, file) = strike.strip_prefix(task)?.strip_prefix(':')?.split_once(':')?;
        Some((how == "panic", file.into()))
    }

    fn read(variable: &str) -> Option<Strike> {
        let text = std::env::var(variable).ok()?;
        let strike = parse(&text);
        if strike.is_none() {
            log_line(&format!("{variable}: no such point: {text}"));
            exit(2);
        }
        strike
    }

    /// Not `eprintln`, which panics if standard error is closed.
    fn log_line(text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn parse(text: &str) -> Option<Strike> {
        let (name, nth) = match text.split_once(':') {
            Some((name, nth)) => (name, nth.parse().ok().filter(|nth| *nth > 0)?),
            None => (text, 1),
        };
        let point = Failpoint::ALL.iter().copied().find(|point| point.name() == name)?;
        Some(Strike { point, nth })
    }

    fn die_when_quiet(strike: &Strike) {
        let mut before = 0;
        loop {
            let reached = REACHED.load(Ordering::SeqCst);
            if reached == before {
                log_line(&format!("{AT}: {} held {}", strike.point.name(), reached + 1 - strike.nth));
                die();
            }
            before = reached;
            thread::sleep(QUIET);
        }
    }

    pub fn die_of(body: &[u8]) {
        let deadly = DEADLY.get_or_init(|| std::env::var(ON).ok().filter(|text| !text.is_empty()));
        let Some(deadly) = deadly else { return };
        if body.windows(deadly.len()).any(|part| part == deadly.as_bytes()) {
            die();
        }
    }

    /// The shell's parent is this process; should there be no shell, SIGABRT does no more for us.
    fn die() -> ! {
        let _ = Command::new("/bin/sh").args(["-c", "kill -KILL $PPID"]).status();
        abort()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_strike_is_a_point_and_a_count() {
            let read = |text| parse(text).map(|strike| (strike.point, strike.nth));
            for point in Failpoint::ALL {
                assert_eq!(read(point.name()), Some((*point, 1)));
            }
            assert_eq!(read("after_claim:7"), Some((Failpoint::AfterClaim, 7)));
            for wrong in ["", "after", "after_claim:", "after_claim:0", "after_claim:x", "After_Claim"] {
                assert_eq!(read(wrong), None, "{wrong}");
            }
        }
    }
}

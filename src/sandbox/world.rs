//! What every part of a running sandbox shares. Locks are held for a look or a change, never over an await.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::book::Book;
use super::check::{Keys, Merchants};
use super::clock;
use super::config::SandboxConfig;
use super::fast::Tally;
use super::fault_script::ScriptedFault;
use super::faults::{FAULT_WORDS, FaultWord};
use super::snap::PrivateKey;
use super::switch::Switch;

pub(super) struct World {
    pub(super) config: SandboxConfig,
    pub(super) merchants: RwLock<Arc<Merchants>>,
    pub(super) client: reqwest::Client,
    pub(super) snap_key: Option<PrivateKey>,
    pub(super) notify_permits: Semaphore,
    pub(super) stopped: CancellationToken,
    /// A person answers payments in the browser; no customer does by itself.
    pub(super) by_hand: AtomicBool,
    pub(super) tasks: TaskTracker,
    pub(super) book: Mutex<Book>,
    pub(super) switch: RwLock<Arc<Switch>>,
    pub(super) notify_url: RwLock<Option<Url>>,
    /// What the fast mode remembers in place of the book.
    pub(super) tally: Tally,
}

impl World {
    pub(super) fn merchants(&self) -> Arc<Merchants> {
        self.merchants.read().clone()
    }

    pub(super) fn set_keys(&self, client_id: &str, keys: Keys) {
        let mut merchants = self.merchants.write();
        Arc::make_mut(&mut merchants).insert(Arc::from(client_id), keys);
    }

    pub(super) fn switch(&self) -> Arc<Switch> {
        self.switch.read().clone()
    }

    pub(super) fn set_switch(&self, switch: Switch) {
        *self.switch.write() = Arc::new(switch);
    }

    pub(super) fn notify_url(&self) -> Option<Url> {
        self.notify_url.read().clone()
    }

    pub(super) fn set_notify_url(&self, url: Option<Url>) {
        *self.notify_url.write() = url;
    }

    /// DOKU's clock, as far off as the switch says.
    pub(super) fn now(&self) -> DateTime<Utc> {
        clock::now() + TimeDelta::seconds(self.switch().faults.clock_offset_s)
    }

    /// False if the sandbox was stopped before the time was over.
    pub(super) async fn sleep(&self, wait: Duration) -> bool {
        if wait.is_zero() {
            return !self.stopped.is_cancelled();
        }
        tokio::select! {
            () = self.stopped.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// The random fault of the `nth` request about `id`, by the seed alone: neither order nor time matters.
    pub(super) fn random(&self, id: &str, nth: u64) -> Option<ScriptedFault> {
        if self.config.fault_rate <= 0.0 {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        (self.config.seed, id, nth).hash(&mut hasher);
        let mut dice = fastrand::Rng::with_seed(hasher.finish());
        if dice.f64() >= self.config.fault_rate {
            return None;
        }
        let words: Vec<&'static FaultWord> = FAULT_WORDS.iter().filter(|word| word.random).collect();
        Some(ScriptedFault::new(words[dice.usize(..words.len())], dice.bool()))
    }
}

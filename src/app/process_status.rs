//! What this process sees of the world, and what `/readyz` says of it.

use super::{now_here, supervisor::Supervisor};
use crate::{
    config::Role,
    domain::{breaker::BreakerPhase, ids::MerchantName, pause::Paused},
    flow::{
        gate::{Gate, Phases, Since, Stop, StopBy},
        store_outage::{StalledDeliveries, StoreState},
    },
    http::admin::{ComponentStatus, Readiness},
    rabbit::Broker,
};
use chrono::{SecondsFormat, TimeDelta};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// An event that is the oldest for longer is stuck: a relay that works takes out hundreds in a second.
const OUTBOX_STUCK: Duration = Duration::from_secs(15);
/// Two looks at one event tell times that differ by no more.
const SAME_EVENT: Duration = Duration::from_secs(1);

/// Written by the watchers and the roles, read by `/readyz` and the consumers.
pub struct ProcessStatus {
    pub roles: BTreeSet<Role>,
    pub store_state: watch::Sender<StoreState>,
    pub stalled: Arc<StalledDeliveries>,
    /// What is wrong with the database, for a person; empty if nothing is.
    database: Mutex<String>,
    pub relay_active: watch::Sender<bool>,
    pub stranded: AtomicU64,
    /// Which gauges could not be counted, and why; empty if all were.
    uncounted: Mutex<String>,
    outbox: Mutex<Option<OldestEvent>>,
    gate: OnceLock<Arc<Gate>>,
}

impl ProcessStatus {
    pub fn new(roles: &BTreeSet<Role>) -> Self {
        Self {
            roles: roles.clone(),
            store_state: watch::Sender::new(StoreState::Away),
            stalled: Arc::default(),
            database: Mutex::new("not reached yet".to_owned()),
            relay_active: watch::Sender::new(false),
            stranded: AtomicU64::new(0),
            uncounted: Mutex::default(),
            outbox: Mutex::default(),
            gate: OnceLock::new(),
        }
    }

    /// Whether this process sends: only then it knows which accounts are here, and what keeps sends from going.
    pub fn makes_sends(&self) -> bool {
        self.roles.iter().any(|role| matches!(role, Role::Worker | Role::FollowUp))
    }

    pub fn watch_gate(&self, gate: &Arc<Gate>) {
        // Set once, by the one start.
        let _ = self.gate.set(Arc::clone(gate));
    }

    /// The database is reached and migrated, or not: `detail` says what a person should know.
    pub fn database(&self, fault: Option<String>) {
        let is_up = fault.is_none();
        *self.database.lock() = fault.unwrap_or_default();
        self.store_state.send_if_modified(|state| {
            let next = match (*state, is_up) {
                (_, false) => StoreState::Away,
                (StoreState::Away, true) => StoreState::Recovering,
                (StoreState::Recovering | StoreState::Up, true) => *state,
            };
            std::mem::replace(state, next) != next
        });
    }

    /// What could not be counted for the gauges just now.
    pub fn uncounted(&self, faults: String) {
        *self.uncounted.lock() = faults;
    }

    /// How old the oldest event in the outbox is; `None` if there is none.
    pub fn outbox(&self, age: Option<Duration>) {
        let now = Instant::now();
        let mut oldest = self.outbox.lock();
        let Some(age) = age else {
            *oldest = None;
            return;
        };
        // The same event, if it was committed at the same time.
        let is_same = |before: &OldestEvent| before.age + (now - before.seen_at) < age + SAME_EVENT;
        let since = oldest.take().filter(is_same).map_or(now, |before| before.since);
        *oldest = Some(OldestEvent { age, seen_at: now, since });
    }

    /// How long the same event has been the oldest of the outbox, where that is for too long.
    fn outbox_stuck(&self) -> Option<Duration> {
        let oldest = self.outbox.lock();
        oldest.as_ref().map(|oldest| oldest.since.elapsed()).filter(|stuck| *stuck > OUTBOX_STUCK)
    }

    /// Ends once the database can be worked with.
    pub fn database_ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.store_state.subscribe();
        async move {
            // An error means that the application is gone, and so is the task that waits.
            let _ = state.wait_for(|state| *state != StoreState::Away).await;
        }
    }

    fn postgres(&self) -> ComponentStatus {
        let fault = self.database.lock().clone();
        if !fault.is_empty() {
            return ComponentStatus::bad(fault);
        }
        match (self.stalled.fault(), self.stalled.note()) {
            (Some(fault), _) => ComponentStatus::bad(fault),
            (None, Some(note)) => ComponentStatus::ok(format!("{}; {note}", self.count_lines())),
            (None, None) => ComponentStatus::ok(self.count_lines()),
        }
    }

    /// Gauges concern no payment: they make no process unready.
    fn count_lines(&self) -> String {
        let faults = self.uncounted.lock();
        if faults.is_empty() {
            return "up and migrated".to_owned();
        }
        format!("up and migrated, but its gauges are old: {faults}")
    }

    /// Whether an operator paused anybody's sends.
    fn paused(&self) -> bool {
        self.gate.get().and_then(|gate| gate.paused()).is_some_and(|paused| paused.any())
    }

    /// Whether sends go, and else which merchants' do not, why and since when.
    fn sends(&self) -> ComponentStatus {
        let Some(gate) = self.gate.get() else { return ComponentStatus::ok("not made by these roles") };
        let stops: Vec<String> = gate.merchants().filter_map(|m| stop_word(m, gate.stop_of(m)?)).collect();
        if stops.is_empty() {
            ComponentStatus::ok("sends run")
        } else {
            ComponentStatus::bad(stops.join("; "))
        }
    }

    fn doku(&self) -> ComponentStatus {
        let Some(gate) = self.gate.get() else { return ComponentStatus::ok("not asked by these roles") };
        let phases = gate.phases();
        if let Some(fault) = breakers_word(&phases) {
            return ComponentStatus::bad(fault);
        }
        gate.paused().map_or_else(
            || ComponentStatus::bad("no sends yet: what operators paused is not read yet"),
            |paused| ComponentStatus::ok(paused_word(&paused)),
        )
    }
}

impl ProcessStatus {
    /// Each dependency, whether it can be used, and what a person should know of it.
    pub fn dependencies(&self, broker: &Broker) -> Vec<(&'static str, bool, String)> {
        let (postgres, link, doku) = (self.postgres(), broker.health(), self.doku());
        vec![
            ("postgres", postgres.ok, postgres.detail),
            ("broker", link.ok, link.detail),
            ("doku", doku.ok, doku.detail),
        ]
    }
}

/// The event that waits for the longest time.
struct OldestEvent {
    age: Duration,
    seen_at: Instant,
    /// Since when it is the oldest.
    since: Instant,
}

/// A process is ready if it can reach what its roles need. DOKU's faults make no process unready: commands are claimed, and wait.
pub fn snapshot(
    status: Arc<ProcessStatus>,
    broker: Broker,
    supervisor: Supervisor,
) -> impl Fn() -> Readiness + Send + Sync + 'static {
    move || {
        let link = broker.health();
        let broker = ComponentStatus { ok: link.ok, detail: link.detail };
        let (postgres, doku) = (status.postgres(), status.doku());
        let roles: BTreeMap<&'static str, ComponentStatus> = status
            .roles
            .iter()
            .map(|role| (role.name(), role_health(*role, &status, &postgres, &broker)))
            .collect();
        let mut dependencies = BTreeMap::from([("broker", broker), ("doku", doku)]);
        if status.roles.iter().any(|role| needs_postgres(*role)) {
            dependencies.insert("postgres", postgres);
        }
        Readiness {
            ready: roles.values().all(|role| role.ok),
            paused: status.paused(),
            sends: status.sends(),
            dependencies,
            roles,
            tasks: supervisor.restarted(),
            stranded_orders: status.stranded.load(Ordering::Relaxed),
        }
    }
}

/// What the breakers do, and why; `None` if all of them are closed.
fn breakers_word(phases: &Phases) -> Option<String> {
    match phases.doku {
        BreakerPhase::Open => {
            let why = "sends are stopped: DOKU fails; one probe at a time finds out when it is back";
            return Some(why.to_owned());
        }
        BreakerPhase::HalfOpen { .. } => {
            return Some("probing: DOKU failed; one send at a time finds out whether it is back".to_owned());
        }
        BreakerPhase::Closed => {}
    }
    let word = |(merchant, phase): (&MerchantName, &BreakerPhase)| match phase {
        BreakerPhase::HalfOpen { .. } => format!("{merchant} (probing: one send at a time)"),
        BreakerPhase::Open | BreakerPhase::Closed => merchant.to_string(),
    };
    let merchants: Vec<String> = phases.merchants.iter().map(word).collect();
    (!merchants.is_empty())
        .then(|| format!("DOKU refuses key, clock or route of, or fails for: {}", merchants.join(", ")))
}

/// `None` for what only slows sends down.
fn stop_word(merchant: &MerchantName, stop: Stop) -> Option<String> {
    let why = match stop.by {
        StopBy::Pause => "paused by an operator",
        StopBy::Doku => "stopped by the breaker, for DOKU fails",
        StopBy::Merchant => {
            "stopped by the merchant's breaker, for DOKU refuses its key, clock or route, or fails for it"
        }
        StopBy::Rate => return None,
    };
    let since = match stop.since {
        Since::At(at) => Some(at),
        Since::Ago(ago) => TimeDelta::from_std(ago).ok().and_then(|ago| now_here().checked_sub_signed(ago)),
        Since::Unknown => None,
    };
    Some(match since {
        Some(since) => {
            format!("{merchant}: {why}, since {}", since.to_rfc3339_opts(SecondsFormat::Secs, true))
        }
        None => format!("{merchant}: what operators paused is not read yet"),
    })
}

fn paused_word(paused: &Paused) -> String {
    if paused.all.is_some() {
        return "sends are paused by an operator".to_owned();
    }
    if paused.merchants.is_empty() {
        return "sends run".to_owned();
    }
    let merchants: Vec<&str> = paused.merchants.keys().map(|merchant| merchant.as_str()).collect();
    format!("sends are paused by an operator for: {}", merchants.join(", "))
}

fn needs_postgres(role: Role) -> bool {
    match role {
        Role::Worker | Role::FollowUp | Role::Reconciler | Role::Relay | Role::Console => true,
        Role::Ingress => false,
    }
}

fn role_health(
    role: Role,
    status: &ProcessStatus,
    postgres: &ComponentStatus,
    broker: &ComponentStatus,
) -> ComponentStatus {
    if needs_postgres(role) && !postgres.ok {
        return ComponentStatus::bad(format!("postgres: {}", postgres.detail));
    }
    if !matches!(role, Role::FollowUp | Role::Console) && !broker.ok {
        return ComponentStatus::bad(format!("broker: {}", broker.detail));
    }
    match role {
        Role::Relay if let Some(stuck) = status.outbox_stuck() => {
            let seconds = stuck.as_secs();
            let who = if *status.relay_active.borrow() {
                "this relay publishes nothing"
            } else {
                "another session holds the relay's lock and publishes nothing: see RUNBOOK, JeniusOutboxNotDraining"
            };
            ComponentStatus::bad(format!("no event has left the outbox for {seconds} s: {who}"))
        }
        Role::Relay if !*status.relay_active.borrow() => {
            ComponentStatus::ok("another relay is active, this one stands by")
        }
        Role::Worker | Role::FollowUp | Role::Reconciler | Role::Relay | Role::Ingress | Role::Console => {
            ComponentStatus::ok("working")
        }
    }
}

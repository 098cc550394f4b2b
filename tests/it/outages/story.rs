//! The one story of every outage: pays before; struck; named; commands meanwhile; mended; everything paid,
//! nothing twice; and how long, how busy and how often it tried.

use super::{
    outage::{Dependency, Outage},
    scene::Scene,
};
use crate::harness::{commands::Message, payment, vitals};
use serde_json::Value;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Commands of each part of the story.
pub const COMMANDS: usize = 4;
/// How long it lasts after it was named.
pub const LASTS: Duration = Duration::from_secs(2);
/// Of one core, in a build for tests, while what it needs is away.
pub const CPU_SHARE_MAX: f64 = 0.35;
/// The longest backoff, one look, and a machine that is busy with other tests.
const RECOVERED_WITHIN: Duration = Duration::from_secs(35);
/// Lines a process without work may write about an outage: some at once, then a few each second.
fn log_lines_max(away: Duration, commands: u64) -> u64 {
    60 + 10 * commands + 15 * away.as_secs()
}

/// What one outage did, once.
#[derive(Debug, Clone)]
pub struct Run {
    pub outage: &'static str,
    pub said: String,
    pub away: Duration,
    pub tries: u64,
    pub cpu: Duration,
    pub ready_after: Duration,
    pub worked_off_after: Duration,
    pub commands: usize,
    pub lost: usize,
    pub doubled: usize,
}

/// What a service was at one moment.
struct Seen {
    at: Instant,
    cpu: Duration,
    tries: u64,
    log_lines: u64,
}

pub async fn tell(scene: &mut Scene, outage: Outage) -> Run {
    let name = outage.name();
    let mut commands = publish(scene, 1).await;
    all_paid(scene, &commands, name).await;
    let reconnects = reconnects(scene, outage).await;
    let watch = Watch::start(scene, outage);
    // 1 Struck, with something in hand.
    commands.extend(publish(scene, COMMANDS).await);
    let before = seen(scene, outage).await;
    commands.extend(outage.strike(scene).await);
    let mut meanwhile = Vec::new();
    if outage.shows_by_commands() {
        meanwhile = publish(scene, COMMANDS).await;
    }
    // 2 Named.
    let said = named(scene, outage, &watch, reconnects).await;
    if outage == Outage::QueueDeleted {
        // The link that consumes does not wait for the binding.
        let queue = format!("{}.payments", scene.world.broker.prefix);
        let since = Instant::now();
        while !scene.rabbit().is_bound(&queue).await {
            assert!(since.elapsed() < RECOVERED_WITHIN, "{name}: the queue is bound to nothing");
        }
    }
    if !outage.takes_no_commands() && !outage.shows_by_commands() {
        meanwhile = publish(scene, COMMANDS).await;
    }
    stays(scene, outage, &meanwhile).await;
    commands.extend(meanwhile);
    // 3 Alive and quiet.
    assert!(vitals::is_alive(&scene.service.admin).await && scene.service.is_running(), "{name}: it ended");
    let (away, tries, cpu) = is_quiet(scene, outage, &before, commands.len()).await;
    // 4 Mended.
    outage.mend(scene).await;
    let mended = Instant::now();
    if matches!(outage, Outage::BrokerStopped | Outage::BrokerKilled) {
        scene.world.broker.reconnect().await;
    }
    if outage == Outage::QueueDeleted {
        // What was in the queue is gone with it: upstream publishes again what it has heard nothing of.
        for command in &commands {
            scene.world.publish(command).await;
        }
    }
    commands.extend(publish(scene, COMMANDS).await);
    scene.ready().await;
    let ready_after = mended.elapsed();
    assert!(ready_after < RECOVERED_WITHIN, "{name}: ready only after {ready_after:?}");
    // 5 Nothing lost, nothing doubled. What was sent and not recorded waits for the end of its lease.
    scene.leases_end().await;
    all_paid(scene, &commands, name).await;
    let worked_off_after = mended.elapsed();
    let (lost, doubled) = judged(scene, &commands);
    assert_eq!((lost, doubled), (0, 0), "{name}: lost, doubled");
    for queue in ["dead", "unrouted"] {
        assert_eq!(scene.world.broker.depth(queue).await, 0, "{name}: {queue}");
    }
    let commands = commands.len();
    Run { outage: name, said, away, tries, cpu, ready_after, worked_off_after, commands, lost, doubled }
}

pub async fn publish(scene: &Scene, count: usize) -> Vec<Message> {
    let commands: Vec<_> = (0..count).map(|_| payment(&scene.world.invoice())).collect();
    for command in &commands {
        scene.world.publish(command).await;
    }
    commands
}

pub fn invoices(commands: &[Message]) -> Vec<String> {
    let invoice = |c: &Message| c.body["data"]["order"]["invoice_number"].as_str().unwrap().to_owned();
    commands.iter().map(invoice).collect()
}

/// What was published while it lasts: nothing of it reaches DOKU without a claim, and what the broker has
/// taken back is not taken again and again.
async fn stays(scene: &Scene, outage: Outage, meanwhile: &[Message]) {
    if outage == Outage::AckTimeout {
        let timed_out = async || scene.service.log().contains("delivery acknowledgement");
        scene.until("the ack timeout", timed_out).await;
        let back = async || scene.world.broker.depth("payments").await > u32::try_from(COMMANDS).unwrap();
        scene.until("the broker to have them back", back).await;
    }
    let end = Instant::now() + if outage.is_momentary() { Duration::ZERO } else { LASTS };
    while Instant::now() < end {
        if outage == Outage::AckTimeout {
            let depth = usize::try_from(scene.world.broker.depth("payments").await).unwrap();
            assert!(depth > meanwhile.len(), "taken again while the database is away");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if outage.strikes() == Dependency::Postgres {
        let ledger = scene.world.sandbox.ledger();
        for invoice in invoices(meanwhile) {
            assert_eq!(ledger.sends_of(&invoice).count(), 0, "{}: sent without a claim", outage.name());
        }
    }
}

/// Paid, and told: the broker has confirmed every event.
async fn all_paid(scene: &Scene, commands: &[Message], name: &str) {
    let invoices = invoices(commands);
    let paid = async || {
        let state = "SELECT count(*) FROM orders WHERE state = 'paid' AND invoice_number = ANY ($1)";
        let paid: Result<i64, _> =
            sqlx::query_scalar(state).bind(&invoices).fetch_one(&scene.world.database.pool).await;
        let unpublished = "SELECT count(*) FROM outbox";
        let waiting: Result<i64, _> =
            sqlx::query_scalar(unpublished).fetch_one(&scene.world.database.pool).await;
        paid.ok() == i64::try_from(invoices.len()).ok() && waiting.ok() == Some(0)
    };
    scene.until(&format!("{name}: {} orders to be paid and told", commands.len()), paid).await;
}

/// Held against DOKU's own ledger.
fn judged(scene: &Scene, commands: &[Message]) -> (usize, usize) {
    let (ledger, invoices) = (scene.world.sandbox.ledger(), invoices(commands));
    let charges = |invoice: &String| ledger.charges_of(invoice).count();
    let lost = invoices.iter().filter(|invoice| charges(invoice) == 0).count();
    let doubled = invoices.iter().filter(|invoice| charges(invoice) > 1).count();
    (lost, doubled)
}

/// What `/readyz` said of the outage. A link that is rebuilt within milliseconds may be back before anybody
/// looks; then its counter says that it was away.
async fn named(scene: &Scene, outage: Outage, watch: &Watch, reconnects: f64) -> String {
    let name = outage.name();
    if outage.is_momentary() {
        let rebuilt = async || self::reconnects(scene, outage).await > reconnects;
        scene.until(&format!("{name}: a link to be rebuilt"), rebuilt).await;
        return watch.said().unwrap_or_else(|| "(rebuilt before anybody looked)".to_owned());
    }
    scene.until(&format!("{name}: /readyz to name it"), async || watch.said().is_some()).await;
    watch.said().unwrap()
}

async fn reconnects(scene: &Scene, outage: Outage) -> f64 {
    let dependency = format!("dependency=\"{}\"", outage.strikes().name());
    vitals::metric(&scene.service.admin, &["jenius_reconnects_total", &dependency]).await
}

async fn seen(scene: &Scene, outage: Outage) -> Seen {
    let tries = match outage.strikes() {
        Dependency::Broker => scene.to_broker.accepted(),
        Dependency::Postgres => scene.to_postgres.accepted(),
        Dependency::Doku => {
            let made = vitals::metric(&scene.service.admin, &["jenius_attempts_made_total"]).await;
            format!("{made:.0}").parse().unwrap()
        }
    };
    Seen { at: Instant::now(), cpu: vitals::cpu(scene.service.id()), tries, log_lines: scene.log_lines() }
}

/// No busy loop: neither tries, nor log, nor CPU grow by more than backoffs allow.
async fn is_quiet(
    scene: &Scene,
    outage: Outage,
    before: &Seen,
    commands: usize,
) -> (Duration, u64, Duration) {
    let (name, now) = (outage.name(), seen(scene, outage).await);
    let commands = u64::try_from(commands).unwrap();
    let (away, tries, cpu) = (now.at - before.at, now.tries - before.tries, now.cpu - before.cpu);
    let tries_max = outage.strikes().tries_max(away, commands);
    assert!(tries <= tries_max, "{name}: {tries} tries in {away:?}, allowed {tries_max}");
    let lines = now.log_lines - before.log_lines;
    let lines_max = log_lines_max(away, commands);
    assert!(lines <= lines_max, "{name}: {lines} lines in {away:?}: {}", scene.service.log());
    // The commands before it was named are work, and paid with CPU.
    let allowed = away.mul_f64(CPU_SHARE_MAX) + Duration::from_secs(1);
    assert!(cpu <= allowed, "{name}: {cpu:?} of CPU in {away:?}, allowed {allowed:?}");
    (away, tries, cpu)
}

/// Looks at `/readyz` all the time, and keeps what it first said against a dependency.
struct Watch {
    said: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Watch {
    fn start(scene: &Scene, outage: Outage) -> Self {
        let said: Arc<Mutex<Option<String>>> = Arc::default();
        let (found, admin) = (Arc::clone(&said), scene.service.admin.clone());
        let dependency = outage.strikes().name();
        let task = tokio::spawn(async move {
            while found.lock().unwrap().is_none() {
                if let Some((status, ready)) = vitals::readyz(&admin).await {
                    let fault = fault_of(dependency, status, &ready);
                    found.lock().unwrap().clone_from(&fault);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { said, task }
    }

    fn said(&self) -> Option<String> {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A dependency that is not well, in the words of `/readyz`. DOKU's faults make nobody unready.
pub fn fault_of(dependency: &str, status: u16, ready: &Value) -> Option<String> {
    let told = &ready["dependencies"][dependency];
    if told["ok"] != false {
        return None;
    }
    let expected = if dependency == "doku" { 200 } else { 503 };
    assert_eq!(status, expected, "{ready}");
    Some(format!("{status} {dependency}: {}", told["detail"].as_str().unwrap_or_default()))
}

//! One cell of the matrix: the process is killed in one window, with every fault of one kind in flight;
//! started again; and drained until the oracle has nothing to say.

use super::{
    oracle::{self, Ask, Findings},
    plays::{End, Kind, Letter, Plays},
};
use crate::harness::{PATIENCE, World, child::Service, eventually, free_port, reports::Report, world::PATH};
use jenius_pay::{app::Role, failpoint::Failpoint};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// Past a lease of `doku.timeout_ms` + 15 s.
pub const PAST_THE_LEASE: Duration = Duration::from_secs(20);
const SENDS_END_AFTER: Duration = Duration::from_secs(100);
/// Past the end of sends, and past the grace of a not-found after the last of them.
const PAST_THE_END: Duration = Duration::from_secs(120);
const PAST_THE_GRACE: Duration = Duration::from_secs(90);
/// DOKU sends a notification again that was not answered; here it does not wait for half an hour.
const NOTIFIED_AGAIN: Duration = Duration::from_millis(50);
/// On a machine that has much else to do; one that is idle needs two seconds.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const QUEUES: [&str; 3] = ["payments", "refunds", "notifications"];

/// What happens before the process that is to be killed is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// Everything but the relay's work is done, so that it finds all of the events, several for an order.
    AllButTheRelay,
    /// Another process died here.
    KilledAt(Failpoint, usize),
}

/// Where, from the how manieth on.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    pub point: Failpoint,
    pub nth: usize,
    pub before: Before,
}

#[derive(Debug, Clone)]
pub struct Row {
    pub point: Failpoint,
    pub kind: Kind,
    pub faults: usize,
    pub killed: usize,
    pub held: usize,
    pub duplicates: usize,
    /// Dead letters that nobody can explain, or that are missing.
    pub dead: Vec<String>,
    pub findings: Findings,
}

impl Row {
    pub fn is_clean(&self) -> bool {
        self.dead.is_empty() && self.findings.is_clean()
    }
}

/// The cells of one kind, one after the other, in a world of their own.
pub struct Lane {
    pub world: World,
    ingress: String,
    jumped: Duration,
    /// Letters of the cells so far. Killed before its ack, one dies again later.
    died: BTreeSet<Vec<u8>>,
}

impl Lane {
    /// With the orders that the cells need.
    pub async fn new(kind: Kind, count: usize) -> (Self, Vec<Plays>) {
        let port = free_port();
        let ingress = format!("127.0.0.1:{port}");
        // Where notifications alone decide, nobody asks Check Status for an hour.
        let first_check_ms = if kind == Kind::Notification { 3_600_000 } else { 200 };
        let mut world = World::with()
            .without_service()
            .set("INGRESS__LISTEN", &ingress)
            .set("RETRY__INITIAL_MS", 20)
            // Not below the wait for the first inquiry, or resends would come before it for ever.
            .set("RETRY__MAX_INTERVAL_MS", 400)
            .set("BREAKER__FAILURES", 1_000_000)
            .set("BREAKER__OPEN_MS", 20)
            .set("DOKU__TIMEOUT_MS", 700)
            .set("CHECK__FIRST_AFTER_MS", first_check_ms)
            .set("CHECK__NOT_FOUND_GRACE_MS", 60_000)
            .set("CHECK__AFTERWARDS_MS", "")
            .build()
            .await;
        let all: Vec<Plays> = (0..count).map(|_| Plays::new(&world, kind)).collect();
        world.start(&Role::UNNAMED).await;
        let orders = all.iter().flat_map(|plays| &plays.cases).filter_map(|case| case.needs.as_ref());
        let needed = i64::try_from(orders.clone().count()).unwrap();
        for order in orders {
            world.publish(order).await;
        }
        for case in all.iter().flat_map(|plays| &plays.cases).filter(|case| case.end == End::PaidUnasked) {
            world.notify(&case.reports[0]).await;
        }
        let there = "SELECT count(*) FROM orders WHERE state IN ('paid', 'awaiting_payment') AND NOT (\
                     state = 'awaiting_payment' AND EXISTS (SELECT FROM due d WHERE d.order_key = \
                     orders.order_key AND d.inquire_at < jenius_now() + interval '30 minutes'))";
        // In steps: each has the patience that all of them would need.
        for step in (100..needed).step_by(100).chain([needed]) {
            eventually("the orders", async || (world.database.count(there).await >= step).then_some(()))
                .await;
        }
        let quiet = "SELECT count(*) FROM outbox";
        eventually("their events", async || (world.database.count(quiet).await == 0).then_some(())).await;
        world.stop().await;
        (Self { world, ingress, jumped: Duration::ZERO, died: BTreeSet::new() }, all)
    }

    pub async fn strike(&mut self, kind: Kind, strike: Strike, mut plays: Plays) -> Row {
        let now: chrono::DateTime<chrono::Utc> =
            sqlx::query_scalar("SELECT jenius_now()").fetch_one(&self.world.database.pool).await.unwrap();
        plays.sends_end(&(now + SENDS_END_AFTER).to_rfc3339());
        self.publish(&plays).await;
        let mut notifying = self.notify(&plays);
        let mut killed = 1;
        match strike.before {
            Before::Nothing => {}
            Before::AllButTheRelay => self.all_but_the_relay(&plays).await,
            Before::KilledAt(point, nth) => {
                Service::start_to_die(&self.world, point, nth).died().await;
                self.jump(PAST_THE_LEASE).await;
                killed += 1;
            }
        }
        let held = Service::start_to_die(&self.world, strike.point, strike.nth).died().await;
        // Nobody is alive: the leases of the dead run out.
        self.jump(PAST_THE_LEASE).await;
        let service = Service::start_unready(&self.world, &[]);
        let findings = self.drained(&plays).await;
        while let Some(taken) = notifying.join_next().await {
            taken.unwrap();
        }
        let dead = self.dead(&plays).await;
        service.kill();
        let duplicates = oracle::duplicates(&self.world, &plays);
        let faults = plays.faults();
        Row { point: strike.point, kind, faults, killed, held, duplicates, dead, findings }
    }

    async fn publish(&self, plays: &Plays) {
        for message in plays.cases.iter().filter_map(|case| case.command.as_ref()) {
            self.world.publish(message).await;
        }
        for Letter { exchange, routing_key, body } in &plays.dead {
            let content_type = "application/cloudevents+json";
            self.world.broker.publish_to(exchange, routing_key, content_type, body).await;
        }
    }

    /// DOKU's notifications, all at once, each until it is taken.
    fn notify(&self, plays: &Plays) -> JoinSet<()> {
        let said = plays.cases.iter().filter(|case| matches!(case.end, End::State(_)));
        let client = reqwest::Client::new();
        said.flat_map(|case| case.reports.clone())
            .map(|report| notify(client.clone(), format!("http://{}{PATH}", self.ingress), report))
            .collect()
    }

    async fn all_but_the_relay(&mut self, plays: &Plays) {
        let roles = Role::UNNAMED.into_iter().filter(|role| *role != Role::Relay);
        let arguments: Vec<&str> = roles.flat_map(|role| ["--role", role.name()]).collect();
        let service = Service::start_role(&self.world, &arguments).await;
        self.settled(&plays.split().1, Ask::Tables).await;
        service.kill();
    }

    async fn jump(&mut self, ahead: Duration) {
        self.jumped += ahead;
        self.world.database.jump(self.jumped).await;
    }

    /// Those that play to the end of their sends need that end; the others are done before.
    async fn drained(&mut self, plays: &Plays) -> Findings {
        let (last, others) = plays.split();
        let early = self.settled(&others, Ask::Everything).await;
        if !early.is_clean() || last.cases.is_empty() {
            return early;
        }
        self.jump(PAST_THE_END).await;
        let sends = "SELECT count(*) FROM due WHERE send_at IS NOT NULL";
        let ended = async || (self.world.database.count(sends).await == 0).then_some(());
        eventually("the last send to be over", ended).await;
        self.jump(PAST_THE_GRACE).await;
        self.settled(&last, Ask::Everything).await;
        // Nothing of it has come undone meanwhile.
        oracle::judge(&self.world, plays, Ask::Everything).await
    }

    /// Waits until there is nothing to say, or gives up and says it.
    async fn settled(&self, plays: &Plays, ask: Ask) -> Findings {
        let end = Instant::now() + SETTLED_WITHIN;
        loop {
            let findings = oracle::judge(&self.world, plays, ask).await;
            if findings.is_clean() || Instant::now() >= end {
                return findings;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Once nothing waits in the work queues: the dead ones are those that were to die, once or more.
    async fn dead(&mut self, plays: &Plays) -> Vec<String> {
        let wanted: BTreeSet<Vec<u8>> = plays.dead.iter().map(|letter| letter.body.clone()).collect();
        let mut found = BTreeSet::new();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let mut waiting = 0;
            for queue in QUEUES {
                waiting += self.world.broker.depth(queue).await;
            }
            while let Some(dead) = self.world.broker.get("dead").await {
                if !self.died.contains(&dead.body) {
                    found.insert(dead.body);
                }
            }
            if waiting == 0 && found == wanted {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        let wrong = found.symmetric_difference(&wanted);
        let wrong = wrong.map(|body| String::from_utf8_lossy(body).into_owned()).collect();
        self.died.extend(wanted);
        wrong
    }
}

async fn notify(client: reqwest::Client, url: String, report: Report) {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut request = client.post(&url).body(report.body.clone());
        for (name, value) in report.headers() {
            request = request.header(name, value);
        }
        if request.send().await.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        assert!(Instant::now() < end, "a notification was not taken");
        sleep(NOTIFIED_AGAIN).await;
    }
}

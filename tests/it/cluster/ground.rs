//! The ground: three brokers, a primary with a standby, and ways to them, as a cluster has them in production. It is
//! struck and mended as a whole, and serves one fleet after the other.

use crate::{
    all_at_once::fleet::Fleet,
    harness::{broker::LISTENING, eventually, proxy::Proxy, servers::Server},
};
use std::{net::SocketAddr, time::Duration};
use tokio::time::{Instant, sleep};
use url::Url;

/// Longer than the broker takes to notice that a client of a node that slept is gone.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

pub struct Ground {
    pub brokers: [Server; 3],
    pub primary: Server,
    pub standby: Server,
    /// The ways of the test's own clients: to any broker, and to the primary.
    _to_brokers: Proxy,
    to_primary: Proxy,
    pub broker_url: String,
    pub database_url: String,
}

impl Ground {
    pub async fn start() -> Self {
        let brokers = async {
            let first = Server::start("rabbitmq").await;
            let (second, third) = tokio::join!(Server::join(&first), Server::join(&first));
            [first, second, third]
        };
        let databases = async {
            let primary = Server::start("postgres").await;
            let standby = Server::join(&primary).await;
            primary.synchronous(true).await;
            (primary, standby)
        };
        let (brokers, (primary, standby)) = tokio::join!(brokers, databases);
        let (mut broker, mut database) =
            (brokers[0].url.parse::<Url>().unwrap(), primary.url.parse::<Url>().unwrap());
        let to_brokers = Proxy::before(&mut broker).await;
        let to_primary = Proxy::before(&mut database).await;
        to_brokers.lead_to(&addresses(&brokers));
        let (broker_url, database_url) = (broker.to_string(), database.to_string());
        Self { brokers, primary, standby, _to_brokers: to_brokers, to_primary, broker_url, database_url }
    }

    /// Two instances on it, which run: one goes to the brokers by a proxy that knows nothing of them, as a load balancer
    /// may be, the other has a list of them.
    pub async fn fleet(&self, seed: u64) -> Fleet {
        let mut fleet = Fleet::new(seed, &self.broker_url, &self.database_url).await;
        for instance in &fleet.instances {
            instance.to_broker.lead_to(&addresses(&self.brokers));
            instance.to_postgres.lead_to(&[self.primary.address()]);
        }
        let urls = [1, 2, 0].map(|which: usize| self.brokers[which].url.as_str());
        fleet.instances[1].on_brokers(&urls);
        fleet.begin_both().await;
        fleet
    }

    /// The node with the most leaders of a prefix's queues.
    pub async fn leader(&self, prefix: &str) -> usize {
        let leaders = self.leaders(prefix).await;
        (0..3).max_by_key(|node| leaders[*node]).unwrap()
    }

    /// A node that holds no queue by itself: those that the one with the fewest leads go to the others. The test listens
    /// with a queue that is on one node alone, and while that node is frozen the broker confirms no event to anybody.
    pub async fn without_leaders(&self, prefix: &str) -> usize {
        let said = self.brokers[0].ask_ctl(&["--quiet", "list_queues", "name", "pid"]).await;
        let listening = format!("{LISTENING}{prefix}.");
        let foreign: Vec<&str> = said.lines().filter(|line| line.starts_with(&listening)).collect();
        let leaders = self.leaders(prefix).await;
        let is_ours = |node: &usize| !foreign.iter().any(|line| line.contains(&self.brokers[*node].node));
        let leaving = (0..3).filter(is_ours).min_by_key(|node| leaders[*node]).unwrap();
        let others: Vec<_> = (0..3)
            .filter(|node| *node != leaving)
            .map(|node| format!("'{}'", self.brokers[node].node))
            .collect();
        let transfer =
            format!("rabbit_maintenance:transfer_leadership_of_quorum_queues([{}]).", others.join(","));
        self.brokers[leaving].ask_ctl(&["eval", &transfer]).await;
        let left = || async { (self.leaders(prefix).await[leaving] == 0).then_some(()) };
        eventually("another node leads each queue", left).await;
        // A transfer stops the members of the node, for an upgrade. A consumer there gets nothing from a queue without one.
        let revive = "rabbit_maintenance:revive().";
        self.brokers[leaving].ask_ctl(&["eval", revive]).await;
        eventually("every queue has all its members again", || self.whole(prefix)).await;
        // All nodes write down together who leads now: the one that freezes must not hold that up.
        sleep(Duration::from_secs(3)).await;
        leaving
    }

    /// Waits until no command and no report is ready or in the hands of a consumer: a node that woke up may hold some for
    /// consumers that left long ago.
    pub async fn settled(&self, prefix: &str) {
        let work = ["payments", "refunds", "notifications"].map(|queue| format!("{prefix}.{queue}"));
        let end = Instant::now() + SETTLED_WITHIN;
        loop {
            let said = self.broker_says(&["list_queues", "name", "messages"]).await;
            let is_left = |line: &str| {
                line.split_once('\t')
                    .is_some_and(|(name, left)| work.iter().any(|w| w == name) && left != "0")
            };
            if !said.lines().any(is_left) {
                return;
            }
            if Instant::now() > end {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        let queues = [
            "list_queues",
            "name",
            "leader",
            "members",
            "online",
            "messages_ready",
            "messages_unacknowledged",
        ];
        let channels =
            ["list_channels", "pid", "connection", "number", "consumer_count", "messages_unacknowledged"];
        panic!(
            "commands are left at the broker\n{}\n{}\n{}\n{}",
            self.broker_says(&queues).await,
            self.broker_says(&["list_consumers"]).await,
            self.broker_says(&channels).await,
            self.broker_says(&["list_connections", "pid", "name", "state"]).await,
        );
    }

    async fn broker_says(&self, arguments: &[&str]) -> String {
        self.brokers[0].ask_ctl(&[&["--quiet"], arguments].concat()).await
    }

    /// Once no member of a prefix's queues is away.
    async fn whole(&self, prefix: &str) -> Option<()> {
        let said = self.broker_says(&["list_queues", "name", "members", "online"]).await;
        let is_whole = |line: &str| {
            let mut columns = line.split('\t').skip(1);
            let (members, online) = (columns.next()?, columns.next()?);
            Some(members.matches('@').count() == online.matches('@').count())
        };
        let mut ours = said.lines().filter(|line| line.starts_with(prefix));
        ours.all(|line| is_whole(line) == Some(true)).then_some(())
    }

    /// How many of a prefix's queues each node leads.
    async fn leaders(&self, prefix: &str) -> [usize; 3] {
        let said = self.brokers[0].ask_ctl(&["--quiet", "list_queues", "name", "leader"]).await;
        let ours = || said.lines().filter(|line| line.starts_with(prefix));
        assert!(ours().count() > 0, "no queues: {said}");
        [0, 1, 2].map(|node: usize| ours().filter(|line| line.ends_with(&self.brokers[node].node)).count())
    }

    /// The standby becomes the primary, without one of its own; the test's own clients follow at once.
    pub async fn fail_over(&mut self) {
        self.standby.promote().await;
        std::mem::swap(&mut self.primary, &mut self.standby);
        self.to_primary.lead_to(&[self.primary.address()]);
        self.to_primary.reset();
    }

    /// What was the primary becomes the standby of what is.
    pub async fn rejoin(&mut self) {
        self.standby.follow(&self.primary).await;
    }
}

pub fn addresses(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(Server::address).collect()
}

//! Two instances of the service, each behind proxies of its own, on one broker and one database, with one DOKU.

use crate::harness::{World, child::Service, free_port, proxy::Proxy, vitals};
use std::time::{Duration, Instant};

/// The longest backoff, the detection of a vanished host, and a busy machine.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
/// More than an instance may take to finish what it holds.
const LEFT_WITHIN: Duration = Duration::from_secs(40);

pub struct Instance {
    service: Option<Service>,
    pub to_broker: Proxy,
    pub to_postgres: Proxy,
    settings: Vec<(&'static str, String)>,
    /// What it held when it had just become ready.
    first_kib: Option<u64>,
}

pub struct Fleet {
    pub world: World,
    pub instances: [Instance; 2],
    pub to_doku: Proxy,
}

impl Fleet {
    /// On servers that can be killed. No instance runs yet.
    pub async fn new(seed: u64, broker: &str, database: &str) -> Self {
        let mut world = World::with()
            .without_service()
            .on_broker(broker)
            .on_database(database)
            .set("RETRY__INITIAL_MS", 100)
            .set("RETRY__MAX_INTERVAL_MS", 1000)
            .set("CHECK__FIRST_AFTER_MS", 1000)
            .set("CHECK__MAX_INTERVAL_MS", 3000)
            .sandbox(|sandbox| {
                sandbox.seed = seed;
                sandbox.fault_rate = 0.03;
                sandbox.pay_after_ms = 300;
                sandbox.retry_scale = 0.001;
            })
            .build()
            .await;
        let mut doku: url::Url = world.sandbox.base_url().parse().unwrap();
        let to_doku = Proxy::before(&mut doku).await;
        world.settings.insert("DOKU_BASE_URL".to_owned(), format!("http://{}", to_doku.address));
        let instances = [Instance::new(&world).await, Instance::new(&world).await];
        Self { world, instances, to_doku }
    }

    /// Starts both, and waits until they are ready.
    pub async fn begin_both(&mut self) {
        for which in 0..2 {
            self.begin(which);
        }
        self.recovered().await;
    }

    /// Starts an instance that is not running; notifications go to it from now on.
    pub fn begin(&mut self, which: usize) {
        let instance = &mut self.instances[which];
        assert!(instance.service.is_none());
        let port = free_port();
        let ingress = format!("127.0.0.1:{port}");
        let mut extra: Vec<(&str, &str)> =
            instance.settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        extra.push(("JENIUS_PAY__INGRESS__LISTEN", &ingress));
        let start = if which == 0 { Service::start_other } else { Service::start_unready };
        instance.service = Some(start(&self.world, &extra));
        instance.first_kib = None;
        let notify = format!("http://{ingress}{}", crate::harness::world::PATH);
        self.world.sandbox.set_notify_url(Some(&notify)).unwrap();
    }

    /// Replaces an instance as a rolling upgrade does: the new one is ready before the old one has to leave.
    pub async fn replace(&mut self, which: usize) {
        let mut leaving = self.take(which);
        self.begin(which);
        self.recovered().await;
        leaving.signal("-TERM");
        let status = leaving.ended(LEFT_WITHIN).await;
        assert_eq!(status.code(), Some(0), "{}", leaving.log());
    }

    pub fn service(&mut self, which: usize) -> &mut Service {
        self.instances[which].service.as_mut().expect("it runs")
    }

    pub fn take(&mut self, which: usize) -> Service {
        self.instances[which].service.take().expect("it runs")
    }

    /// Waits until both are ready, and says how long it took.
    pub async fn recovered(&mut self) -> Duration {
        let start = Instant::now();
        for which in 0..2 {
            loop {
                let service = self.service(which);
                assert!(service.is_running(), "an instance ended by itself: {}", service.log());
                let said = vitals::readyz(&service.admin).await;
                if said.as_ref().is_some_and(|(status, _)| *status == 200) {
                    break;
                }
                if start.elapsed() >= RECOVERED_WITHIN {
                    let logs = [0, 1].map(|which| self.service(which).log());
                    let sessions = self.world.database.sessions().await;
                    panic!(
                        "not ready after {RECOVERED_WITHIN:?}: {said:?}\n{sessions}\n{}",
                        logs.join("\n---\n")
                    );
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let pid = self.service(which).id();
            self.instances[which].first_kib = self.instances[which].first_kib.or(vitals::resident_kib(pid));
        }
        start.elapsed()
    }

    /// What each instance held when it became ready, and holds now.
    pub fn memory_kib(&mut self) -> Vec<(u64, u64)> {
        (0..2)
            .map(|which| {
                let pid = self.service(which).id();
                (self.instances[which].first_kib.unwrap(), vitals::resident_kib(pid).unwrap())
            })
            .collect()
    }
}

impl Instance {
    /// Another way to the broker than the one behind the proxy.
    pub fn on_brokers(&mut self, urls: &[&str]) {
        for (key, value) in &mut self.settings {
            if *key == "AMQP_URL" {
                *value = urls.join(",");
            }
        }
    }

    async fn new(world: &World) -> Self {
        let mut database = world.database.url.clone();
        let mut broker: url::Url = world.settings["AMQP_URL"].parse().unwrap();
        let to_postgres = Proxy::before(&mut database).await;
        let to_broker = Proxy::before(&mut broker).await;
        let settings = vec![("DATABASE_URL", database.to_string()), ("AMQP_URL", broker.to_string())];
        Self { service: None, to_broker, to_postgres, settings, first_kib: None }
    }
}

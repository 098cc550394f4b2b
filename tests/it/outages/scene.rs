//! A scene: a world whose service is a process of its own, behind proxies that count, with servers of its own
//! where an outage strikes the server itself.

use crate::harness::{World, child::Service, proxy::Proxy, servers::Server, vitals, world::Setting};
use sqlx::Executor;
use std::{
    future::Future,
    time::{Duration, Instant},
};

/// The account the service uses on a database server of the scene's own: PostgreSQL lets a superuser in when
/// it lets in nobody else.
const ACCOUNT: &str = "payer";
/// Detection of a host that vanished takes two heartbeats, and then the longest wait between tries.
const PATIENCE: Duration = Duration::from_secs(75);

pub struct Scene {
    pub world: World,
    pub service: Service,
    pub rabbit: Option<Server>,
    pub postgres: Option<Server>,
    pub to_broker: Proxy,
    pub to_postgres: Proxy,
    pub to_doku: Proxy,
    /// Another session of the database, that holds what an outage made it take.
    pub other: Option<sqlx::PgConnection>,
    /// How far the database's clock is ahead.
    ahead: Duration,
}

/// Settings that make waits short, and DOKU's breaker quick.
pub fn setting() -> Setting {
    World::with()
        .without_service()
        .set("BREAKER__FAILURES", 3)
        .set("BREAKER__OPEN_MS", 1000)
        .set("RETRY__INITIAL_MS", 200)
        .set("RETRY__MAX_INTERVAL_MS", 2000)
        .set("CHECK__MAX_INTERVAL_MS", 2000)
        .set("DATABASE__MAX_CONNECTIONS", 16)
}

impl Scene {
    pub async fn new(rabbit: Option<Server>, postgres: Option<Server>) -> Self {
        Self::of(setting(), rabbit, postgres).await
    }

    pub async fn of(mut setting: Setting, rabbit: Option<Server>, postgres: Option<Server>) -> Self {
        if let Some(server) = &rabbit {
            setting = setting.on_broker(&server.url);
        }
        if let Some(server) = &postgres {
            setting = setting.on_database(&server.url);
        }
        let mut world = setting.build().await;
        let mut database = world.database.url.clone();
        if postgres.is_some() {
            world.database.pool.execute(sqlx::raw_sql(OPEN_ACCOUNT)).await.unwrap();
            database.set_username(ACCOUNT).unwrap();
        }
        let mut broker: url::Url = world.settings["AMQP_URL"].parse().unwrap();
        let mut doku: url::Url = world.sandbox.base_url().parse().unwrap();
        let to_postgres = Proxy::before(&mut database).await;
        let to_broker = Proxy::before(&mut broker).await;
        let to_doku = Proxy::before(&mut doku).await;
        world.settings.insert("DATABASE_URL".to_owned(), database.to_string());
        world.settings.insert("AMQP_URL".to_owned(), broker.to_string());
        world.settings.insert("DOKU_BASE_URL".to_owned(), format!("http://{}", to_doku.address));
        let service = Service::start(&world).await;
        let ahead = Duration::ZERO;
        Self { world, service, rabbit, postgres, to_broker, to_postgres, to_doku, other: None, ahead }
    }

    pub fn rabbit(&mut self) -> &mut Server {
        self.rabbit.as_mut().expect("a broker of the scene's own")
    }

    pub fn postgres(&mut self) -> &mut Server {
        self.postgres.as_mut().expect("a database server of the scene's own")
    }

    /// Stops the service in order, and starts it anew: a link that was lost a moment ago would wait longer
    /// before its next try.
    pub async fn renew(&mut self) {
        self.stop().await;
        self.service = Service::start(&self.world).await;
    }

    async fn stop(&mut self) {
        self.service.signal("-TERM");
        let status = self.service.ended(Duration::from_secs(40)).await;
        assert_eq!(status.code(), Some(0), "{}", self.service.log());
    }

    /// SQL of the operator of the database.
    pub async fn operate(&self, sql: &'static str) {
        self.world.database.pool.execute(sqlx::raw_sql(sql)).await.unwrap();
    }

    /// Lets every lease end that is under way.
    pub async fn leases_end(&mut self) {
        self.ahead += Duration::from_secs(20);
        self.world.database.jump(self.ahead).await;
    }

    /// Lines that were logged so far.
    pub fn log_lines(&self) -> u64 {
        u64::try_from(self.service.log().lines().count()).unwrap()
    }

    /// Waits for a fact for as long as the longest recovery may take.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut fact: impl FnMut() -> F) -> Duration {
        let start = Instant::now();
        while !fact().await {
            assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        start.elapsed()
    }

    pub async fn ready(&self) -> Duration {
        let ready =
            async || vitals::readyz(&self.service.admin).await.is_some_and(|(status, _)| status == 200);
        self.until("/readyz to be 200", ready).await
    }

    /// Stops the service in order, and holds what must always hold.
    pub async fn end(mut self) {
        self.stop().await;
        drop(self.service);
        self.world.end().await;
    }
}

const OPEN_ACCOUNT: &str = "
    DO $$ BEGIN CREATE ROLE payer LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO payer;
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO payer;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO payer";

//! PgBouncer between the service and PostgreSQL. In transaction mode it lends one session to many: the relay's lock leaks, and
//! two relays publish everything twice. It looks healthy, so it must be found and refused.

use super::{detail, readyz};
use crate::harness::{
    World,
    child::{Service, run},
    eventually, free_port, payment, vitals,
    world::a_while,
};
use sqlx::{Connection, Executor, PgConnection};
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

struct Bouncer {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Bouncer {
    fn start(world: &World, mode: &str, ignored: &str) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("jenius-pay-bouncer-{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        let (server, name) = (world.database.url.port().unwrap(), &world.database.url.path()[1..]);
        let file = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n{name} = host=127.0.0.1 port={server} dbname={name} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
             ignore_startup_parameters = {ignored}\ndefault_pool_size = 20\n"
        );
        std::fs::write(&file, text).unwrap();
        let program = ["/usr/sbin/pgbouncer", "pgbouncer"]
            .into_iter()
            .find(|p| Command::new(p).arg("-V").output().is_ok());
        let mut command = Command::new(program.expect("pgbouncer is not there: run ./deploy/local/test"));
        if Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" {
            // It refuses to be root.
            command.args(["-u", "nobody"]);
        }
        let process = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { process, folder, port }
    }

    fn url(&self, world: &World) -> String {
        let mut url = world.database.url.clone();
        url.set_port(Some(self.port)).unwrap();
        url.to_string()
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_shares_sessions_is_found_and_refused_in_plain_words() {
    let mut world = World::with().without_service().build().await;
    let direct = world.settings["DATABASE_URL"].clone();
    for (ignored, words) in
        [("options,extra_float_digits", "pool_mode = session"), ("extra_float_digits", "PgBouncer")]
    {
        let bouncer = Bouncer::start(&world, "transaction", ignored);
        world.settings.insert("DATABASE_URL".to_owned(), bouncer.url(&world));
        let mut services = [Service::start_unready(&world, &[]), Service::start_unready(&world, &[])];
        for service in &mut services {
            names_the_pooler(service, words).await;
        }
        a_while().await;
        for service in &mut services {
            assert!(readyz(service).await.is_none_or(|(status, _)| status == 503));
            names_the_pooler(service, words).await;
        }
        // Which session the pooler lends is its own choice: one look may get the same one for both connections.
        let found = async || {
            let doctor = run(&world, &["doctor"], "").await;
            let names_it = String::from_utf8_lossy(&doctor.stdout).contains("pooler");
            (doctor.status.code() == Some(1) && names_it).then_some(())
        };
        eventually("doctor to name the pooler", found).await;
        drop((services, bouncer));
        // The same processes' work goes on without it.
        world.settings.insert("DATABASE_URL".to_owned(), direct.clone());
        let service = Service::start(&world).await;
        let invoice = world.invoice();
        world.publish(&payment(&invoice)).await;
        world.event(&invoice, "order.paid").await;
        drop(service);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_leaves_sessions_alone_works() {
    let mut world = World::with().without_service().build().await;
    let direct = world.settings["DATABASE_URL"].clone();
    let bouncer = Bouncer::start(&world, "session", "options,extra_float_digits");
    world.settings.insert("DATABASE_URL".to_owned(), bouncer.url(&world));
    let service = Service::start(&world).await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    drop((service, bouncer));
    world.settings.insert("DATABASE_URL".to_owned(), direct);
    world.end().await;
}

/// It stays alive: no answer that the pooler mixed up ever reaches its tasks.
async fn names_the_pooler(service: &mut Service, words: &str) {
    let reached: &Service = service;
    let named = async || detail(reached).await.filter(|detail| detail.contains(words));
    eventually("/readyz to name the pooler", named).await;
    assert!(service.is_running(), "it ended: {}", service.log());
}

/// What a session that leaked leaves behind: nobody relays, and both processes would say that another one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_waits_for_a_lock_that_nobody_uses_is_not_well() {
    let world = World::with().without_service().build().await;
    let mut leaked = PgConnection::connect(world.database.url.as_str()).await.unwrap();
    leaked.execute("SELECT pg_advisory_lock(x'6a656e697573'::bigint)").await.unwrap();
    let service = Service::start(&world).await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    // Looks are the rarer the longer they take; an event is stuck that a look finds again after 15 s.
    let waits =
        async || (vitals::metric(&service.admin, &["jenius_outbox_events"]).await > 0.0).then_some(());
    eventually("a look to find the event in the outbox", waits).await;
    let told = async || {
        let (status, ready) = readyz(&service).await?;
        let detail = ready["roles"]["relay"]["detail"].as_str()?;
        (status == 503 && detail.contains("holds the relay's lock")).then_some(())
    };
    eventually("/readyz to say that no event leaves", told).await;
    drop(leaked);
    world.event(&invoice, "order.paid").await;
    eventually("the relay to be well", async || (readyz(&service).await?.0 == 200).then_some(())).await;
    drop(service);
    world.end().await;
}

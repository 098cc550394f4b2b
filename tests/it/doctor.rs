//! `doctor` by its exit code and its JSON: a world that is well, and each thing broken once.

use crate::harness::{
    World,
    child::{Service, run},
    eventually, free_port, http,
    reports::Report,
    servers::Server,
    vitals,
    world::assert_no_canary,
};
use doku_sandbox::Faults;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

struct Doctor {
    exit: Option<i32>,
    /// Status, detail and hint by name.
    checks: BTreeMap<String, (String, String, String)>,
}

impl Doctor {
    async fn visits(world: &World) -> Self {
        Self::asked(world, &[]).await
    }

    async fn asked(world: &World, more: &[&str]) -> Self {
        let output = run(world, &[&["doctor", "--json"], more].concat(), "").await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert_no_canary("what the doctor says", &said);
        assert_no_canary("what the doctor logs", &String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_str(&said).unwrap();
        let text = |check: &Value, member: &str| check[member].as_str().unwrap_or_default().to_owned();
        let checks: BTreeMap<_, _> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| (text(c, "name"), (text(c, "status"), text(c, "detail"), text(c, "hint"))))
            .collect();
        for (name, (status, _, hint)) in &checks {
            assert_eq!(status == "ok", hint.is_empty(), "{name}");
        }
        Self { exit: output.status.code(), checks }
    }

    fn of_status(&self, wanted: &str) -> Vec<&str> {
        let checks = self.checks.iter().filter(|(_, (status, ..))| status == wanted);
        checks.map(|(name, _)| name.as_str()).collect()
    }

    #[track_caller]
    fn fails(&self, names: &[&str]) {
        assert_eq!((self.of_status("fail").as_slice(), self.exit), (names, Some(1)), "{:#?}", self.checks);
    }

    #[track_caller]
    fn warns(&self, name: &str) {
        assert!(self.of_status("warn").contains(&name), "{name}: {:#?}", self.checks);
        assert_eq!((self.of_status("fail").as_slice(), self.exit), ([].as_slice(), Some(0)));
    }

    fn detail(&self, name: &str) -> &str {
        &self.checks[name].1
    }
}

/// A world whose doctor knows where the service listens.
async fn world() -> World {
    let mut world = World::with().set("CHECK__FIRST_AFTER_MS", 60_000).build().await;
    let (admin, ingress) = (world.app().admin_address(), world.app().ingress_address().unwrap());
    for (key, address) in [("ADMIN", admin), ("INGRESS", ingress)] {
        world.settings.insert(format!("JENIUS_PAY__{key}__LISTEN"), address.to_string());
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_is_well_has_nothing_that_fails() {
    let world = world().await;
    let doctor = Doctor::visits(&world).await;
    doctor.warns("postgres.durability");
    for name in ["service.ready", "service.ingress", "work.balance", "doku.key.other"] {
        assert_eq!(doctor.checks[name].0, "ok", "{name}: {:?}", doctor.checks[name]);
    }
    // RabbitMQ 4 drops what is put back too often, unless a policy keeps it; here there is none.
    let version = doctor.detail("broker.version");
    assert!(version.starts_with("RabbitMQ "), "{version}");
    let route = if version.starts_with("RabbitMQ 3") { "ok" } else { "warn" };
    assert_eq!(doctor.checks["broker.dead_route"].0, route, "{version}");
    assert_eq!(doctor.detail("doku.signature"), "DOKU signs its answers");
    assert_eq!((world.broker.depth("dead").await, world.broker.depth("unrouted").await), (0, 0));
    let page = run(&world, &["doctor", "--all"], "").await;
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("\nok    broker.queues") && page.contains(" 0 fail"), "{page}");
    assert!(!page.contains('\u{1b}'), "no colour where nobody sees it");
    world.end().await;
}

/// It asks each path of the ingress whether it is taken there; a POST is what reports something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_counts_as_no_notification() {
    let ingress = format!("127.0.0.1:{}", free_port());
    let mut world = World::with().without_service().set("INGRESS__LISTEN", &ingress).build().await;
    let service = Service::start(&world).await;
    world.settings.insert("JENIUS_PAY__ADMIN__LISTEN".to_owned(), service.admin.clone());
    let counted = async || {
        let refused = vitals::metric(&service.admin, &["jenius_notifications_refused_total{"]).await;
        (refused, vitals::metric(&service.admin, &["jenius_notifications_received_total{"]).await)
    };
    let doctor = Doctor::visits(&world).await;
    assert_eq!(doctor.checks["service.ingress"].0, "ok", "{:?}", doctor.checks["service.ingress"]);
    assert_eq!(counted().await, (0.0, 0.0));
    let body = Report::success("INV-1").body;
    http().post(format!("http://{ingress}/elsewhere")).body(body).send().await.unwrap();
    assert_eq!(counted().await, (1.0, 0.0), "a wrong URL in DOKU's back office is");
    drop(service);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_doku_refuses_is_named_with_its_merchant() {
    let mut world = world().await;
    let variable = "JENIUS_PAY__MERCHANTS__OTHER__SECRET_KEY";
    let right = world.settings.insert(variable.to_owned(), "SK-canary-wrong".to_owned()).unwrap();
    let doctor = Doctor::visits(&world).await;
    doctor.fails(&["doku.key.other"]);
    assert_eq!(doctor.detail("doku.key.other"), "refused: HTTP 400: invalid_signature");
    world.settings.insert(variable.to_owned(), right);
    world.end().await;
}

/// What an ingress takes and the reconciler cannot verify is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_verify_by_other_keys_or_paths_are_named() {
    let mut world = World::with().without_service().build().await;
    let service = Service::start_role(&world, &["--role", "ingress"]).await;
    let all = world.settings.clone();
    world.settings.retain(|name, _| !name.contains("DOKU_") && !name.contains("__MERCHANTS__"));
    let keyless = Service::start_role(&world, &["--role", "relay"]).await;
    assert!(!keyless.page("metrics").await.contains("jenius_keys_info{"), "it verifies nothing");
    world.settings = all;
    let asks = ["--process", &service.admin, "--process", &keyless.admin];
    let doctor = Doctor::asked(&world, &asks).await;
    assert_eq!(doctor.checks["service.keys"].0, "ok", "{:?}", doctor.checks["service.keys"]);
    assert!(doctor.detail("service.keys").starts_with(&service.admin), "{}", doctor.detail("service.keys"));
    let path = "JENIUS_PAY__DOKU__PREVIOUS_NOTIFICATION_PATHS";
    world.settings.insert(path.to_owned(), "/payments/old".to_owned());
    let doctor = Doctor::asked(&world, &asks).await;
    doctor.warns("service.keys");
    assert!(doctor.detail("service.keys").contains(&service.admin), "{}", doctor.detail("service.keys"));
    world.settings.remove(path);
    drop((service, keyless));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_is_told_from_a_wrong_key() {
    let world = world().await;
    let off = |clock_offset_s| Faults { clock_offset_s, ..Faults::default() };
    world.sandbox.set_faults(off(-120)).unwrap();
    Doctor::visits(&world).await.warns("doku.clock");
    world.sandbox.set_faults(off(7200)).unwrap();
    let doctor = Doctor::visits(&world).await;
    doctor.fails(&["doku.clock"]);
    assert!(doctor.detail("doku.clock").contains("request_time_out_of_range"));
    world.sandbox.set_faults(Faults::default()).unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_at_the_broker_is_named_and_not_made() {
    let mut world = world().await;
    world.stop().await;
    world.broker.delete(&format!("{}.payments", world.broker.prefix)).await;
    let doctor = Doctor::visits(&world).await;
    doctor.fails(&["broker.queues"]);
    assert!(doctor.detail("broker.queues").ends_with(".payments is missing"));
    assert!(!world.broker.exists(&format!("{}.payments", world.broker.prefix)).await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_another_limit_is_named_and_what_it_keeps_is_probed() {
    let mut world = world().await;
    world.stop().await;
    let dead = format!("{}.dead", world.broker.prefix);
    world.broker.delete(&dead).await;
    world.broker.declare_with_limit(&dead, 3).await;
    let doctor = Doctor::visits(&world).await;
    doctor.fails(&["broker.queues"]);
    assert!(
        doctor.detail("broker.queues").contains("x-delivery-limit"),
        "{}",
        doctor.detail("broker.queues")
    );
    assert!(doctor.of_status("warn").contains(&"broker.dead_route"), "{:#?}", doctor.checks);
    assert_eq!(world.broker.depth("dead").await, 0);
    world.end().await;
}

/// A copy of what dies and of what is sent, say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_probes_reach_no_queue_of_somebody_else() {
    let world = world().await;
    let prefix = &world.broker.prefix;
    let queue = format!("{prefix}.copy");
    world.broker.declare_with_limit(&queue, 10).await;
    for exchange in ["dead", "unrouted", "commands", "notifications", "events"] {
        world.broker.bind(&queue, &format!("{prefix}.{exchange}"), "#").await;
    }
    let doctor = Doctor::visits(&world).await;
    assert!(
        doctor.detail("broker.dead_route").contains("probe")
            || doctor.of_status("warn").contains(&"broker.dead_route")
    );
    assert_eq!(world.broker.depth("copy").await, 0);
    world.broker.delete(&queue).await;
    world.end().await;
}

/// The plugin is started on the test's own broker, at the port where it is looked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_ends_messages_early_and_members_that_are_stopped_are_seen_where_the_management_plugin_runs()
 {
    let server = Server::start("rabbitmq").await;
    let other = Server::join(&server).await;
    let world = World::with().on_broker(&server.url).build().await;
    let doctor = Doctor::visits(&world).await;
    assert!(doctor.detail("broker.members").starts_with("not seen"), "{}", doctor.detail("broker.members"));
    let url: url::Url = server.url.parse().unwrap();
    let port = url.port().unwrap() + 10_000;
    // Another program's connection may have the port for a moment.
    let start = format!(
        "code:add_pathsz(filelib:wildcard(filename:join(code:lib_dir(rabbit), \"../*/ebin\"))), \
         application:load(rabbitmq_management), \
         application:set_env(rabbitmq_management, tcp_config, [{{port,{port}}},{{ip,\"127.0.0.1\"}}]), \
         Start = fun Start(Tries) -> case application:ensure_all_started(rabbitmq_management) of \
           {{ok,_}} -> ok; Fault when Tries < 2 -> exit(Fault); _ -> timer:sleep(1000), Start(Tries - 1) end end, Start(20)."
    );
    server.ctl(&["eval", &start]).await;
    let doctor = Doctor::visits(&world).await;
    assert_eq!(doctor.checks["broker.members"].1, "each queue has 2, the cluster 2 nodes");
    assert_eq!(doctor.checks["broker.policies"].0, "ok", "{:?}", doctor.checks["broker.policies"]);
    server.ctl(&["set_policy", "short", ".*", "{\"message-ttl\": 60000}"]).await;
    eventually("doctor to warn", async || {
        (Doctor::visits(&world).await.checks["broker.policies"].0 == "warn").then_some(())
    })
    .await;
    // As `rabbitmq-upgrade drain` leaves them.
    let members = |what: &str| {
        format!(
            "[ra:{what}(quorum_queues, {{element(1, amqqueue:get_pid(Queue)), node()}}) || Queue <- rabbit_amqqueue:list(), \
             amqqueue:get_type(Queue) =:= rabbit_quorum_queue]."
        )
    };
    other.ctl(&["eval", &members("stop_server")]).await;
    let stopped = format!("{}.payments on {}", world.broker.prefix, other.node);
    eventually("doctor to name the members that are stopped", async || {
        Doctor::visits(&world).await.detail("broker.members").contains(&stopped).then_some(())
    })
    .await;
    other.ctl(&["eval", &members("restart_server")]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_and_unrouted_letters_are_counted_and_left_alone() {
    let world = world().await;
    world.broker.publish_bytes("payment.request", "application/json", b"no JSON").await;
    world.broker.publish_bytes("no.such.key", "application/json", b"{}").await;
    eventually("both", async || {
        let depths = (world.broker.depth("dead").await, world.broker.depth("unrouted").await);
        (depths == (1, 1)).then_some(())
    })
    .await;
    let doctor = Doctor::visits(&world).await;
    doctor.warns("broker.dead_letters");
    doctor.warns("broker.unrouted");
    assert_eq!(world.broker.get("dead").await.unwrap().body, b"no JSON");
    assert_eq!(world.broker.depth("unrouted").await, 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_migrated_or_another_environments_is_named() {
    let mut world = world().await;
    let pool = world.database.pool.clone();
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 1").execute(&pool).await.unwrap();
    let doctor = Doctor::visits(&world).await;
    doctor.fails(&["postgres.migrations"]);
    assert_eq!(doctor.detail("postgres.migrations"), "not applied: 1");
    world.stop().await;
    sqlx::query("UPDATE installation SET environment = 'production'").execute(&pool).await.unwrap();
    Doctor::visits(&world).await.fails(&["postgres.environment", "postgres.migrations"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_away_fails_alone_and_soon() {
    let mut world = world().await;
    let right = world.settings.clone();
    for (key, url, check) in [
        ("DATABASE_URL", "postgres://jenius:SK-canary@127.0.0.1:9/pay", "postgres.reachable"),
        ("AMQP_URL", "amqp://jenius:SK-canary@127.0.0.1:9", "broker.reachable"),
        ("DOKU_BASE_URL", "http://127.0.0.1:9", "doku.reachable"),
    ] {
        world.settings.insert(key.to_owned(), url.to_owned());
        let visit = tokio::time::timeout(Duration::from_secs(20), Doctor::visits(&world));
        visit.await.unwrap().fails(&[check]);
        world.settings = right.clone();
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_be_read_ends_with_2() {
    let mut world = World::with().without_service().build().await;
    world.settings.insert("JENIUS_PAY__RETRY__JITTER".to_owned(), "9".to_owned());
    let output = run(&world, &["doctor", "--json"], "").await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("retry.jitter"));
    world.settings.remove("JENIUS_PAY__RETRY__JITTER");
    world.end().await;
}

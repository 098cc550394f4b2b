//! Upstream services that are bound to their users of the broker: nobody speaks for another.

use crate::{
    clients::every_publisher_pays_by,
    harness::{
        World,
        broker::publish_by,
        child::{Service, run},
        eventually, free_port, get, payment, refund,
        reports::Report,
        servers::Server,
    },
};
use futures_util::{StreamExt, stream};
use jenius_pay::app::Role;
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};

const NONE: &[&str] = &[];
/// The stories' own user of the broker.
const USER: &str = "guest";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_of_a_bound_source_is_taken_from_its_user_alone() {
    let world = World::with()
        .set("AMQP__SOURCES", format!("{USER}=/checkout;payment;default, other=/erp"))
        .build()
        .await;
    let own = world.invoice();
    let command = payment(&own);
    // Without a user, and as another's: never claimed, nothing stored.
    for (message, user, expected) in [
        (command.clone(), None, "source /checkout: allowed with user_id guest; this one came with none"),
        (
            payment(&world.invoice()).with("source", "/erp"),
            Some(USER),
            "source /erp: allowed with user_id other; this one came with another",
        ),
        (
            payment(&world.invoice()).with("source", "/free"),
            Some(USER),
            "source /free: not in amqp.sources; allowed: the sources that are",
        ),
        (refund(&own), Some(USER), "source /checkout: its user may send payments of default"),
        (
            payment(&world.invoice()).with("merchant", "other"),
            Some(USER),
            "source /checkout: its user may send payments of default",
        ),
        // Before anything else is judged.
        (
            payment(&world.invoice()).with("source", "/free").with("expirytime", "soon").with("data", 1),
            Some(USER),
            "source /free: not in amqp.sources; allowed: the sources that are",
        ),
    ] {
        match user {
            None => world.publish(&message).await,
            Some(user) => assert!(world.broker.publish_as(user, &message).await),
        }
        let dead = eventually("a dead letter", async || world.broker.get("dead").await).await;
        assert_eq!(dead.reason.as_deref(), Some("not_authentic"));
        assert_eq!(dead.detail.as_deref(), Some(expected));
        assert_eq!(dead.body, message.bytes());
    }
    assert_eq!(world.database.count("SELECT count(*) FROM commands").await, 0);
    // Another's name is refused by the broker itself.
    assert!(!world.broker.publish_as("other", &payment(&world.invoice()).with("source", "/erp")).await);
    // The same command, this time by its user.
    assert!(world.broker.publish_as(USER, &command).await);
    world.event(&own, "order.paid").await;
    assert_eq!(world.database.count("SELECT count(*) FROM commands").await, 1);
    // Nor does an operator who replays a dead one, and it is said beforehand.
    world.publish(&payment(&world.invoice())).await;
    eventually("a dead letter", async || (world.broker.depth("dead").await == 1).then_some(())).await;
    let foretold = run(&world, &["dead", "replay", "--all", "--dry-run", "--json"], "").await.stdout;
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&foretold).unwrap()[0]["would"], "not_authentic");
    world.broker.get("dead").await.unwrap();
    world.end().await;
}

/// The URL of a user of RUNBOOK's on a broker of the story's own.
fn url_of(server: &Server, user: &str) -> String {
    let mut url: url::Url = server.url.parse().unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some("PASSWORD")).unwrap();
    url.to_string()
}

async fn connect(server: &Server, user: &str) -> Connection {
    Connection::connect(&url_of(server, user), ConnectionProperties::default()).await.unwrap()
}

/// RUNBOOK's own commands, word by word, for another prefix. What is imported lies where the broker can read it.
async fn set_up(server: &Server, prefix: &str, wanted: impl Fn(&str) -> bool) {
    let definitions = include_str!("../../deploy/rabbitmq/definitions.json").replace("jenius", prefix);
    let file = std::env::temp_dir().join(format!("{prefix}-definitions.json"));
    std::fs::write(&file, definitions).unwrap();
    let (_, section) = include_str!("../../deploy/RUNBOOK.md").split_once("## Broker users").unwrap();
    let commands =
        section.split("```").nth(1).unwrap().lines().filter_map(|l| l.strip_prefix("rabbitmqctl "));
    let run = async |command: String| {
        let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        server.ctl(&words).await;
    };
    let ours = |command: &str| {
        command.replace("deploy/rabbitmq/definitions.json", file.to_str().unwrap()).replace("jenius", prefix)
    };
    // Each is an Erlang of its own: a few at a time, and users before their permissions.
    let (users, rights): (Vec<&str>, Vec<&str>) =
        commands.filter(|command| wanted(command)).partition(|command| command.starts_with("add_user"));
    for wave in [users, rights] {
        stream::iter(wave).for_each_concurrent(4, |command| run(ours(command))).await;
    }
    std::fs::remove_file(&file).unwrap();
}

/// A process with one role, as its own user of the broker, and without the settings that name one of these.
async fn role(world: &mut World, server: &Server, role: Role, without: &[&str]) -> Service {
    let all = world.settings.clone();
    world.settings.insert("AMQP_URL".to_owned(), url_of(server, role.name()));
    world.settings.retain(|name, _| !without.iter().any(|word| name.contains(word)));
    let service = Service::start_unready_role(world, role.name());
    world.settings = all;
    service
}

async fn readyz(service: &Service) -> Option<(u16, String)> {
    get(format!("http://{}/readyz", service.admin)).await.ok()
}

async fn is_ready(service: &Service) {
    eventually(&format!("ready: {}", service.log()), async || {
        readyz(service).await.filter(|(status, _)| *status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_runs_with_the_rights_that_the_runbook_gives_it_and_nobody_has_more() {
    let server = Server::start("rabbitmq").await;
    let setting = World::with().on_broker(&server.url).without_service();
    let sources = "checkout=/checkout;payment, backoffice=/backoffice;refund;default";
    // DOKU knows that it is paid before it is asked for the refund.
    let setting = setting.sandbox(|s| s.pay_after_ms = 1);
    let mut world =
        setting.set("AMQP__SOURCES", sources).set("CHECK__FIRST_AFTER_MS", 3_600_000).build().await;
    let prefix = world.broker.prefix.clone();
    let ingress = format!("127.0.0.1:{}", free_port());
    world.settings.insert("JENIUS_PAY__INGRESS__LISTEN".to_owned(), ingress.clone());
    set_up(&server, &prefix, |command| !command.starts_with("import")).await;

    // Nothing is declared yet, and no role may: each waits, and names what it misses.
    let mut processes = Vec::new();
    for (it, without, missing) in [
        (Role::Worker, NONE, "missing, and this user may not declare it: exchange PREFIX.unrouted"),
        (Role::FollowUp, NONE, ""),
        (Role::Reconciler, NONE, "queue PREFIX.notifications"),
        (Role::Relay, &["DOKU", "MERCHANTS"][..], ""),
        (Role::Ingress, &["DATABASE"][..], "exchange PREFIX.notifications"),
    ] {
        let process = role(&mut world, &server, it, without).await;
        let missing = missing.replace("PREFIX", &prefix);
        let waits = async || {
            let (status, said) = readyz(&process).await?;
            (said.contains(&missing) && (missing.is_empty() || status == 503)).then_some(())
        };
        eventually(&format!("{} to name {missing}", it.name()), waits).await;
        processes.push(process);
    }
    set_up(&server, &prefix, |command| command.starts_with("import")).await;
    for process in &processes {
        is_ready(process).await;
    }

    let [checkout, backoffice, bookkeeping] = [
        connect(&server, "checkout").await,
        connect(&server, "backoffice").await,
        connect(&server, "bookkeeping").await,
    ];
    let channel = bookkeeping.create_channel().await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("bookkeeping".into(), durable, FieldTable::default()).await.unwrap();
    let [commands, events] = ["commands", "events"].map(|it| format!("{prefix}.{it}"));
    let bind = channel.queue_bind(
        "bookkeeping".into(),
        events.as_str().into(),
        "order.*".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();

    // A payment, its notification, and its refund: through all five.
    let invoice = world.invoice();
    assert!(publish_by(&checkout, &commands, "checkout", &payment(&invoice)).await);
    world.event(&invoice, "payment.accepted").await;
    let path = format!("http://{ingress}/payments/notifications");
    assert_eq!(Report::success(&invoice).post(&path).await.unwrap(), 200);
    world.event(&invoice, "order.paid").await;
    let asked = refund(&invoice).with("source", "/backoffice");
    assert!(publish_by(&backoffice, &commands, "backoffice", &asked).await);
    world.event(&invoice, "order.refunded").await;
    let take = async |connection: &Connection, queue: &str| {
        let channel = connection.create_channel().await.unwrap();
        channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await
    };
    eventually("bookkeeping to hear", async || take(&bookkeeping, "bookkeeping").await.unwrap()).await;
    // And dead letters of both consumers.
    let stranger = payment(&world.invoice()).with("source", "/backoffice");
    assert!(publish_by(&checkout, &commands, "checkout", &stranger).await);
    assert_eq!(world.broker.dead().await.reason.as_deref(), Some("not_authentic"));
    let mut forged = Report::success(&invoice);
    forged.key = "wrong".to_owned();
    world.queue(&forged.event()).await;
    assert_eq!(world.broker.dead().await.reason.as_deref(), Some("not_authentic"));

    // The clients that are there to be copied need no more than that.
    every_publisher_pays_by(&url_of(&server, "checkout"), &world).await;

    // Nobody has more rights than that.
    let own = payment(&world.invoice());
    for (user, exchange, message) in [
        ("checkout", "commands", &refund(&invoice)),
        ("backoffice", "commands", &own),
        ("checkout", "events", &own),
        ("checkout", "notifications", &own),
        ("bookkeeping", "commands", &own),
        ("ingress", "commands", &own),
        ("ingress", "events", &own),
        ("relay", "commands", &own),
        ("worker", "commands", &own),
        ("worker", "events", &own),
        ("reconciler", "events", &own),
        ("follow-up", "commands", &own),
    ] {
        let connection = connect(&server, user).await;
        assert!(
            !publish_by(&connection, &format!("{prefix}.{exchange}"), user, message).await,
            "{user} {exchange}"
        );
    }
    for (user, queues) in [
        ("checkout", ["bookkeeping", "PREFIX.payments", "PREFIX.dead"]),
        ("bookkeeping", ["PREFIX.payments", "PREFIX.refunds", "PREFIX.dead"]),
        ("ingress", ["PREFIX.payments", "PREFIX.notifications", "PREFIX.dead"]),
        ("relay", ["PREFIX.payments", "PREFIX.notifications", "PREFIX.dead"]),
        ("worker", ["PREFIX.unrouted", "PREFIX.notifications", "PREFIX.dead"]),
        ("reconciler", ["PREFIX.payments", "PREFIX.refunds", "PREFIX.dead"]),
        ("follow-up", ["PREFIX.payments", "PREFIX.refunds", "PREFIX.dead"]),
    ] {
        let connection = connect(&server, user).await;
        for queue in queues {
            assert!(take(&connection, &queue.replace("PREFIX", &prefix)).await.is_err(), "{user} {queue}");
        }
    }
    drop(processes);
    world.end().await;
}

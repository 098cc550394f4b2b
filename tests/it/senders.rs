//! Upstream services that are bound to their users of the broker: nobody speaks for another.

use crate::harness::{World, broker::publish_by, child::run, eventually, payment, servers::Server};
use jenius_pay::app::Role;
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};

/// The stories' own user of the broker.
const USER: &str = "guest";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_of_a_bound_source_is_taken_from_its_user_alone() {
    let world = World::with().set("AMQP__SOURCES", format!("{USER}=/checkout, other=/erp")).build().await;
    let (own, free) = (world.invoice(), world.invoice());
    let command = payment(&own);
    // Without a user, and as another's: never claimed, nothing stored.
    for (message, user, expected) in [
        (command.clone(), None, "source /checkout: allowed with user_id guest; this one came with none"),
        (
            payment(&world.invoice()).with("source", "/erp"),
            Some(USER),
            "source /erp: allowed with user_id other; this one came with another",
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
    // The same command, this time by its user; and a source that is not bound.
    assert!(world.broker.publish_as(USER, &command).await);
    world.publish(&payment(&free).with("source", "/free")).await;
    world.event(&own, "order.paid").await;
    world.event(&free, "order.paid").await;
    assert_eq!(world.database.count("SELECT count(*) FROM commands").await, 2);
    // Nor does an operator who replays a dead one, and it is said beforehand.
    world.publish(&payment(&world.invoice())).await;
    eventually("a dead letter", async || (world.broker.depth("dead").await == 1).then_some(())).await;
    let foretold = run(&world, &["dead", "replay", "--all", "--dry-run", "--json"], "").await.stdout;
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&foretold).unwrap()[0]["would"], "not_authentic");
    world.broker.get("dead").await.unwrap();
    world.end().await;
}

/// A user of RUNBOOK's on a broker of the story's own.
async fn connect(server: &Server, user: &str) -> (String, Connection) {
    let mut url: url::Url = server.url.parse().unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some("PASSWORD")).unwrap();
    let connection = Connection::connect(url.as_str(), ConnectionProperties::default()).await.unwrap();
    (url.to_string(), connection)
}

/// RUNBOOK's own commands, word by word: everybody can do its part and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runbooks_users_of_the_broker_can_do_their_part_and_nothing_else() {
    let server = Server::start("rabbitmq").await;
    let setting = World::with().on_broker(&server.url).without_service();
    let mut world = setting.set("AMQP__SOURCES", "checkout=/checkout").build().await;
    let prefix = world.broker.prefix.clone();
    let (_, section) = include_str!("../../deploy/RUNBOOK.md").split_once("## Broker users").unwrap();
    let commands =
        section.split("```").nth(1).unwrap().lines().filter_map(|l| l.strip_prefix("rabbitmqctl "));
    for command in commands {
        let command = command.replace("jenius", &prefix);
        let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        server.ctl(&words).await;
    }
    let (url, _pay) = connect(&server, "pay").await;
    world.settings.insert("AMQP_URL".to_owned(), url);
    world.start(&Role::ALL).await;

    let (_, bookkeeping) = connect(&server, "bookkeeping").await;
    let channel = bookkeeping.create_channel().await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("bookkeeping".into(), durable, FieldTable::default()).await.unwrap();
    let events = format!("{prefix}.events");
    let bind = channel.queue_bind(
        "bookkeeping".into(),
        events.as_str().into(),
        "order.*".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();

    let (_, checkout) = connect(&server, "checkout").await;
    let (invoice, commands) = (world.invoice(), format!("{prefix}.commands"));
    assert!(publish_by(&checkout, &commands, "checkout", &payment(&invoice)).await);
    world.event(&invoice, "order.paid").await;
    let get = async |connection: &Connection, queue: &str| {
        let channel = connection.create_channel().await.unwrap();
        channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await
    };
    eventually("bookkeeping to hear of it", async || get(&bookkeeping, "bookkeeping").await.unwrap()).await;

    let own = payment(&world.invoice());
    assert!(!publish_by(&bookkeeping, &commands, "bookkeeping", &own).await);
    assert!(!publish_by(&checkout, &events, "checkout", &own).await);
    assert!(!publish_by(&checkout, &format!("{prefix}.notifications"), "checkout", &own).await);
    for queue in ["bookkeeping".to_owned(), format!("{prefix}.payments"), format!("{prefix}.dead")] {
        assert!(get(&checkout, &queue).await.is_err(), "{queue}");
    }
    assert!(get(&bookkeeping, &format!("{prefix}.payments")).await.is_err());
    world.end().await;
}

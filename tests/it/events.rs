//! Events: none without its change, no change without its event, each order's in order, never lost,
//! whatever happens to the broker or to the relay.

use crate::harness::{
    World, broker,
    child::Service,
    commands::{Message, payment_data, payment_with},
    eventually, payment,
    proxy::{Mode, Proxy},
    world::a_while,
};
use jenius_pay::app::Role;
use lapin::{
    Connection, ConnectionProperties,
    options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use sqlx::Executor;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// A proxy between the service and the broker, and the world's settings pointed at it.
pub async fn broker_behind_a_proxy(world: &mut World) -> Proxy {
    let mut url: url::Url = broker::url().parse().unwrap();
    let target: SocketAddr =
        (format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672))).parse().unwrap();
    let proxy = Proxy::to(target).await;
    url.set_port(Some(proxy.address.port())).unwrap();
    world.settings.insert("AMQP_URL".to_owned(), url.to_string());
    proxy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_event_cannot_be_stored_is_not_made() {
    let world = World::new().await;
    let invoice = world.invoice();
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                  $$ BEGIN IF NEW.type = 'payment.accepted' THEN RAISE 'no room for an event'; END IF; RETURN NEW; END $$; \
                  CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()";
    world.database.pool.execute(sqlx::raw_sql(refuse)).await.unwrap();
    world.publish(&payment(&invoice)).await;
    eventually("DOKU to be asked", async || {
        (world.sandbox.ledger().sends_of(&invoice).count() == 1).then_some(())
    })
    .await;
    a_while().await;
    let order = world.order(&invoice).await;
    assert_eq!((order["state"].as_str(), order["version"].as_i64()), (Some("submitting"), Some(0)));
    assert!(order["attempts"].as_array().unwrap().is_empty(), "half a record: {order:#}");
    world.database.pool.execute("DROP TRIGGER refuse ON events").await.unwrap();
    // Its answer is lost with the record; the lease runs out, and DOKU's replay tells.
    world.database.jump(Duration::from_secs(20)).await;
    world.event(&invoice, "payment.accepted").await;
    assert_eq!(world.sandbox.ledger().charges_of(&invoice).count(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_outlast_a_broker_that_is_away_for_a_day_and_say_what_was_true_at_their_version() {
    let mut world = World::with().without_service().build().await;
    let proxy = broker_behind_a_proxy(&mut world).await;
    world.start(&Role::UNNAMED).await;
    let invoice = world.invoice();
    world.sandbox.set_faults(doku_sandbox::Faults { latency_ms: 400, ..Default::default() }).unwrap();
    world.publish(&payment(&invoice)).await;
    eventually("DOKU to be asked", async || {
        (world.database.count("SELECT count(*) FROM orders").await == 1).then_some(())
    })
    .await;
    proxy.set(Mode::Refuse);
    let state = |wanted: &'static str| {
        let (world, invoice) = (&world, invoice.clone());
        async move { (world.order(&invoice).await["state"] == wanted).then_some(()) }
    };
    eventually("the order to be paid", || state("paid")).await;
    assert!(world.told(&invoice).is_empty());
    world.database.jump(Duration::from_secs(24 * 3600)).await;
    a_while().await;
    proxy.set(Mode::Forward);
    let paid = world.event(&invoice, "order.paid").await;
    let accepted = world.event(&invoice, "payment.accepted").await;
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"]);
    assert_eq!((accepted.data("state"), paid.data("state")), (&"awaiting_payment".into(), &"paid".into()));
    eventually("what is confirmed to leave the outbox", async || {
        (world.database.count("SELECT count(*) FROM outbox").await == 0).then_some(())
    })
    .await;
    world.end().await;
}

/// A subscriber's full queue refuses events: they wait, in order, and nothing is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_events_wait_in_order_and_are_all_published() {
    let world = World::new().await;
    let connection = Connection::connect(&broker::url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let full = format!("{}.full", world.broker.prefix);
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(full.as_str().into(), options, arguments).await.unwrap();
    let exchange = format!("{}.events", world.broker.prefix);
    channel
        .queue_bind(
            full.as_str().into(),
            exchange.as_str().into(),
            "payment.*".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let invoices: Vec<String> = (0..20).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    let waiting = "SELECT count(*) FROM orders WHERE state = 'awaiting_payment' OR state = 'paid'";
    eventually("the orders to be accepted", async || {
        (world.database.count(waiting).await == 20).then_some(())
    })
    .await;
    a_while().await;
    assert!(
        world.database.count("SELECT count(*) FROM outbox").await >= 20,
        "a refused event left the outbox"
    );
    channel.queue_delete(full.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    world.end().await;
}

/// Killed between the confirm and the delete, a relay publishes again: the same event, with the same id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_killed_at_work_publishes_again_with_the_same_ids_and_loses_nothing() {
    let world = World::with().without_service().build().await;
    let mut service = Service::start(&world).await;
    let invoices: Vec<String> = (0..150).map(|_| world.invoice()).collect();
    for batch in invoices.chunks(50) {
        for invoice in batch {
            world.publish(&payment_with(invoice, "pending")).await;
        }
        eventually("the first events", async || world.events(|e| e.invoice() == Some(&batch[0])).pop()).await;
        service.kill();
        service = Service::start(&world).await;
    }
    world.database.jump(Duration::from_secs(20)).await;
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    let mut ids: BTreeMap<(String, u32), String> = BTreeMap::new();
    for event in world.events(|e| e.sequence().is_some()) {
        let key = (event.invoice().unwrap().to_owned(), event.sequence().unwrap());
        let id = event.message_id.clone().unwrap();
        assert_eq!(ids.entry(key).or_insert_with(|| id.clone()), &id);
    }
    service.kill();
    world.end().await;
}

/// The second relay takes over when the first one is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_relays_one_is_active_and_the_other_takes_over() {
    let mut world = World::with().without_service().build().await;
    let first = Service::start(&world).await;
    world.start(&Role::UNNAMED).await;
    let before = world.invoice();
    world.publish(&payment(&before)).await;
    world.event(&before, "payment.accepted").await;
    let seats = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(world.database.count(seats).await, 1);
    first.kill();
    let after = world.invoice();
    world.publish(&payment(&after)).await;
    world.event(&after, "payment.accepted").await;
    world.end().await;
}

/// A delivery is acked only once its claim is committed: while the database refuses, commands stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_not_acked_before_its_claim_is_committed() {
    let world = World::with().without_service().build().await;
    let mut url = world.database.url.clone();
    let target: SocketAddr =
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432)).parse().unwrap();
    let proxy = Proxy::to(target).await;
    url.set_port(Some(proxy.address.port())).unwrap();
    let mut world = world;
    world.settings.insert("DATABASE_URL".to_owned(), url.to_string());
    let service = Service::start(&world).await;
    proxy.set(Mode::Refuse);
    let invoices: Vec<String> = (0..10).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&Message::payment(payment_data(invoice, "$admin"))).await;
    }
    a_while().await;
    service.kill();
    assert!(world.sandbox.ledger().requests.is_empty(), "asked before the claim");
    proxy.set(Mode::Forward);
    let service = Service::start(&world).await;
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    assert_eq!(world.broker.depth("dead").await, 0);
    service.kill();
    world.end().await;
}

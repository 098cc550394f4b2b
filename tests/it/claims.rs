//! One claim, one send at a time: redeliveries, crashes, late workers, other accounts, lost databases.

use crate::harness::{
    World,
    child::Service,
    commands::{self, Message, payment_data},
    eventually, payment, refund,
    world::{OTHER_CLIENT_ID, a_while},
};
use doku_sandbox::{Faults, Operation, Sandbox, SandboxConfig};
use jenius_pay::app::Role;
use sqlx::Executor;
use std::time::Duration;

/// Past a lease of `doku.timeout_ms` + 15 s.
const PAST_THE_LEASE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_deliveries_of_one_command_are_one_row_and_one_send() {
    let mut world = World::with().without_service().build().await;
    world.start(&[Role::Relay]).await;
    let invoice = world.invoice();
    let command = payment(&invoice);
    for _ in 0..100 {
        world.publish(&command).await;
    }
    world.stop().await;
    world.start(&Role::UNNAMED).await;
    world.event(&invoice, "order.paid").await;
    eventually("all deliveries to be acked", async || {
        (world.broker.depth("payments").await == 0).then_some(())
    })
    .await;
    a_while().await;
    assert_eq!(world.database.count("SELECT count(*) FROM commands").await, 1);
    assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_refunds_of_one_order_at_once_are_one_refund() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    let refunds: Vec<Message> = (0..50).map(|_| refund(&invoice)).collect();
    for message in &refunds {
        world.publish(message).await;
    }
    world.event(&invoice, "order.refunded").await;
    let rejected = || async {
        let all = world.events(|e| e.routing_key == "command.rejected");
        (all.len() == 49).then_some(all)
    };
    for event in eventually("the other refunds to be rejected", rejected).await {
        let code = event.data("errors")[0]["code"].as_str().unwrap().to_owned();
        assert!(["refund_in_progress", "already_refunded"].contains(&code.as_str()), "{code}");
    }
    let ledger = world.sandbox.ledger();
    assert_eq!(ledger.refunds_of(&invoice).count(), 1);
    assert_eq!(ledger.request_ids_of(Operation::Refund, &invoice).len(), 1);
    world.end().await;
}

/// Killed in the middle of many commands, three times: every command has one outcome, every order one
/// charge, and every send of an order was the same bytes under the same Request-Id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_charges_everybody_once() {
    let world = World::with().without_service().set("AMQP__PREFETCH", 40).build().await;
    let mut service = Service::start(&world).await;
    let slow = Faults { latency_ms: 60, ..Faults::default() };
    world.sandbox.set_faults(slow).unwrap();
    let invoices: Vec<String> = (0..120).map(|_| world.invoice()).collect();
    let mut jumped = Duration::ZERO;
    for (round, batch) in invoices.chunks(40).enumerate() {
        for (n, invoice) in batch.iter().enumerate() {
            let tag = if n % 5 == 0 { "act_then_drop" } else { "$admin" };
            world.publish(&commands::payment_with(invoice, tag)).await;
        }
        tokio::time::sleep(Duration::from_millis(60 + 70 * round as u64)).await;
        service.kill();
        jumped += PAST_THE_LEASE;
        world.database.jump(jumped).await;
        service = Service::start(&world).await;
    }
    for invoice in &invoices {
        world.event(invoice, "payment.accepted").await;
    }
    let ledger = world.sandbox.ledger();
    for invoice in &invoices {
        assert_eq!(ledger.charges_of(invoice).count(), 1, "{invoice}");
        assert_eq!(ledger.distinct_bodies_of(invoice), 1, "{invoice}");
        assert_eq!(ledger.request_ids_of(Operation::Payment, invoice).len(), 1, "{invoice}");
    }
    assert!(service.is_running());
    service.kill();
    world.end().await;
}

/// A worker sleeps through its lease while another takes over: its late answer is only evidence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_slept_through_its_lease_changes_no_schedule_and_its_answer_still_counts() {
    let mut world = World::with().without_service().set("DOKU__TIMEOUT_MS", 4000).build().await;
    let sleeper = Service::start_role(&world, &["--role", "worker"]).await;
    let slow = Faults { latency_ms: 1500, ..Faults::default() };
    world.sandbox.set_faults(slow).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    eventually("the first send", async || {
        (world.database.count("SELECT count(*) FROM due WHERE token IS NOT NULL").await == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    sleeper.signal("-STOP");
    world.sandbox.set_faults(Faults::default()).unwrap();
    world.database.jump(PAST_THE_LEASE).await;
    world.start(&Role::UNNAMED).await;
    world.event(&invoice, "payment.accepted").await;
    let order = world.order(&invoice).await;
    assert_eq!(order["attempts"][0]["result"], "lost");
    let due = order["due"].clone();
    sleeper.signal("-CONT");
    a_while().await;
    let order = world.order(&invoice).await;
    assert!(order["state"] == "paid" || order["due"] == due, "{order:#}");
    let told = world.told(&invoice);
    assert_eq!(told.iter().filter(|t| *t == "payment.accepted").count(), 1);
    assert_eq!(world.sandbox.ledger().charges_of(&invoice).count(), 1);
    sleeper.kill();
    world.end().await;
}

/// Settings, with a new value or taken out.
type Changes<'a> = &'a [(&'a str, Option<&'a str>)];

/// What was made for one account and host is sent to no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_made_for_another_account_or_host_is_stranded_and_not_sent() {
    let elsewhere = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let base_url = elsewhere.base_url();
    let changes: [(&str, Changes<'_>); 3] = [
        ("another Client-Id", &[("DOKU_CLIENT_ID", Some("MCH-9999-1"))]),
        ("another host", &[("DOKU_BASE_URL", Some(&base_url))]),
        (
            "a removed merchant",
            &[
                ("DOKU_CLIENT_ID", Some(OTHER_CLIENT_ID)),
                ("JENIUS_PAY__MERCHANTS__OTHER__CLIENT_ID", None),
                ("JENIUS_PAY__MERCHANTS__OTHER__SECRET_KEY", None),
            ],
        ),
    ];
    for (what, settings) in changes {
        let mut world = World::new().await;
        let invoice = world.invoice();
        world.publish(&commands::payment_with(&invoice, "429:0*")).await;
        eventually("a send", async || (world.sandbox.ledger().sends_of(&invoice).count() > 1).then_some(()))
            .await;
        world.stop().await;
        let usual = world.settings.clone();
        let sends = world.sandbox.ledger().requests.len();
        for (key, value) in settings {
            match value {
                Some(value) => world.settings.insert((*key).to_owned(), (*value).to_owned()),
                None => world.settings.remove(*key),
            };
        }
        world.start(&Role::UNNAMED).await;
        let stranded = || async {
            let (_, ready) = world.admin("/readyz").await;
            let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
            (ready["stranded_orders"] == 1).then_some(())
        };
        eventually(what, stranded).await;
        a_while().await;
        assert_eq!(world.sandbox.ledger().requests.len(), sends, "{what}");
        assert!(elsewhere.ledger().requests.is_empty(), "{what}");
        // Its account is back, and so is its order.
        world.stop().await;
        world.settings = usual;
        world
            .sandbox
            .set_faults(Faults { invoices: [(invoice.clone(), "$".to_owned())].into(), ..Faults::default() })
            .ok();
        world.start(&Role::UNNAMED).await;
        eventually("sends to go on", async || (world.sandbox.ledger().requests.len() > sends).then_some(()))
            .await;
        world.end().await;
    }
    elsewhere.stop().await;
}

/// The database is restored to before a refund's claim; the same command comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_refund_after_its_claim_was_lost_is_the_same_request() {
    let mut world = World::new().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    world.stop().await;
    let backup = format!("jp_backup_{}", world.unique());
    copy(&world, &backup).await;
    let mut usual = world.settings.clone();
    world.start(&Role::UNNAMED).await;
    let command = refund(&invoice);
    world.publish(&command).await;
    world.event(&invoice, "order.refunded").await;
    world.stop().await;
    let mut url = world.database.url.clone();
    url.set_path(&backup);
    usual.insert("DATABASE_URL".to_owned(), url.to_string());
    world.settings = usual;
    world.start(&Role::UNNAMED).await;
    world.publish(&command).await;
    eventually("the refund to be known again", async || {
        (world.order(&invoice).await["state"] == "refunded").then_some(())
    })
    .await;
    let ledger = world.sandbox.ledger();
    assert_eq!(ledger.refunds_of(&invoice).count(), 1);
    assert_eq!(ledger.request_ids_of(Operation::Refund, &invoice).len(), 1);
    world.stop().await;
    admin(&world, &format!("DROP DATABASE {backup} WITH (FORCE)")).await;
    world.end().await;
}

/// A refund waits unsent, and the database is restored to that moment after DOKU has made it; its budget is over by
/// then, and sends are paused as after every restore.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_after_the_backup_is_found_before_anything_is_abandoned() {
    let mut world = World::new().await;
    let [refunded, paid] = [world.invoice(), world.invoice()];
    world.paid(&refunded).await;
    let unsent =
        Faults { payment: Some("429:0".to_owned()), refund: Some("429:0".to_owned()), ..Faults::default() };
    world.sandbox.set_faults(unsent).unwrap();
    world.publish(&refund(&refunded)).await;
    world.publish(&crate::harness::payment(&paid)).await;
    for (invoice, of) in [(&refunded, "/refund/attempts/0/result"), (&paid, "/attempts/0/result")] {
        let waits = async || (world.find_order(invoice).await?.pointer(of)? == "not_acted").then_some(());
        eventually("an attempt that did nothing", waits).await;
    }
    world.stop().await;
    let backup = format!("jp_backup_{}", world.unique());
    copy(&world, &backup).await;
    let mut restored = world.settings.clone();
    world.sandbox.set_faults(Faults::default()).unwrap();
    world.start(&Role::UNNAMED).await;
    world.event(&refunded, "order.refunded").await;
    world.event(&paid, "order.paid").await;
    world.stop().await;

    let mut url = world.database.url.clone();
    url.set_path(&backup);
    restored.insert("DATABASE_URL".to_owned(), url.to_string());
    world.settings = restored;
    let pool = sqlx::PgPool::connect(url.as_str()).await.unwrap();
    let program = jenius_pay::postgres::pool(url.as_str().parse().unwrap(), 2);
    let two_days_later = "CREATE OR REPLACE FUNCTION jenius_now() RETURNS timestamptz LANGUAGE sql VOLATILE
                          AS $$ SELECT clock_timestamp() + interval '48 hours' $$";
    pool.execute(two_days_later).await.unwrap();
    let paused = crate::harness::child::run(&world, &["pause"], "").await;
    assert!(paused.status.success());
    world.start(&Role::UNNAMED).await;
    for (invoice, expected) in [(&refunded, "refunded"), (&paid, "paid")] {
        let state = async || {
            let view = jenius_pay::postgres::order_view(&program, "default", invoice).await.unwrap()?;
            (view.order.state == expected).then_some(())
        };
        eventually(expected, state).await;
    }
    assert!(world.events(|e| e.routing_key.ends_with(".abandoned")).is_empty());
    let ledger = world.sandbox.ledger();
    assert_eq!(ledger.refunds_of(&refunded).count(), 1);
    assert_eq!(ledger.charges_of(&paid).count(), 1);
    world.stop().await;
    pool.close().await;
    admin(&world, &format!("DROP DATABASE {backup} WITH (FORCE)")).await;
    world.end().await;
}

async fn copy(world: &World, name: &str) {
    let template = world.database.url.path().trim_start_matches('/').to_owned();
    // A template must have no connection; the pool makes new ones.
    admin(
        world,
        &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'"),
    )
    .await;
    admin(world, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
}

async fn admin(world: &World, sql: &str) {
    use sqlx::Connection;
    let mut url = world.database.url.clone();
    url.set_path("postgres");
    let mut admin = sqlx::PgConnection::connect(url.as_str()).await.unwrap();
    admin.execute(sqlx::AssertSqlSafe(sql.to_owned())).await.unwrap();
}

/// Every open order has something due, by a constraint: no path of the program can forget it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_order_without_anything_due_cannot_be_stored() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.publish(&Message::payment(payment_data(&invoice, "never_pays"))).await;
    world.event(&invoice, "payment.accepted").await;
    let forgotten = world.database.pool.execute("DELETE FROM due").await;
    assert!(forgotten.unwrap_err().to_string().contains("due"));
    world.end().await;
}

/// Nor is a refund of what was paid there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_goes_to_the_account_that_the_order_was_made_for_or_waits() {
    let mut world = World::with().notified().build().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    world.stop().await;
    let usual = world.settings.clone();
    world.settings.insert("DOKU_CLIENT_ID".to_owned(), "MCH-9999-1".to_owned());
    let requests = world.sandbox.ledger().requests.len();
    world.start(&Role::UNNAMED).await;
    world.publish(&commands::refund(&invoice)).await;
    eventually("the refund to be stranded", async || {
        let (_, ready) = world.admin("/readyz").await;
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        (ready["stranded_orders"] == 1).then_some(())
    })
    .await;
    assert_eq!(world.sandbox.ledger().requests.len(), requests);
    world.stop().await;
    world.settings = usual;
    world.start(&Role::UNNAMED).await;
    world.event(&invoice, "order.refunded").await;
    assert_eq!(world.sandbox.ledger().refunds_of(&invoice).count(), 1);
    world.end().await;
}

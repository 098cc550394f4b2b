//! Nobody waits for another: neither a merchant for another's backlog, nor a send for a Check Status that hangs, nor
//! an inquiry for sends that are stopped, nor an order for another that something refuses.

use crate::harness::{
    World,
    child::run,
    commands::{Message, payment, payment_with, refund},
    eventually,
    world::{CLIENT_ID, OTHER_CLIENT_ID},
};
use doku_sandbox::{Faults, Merchant};
use sqlx::{Connection, Executor, PgConnection};
use std::time::{Duration, Instant};

const OTHERS: &str =
    "SELECT count(*) FROM due WHERE merchant = 'other' AND send_at <= jenius_now() AND token IS NULL";

fn check(word: &str) -> Faults {
    Faults { check: Some(word.to_owned()), ..Faults::default() }
}

async fn command(world: &World, arguments: &[&str]) {
    let output = run(world, arguments, "").await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

async fn all_accepted(world: &World, invoices: &[String]) {
    for invoice in invoices {
        world.event(invoice, "payment.accepted").await;
    }
}

fn inquiries(world: &World, invoice: &str) -> usize {
    world.sandbox.ledger().inquiries_of(invoice).count()
}

fn sends(world: &World, invoice: &str) -> usize {
    world.sandbox.ledger().sends_of(invoice).count()
}

/// 1,200 overdue sends at 10 a second are two minutes of one merchant's, and of nobody else's; and its own inquiries
/// have one token in five. The waiting order is asked about every second: doubled intervals would outlast the story.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchants_backlog_delays_neither_anothers_resend_nor_its_own_inquiries() {
    let world = World::with()
        .set("DOKU__REQUESTS_PER_SECOND", 10)
        .set("CHECK__FIRST_AFTER_MS", 1000)
        .set("CHECK__MAX_INTERVAL_MS", 1000)
        .build()
        .await;
    let waiting = world.invoice();
    world.publish(&payment_with(&waiting, "never_pays").with("merchant", "other")).await;
    world.event(&waiting, "payment.accepted").await;
    command(&world, &["pause", "--merchant", "other"]).await;
    for _ in 0..1200 {
        world.publish(&payment(&world.invoice()).with("merchant", "other")).await;
    }
    let claimed = async || (world.database.count(OTHERS).await >= 1150).then_some(());
    eventually("the backlog to be claimed", claimed).await;
    command(&world, &["resume", "--merchant", "other"]).await;

    let asked = inquiries(&world, &waiting);
    let faults = Faults {
        payment: Some("429:0".to_owned()),
        client_id: Some(CLIENT_ID.to_owned()),
        ..Faults::default()
    };
    world.sandbox.set_faults(faults).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    eventually("the first send", async || (sends(&world, &invoice) > 0).then_some(())).await;
    world.sandbox.set_faults(Faults::default()).unwrap();
    let begun = Instant::now();
    world.event(&invoice, "payment.accepted").await;
    let took = begun.elapsed();
    let left = world.database.count(OTHERS).await;
    assert!(left > 256, "the backlog was worked off meanwhile: {left}");
    assert!(took < Duration::from_secs(5), "resent after {took:?}");
    let again = async || (inquiries(&world, &waiting) > asked).then_some(());
    eventually("an inquiry beside the backlog", again).await;
    assert!(world.database.count(OTHERS).await > 256, "the backlog was worked off meanwhile");
    world.end().await;
}

/// DOKU takes payments, and its Check Status accepts connections and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_status_that_hangs_delays_no_send() {
    let world = World::with()
        .set("DOKU__TIMEOUT_MS", 30_000)
        .set("CHECK__FIRST_AFTER_MS", 300)
        .set("SHUTDOWN__DRAIN_MS", 1000)
        .build()
        .await;
    world.sandbox.set_faults(check("hang")).unwrap();
    let waiting: Vec<Message> = (0..1500).map(|_| payment_with(&world.invoice(), "never_pays")).collect();
    for message in &waiting {
        world.publish(message).await;
    }
    let due = "SELECT count(*) FROM due WHERE inquire_at <= jenius_now()";
    let ripe = async || (world.database.count(due).await >= 1000).then_some(());
    eventually("a thousand inquiries to be due", ripe).await;
    let begun = Instant::now();
    let invoices: Vec<String> = (0..20).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    all_accepted(&world, &invoices).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "20 payments took {took:?} beside a Check Status that hangs");
    world.sandbox.set_faults(Faults::default()).unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubt_is_inquired_while_sends_are_paused() {
    let world = World::with().set("CHECK__FIRST_AFTER_MS", 1500).build().await;
    let lost = Faults { payment: Some("act_then_drop".to_owned()), ..Faults::default() };
    world.sandbox.set_faults(lost).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    eventually("a send", async || (sends(&world, &invoice) > 0).then_some(())).await;
    command(&world, &["pause"]).await;
    let paid = world.event(&invoice, "order.paid").await;
    assert_eq!(paid.data("evidence"), "check");
    command(&world, &["resume"]).await;
    world.end().await;
}

/// Resends come every 0.4 s at most, and the inquiry is due 2 s after the first of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resends_put_no_inquiry_off() {
    let world = World::with().set("CHECK__FIRST_AFTER_MS", 2000).set("BREAKER__FAILURES", 1000).build().await;
    let lost = Faults { payment: Some("drop".to_owned()), ..Faults::default() };
    world.sandbox.set_faults(lost).unwrap();
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    let asked = async || (inquiries(&world, &invoice) > 0).then_some(());
    eventually("an inquiry", asked).await;
    let before = sends(&world, &invoice);
    assert!(before > 2, "{before} sends before the first inquiry");
    let sent = async || (sends(&world, &invoice) > before).then_some(());
    eventually("sends to go on", sent).await;
    let ledger = world.sandbox.ledger();
    let first = ledger.sends_of(&invoice).map(|request| request.at).min().unwrap();
    let asked = ledger.inquiries_of(&invoice).map(|request| request.at).min().unwrap();
    let after = (asked - first).to_std().unwrap();
    assert!(after < Duration::from_secs(20), "first asked after {after:?}");
    world.end().await;
}

/// A first resend after 9 s must not put an inquiry off that is due after less than a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inquiry_does_not_wait_for_the_next_send() {
    let world = World::with()
        .set("CHECK__FIRST_AFTER_MS", 500)
        .set("RETRY__INITIAL_MS", 600_000)
        .set("RETRY__MAX_INTERVAL_MS", 600_000)
        .build()
        .await;
    let invoice = world.invoice();
    world.publish(&payment_with(&invoice, "act_then_drop")).await;
    let paid = world.event(&invoice, "order.paid").await;
    assert_eq!((paid.data("evidence"), sends(&world, &invoice)), (&"check".into(), 1));
    world.end().await;
}

/// The replay of DOKU's answer is the quickest proof, and an inquiry that fails must not keep it from coming.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inquiry_that_fails_blocks_no_resend() {
    for word in ["500", "hang"] {
        let world = World::with()
            .set("CHECK__FIRST_AFTER_MS", 300)
            .set("RETRY__INITIAL_MS", 1500)
            .set("RETRY__MAX_INTERVAL_MS", 1500)
            .build()
            .await;
        let invoice = world.invoice();
        let faults =
            Faults { invoices: [(invoice.clone(), "act_then_drop".to_owned())].into(), ..check(word) };
        world.sandbox.set_faults(faults).unwrap();
        world.publish(&payment(&invoice)).await;
        let accepted = world.event(&invoice, "payment.accepted").await;
        assert_eq!(accepted.data("evidence"), "response", "{word}");
        assert!(inquiries(&world, &invoice) > 0, "{word}: the resend was to go behind an inquiry");
        assert_eq!(world.sandbox.ledger().charges_of(&invoice).count(), 1);
        world.sandbox.set_faults(Faults::default()).unwrap();
        world.end().await;
    }
}

/// A firewall refuses one order by its content, again and again; the others of its merchant never hear of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_refuses_one_order_stops_none_of_the_others() {
    const OPEN: Duration = Duration::from_secs(20);
    for word in ["html_403*", "413*"] {
        let world = World::with()
            .set("BREAKER__OPEN_MS", OPEN.as_millis())
            .set("RETRY__MAX_INTERVAL_MS", 3000)
            .build()
            .await;
        let refused = world.invoice();
        world.publish(&payment_with(&refused, word)).await;
        let mut longest = Duration::ZERO;
        let end = Instant::now() + Duration::from_secs(6);
        while Instant::now() < end {
            let (invoice, begun) = (world.invoice(), Instant::now());
            world.publish(&payment(&invoice)).await;
            world.event(&invoice, "payment.accepted").await;
            longest = longest.max(begun.elapsed());
        }
        assert!(longest < OPEN / 2, "{word}: one payment took {longest:?}");
        // Metrics are those of all stories that run in this process.
        let (_, ready) = world.admin("/readyz").await;
        assert!(ready.contains("sends run"), "{word}: the breaker is open: {ready}");
        assert!(sends(&world, &refused) >= 2, "{word}: it is tried again, for it may be the route");
        assert_eq!(world.order(&refused).await["state"], "submitting", "{word}: refused is not declined");
        world.end().await;
    }
}

/// A publisher may set the broker's own count of deliveries: it is believed of a redelivery alone, which is processed by
/// itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publishers_count_of_deliveries_makes_no_payment_wait_for_another() {
    const PAYMENTS: u32 = 40;
    const ANSWER: Duration = Duration::from_millis(750);
    let world = World::new().await;
    let latency_ms = u64::try_from(ANSWER.as_millis()).unwrap();
    world.sandbox.set_faults(Faults { latency_ms, ..Faults::default() }).unwrap();
    let invoices: Vec<String> = (0..PAYMENTS).map(|_| world.invoice()).collect();
    let begun = Instant::now();
    for invoice in &invoices {
        world.broker.publish_counted(&payment(invoice), 2).await;
    }
    all_accepted(&world, &invoices).await;
    let took = begun.elapsed();
    assert!(took < ANSWER * PAYMENTS / 2, "{PAYMENTS} payments took {took:?}");
    world.sandbox.set_faults(Faults::default()).unwrap();
    world.end().await;
}

/// All merchants' commands share the consumer's prefetch, and a send that hangs holds its delivery.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_of_two_merchants_that_hang_leave_deliveries_to_a_third() {
    const THIRD: &str = "BRN-0003-third";
    let world = World::with()
        .set("MERCHANTS__THIRD__CLIENT_ID", THIRD)
        .set("MERCHANTS__THIRD__SECRET_KEY", "sk_third")
        .set("AMQP__PREFETCH", 16)
        .set("DOKU__CONCURRENCY", 16)
        .set("DOKU__TIMEOUT_MS", 20_000)
        .set("SHUTDOWN__DRAIN_MS", 1000)
        .sandbox(|sandbox| sandbox.merchants.push(Merchant::new(THIRD, "sk_third")))
        .build()
        .await;
    for _ in 0..60 {
        for merchant in ["default", "other"] {
            world.publish(&payment_with(&world.invoice(), "hang").with("merchant", merchant)).await;
        }
    }
    let hang = async || (world.sandbox.ledger().requests.len() >= 10).then_some(());
    eventually("sends to hang", hang).await;
    let (invoice, begun) = (world.invoice(), Instant::now());
    world.publish(&payment(&invoice).with("merchant", "third")).await;
    world.event(&invoice, "payment.accepted").await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "a payment of a third merchant took {took:?}");
    world.end().await;
}

/// Where every order is refused it is not one order's content: sends stop, and go on when it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_refuses_every_order_stops_its_merchant() {
    let world = World::with().set("RETRY__MAX_INTERVAL_MS", 1000).build().await;
    let faults = Faults {
        payment: Some("html_403".to_owned()),
        client_id: Some(OTHER_CLIENT_ID.to_owned()),
        ..Faults::default()
    };
    world.sandbox.set_faults(faults).unwrap();
    let invoices: Vec<String> = (0..5).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice).with("merchant", "other")).await;
    }
    let open = async || world.admin("/readyz").await.1.contains("fails for: other").then_some(());
    eventually("the merchant's breaker to be open", open).await;
    world.sandbox.set_faults(Faults::default()).unwrap();
    all_accepted(&world, &invoices).await;
    world.end().await;
}

/// A person's open transaction, or a frozen process, holds one order. Its refund waits for it, and nothing else does: other
/// refunds go on, and the process stays ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_a_transaction_holds_keeps_no_others_command_waiting() {
    let world = World::new().await;
    let (held, free) = (world.invoice(), [(); 3].map(|()| world.invoice()));
    for invoice in free.iter().chain([&held]) {
        world.publish(&payment(invoice)).await;
        world.event(invoice, "order.paid").await;
    }
    let mut other = PgConnection::connect(world.database.url.as_str()).await.unwrap();
    let lock = format!("BEGIN; SELECT FROM orders WHERE invoice_number = '{held}' FOR UPDATE");
    other.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    world.publish(&refund(&held)).await;
    eventually("the refund to wait", async || (world.database.count(waits).await > 0).then_some(())).await;
    let end = async || (world.database.count(waits).await == 0).then_some(());
    eventually("its wait to be given up", end).await;
    for invoice in &free {
        let begun = Instant::now();
        world.publish(&refund(invoice)).await;
        world.event(invoice, "order.refunded").await;
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "refunded after {took:?}");
        assert_eq!(world.admin("/readyz").await.0, 200);
    }
    assert!(!world.told(&held).contains(&"refund.accepted".to_owned()));
    other.execute("ROLLBACK").await.unwrap();
    world.event(&held, "order.refunded").await;
    world.end().await;
}

//! DOKU's book and ours, compared, through the front door: what the sandbox plants in its file is found, no more and no less.

mod console;
mod directory;
mod forms;
mod killed;

use crate::harness::{World, child::run, commands, commands::payment_with, eventually, payment};
use chrono::{DateTime, Days, NaiveDate, Utc};
use doku_sandbox::{SettlementRequest, TransactionStatus};
use serde_json::Value;
use std::path::PathBuf;

pub const MERCHANT: [&str; 2] = ["--merchant", "default"];

/// A world whose fees are known.
pub async fn world() -> World {
    World::with().set("SETTLEMENT__FEES", "2020-01-01;fixed=1500").build().await
}

#[expect(clippy::disallowed_methods, reason = "a test plays DOKU, which has a clock of its own")]
pub fn today() -> NaiveDate {
    DateTime::<Utc>::from(std::time::SystemTime::now()).date_naive()
}

/// A pay-out after everything that was paid today is due.
pub fn late() -> NaiveDate {
    today() + Days::new(14)
}

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("jenius-settlement-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &PathBuf {
        &self.0
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A command of the program: what it printed, after the exit code that is expected.
pub async fn said(world: &World, arguments: &[&str], code: i32) -> String {
    let output = run(world, arguments, "").await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}{err}");
    out + &err
}

pub async fn import(world: &World, path: &str, more: &[&str], code: i32) -> String {
    said(world, &[&["settlement", "import", path], &MERCHANT[..], more].concat(), code).await
}

/// The open breaks, as cause and invoice, sorted.
pub async fn open_breaks(world: &World) -> Vec<(String, Option<String>)> {
    let out = said(world, &["settlement", "breaks", "--open", "--json"], 0).await;
    let breaks: Vec<Value> = serde_json::from_str(&out).unwrap();
    let text = |found: &Value, member: &str| found[member].as_str().map(str::to_owned);
    let mut all: Vec<_> =
        breaks.iter().map(|b| (text(b, "cause").unwrap(), text(b, "invoice_number"))).collect();
    all.sort();
    all
}

/// The number of an open break.
pub async fn number_of(world: &World, cause: &str) -> String {
    let out = said(world, &["settlement", "breaks", "--open", "--json"], 0).await;
    let breaks: Vec<Value> = serde_json::from_str(&out).unwrap();
    let found = breaks.iter().find(|b| b["cause"] == cause).unwrap_or_else(|| panic!("no {cause}: {out}"));
    found["number"].to_string()
}

pub async fn settled(world: &World, invoice: &str, kind: &str) -> crate::harness::broker::Event {
    eventually(&format!("settlement.matched of {invoice}"), async || {
        let told = world.events(|e| e.routing_key == "settlement.matched" && e.invoice() == Some(invoice));
        told.into_iter().find(|e| e.data("type") == kind)
    })
    .await
}

async fn pay(world: &World, count: usize) -> Vec<String> {
    let invoices: Vec<String> = (0..count).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    for invoice in &invoices {
        world.event(invoice, "order.paid").await;
    }
    invoices
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planted_in_a_file_is_found_no_more_and_no_less() {
    let world = world().await;
    let scratch = Scratch::new();
    let paid = pay(&world, 24).await;
    for invoice in &paid[..3] {
        world.publish(&commands::refund(invoice)).await;
        world.event(invoice, "order.refunded").await;
    }
    let failed = world.invoice();
    world.publish(&payment_with(&failed, "pay_fails")).await;
    world.event(&failed, "order.failed").await;

    let faults = "missing,doubled,wrong_fee,wrong_amount,wrong_net,refund,no_refund,unknown_type,failed,stranger,unreadable,totals";
    let request = SettlementRequest {
        client_id: Some(crate::harness::world::CLIENT_ID.to_owned()),
        paid_out_on: Some(late()),
        faults: faults.to_owned(),
        ..SettlementRequest::default()
    };
    let file = world.sandbox.settlement(&request).unwrap();
    let named = file.csv.replacen("PELANGGAN", "Astari", 1);
    let path = scratch.write("settlement.csv", named);
    let inquiries = world.sandbox.ledger().inquiries_of(&failed).count();
    let out = import(&world, &path, &[], 0).await;
    let planted: Vec<_> =
        file.planted.iter().map(|p| (p.cause.to_owned(), p.invoice_number.clone())).collect();
    let mut found = open_breaks(&world).await;
    assert_eq!(found.len(), planted.len(), "{found:?}\n{planted:?}\n{out}");
    // Of a row that cannot be read the invoice is not kept.
    found.sort();
    assert_eq!(found, planted);
    assert_eq!(import(&world, &path, &[], 0).await.matches("imported before").count(), 1);
    assert_eq!(open_breaks(&world).await, planted, "the same bytes change nothing");

    // DOKU is asked about what was paid out though it failed, and no order moved.
    let asked = async || (world.sandbox.ledger().inquiries_of(&failed).count() > inquiries).then_some(());
    eventually("Check Status of the failed order", asked).await;
    assert_eq!(world.order(&failed).await["state"], "failed");

    // What fits is told, once; what does not is not.
    let is_planted = |invoice: &String| planted.iter().any(|(_, of)| of.as_ref() == Some(invoice));
    let good = paid.iter().rev().find(|invoice| !is_planted(invoice)).unwrap();
    let event = settled(&world, good, "purchase").await;
    assert_eq!([event.data("net"), event.data("fee"), event.data("gross")], ["48500", "1500", "50000"]);
    assert!(event.data("replaces").is_null());
    let refunded = paid[..3].iter().find(|invoice| !is_planted(invoice)).unwrap();
    assert_eq!(settled(&world, refunded, "refund").await.data("net"), "-50000");
    let fitting = paid.iter().filter(|invoice| !is_planted(invoice)).count() + 2;
    let all =
        async || (world.events(|e| e.routing_key == "settlement.matched").len() == fitting).then_some(());
    eventually("every row that fits to be told", all).await;

    // For people and for finance.
    let shown = said(&world, &["orders", "show", good, "--wide"], 0).await;
    assert!(shown.contains("settlement purchase") && shown.contains("net Rp48.500"), "{shown}");
    let list = said(&world, &["settlement", "list"], 0).await;
    assert!(list.contains("settlement.csv of default") && !list.contains("Astari"), "{list}");
    let csv = said(&world, &["settlement", "breaks", "--csv"], 0).await;
    assert_eq!(csv.lines().count(), planted.len() + 1);
    let cut = said(&world, &["settlement", "breaks", "--csv", "--limit", "1"], 0).await;
    assert!(cut.lines().count() == 3 && cut.contains("the first 1: there are more"), "{cut}");
    let metric = async || {
        world
            .admin("/metrics")
            .await
            .1
            .contains("jenius_settlement_breaks{cause=\"status_mismatch\"} 1")
            .then_some(())
    };
    eventually("the gauge of breaks", metric).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_channel_is_unknown_nothing_counts_as_missing_and_then_it_is_searched() {
    let world = world().await;
    let scratch = Scratch::new();
    let paid = pay(&world, 12).await;
    let client_id = Some(crate::harness::world::CLIENT_ID.to_owned());
    let faults = "other_channel,missing".to_owned();
    let request =
        SettlementRequest { client_id, paid_out_on: Some(late()), faults, ..SettlementRequest::default() };
    let file = world.sandbox.settlement(&request).unwrap();
    import(&world, &scratch.write("a.csv", &file.csv), &[], 0).await;
    assert_eq!(open_breaks(&world).await, [("unknown_channel".to_owned(), None)]);

    let number = number_of(&world, "unknown_channel").await;
    let close = ["settlement", "close", &number, "--reason", "a channel of the card team"];
    said(&world, &close, 0).await;
    let searched = async || (open_breaks(&world).await.len() == 2).then_some(());
    eventually("the orders that the file has not", searched).await;
    let missing = open_breaks(&world).await;
    assert!(
        missing.iter().all(|(cause, of)| cause == "missing_at_doku" && paid.contains(of.as_ref().unwrap())),
        "{missing:?}"
    );
    assert!(said(&world, &close, 0).await.contains("closed already"));
    assert!(said(&world, &["audit"], 0).await.contains("close break"));

    // A later batch brings one of them.
    let one = missing[0].1.clone().unwrap();
    let batch = Some("B-LATER".to_owned());
    let later = SettlementRequest { batch, prefix: one.clone(), faults: String::new(), ..request };
    let later = world.sandbox.settlement(&later).unwrap();
    import(&world, &scratch.write("b.csv", &later.csv), &[], 0).await;
    assert_eq!(open_breaks(&world).await, [missing[1].clone()]);
    settled(&world, &one, "purchase").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_doku_calls_paid_after_all_closes_its_break_by_check_status() {
    let world = world().await;
    let scratch = Scratch::new();
    let invoice = world.invoice();
    world.publish(&payment_with(&invoice, "pay_fails")).await;
    world.event(&invoice, "order.failed").await;
    let client = crate::harness::world::CLIENT_ID;
    assert!(world.sandbox.set_status(client, &invoice, TransactionStatus::Success));
    let request = SettlementRequest {
        client_id: Some(client.to_owned()),
        paid_out_on: Some(late()),
        ..SettlementRequest::default()
    };
    let file = world.sandbox.settlement(&request).unwrap();
    import(&world, &scratch.write("a.csv", &file.csv), &[], 0).await;
    assert_eq!(open_breaks(&world).await, [("status_mismatch".to_owned(), Some(invoice.clone()))]);
    let paid = world.event(&invoice, "order.paid").await;
    assert_eq!(paid.data("late"), true);
    world.database.jump(std::time::Duration::from_secs(120)).await;
    settled(&world, &invoice, "purchase").await;
    assert_eq!(open_breaks(&world).await, []);
    world.end().await;
}

//! People log in at a provider in the browser, by https as in production: two of them decide about one order, and one
//! sends a settlement file.

use super::{in_review, order_url, pictured, provider};
use crate::{
    harness::{World, browser::Browser, eventually, world::CLIENT_ID},
    settlement::{Scratch, late},
};
use doku_sandbox::SettlementRequest;
use jenius_pay::app::Role;

const HOST: &str = "console.test";

/// A service whose console asks a provider, and a browser that knows its public address.
async fn behind_a_provider(folder: &Scratch) -> (World, Browser, String) {
    let console = format!("https://{HOST}");
    let settings = [
        ("LISTEN", "127.0.0.1:0"),
        ("AUTH", "oidc"),
        ("PUBLIC_URL", &console),
        ("OIDC__ISSUER", &provider::start().await),
        ("OIDC__CLIENT_ID", provider::CLIENT_ID),
        ("OIDC__CLIENT_SECRET_FILE", &folder.write("secret", "known-to-the-provider")),
        ("ROLES__VIEWER", "pay-viewer"),
        ("ROLES__DECIDER", "pay-decider"),
        ("ROLES__FINANCE", "pay-finance"),
        ("SECOND_PERSON_ABOVE", "10000"),
    ];
    let mut setting = World::with().notified().set("SETTLEMENT__FEES", "2020-01-01;fixed=1500");
    for (key, value) in settings {
        setting = setting.set(&format!("CONSOLE__{key}"), value);
    }
    let mut world = setting.without_service().build().await;
    world.start(&Role::ALL).await;
    let port = provider::https(HOST, folder.path(), world.app().console_address().unwrap()).await;
    let browser = Browser::start_with(&[format!("--host-resolver-rules=MAP {HOST} 127.0.0.1:{port}")]).await;
    (world, browser, console)
}

async fn log_in(browser: &Browser, name: &str) {
    browser.is_at("Who are you?").await;
    browser.click("=Log in").await;
    browser.is_at("Who logs in?").await;
    browser.click(&format!("={name}")).await;
}

async fn say_it_is_paid(browser: &Browser, console: &str, invoice: &str) {
    browser.open(&order_url(console, "/order/decide", invoice)).await;
    browser.is_at("What is true about").await;
    browser.click("input[value=paid]").await;
    browser.write("textarea", "the bank has Rp50.001").await;
    browser.click("=See what will happen").await;
    browser.is_at("Is this what happened?").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_whom_a_provider_names_decide_together_and_one_brings_a_settlement_file_in() {
    let folder = Scratch::new();
    let (world, browser, console) = behind_a_provider(&folder).await;
    let [paid, wrong] = [world.invoice(), world.invoice()];
    world.paid(&paid).await;
    let kept = "SELECT count(*) FROM second_person_rule WHERE above = 10000";
    eventually("the limit to be kept for the command line", async || {
        (world.database.count(kept).await == 1).then_some(())
    })
    .await;
    in_review(&world, &wrong).await;
    browser.open(&format!("{console}/review")).await;
    pictured(&browser, "log-in").await;
    log_in(&browser, "sari").await;
    // Back at the page that was asked for.
    browser.is_at("What must a person decide?").await;
    assert!(browser.text(".who").await.contains("oidc:sari"));
    say_it_is_paid(&browser, &console, &wrong).await;
    pictured(&browser, "confirm-proposal").await;
    browser.click("=Propose: it is paid").await;
    browser.is_at(&format!("What happened to {wrong}?")).await;
    pictured(&browser, "proposed").await;
    assert_eq!(world.order(&wrong).await["state"], "review");
    browser.leave_by("=Leave").await;
    browser.open(&order_url(&console, "/order/decide", &wrong)).await;
    log_in(&browser, "budi").await;
    browser.is_at("What is true about").await;
    assert!(browser.text(".note").await.contains("oidc:sari proposes"));
    pictured(&browser, "second-person").await;
    say_it_is_paid(&browser, &console, &wrong).await;
    browser.click("=Confirm: it is paid").await;
    browser.is_at(&format!("What happened to {wrong}?")).await;
    world.event(&wrong, "order.paid").await;
    bring_a_file_in(&world, &browser, &console, &folder).await;
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.end().await;
    world.end().await;
}

/// DOKU's file has another fee than the contract: one break.
async fn bring_a_file_in(world: &World, browser: &Browser, console: &str, folder: &Scratch) {
    let request = SettlementRequest {
        client_id: Some(CLIENT_ID.to_owned()),
        paid_out_on: Some(late()),
        faults: "wrong_fee".to_owned(),
        ..SettlementRequest::default()
    };
    let file = folder.write("monday.csv", world.sandbox.settlement(&request).unwrap().csv);
    browser.open(&format!("{console}/settlement")).await;
    browser.write("input[type=file]", &file).await;
    browser.write("form[action='/settlement/bring'] input[name=reason]", "the pay-out of Monday").await;
    browser.click("=Send and read it").await;
    browser.is_at("What is in monday.csv?").await;
    let page = browser.url().await;
    let reads = async |words: &str| {
        browser.open(&page).await;
        browser.text("main").await.contains(words).then_some(())
    };
    eventually("the file to be read", async || reads("Have it matched").await).await;
    pictured(browser, "settlement-file").await;
    browser.write("main input[name=reason]", "the sums are right").await;
    browser.leave_by("=Have it matched").await;
    eventually("the file to be matched", async || reads("State\nmatched").await).await;
    pictured(browser, "settlement-matched").await;
    browser.click(".facts a.id").await;
    browser.is_at("Does the pay-out").await;
    assert!(browser.text("table.stacks").await.contains("fee mismatch"));
    pictured(browser, "settlement-batch").await;
    browser.open(&format!("{console}/settlement?cause=fee_mismatch")).await;
    pictured(browser, "settlement").await;
    browser.write("form[action='/settlement/close'] input[name=reason]", "DOKU pays it back").await;
    browser.leave_by("=Close").await;
    browser.open(&format!("{console}/settlement?cause=fee_mismatch")).await;
    assert!(browser.text("main").await.contains("No break of this sort is open"));
}

//! Dead letters, events as they pass, and the service itself in a browser.

use super::{enter, payment_of, pictured, with_a_console};
use crate::harness::{World, browser::Browser, commands::Message, eventually};

async fn publish_unrouted(world: &World, message: &Message) {
    world.broker.publish_bytes("payments.please", "application/cloudevents+json", &message.bytes()).await;
}

async fn letters_lie_there(world: &World, count: u32) {
    let lie = async || {
        (world.broker.depth("dead").await + world.broker.depth("unrouted").await == count).then_some(())
    };
    eventually("the dead letters", lie).await;
}

/// Looks into the queues, and opens the group of a cause.
async fn look(browser: &Browser, console: &str, cause: &str) {
    browser.open(&format!("{console}/dead")).await;
    browser.click("form[action='/dead/look'] button").await;
    let opened = eventually("the group", async || {
        let text = browser.text("table").await;
        text.contains(cause).then_some(())
    });
    opened.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_replayed_in_the_browser_to_one_charge_each_and_the_pages_of_the_service_say_what_is() {
    let (world, console) = with_a_console().await;
    let browser = Browser::start().await;
    let [lost, live] = [world.invoice(), world.invoice()];
    let message = payment_of(&lost);
    publish_unrouted(&world, &message).await;
    let mut broken = payment_of(&world.invoice()).bytes();
    broken.truncate(broken.len() - 3);
    world.broker.publish_bytes("payment.request", "application/cloudevents+json", &broken).await;
    letters_lie_there(&world, 2).await;
    enter(&world, &browser, "budi", &["operator", "decider"]).await;
    browser.open(&format!("{console}/dead")).await;
    assert!(browser.text("main").await.contains("No look is kept"));
    look(&browser, &console, "unrouted").await;
    assert!(browser.text("main").await.contains("by local:budi (unverified)"));
    pictured(&browser, "dead").await;
    browser.click("=▲unrouted").await;
    browser.is_at("Which of these?").await;
    pictured(&browser, "dead-group").await;
    browser.click("td[data-label=Letter] a").await;
    browser.is_at("die?").await;
    let body = browser.text("pre").await;
    assert!(body.contains(&lost) && body.contains("***") && !body.contains("081288910205"), "{body}");
    pictured(&browser, "dead-letter").await;
    browser.click("=Replay it").await;
    browser.is_at("Is this what you want to replay?").await;
    assert!(browser.text("table").await.contains("would be claimed and sent: Rp50.000"));
    pictured(&browser, "dead-confirm").await;
    browser.write("input[name=reason]", "the routing key is mended").await;
    browser.click("=Confirm: replay 1").await;
    browser.is_at("What became of it?").await;
    assert!(browser.text("table").await.contains("replayed"));
    pictured(&browser, "dead-done").await;
    world.event(&lost, "payment.accepted").await;
    assert_eq!(world.sandbox.ledger().sends_of(&lost).count(), 1);
    // What left its queue is shown no more, without another look.
    browser.open(&format!("{console}/dead")).await;
    let left = browser.text("table").await;
    assert!(left.contains("malformed") && !left.contains("unrouted"), "{left}");
    // The letter that cannot be read is dropped.
    look(&browser, &console, "malformed").await;
    browser.click("=▲malformed").await;
    browser.click("=Drop the chosen").await;
    browser.is_at("Is this what you want to lose?").await;
    browser.write("input[name=reason]", "its sender has it still").await;
    browser.click("=Confirm: drop 1 for good").await;
    browser.is_at("What became of it?").await;
    letters_lie_there(&world, 0).await;
    let audited =
        "SELECT count(*) FROM operator_actions WHERE action LIKE '%dead_letter' AND done_from = '127.0.0.1'";
    assert_eq!(world.database.count(audited).await, 2);
    what_passes_is_on_top(&world, &browser, &console, &live).await;
    the_customer_is_played(&world, &browser).await;
    the_service_says_what_it_is(&browser, &console).await;
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.end().await;
    world.end().await;
}

async fn what_passes_is_on_top(world: &World, browser: &Browser, console: &str, invoice: &str) {
    browser.open(&format!("{console}/live")).await;
    browser.is_at("What happens now?").await;
    eventually("the stream", async || browser.text("#live-state").await.contains("Connected").then_some(()))
        .await;
    world.publish(&payment_of(invoice)).await;
    let row = eventually("the event on the page", async || {
        let row = browser.text("#live tr:first-child").await;
        row.contains(invoice).then_some(row)
    });
    assert!(row.await.contains("Rp50.000"));
    pictured(browser, "live").await;
    browser.click("#live tr:first-child a").await;
    browser.is_at(&format!("What happened to {invoice}?")).await;
}

/// Two payments wait for an answer.
async fn the_customer_is_played(world: &World, browser: &Browser) {
    let sandbox = world.sandbox.base_url();
    browser.open(&format!("{sandbox}/app")).await;
    browser.is_at("Payment requests").await;
    pictured(browser, "customer").await;
    browser.click("=Decline").await;
    browser.is_at("Payment requests").await;
    assert!(browser.text("table").await.contains("FAILED"));
    browser.open(&format!("{sandbox}/")).await;
    browser.is_at("DOKU's side").await;
    pictured(browser, "sandbox").await;
}

async fn the_service_says_what_it_is(browser: &Browser, console: &str) {
    browser.open(&format!("{console}/events?type=payment.accepted")).await;
    browser.is_at("What was published?").await;
    assert!(browser.text("table").await.contains("payment.accepted"));
    pictured(browser, "events").await;
    browser.click("=Count them").await;
    browser.is_at("Do you mean these events?").await;
    pictured(browser, "events-confirm").await;
    browser.write("input[name=reason]", "a subscriber lost its queue").await;
    browser.click("=Confirm: publish them again").await;
    browser.is_at("What became of it?").await;
    browser.open(&format!("{console}/doctor")).await;
    browser.click("=Examine now").await;
    eventually("the checks", async || browser.text("main").await.contains("are well").then_some(())).await;
    pictured(browser, "doctor").await;
    browser.open(&format!("{console}/about")).await;
    let about = browser.text("main").await;
    assert!(about.contains("all of this version") && about.contains("(hidden)"), "{about}");
    assert!(!about.contains("postgres://") && !about.contains("amqp://"), "{about}");
    eventually("the report of the process", async || {
        browser.open(&format!("{console}/about")).await;
        browser.text("main").await.contains("relay").then_some(())
    })
    .await;
    pictured(browser, "about").await;
}

//! The console in a browser: a person enters, looks, decides a wrong amount, stops sends and lets them go on.

mod large;
mod login;
mod provider;
mod service;

use crate::harness::{
    World,
    browser::{self, Browser},
    child::run,
    commands::{Message, payment_with},
    eventually, http,
    reports::Report,
};
use jenius_pay::app::Role;
use serde_json::json;
use std::time::Duration;

const HOSTILE: &str = "<img/src=x/onerror=alert(1)>";
/// A desk by day and a phone by night.
const VIEWS: [(u32, bool); 2] = [(1280, false), (390, true)];
/// Pictures are made of the other two views too.
const OTHER_VIEWS: [(u32, bool); 2] = [(1280, true), (390, false)];

/// A service with a console, and its address.
async fn with_a_console() -> (World, String) {
    with_roles(&Role::ALL).await
}

async fn with_roles(roles: &[Role]) -> (World, String) {
    let mut world =
        World::with().notified().set("CONSOLE__LISTEN", "127.0.0.1:0").without_service().build().await;
    world.start(roles).await;
    let address = world.app().console_address().unwrap().to_string();
    world.settings.insert("JENIUS_PAY__CONSOLE__LISTEN".to_owned(), address.clone());
    (world, format!("http://{address}"))
}

/// What `console login` prints for a person with these roles.
async fn address_for(world: &World, name: &str, roles: &[&str]) -> String {
    let mut arguments = vec!["console", "login", "--as", name];
    roles.iter().for_each(|role| arguments.extend(["--role", role]));
    let output = run(world, &arguments, "").await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.trim().to_owned()
}

async fn enter(world: &World, browser: &Browser, name: &str, roles: &[&str]) {
    browser.open(&address_for(world, name, roles).await).await;
    browser.is_at("Is it you?").await;
    browser.click("=Enter the console").await;
    browser.is_at("Is any money at risk?").await;
}

fn payment_of(invoice: &str) -> Message {
    payment_with(invoice, "never_pays")
}

/// An order whose report named another amount.
async fn in_review(world: &World, invoice: &str) {
    world.publish(&payment_of(invoice)).await;
    world.event(invoice, "payment.accepted").await;
    world.notify(&Report::of(invoice, "SUCCESS", "\"50001\"")).await;
    world.event(invoice, "order.review").await;
}

fn order_url(console: &str, page: &str, invoice: &str) -> String {
    let url = reqwest::Url::parse_with_params(
        &format!("{console}{page}"),
        &[("merchant", "default"), ("invoice", invoice)],
    );
    url.unwrap().to_string()
}

/// Each page on a desk and on a phone, light and dark: nothing hangs over its edge, axe finds nothing, and pictures are made where pictures
/// are wanted.
async fn pictured(browser: &Browser, name: &str) {
    for (width, is_dark) in VIEWS {
        shown(browser, width, is_dark).await;
        assert!(browser.overhang().await <= 0, "{name} is wider than {width}");
        assert_eq!(browser.faults().await, [""; 0], "{name} at {width}");
    }
    if browser::wants_pictures() {
        for (width, is_dark) in VIEWS.into_iter().chain(OTHER_VIEWS) {
            shown(browser, width, is_dark).await;
            let scheme = if is_dark { "dark" } else { "light" };
            browser.picture(&format!("{name}-{width}-{scheme}")).await;
        }
    }
    shown(browser, 1280, false).await;
    browser.show_in_readme(name).await;
}

async fn shown(browser: &Browser, width: u32, is_dark: bool) {
    browser.is_wide(width).await;
    browser.in_the_dark(is_dark).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_decides_a_wrong_amount_in_the_browser_and_who_is_slower_is_told_so() {
    let (world, console) = with_a_console().await;
    let browser = Browser::start().await;
    let [paid, wrong, other] = [world.invoice(), world.invoice(), world.invoice()];
    world.paid(&paid).await;
    for invoice in [HOSTILE, &other, &wrong] {
        in_review(&world, invoice).await;
    }
    enter(&world, &browser, "budi", &["viewer", "operator", "decider"]).await;
    let counted = eventually("orders in review to be counted", async || {
        browser.open(&console).await;
        let tile = browser.text("a.tile[href='/review']").await;
        tile.contains('3').then_some(tile)
    });
    assert!(counted.await.contains("Rp150.000"));
    pictured(&browser, "overview").await;
    browser.click("a.tile[href='/review']").await;
    browser.is_at("What must a person decide?").await;
    pictured(&browser, "review").await;
    browser.open(&order_url(&console, "/order", HOSTILE)).await;
    browser.is_at(&format!("What happened to {HOSTILE}?")).await;
    browser.write(".find input", &wrong).await;
    browser.click("=Find").await;
    browser.is_at(&format!("What happened to {wrong}?")).await;
    pictured(&browser, "order").await;
    browser.click("=Decide about it").await;
    browser.is_at("What is true about").await;
    assert!(browser.text(".versus").await.contains("Rp50.001"));
    pictured(&browser, "decision").await;
    browser.click("input[value=paid]").await;
    browser.write("textarea", "finance has Rp50.001, ticket 7").await;
    browser.click("=See what will happen").await;
    browser.is_at("Is this what happened?").await;
    assert!(browser.text(".facts").await.contains("order.paid"));
    pictured(&browser, "confirm").await;
    browser.click("=Confirm: it is paid").await;
    browser.is_at(&format!("What happened to {wrong}?")).await;
    assert!(browser.text(".note").await.contains("Decided"));
    assert_eq!(world.event(&wrong, "order.paid").await.data("evidence"), "operator");
    // The second order: another person is faster, by the command line.
    browser.open(&order_url(&console, "/order/decide", &other)).await;
    browser.click("input[value=failed]").await;
    browser.write("textarea", "nothing came").await;
    browser.click("=See what will happen").await;
    browser.is_at("Is this what happened?").await;
    let faster = ["orders", "resolve", &other, "--state", "paid", "--reason", "x", "--as", "sari", "--yes"];
    assert!(run(&world, &faster, "").await.status.success());
    browser.click("=Confirm: it is failed").await;
    browser.is_at("There is nothing to decide").await;
    let told = browser.text(".note").await;
    assert!(told.contains("paid") && told.contains("sari"), "{told}");
    pictured(&browser, "slower").await;
    browser.open(&format!("{console}/audit")).await;
    assert!(browser.text("table").await.contains("finance has Rp50.001, ticket 7"));
    pictured(&browser, "audit").await;
    browser.open(&format!("{console}/orders")).await;
    pictured(&browser, "orders").await;
    browser.open(&format!("{console}/orders?text=nobody-has-this")).await;
    pictured(&browser, "nothing").await;
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.end().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_are_paused_and_go_on_without_a_script_and_by_the_keyboard_alone() {
    let (world, console) = with_a_console().await;
    let browser = Browser::start().await;
    browser.run_scripts(false).await;
    enter(&world, &browser, "budi", &["operator"]).await;
    browser.open(&format!("{console}/sends")).await;
    browser.is_at("Do sends go?").await;
    // The first reason, and Enter sends its form.
    browser.write("section:first-of-type input[name=reason]", "a release\u{e007}").await;
    assert!(browser.text(".alarm").await.contains("Sends are paused for all merchants"));
    let invoice = world.invoice();
    world.publish(&payment_of(&invoice)).await;
    eventually("the order to wait", async || {
        let order = world.find_order(&invoice).await?;
        (order["blocked"]["by"] == json!("pause")).then_some(())
    })
    .await;
    assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 0);
    browser.open(&format!("{console}/sends")).await;
    pictured(&browser, "sends").await;
    browser.open(&order_url(&console, "/order", &invoice)).await;
    pictured(&browser, "waiting-order").await;
    browser.open(&format!("{console}/sends")).await;
    browser.write("section:first-of-type input[name=reason]", "it is done\u{e007}").await;
    world.event(&invoice, "payment.accepted").await;
    browser.run_scripts(true).await;
    browser.open(&console).await;
    // With the script, `/` goes to the search.
    browser.press("/").await;
    browser.press("no-such\u{e007}").await;
    browser.is_at("Where is my payment?").await;
    assert!(browser.url().await.ends_with("text=no-such"), "{}", browser.url().await);
    browser.click("=Leave").await;
    browser.is_at("Who are you?").await;
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.end().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_place_cannot_send_a_form_and_a_session_ends_with_its_time() {
    let (world, console) = with_a_console().await;
    let address = address_for(&world, "budi", &["operator"]).await;
    let key = address.split_once("key=").unwrap().1;
    let post = |path: &str, origin: &str, cookie: &str, form: String| {
        let request =
            http().post(format!("{console}{path}")).header("cookie", cookie).header("origin", origin);
        request.body(form).send()
    };
    let status = async |sent: Result<reqwest::Response, reqwest::Error>| sent.unwrap().status().as_u16();
    let elsewhere = post("/enter", "http://evil.test", "", format!("key={key}"));
    assert_eq!(status(elsewhere.await).await, 403);
    // The client follows no redirect by itself here: what it is given is what counts.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let entered = client
        .post(format!("{console}/enter"))
        .header("origin", &console)
        .body(format!("key={key}"))
        .send()
        .await
        .unwrap();
    assert_eq!(entered.status(), 303);
    let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let form = format!("scope=*&reason=x&action={}", uuid::Uuid::new_v4());
    assert_eq!(status(post("/sends/pause", "http://evil.test", &cookie, form).await).await, 403);
    assert_eq!(world.database.count("SELECT count(*) FROM pauses").await, 0);
    let look =
        async || http().get(&console).header("cookie", &cookie).send().await.unwrap().status().as_u16();
    assert_eq!(look().await, 200);
    world.database.jump(Duration::from_secs(3601)).await;
    assert_eq!(look().await, 401);
    world.end().await;
}

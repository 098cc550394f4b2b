//! Logging in at the provider, and what a session of it may do.

use super::{fake::World, *};
use crate::config::OidcAuth;
use std::time::Duration as Span;

const ACTION: &str = "0192d1c0-0000-7000-8000-000000000001";

fn by_provider() -> ConsoleSetting {
    setting(ConsoleAuth::Oidc(OidcAuth {
        issuer: "https://login.test".to_owned(),
        client_id: "console".to_owned(),
        client_secret: "secret".into(),
        scopes: vec!["openid".to_owned()],
        name_claim: "preferred_username".to_owned(),
        groups_claim: "groups".to_owned(),
    }))
}

/// A browser of the world, which has no session yet.
fn outside(operations: FakeOperations) -> Browser {
    let mut browser = Browser::of(operations, &[], by_provider()).header("host", PUBLIC).header("cookie", "");
    browser.peer = [203, 0, 113, 7].into();
    browser
}

fn cookie_of(answered: &Answered, name: &str) -> String {
    let all = answered.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap());
    let cookie = all.into_iter().find(|cookie| cookie.starts_with(name)).unwrap();
    assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

/// Logs in with this group.
async fn logged_in(browser: &Browser, group: &str) -> Browser {
    let begun = browser.get("/login?to=/review").await;
    let address = begun.headers["location"].to_str().unwrap().to_owned();
    let state = address.split_once("state=").unwrap().1.split('&').next().unwrap().to_owned();
    let back = browser.clone().header("cookie", &cookie_of(&begun, "__Host-jenius_login"));
    let answered = back.get(&format!("/login/back?state={state}&code={group}")).await;
    assert_eq!(
        (answered.status, answered.headers["location"].as_bytes()),
        (StatusCode::SEE_OTHER, &b"/review"[..])
    );
    browser.clone().header("cookie", &cookie_of(&answered, "__Host-jenius_console"))
}

#[tokio::test]
async fn who_is_not_logged_in_sees_a_link_and_comes_back_to_the_page_after_the_login() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = outside(operations.clone());
    let asked = browser.get("/order?merchant=default&invoice=a%2Fb").await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert!(asked.body.contains("/login?to=%2Forder%3Fmerchant%3Ddefault"), "{}", asked.body);
    assert!(!asked.body.contains("SANDBOX"), "{}", asked.body);
    let inside = logged_in(&browser, "pay-operator").await;
    let page = inside.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("oidc:sari"), "{}", page.body);
    assert_eq!(*operations.done.lock().unwrap(), ["login", "log in from 203.0.113.7"]);
    let stranger = logged_in(&browser, "staff").await.get("/").await;
    assert_eq!(stranger.status, StatusCode::FORBIDDEN, "none of the groups has a role");
}

#[tokio::test]
async fn a_login_that_began_elsewhere_lets_no_browser_in() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = outside(operations.clone());
    let begun = browser.get("/login").await;
    let cookie = cookie_of(&begun, "__Host-jenius_login");
    let state = begun.headers["location"].to_str().unwrap().split_once("state=").unwrap().1.to_owned();
    let state = state.split('&').next().unwrap();
    // Anybody can make a key, and with it a state; the seal is another's.
    let key = BrowserKey::draw().unwrap();
    let seal = cookie.rsplit('.').next().unwrap();
    let self_made = (format!("__Host-jenius_login={}.9999999999.Lw.{seal}", key.text()), key.derive("state"));
    for (cookie, query) in [
        ("", format!("state={state}&code=x")),
        (cookie.as_str(), "state=other&code=x".to_owned()),
        (cookie.as_str(), format!("state={state}&error=access_denied")),
        ("__Host-jenius_login=x.y", format!("state={state}&code=x")),
        (self_made.0.as_str(), format!("state={}&code=x", self_made.1)),
    ] {
        let answered = browser.clone().header("cookie", cookie).get(&format!("/login/back?{query}")).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{cookie} {query}");
        assert!(answered.headers.get("set-cookie").is_none());
    }
    let refused =
        browser.clone().header("cookie", &cookie).get(&format!("/login/back?state={state}&code=bad")).await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    assert!(!refused.body.contains("<img"), "{}", refused.body);
    let again = browser
        .clone()
        .header("cookie", &cookie)
        .get(&format!("/login/back?state={state}&code=pay-viewer"))
        .await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "a login comes back once");
    assert_eq!(*operations.done.lock().unwrap(), ["login"]);
}

#[tokio::test]
async fn old_groups_are_asked_for_again_before_a_change_and_the_form_is_not_lost() {
    let operations = FakeOperations::new(World::Hostile);
    let inside = logged_in(&outside(operations.clone()), "pay-operator").await;
    let form = format!("scope=*&reason=a+%22release%22&action={ACTION}");
    let post = async |browser: &Browser| {
        let browser = browser.clone().header("origin", "https://console.test");
        browser.post("/sends/pause", &form).await
    };
    operations.groups.lock().unwrap().values_mut().for_each(|(_, age)| *age = Span::from_secs(900));
    assert_eq!(inside.get("/sends").await.status, StatusCode::OK, "a look needs none");
    let asked = post(&inside).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    for words in
        ["name=\"reason\" value=\"a &quot;release&quot;\"", "action=\"/sends/pause\"", ACTION, "Log in again"]
    {
        assert!(asked.body.contains(words), "{words}: {}", asked.body);
    }
    operations.groups.lock().unwrap().values_mut().for_each(|(_, age)| *age = Span::from_secs(899));
    assert_eq!(post(&inside).await.status, StatusCode::SEE_OTHER);
    // Its group was taken away, and the provider says so at the next login.
    operations.groups.lock().unwrap().values_mut().for_each(|(groups, _)| groups.clear());
    assert_eq!(post(&inside).await.status, StatusCode::FORBIDDEN);
    assert_eq!(inside.get("/").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_file_that_was_sent_with_old_groups_is_to_be_sent_again_and_its_form_is_not_offered() {
    let operations = FakeOperations::new(World::Hostile);
    let inside = logged_in(&outside(operations.clone()), "pay-finance").await;
    operations.groups.lock().unwrap().values_mut().for_each(|(_, age)| *age = Span::from_secs(900));
    let upload = inside.header("origin", "https://console.test");
    let upload = upload.header("content-type", "multipart/form-data; boundary=edge");
    let asked = upload.post("/settlement/bring", "--edge--\r\n").await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert!(asked.body.contains("The file was not taken: <a href=\"/settlement\">"), "{}", asked.body);
    assert!(
        !asked.body.contains("Send the form now") && asked.body.contains("Log in again"),
        "{}",
        asked.body
    );
}

#[tokio::test]
async fn a_session_of_this_machine_is_none_at_the_public_address_and_the_other_way_round() {
    let operations = FakeOperations::new(World::Hostile);
    let here = Browser::of(operations.clone(), &ConsoleRole::ALL, by_provider());
    assert_eq!(here.get("/").await.status, StatusCode::OK, "by an address that was printed here");
    assert_eq!(here.get("/login").await.status, StatusCode::UNAUTHORIZED, "here no provider is asked");
    let mut outside = here.clone().header("host", PUBLIC);
    outside.headers.insert("cookie".to_owned(), format!("__Host-jenius_console={}", here.key));
    outside.peer = [203, 0, 113, 7].into();
    assert_eq!(outside.get("/").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(outside.clone().header("host", LOCAL).get("/").await.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(outside.header("host", "evil.test").get("/").await.status, StatusCode::MISDIRECTED_REQUEST);
}

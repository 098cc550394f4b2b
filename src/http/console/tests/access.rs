//! Who gets in, by which way, and what each role may.

use super::{fake::World, *};

/// What a form of each action needs, to get as far as the action.
const ACTION: &str = "0192d1c0-0000-7000-8000-000000000001";

/// What the pages need to be asked for.
const QUERY: &str = "merchant=default&invoice=INV-1&id=0192d1c0-0000-7000-8000-000000000001&look=1767225600000&group=0&name=B-1&number=2";

fn form(path: &str) -> String {
    match path {
        "/order/hold" => "merchant=default&invoice=INV-1".to_owned(),
        "/order/customer" | "/order/ask" | "/order/publish" => {
            format!("merchant=default&invoice=INV-1&reason=ticket+7&action={ACTION}")
        }
        "/order/decide" | "/order/decide/confirm" => {
            format!("merchant=default&invoice=INV-1&reason=ticket+7&verdict=paid&revision=1&action={ACTION}")
        }
        "/settlement/close" => {
            let of = super::settlement::open_break().name();
            format!("number=7&of={of}&reason=ticket+7&action={ACTION}")
        }
        "/dead/replay/confirm" | "/dead/replay" | "/dead/drop/confirm" | "/dead/drop" => {
            format!("id=letter-0001&reason=ticket+7&action={ACTION}")
        }
        "/events/publish/confirm" | "/events/publish" => {
            format!("from=2026-01-01T00:00&until=2026-01-02T00:00&reason=ticket+7&action={ACTION}")
        }
        "/settlement/match" => {
            format!("number=3&sha256={}&reason=ticket+7&action={ACTION}", "ab".repeat(32))
        }
        "/sends/pause" | "/sends/resume" => format!("scope=*&reason=ticket+7&action={ACTION}"),
        _ => String::new(),
    }
}

fn asked(rule: &RouteRule) -> Method {
    match rule.verb {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
    }
}

async fn send(browser: &Browser, rule: &RouteRule) -> Answered {
    match rule.verb {
        Verb::Get => browser.get(&format!("{}?{QUERY}", rule.path)).await,
        Verb::Post => browser.post(rule.path, &form(rule.path)).await,
    }
}

/// Every path, and the role that a person needs for it beside any other; `any`: one of them; `none`: nothing.
const NEEDED: [(&str, Verb, &str); 46] = [
    ("/", Verb::Get, "any"),
    ("/orders", Verb::Get, "any"),
    ("/orders.csv", Verb::Get, "any"),
    ("/order", Verb::Get, "any"),
    ("/order/customer", Verb::Post, "support"),
    ("/order/ask", Verb::Post, "operator"),
    ("/order/publish", Verb::Post, "operator"),
    ("/review", Verb::Get, "any"),
    ("/order/decide", Verb::Get, "any"),
    ("/order/hold", Verb::Post, "decider"),
    ("/order/decide/confirm", Verb::Post, "decider"),
    ("/order/decide", Verb::Post, "decider"),
    ("/sends", Verb::Get, "any"),
    ("/sends/pause", Verb::Post, "operator"),
    ("/sends/resume", Verb::Post, "operator"),
    ("/dead", Verb::Get, "any"),
    ("/dead/look", Verb::Post, "operator"),
    ("/dead/group", Verb::Get, "any"),
    ("/dead/letter", Verb::Get, "any"),
    ("/dead/replay/confirm", Verb::Post, "operator"),
    ("/dead/replay", Verb::Post, "operator"),
    ("/dead/drop/confirm", Verb::Post, "decider"),
    ("/dead/drop", Verb::Post, "decider"),
    ("/events", Verb::Get, "any"),
    ("/events/publish/confirm", Verb::Post, "operator"),
    ("/events/publish", Verb::Post, "operator"),
    ("/work", Verb::Get, "any"),
    ("/live", Verb::Get, "any"),
    ("/live/stream", Verb::Get, "any"),
    ("/doctor", Verb::Get, "any"),
    ("/doctor/look", Verb::Post, "operator"),
    ("/about", Verb::Get, "any"),
    ("/settlement", Verb::Get, "any"),
    ("/settlement.csv", Verb::Get, "any"),
    ("/settlement/batch", Verb::Get, "any"),
    ("/settlement/file", Verb::Get, "any"),
    ("/settlement/bring", Verb::Post, "finance"),
    ("/settlement/match", Verb::Post, "finance"),
    ("/settlement/close", Verb::Post, "finance"),
    ("/audit", Verb::Get, "any"),
    ("/audit.csv", Verb::Get, "any"),
    ("/login", Verb::Get, "none"),
    ("/login/back", Verb::Get, "none"),
    ("/enter", Verb::Get, "none"),
    ("/enter", Verb::Post, "none"),
    ("/leave", Verb::Post, "any"),
];

#[test]
fn every_path_needs_the_role_that_was_agreed_on() {
    let needed = |rule: &RouteRule| match rule.access {
        Access::Anybody => "none",
        Access::Needs(Permission::Look) => "any",
        Access::Needs(permission) => ConsoleRole::needed_for(permission).name(),
    };
    let rules: Vec<_> = RULES.iter().map(|rule| (rule.path, rule.verb, needed(rule))).collect();
    assert_eq!(rules, NEEDED);
}

#[tokio::test]
async fn every_path_is_for_those_roles_alone_that_its_rule_names() {
    for rule in RULES {
        for role in ConsoleRole::ALL {
            let browser = Browser::with(FakeOperations::new(World::Hostile), &[role]);
            let answered = send(&browser, rule).await;
            let is_open = match rule.access {
                Access::Anybody => continue,
                Access::Needs(permission) => role.allows(permission),
            };
            let is_refused = answered.status == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, !is_open, "{} {}: {}", rule.path, role.name(), answered.status);
            assert!(!answered.status.is_server_error(), "{} {}", rule.path, answered.status);
            assert_ne!(answered.status, StatusCode::NOT_FOUND, "{}: {}", rule.path, answered.body);
            assert_ne!(answered.status, StatusCode::METHOD_NOT_ALLOWED, "{}", rule.path);
        }
    }
}

#[tokio::test]
async fn who_is_not_known_sees_no_page_and_no_path() {
    let browser = Browser::with(FakeOperations::new(World::Hostile), &ConsoleRole::ALL);
    for cookie in ["", "jenius_console=", "jenius_console=x", &format!("jenius_console={}", "A".repeat(43))] {
        let stranger = browser.clone().header("cookie", cookie);
        for rule in RULES.iter().filter(|rule| rule.access != Access::Anybody) {
            let answered = send(&stranger, rule).await;
            assert_eq!(answered.status, StatusCode::UNAUTHORIZED, "{} {cookie}", rule.path);
            assert!(!answered.body.contains("SANDBOX"), "{}", answered.body);
        }
        assert_eq!(stranger.get("/no-such-page").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(browser.get("/no-such-page").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.post("/no-such-page", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(browser.ask(Method::PUT, "/", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_form_of_another_origin_changes_nothing() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &ConsoleRole::ALL);
    let origins = [
        ("cross-site", "http://evil.test"),
        ("same-site", "http://127.0.0.1:9470"),
        ("none", "http://127.0.0.1:9470"),
        ("cross-site", "http://127.0.0.1:9470"),
        ("same-origin", "http://127.0.0.1:8080"),
        ("same-origin", "null"),
        ("same-origin", "https://127.0.0.1:9470"),
        ("", "http://evil.test"),
        ("", ""),
        ("same-origin", ""),
    ];
    for rule in RULES.iter().filter(|rule| rule.verb == Verb::Post) {
        for (site, origin) in origins {
            let elsewhere = browser.clone().header("sec-fetch-site", site).header("origin", origin);
            let answered = elsewhere.ask(Method::POST, rule.path, &form(rule.path)).await;
            assert_eq!(answered.status, StatusCode::FORBIDDEN, "{} {site} {origin}", rule.path);
        }
    }
    assert!(operations.done.lock().unwrap().is_empty());
    // An older browser sends its origin alone.
    let older = browser.header("sec-fetch-site", "");
    let answered = older.post("/order/customer", &form("/order/customer")).await;
    assert_eq!(answered.status, StatusCode::OK, "{}", answered.body);
}

#[tokio::test]
async fn another_host_is_answered_before_anything_is_read() {
    let browser = Browser::with(FakeOperations::new(World::Hostile), &ConsoleRole::ALL);
    for host in ["evil.test", "127.0.0.1.evil.test", PUBLIC, ""] {
        for path in ["/", "/enter", &assets::STYLE.path.clone()] {
            let answered = browser.clone().header("host", host).get(path).await;
            assert_eq!(answered.status, StatusCode::MISDIRECTED_REQUEST, "{host} {path}");
        }
    }
    for host in ["localhost:9470", "[::1]:9470"] {
        assert_eq!(browser.clone().header("host", host).get("/").await.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn a_proxy_is_believed_with_its_secret_and_from_its_addresses_alone() {
    let operations = FakeOperations::new(World::Hostile);
    let mut proxy = Browser::of(operations, &[], setting(by_proxy()))
        .header("host", PUBLIC)
        .header("cookie", "")
        .header("x-user", "sari")
        .header("x-groups", "staff, pay-support")
        .header(SECRET_HEADER, SECRET);
    proxy.peer = [10, 1, 2, 3].into();
    let answered = proxy.get("/").await;
    assert_eq!(answered.status, StatusCode::OK, "{}", answered.body);
    assert!(answered.body.contains("proxy:sari"), "{}", answered.body);
    for (header, value, status) in [
        (SECRET_HEADER, "", StatusCode::FORBIDDEN),
        (SECRET_HEADER, "0123456789abcdef0123456789abcdeg", StatusCode::FORBIDDEN),
        ("x-user", "", StatusCode::UNAUTHORIZED),
        ("x-groups", "staff", StatusCode::FORBIDDEN),
        ("x-groups", "", StatusCode::FORBIDDEN),
        ("host", "other.test", StatusCode::MISDIRECTED_REQUEST),
        ("host", "127.0.0.1", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let answered = proxy.clone().header(header, value).get("/").await;
        assert_eq!(answered.status, status, "{header}: {value}");
    }
    // The headers of a stranger are not read.
    let mut stranger = proxy.clone();
    stranger.peer = [192, 168, 1, 1].into();
    for host in [PUBLIC, LOCAL] {
        assert_eq!(stranger.clone().header("host", host).get("/").await.status, StatusCode::FORBIDDEN);
    }
    stranger.peer = [127, 0, 0, 1].into();
    assert_eq!(stranger.get("/").await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn behind_a_proxy_the_public_address_sends_forms_and_this_machine_enters_by_its_own() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::of(operations, &[ConsoleRole::Support], setting(by_proxy()));
    assert_eq!(browser.get("/").await.status, StatusCode::OK, "by a session, from this machine");
    let mut proxy = browser
        .header("host", PUBLIC)
        .header("x-user", "sari")
        .header("x-groups", "pay-support")
        .header(SECRET_HEADER, SECRET);
    proxy.peer = [10, 1, 2, 3].into();
    for (site, origin, status) in [
        ("same-origin", "https://console.test", StatusCode::OK),
        ("same-origin", "", StatusCode::OK),
        ("", "https://console.test", StatusCode::OK),
        ("", "http://console.test", StatusCode::FORBIDDEN),
        ("", "", StatusCode::FORBIDDEN),
        ("cross-site", "https://console.test", StatusCode::FORBIDDEN),
    ] {
        let sent = proxy.clone().header("sec-fetch-site", site).header("origin", origin);
        let answered = sent.ask(Method::POST, "/order/customer", &form("/order/customer")).await;
        assert_eq!(answered.status, status, "{site} {origin}");
    }
}

#[tokio::test]
async fn an_address_lets_in_once_and_only_by_its_button() {
    let operations = FakeOperations::new(World::Empty);
    let browser = Browser::with(operations.clone(), &[ConsoleRole::Viewer]);
    let address = format!("/enter?key={}", browser.key);
    let new = browser.clone().header("cookie", "");
    for _ in 0..3 {
        let asked = new.get(&address).await;
        assert_eq!(asked.status, StatusCode::OK);
        assert!(asked.headers.get("set-cookie").is_none() && asked.body.contains(&browser.key));
    }
    assert!(operations.done.lock().unwrap().is_empty(), "a link changes nothing");
    let entered = new.post("/enter", &format!("key={}", browser.key)).await;
    assert_eq!((entered.status, entered.headers["location"].as_bytes()), (StatusCode::SEE_OTHER, &b"/"[..]));
    let cookie = entered.headers["set-cookie"].to_str().unwrap().to_owned();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(*operations.done.lock().unwrap(), ["enter local:budi (unverified) from 127.0.0.1"]);
    assert_eq!(new.post("/enter", &format!("key={}", browser.key)).await.status, StatusCode::UNAUTHORIZED);
    let inside = new.header("cookie", pair);
    assert_eq!(inside.get("/").await.status, StatusCode::OK);
    let left = inside.post("/leave", "").await;
    assert_eq!(left.status, StatusCode::SEE_OTHER);
    assert!(left.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(inside.get("/").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_console_that_only_shows_changes_nothing() {
    let operations = FakeOperations::new(World::Hostile);
    let mut only_shows = setting(ConsoleAuth::Local);
    Arc::make_mut(&mut only_shows.config).read_only = true;
    let browser = Browser::of(operations.clone(), &ConsoleRole::ALL, only_shows);
    for rule in RULES.iter().filter(|rule| !rule.while_read_only) {
        assert_eq!(asked(rule), Method::POST);
        let answered = send(&browser, rule).await;
        assert_eq!(answered.status, StatusCode::FORBIDDEN, "{}", rule.path);
        assert!(answered.body.contains("console.read_only"), "{}", answered.body);
    }
    assert!(operations.done.lock().unwrap().is_empty());
    assert!(browser.get("/").await.body.contains("The console only shows"));
}

#[tokio::test]
async fn with_the_database_away_who_was_here_lately_reads_on_and_changes_nothing() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &ConsoleRole::ALL);
    let new = Browser::with(operations.clone(), &ConsoleRole::ALL);
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    *operations.world.lock().unwrap() = World::Away;
    let answered = browser.get("/").await;
    assert_eq!(answered.status, StatusCode::OK);
    for words in ["The database is away", "connection refused", "These are from", "In review"] {
        assert!(answered.body.contains(words), "{words}: {}", answered.body);
    }
    assert_eq!(browser.get("/orders").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let sent = browser.post("/order/customer", &form("/order/customer")).await;
    assert_eq!(sent.status, StatusCode::FORBIDDEN);
    assert_eq!(new.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE, "nobody confirms who it is");
    assert!(operations.done.lock().unwrap().is_empty());
}

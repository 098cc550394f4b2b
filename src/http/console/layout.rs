//! The frame of every page: where one is, who one is, the search, and in red what stops sends or is away.

use super::{Console, Visit, assets, words::ago};
use crate::{
    config::Environment,
    flow::ports::{Operations, ServiceView},
    metric::REVISION,
    shown::Times,
};
use axum::{
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};

/// The pages of the navigation, with what begins the paths that belong to them.
const NAVIGATION: &[(&str, &str, &str)] = &[
    ("/", "Overview", "/ "),
    ("/orders", "Orders", "/order"),
    ("/review", "Review", "/review"),
    ("/sends", "Sends", "/sends"),
    ("/dead", "Dead letters", "/dead"),
    ("/events", "Events", "/events"),
    ("/live", "Live", "/live"),
    ("/settlement", "Settlement", "/settlement"),
    ("/audit", "Audit", "/audit"),
    ("/doctor", "Doctor", "/doctor"),
    ("/about", "About", "/about"),
];

/// A page for who was let in.
pub async fn page<O: Operations>(
    console: &Console<O>,
    visit: &Visit,
    status: StatusCode,
    title: &str,
    body: Markup,
) -> Response {
    let times = console.times();
    let service = console.operations.service().await;
    let environment = console.setting.environment;
    let name = environment_name(environment);
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{title} · jenius-pay {name}")))
            body {
                a.skip href="#main" { "To the content" }
                header.top {
                    div.bar {
                        a.brand href="/" { "jenius-pay" }
                        span.env.production[environment == Environment::Production] { (name) }
                        form.find role="search" action="/orders" method="get" {
                            input type="search" name="text" maxlength="128" aria-label="Find an order"
                                placeholder="Invoice, command, Request-Id or event"
                                value=[visit.query.get("text").filter(|_| visit.path == "/orders")];
                            button { "Find" }
                        }
                        @if let Some(person) = &visit.person {
                            div.who {
                                span title=(person.role_names()) { (person.audited()) }
                                @if visit.key.is_some() {
                                    form action="/leave" method="post" { button.plain { "Leave" } }
                                }
                            }
                        }
                    }
                    (navigation(&visit.path))
                }
                (alarms(&service, visit, times))
                main id="main" { h1 { (title) } (body) }
                (foot(times))
            }
        }
    };
    answer(status, markup)
}

/// A page for who was not: it says nothing of the service.
pub fn bare(status: StatusCode, title: &str, text: Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{title} · jenius-pay")))
            body {
                header.top { div.bar { a.brand href="/" { "jenius-pay" } } }
                main id="main" { h1 { (title) } div.stack { (text) } }
            }
        }
    };
    answer(status, markup)
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) }
            link rel="stylesheet" href=(assets::STYLE.path);
            link rel="icon" href=(assets::ICON.path);
            script defer src=(assets::SCRIPT.path) {}
        }
    }
}

fn navigation(path: &str) -> Markup {
    html! {
        nav.nav aria-label="Pages" {
            @for (href, name, begins) in NAVIGATION {
                @let is_here = path == *href || place_of(path).starts_with(begins);
                a href=(href) aria-current=[is_here.then_some("page")] { (name) }
            }
        }
    }
}

/// A decision belongs to the reviews, as an order's other pages do to the orders.
fn place_of(path: &str) -> &str {
    if path.starts_with("/order/decide") { "/review" } else { path }
}

fn alarms(service: &ServiceView, visit: &Visit, times: Times) -> Markup {
    let is_calm = service.pauses.is_empty() && service.breakers.is_empty() && service.faults.is_empty();
    html! {
        @if !is_calm || visit.read_only.is_some() {
            div.alarm role="status" {
                @for pause in &service.pauses {
                    div {
                        strong { "Sends are paused" } " for " (scope(&pause.scope)) ", " (ago(pause.since, times))
                        @if let Some(by) = &pause.paused_by { " by " (by) }
                        @if let Some(reason) = &pause.reason { ": " (reason) }
                    }
                }
                @for stop in &service.breakers {
                    div {
                        strong { "Sends are stopped" } " for " (stop.merchant) ", " (ago(stop.since, times)) ": " (stop.detail)
                    }
                }
                @for (name, why) in &service.faults { div { strong { (dependency(name)) } ": " (why) } }
                @if let Some(why) = visit.read_only { div { (why) } }
            }
        }
    }
}

pub fn scope(name: &str) -> &str {
    if name == "*" { "all merchants" } else { name }
}

pub fn dependency(name: &str) -> &str {
    match name {
        "postgres" => "The database",
        "broker" => "The broker",
        "doku" => "DOKU",
        other => other,
    }
}

fn foot(times: Times) -> Markup {
    html! {
        footer.foot {
            span { "As of " (times.full(times.now())) }
            span { "jenius-pay " (env!("CARGO_PKG_VERSION")) ", revision " (REVISION) }
            span.keys { "Press / to search" }
        }
    }
}

fn environment_name(environment: Environment) -> &'static str {
    match environment {
        Environment::Sandbox => "SANDBOX",
        Environment::Production => "PRODUCTION",
    }
}

fn answer(status: StatusCode, markup: Markup) -> Response {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(CONTENT_TYPE, html)], markup.into_string()).into_response()
}

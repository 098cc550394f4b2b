//! Sends: do they go, of whom not and why, how much waits, and who stops them or lets them go on.

use crate::{
    domain::{console::Permission, ids::MerchantName, pause::Scope},
    flow::{
        ports::{Operations, SendsView, ServiceView},
        view::{PauseView, StopView},
    },
    http::console::{
        PageAnswer, Shared, Visit,
        layout::page,
        refusal::PageRefusal,
        words::{action_field, ago, moment, text},
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode, response::IntoResponse};
use maud::{Markup, html};

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let sends = console.operations.sends().await?;
    let service = console.operations.service().await;
    let times = console.times();
    let body = html! {
        p.lede { "A pause stops requests to DOKU in every process, within two seconds. Inquiries, notifications and events go on. \
                  New commands are claimed and wait, and their budgets run meanwhile: a command that can be sent no more is abandoned, or \
                  unresolved where DOKU may have acted." }
        div.stack { @for scope in &sends { (scope_of(&visit, scope, &service, times)) } }
    };
    Ok(page(&console, &visit, StatusCode::OK, "Do sends go?", body).await)
}

pub async fn pause<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    console.operations.pause(scope(&visit)?, true, visit.act()?).await?;
    Ok(to_sends())
}

pub async fn resume<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    console.operations.pause(scope(&visit)?, false, visit.act()?).await?;
    Ok(to_sends())
}

fn to_sends() -> axum::response::Response {
    (StatusCode::SEE_OTHER, [("location", "/sends")]).into_response()
}

fn scope(visit: &Visit) -> Result<Scope, PageRefusal> {
    match visit.form.get("scope") {
        Some("*") => Ok(Scope::AllMerchants),
        Some(name) => {
            let merchant = MerchantName::parse(name);
            merchant.map(Scope::Merchant).map_err(|_| PageRefusal::Senseless("That is no merchant's name."))
        }
        None => Err(PageRefusal::Senseless("Of which merchant?")),
    }
}

fn scope_of(visit: &Visit, sends: &SendsView, service: &ServiceView, times: Times) -> Markup {
    let name = sends.scope.name();
    let own = service.pauses.iter().find(|pause| pause.scope == name);
    let by_all = service.pauses.iter().find(|pause| pause.scope == "*").filter(|_| name != "*");
    let breaker = service.breakers.iter().find(|stop| stop.merchant == name);
    html! {
        section.sheet aria-label=(sends.scope.to_string()) {
            h2 { (sends.scope.to_string()) " " (state(own.or(by_all), breaker)) }
            @if let Some(pause) = own { p { (reason_of(pause, times)) } }
            @if by_all.is_some() { p.quiet { "The pause of all merchants holds here too." } }
            @if let Some(stop) = breaker { p { "The breaker is open since " (ago(stop.since, times)) ": " (text(&stop.detail)) "." } }
            p {
                @match sends.waiting {
                    0 => { "No claimed command waits for a send" }
                    1 => { "1 claimed command waits for a send" }
                    more => { (more) " claimed commands wait for a send" }
                }
                @if let Some(end) = sends.first_end { ", the first of them until " (moment(end, times)) " " (times.zone()) }
                "."
            }
            (button(visit, name, own.is_some()))
        }
    }
}

fn state(pause: Option<&PauseView>, breaker: Option<&StopView>) -> Markup {
    html! {
        @if pause.is_some() { span.state.bad { i aria-hidden="true" { "‖" } "paused" } }
        @else if breaker.is_some() { span.state.bad { i aria-hidden="true" { "✕" } "stopped by the breaker" } }
        @else { span.state.good { i aria-hidden="true" { "▶" } "going" } }
    }
}

fn reason_of(pause: &PauseView, times: Times) -> Markup {
    html! {
        "Paused " (ago(pause.since, times))
        @if let Some(by) = &pause.paused_by { " by " (text(by)) }
        @if let Some(reason) = &pause.reason { ": " (text(reason)) }
    }
}

fn button(visit: &Visit, name: &str, is_paused: bool) -> Markup {
    let why_not = visit.refusal(Permission::Operate);
    let is_off = why_not.is_some();
    let (path, word) =
        if is_paused { ("/sends/resume", "Let sends go on") } else { ("/sends/pause", "Pause sends") };
    html! {
        form.actions action=(path) method="post" {
            input type="hidden" name="scope" value=(name);
            (action_field())
            input name="reason" maxlength="500" required placeholder="Why, or the ticket" aria-label="Why" disabled[is_off];
            button.risky[!is_paused && !is_off].main[is_paused && !is_off] disabled[is_off] { (word) }
            @if let Some(why) = &why_not { span.quiet.small { (why) } }
        }
    }
}

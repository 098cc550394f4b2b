//! Sends: do they go, of whom not and why, how much waits, and who stops them or lets them go on.

use crate::{
    domain::{
        Time,
        console::Permission,
        ids::MerchantName,
        pause::{PauseLift, Scope},
    },
    flow::{
        ports::{Operations, SendsView, ServiceView},
        view::{PauseView, StopView},
    },
    http::console::{
        Console, PageAnswer, Shared, Visit,
        layout::page,
        refusal::PageRefusal,
        words::{action_field, ago, moment, text},
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode, response::IntoResponse};
use maud::{Markup, html};

const ANOTHER: &str =
    "Another pause stands than the one you saw, and it was left: see below who paused, and why.";

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    sends_page(&console, &visit, None).await
}

/// `news`: why the page comes again in place of what its form asked for.
async fn sends_page<O: Operations>(console: &Console<O>, visit: &Visit, news: Option<&str>) -> PageAnswer {
    let sends = console.operations.sends().await?;
    let service = console.operations.service().await;
    let times = console.times();
    let body = html! {
        @if let Some(news) = news { div.note.warn role="status" { p { (news) } } }
        p.lede { "A pause stops requests to DOKU in every process, within two seconds. Inquiries, notifications and events go on. \
                  New commands are claimed and wait, and their budgets run meanwhile: a command that can be sent no more is abandoned, or \
                  unresolved where DOKU may have acted." }
        div.stack { @for scope in &sends { (scope_of(visit, scope, &service, times)) } }
    };
    let status = if news.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    Ok(page(console, visit, status, "Do sends go?", body).await)
}

pub async fn pause<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    console.operations.pause(scope(&visit)?, visit.act()?).await?;
    Ok(to_sends())
}

pub async fn resume<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let since = visit.form.get("since").and_then(|micros| Time::from_timestamp_micros(micros.parse().ok()?));
    let since = since.ok_or(PageRefusal::Senseless("The form is not whole: open its page again."))?;
    match console.operations.resume(scope(&visit)?, since, visit.act()?).await? {
        PauseLift::Lifted | PauseLift::NotPaused => Ok(to_sends()),
        PauseLift::Another => sends_page(&console, &visit, Some(ANOTHER)).await,
    }
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
            (button(visit, name, own))
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

fn button(visit: &Visit, name: &str, pause: Option<&PauseView>) -> Markup {
    let why_not = visit.refusal(Permission::Operate);
    let (is_off, is_paused) = (why_not.is_some(), pause.is_some());
    let (path, word) =
        if is_paused { ("/sends/resume", "Let sends go on") } else { ("/sends/pause", "Pause sends") };
    html! {
        form.actions action=(path) method="post" {
            input type="hidden" name="scope" value=(name);
            @if let Some(pause) = pause { input type="hidden" name="since" value=(pause.since.timestamp_micros()); }
            (action_field())
            input name="reason" maxlength="500" required placeholder="Why, or the ticket" aria-label="Why" disabled[is_off];
            button.risky[!is_paused && !is_off].main[is_paused && !is_off] disabled[is_off] { (word) }
            @if let Some(why) = &why_not { span.quiet.small { (why) } }
        }
    }
}

//! Doctor: is everything that the service needs as it should be. The same checks as the command's; a person asks for them,
//! because they ask DOKU, the database and the broker many questions.

use crate::{
    domain::console::Permission,
    flow::ports::{CheckView, DoctorView, Operations},
    http::console::{
        PageAnswer, Shared, Visit,
        layout::page,
        refusal::PageRefusal,
        words::{ago, text},
    },
};
use axum::{Extension, extract::State, http::StatusCode, response::IntoResponse};
use maud::{Markup, html};

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let (seen, is_busy) = console.operations.examined().await;
    let why_not = visit.refusal(Permission::Operate);
    let times = console.times();
    let body = html! {
        div.sheet {
            @match &seen {
                Some(seen) => { p { "Examined " (ago(seen.at, times)) " by " (text(&seen.by)) ", from the console's process and with its configuration." } }
                None => { p { "Nothing was examined yet." } }
            }
            @if is_busy { p { strong { "Examining now." } " Load the page again in a moment." } }
            form.actions action="/doctor/look" method="post" {
                button.main[seen.is_none()] disabled[why_not.is_some() || is_busy] { "Examine now" }
                @if let Some(why) = &why_not { span.quiet.small { (why) } }
            }
        }
        @if let Some(seen) = &seen { (checks(seen)) }
    };
    Ok(page(&console, &visit, StatusCode::OK, "Is everything as it should be?", body).await)
}

pub async fn look<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let person = visit.person.as_ref().ok_or(PageRefusal::NotKnown)?;
    // If another look runs, its page shows what it finds.
    console.operations.examine(&person.audited()).await;
    Ok((StatusCode::SEE_OTHER, [("location", "/doctor")]).into_response())
}

fn checks(seen: &DoctorView) -> Markup {
    let of = |status: &'static str| seen.checks.iter().filter(move |check| check.status == status);
    html! {
        h2 {
            (of("fail").count()) " fail, " (of("warn").count()) " warn, " (of("ok").count()) " are well"
        }
        @for status in ["fail", "warn"] { @for check in of(status) { (problem(check)) } }
        details open[of("fail").chain(of("warn")).count() == 0] {
            summary { "What is well" }
            div.table {
                table.stacks {
                    thead { tr { th scope="col" { "Check" } th scope="col" { "What was found" } } }
                    tbody {
                        @for check in of("ok") {
                            tr {
                                td data-label="Check" { span.state.good { i aria-hidden="true" { "●" } } span.id { (text(&check.name)) } }
                                td data-label="Found" { (text(&check.detail)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn problem(check: &CheckView) -> Markup {
    let (class, shape) = if check.status == "fail" { ("note bad", "✕") } else { ("note warn", "▲") };
    html! {
        div class=(class) {
            p { strong { span aria-hidden="true" { (shape) " " } (check.status) " " span.id { (text(&check.name)) } } }
            p { (text(&check.detail)) }
            @if let Some(hint) = &check.hint { p { "Do: " (text(hint)) } }
        }
    }
}

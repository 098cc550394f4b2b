//! Work that goes on after its form was answered: how far it came, and what became of each thing. Without a script too: the
//! page asks to be loaded again while the work goes on.

use crate::{
    flow::ports::{Operations, WorkEnd, WorkStart, WorkView},
    http::console::{
        Console, PageAnswer, Shared, Visit, layout, params::link, refusal::PageRefusal, words::text,
    },
};
use axum::{
    Extension,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use uuid::Uuid;

/// A page that is not done asks the browser for this.
pub const LOAD_AGAIN: (HeaderName, HeaderValue) =
    (HeaderName::from_static("refresh"), HeaderValue::from_static("2"));
/// A page has room for no more.
const LINES_SHOWN: usize = 150;

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let id = visit.query.get("id").and_then(|id| Uuid::try_parse(id).ok());
    let work = match id {
        Some(id) => console.operations.work(id).await,
        None => None,
    };
    let work = work.ok_or(PageRefusal::Unknown(
        "This process knows no such work: it ended long ago, or another process does it. The audit has what was done.",
    ))?;
    let goes_on = work.end.is_none();
    let title = if goes_on { "Is it done?" } else { "What became of it?" };
    let mut answer = layout::page(&console, &visit, StatusCode::OK, title, body(&work)).await;
    if goes_on {
        answer.headers_mut().extend([LOAD_AGAIN]);
    }
    Ok(answer)
}

/// Where the work of a form is shown, or why it did not begin.
pub async fn show_begun<O: Operations>(
    console: &Console<O>,
    visit: &Visit,
    id: Uuid,
    start: WorkStart,
) -> Response {
    match start {
        WorkStart::Begun | WorkStart::Repeated => {
            let to = link("/work", &[("id", &id.to_string())]);
            (StatusCode::SEE_OTHER, [("location", to)]).into_response()
        }
        WorkStart::Refused(why) => {
            let body = html! { div.note.warn role="status" { p { (text(&why)) } p { "Nothing was done." } } };
            layout::page(console, visit, StatusCode::CONFLICT, "It did not begin", body).await
        }
    }
}

fn body(work: &WorkView) -> Markup {
    let hidden = work.lines.len().saturating_sub(LINES_SHOWN);
    html! {
        p.lede { (text(&work.title)) ", by " (text(&work.by)) }
        @match &work.end {
            None => {
                div.sheet {
                    label.field for="progress" { "Done " (work.done) " of " (work.total) }
                    progress id="progress" max=(work.total.max(1)) value=(work.done) {}
                    p.quiet.small { "This page loads itself again. You may leave it: the work goes on." }
                }
            }
            Some(WorkEnd::Finished) => { div.note role="status" { p { "Finished: " (work.done) " of " (work.total) "." } } }
            Some(WorkEnd::Stopped(why)) => {
                div.note.bad role="status" {
                    p { "Stopped after " (work.done) " of " (work.total) ": " (text(why)) ". The rest was not begun." }
                }
            }
        }
        @if !work.lines.is_empty() {
            h2 { "One by one" }
            @if hidden > 0 { p.quiet { "The first " (hidden) " are not shown: the audit has them." } }
            div.table {
                table.stacks {
                    thead { tr { th scope="col" { "Which" } th scope="col" { "End" } th scope="col" { "As it was foreseen" } } }
                    tbody {
                        @for line in work.lines.iter().skip(hidden) {
                            tr {
                                td.short data-label="Which" { span.id { (text(&line.subject)) } }
                                td data-label="End" { (ended(line.end)) }
                                td data-label="What" { (text(&line.detail)) }
                            }
                        }
                    }
                }
            }
        }
        p.actions { a href="/dead" { "Dead letters" } a href="/events" { "Events" } a href="/audit" { "Audit" } }
    }
}

fn ended(end: &'static str) -> Markup {
    let (class, shape) = match end {
        "replayed" | "dropped" => ("state good", "●"),
        "failed" => ("state bad", "✕"),
        _ => ("state calm", "○"),
    };
    html! { span class=(class) { i aria-hidden="true" { (shape) } (end) } }
}

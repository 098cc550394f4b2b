//! The audit: who did what, to what, why and from where, the latest first.

use crate::{
    flow::{
        ports::{ActionFilter, Operations},
        view::{ActionPage, ActionPlace, ActionView, csv as table},
    },
    http::console::{
        PageAnswer, Shared, Visit,
        layout::page,
        pages::orders::csv_answer,
        params::{Params, link},
        refusal::PageRefusal,
        words::{moment, order_link, text},
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode};
use maud::{Markup, html};

const PAGE_ROWS: u32 = 50;
const CSV_ROWS: u32 = 10_000;
const WINDOWS: [(&str, &str, i64); 4] = [
    ("1d", "the last day", 1),
    ("7d", "the last 7 days", 7),
    ("31d", "the last 31 days", 31),
    ("", "any time", 0),
];

pub async fn list<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let times = console.times();
    let ActionPage { actions, next } =
        console.operations.actions(&search(&visit.query, times, PAGE_ROWS)?).await?;
    let body = html! {
        p.lede { "What operators did, decisions and looks at customers among it. Rows are only ever added." }
        (filters(&visit.query))
        @if actions.is_empty() { div.empty { p { strong { "No action is kept here." } } } }
        @else { (shown(&actions, times)) }
        div.pager {
            @if let Some(next) = next {
                a.button href=(with(&visit.query, "/audit", Some(next))) rel="next" { "Older actions" }
            }
            a href=(with(&visit.query, "/audit.csv", place(&visit.query)?)) { "These as CSV" }
        }
    };
    Ok(page(&console, &visit, StatusCode::OK, "Who did what?", body).await)
}

pub async fn csv<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let search = search(&visit.query, console.times(), CSV_ROWS)?;
    let ActionPage { actions, next } = console.operations.actions(&search).await?;
    // A file that is cut says so by its name.
    let name = if next.is_some() { "audit-incomplete.csv" } else { "audit.csv" };
    Ok(csv_answer(name, table::actions(&actions)))
}

fn search(query: &Params, times: Times, rows: u32) -> Result<ActionFilter, PageRefusal> {
    let days =
        WINDOWS.iter().find(|(name, ..)| Some(*name) == query.get("since")).map_or(0, |(.., days)| *days);
    let since = (days > 0).then(|| times.now() - chrono::TimeDelta::days(days));
    Ok(ActionFilter {
        subject: query.get("subject").map(str::to_owned),
        merchant: query.get("merchant").map(str::to_owned),
        since,
        by: query.get("by").map(str::to_owned),
        before: place(query)?,
        limit: rows,
    })
}

/// Where a page begins, as the page before it says: the keys of an action and of a decision.
fn place(query: &Params) -> Result<Option<ActionPlace>, PageRefusal> {
    let Some(text) = query.get("before") else { return Ok(None) };
    let place = text.split_once('.').and_then(|(action, decision)| {
        Some(ActionPlace { action: action.parse().ok()?, decision: decision.parse().ok()? })
    });
    place.map(Some).ok_or(PageRefusal::Senseless("That is no place in the audit."))
}

/// The same view at another place.
fn with(query: &Params, path: &str, before: Option<ActionPlace>) -> String {
    let names = ["subject", "merchant", "since", "by"];
    let mut params: Vec<_> = names.iter().filter_map(|name| Some((*name, query.get(name)?))).collect();
    let before = before.map(|place| format!("{}.{}", place.action, place.decision)).unwrap_or_default();
    params.push(("before", &before));
    link(path, &params)
}

fn filters(query: &Params) -> Markup {
    let since = query.get("since").unwrap_or_default();
    html! {
        form.filter action="/audit" method="get" {
            label.field { "Who" input name="by" maxlength="300" value=[query.get("by")]; }
            label.field { "To what" input name="subject" maxlength="255" value=[query.get("subject")]; }
            label.field { "Merchant" input name="merchant" maxlength="32" size="12" value=[query.get("merchant")]; }
            label.field { "When"
                select name="since" {
                    @for (name, words, _) in WINDOWS { option value=(name) selected[name == since] { (words) } }
                }
            }
            button { "Show" }
            @if *query != Params::default() { a href="/audit" { "Clear" } }
        }
    }
}

fn shown(actions: &[ActionView], times: Times) -> Markup {
    html! {
        div.table {
            table.stacks {
                thead {
                    tr {
                        th scope="col" { "Time (" (times.zone()) ")" } th scope="col" { "What" } th scope="col" { "To what" }
                        th scope="col" { "Who" } th scope="col" { "Why" } th scope="col" { "Detail" } th scope="col" { "From where" }
                    }
                }
                tbody { @for action in actions { (row(action, times)) } }
            }
        }
    }
}

/// What is done to an order names its merchant.
fn row(action: &ActionView, times: Times) -> Markup {
    let is_order =
        ["check_order", "resolve_order", "show_customer", "replay_events"].contains(&action.action.as_str());
    html! {
        tr {
            td.when data-label="Time" { (moment(action.at, times)) }
            td data-label="What" { (text(&action.words())) }
            td data-label="To what" {
                @match action.merchant.as_deref().filter(|_| is_order) {
                    Some(merchant) => { a.id href=(order_link(merchant, &action.subject)) { (text(&action.subject)) } }
                    None => { span.id { (text(&action.subject)) } }
                }
            }
            td data-label="Who" { (text(action.done_by.as_deref().unwrap_or_default())) }
            td data-label="Why" { (text(action.reason.as_deref().unwrap_or_default())) }
            td data-label="Detail" { (text(action.detail.as_deref().unwrap_or_default())) }
            td data-label="From" { (text(action.done_from.as_deref().unwrap_or_default())) }
        }
    }
}

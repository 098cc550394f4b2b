//! Orders: one field finds by what a person has in hand, filters narrow, and the address is the saved view.

use crate::{
    domain::{Time, ids::MerchantName, order::OrderState},
    flow::{
        ports::{FOUND_MAX, Operations, OrderFilter, OrderPage, StoppedAt},
        view::{OrderSummary, csv as table},
    },
    http::console::{
        Console, PageAnswer, Shared, Visit,
        layout::page,
        params::{Params, link},
        refusal::PageRefusal,
        words::{ago, moment, order_link, rupiah, rupiah_of, state_of, text},
    },
    shown::Times,
};
use axum::{
    Extension,
    extract::State,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::IntoResponse,
};
use chrono::TimeDelta;
use maud::{Markup, html};
use std::time::Duration;

const PAGE_ROWS: u32 = 50;
const CSV_ROWS: u32 = 10_000;
/// How long ago an order was claimed at most, as the form offers it.
pub const WINDOWS: [(&str, &str, u64); 4] = [
    ("1h", "the last hour", 3_600),
    ("24h", "the last 24 hours", 86_400),
    ("7d", "the last 7 days", 7 * 86_400),
    ("31d", "the last 31 days", 31 * 86_400),
];
pub const WINDOW: &str = "24h";
const RANGE_MAX: TimeDelta = TimeDelta::days(31);

pub async fn list<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let filter = filter(&visit.query, PAGE_ROWS, console.times())?;
    let OrderPage { mut orders, stopped, is_search_cut } = console.operations.orders(&filter).await?;
    let is_search = filter.search.is_some();
    if is_search && !is_search_cut && filter.before.is_none() && orders.len() == 1 {
        let to = order_link(&orders[0].merchant, &orders[0].invoice_number);
        return Ok((StatusCode::SEE_OTHER, [("location", to)]).into_response());
    }
    let is_cut = orders.len() > rows(PAGE_ROWS);
    orders.truncate(rows(PAGE_ROWS));
    let times = console.times();
    let body = html! {
        p.lede { @if filter.oldest_first { "The oldest first." } @else { "The latest first." } " The address of this page is the view: keep it or send it." }
        (filters(&visit.query, is_search))
        @if is_search_cut {
            div.note.warn role="status" {
                p { "More than " (FOUND_MAX) " orders begin so, and those with the last numbers alone were looked at: type more of it." }
            }
        }
        @if orders.is_empty() && is_search_cut { div.empty { p { strong { "None of those looked at." } } } }
        @else if orders.is_empty() { (nothing(is_search, queued(&console).await)) } @else { (shown(&orders, times)) }
        div.pager {
            @if let Some(last) = orders.last().filter(|_| is_cut) {
                a.button href=(with(&visit.query, "/orders", Some(last.key))) rel="next" { @if filter.oldest_first { "Newer orders" } @else { "Older orders" } }
            }
            @if let Some(StoppedAt { key, at, read }) = stopped {
                span { (read) " orders were read, as far as " (moment(at, times)) "." }
                a.button href=(with(&visit.query, "/orders", Some(key))) rel="next" { "Go on from there" }
            }
            @if !orders.is_empty() { a href=(with(&visit.query, "/orders.csv", filter.before)) { "These as CSV" } }
        }
    };
    Ok(page(&console, &visit, StatusCode::OK, "Where is my payment?", body).await)
}

pub async fn csv<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let filter = filter(&visit.query, CSV_ROWS, console.times())?;
    let OrderPage { mut orders, stopped, is_search_cut } = console.operations.orders(&filter).await?;
    // A file that is cut says so by its name.
    let is_cut = stopped.is_some() || is_search_cut || orders.len() > rows(CSV_ROWS);
    let name = if is_cut { "orders-incomplete.csv" } else { "orders.csv" };
    orders.truncate(rows(CSV_ROWS));
    Ok(csv_answer(name, table::orders(&orders)))
}

/// A file to keep, not a page.
pub fn csv_answer(name: &'static str, mut text: String) -> axum::response::Response {
    text.push('\n');
    let kept = format!("attachment; filename=\"{name}\"");
    let kept = HeaderValue::from_str(&kept).unwrap_or(HeaderValue::from_static("attachment"));
    let of = HeaderValue::from_static("text/csv; charset=utf-8");
    ([(CONTENT_TYPE, of), (CONTENT_DISPOSITION, kept)], text).into_response()
}

fn rows(rows: u32) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// One row more than is shown says whether there are more.
fn filter(query: &Params, rows: u32, times: Times) -> Result<OrderFilter, PageRefusal> {
    let number = |name: &str| query.get(name).map(str::parse::<i64>).transpose();
    let numbers =
        (|| Ok::<_, std::num::ParseIntError>((number("min")?, number("max")?, number("before")?)))();
    let (min_amount, max_amount, before) =
        numbers.map_err(|_| PageRefusal::Senseless("An amount is a number of whole rupiah, in digits."))?;
    let states: Vec<String> = query.all_values("state").map(str::to_owned).collect();
    if !states.iter().all(|state| OrderState::ALL.iter().any(|known| known.name() == state)) {
        return Err(PageRefusal::Senseless("There is no such state."));
    }
    let merchant = query.get("merchant").map(MerchantName::parse).transpose();
    let merchant = merchant.map_err(|_| PageRefusal::Senseless("That is no merchant's name."))?;
    let text = query.get("text").map(|text| text.chars().take(128).collect::<String>());
    // What a person looks for by its number is found however old it is.
    let is_open = |state: &String| {
        OrderState::ALL
            .iter()
            .any(|known| known.name() == state && (known.is_open() || known.review_cause().is_some()))
    };
    let is_open = !states.is_empty() && states.iter().all(is_open);
    // What waits is found however long it has waited.
    let created = created(query, times)?;
    let is_windowed = text.is_none() && created.is_none() && !(is_open && query.get("since").is_none());
    let window = is_windowed.then(|| window(query));
    let is_search = text.is_some();
    let declined = query.get("declined").filter(|_| !is_search);
    Ok(OrderFilter {
        states,
        search: text,
        merchant,
        older_than: None,
        younger_than: window,
        min_amount,
        max_amount,
        created_from: created.map(|(from, _)| from),
        created_until: created.map(|(_, until)| until),
        declined: declined.map(|code| code.chars().take(64).collect()),
        oldest_first: query.get("first") == Some("oldest") && !is_search,
        before,
        limit: rows.saturating_add(1),
    })
}

/// From when until when, where the form names one of them: a day by itself, at most a month.
fn created(query: &Params, times: Times) -> Result<Option<(Time, Time)>, PageRefusal> {
    let at = |name| match query.get(name) {
        Some(text) => times.typed(text).map(Some).ok_or(PageRefusal::Senseless("That is no date and time.")),
        None => Ok(None),
    };
    let (from, until) = match (at("from")?, at("until")?) {
        (None, None) => return Ok(None),
        (Some(from), None) => (from, times.now().min(from + RANGE_MAX)),
        (None, Some(until)) => (until - TimeDelta::days(1), until),
        (Some(from), Some(until)) => (from, until),
    };
    if from >= until || until - from > RANGE_MAX {
        return Err(PageRefusal::Senseless("A range begins before its end, and has at most 31 days."));
    }
    Ok(Some((from, until)))
}

async fn queued<O: Operations>(console: &Console<O>) -> Option<u64> {
    console.operations.figures().await.figures.and_then(|(_, figures)| figures.queued)
}

/// How far back a list looks.
pub fn window(query: &Params) -> Duration {
    let named = query.get("since").unwrap_or(WINDOW);
    let found = WINDOWS.iter().find(|(name, ..)| *name == named);
    Duration::from_secs(found.map_or(86_400, |(.., seconds)| *seconds))
}

/// The same view at another place, or from another row on.
fn with(query: &Params, path: &str, before: Option<i64>) -> String {
    let before = before.map(|key| key.to_string()).unwrap_or_default();
    let mut params: Vec<(&str, &str)> = Vec::new();
    for name in ["text", "merchant", "min", "max", "since", "from", "until", "declined", "first"] {
        params.extend(query.get(name).map(|value| (name, value)));
    }
    params.extend(query.all_values("state").map(|state| ("state", state)));
    params.push(("before", &before));
    link(path, &params)
}

fn filters(query: &Params, is_search: bool) -> Markup {
    let mut states = OrderState::ALL.map(OrderState::name).to_vec();
    states.dedup();
    let chosen: Vec<&str> = query.all_values("state").collect();
    let since = query.get("since").unwrap_or(WINDOW);
    html! {
        form.filter action="/orders" method="get" {
            @if let Some(text) = query.get("text") { input type="hidden" name="text" value=(text); }
            fieldset {
                legend { "State" }
                @for state in states {
                    label.check {
                        input type="checkbox" name="state" value=(state) checked[chosen.contains(&state)];
                        (state.replace('_', " "))
                    }
                }
            }
            @if !is_search {
                label.field { "Claimed in"
                    select name="since" {
                        @for (name, words, _) in WINDOWS { option value=(name) selected[name == since] { (words) } }
                    }
                }
            }
            @if !is_search {
                label.field { "or created from" input type="datetime-local" name="from" value=[query.get("from")]; }
                label.field { "until" input type="datetime-local" name="until" value=[query.get("until")]; }
                label.field { "Decline code" input name="declined" maxlength="64" size="14" value=[query.get("declined")]; }
                label.field { "Order"
                    select name="first" {
                        option value="" { "latest first" }
                        option value="oldest" selected[query.get("first") == Some("oldest")] { "oldest first" }
                    }
                }
            }
            label.field { "Merchant" input name="merchant" maxlength="32" size="12" value=[query.get("merchant")]; }
            label.field { "From rupiah" input name="min" inputmode="numeric" size="10" value=[query.get("min")]; }
            label.field { "To rupiah" input name="max" inputmode="numeric" size="10" value=[query.get("max")]; }
            button { "Show" }
            @if *query != Params::default() { a href="/orders" { "Clear" } }
        }
    }
}

fn nothing(is_search: bool, queued: Option<u64>) -> Markup {
    html! {
        div.empty {
            @if is_search {
                p { strong { "No order has that." } }
                p { "A search is the beginning of an invoice number, or a whole command id, Request-Id or event id." }
            } @else {
                p { strong { "No orders here." } }
                p { "Choose a longer time or other states. A command that still waits in its queue is no order yet." }
            }
            @match queued {
                Some(0) => { p { "No command waits in its queue." } }
                Some(waiting) => { p { strong { (waiting) " commands wait in their queues" } ": they are no orders yet." } }
                None => { p { "How many commands wait in their queues is not known yet." } }
            }
        }
    }
}

fn shown(orders: &[OrderSummary], times: Times) -> Markup {
    let sum: u64 = orders.iter().filter_map(|order| order.amount.parse::<u64>().ok()).sum();
    let is_one_merchant = orders.iter().all(|order| order.merchant == orders[0].merchant);
    html! {
        div.table {
            table.stacks {
                thead {
                    tr {
                        th scope="col" { "Invoice" }
                        @if !is_one_merchant { th scope="col" { "Merchant" } }
                        th scope="col" { "State" } th.money scope="col" { "Amount" }
                        th scope="col" { "Since" } th scope="col" { "Created" } th scope="col" { "Waits for" }
                    }
                }
                tbody { @for order in orders { (row(order, is_one_merchant, times)) } }
                tfoot {
                    tr {
                        td data-label="Shown" { (orders.len()) " shown" }
                        @if !is_one_merchant { td {} }
                        td {}
                        td.money data-label="Sum" { (rupiah_of(sum)) }
                        td {} td {} td {}
                    }
                }
            }
        }
    }
}

fn row(order: &OrderSummary, is_one_merchant: bool, times: Times) -> Markup {
    html! {
        tr {
            td data-label="Invoice" {
                a.id href=(order_link(&order.merchant, &order.invoice_number)) { (text(&order.invoice_number)) }
            }
            @if !is_one_merchant { td data-label="Merchant" { (text(&order.merchant)) } }
            td data-label="State" { (state_of(order)) }
            td.money data-label="Amount" { (rupiah(&order.amount)) }
            td.when data-label="Since" { (ago(order.state_since, times)) }
            td.when data-label="Created" { (ago(order.created_at, times)) }
            td data-label="Waits for" { (waits_for(order, times)) }
        }
    }
}

fn waits_for(order: &OrderSummary, times: Times) -> Markup {
    html! {
        @match (&order.due, &order.blocked) {
            (Some(due), Some(blocked)) => { (text(&due.kind)) ", blocked by " (text(&blocked.by)) }
            (Some(due), None) => { (text(&due.kind)) " " (ago(due.at, times)) }
            (None, _) => {}
        }
    }
}

//! Events: what was committed and whether the broker has it, and publishing events of a time again.

use crate::{
    domain::{console::Permission, event::EventType, ids::MerchantName},
    flow::ports::{EventFilter, EventRange, EventView, Operations},
    http::console::{
        PageAnswer, Shared, Visit,
        layout::page,
        pages::{
            orders::{WINDOW, WINDOWS, window},
            work::show_begun,
        },
        params::{Params, link},
        refusal::PageRefusal,
        words::{action_field, ago, moment, order_link, text},
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode};
use maud::{Markup, html};
use uuid::Uuid;

const PAGE_ROWS: u32 = 50;

pub async fn list<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let filter = filter(&visit.query)?;
    let mut found = console.operations.events(&filter).await?;
    let rows = usize::try_from(PAGE_ROWS).unwrap_or(usize::MAX);
    let is_cut = found.events.len() > rows;
    found.events.truncate(rows);
    let times = console.times();
    let waiting = console.operations.figures().await.figures.map(|(_, figures)| figures.outbox);
    let body = html! {
        p.lede {
            @match waiting {
                Some(waiting) if waiting.count == 0 => { "No event waits: the broker has confirmed all of them." }
                Some(waiting) => {
                    strong { (waiting.count) } " events wait to be published"
                    @if let Some(oldest) = waiting.oldest { ", the oldest for " (crate::http::console::words::span(oldest)) }
                    "."
                }
                None => { "How many wait is not known yet." }
            }
        }
        (filters(&visit.query))
        @if found.events.is_empty() { div.empty { p { strong { "No events here." } } p { "Choose a longer time or another type." } } }
        @else { (shown(&found.events, times)) }
        div.pager {
            @if let Some(last) = found.events.last().filter(|_| is_cut) {
                a.button rel="next" href=(with(&visit.query, last.event_id)) { "Older events" }
            }
            @if let Some((id, at)) = found.stopped {
                span { "10,000 events were read, back to " (moment(at, times)) "." }
                a.button rel="next" href=(with(&visit.query, id)) { "Go on from there" }
            }
        }
        h2 { "Publish events again" }
        (again(&visit, times))
    };
    Ok(page(&console, &visit, StatusCode::OK, "What was published?", body).await)
}

fn filter(query: &Params) -> Result<EventFilter, PageRefusal> {
    let order = query.get("invoice").is_some().then(|| {
        let merchant = query.get("merchant").unwrap_or("default");
        let named = Params::parse(
            link("", &[("merchant", merchant), ("invoice", query.get("invoice").unwrap_or_default())])
                .trim_start_matches('?')
                .as_bytes(),
        );
        named.order()
    });
    let order = match order {
        Some(None) => return Err(PageRefusal::Senseless("That is no invoice number.")),
        Some(order) => order,
        None => None,
    };
    let merchant = query.get("merchant").map(MerchantName::parse).transpose();
    let merchant = merchant.map_err(|_| PageRefusal::Senseless("That is no merchant's name."))?;
    let before = query.get("before").map(Uuid::try_parse).transpose();
    let before = before.map_err(|_| PageRefusal::Senseless("That is no event."))?;
    let younger_than = order.is_none().then(|| window(query));
    Ok(EventFilter {
        event_type: event_type(query)?,
        merchant: merchant.filter(|_| order.is_none()),
        order,
        younger_than,
        before,
        limit: PAGE_ROWS.saturating_add(1),
    })
}

fn event_type(params: &Params) -> Result<Option<EventType>, PageRefusal> {
    let known = |name| {
        EventType::from_routing_key(name).ok_or(PageRefusal::Senseless("There is no such type of event."))
    };
    params.get("type").map(known).transpose()
}

/// The same view from another row on.
fn with(query: &Params, before: Uuid) -> String {
    let before = before.to_string();
    let mut params: Vec<(&str, &str)> = Vec::new();
    for name in ["type", "merchant", "invoice", "since"] {
        params.extend(query.get(name).map(|value| (name, value)));
    }
    params.push(("before", &before));
    link("/events", &params)
}

fn types(chosen: Option<&str>, all: &str) -> Markup {
    html! {
        select name="type" {
            option value="" selected[chosen.is_none()] { (all) }
            @for known in EventType::ALL.map(EventType::routing_key) { option value=(known) selected[chosen == Some(known)] { (known) } }
        }
    }
}

fn filters(query: &Params) -> Markup {
    let since = query.get("since").unwrap_or(WINDOW);
    html! {
        form.filter action="/events" method="get" {
            label.field { "Type" (types(query.get("type"), "all but settlement.matched")) }
            label.field { "Invoice" input name="invoice" maxlength="64" value=[query.get("invoice")]; }
            label.field { "Merchant" input name="merchant" maxlength="32" size="12" value=[query.get("merchant")]; }
            label.field { "Committed in"
                select name="since" {
                    @for (name, words, _) in WINDOWS { option value=(name) selected[name == since] { (words) } }
                }
            }
            button { "Show" }
            @if *query != Params::default() { a href="/events" { "Clear" } }
        }
    }
}

fn shown(events: &[EventView], times: Times) -> Markup {
    html! {
        div.table {
            table.stacks {
                thead {
                    tr {
                        th scope="col" { "Time (" (times.zone()) ")" } th scope="col" { "Type" } th scope="col" { "About" }
                        th scope="col" { "Merchant" } th scope="col" { "Published" } th scope="col" { "Event" }
                    }
                }
                tbody { @for event in events { (row(event, times)) } }
            }
        }
    }
}

fn row(event: &EventView, times: Times) -> Markup {
    html! {
        tr {
            td.when data-label="Time" { (moment(event.at, times)) }
            td data-label="Type" { code { (text(&event.event_type)) } @if let Some(version) = event.version { " " span.quiet { "no. " (version) } } }
            td data-label="About" {
                @match (&event.merchant, &event.invoice_number) {
                    (Some(merchant), Some(invoice)) if event.version.is_some() => { a.id href=(order_link(merchant, invoice)) { (text(invoice)) } }
                    (_, invoice) => { span.id { (text(invoice.as_deref().unwrap_or_default())) } }
                }
            }
            td data-label="Merchant" { (text(event.merchant.as_deref().unwrap_or_default())) }
            td.when data-label="Published" {
                @match event.published_at {
                    Some(at) => { (ago(at, times)) }
                    None => { span.state.warn { i aria-hidden="true" { "◔" } "waits" } }
                }
            }
            td data-label="Event" { span.id.small { (event.event_id) } }
        }
    }
}

fn again(visit: &Visit, times: Times) -> Markup {
    let why_not = visit.refusal(Permission::Operate);
    let is_off = why_not.is_some();
    let hour_ago = times.for_field(times.now() - chrono::TimeDelta::hours(1));
    html! {
        form.sheet.stack action="/events/publish/confirm" method="post" {
            p { "For a subscriber that lost its queue: the same events with the same ids, a slice at a time. Other subscribers see them too, and ignore \
                 an id that they have seen. To publish one order's events again, open the order." }
            div.filter {
                label.field { "From (" (times.zone()) ")" input type="datetime-local" step="1" name="from" required value=(hour_ago) disabled[is_off]; }
                label.field { "Until" input type="datetime-local" step="1" name="until" required value=(times.for_field(times.now())) disabled[is_off]; }
                label.field { "Type" (types(None, "all types")) }
                button disabled[is_off] { "Count them" }
                @if let Some(why) = &why_not { span.quiet.small { (why) } }
            }
        }
    }
}

fn range(visit: &Visit, times: Times) -> Result<EventRange, PageRefusal> {
    let at = |name| visit.form.get(name).and_then(|text| times.typed(text));
    let (since, until) =
        at("from").zip(at("until")).ok_or(PageRefusal::Senseless("From when until when?"))?;
    if since >= until {
        return Err(PageRefusal::Senseless("The end is not after the beginning."));
    }
    Ok(EventRange { since, until, event_type: event_type(&visit.form)? })
}

/// Counts, and says what will happen.
pub async fn confirm<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let times = console.times();
    let range = range(&visit, times)?;
    let (count, is_cut) = console.operations.count_events(range).await?;
    let body = html! {
        p.lede { (count) @if is_cut { " or more" } @if count == 1 { " published event, from " } @else { " published events, from " } (times.full(range.since)) " until " (times.full(range.until)) "." }
        @if count == 0 { div.empty { p { "Nothing to publish." } p { a href="/events" { "Back" } } } }
        @else {
            form.sheet.stack action="/events/publish" method="post" {
                p {
                    "Every subscriber " @if let Some(only) = range.event_type { "of " code { (only.routing_key()) } " " }
                    "gets them once more. New events do not wait: they go between the slices."
                }
                (action_field())
                @for name in ["from", "until", "type"] { @if let Some(value) = visit.form.get(name) { input type="hidden" name=(name) value=(value); } }
                label.field { "Why, or the ticket" input name="reason" maxlength="500" required; }
                div.actions { button.main { "Confirm: publish them again" } a href="/events" { "Back" } }
            }
        }
    };
    Ok(page(&console, &visit, StatusCode::OK, "Do you mean these events?", body).await)
}

pub async fn publish<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let (range, act) = (range(&visit, console.times())?, visit.act()?);
    let id = act.mark.action_id;
    let start = console.operations.publish_range(range, act).await;
    Ok(show_begun(&console, &visit, id, start).await)
}

//! Settlement: what does not fit DOKU's pay-outs, those with most at stake first, and the files that came in. A person who has
//! cleared a break up closes it.

use super::settlement_file;
use crate::{
    domain::{console::Permission, settlement::breaks::Cause},
    flow::{
        ports::{BreakEnd, Operations},
        view::{
            csv as table,
            settlement::{BreakFilter, BreakView, FileView},
        },
    },
    http::console::{
        PageAnswer, Shared, Visit,
        layout::page,
        pages::orders::csv_answer,
        params::{Params, link},
        refusal::PageRefusal,
        runbook,
        words::{action_field, ago, order_link, rupiah, text},
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode, response::IntoResponse};
use maud::{Markup, html};
use std::collections::BTreeSet;

/// What a person works off at a time; the rest follows when they are closed.
pub const BREAKS_MAX: u32 = 30;
const FILES_MAX: u32 = 20;
const CSV_ROWS: u32 = 10_000;

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let filter = filter(&visit.query, BREAKS_MAX)?;
    let breaks = console.operations.breaks(&filter).await?;
    let files = console.operations.settlement_files(FILES_MAX).await?;
    let times = console.times();
    let body = html! {
        p.lede { "DOKU's pay-outs beside our orders. Nothing here moves an order: what is odd is asked about, and shown." }
        h2 { "What does not fit" }
        (causes(&filter))
        @if breaks.is_empty() { div.empty { p { strong { "Everything fits." } } p { "No break of this sort is open." } } }
        @else { (show_breaks(&visit, &breaks, times)) (means(&breaks)) }
        div.pager { a href=(with(&filter, "/settlement.csv")) { "These as CSV" } }
        h2 { "Files" }
        (settlement_file::form(&console, &visit))
        @if files.is_empty() { div.empty { p { strong { "No file came in yet." } } } } @else { (files_of(&files, times)) }
    };
    Ok(page(&console, &visit, StatusCode::OK, "Does DOKU pay out what we believe?", body).await)
}

/// For finance: what the page shows, and more of it than one page.
pub async fn csv<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let mut breaks = console.operations.breaks(&filter(&visit.query, CSV_ROWS + 1)?).await?;
    let rows = usize::try_from(CSV_ROWS).unwrap_or(usize::MAX);
    // A file that is cut says so by its name.
    let name = if breaks.len() > rows { "breaks-first-10000.csv" } else { "breaks.csv" };
    breaks.truncate(rows);
    Ok(csv_answer(name, table::breaks(&breaks)))
}

/// Closes a break until its values change.
pub async fn close<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let number = visit.form.get("number").and_then(|number| number.parse().ok());
    let number = number.ok_or(PageRefusal::Senseless("Which break?"))?;
    let name = visit.form.get("of").unwrap_or_default();
    match console.operations.close_break(number, name, visit.act()?).await? {
        BreakEnd::Closed | BreakEnd::AlreadyClosed => {
            Ok((StatusCode::SEE_OTHER, [("location", "/settlement")]).into_response())
        }
        BreakEnd::Another => Err(OLD_PAGE),
        BreakEnd::Unknown => Err(PageRefusal::Unknown("There is no such break.")),
    }
}

/// Open breaks, of one cause or of one batch where the address names it.
fn filter(query: &Params, limit: u32) -> Result<BreakFilter, PageRefusal> {
    let cause = query.get("cause").map(|name| Cause::from_name(name).ok_or(NO_CAUSE)).transpose()?;
    let cause = cause.map(|cause| cause.name().to_owned());
    let batch = query.get("batch").map(str::to_owned);
    Ok(BreakFilter { open: true, cause, batch, limit, ..BreakFilter::default() })
}

const OLD_PAGE: PageRefusal =
    PageRefusal::Senseless("That page is old: the break's values are others now. Load it again, and look.");
const NO_CAUSE: PageRefusal = PageRefusal::Senseless("There is no such cause.");

fn with(filter: &BreakFilter, path: &str) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    link(path, &[("cause", &text(&filter.cause)), ("batch", &text(&filter.batch))])
}

fn causes(filter: &BreakFilter) -> Markup {
    html! {
        form.filter action="/settlement" method="get" {
            label.field { "Cause"
                select name="cause" {
                    option value="" { "any" }
                    @for cause in Cause::ALL.map(Cause::name) {
                        option value=(cause) selected[filter.cause.as_deref() == Some(cause)] { (cause.replace('_', " ")) }
                    }
                }
            }
            @if let Some(batch) = &filter.batch { input type="hidden" name="batch" value=(batch); }
            button { "Show" }
            @if filter.cause.is_some() || filter.batch.is_some() { a href="/settlement" { "Clear" } }
        }
    }
}

/// Breaks, each with what closes it.
pub fn show_breaks(visit: &Visit, breaks: &[BreakView], times: Times) -> Markup {
    html! {
        div.table {
            table.stacks {
                thead {
                    tr {
                        th scope="col" { "Cause" } th scope="col" { "Invoice" } th.money scope="col" { "At stake" }
                        th scope="col" { "What was found" } th scope="col" { "Since" } th scope="col" { "Cleared up?" }
                    }
                }
                tbody { @for open in breaks { (row(visit, open, times)) } }
            }
        }
    }
}

fn row(visit: &Visit, open: &BreakView, times: Times) -> Markup {
    let why_not = visit.refusal(Permission::Settle);
    html! {
        tr {
            td data-label="Cause" {
                span.state.warn { i aria-hidden="true" { "▲" } (text(&open.cause).replace('_', " ")) }
                " " span.quiet.small { "for " (text(&open.owner)) }
            }
            td data-label="Invoice" {
                @if let Some(invoice) = &open.invoice_number {
                    a.id href=(order_link(&open.merchant, invoice)) { (text(invoice)) }
                }
                @if let Some(batch) = &open.batch { " " a.quiet href=(batch_link(batch)) { "batch " (text(batch)) } }
            }
            td.money data-label="At stake" { (rupiah(&open.at_stake)) }
            td data-label="Found" { (text(&open.found)) }
            td.when data-label="Since" { (ago(open.first_seen_at, times)) }
            td data-label="Cleared up" {
                @match &why_not {
                    Some(why) => { span.quiet.small { (why) } }
                    None => {
                        form.actions.tight action="/settlement/close" method="post" {
                            input type="hidden" name="number" value=(open.number);
                            input type="hidden" name="of" value=(open.name());
                            (action_field())
                            input name="reason" maxlength="500" required placeholder="How" aria-label="How it was cleared up";
                            button { "Close" }
                        }
                    }
                }
            }
        }
    }
}

pub fn batch_link(batch: &str) -> String {
    link("/settlement/batch", &[("name", batch)])
}

/// What the runbook says of the causes that are open.
pub fn means(breaks: &[BreakView]) -> Markup {
    let causes: BTreeSet<&str> = breaks.iter().map(|open| open.cause.as_str()).collect();
    html! {
        @for cause in causes {
            details {
                summary { "What to do about " (cause.replace('_', " ")) }
                @for text in runbook::entry(runbook::SETTLEMENT, cause) { (runbook::paragraph(&text)) }
            }
        }
    }
}

fn files_of(files: &[FileView], times: Times) -> Markup {
    html! {
        div.table {
            table.stacks {
                thead {
                    tr {
                        th scope="col" { "File" } th scope="col" { "Merchant" } th scope="col" { "Batch" } th scope="col" { "Came" }
                        th scope="col" { "State" } th.money scope="col" { "Our rows" } th.money scope="col" { "Our net" }
                        th.money scope="col" { "Open breaks" }
                    }
                }
                tbody {
                    @for file in files {
                        tr {
                            td data-label="File" { a href=(settlement_file::file_link(file.number)) { (named(&file.name)) } }
                            td data-label="Merchant" { (text(&file.merchant)) }
                            td data-label="Batch" {
                                @if let Some(batch) = &file.batch { a.id href=(batch_link(batch)) { (text(batch)) } }
                            }
                            td.when data-label="Came" { (ago(file.received_at, times)) }
                            td data-label="State" { (settlement_file::state_words(&file.state)) }
                            td.money data-label="Our rows" { (file.own_rows) }
                            td.money data-label="Our net" { (signed(file.own_net)) }
                            td.money data-label="Breaks" { (file.open_breaks) }
                        }
                    }
                }
            }
        }
    }
}

/// A file's name; one without has a word, so that its link can be pressed.
pub fn named(name: &str) -> String {
    if name.is_empty() { "a file without a name".to_owned() } else { text(name) }
}

/// Rupiah that may be owed by us.
pub fn signed(amount: i64) -> String {
    let sign = if amount < 0 { "−" } else { "" };
    format!("{sign}{}", rupiah(&amount.unsigned_abs().to_string()))
}

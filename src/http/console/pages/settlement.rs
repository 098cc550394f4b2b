//! Settlement: what does not fit DOKU's pay-outs, those with most at stake first, and the files that came in. A person who has
//! cleared a break up closes it.

use crate::{
    domain::console::Permission,
    flow::{
        ports::{BreakEnd, Operations},
        view::{IncomingFile, OpenBreak},
    },
    http::console::{
        Answer, Shared, Visit,
        layout::page,
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
const BREAKS_MAX: u32 = 30;
const FILES_MAX: u32 = 20;

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> Answer {
    let breaks = console.operations.open_breaks(BREAKS_MAX).await?;
    let files = console.operations.settlement_files(FILES_MAX).await?;
    let times = console.times();
    let body = html! {
        p.lede { "DOKU's pay-outs beside our orders. Nothing here moves an order: what is odd is asked about, and shown." }
        h2 { "What does not fit" }
        @if breaks.is_empty() { div.empty { p { strong { "Everything fits." } } p { "No break is open." } } }
        @else { (shown(&visit, &breaks, times)) (causes(&breaks)) }
        h2 { "Files" }
        @if files.is_empty() {
            div.empty { p { strong { "No file came in yet." } } p { "Bring one in: " code { "jenius-pay settlement import FILE" } } }
        } @else { (files_of(&files, times)) }
    };
    Ok(page(&console, &visit, StatusCode::OK, "Does DOKU pay out what we believe?", body).await)
}

/// Closes a break until its values change.
pub async fn close<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> Answer {
    let number = visit.form.get("number").and_then(|number| number.parse().ok());
    let number = number.ok_or(PageRefusal::Senseless("Which break?"))?;
    match console.operations.close_break(number, visit.act()?).await? {
        BreakEnd::Closed | BreakEnd::AlreadyClosed => {
            Ok((StatusCode::SEE_OTHER, [("location", "/settlement")]).into_response())
        }
        BreakEnd::Unknown => Err(PageRefusal::Unknown("There is no such break.")),
    }
}

fn shown(visit: &Visit, breaks: &[OpenBreak], times: Times) -> Markup {
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

fn row(visit: &Visit, open: &OpenBreak, times: Times) -> Markup {
    let why_not = visit.refusal(Permission::Settle);
    html! {
        tr {
            td data-label="Cause" { span.state.warn { i aria-hidden="true" { "▲" } (text(&open.cause).replace('_', " ")) } }
            td data-label="Invoice" {
                @if let Some(invoice) = &open.invoice_number {
                    a.id href=(order_link(&open.merchant, invoice)) { (text(invoice)) }
                }
                @if let Some(batch) = &open.batch { " " span.quiet { "batch " (text(batch)) } }
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

/// What the runbook says of the causes that are open.
fn causes(breaks: &[OpenBreak]) -> Markup {
    let causes: BTreeSet<&str> = breaks.iter().map(|open| open.cause.as_str()).collect();
    html! {
        @for cause in causes {
            details {
                summary { "What to do about " (cause.replace('_', " ")) }
                @for text in runbook::entry(cause) { (runbook::paragraph(&text)) }
            }
        }
    }
}

fn files_of(files: &[IncomingFile], times: Times) -> Markup {
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
                            td data-label="File" { (text(&file.name)) }
                            td data-label="Merchant" { (text(&file.merchant)) }
                            td data-label="Batch" { span.id { (text(file.batch.as_deref().unwrap_or_default())) } }
                            td.when data-label="Came" { (ago(file.received_at, times)) }
                            td data-label="State" { (text(&file.state)) }
                            td.money data-label="Our rows" { (file.own_rows) }
                            td.money data-label="Our net" { (rupiah(&file.own_net)) }
                            td.money data-label="Breaks" { (file.open_breaks) }
                        }
                    }
                }
            }
        }
    }
}

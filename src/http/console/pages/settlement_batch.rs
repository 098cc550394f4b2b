//! One pay-out: DOKU's sums beside those of our orders, and what does not fit in it.

use super::settlement::{BREAKS_MAX, means, show_breaks, signed};
use crate::{
    flow::{
        ports::{BatchSums, Operations},
        view::settlement::{BatchView, BreakFilter},
    },
    http::console::{
        PageAnswer, Shared, Visit,
        layout::page,
        pages::work::LOAD_AGAIN,
        params::link,
        refusal::PageRefusal,
        words::{ago, text},
    },
};
use axum::{Extension, extract::State, http::StatusCode};
use maud::{Markup, html};

const NO_BATCH: PageRefusal =
    PageRefusal::Unknown("No file that counts has rows of our channel in such a batch.");

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let name = visit.query.get("name").ok_or(NO_BATCH)?;
    let sums = console.operations.batch(name).await?;
    if matches!(&sums, BatchSums::Counted(_, batches) if batches.is_empty()) {
        return Err(NO_BATCH);
    }
    let filter =
        BreakFilter { open: true, batch: Some(name.to_owned()), limit: BREAKS_MAX, ..BreakFilter::default() };
    let breaks = console.operations.breaks(&filter).await?;
    let body = html! {
        p.lede { "The sums of our channel, as DOKU's file states them and as our orders have them." }
        @match &sums {
            BatchSums::Counted(at, batches) => {
                @for batch in batches { (sums_of(batch)) }
                p.quiet.small { "Counted " (ago(*at, console.times())) "." }
            }
            BatchSums::Counting => {
                div.note role="status" { p { strong { "Its sums are being counted." } " It has many rows. This page loads itself again." } }
            }
        }
        h2 { "What does not fit in it" }
        @if breaks.is_empty() { div.empty { p { strong { "Everything in it fits." } } } }
        @else { (show_breaks(&visit, &breaks, console.times())) (means(&breaks)) }
        div.pager { a href=(link("/settlement.csv", &[("batch", name)])) { "These as CSV" } a href="/settlement" { "All of settlement" } }
    };
    let title = format!("Does the pay-out {} fit?", text(name));
    let mut answer = page(&console, &visit, StatusCode::OK, &title, body).await;
    if matches!(sums, BatchSums::Counting) {
        answer.headers_mut().extend([LOAD_AGAIN]);
    }
    Ok(answer)
}

fn sums_of(batch: &BatchView) -> Markup {
    let rows = [
        (
            "Purchases",
            batch.purchases.to_string(),
            batch.own_purchases.to_string(),
            batch.purchases == batch.own_purchases,
        ),
        ("Gross", signed(batch.gross), signed(batch.own_gross), batch.gross == batch.own_gross),
        (
            "Refunds",
            batch.refunds.to_string(),
            batch.own_refunds.to_string(),
            batch.refunds == batch.own_refunds,
        ),
        (
            "Refunded",
            signed(batch.refunded),
            signed(batch.own_refunded),
            batch.refunded == batch.own_refunded,
        ),
    ];
    let deducted = [("Fee", batch.fee), ("Discount", batch.discount), ("Net", batch.net)];
    html! {
        div.stack {
            p {
                "Of " strong { (text(&batch.merchant)) }
                @if let Some(day) = batch.paid_out_on { ", paid out " (day) }
                ", in " (batch.forms) @if batch.forms == 1 { " file" } @else { " files" }
                "."
            }
            // Large sums make it wider than a phone.
            div.table role="region" tabindex="0" aria-label="Sums" {
                table {
                    thead {
                        tr {
                            th scope="col" { "" } th.money scope="col" { "DOKU" } th.money scope="col" { "Our orders" } th scope="col" { "Same?" }
                        }
                    }
                    tbody {
                        @for (what, theirs, ours, same) in rows {
                            tr {
                                th scope="row" { (what) } td.money { (theirs) } td.money { (ours) }
                                td.short { @if same { "● same" } @else { strong { "▲ differs" } } }
                            }
                        }
                        @for (what, theirs) in deducted {
                            tr { th scope="row" { (what) } td.money { (signed(theirs)) } td.money {} td {} }
                        }
                        @if let Some(net) = batch.stated_net {
                            tr { th scope="row" { "Whole file, all channels" } td.money { (signed(net)) } td.money {} td {} }
                        }
                    }
                }
            }
        }
    }
}

//! Orders in review: what a person must decide, the oldest or the dearest first.

use crate::{
    flow::{
        ports::{Hold, Operations, OrderFilter},
        view::OrderSummary,
    },
    http::console::{
        PageAnswer, Shared, Visit,
        layout::page,
        params::link,
        words::{ago, order_link, rupiah, rupiah_of, text},
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode};
use maud::{Markup, html};

/// More is no list to work off in a browser: the latest of them are sorted.
const ROWS_MAX: u32 = 500;
const PAGE_ROWS: usize = 50;

pub async fn list<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let filter = OrderFilter { states: vec!["review".to_owned()], limit: ROWS_MAX, ..OrderFilter::default() };
    let mut orders = console.operations.orders(&filter).await?.orders;
    let (count, sum) = (orders.len(), orders.iter().map(amount).sum::<u64>());
    let is_dearest = visit.query.get("first") == Some("dearest");
    if is_dearest {
        orders.sort_by_key(|order| std::cmp::Reverse(amount(order)));
    } else {
        orders.sort_by_key(|order| order.state_since);
    }
    let from = visit.query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0).min(count);
    let orders: Vec<OrderSummary> = orders.into_iter().skip(from).take(PAGE_ROWS).collect();
    let next = from + orders.len();
    let keys: Vec<i64> = orders.iter().map(|order| order.key).collect();
    let holds = console.operations.holds(&keys).await?;
    let body = html! {
        p.lede { "Evidence does not agree, or it could not be found out. Each waits for a person." }
        @if orders.is_empty() {
            div.empty { p { strong { "Nothing to decide." } } p { "No order waits for a person." } }
        } @else {
            p.actions {
                (choice("Oldest first", "/review", !is_dearest))
                (choice("Dearest first", "/review?first=dearest", is_dearest))
            }
            br;
            (shown(&orders, &holds, console.times()))
            div.pager {
                span { (count) " wait, " (rupiah_of(sum)) " together" }
                @if next < count {
                    a.button rel="next" href=(link("/review", &[("first", if is_dearest { "dearest" } else { "" }), ("from", &next.to_string())])) { "The next" }
                }
            }
        }
    };
    Ok(page(&console, &visit, StatusCode::OK, "What must a person decide?", body).await)
}

fn amount(order: &OrderSummary) -> u64 {
    order.amount.parse().unwrap_or_default()
}

fn choice(name: &str, href: &str, is_here: bool) -> Markup {
    html! { @if is_here { strong { (name) } } @else { a href=(href) { (name) } } }
}

fn shown(orders: &[OrderSummary], holds: &[Hold], times: Times) -> Markup {
    html! {
        div.table {
            table.stacks {
                thead {
                    tr {
                        th scope="col" { "Invoice" } th scope="col" { "Cause" } th.money scope="col" { "Amount" }
                        th scope="col" { "DOKU's word" } th scope="col" { "Waits since" } th scope="col" { "" }
                    }
                }
                tbody {
                    @for order in orders {
                        tr {
                            td data-label="Invoice" {
                                a.id href=(order_link(&order.merchant, &order.invoice_number)) { (text(&order.invoice_number)) }
                            }
                            td data-label="Cause" {
                                span.state.warn { i aria-hidden="true" { "▲" }
                                    (text(order.review_cause.as_deref().unwrap_or_default()).replace('_', " ")) }
                            }
                            td.money data-label="Amount" { (rupiah(&order.amount)) }
                            td data-label="DOKU's word" { (text(order.doku_status.as_deref().unwrap_or("none"))) }
                            td.when data-label="Since" { (ago(order.state_since, times)) }
                            td {
                                @if let Some(hold) = holds.iter().find(|hold| hold.order_key == order.key) {
                                    span.quiet { (text(&hold.by)) " is on it " }
                                }
                                a.button href=(link("/order/decide", &[("merchant", order.merchant.as_str()), ("invoice", &order.invoice_number)])) {
                                    "Decide"
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

//! Orders in review: what a person must decide, the oldest or the dearest first.

use crate::{
    flow::{
        ports::{Hold, Operations, OrderFilter, OrderPage},
        view::OrderSummary,
    },
    http::console::{
        Console, PageAnswer, Shared, Visit,
        layout::page,
        params::link,
        refusal::PageRefusal,
        words::{ago, order_link, rupiah, rupiah_of, text},
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode};
use maud::{Markup, html};

/// More is no list to work off in a browser: of the oldest, so many are sorted.
const ROWS_MAX: u32 = 500;
const PAGE_ROWS: usize = 50;

pub async fn list<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let before = visit.query.get("before").map(str::parse).transpose();
    let before = before.map_err(|_| PageRefusal::Senseless("An order's place is a number."))?;
    let filter = OrderFilter {
        states: vec!["review".to_owned()],
        oldest_first: true,
        before,
        limit: ROWS_MAX + 1,
        ..OrderFilter::default()
    };
    let OrderPage { mut orders, stopped, .. } = console.operations.orders(&filter).await?;
    let rows_max = usize::try_from(ROWS_MAX).unwrap_or(usize::MAX);
    let is_full = orders.len() > rows_max;
    orders.truncate(rows_max);
    // Where the walk goes on, in the order in which they were claimed.
    let rest = if is_full { orders.last().map(|order| order.key) } else { stopped.map(|at| at.key) };
    let waiting = waiting(&console, &orders, before.is_none() && rest.is_none()).await;
    let count = orders.len();
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
        @if orders.is_empty() && rest.is_none() {
            div.empty { p { strong { "Nothing to decide." } } p { "No order waits for a person." } }
        } @else {
            p.actions {
                (choice("Oldest first", &place(false, before, 0), !is_dearest))
                (choice("Dearest first", &place(true, before, 0), is_dearest))
            }
            br;
            (shown(&orders, &holds, console.times()))
            div.pager {
                span { (waiting) }
                @if next < count {
                    a.button rel="next" href=(place(is_dearest, before, next)) { "The next" }
                }
                @if let Some(rest) = rest {
                    span { "Here are the " (count) " that were claimed first" @if before.is_some() { " of the rest" } "." }
                    a.button href=(place(is_dearest, Some(rest), 0)) { "Those claimed later" }
                }
            }
        }
    };
    Ok(page(&console, &visit, StatusCode::OK, "What must a person decide?", body).await)
}

/// How many wait, and for how much: of the list where it has all of them, else as the overview counts them.
async fn waiting<O: Operations>(console: &Console<O>, orders: &[OrderSummary], is_all: bool) -> String {
    let (count, sum) = if is_all {
        (u64::try_from(orders.len()).unwrap_or(u64::MAX), Some(orders.iter().map(amount).sum::<u64>()))
    } else {
        let Some((_, figures)) = console.operations.figures().await.figures else { return String::new() };
        (figures.review.count, figures.review.rupiah)
    };
    match sum {
        Some(sum) => format!("{count} wait, {} together", rupiah_of(sum)),
        None => format!("{count} wait"),
    }
}

fn amount(order: &OrderSummary) -> u64 {
    order.amount.parse().unwrap_or_default()
}

/// `behind`: the order behind which the list begins; `from`: how many of it are on the pages before.
fn place(is_dearest: bool, behind: Option<i64>, from: usize) -> String {
    let number = |number: Option<String>| number.unwrap_or_default();
    let from = number((from > 0).then(|| from.to_string()));
    let behind = number(behind.map(|key| key.to_string()));
    let first = if is_dearest { "dearest" } else { "" };
    link("/review", &[("first", first), ("before", &behind), ("from", &from)])
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

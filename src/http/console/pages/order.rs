//! One order: what it is, what happens next and why not now, and everything that happened.

use crate::{
    domain::{
        console::Permission,
        ids::{InvoiceNumber, MerchantName},
        order::OrderState,
    },
    flow::{
        ports::{Asked, CustomerLook, Operations, OrderCustomer},
        view::{OrderView, StepKind, steps},
    },
    http::console::{
        Console, PageAnswer, Shared, Visit,
        diagram::diagram,
        layout::page,
        params::link,
        refusal::PageRefusal,
        words::{
            self, action_field, ago, masked, masked_email, masked_phone, moment, order_fields, rupiah,
            state_of, text,
        },
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode};
use maud::{Markup, html};

const NO_ORDER: &str = "This merchant has no such order.";

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let (merchant, invoice) = visit.query.order().ok_or(PageRefusal::Unknown(NO_ORDER))?;
    let news = html! {
        @if visit.query.get("done") == Some("decided") {
            (note("note", "Decided. What follows stands below."))
        } @else if visit.query.get("done") == Some("proposed") {
            (note("note warn", "Kept as a proposal: another decider must decide the same within 24 hours."))
        }
    };
    with_news(&console, &visit, &merchant, &invoice, news).await
}

/// The same with the customer as it is; the look is kept before anything is shown.
pub async fn show_customer<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let (merchant, invoice) = visit.form.order().ok_or(PageRefusal::Unknown(NO_ORDER))?;
    let customer = match console.operations.show_customer(&merchant, &invoice, visit.act()?).await? {
        CustomerLook::Shown(customer) => customer,
        CustomerLook::Repeated => {
            let news =
                note("note warn", "This form was sent before: its look is over. Say again why you look.");
            return with_news(&console, &visit, &merchant, &invoice, news).await;
        }
    };
    let view = console.operations.order(&merchant, &invoice).await?.ok_or(PageRefusal::Unknown(NO_ORDER))?;
    let body = body(&console, &visit, &view, customer.as_ref(), false);
    Ok(page(&console, &visit, StatusCode::OK, &title(&view), body).await)
}

fn title(view: &OrderView) -> String {
    format!("What happened to {}?", text(&view.order.invoice_number))
}

fn body<O: Operations>(
    console: &Console<O>,
    visit: &Visit,
    view: &OrderView,
    customer: Option<&OrderCustomer>,
    is_masked: bool,
) -> Markup {
    let times = console.times();
    html! {
        p.lede { "An order of " (text(&view.order.merchant)) ", created " (ago(view.order.created_at, times)) "." }
        div.columns {
            section.sheet aria-label="What it is" {
                div.amount { (rupiah(&view.order.amount)) }
                div { (state_of(&view.order)) " " span.quiet { "since " (ago(view.order.state_since, times)) } }
                h2 { "What happens next" }
                (next(view, times))
                (actions_of(visit, view))
            }
            section.sheet aria-label="Where it comes from" {
                (facts(view))
                (customer_of(visit, view, customer, is_masked))
            }
        }
        h2 { "What happened" }
        (timeline(view, times))
        h2 { "The way it took" }
        // It is wider than a phone: the keyboard moves it too.
        div.table role="region" tabindex="0" aria-label="The way it took" { (diagram(&way(view))) }
    }
}

/// The states that were announced, the one it has now last.
fn way(view: &OrderView) -> Vec<&str> {
    let mut way = vec!["submitting"];
    for state in view.history.iter().map(|event| event.state.as_str()).chain([view.order.state.as_str()]) {
        if way.last() != Some(&state) {
            way.push(state);
        }
    }
    way
}

fn next(view: &OrderView, times: Times) -> Markup {
    let order = &view.order;
    html! {
        @match &order.due {
            Some(due) if due.kind == "send" => { p { "The request to DOKU is due " (ago(due.at, times)) "." } }
            Some(due) if is_open(&order.state) => { p { "A question to DOKU is due " (ago(due.at, times)) "." } }
            Some(due) => { p { "It has ended. DOKU is asked once more " (ago(due.at, times)) ", in case it says otherwise." } }
            None if order.state == "review" => {
                p { "Nothing by itself: a person must decide"
                    @if let Some(cause) = &order.review_cause { ", because of " (text(cause).replace('_', " ")) }
                    "." }
            }
            None => { p { "Nothing: it is final." } }
        }
        @if let Some(blocked) = &order.blocked {
            p { strong { "Not now: " } (text(&blocked.by)) " since " (ago(blocked.since, times))
                @if let Some(detail) = &blocked.detail { ", " (text(detail)) } "." }
        }
        @if let Some(refund) = &order.refund {
            p { "Refund " strong { (text(&refund.state)) } ": " (text(&refund.reason)) }
        }
    }
}

fn is_open(state: &str) -> bool {
    OrderState::ALL.iter().any(|known| known.name() == state && known.is_open())
}

/// What a person can do about the order.
fn actions_of(visit: &Visit, view: &OrderView) -> Markup {
    let why_not = visit.refusal(Permission::Operate);
    let order = &view.order;
    html! {
        @if order.state == "review" {
            p.actions { a.button.main href=(link("/order/decide", &order_params(view))) { "Decide about it" } }
        }
        form.actions method="post" {
            (order_fields(&order.merchant, &order.invoice_number))
            (action_field())
            input name="reason" maxlength="500" required placeholder="Why, or the ticket" aria-label="Why"
                disabled[why_not.is_some()];
            button formaction="/order/ask" disabled[why_not.is_some()] { "Ask DOKU now" }
            button formaction="/order/publish" disabled[why_not.is_some()] { "Publish its events again" }
            @if let Some(why) = &why_not { span.quiet.small { (why) } }
        }
    }
}

fn order_params(view: &OrderView) -> [(&'static str, &str); 2] {
    [("merchant", &view.order.merchant), ("invoice", &view.order.invoice_number)]
}

/// Asks DOKU, and shows the order with what came of it.
pub async fn ask_doku<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let (merchant, invoice) = show_known(&console, &visit).await?;
    let (class, outcome) = match console.operations.ask_doku(&merchant, &invoice, visit.act()?).await? {
        Asked::Answered(words) => ("note", format!("DOKU: {}", text(&words))),
        Asked::NotAnswered(why) => ("note bad", format!("DOKU: {}", text(&why))),
        Asked::Repeated => ("note warn", SENT_BEFORE.to_owned()),
    };
    with_news(&console, &visit, &merchant, &invoice, note(class, &outcome)).await
}

/// Publishes the order's events again, and shows it.
pub async fn publish_again<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let (merchant, invoice) = show_known(&console, &visit).await?;
    let (class, outcome) = match console.operations.publish_again(&merchant, &invoice, visit.act()?).await? {
        Some(count) => (
            "note",
            format!("{count} events are in the outbox again, with the same ids: the relay publishes them."),
        ),
        None => ("note warn", SENT_BEFORE.to_owned()),
    };
    with_news(&console, &visit, &merchant, &invoice, note(class, &outcome)).await
}

fn note(class: &str, words: &str) -> Markup {
    html! { div class=(class) role="status" { p { (words) } } }
}

/// It was kept before it was acted on: whether the act came to its end is not known here.
const SENT_BEFORE: &str = "This form was sent before, and does not act twice. What came of it stands below; if nothing did, send the form there.";

/// The order that a form is about, if there is one.
async fn show_known<O: Operations>(
    console: &Console<O>,
    visit: &Visit,
) -> Result<(MerchantName, InvoiceNumber), PageRefusal> {
    let (merchant, invoice) = visit.form.order().ok_or(PageRefusal::Unknown(NO_ORDER))?;
    console.operations.order(&merchant, &invoice).await?.ok_or(PageRefusal::Unknown(NO_ORDER))?;
    Ok((merchant, invoice))
}

/// The order as it is now, below what just happened.
async fn with_news<O: Operations>(
    console: &Console<O>,
    visit: &Visit,
    merchant: &MerchantName,
    invoice: &InvoiceNumber,
    news: Markup,
) -> PageAnswer {
    let view = console.operations.order(merchant, invoice).await?.ok_or(PageRefusal::Unknown(NO_ORDER))?;
    let customer = masked_customer(console, merchant, invoice).await?;
    let body = html! { (news) (body(console, visit, &view, customer.as_ref(), true)) };
    Ok(page(console, visit, StatusCode::OK, &title(&view), body).await)
}

async fn masked_customer<O: Operations>(
    console: &Console<O>,
    merchant: &MerchantName,
    invoice: &InvoiceNumber,
) -> Result<Option<OrderCustomer>, PageRefusal> {
    Ok(console.operations.customer(merchant, invoice).await?.map(|customer| OrderCustomer {
        name: masked(&customer.name),
        phone: masked_phone(&customer.phone),
        email: customer.email.as_deref().map(masked_email),
    }))
}

fn facts(view: &OrderView) -> Markup {
    let order = &view.order;
    html! {
        dl.facts {
            dt { "Invoice" } dd { span.id { (text(&order.invoice_number)) } }
            dt { "Command" }
            dd {
                @match &order.command {
                    Some(command) => { span.id { (text(&command.id)) } " from " span.id { (text(&command.source)) } }
                    None => { "none: it was paid before, and imported" }
                }
            }
            @if let Some(request_id) = &order.request_id { dt { "Request-Id" } dd { span.id { (text(request_id)) } } }
            @if let Some(status) = &order.doku_status {
                dt { "DOKU's word" }
                dd { (text(status)) " " span.quiet { "by " (text(order.evidence.as_deref().unwrap_or("no evidence"))) } }
            }
            @if let Some(refund) = &order.refund {
                dt { "Refund" } dd { span.id { (text(&refund.command.id)) } }
                dt { "Its Request-Id" } dd { span.id { (text(&refund.request_id)) } }
            }
            @for row in &view.settlement {
                dt { @if row.kind == "refund" { "Refund deducted" } @else { "Settled" } }
                dd { (rupiah(&row.net)) " net on " (text(&row.paid_out_on)) ", fee " (rupiah(&row.fee)) ", batch "
                    span.id { (text(&row.batch)) } }
            }
        }
    }
}

fn customer_of(visit: &Visit, view: &OrderView, customer: Option<&OrderCustomer>, is_masked: bool) -> Markup {
    let Some(customer) = customer else {
        return html! { h2 { "Customer" } p.quiet { "The request was pruned, and the customer with it." } };
    };
    let order = &view.order;
    let why_not = visit.refusal(Permission::Unmask);
    html! {
        h2 { "Customer" }
        dl.facts {
            dt { "Name" } dd { (text(&customer.name)) }
            dt { "Phone" } dd { (text(&customer.phone)) }
            @if let Some(email) = &customer.email { dt { "E-mail" } dd { (text(email)) } }
        }
        @if is_masked {
            form.actions action="/order/customer" method="post" {
                (order_fields(&order.merchant, &order.invoice_number))
                (action_field())
                input name="reason" maxlength="500" required placeholder="Why, or the ticket"
                    aria-label="Why the customer is shown" disabled[why_not.is_some()];
                button disabled[why_not.is_some()] { "Show the customer" }
                span.quiet.small { @if let Some(why) = &why_not { (why) } @else { "The look is kept." } }
            }
        } @else {
            p.quiet.small { "This look was kept with your name and your reason." }
        }
    }
}

fn timeline(view: &OrderView, times: Times) -> Markup {
    let steps = steps(view);
    if steps.is_empty() {
        return html! { div.empty { p { "Nothing yet." } } };
    }
    html! {
        @if view.order.pruned {
            p.quiet { "It ended long ago: its request, attempts and repeated notifications were pruned." }
        }
        div.table {
            table.stacks {
                thead {
                    tr {
                        th scope="col" { "Time (" (times.zone()) ")" } th scope="col" { "What" } th scope="col" { "How it went" }
                    }
                }
                tbody {
                    @for step in &steps {
                        tr {
                            td.when data-label="Time" { (moment(step.at, times)) }
                            td data-label="What" { span.state.calm { i aria-hidden="true" { (shape(step.kind)) } } (words::text(&step.what)) }
                            td data-label="How" { (words::text(&step.detail)) }
                        }
                    }
                }
            }
        }
    }
}

fn shape(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Action | StepKind::Decision => "☞",
        StepKind::Send => "→",
        StepKind::Inquiry => "?",
        StepKind::Notification => "←",
        StepKind::Settlement => "=",
        StepKind::Event => "◆",
    }
}

//! A decision about an order in review, in two steps: what is true, and why; then a page that says what will happen, computed
//! by the code that will do it. What changed meanwhile is shown before anything is done.

use super::decision::{LOOK_AT_DOKU, NO_ORDER, NOT_OF_CAUSE, WantedDecision, second_person, words};
use crate::shown::Times;
use crate::{
    domain::{
        command::Outcome,
        console::{Permission, Person},
        order::ReviewCause,
    },
    flow::{
        ports::{FormEnd, Hold, Operations, Resolved, SentForm},
        view::{OrderView, ProposalView},
    },
    http::console::{
        Console, PageAnswer, Shared, Visit,
        layout::page,
        params::link,
        refusal::PageRefusal,
        runbook,
        words::{action_field, ago, order_fields, order_link, rupiah, state, state_of, text},
    },
};
use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let (merchant, invoice) = visit.query.order().ok_or(PageRefusal::Unknown(NO_ORDER))?;
    let view = console.operations.order(&merchant, &invoice).await?.ok_or(PageRefusal::Unknown(NO_ORDER))?;
    let Some(cause) = cause(&view) else { return Ok(no_longer(&console, &visit, &view).await) };
    let holds = console.operations.holds(&[view.order.key]).await?;
    let proposal = console.operations.proposal(view.order.key).await?;
    let body = html! {
        @if let Some(proposal) = &proposal { (proposed(proposal, console.times())) }
        (held(&visit, &view, holds.first(), console.times()))
        (question(&console, &visit, &view, cause))
    };
    Ok(page(&console, &visit, StatusCode::OK, &title(&view), body).await)
}

/// The person takes the order on, for the others to see.
pub async fn hold<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let (merchant, invoice) = visit.form.order().ok_or(PageRefusal::Unknown(NO_ORDER))?;
    let view = console.operations.order(&merchant, &invoice).await?.ok_or(PageRefusal::Unknown(NO_ORDER))?;
    let person = visit.person.as_ref().ok_or(PageRefusal::NotKnown)?;
    console.operations.hold(view.order.key, &person.audited()).await?;
    let to = link("/order/decide", &[("merchant", merchant.as_str()), ("invoice", invoice.as_str())]);
    Ok((StatusCode::SEE_OTHER, [("location", to)]).into_response())
}

/// The second step: says what will happen. It changes nothing.
pub async fn confirm<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let asked = WantedDecision::read(&visit)?;
    asked.confirm(&console, &visit, None).await
}

/// The third: does it.
pub async fn decide<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let wanted = WantedDecision::read(&visit)?;
    let revision = visit.form.get("revision").and_then(|text| text.parse().ok());
    let revision = revision.ok_or(PageRefusal::Senseless("The form is not whole: open its page again."))?;
    let form = SentForm { revision, mark: wanted.act.mark.clone() };
    match console.operations.decide(wanted.decision(second_person(&console, &visit)), form).await? {
        FormEnd::Resolved(Resolved::Done(_)) | FormEnd::Repeated { was_decided: true } => {
            Ok(wanted.done("decided"))
        }
        FormEnd::Resolved(Resolved::Proposed(_)) | FormEnd::Repeated { was_decided: false } => {
            Ok(wanted.done("proposed"))
        }
        FormEnd::Resolved(Resolved::Moved) => {
            let news =
                "Something was written to this order since you looked. Nothing was decided yet: look again.";
            wanted.confirm(&console, &visit, Some(news)).await
        }
        FormEnd::Resolved(Resolved::UnknownOrder) => Err(PageRefusal::Unknown(NO_ORDER)),
        FormEnd::Resolved(Resolved::NotInReview(_)) => {
            let view = wanted.order(&console).await?;
            Ok(no_longer(&console, &visit, &view).await)
        }
        FormEnd::Resolved(Resolved::NotOfCause(_)) => Err(NOT_OF_CAUSE),
        FormEnd::Resolved(Resolved::RefundUnresolved) => Err(LOOK_AT_DOKU),
    }
}

fn proposed(proposal: &ProposalView, times: Times) -> Markup {
    html! {
        div.note.warn role="status" {
            p {
                strong { (text(&proposal.proposed_by)) " proposes " (state(&proposal.state, None)) } ": " (text(&proposal.reason)) ". "
                @if proposal.is_verified { "Another decider" } @else { "That name is not verified: two deciders" }
                " must decide the same, " (ago(proposal.until, times)) " at most"
                @if proposal.checked_doku { ", and must have looked at DOKU too" }
                "."
            }
        }
    }
}

fn title(view: &OrderView) -> String {
    format!("What is true about {}?", text(&view.order.invoice_number))
}

fn cause(view: &OrderView) -> Option<ReviewCause> {
    ReviewCause::from_name(view.order.review_cause.as_deref()?)
}

/// Another person, or DOKU, was faster: says what the order is, since when, and who decided.
pub async fn no_longer<O: Operations>(console: &Console<O>, visit: &Visit, view: &OrderView) -> Response {
    let times = console.times();
    let order = &view.order;
    let body = html! {
        div.note.warn role="status" {
            p {
                "Nothing was changed: the order is " (state_of(order)) " since " (ago(order.state_since, times))
                @if let Some(decision) = view.decisions.last() {
                    ", decided by " (text(decision.decided_by.as_deref().unwrap_or("an operator"))) ": " (text(&decision.reason))
                } @else if let Some(evidence) = &order.evidence { ", by " (text(evidence)) }
                "."
            }
            p { a href=(order_link(&order.merchant, &order.invoice_number)) { "What happened to it" } }
        }
    };
    page(console, visit, StatusCode::CONFLICT, "There is nothing to decide", body).await
}

fn question<O: Operations>(
    console: &Console<O>,
    visit: &Visit,
    view: &OrderView,
    cause: ReviewCause,
) -> Markup {
    let times = console.times();
    let order = &view.order;
    html! {
        p.lede {
            (state_of(order)) " since " (ago(order.state_since, times)) ". "
            a href=(order_link(&order.merchant, &order.invoice_number)) { "Everything that happened" }
        }
        (versus(view))
        div.columns {
            section.sheet aria-label="What the runbook says" {
                h2 { (cause.name().replace('_', " ")) }
                @for text in runbook::entry(runbook::REVIEW, cause.name()) { (runbook::paragraph(&text)) }
            }
            section.sheet aria-label="Your decision" {
                h2 { "First ask DOKU" }
                (ask(visit, view))
                h2 { "Then say what is true" }
                (choices(visit, view, cause))
            }
        }
    }
}

/// Who is busy with it, or a button to say so.
fn held(visit: &Visit, view: &OrderView, hold: Option<&Hold>, times: Times) -> Markup {
    let me = visit.person.as_ref().map(Person::audited);
    html! {
        @match hold {
            Some(hold) if Some(&hold.by) == me.as_ref() => {
                p.quiet { "You are on it: others see that " (ago(hold.until, times)) " at most." }
            }
            Some(hold) => {
                div.note.warn role="status" { p { strong { (text(&hold.by)) } " is on it. Ask before you decide." } }
            }
            None if visit.refusal(Permission::Decide).is_none() => {
                form.actions action="/order/hold" method="post" {
                    (order_fields(&view.order.merchant, &view.order.invoice_number))
                    button { "I am on it" }
                    span.quiet.small { "Others see it for 15 minutes. It forbids nothing." }
                }
                br;
            }
            None => {}
        }
    }
}

/// Both amounts, where DOKU named another one, and which report did.
fn versus(view: &OrderView) -> Markup {
    let other =
        view.notifications.iter().rev().find(|n| n.amount.as_ref().is_some_and(|a| *a != view.order.amount));
    let inquired =
        view.attempts.iter().rev().find(|attempt| attempt.kind == "inquiry" && attempt.detail.is_some());
    html! {
        @if let Some(report) = other {
            div.sheet {
                div.versus {
                    div { span.quiet { "Ours" } b { (rupiah(&view.order.amount)) } }
                    span.quiet aria-hidden="true" { "↔" }
                    div { span.quiet { "DOKU's" } b { (rupiah(report.amount.as_deref().unwrap_or_default())) } }
                }
                p.quiet.small { "A notification of " (text(report.status.as_deref().unwrap_or("no status"))) " says so, Request-Id "
                    span.id { (text(&report.request_id)) } "." }
            }
            br;
        } @else if let Some(inquiry) = inquired {
            div.sheet { p { "Ours " strong { (rupiah(&view.order.amount)) } "; inquiry " (inquiry.number) " found: "
                (text(&inquiry.result)) ", " (text(inquiry.detail.as_deref().unwrap_or_default())) } }
            br;
        }
    }
}

fn ask(visit: &Visit, view: &OrderView) -> Markup {
    let why_not = visit.refusal(Permission::Operate);
    html! {
        form.actions action="/order/ask" method="post" {
            (order_fields(&view.order.merchant, &view.order.invoice_number))
            (action_field())
            input type="hidden" name="reason" value="before a decision";
            button disabled[why_not.is_some()] { "Ask DOKU now" }
            @if let Some(why) = &why_not { span.quiet.small { (why) } }
        }
    }
}

/// It may have been made, whatever the order is in review for.
fn has_unresolved_refund(view: &OrderView) -> bool {
    view.order.refund.as_ref().is_some_and(|refund| refund.state == Outcome::Unresolved.name())
}

fn choices(visit: &Visit, view: &OrderView, cause: ReviewCause) -> Markup {
    let why_not = visit.refusal(Permission::Decide);
    let is_off = why_not.is_some();
    html! {
        form.stack action="/order/decide/confirm" method="post" {
            (order_fields(&view.order.merchant, &view.order.invoice_number))
            (action_field())
            div role="radiogroup" aria-label="What is true" {
                @for verdict in cause.verdicts() {
                    @let (title, follows) = words(*verdict);
                    label.choice {
                        input type="radio" name="verdict" value=(verdict.state().name()) required disabled[is_off];
                        div { (title) span { (follows) } }
                    }
                }
            }
            @if has_unresolved_refund(view) {
                label.check {
                    input type="checkbox" name="checked_doku" value="yes" disabled[is_off];
                    "I have looked at DOKU: the refund was not made"
                }
            }
            label.field { "Why, and the ticket: what you saw, and where"
                textarea name="reason" maxlength="500" required disabled[is_off] {}
            }
            div.actions {
                button.main disabled[is_off] { "See what will happen" }
                @if let Some(why) = &why_not { span.quiet.small { (why) } }
            }
        }
    }
}

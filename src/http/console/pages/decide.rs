//! A decision about an order in review, in two steps: what is true, and why; then a page that says what will happen, computed
//! by the code that will do it. What changed meanwhile is shown before anything is done.

use crate::shown::Times;
use crate::{
    domain::{
        console::{Permission, Person},
        event::EventType,
        ids::{InvoiceNumber, MerchantName},
        order::{ReviewCause, Verdict},
    },
    flow::{
        ports::{Act, Decision, FormEnd, Hold, Operations, Resolved, SecondPersonRule, SentForm},
        view::{OrderView, ProposalView},
    },
    http::console::{
        Answer, Console, Shared, Visit,
        layout::page,
        params::link,
        refusal::PageRefusal,
        runbook,
        words::{action_field, ago, order_fields, order_link, rupiah, state, state_of, text},
    },
};
use axum::{Extension, extract::State, http::StatusCode, response::IntoResponse};
use maud::{Markup, html};

const NO_ORDER: &str = "This merchant has no such order.";

/// What a verdict says, in words.
fn words(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Paid => ("The customer paid", "The order becomes paid, and takes a refund."),
        Verdict::Failed => ("No money came", "The order becomes failed."),
        Verdict::Refunded => ("The customer has the money back", "The order becomes refunded."),
    }
}

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> Answer {
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
) -> Answer {
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
) -> Answer {
    let asked = WantedDecision::read(&visit)?;
    asked.confirm(&console, &visit, None).await
}

/// The third: does it.
pub async fn decide<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> Answer {
    let wanted = WantedDecision::read(&visit)?;
    let revision = visit.form.get("revision").and_then(|text| text.parse().ok());
    let revision = revision.ok_or(PageRefusal::Senseless("The form is not whole: open its page again."))?;
    let form = SentForm { revision, mark: wanted.act.mark.clone() };
    match console.operations.decide(wanted.decision(second_person(&console, &visit)), form).await? {
        FormEnd::Resolved(Resolved::Done(_)) | FormEnd::Repeated => {
            let to = order_link(wanted.merchant.as_str(), wanted.invoice.as_str()) + "&done=decided";
            Ok((StatusCode::SEE_OTHER, [("location", to)]).into_response())
        }
        FormEnd::Moved => {
            let news =
                "Something was written to this order since you looked. Nothing was decided yet: look again.";
            wanted.confirm(&console, &visit, Some(news)).await
        }
        FormEnd::Resolved(Resolved::UnknownOrder) => Err(PageRefusal::Unknown(NO_ORDER)),
        FormEnd::Resolved(Resolved::NotInReview(_)) => {
            let view = wanted.order(&console).await?;
            Ok(no_longer(&console, &visit, &view).await)
        }
        FormEnd::Resolved(Resolved::Proposed(_)) => {
            let to = order_link(wanted.merchant.as_str(), wanted.invoice.as_str()) + "&done=proposed";
            Ok((StatusCode::SEE_OTHER, [("location", to)]).into_response())
        }
        FormEnd::Resolved(Resolved::RefundUnresolved) => Err(LOOK_AT_DOKU),
    }
}

const LOOK_AT_DOKU: PageRefusal = PageRefusal::Senseless(
    "It is not known whether DOKU made the refund. As paid, the order takes another one, and the customer could be refunded \
     twice: look at DOKU first, and say so in the form.",
);

/// What the form asks for.
struct WantedDecision {
    merchant: MerchantName,
    invoice: InvoiceNumber,
    verdict: Verdict,
    checked_doku: bool,
    act: Act,
}

impl WantedDecision {
    fn read(visit: &Visit) -> Result<Self, PageRefusal> {
        let (merchant, invoice) = visit.form.order().ok_or(PageRefusal::Unknown(NO_ORDER))?;
        let verdict = visit.form.get("verdict").and_then(Verdict::from_name);
        let verdict = verdict.ok_or(PageRefusal::Senseless("Choose what is true."))?;
        let checked_doku = visit.form.get("checked_doku").is_some();
        Ok(Self { merchant, invoice, verdict, checked_doku, act: visit.act()? })
    }

    fn decision(&self, second: SecondPersonRule) -> Decision {
        Decision {
            merchant: self.merchant.clone(),
            invoice_number: self.invoice.clone(),
            verdict: self.verdict,
            reason: self.act.reason.clone(),
            decided_by: Some(self.act.by.clone()),
            checked_doku: self.checked_doku,
            second,
        }
    }

    async fn order<O: Operations>(&self, console: &Console<O>) -> Result<OrderView, PageRefusal> {
        let found = console.operations.order(&self.merchant, &self.invoice).await?;
        found.ok_or(PageRefusal::Unknown(NO_ORDER))
    }

    async fn confirm<O: Operations>(
        &self,
        console: &Console<O>,
        visit: &Visit,
        news: Option<&str>,
    ) -> Answer {
        // Read first: what is written after it moves the revision, and the form is refused.
        let view = self.order(console).await?;
        let events = match console.operations.foresee(self.decision(second_person(console, visit))).await? {
            Resolved::Done(events) => Some(events),
            Resolved::Proposed(_) => None,
            Resolved::UnknownOrder => return Err(PageRefusal::Unknown(NO_ORDER)),
            Resolved::NotInReview(_) => return Ok(no_longer(console, visit, &view).await),
            Resolved::RefundUnresolved => return Err(LOOK_AT_DOKU),
        };
        let status = if news.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
        let body = self.consequences(console, &view, events.as_deref(), news);
        Ok(page(console, visit, status, "Is this what happened?", body).await)
    }

    fn consequences<O: Operations>(
        &self,
        console: &Console<O>,
        view: &OrderView,
        events: Option<&[EventType]>,
        news: Option<&str>,
    ) -> Markup {
        let times = console.times();
        let (title, _) = words(self.verdict);
        let back = link(
            "/order/decide",
            &[("merchant", self.merchant.as_str()), ("invoice", self.invoice.as_str())],
        );
        html! {
            @if let Some(news) = news { div.note.warn role="status" { p { (news) } } }
            p.lede { @if events.is_some() { "This cannot be undone. Read it once more." } @else { "Two people decide about so much: this is kept as a proposal." } }
            div.sheet {
                dl.facts {
                    dt { "Order" } dd { span.id { (text(self.invoice.as_str())) } " of " (self.merchant.as_str()) ", " strong { (rupiah(&view.order.amount)) } }
                    dt { "Now" } dd { (state_of(&view.order)) " since " (ago(view.order.state_since, times)) }
                    dt { "You say" } dd { strong { (title) } }
                    @match events {
                        Some(events) => {
                            dt { "It becomes" } dd { (state(self.verdict.state().name(), None)) }
                            dt { "Events" } dd { @for event in events { code { (event.routing_key()) } " " } span.quiet { "to every subscriber" } }
                        }
                        None => {
                            dt { "It becomes" } dd { "nothing yet: for 24 hours another decider, whom the proxy or the provider names, may decide the same. \
                                Then it becomes " (state(self.verdict.state().name(), None)) }
                        }
                    }
                    @if self.verdict == Verdict::Paid { dt { "And then" } dd { "The order takes a refund." } }
                    dt { "Why" } dd { (text(&self.act.reason)) }
                    dt { "Kept as" } dd { (text(&self.act.by)) }
                }
                form.actions action="/order/decide" method="post" {
                    (order_fields(self.merchant.as_str(), self.invoice.as_str()))
                    input type="hidden" name="action" value=(self.act.mark.action_id);
                    input type="hidden" name="revision" value=(view.order.revision);
                    input type="hidden" name="verdict" value=(self.verdict.state().name());
                    input type="hidden" name="reason" value=(self.act.reason);
                    @if self.checked_doku { input type="hidden" name="checked_doku" value="yes"; }
                    button.main.risky { @if events.is_some() { "Confirm: it is " } @else { "Propose: it is " } (self.verdict.state().name()) }
                    a href=(back) { "Back" }
                }
            }
        }
    }
}

/// Above the configured amount a second person must decide the same.
fn second_person<O>(console: &Console<O>, visit: &Visit) -> SecondPersonRule {
    let is_verified = visit.person.as_ref().is_some_and(Person::is_verified);
    SecondPersonRule { above: console.setting.config.second_person_above, is_verified }
}

fn proposed(proposal: &ProposalView, times: Times) -> Markup {
    html! {
        div.note.warn role="status" {
            p {
                strong { (text(&proposal.proposed_by)) " proposes " (state(&proposal.state, None)) } ": " (text(&proposal.reason)) ". "
                "Another decider must decide the same, " (ago(proposal.until, times)) " at most"
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
async fn no_longer<O: Operations>(
    console: &Console<O>,
    visit: &Visit,
    view: &OrderView,
) -> axum::response::Response {
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
            @if cause == ReviewCause::RefundUnresolved {
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

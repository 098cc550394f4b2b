//! A decision that a form asks for: the page that says what will happen, computed by the code that will do it.

use super::decide::no_longer;
use crate::{
    domain::{
        console::Person,
        event::EventType,
        ids::{InvoiceNumber, MerchantName},
        order::Verdict,
    },
    flow::{
        ports::{Act, Decision, Operations, Resolved, SecondPersonRule},
        view::OrderView,
    },
    http::console::{
        Console, PageAnswer, Visit,
        layout::page,
        params::link,
        refusal::PageRefusal,
        words::{ago, order_fields, order_link, rupiah, state, state_of, text},
    },
};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};

pub const NO_ORDER: &str = "This merchant has no such order.";
pub const NOT_OF_CAUSE: PageRefusal = PageRefusal::Senseless(
    "The order is in review for another reason now, which does not allow this decision. Open its page again.",
);

pub const LOOK_AT_DOKU: PageRefusal = PageRefusal::Senseless(
    "It is not known whether DOKU made the refund. As paid, the order takes another one, and the customer could be refunded \
     twice: look at DOKU first, and say so in the form.",
);

/// What a verdict says, in words.
pub fn words(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Paid => ("The customer paid", "The order becomes paid, and takes a refund."),
        Verdict::Failed => ("No money came", "The order becomes failed."),
        Verdict::Refunded => ("The customer has the money back", "The order becomes refunded."),
    }
}

/// What the form asks for.
pub struct WantedDecision {
    merchant: MerchantName,
    invoice: InvoiceNumber,
    verdict: Verdict,
    checked_doku: bool,
    pub act: Act,
}

impl WantedDecision {
    pub fn read(visit: &Visit) -> Result<Self, PageRefusal> {
        let (merchant, invoice) = visit.form.order().ok_or(PageRefusal::Unknown(NO_ORDER))?;
        let verdict = visit.form.get("verdict").and_then(Verdict::from_name);
        let verdict = verdict.ok_or(PageRefusal::Senseless("Choose what is true."))?;
        let checked_doku = visit.form.get("checked_doku").is_some();
        Ok(Self { merchant, invoice, verdict, checked_doku, act: visit.act()? })
    }

    pub fn decision(&self, second: SecondPersonRule) -> Decision {
        Decision {
            merchant: self.merchant.clone(),
            invoice_number: self.invoice.clone(),
            verdict: self.verdict,
            reason: self.act.reason.clone(),
            decided_by: Some(self.act.by.clone()),
            checked_doku: self.checked_doku,
            // The form that decides names it.
            seen: None,
            second,
        }
    }

    pub fn done(&self, how: &str) -> Response {
        let to = order_link(self.merchant.as_str(), self.invoice.as_str()) + "&done=" + how;
        (StatusCode::SEE_OTHER, [("location", to)]).into_response()
    }

    pub async fn order<O: Operations>(&self, console: &Console<O>) -> Result<OrderView, PageRefusal> {
        let found = console.operations.order(&self.merchant, &self.invoice).await?;
        found.ok_or(PageRefusal::Unknown(NO_ORDER))
    }

    pub async fn confirm<O: Operations>(
        &self,
        console: &Console<O>,
        visit: &Visit,
        news: Option<&str>,
    ) -> PageAnswer {
        // Read first: evidence that is kept after it raises the revision, and the form is refused.
        let view = self.order(console).await?;
        let events = match console.operations.foresee(self.decision(second_person(console, visit))).await? {
            Resolved::Done(events) => Some(events),
            Resolved::Proposed(_) => None,
            Resolved::UnknownOrder => return Err(PageRefusal::Unknown(NO_ORDER)),
            Resolved::NotInReview(_) => return Ok(no_longer(console, visit, &view).await),
            Resolved::NotOfCause(_) | Resolved::Moved => return Err(NOT_OF_CAUSE),
            Resolved::RefundUnresolved => return Err(LOOK_AT_DOKU),
        };
        let status = if news.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
        let is_verified = visit.person.as_ref().is_some_and(Person::is_verified);
        let body = self.consequences(console, &view, events.as_deref(), is_verified, news);
        Ok(page(console, visit, status, "Is this what happened?", body).await)
    }

    fn consequences<O: Operations>(
        &self,
        console: &Console<O>,
        view: &OrderView,
        events: Option<&[EventType]>,
        is_verified: bool,
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
                            dt { "It becomes" } dd { "nothing yet: for 24 hours "
                                @if is_verified { "another decider, whom the proxy or the provider names, may" }
                                @else { "two deciders, whom the proxy or the provider names, may" }
                                " decide the same. Then it becomes " (state(self.verdict.state().name(), None)) }
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
pub fn second_person<O>(console: &Console<O>, visit: &Visit) -> SecondPersonRule {
    SecondPersonRule {
        above: console.setting.config.second_person_above,
        is_verified: visit.person.as_ref().is_some_and(Person::is_verified),
        subject: visit.person.as_ref().and_then(|person| person.subject.clone()),
    }
}

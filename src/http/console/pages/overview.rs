//! The overview: is money at risk, and what waits for a person. With the database away it shows what was known last.

use crate::{
    domain::Time,
    flow::ports::{Figures, FiguresView, Operations, Waiting},
    http::console::{
        Console, PageAnswer, Shared, Visit,
        layout::{dependency, page},
        pages::about::processes_of,
        params::link,
        words::{ago, rupiah_of, span, text},
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode};
use maud::{Markup, html};
use std::time::Duration;

/// A tile whose oldest waits for longer is late: the limits of the alerts.
pub const LATE: [(&str, Duration); 7] = [
    ("submitting", Duration::from_secs(1_800)),
    ("awaiting_payment", Duration::from_secs(86_400)),
    ("refunding", Duration::from_secs(21_600)),
    ("in_doubt", Duration::from_secs(3_600)),
    ("sends", Duration::from_secs(300)),
    ("outbox", Duration::from_secs(60)),
    ("breaks", Duration::from_secs(259_200)),
];

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let view = console.operations.figures().await;
    let times = console.times();
    let body = html! {
        p.lede { (headline(&view)) }
        @if let Some(fault) = &view.fault { (stale(view.figures.as_ref(), fault, times)) }
        @if let Some((_, figures)) = &view.figures { (tiles(figures)) }
        h2 { "The last hour" }
        (last_hour(&console).await)
        h2 { "Processes" }
        (processes(&console, times).await)
        h2 { "What the service needs" }
        (dependencies(&view))
    };
    Ok(page(&console, &visit, StatusCode::OK, "Is any money at risk?", body).await)
}

/// What became of money lately: each with the event that tells it.
const HAPPENED: [(&str, &str); 5] = [
    ("Accepted", "payment.accepted"),
    ("Declined", "payment.declined"),
    ("Paid", "order.paid"),
    ("Refunded", "order.refunded"),
    ("Refunds declined", "refund.declined"),
];

async fn last_hour<O: Operations>(console: &Console<O>) -> Markup {
    let hour = match console.operations.last_hour().await {
        Ok(hour) => hour,
        Err(error) => {
            return html! { div.note.bad role="status" { p { "Not known now: " (text(&error.to_string())) } } };
        }
    };
    if hour.happened.is_empty() && hour.declines.is_empty() {
        return html! { p.quiet { "No event was reported in the last hour. Each process reports once a minute." } };
    }
    html! {
        ul.tiles {
            @for (name, event) in HAPPENED {
                @let (count, rupiah) = hour.happened.get(event).copied().unwrap_or_default();
                li {
                    a.tile.calm[count == 0] href=(link("/events", &[("type", event), ("since", "1h")])) {
                        span.name { (name) }
                        span.count { (grouped(count)) }
                        span.more { @if count > 0 { (rupiah_of(rupiah)) } }
                    }
                }
            }
        }
        @if !hour.declines.is_empty() {
            p { "Most frequent decline codes: "
                @for (code, count) in &hour.declines {
                    a.id href=(link("/orders", &[("declined", code), ("since", "1h")])) { (text(code)) } " " (count) " "
                }
            }
        }
    }
}

async fn processes<O: Operations>(console: &Console<O>, times: Times) -> Markup {
    match console.operations.processes().await {
        Ok(processes) => processes_of(&processes, times),
        Err(error) => {
            html! { div.note.bad role="status" { p { "Not known now: " (text(&error.to_string())) } } }
        }
    }
}

fn headline(view: &FiguresView) -> String {
    let Some((_, figures)) = &view.figures else { return "Nothing has been counted yet.".to_owned() };
    let mut risks = Vec::new();
    if figures.review.count > 0 {
        let all = figures.review.rupiah.map(rupiah_of).unwrap_or_default();
        let waits = if figures.review.count == 1 { "waits" } else { "wait" };
        risks.push(format!("{} of {all} {waits} for a decision", orders(figures.review.count)));
    }
    if figures.in_doubt.count > 0 {
        risks.push(format!("of {} it is not known what DOKU did", orders(figures.in_doubt.count)));
    }
    if figures.balance.is_some_and(|balance| balance != 0) {
        risks.push("the books of commands do not balance".to_owned());
    }
    if risks.is_empty() {
        "No order waits for a decision, and none is in doubt.".to_owned()
    } else {
        sentence(&risks)
    }
}

fn sentence(parts: &[String]) -> String {
    let text = parts.join("; ");
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + chars.as_str() + ".")
        .unwrap_or_default()
}

fn orders(count: u64) -> String {
    if count == 1 { "1 order".to_owned() } else { format!("{count} orders") }
}

fn stale(known: Option<&(Time, Figures)>, fault: &str, times: Times) -> Markup {
    html! {
        div.note.bad role="status" {
            p {
                "The figures cannot be counted now: " (fault) ". "
                @if let Some((at, _)) = known { "These are from " (ago(*at, times)) "." }
            }
        }
    }
}

/// How a tile looks.
enum TileLook {
    Calm,
    Usual,
    /// A person should look.
    Person,
    Late,
}

struct Tile {
    name: &'static str,
    count: String,
    more: String,
    href: Option<&'static str>,
    look: TileLook,
}

fn tiles(figures: &Figures) -> Markup {
    let tiles = [
        Tile::for_a_person("In review", figures.review, Some("/review")),
        Tile::waiting(
            "In doubt",
            figures.in_doubt,
            "in_doubt",
            Some("/orders?state=submitting&state=refunding"),
        ),
        Tile::waiting("Submitting", figures.submitting, "submitting", Some("/orders?state=submitting")),
        Tile::waiting(
            "Awaiting payment",
            figures.awaiting_payment,
            "awaiting_payment",
            Some("/orders?state=awaiting_payment"),
        ),
        Tile::waiting("Refunding", figures.refunding, "refunding", Some("/orders?state=refunding")),
        Tile::waiting("Sends due", figures.sends, "sends", Some("/sends")),
        Tile::letters("Stranded", Some(figures.stranded), Some("/orders?state=submitting&state=refunding")),
        Tile::letters("Dead letters", figures.dead, Some("/dead")),
        Tile::letters("Unrouted", figures.unrouted, Some("/dead")),
        Tile::waiting("Events not published", figures.outbox, "outbox", Some("/events")),
        Tile::for_a_person("Settlement breaks", figures.breaks, Some("/settlement")),
        Tile::balance(figures.balance),
    ];
    html! {
        ul.tiles { @for tile in &tiles { li { (tile.show()) } } }
    }
}

impl Tile {
    fn waiting(name: &'static str, waiting: Waiting, limit: &str, href: Option<&'static str>) -> Self {
        let limit = LATE.iter().find(|(named, _)| *named == limit).map(|(_, limit)| *limit);
        let is_late = waiting.oldest.zip(limit).is_some_and(|(oldest, limit)| oldest > limit);
        let look = match waiting.count {
            0 => TileLook::Calm,
            _ if is_late => TileLook::Late,
            _ => TileLook::Usual,
        };
        Self { name, count: grouped(waiting.count), more: more(waiting), href, look }
    }

    fn for_a_person(name: &'static str, waiting: Waiting, href: Option<&'static str>) -> Self {
        let look = if waiting.count == 0 { TileLook::Calm } else { TileLook::Person };
        Self { name, count: grouped(waiting.count), more: more(waiting), href, look }
    }

    /// There should be none.
    fn letters(name: &'static str, count: Option<u64>, href: Option<&'static str>) -> Self {
        let look = if count.unwrap_or_default() == 0 { TileLook::Calm } else { TileLook::Person };
        let (count, more) = count.map_or(("?".to_owned(), "not known yet"), |count| (grouped(count), ""));
        Self { name, count, more: more.to_owned(), href, look }
    }

    fn balance(balance: Option<i64>) -> Self {
        let (count, more, look) = match balance {
            None => ("?".to_owned(), "not known yet", TileLook::Calm),
            Some(0) => ("0".to_owned(), "commands add up", TileLook::Calm),
            Some(balance) => (balance.to_string(), "commands do not add up", TileLook::Late),
        };
        Self { name: "Balance", count, more: more.to_owned(), href: None, look }
    }

    fn show(&self) -> Markup {
        let (class, flag) = match self.look {
            TileLook::Calm => ("tile calm", None),
            TileLook::Usual => ("tile", None),
            TileLook::Person => ("tile look", Some("▲ look")),
            TileLook::Late => ("tile late", Some("! late")),
        };
        let inside = html! {
            span.name { (self.name) @if let Some(flag) = flag { span.flag { (flag) } } }
            span.count { (self.count) }
            span.more { (self.more) }
        };
        match self.href {
            Some(href) => html! { a class=(class) href=(href) { (inside) } },
            None => html! { div class=(class) { (inside) } },
        }
    }
}

fn more(waiting: Waiting) -> String {
    let rupiah = waiting.rupiah.filter(|_| waiting.count > 0).map(rupiah_of);
    let oldest = waiting.oldest.map(|oldest| format!("oldest {}", span(oldest)));
    rupiah.into_iter().chain(oldest).collect::<Vec<_>>().join(", ")
}

fn grouped(count: u64) -> String {
    rupiah_of(count).trim_start_matches("Rp").to_owned()
}

fn dependencies(view: &FiguresView) -> Markup {
    html! {
        div.table {
            table.stacks {
                thead { tr { th scope="col" { "What" } th scope="col" { "State" } th scope="col" { "What is known" } } }
                tbody {
                    @for (name, is_ok, detail) in &view.dependencies {
                        tr {
                            td data-label="What" { (dependency(name)) }
                            td data-label="State" {
                                @if *is_ok { span.state.good { i aria-hidden="true" { "●" } "up" } }
                                @else { span.state.bad { i aria-hidden="true" { "✕" } "away" } }
                            }
                            td data-label="Known" { (detail) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_is_late_past_the_limit_of_its_alert() {
        let waiting =
            |seconds| Waiting { count: 1, rupiah: None, oldest: Some(Duration::from_secs(seconds)) };
        let is_late = |seconds| {
            matches!(Tile::waiting("Submitting", waiting(seconds), "submitting", None).look, TileLook::Late)
        };
        assert_eq!((is_late(1_800), is_late(1_801)), (false, true));
    }

    #[test]
    fn the_headline_names_what_is_at_risk() {
        let mut figures = Figures::default();
        let view = |figures: &Figures| FiguresView {
            figures: Some((Time::default(), figures.clone())),
            ..FiguresView::default()
        };
        assert_eq!(headline(&view(&figures)), "No order waits for a decision, and none is in doubt.");
        figures.review = Waiting { count: 2, rupiah: Some(50_000), oldest: None };
        figures.in_doubt = Waiting { count: 1, ..Waiting::default() };
        figures.balance = Some(-1);
        assert_eq!(
            headline(&view(&figures)),
            "2 orders of Rp50.000 wait for a decision; of 1 order it is not known what DOKU did; the books of commands \
             do not balance."
        );
    }
}

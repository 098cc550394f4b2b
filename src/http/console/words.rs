//! How states, money and times look on every page: a state by a word and a shape, money at the right, a time as long ago
//! with the moment behind it.

use crate::{
    domain::{Time, money::group_digits},
    flow::view::OrderSummary,
    shown::{Times, clean},
};
use maud::{Markup, html};
use std::time::Duration;
use uuid::Uuid;

/// Text that others wrote, without what drives or turns it. maud escapes the rest.
pub fn text(others: &str) -> String {
    clean(others)
}

/// `3 min ago`, with the moment on hover.
pub fn ago(at: Time, times: Times) -> Markup {
    html! { time datetime=(crate::shown::rfc3339(at)) title=(times.full(at)) { (times.away(at)) } }
}

/// The moment itself, with how long ago on hover.
pub fn moment(at: Time, times: Times) -> Markup {
    html! { time datetime=(crate::shown::rfc3339(at)) title=(times.away(at)) { (times.short_time(at)) } }
}

pub fn rupiah(digits: &str) -> String {
    group_digits(&clean(digits))
}

pub fn rupiah_of(amount: u64) -> String {
    group_digits(&amount.to_string())
}

/// In the largest unit of which there are two or more.
pub fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// The class and the shape of a state.
fn look(state: &str) -> (&'static str, &'static str) {
    match state {
        "paid" => ("good", "●"),
        "refunded" => ("good", "↩"),
        "failed" => ("bad", "✕"),
        "review" => ("warn", "▲"),
        "submitting" => ("calm", "◔"),
        "awaiting_payment" => ("calm", "◑"),
        "refunding" => ("calm", "◒"),
        "expired" => ("calm", "⊘"),
        _ => ("calm", "○"),
    }
}

/// A state by its word and its shape.
pub fn state(name: &str, cause: Option<&str>) -> Markup {
    let (class, shape) = look(name);
    html! {
        span {
            span class={ "state " (class) } { i aria-hidden="true" { (shape) } (text(name).replace('_', " ")) }
            @if let Some(cause) = cause { " " span.quiet { (text(cause).replace('_', " ")) } }
        }
    }
}

pub fn state_of(order: &OrderSummary) -> Markup {
    state(&order.state, order.review_cause.as_deref())
}

/// The id of a form: sent twice, it acts once.
pub fn action_field() -> Markup {
    html! { input type="hidden" name="action" value=(Uuid::new_v4()); }
}

/// Which order a form is about.
pub fn order_fields(merchant: &str, invoice: &str) -> Markup {
    html! {
        input type="hidden" name="merchant" value=(merchant);
        input type="hidden" name="invoice" value=(invoice);
    }
}

/// The page of an order.
pub fn order_link(merchant: &str, invoice: &str) -> String {
    super::params::link("/order", &[("merchant", merchant), ("invoice", invoice)])
}

/// `Ratna S.` as `R•••`: enough to recognise, not to read.
pub fn masked(text: &str) -> String {
    let first = text.chars().next().map(String::from).unwrap_or_default();
    if text.is_empty() { String::new() } else { clean(&first) + "•••" }
}

/// The last two digits.
pub fn masked_phone(phone: &str) -> String {
    let count = phone.chars().count();
    if count < 6 {
        "•••".to_owned()
    } else {
        "•••".to_owned() + &phone.chars().skip(count - 2).collect::<String>()
    }
}

/// The domain stays.
pub fn masked_email(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((name, domain)) => format!("{}@{}", masked(name), clean(domain)),
        None => masked(email),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_cannot_be_read() {
        assert_eq!((masked("Ratna S."), masked("")), ("R•••".to_owned(), String::new()));
        assert_eq!(
            (masked_phone("6281234567890"), masked_phone("12345")),
            ("•••90".to_owned(), "•••".to_owned())
        );
        assert_eq!(masked_email("ratna@shop.test"), "r•••@shop.test");
    }

    #[test]
    fn every_state_has_a_shape_of_its_own() {
        let states = crate::domain::order::OrderState::ALL.map(|state| state.name());
        let names: std::collections::BTreeSet<_> = states.into_iter().collect();
        let shapes: std::collections::BTreeSet<_> = names.iter().map(|name| look(name).1).collect();
        assert_eq!(names.len(), shapes.len());
    }
}

//! The states an order can have, the moves that the code allows between them, and the way that one order took.

use crate::domain::{
    order::OrderState,
    reconcile::{Evidence, Step, reconcile},
};
use maud::{Markup, html};
use std::{collections::BTreeSet, sync::LazyLock};

const WIDTH: i32 = 124;
const HEIGHT: i32 = 34;
/// How far a line that passes other states bends.
const BEND: i32 = 46;

/// Where each state stands: its middle.
const PLACES: [(&str, i32, i32); 9] = [
    ("submitting", 64, 130),
    ("awaiting_payment", 220, 130),
    ("paid", 376, 130),
    ("refunding", 532, 130),
    ("refunded", 688, 130),
    ("abandoned", 64, 34),
    ("failed", 220, 34),
    ("expired", 376, 34),
    ("review", 376, 226),
];

/// Every move that evidence makes, and the claim of a refund.
static MOVES: LazyLock<BTreeSet<(&str, &str)>> = LazyLock::new(|| {
    let mut moves = BTreeSet::from([("paid", "refunding")]);
    for state in OrderState::ALL {
        for evidence in Evidence::ALL {
            if let Step::Move(to, _) = reconcile(state, evidence)
                && to.name() != state.name()
            {
                moves.insert((state.name(), to.name()));
            }
        }
    }
    moves
});

/// The diagram with the way that was taken: state after state.
pub fn diagram(way: &[&str]) -> Markup {
    let taken: BTreeSet<(&str, &str)> = way.windows(2).map(|step| (step[0], step[1])).collect();
    let all: Vec<_> = MOVES.iter().copied().filter(|step| !taken.contains(step)).collect();
    html! {
        svg.diagram viewBox="0 0 752 260" role="img" aria-label={ "The way it took: " (way.join(", ").replace('_', " ")) } {
            @for (from, to) in &all { (line(from, to, "move")) }
            @for (from, to) in &taken { (line(from, to, "move taken")) }
            @for (name, x, y) in PLACES {
                @let class = if way.last() == Some(&name) { "node now" } else if way.contains(&name) { "node been" } else { "node" };
                g class=(class) {
                    rect x=(x - WIDTH / 2) y=(y - HEIGHT / 2) width=(WIDTH) height=(HEIGHT) rx="8" {}
                    text x=(x) y=(y + 5) text-anchor="middle" { (name.replace('_', " ")) }
                }
            }
        }
    }
}

fn line(from: &str, to: &str, class: &str) -> Markup {
    let place = |name: &str| PLACES.iter().find(|(known, ..)| *known == name).map(|(_, x, y)| (*x, *y));
    let Some(((x1, y1), (x2, y2))) = place(from).zip(place(to)) else { return html! {} };
    let passes = y1 == y2 && (x1 - x2).abs() > 156;
    let (middle, bend) = ((x1 + x2) / 2, if passes { BEND } else { 0 });
    let along = format!("M{x1} {y1}Q{middle} {} {x2} {y2}", (y1 + y2) / 2 + bend);
    html! { path class=(class) d=(along) {} }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_place_and_every_move_its_line() {
        let names: BTreeSet<_> = OrderState::ALL.map(OrderState::name).into_iter().collect();
        assert_eq!(PLACES.map(|(name, ..)| name).into_iter().collect::<BTreeSet<_>>(), names);
        let shown = diagram(&["submitting", "awaiting_payment", "paid"]).into_string();
        assert_eq!(shown.matches("<path").count(), MOVES.len());
        assert_eq!(shown.matches("move taken").count(), 2);
        assert!(MOVES.contains(&("submitting", "awaiting_payment")) && !MOVES.contains(&("paid", "failed")));
        assert!(shown.contains("The way it took: submitting, awaiting payment, paid"), "{shown}");
    }

    /// Imported, or of a version that knew another state.
    #[test]
    fn a_state_that_is_not_known_has_no_line() {
        assert!(!diagram(&["submitting", "lost"]).into_string().contains("taken"));
    }
}

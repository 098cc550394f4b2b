//! Orders for people: a row for each.

use super::{
    print::clean,
    table::{ColumnFit, Room, TextTable},
    timeline::{rupiah, state},
    times::Times,
};
use crate::flow::view::OrderSummary;

/// A table of orders.
pub fn list(orders: &[OrderSummary], times: Times, room: Room) -> String {
    if orders.is_empty() {
        return "no orders".to_owned();
    }
    let is_one = orders.iter().all(|order| order.merchant == orders[0].merchant);
    let created = format!("created ({})", times.zone());
    let mut table = TextTable::new([
        ("invoice", ColumnFit::Whole),
        ("state", ColumnFit::Whole),
        ("since", ColumnFit::Spare(0)),
        ("amount", ColumnFit::Right),
        ("merchant", if is_one { ColumnFit::Spare(3) } else { ColumnFit::Whole }),
        (created.as_str(), ColumnFit::Spare(1)),
        ("waits for", ColumnFit::Spare(2)),
        ("status", ColumnFit::Spare(4)),
        ("command", ColumnFit::Spare(5)),
    ]);
    for order in orders {
        table.row([
            clean(&order.invoice_number),
            state(order),
            times.age(order.state_since),
            rupiah(&order.amount),
            clean(&order.merchant),
            times.short_time(order.created_at),
            waits_for(order, times),
            order.doku_status.as_deref().map(clean).unwrap_or_default(),
            order.command.as_ref().map(|command| clean(&command.id)).unwrap_or_default(),
        ]);
    }
    table.print(room)
}

fn waits_for(order: &OrderSummary, times: Times) -> String {
    match (&order.due, &order.blocked) {
        (Some(due), Some(blocked)) => format!("{}, blocked by {}", due.kind, clean(&blocked.by)),
        (Some(due), None) => format!("{} {}", due.kind, times.away(due.at)),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::times,
        flow::view::{BlockedView, DueView, sample},
    };

    fn words(text: &str) -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn an_order_is_a_row_with_its_ages() {
        let mut waiting = sample::order().order;
        waiting.due = Some(DueView { kind: "send".to_owned(), at: sample::at(65) });
        let mut blocked = waiting.clone();
        blocked.blocked = Some(BlockedView { by: "pause".to_owned(), since: sample::at(0), detail: None });
        let text = list(&[waiting, blocked], times::sample::times(), Room::Any);
        let expected = [
            "invoice state since amount merchant created (WIB) waits for status command",
            "INV-1 paid 50 s Rp50.000 default 2026-01-01 07:00:00 send in 5 s SUCCESS c-1",
            "INV-1 paid 50 s Rp50.000 default 2026-01-01 07:00:00 send, blocked by pause SUCCESS c-1",
        ];
        assert_eq!(words(&text), expected);
        assert_eq!(list(&[], times::sample::times(), Room::Any), "no orders");
    }

    #[test]
    fn the_longest_common_order_fits_eighty_columns() {
        let mut order = sample::order().order;
        order.invoice_number = format!("INV-{}", "0".repeat(32));
        (order.state, order.review_cause) = ("review".to_owned(), Some("payment_unresolved".to_owned()));
        let text = list(&[order.clone()], times::sample::times(), Room::Columns(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(
            text.contains(&order.invoice_number) && text.contains("review: payment_unresolved"),
            "{text}"
        );
        assert!(text.contains("not shown: "), "{text}");
    }

    #[test]
    fn two_merchants_are_told_apart() {
        let mut other = sample::order().order;
        (other.merchant, other.invoice_number) = ("shop".to_owned(), "I".repeat(40));
        let text = list(&[sample::order().order, other], times::sample::times(), Room::Columns(80));
        assert!(text.contains("shop") && text.contains("default"), "{text}");
    }
}

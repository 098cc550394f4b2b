//! Orders as CSV (RFC 4180), for a spreadsheet or a ledger: amounts as whole rupiah in digits, times by
//! RFC 3339. Never: a text of others that a spreadsheet would take for a formula.

use super::timeline;
use crate::flow::view::OrderSummary;

const HEADER: [&str; 14] = [
    "merchant",
    "invoice_number",
    "amount",
    "state",
    "review_cause",
    "created_at",
    "state_since",
    "doku_status",
    "evidence",
    "request_id",
    "command_id",
    "command_source",
    "refund_state",
    "refund_request_id",
];

/// A header line and a line for each order, without the end of the last one.
pub fn orders(orders: &[OrderSummary]) -> String {
    let header = HEADER.join(",");
    std::iter::once(header).chain(orders.iter().map(row)).collect::<Vec<_>>().join("\r\n") + "\r"
}

fn row(order: &OrderSummary) -> String {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let refund = order.refund.as_ref();
    let fields: [String; HEADER.len()] = [
        order.merchant.clone(),
        order.invoice_number.clone(),
        order.amount.clone(),
        order.state.clone(),
        or_empty(&order.review_cause),
        timeline::time(order.created_at),
        timeline::time(order.state_since),
        or_empty(&order.doku_status),
        or_empty(&order.evidence),
        order.request_id.clone(),
        order.command.id.clone(),
        order.command.source.clone(),
        refund.map(|refund| refund.state.clone()).unwrap_or_default(),
        refund.map(|refund| refund.request_id.clone()).unwrap_or_default(),
    ];
    fields.map(|text| field(&text)).join(",")
}

/// A spreadsheet runs what begins with one of these as a formula; behind an apostrophe it is text.
fn field(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::view::sample;

    #[test]
    fn an_order_is_a_line_under_the_header() {
        let mut second = sample::order().order;
        second.refund = Some(sample::refund());
        second.review_cause = Some("check_gave_up".to_owned());
        let expected = [
            "merchant,invoice_number,amount,state,review_cause,created_at,state_since,doku_status,evidence,\
             request_id,command_id,command_source,refund_state,refund_request_id",
            "default,INV-1,50000,paid,,2026-01-01T00:00:00.000Z,2026-01-01T00:00:10.000Z,SUCCESS,notification,\
             INV-1,c-1,/shop,,",
            "default,INV-1,50000,paid,check_gave_up,2026-01-01T00:00:00.000Z,2026-01-01T00:00:10.000Z,SUCCESS,\
             notification,INV-1,c-1,/shop,open,r\r",
        ];
        assert_eq!(orders(&[sample::order().order, second]), expected.join("\r\n"));
        assert_eq!(orders(&[]).lines().count(), 1);
    }

    #[test]
    fn what_others_wrote_is_neither_structure_nor_formula() {
        for (text, written) in [
            ("INV-1", "INV-1"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
        ] {
            assert_eq!(field(text), written);
        }
    }
}

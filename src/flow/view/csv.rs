//! Orders as CSV (RFC 4180), for a spreadsheet or a ledger: amounts as whole rupiah in digits, times by
//! RFC 3339. Never: a text of others that a spreadsheet would take for a formula.

use super::{ActionView, OrderSummary, settlement::BreakView};
use crate::domain::Time;
use chrono::SecondsFormat;

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
    lines(HEADER, orders.iter().map(row))
}

/// What operators did: a header line and a line for each action, without the end of the last one.
pub fn actions(actions: &[ActionView]) -> String {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let row = |action: &ActionView| {
        [
            rfc3339(action.at),
            action.action.clone(),
            action.subject.clone(),
            or_empty(&action.merchant),
            or_empty(&action.done_by),
            or_empty(&action.reason),
            or_empty(&action.detail),
            or_empty(&action.done_from),
        ]
    };
    let header = ["at", "action", "subject", "merchant", "done_by", "reason", "detail", "done_from"];
    lines(header, actions.iter().map(row))
}

/// For finance: a line for each break, amounts in digits.
pub fn breaks(breaks: &[BreakView]) -> String {
    const BREAK_HEADER: [&str; 13] = [
        "break",
        "merchant",
        "cause",
        "owner",
        "invoice_number",
        "batch",
        "at_stake",
        "found",
        "first_seen_at",
        "closed_at",
        "closed_by",
        "closed_by_person",
        "reason",
    ];
    let row = |found: &BreakView| {
        let (person, reason) = found.closed_by_person().unwrap_or_default();
        [
            found.number.to_string(),
            found.merchant.clone(),
            found.cause.clone(),
            found.owner.clone(),
            found.invoice_number.clone().unwrap_or_default(),
            found.batch.clone().unwrap_or_default(),
            found.at_stake.clone(),
            found.found.clone(),
            rfc3339(found.first_seen_at),
            found.closed_at.map(rfc3339).unwrap_or_default(),
            found.closed_by.clone().unwrap_or_default(),
            person.to_owned(),
            reason.to_owned(),
        ]
    };
    lines(BREAK_HEADER, breaks.iter().map(row))
}

fn rfc3339(at: Time) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Every field is quoted, and none is a formula. The last line has no end.
pub fn lines<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |fields: &[String]| fields.iter().map(|text| field(text)).collect::<Vec<_>>().join(",");
    let header = line(&header.map(str::to_owned));
    let rows = rows.into_iter().map(|row| line(&row));
    std::iter::once(header).chain(rows).collect::<Vec<_>>().join("\r\n") + "\r"
}

fn row(order: &OrderSummary) -> [String; HEADER.len()] {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let (command, refund) = (order.command.as_ref(), order.refund.as_ref());
    [
        order.merchant.clone(),
        order.invoice_number.clone(),
        order.amount.clone(),
        order.state.clone(),
        or_empty(&order.review_cause),
        rfc3339(order.created_at),
        rfc3339(order.state_since),
        or_empty(&order.doku_status),
        or_empty(&order.evidence),
        or_empty(&order.request_id),
        command.map(|command| command.id.clone()).unwrap_or_default(),
        command.map(|command| command.source.clone()).unwrap_or_default(),
        refund.map(|refund| refund.state.clone()).unwrap_or_default(),
        refund.map(|refund| refund.request_id.clone()).unwrap_or_default(),
    ]
}

/// A spreadsheet runs what begins with one of these as a formula; behind an apostrophe it is text. One with
/// another separator begins a field wherever that stands.
fn field(text: &str) -> String {
    let mut field = String::from("\"");
    let mut begins = true;
    for c in text.chars() {
        if begins && matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r') {
            field.push('\'');
        }
        if c == '"' {
            field.push('"');
        }
        field.push(c);
        begins = matches!(c, ';' | '\t' | '\r' | '\n') || (begins && c == ' ');
    }
    field.push('"');
    field
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
        let quoted = |line: &str| format!("\"{}\"", line.replace(',', "\",\""));
        let expected = [
            "merchant,invoice_number,amount,state,review_cause,created_at,state_since,doku_status,evidence,\
             request_id,command_id,command_source,refund_state,refund_request_id",
            "default,INV-1,50000,paid,,2026-01-01T00:00:00.000Z,2026-01-01T00:00:10.000Z,SUCCESS,notification,\
             INV-1,c-1,/shop,,",
            "default,INV-1,50000,paid,check_gave_up,2026-01-01T00:00:00.000Z,2026-01-01T00:00:10.000Z,SUCCESS,\
             notification,INV-1,c-1,/shop,open,r",
        ];
        let expected = expected.map(quoted).join("\r\n") + "\r";
        assert_eq!(orders(&[sample::order().order, second]), expected);
        assert_eq!(orders(&[]).lines().count(), 1);
    }

    #[test]
    fn a_break_has_who_closed_it_and_why() {
        let entry = |reason: Option<&str>| crate::flow::view::settlement::HistoryEntry {
            at: sample::at(0),
            what: "closed".to_owned(),
            at_stake: 1,
            found: "f".to_owned(),
            done_by: reason.map(|_| "sari".to_owned()),
            reason: reason.map(str::to_owned),
        };
        let found = |closed_by: &str| BreakView {
            number: 7,
            merchant: "default".to_owned(),
            cause: "fee_mismatch".to_owned(),
            owner: "finance".to_owned(),
            subject: "INV-1".to_owned(),
            invoice_number: Some("INV-1".to_owned()),
            batch: None,
            at_stake: "2".to_owned(),
            found: "f".to_owned(),
            first_seen_at: sample::at(0),
            closed_at: Some(sample::at(1)),
            closed_by: Some(closed_by.to_owned()),
            history: vec![entry(None), entry(Some("a new tariff"))],
        };
        let text = breaks(&[found("person"), found("file")]);
        let ends: Vec<&str> = text.lines().map(|line| line.trim_end().rsplit(',').nth(2).unwrap()).collect();
        assert_eq!(ends, ["\"closed_by\"", "\"person\"", "\"file\""]);
        assert!(
            text.lines().nth(1).unwrap().trim_end().ends_with("\"person\",\"sari\",\"a new tariff\""),
            "{text}"
        );
        assert!(text.lines().nth(2).unwrap().trim_end().ends_with("\"file\",\"\",\"\""), "{text}");
    }

    #[test]
    fn what_others_wrote_is_neither_structure_nor_formula() {
        for (text, written) in [
            ("INV-1", "INV-1"),
            ("a,b", "a,b"),
            ("say \"x\"", "say \"\"x\"\""),
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"\"http://x\"\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            (" @SUM(A1)", " '@SUM(A1)"),
            ("INV;=1+1", "INV;'=1+1"),
            ("INV\t=1+1", "INV\t'=1+1"),
            ("two\n=1+1", "two\n'=1+1"),
            ("\t=1", "'\t'=1"),
        ] {
            assert_eq!(field(text), format!("\"{written}\""));
        }
    }
}

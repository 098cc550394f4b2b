//! Orders as CSV (RFC 4180), for a spreadsheet or a ledger: amounts as whole rupiah in digits, times by
//! RFC 3339. Never: a text of others that a spreadsheet would take for a formula.

use super::{ActionView, OrderSummary, settlement::BreakView};
use crate::domain::Time;
use chrono::SecondsFormat;

/// What stands in the header, and what stands under it.
type CsvColumn<T> = (&'static str, fn(&T) -> String);

const ORDER: [CsvColumn<OrderSummary>; 14] = [
    ("merchant", |order| order.merchant.clone()),
    ("invoice_number", |order| order.invoice_number.clone()),
    ("amount", |order| order.amount.clone()),
    ("state", |order| order.state.clone()),
    ("review_cause", |order| or_empty(&order.review_cause)),
    ("created_at", |order| rfc3339(order.created_at)),
    ("state_since", |order| rfc3339(order.state_since)),
    ("doku_status", |order| or_empty(&order.doku_status)),
    ("evidence", |order| or_empty(&order.evidence)),
    ("request_id", |order| or_empty(&order.request_id)),
    ("command_id", |order| order.command.as_ref().map_or_else(String::new, |c| c.id.clone())),
    ("command_source", |order| order.command.as_ref().map_or_else(String::new, |c| c.source.clone())),
    ("refund_state", |order| order.refund.as_ref().map_or_else(String::new, |r| r.state.clone())),
    ("refund_request_id", |order| order.refund.as_ref().map_or_else(String::new, |r| r.request_id.clone())),
];

const ACTION: [CsvColumn<ActionView>; 8] = [
    ("at", |action| rfc3339(action.at)),
    ("action", |action| action.action.clone()),
    ("subject", |action| action.subject.clone()),
    ("merchant", |action| or_empty(&action.merchant)),
    ("done_by", |action| or_empty(&action.done_by)),
    ("reason", |action| or_empty(&action.reason)),
    ("detail", |action| or_empty(&action.detail)),
    ("done_from", |action| or_empty(&action.done_from)),
];

const BREAK: [CsvColumn<BreakView>; 13] = [
    ("break", |found| found.number.to_string()),
    ("merchant", |found| found.merchant.clone()),
    ("cause", |found| found.cause.clone()),
    ("owner", |found| found.owner.clone()),
    ("invoice_number", |found| or_empty(&found.invoice_number)),
    ("batch", |found| or_empty(&found.batch)),
    ("at_stake", |found| found.at_stake.clone()),
    ("found", |found| found.found.clone()),
    ("first_seen_at", |found| rfc3339(found.first_seen_at)),
    ("closed_at", |found| found.closed_at.map_or_else(String::new, rfc3339)),
    ("closed_by", |found| or_empty(&found.closed_by)),
    ("closed_by_person", |found| found.closed_by_person().unwrap_or_default().0.to_owned()),
    ("reason", |found| found.closed_by_person().unwrap_or_default().1.to_owned()),
];

/// A header line and a line for each order, without the end of the last one.
pub fn orders(orders: &[OrderSummary]) -> String {
    lines(&ORDER, orders)
}

/// What operators did: a header line and a line for each action, without the end of the last one.
pub fn actions(actions: &[ActionView]) -> String {
    lines(&ACTION, actions)
}

/// For finance: a line for each break, amounts in digits.
pub fn breaks(breaks: &[BreakView]) -> String {
    lines(&BREAK, breaks)
}

fn or_empty(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}

fn rfc3339(at: Time) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Every field is quoted, and none is a formula. The last line has no end.
#[expect(clippy::expect_used, reason = "memory takes every record, and text stays text")]
fn lines<T>(columns: &[CsvColumn<T>], rows: &[T]) -> String {
    let mut writer = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::Always)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(columns.iter().map(|(name, _)| name)).expect("a header");
    for row in rows {
        let fields = columns.iter().map(|(_, field)| without_formulas(&field(row)));
        writer.write_record(fields).expect("a record");
    }
    let mut text = String::from_utf8(writer.into_inner().expect("memory")).expect("text");
    text.pop();
    text
}

/// A spreadsheet runs what begins with one of these as a formula; behind an apostrophe it is text. One with
/// another separator begins a field wherever that stands.
fn without_formulas(text: &str) -> String {
    let mut field = String::new();
    let mut begins = true;
    for c in text.chars() {
        if begins && matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r') {
            field.push('\'');
        }
        field.push(c);
        begins = matches!(c, ';' | '\t' | '\r' | '\n') || (begins && c == ' ');
    }
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
            let column: CsvColumn<&str> = ("text", |text| (*text).to_owned());
            assert_eq!(lines(&[column], &[text]), format!("\"text\"\r\n\"{written}\"\r"));
        }
    }
}

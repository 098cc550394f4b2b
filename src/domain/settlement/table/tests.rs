//! Lines of files, as they become rows.

use super::*;

/// The form that DOKU sends, with invented values.
const INVENTED: &str = include_str!("../../../../tests/vectors/settlement.csv");

fn came_on() -> NaiveDate {
    "2026-01-07".parse().unwrap()
}

/// Cells of a line without quotes.
fn cells(line: &str) -> Vec<Cell> {
    line.split(',').map(|text| Cell::Text(text.to_owned())).collect()
}

/// Takes a text line by line, as the reader of files does.
fn take<'p>(profile: &'p Profile, text: &str) -> (Table<'p>, Result<Vec<TableLine>, TableError>) {
    let mut table = Table::new(profile, came_on());
    let mut gap = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.is_empty() {
            gap = true;
            continue;
        }
        match table.take(at as u64 + 1, &cells(line), std::mem::take(&mut gap)) {
            Ok(line) => lines.push(line),
            Err(error) => return (table, Err(error)),
        }
    }
    (table, Ok(lines))
}

#[test]
fn the_invented_file_is_read_without_a_profile_of_ones_own() {
    let doku = Profile::doku();
    let (table, lines) = take(&doku, INVENTED);
    let ours: Vec<SettlementRow> = lines
        .unwrap()
        .into_iter()
        .filter_map(|line| if let TableLine::Ours(row) = line { Some(row) } else { None })
        .collect();
    let invoices: Vec<&str> = ours.iter().map(|row| row.invoice_number.as_str()).collect();
    assert_eq!(invoices, ["INV-2026-000123", "INV-2026-000124"]);
    assert_eq!((ours[1].gross, ours[1].fee, ours[1].net), (120_000, 1_500, 118_500));
    assert_eq!(ours[0].paid_out_on.to_string(), "2026-01-06");
    assert_eq!(ours[0].batch, "B-BSN-0000-0000000000000-SBS-0000-20260106120000000-00000000000000000");
    assert_eq!(table.stated.net(), Some(666_445));
    assert_eq!(table.stated.mismatch(&table.sums), None);
    assert_eq!(table.sums.rows, 3);
}

const HEADER: &str =
    "INVOICE NUMBER,PAYMENT CHANNEL,TRANSACTION DATE,AMOUNT,FEE,PAY TO MERCHANT,PAY OUT DATE,TYPE";

/// What one row under the usual header becomes.
fn one(row: &str) -> TableLine {
    let doku = Profile::doku();
    let (_, lines) = take(&doku, &format!("{HEADER}\n{row}\n"));
    lines.unwrap().pop().unwrap()
}

#[test]
fn a_row_that_cannot_be_read_says_which_column_and_why() {
    for (row, column) in [
        ("A B,Jenius,02-01-2026,1,0,1,06-01-2026,Purchase", "invoice"),
        (",Jenius,02-01-2026,1,0,1,06-01-2026,Purchase", "invoice"),
        ("2.02601E+14,Jenius,02-01-2026,1,0,1,06-01-2026,Purchase", "invoice"),
        ("A,Jenius,02-13-2026,1,0,1,06-01-2026,Purchase", "transaction"),
        ("A,Jenius,02-01-2026,1.5,0,1,06-01-2026,Purchase", "amount"),
        ("A,Jenius,02-01-2026,-,0,1,06-01-2026,Purchase", "amount"),
        ("A,Jenius,02-01-2026,1,x,1,06-01-2026,Purchase", "fee"),
        ("A,Jenius,02-01-2026,1,0,,06-01-2026,Purchase", "net"),
        ("A,Jenius,02-01-2026,1,0,1,,Purchase", "paid_out"),
        ("A,Jenius,02-01-2026", "paid_out"),
        ("A,Jenius,02-01-2026,1,0,1,06-01-2062,Purchase", "paid_out: lies in the future"),
        ("A,Jenius,02-01-2026,1,0,1,09-03-2026,Purchase", "paid_out: lies in the future"),
    ] {
        let TableLine::UnreadableLine(found) = one(row) else { panic!("{row}: {:?}", one(row)) };
        assert!(found.why.starts_with(column), "{row}: {}", found.why);
        assert_eq!(found.line, 2);
    }
}

#[test]
fn a_pay_out_may_lie_a_while_after_its_file() {
    let row = one("A,Jenius,02-01-2026,1,0,1,08-03-2026,Purchase");
    assert!(matches!(row, TableLine::Ours(_)), "{row:?}");
}

#[test]
fn a_spreadsheets_number_is_an_invoice_only_where_no_digit_can_be_lost() {
    let doku = Profile::doku();
    for (number, is_read) in [("202601000123456", true), ("2026010001234567", false), ("1.5", false)] {
        let mut table = Table::new(&doku, came_on());
        table.take(1, &cells(HEADER), false).unwrap();
        let mut row = cells("x,Jenius,02-01-2026,1,0,1,06-01-2026,Purchase");
        row[0] = Cell::Number(number.to_owned());
        let line = table.take(2, &row, false).unwrap();
        assert_eq!(matches!(line, TableLine::Ours(_)), is_read, "{number}");
    }
}

#[test]
fn rows_of_other_channels_are_left_alone_and_unknown_ones_are_said() {
    assert_eq!(one("A,Virtual Account BCA,02-01-2026,1,0,1,06-01-2026,Purchase"), TableLine::Nothing);
    let unknown = one("A,Moon Money,02-01-2026,1,0,1,06-01-2026,Purchase");
    assert_eq!(unknown, TableLine::UnknownChannel { word: "Moon Money".to_owned(), gross: 1 });
}

/// A card's fee may have decimals, and its invoice a space: what is not ours is no fault of the file.
#[test]
fn a_row_of_another_channel_that_cannot_be_read_is_left_alone_and_counted() {
    let doku = Profile::doku();
    let good = "A,Jenius,02-01-2026,50000,1500,48500,06-01-2026,Purchase";
    let above = "Total Transactions_,2\nTotal Settlement Amount_,1\n";
    for other in [
        "ORDER 77,Credit Card Visa,05-01-2026,1,0,1,06-01-2026,Purchase",
        ",QRIS,05-01-2026,1,0,1,06-01-2026,Purchase",
        "B,Credit Card Visa,05-01-2026,1,4995.5,1,06-01-2026,Purchase",
    ] {
        let (table, lines) = take(&doku, &format!("{above}\n{HEADER}\n{good}\n{other}\n"));
        assert_eq!(lines.unwrap().pop(), Some(TableLine::Nothing), "{other}");
        assert_eq!((table.sums.rows, table.sums.unreadable, table.sums.unread_others), (1, 0, 1));
        assert_eq!(table.stated.mismatch(&table.sums), None, "the count is right, and no sum is known");
    }
    let (table, _) = take(&doku, &format!("Total Transactions_,1\n\n{HEADER}\n{good}\nB C,QRIS,x\n"));
    assert_eq!(table.stated.mismatch(&table.sums).as_deref(), Some("total transactions 1, rows 2"));
}

#[test]
fn whatever_its_signs_a_refund_deducts() {
    for row in [
        "A,Jenius,02-01-2026,50000,0,-50000,06-01-2026,Refund",
        "A,Jenius,02-01-2026,-50000,0,50000,06-01-2026,REFUND",
    ] {
        let TableLine::Ours(row) = one(row) else { panic!("{row}") };
        assert_eq!((row.kind, row.gross, row.net), (RowKind::Refund, 50_000, -50_000));
    }
}

/// The fee is deducted too, as the judge expects.
#[test]
fn a_refund_without_a_net_deducts_its_fee() {
    let doku = Profile::doku();
    let header = HEADER.replace(",PAY TO MERCHANT", "");
    for (row, net) in [
        ("A,Jenius,02-01-2026,50000,1500,06-01-2026,Refund", -51_500),
        ("A,Jenius,02-01-2026,-50000,0,06-01-2026,Refund", -50_000),
        ("A,Jenius,02-01-2026,50000,1500,06-01-2026,Purchase", 48_500),
    ] {
        let (_, lines) = take(&doku, &format!("{header}\n{row}\n"));
        let Some(TableLine::Ours(read)) = lines.unwrap().pop() else { panic!("{row}") };
        assert_eq!(read.net, net, "{row}");
    }
}

/// Without a batch's name it would be a break for each file that has it.
#[test]
fn a_row_that_cannot_be_read_is_known_by_its_pay_out_where_the_file_names_no_batch() {
    let TableLine::UnreadableLine(found) = one("A B,Jenius,02-01-2026,1,0,1,06-01-2026,Purchase") else {
        panic!()
    };
    assert_eq!(found.batch.as_deref(), Some("PAYOUT-2026-01-06"));
}

#[test]
fn the_foot_ends_the_table_and_a_row_below_it_is_said() {
    let doku = Profile::doku();
    let good = "A,Jenius,02-01-2026,1,0,1,06-01-2026,Purchase";
    for (foot, unreadable) in [
        ("\nTotal,,,1\nsigned: finance", 0),
        (",TOTAL,,1,0,1,,", 0),
        (",,,,,,,\nremarks", 0),
        // Its customer is called so: it is a row without an invoice, and no end.
        (",Jenius TOTAL,02-01-2026,1,0,1,06-01-2026,Purchase", 1),
        ("\nB,Jenius,02-01-2026,1,0,1,06-01-2026,Purchase", 1),
        (",TOTAL,,1,0,1,,\nB,Jenius,02-01-2026,1,0,1,06-01-2026,Purchase", 1),
    ] {
        let (table, lines) = take(&doku, &format!("{HEADER}\n{good}\n{foot}\n"));
        lines.unwrap();
        assert_eq!((table.sums.rows, table.sums.unreadable), (1, unreadable), "{foot:?}");
    }
}

#[test]
fn a_file_without_the_columns_is_none() {
    let doku = Profile::doku();
    for (text, expected) in [
        (HEADER.replace("PAY OUT DATE", "DAY"), TableError::NoColumn("paid_out")),
        (HEADER.replace("PAYMENT CHANNEL", "X"), TableError::NoColumn("channel")),
        (HEADER.replace("TYPE", "AMOUNT"), TableError::TwoColumns("amount")),
        ("a,b\n".repeat(PREAMBLE_LINES_MAX + 1), TableError::NoHeader),
    ] {
        assert_eq!(take(&doku, &text).1, Err(expected));
    }
    assert_eq!(take(&doku, "a,b\n").0.end(), Err(TableError::NoHeader));
}

#[test]
fn what_the_file_states_is_compared_with_its_rows() {
    let doku = Profile::doku();
    let file = |above: &str, row: &str| format!("{above}\n\n{HEADER}\n{row}\n");
    let row = "A,Jenius,02-01-2026,50000,1500,48500,06-01-2026,Purchase";
    for (above, row, expected) in [
        ("Total Transactions_,1", row, None),
        ("Total Fee_,1500", row, None),
        ("Total Fee_,unknown", row, None),
        ("Total Transactions_,2", row, Some("total transactions 2, rows 1")),
        ("Total Settlement Amount_,48501", row, Some("total settlement amount 48501, rows 48500")),
        ("Total Settlement Amount_,48501", "A B,x", None),
        ("Total Transactions_,2", "A B,x", Some("total transactions 2, rows 1")),
    ] {
        let text = file(above, row);
        let (table, lines) = take(&doku, &text);
        lines.unwrap();
        assert_eq!(table.stated.mismatch(&table.sums).as_deref(), expected, "{above} {row}");
    }
}

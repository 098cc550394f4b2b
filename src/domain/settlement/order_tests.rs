//! Whatever files a month is split into, and in whatever order they come, twice or sent again: the same breaks.

use super::{
    super::{Time, order::OrderState},
    breaks::{Break, Change, Standing, StoredBreak, changes},
    case::{AccountFacts, Case, KnownRow, OrderFacts, Rules},
    judge::{judge, tests},
    row::{RowKind, SettlementRow},
};
use chrono::NaiveDate;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// One file: the batch's rows, as they stand in this form of it.
#[derive(Debug, Clone)]
struct File {
    batch: String,
    rows: Vec<SettlementRow>,
}

/// What an import keeps, without a database: rows by value and number, breaks by cause and subject.
#[derive(Default)]
struct Book {
    rows: BTreeMap<(SettlementRow, u32), BTreeSet<i64>>,
    account: AccountFacts,
    /// The first pay-out, and the first payment in it.
    first: Option<(NaiveDate, NaiveDate)>,
    stored: Vec<StoredBreak>,
    next: i64,
    seen: Vec<File>,
}

impl Book {
    fn import(&mut self, file: &File, orders: &BTreeMap<String, OrderFacts>, rules: &Rules, now: Time) {
        // The same bytes change nothing.
        if self.seen.iter().any(|seen| seen.batch == file.batch && seen.rows == file.rows) {
            return;
        }
        self.seen.push(file.clone());
        self.next += 1;
        let mut counts: BTreeMap<&SettlementRow, u32> = BTreeMap::new();
        for row in &file.rows {
            let number = counts.entry(row).or_default();
            *number += 1;
            self.rows.entry((row.clone(), *number)).or_default().insert(self.next);
            let account = &mut self.account;
            if row.kind == RowKind::Purchase {
                let first = (row.paid_out_on, row.transaction_on);
                self.first = self.first.into_iter().chain([first]).min();
                account.first_transaction_on = self.first.map(|(_, transaction_on)| transaction_on);
            }
            account.latest_paid_out_on = account.latest_paid_out_on.max(Some(row.paid_out_on));
        }
        self.account.forms.entry(file.batch.clone()).or_default().insert(self.next);
        let of_batch = self.rows.keys().filter(|(row, _)| row.batch == file.batch);
        let touched: BTreeSet<String> = of_batch.map(|(row, _)| row.invoice_number.clone()).collect();
        let without_row = orders.keys().cloned();
        let touched: BTreeSet<String> = touched.into_iter().chain(without_row).collect();
        touched.iter().for_each(|invoice| self.judge(invoice, orders, rules, now));
    }

    fn judge(&mut self, invoice: &str, orders: &BTreeMap<String, OrderFacts>, rules: &Rules, now: Time) {
        let rows: Vec<KnownRow> = self
            .rows
            .iter()
            .filter(|((row, _), _)| row.invoice_number == invoice)
            .map(|((row, number), files)| KnownRow {
                row: row.clone(),
                number: *number,
                files: files.clone(),
                seen_at: now,
            })
            .collect();
        let order = orders.get(invoice).copied();
        let case = Case { invoice_number: invoice, order, rows: &rows, account: &self.account, rules, now };
        let found = judge(&case).breaks;
        let of_invoice = |stored: &&StoredBreak| stored.found.invoice_number.as_deref() == Some(invoice);
        let stored: Vec<StoredBreak> = self.stored.iter().filter(of_invoice).cloned().collect();
        for change in changes(&stored, &found) {
            let (found, standing) = match change {
                Change::Open(found) | Change::Update(found) | Change::Reopen(found) => {
                    (found, Standing::Open)
                }
                Change::Close(found) => (found, Standing::ClosedByItself),
            };
            self.stored.retain(|old| (old.found.cause, &old.found.subject) != (found.cause, &found.subject));
            self.stored.push(StoredBreak { found, standing });
        }
    }

    fn open(&self) -> BTreeSet<Break> {
        let open = self.stored.iter().filter(|stored| stored.standing == Standing::Open);
        open.map(|stored| stored.found.clone()).collect()
    }
}

const STATES: [OrderState; 6] = [
    OrderState::Paid,
    OrderState::Paid,
    OrderState::Paid,
    OrderState::Failed,
    OrderState::Refunded,
    OrderState::AwaitingPayment,
];

fn order() -> impl Strategy<Value = OrderFacts> {
    let state = prop::sample::select(STATES.to_vec());
    let facts = |state, day: u32| OrderFacts {
        amount: 50_000,
        state,
        state_since: tests::day(&format!("2026-01-{day:02}")),
        paid_on: tests::day(&format!("2026-01-{day:02}")),
        has_shares: false,
        is_imported: false,
    };
    (state, 1_u32..20).prop_map(move |(state, day)| facts(state, day))
}

/// A row of one of few invoices, with small differences that collide often.
fn row() -> impl Strategy<Value = SettlementRow> {
    let amount = prop::sample::select(vec![50_000_i64, 50_000, 50_000, 60_000]);
    let fee = prop::sample::select(vec![1_500_i64, 1_500, 1_700]);
    let kind =
        prop::sample::select(vec![RowKind::Purchase, RowKind::Purchase, RowKind::Refund, RowKind::Unknown]);
    (0_u32..8, amount, fee, kind, 1_u32..28).prop_map(|(invoice, gross, fee, kind, day)| SettlementRow {
        invoice_number: format!("INV-{invoice}"),
        kind,
        gross,
        fee: if kind == RowKind::Refund { 0 } else { fee },
        net: if kind == RowKind::Refund { -gross } else { gross - fee },
        paid_out_on: tests::day(&format!("2026-01-{day:02}")),
        ..tests::purchase("")
    })
}

fn file() -> impl Strategy<Value = File> {
    (0_u32..4, prop::collection::vec(row(), 0..6)).prop_map(|(batch, rows)| {
        let batch = format!("B-{batch}");
        let rows = rows.into_iter().map(|row| SettlementRow { batch: batch.clone(), ..row }).collect();
        File { batch, rows }
    })
}

proptest! {
    #[test]
    fn any_split_and_order_of_files_ends_in_the_same_breaks(
        orders in prop::collection::vec(order(), 6),
        files in prop::collection::vec(file(), 1..8),
        shuffled in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let now = tests::at("2026-02-01T00:00:00Z");
        let orders: BTreeMap<String, OrderFacts> =
            orders.into_iter().enumerate().map(|(at, order)| (format!("INV-{at}"), order)).collect();
        let rules = tests::rules();
        let mut straight = Book::default();
        files.iter().for_each(|file| straight.import(file, &orders, &rules, now));
        // Any order, some of them many times, and all of them in the end.
        let mut mixed = Book::default();
        for index in &shuffled {
            mixed.import(index.get(&files), &orders, &rules, now);
        }
        files.iter().rev().for_each(|file| mixed.import(file, &orders, &rules, now));
        prop_assert_eq!(straight.open(), mixed.open());
    }
}

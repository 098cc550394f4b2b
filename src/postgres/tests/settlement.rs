//! Settlement's tables: what counts and from when on, what is searched, and what an import that is broken off leaves.

mod broken_off;
mod searched;

use super::*;
use crate::{
    domain::settlement::{
        calendar::{Calendar, Rhythm},
        case::Rules,
        profile::{Profile, jakarta},
        row::{RowKind, SettlementRow, batch_of_day},
        table::UnreadableLine,
    },
    flow::view::settlement::BreakFilter,
    postgres::{
        By, Closing, FileEnd, FileKey, GroupKept, Judging, ReceivedBytes, RowGroup, SettledSlice,
        SettlementStore, settlement::row_of_order,
    },
};
use chrono::{Days, NaiveDate};

impl Db {
    fn settlement(&self) -> SettlementStore {
        self.store.settlement()
    }

    /// The database's day.
    async fn today(&self) -> NaiveDate {
        sqlx::query_scalar("SELECT jenius_now()::date").fetch_one(&self.sql).await.unwrap()
    }

    /// A paid order, as if it had been claimed and paid so many days ago.
    async fn paid_before(&self, invoice: &str, days: u32) {
        self.paid_order(invoice).await;
        self.execute(&format!(
            "UPDATE events SET created_at = created_at - interval '{days} days'
             WHERE order_key = (SELECT order_key FROM orders WHERE invoice_number = '{invoice}');
             UPDATE orders SET created_at = created_at - interval '{days} days',
                               state_since = state_since - interval '{days} days'
             WHERE invoice_number = '{invoice}'"
        ))
        .await
        .unwrap();
    }

    async fn open_breaks_of(&self, file: FileKey) -> i64 {
        self.settlement().view_file(file).await.unwrap().unwrap().open_breaks
    }

    /// Causes and invoices of the open breaks.
    async fn open(&self) -> String {
        self.text(
            "SELECT coalesce(string_agg(cause || coalesce(' ' || invoice_number, ''), ', ' ORDER BY cause, invoice_number), '')
             FROM settlement_breaks WHERE closed_at IS NULL",
        )
        .await
    }
}

fn calendar() -> Calendar {
    Calendar { due_days: 3, ..Calendar::default() }
}

fn judging() -> Judging {
    let rules = Rules { calendar: calendar(), fees: vec![], split: false };
    Judging { rules, zone: jakarta(), by: By::File }
}

/// A row that was paid on a day, and paid out three days later.
fn purchase(invoice: &str, batch: &str, paid_on: NaiveDate) -> SettlementRow {
    SettlementRow {
        batch: batch.to_owned(),
        invoice_number: invoice.to_owned(),
        kind: RowKind::Purchase,
        type_word: String::new(),
        sub_account: String::new(),
        gross: 50_000,
        fee: 1_500,
        discount: 0,
        net: 48_500,
        transaction_on: paid_on,
        paid_out_on: paid_on + Days::new(3),
    }
}

fn received(sha256: u8, pieces: i32, count: i64) -> ReceivedBytes {
    ReceivedBytes { sha256: [sha256; 32], pieces, count, form: "csv", encoding: "utf-8" }
}

/// Keeps the rows of a file, of which none counts yet.
async fn keep(db: &Db, sha256: u8, rows: &[SettlementRow]) -> FileKey {
    let settlement = db.settlement();
    let file = settlement.begin_file(&merchant(), "a.csv", "doku").await.unwrap();
    assert!(settlement.keep_piece(file, 0, b"x").await.unwrap());
    settlement.received(file, received(sha256, 1, 1)).await.unwrap().unwrap();
    let group = RowGroup { rows: rows.to_vec(), after_line: 0, last_line: 10 };
    let kept = settlement.keep_rows(&merchant(), file, group).await.unwrap();
    assert_eq!(kept, GroupKept::Now);
    file
}

/// All of what an import does after its rows are kept.
async fn count(db: &Db, file: FileKey, end: FileEnd) {
    let settlement = db.settlement();
    settlement.end_rows(file, end.clone()).await.unwrap();
    settlement.begin_matching(&merchant(), file, end).await.unwrap();
    let (first, to) = settlement.keys_of_batches(&merchant(), file).await.unwrap();
    let slice = SettledSlice { file, after: first - 1, to, judged_to: 0 };
    let invoices = settlement.invoices_between(&merchant(), &slice).await.unwrap();
    settlement.judge_group(&merchant(), invoices, &judging(), Some(slice)).await.unwrap();
    settlement.search(&merchant(), &judging()).await.unwrap();
    settlement.end_file(file).await.unwrap();
}

async fn import(db: &Db, sha256: u8, rows: &[SettlementRow]) -> FileKey {
    let file = keep(db, sha256, rows).await;
    count(db, file, FileEnd::default()).await;
    file
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_a_break_once_its_file_counts_and_not_before() {
    on_a_database(|db| async move {
        let file = keep(&db, 1, &[]).await;
        let line = UnreadableLine {
            line: 12,
            batch: None,
            invoice_number: None,
            why: "amount: is empty".to_owned(),
            gross: 7,
        };
        let end = FileEnd { unreadable: vec![line; 2], ..FileEnd::default() };
        db.settlement().end_rows(file, end.clone()).await.unwrap();
        db.settlement().hold_file(file).await.unwrap();
        assert_eq!(db.open().await, "", "it is held");
        count(&db, file, end).await;
        assert_eq!(db.open().await, "unreadable_row", "once, however often it is written");
        assert_eq!(db.open_breaks_of(file).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_contradicts_itself_is_a_break_with_and_without_a_batch() {
    on_a_database(|db| async move {
        let marks = Profile::doku().marks;
        for (sha256, batch) in [(1, None), (2, Some("B-1"))] {
            let file = keep(&db, sha256, &[]).await;
            let mut end = FileEnd::default();
            end.stated.read("Total Transactions_", "2", marks);
            end.stated.read("Batch ID_", batch.unwrap_or_default(), marks);
            count(&db, file, end).await;
        }
        assert_eq!(db.open().await, "totals_mismatch, totals_mismatch");
        // Another form of the batch adds up.
        let file = keep(&db, 3, &[]).await;
        let mut end = FileEnd::default();
        end.stated.read("Batch ID_", "B-1", marks);
        count(&db, file, end).await;
        assert_eq!(db.open().await, "totals_mismatch");
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_comes_again_without_a_row_of_ours_has_changed_whichever_comes_first() {
    for is_empty_first in [false, true] {
        on_a_database(|db| async move {
            db.paid_before("INV-1", 10).await;
            let mut end = FileEnd::default();
            end.stated.read("Batch ID_", "B-1", Profile::doku().marks);
            for (sha256, is_empty) in [(1, is_empty_first), (2, !is_empty_first)] {
                assert_eq!(db.open().await, "");
                let row = purchase("INV-1", "B-1", db.today().await - Days::new(10));
                let file = keep(&db, sha256, if is_empty { &[] } else { std::slice::from_ref(&row) }).await;
                count(&db, file, end.clone()).await;
            }
            assert_eq!(db.open().await, "batch_changed INV-1", "empty first: {is_empty_first}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_day_without_a_batch_may_come_in_two_files() {
    on_a_database(|db| async move {
        let day = db.today().await - Days::new(10);
        for (sha256, invoice) in [(1, "INV-1"), (2, "INV-2")] {
            db.paid_before(invoice, 10).await;
            import(&db, sha256, &[purchase(invoice, &batch_of_day(day + Days::new(3)), day)]).await;
        }
        assert_eq!(db.open().await, "");
        assert_eq!(db.number("SELECT count(*) FROM settlement_waiting").await, 2);
        for invoice in ["INV-1", "INV-2"] {
            let shown = row_of_order(&db.pool, "default", invoice).await.unwrap();
            assert_eq!(shown.len(), 1, "{invoice}");
        }
        // All of it is summed, and a row that comes in a third file too counts once.
        let name = batch_of_day(day + Days::new(3));
        let refund = SettlementRow { kind: RowKind::Refund, net: -50_000, ..purchase("INV-2", &name, day) };
        import(&db, 3, &[purchase("INV-1", &name, day), refund]).await;
        let sums = db.settlement().batches(&name).await.unwrap().remove(0);
        assert_eq!((sums.forms, sums.purchases, sums.gross, sums.fee), (3, 2, 100_000, 4_500));
        assert_eq!((sums.refunds, sums.refunded, sums.net), (1, 50_000, 47_000));
        assert_eq!((sums.own_purchases, sums.own_gross, sums.own_refunds), (2, 100_000, 0));
        assert_eq!(sums.paid_out_on, Some(day + Days::new(3)));
    })
    .await;
}

/// Its rows name their batches, or are of their day.
#[tokio::test]
async fn a_file_that_states_no_batch_has_the_breaks_of_its_rows_batches() {
    on_a_database(|db| async move {
        let day = db.today().await;
        let other = import(&db, 1, &[purchase("OTHER", "B-9", day)]).await;
        let rows = [("NOBODYS-1", "B-1".to_owned()), ("NOBODYS-2", batch_of_day(day + Days::new(3)))];
        let file = import(&db, 2, &rows.map(|(invoice, batch)| purchase(invoice, &batch, day))).await;
        assert_eq!(db.open().await, "missing_here NOBODYS-1, missing_here NOBODYS-2, missing_here OTHER");
        assert_eq!((db.open_breaks_of(other).await, db.open_breaks_of(file).await), (1, 2));
    })
    .await;
}

/// DOKU writes the gross of a refund without a sign.
#[tokio::test]
async fn only_purchases_are_the_gross_of_a_file_and_refunds_are_summed_beside() {
    on_a_database(|db| async move {
        let row = purchase("INV-1", "B-1", db.today().await);
        let refund =
            SettlementRow { kind: RowKind::Refund, gross: 20_000, fee: 0, net: -20_000, ..row.clone() };
        let unknown = SettlementRow { kind: RowKind::Unknown, gross: 7_000, fee: 0, net: 0, ..row.clone() };
        let file = keep(&db, 1, &[row, refund, unknown]).await;
        let file = db.settlement().view_file(file).await.unwrap().unwrap();
        assert_eq!((file.own_rows, file.own_gross, file.own_refunded), (3, 50_000, 20_000));
        assert_eq!((file.own_fee, file.own_net), (1_500, 28_500));
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_one_rhythm_misses_is_not_missed_by_another() {
    on_a_database(|db| async move {
        import(&db, 1, &[]).await;
        db.execute("UPDATE settlement_accounts SET latest_batch_on = '2026-01-05'").await.unwrap();
        for (rhythm, expected) in [
            (Rhythm::Daily, "batch_missing daily"),
            (Rhythm::Monthly, "batch_missing monthly"),
            (Rhythm::Unknown, ""),
        ] {
            db.settlement().judge_rhythm(&merchant(), rhythm, calendar(), jakarta()).await.unwrap();
            let open = "SELECT coalesce(string_agg(cause || ' ' || subject, ', '), '') FROM settlement_breaks
                        WHERE closed_at IS NULL";
            assert_eq!(db.text(open).await, expected);
        }
    })
    .await;
}

/// Else those of a month would stand before the event of the next payment.
#[tokio::test]
async fn events_of_settled_rows_enter_the_outbox_only_once_those_before_are_out() {
    on_a_database(|db| async move {
        let day = db.today().await;
        let rows: Vec<SettlementRow> = (0..500).map(|n| purchase(&format!("INV-{n}"), "B-1", day)).collect();
        keep(&db, 1, &rows).await;
        db.execute("INSERT INTO settlement_waiting (row_key) SELECT key FROM settlement_rows").await.unwrap();
        let publish = async || db.settlement().publish_matched().await.unwrap();
        assert_eq!((publish().await, publish().await), (200, 0));
        db.execute("DELETE FROM outbox").await.unwrap();
        assert_eq!((publish().await, publish().await), (200, 0));
    })
    .await;
}

/// The worst moment to count, before the first file: rows are looked for one by one all the same.
#[tokio::test]
async fn what_was_counted_before_the_first_file_makes_nobody_read_all_rows() {
    on_a_database(|mut db| async move {
        db.execute("VACUUM (ANALYZE)").await.unwrap();
        let one = pool(db.options.clone(), 1);
        db.store = PostgresStore::with_jitter(one.clone(), schedule(), Arc::new(|| 0.5));
        import(&db, 1, &[purchase("INV-1", "B-1", db.today().await)]).await;
        db.execute("INSERT INTO settlement_waiting (row_key) SELECT key FROM settlement_rows").await.unwrap();
        db.settlement().publish_matched().await.unwrap();
        let mut whole = super::query_plans::whole_scans(&mut one.acquire().await.unwrap()).await;
        whole.retain(|scan| scan.split(':').next().unwrap_or_default().contains("settlement_rows"));
        assert!(whole.is_empty(), "{whole:#?}");
        one.close().await;
    })
    .await;
}

/// A database that went back gives its numbers out again.
#[tokio::test]
async fn a_break_is_closed_by_its_number_only_if_it_is_the_one_that_was_looked_at() {
    on_a_database(|db| async move {
        import(&db, 1, &[purchase("NOBODYS", "B-1", db.today().await)]).await;
        let settlement = db.settlement();
        let open =
            &settlement.list_breaks(&BreakFilter { limit: 2, ..BreakFilter::default() }).await.unwrap()[0];
        let close = async |name: &str| {
            let (name, reason) = (Some(name.to_owned()), "r".to_owned());
            settlement.close(open.number, name, reason, "sari".to_owned(), None).await.unwrap()
        };
        for change in ["subject = 'OTHER'", "merchant = 'other'", "at_stake = at_stake + 1", "found = 'other'"] {
            let was = "subject = 'NOBODYS', merchant = 'default', at_stake = 50000, found = 'DOKU 50000, ours none'";
            db.execute(&format!("UPDATE settlement_breaks SET {change}")).await.unwrap();
            assert_eq!(close(&open.name()).await, Closing::Another, "{change}");
            assert_eq!(db.open().await, "missing_here NOBODYS");
            db.execute(&format!("UPDATE settlement_breaks SET {was}")).await.unwrap();
        }
        assert!(matches!(close(&open.name()).await, Closing::Closed { .. }));
        assert_eq!(db.open().await, "");
    })
    .await;
}

#[tokio::test]
async fn a_break_is_as_old_as_its_last_opening() {
    on_a_database(|db| async move {
        import(&db, 1, &[purchase("NOBODYS", "B-1", db.today().await)]).await;
        let age = async || db.settlement().open_breaks().await.unwrap()[0].oldest_seconds;
        let older = "UPDATE settlement_breaks SET first_seen_at = first_seen_at - interval '9 days'";
        let judge = async || {
            db.settlement()
                .judge_group(&merchant(), vec!["NOBODYS".to_owned()], &judging(), None)
                .await
                .unwrap();
        };
        db.execute(&format!("{older}, at_stake = 1")).await.unwrap();
        judge().await;
        assert!(age().await > 700_000.0, "it is open, and its values changed");
        db.execute(&format!("{older}, closed_at = jenius_now(), closed_by = 'file'")).await.unwrap();
        judge().await;
        assert!(age().await < 3_600.0, "it is open again: {}", age().await);
    })
    .await;
}

#[tokio::test]
async fn a_batch_shows_the_breaks_of_its_invoices_and_the_sums_of_its_last_form() {
    on_a_database(|db| async move {
        db.paid_before("INV-1", 10).await;
        let claim = db.claim(payment("pay-INV-2", "INV-2")).await;
        db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        db.jump(120).await;
        let second = InvoiceNumber::parse("INV-2").unwrap();
        let inquiry = db.store.inquire_now(&merchant(), &second, LEASE).await.unwrap().unwrap();
        db.store.record(&inquiry, &reported("FAILED", 50_000), Duration::ZERO).await.unwrap();
        db.jump(0).await;
        let day = db.today().await - Days::new(10);
        let rows = ["INV-1", "INV-2"].map(|invoice| purchase(invoice, "B-1", day));
        import(&db, 1, &rows).await;
        let settlement = db.settlement();
        let of_batch =
            BreakFilter { batch: Some("B-1".to_owned()), open: true, limit: 9, ..BreakFilter::default() };
        let found = async || {
            let breaks = settlement.list_breaks(&of_batch).await.unwrap();
            breaks.into_iter().map(|found| found.cause).collect::<Vec<_>>()
        };
        assert_eq!(found().await, ["status_mismatch"], "it names the invoice and no batch");
        let batch = async || settlement.batches("B-1").await.unwrap().remove(0);
        let first = batch().await;
        assert_eq!((first.purchases, first.net, first.open_breaks), (2, 97_000, 1));

        // The second form has another fee; a third is held.
        let dearer = SettlementRow { fee: 2_000, net: 48_000, ..rows[0].clone() };
        import(&db, 2, &[dearer.clone(), rows[1].clone()]).await;
        keep(&db, 3, &[SettlementRow { fee: 9_000, net: 41_000, ..rows[0].clone() }]).await;
        let second = batch().await;
        assert_eq!((second.purchases, second.fee, second.net), (2, 3_500, 96_500));
        let shown = row_of_order(&db.pool, "default", "INV-1").await.unwrap();
        assert_eq!(shown.iter().map(|row| row.net.as_str()).collect::<Vec<_>>(), ["48000"]);
    })
    .await;
}

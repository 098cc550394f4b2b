//! Settlement's tables: what counts and from when on, what is searched, and what an import that is broken off leaves.

use super::*;
use crate::{
    domain::settlement::{
        calendar::Calendar,
        case::Rules,
        profile::{Profile, jakarta},
        row::{RowKind, SettlementRow},
        table::UnreadableLine,
    },
    flow::view::settlement::BreakFilter,
    postgres::{
        By, Closing, FileEnd, FileKey, GroupKept, Judging, ReceivedBytes, RowGroup, SettledSlice, SettlementStore,
        settlement::row_of_order,
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

    /// Causes and invoices of the open breaks.
    async fn open(&self) -> String {
        self.text(
            "SELECT coalesce(string_agg(cause || coalesce(' ' || invoice_number, ''), ', ' ORDER BY cause, invoice_number), '')
             FROM settlement_breaks WHERE closed_at IS NULL",
        )
        .await
    }
}

fn judging() -> Judging {
    let calendar = Calendar { due_days: 3, ..Calendar::default() };
    Judging { rules: Rules { calendar, fees: vec![], split: false }, zone: jakarta(), by: By::File }
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
    assert_eq!(settlement.keep_rows(&merchant(), file, group).await.unwrap(), GroupKept::Now);
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
    })
    .await;
}

/// In June come the files of January and February, whichever first: an order that the later one lacks is missing.
#[tokio::test]
async fn an_order_is_missed_in_old_files_in_whatever_order_they_come() {
    for february_first in [false, true] {
        on_a_database(|db| async move {
            let paid = [("JANUARY", 150), ("FEBRUARY", 120), ("MISSING", 120), ("LATEST", 105)];
            for (invoice, days) in paid {
                db.paid_before(invoice, days).await;
            }
            let today = db.today().await;
            let row = |(invoice, days): (&str, u32), batch| {
                purchase(invoice, batch, today - Days::new(u64::from(days)))
            };
            let january = [row(paid[0], "B-1")];
            let february = [row(paid[1], "B-2"), row(paid[3], "B-2")];
            let [first, second] = if february_first { [&february[..], &january] } else { [&january[..], &february] };
            import(&db, 1, first).await;
            import(&db, 2, second).await;
            assert_eq!(db.open().await, "missing_at_doku MISSING", "February first: {february_first}");
        })
        .await;
    }
}

#[tokio::test]
async fn what_an_unknown_channel_hid_is_searched_however_long_it_did() {
    on_a_database(|db| async move {
        for (invoice, days) in [("FIRST", 200), ("MISSING", 190), ("LATEST", 60)] {
            db.paid_before(invoice, days).await;
        }
        let today = db.today().await;
        let row = |invoice, batch, days| purchase(invoice, batch, today - Days::new(days));
        let file = keep(&db, 1, &[row("FIRST", "B-1", 200)]).await;
        let unknown = [("Moon".to_owned(), 1)].into();
        count(&db, file, FileEnd { unknown_channels: unknown, ..FileEnd::default() }).await;
        import(&db, 2, &[row("LATEST", "B-2", 60)]).await;
        assert_eq!(db.open().await, "unknown_channel");
        let close = "UPDATE settlement_breaks SET closed_at = jenius_now(), closed_by = 'person'";
        db.execute(close).await.unwrap();
        db.settlement().search(&merchant(), &judging()).await.unwrap();
        assert_eq!(db.open().await, "missing_at_doku MISSING");
    })
    .await;
}

/// A first file without a row of ours says nothing about when ours begin.
#[tokio::test]
async fn a_first_file_without_our_rows_leaves_the_search_at_the_beginning() {
    on_a_database(|db| async move {
        for (invoice, days) in [("MISSING", 190), ("LATEST", 100)] {
            db.paid_before(invoice, days).await;
        }
        import(&db, 1, &[]).await;
        let today = db.today().await;
        let rows = [("FIRST", 200), ("LATEST", 100)].map(|(invoice, days)| purchase(invoice, "B-2", today - Days::new(days)));
        db.paid_before("FIRST", 200).await;
        import(&db, 2, &rows).await;
        assert_eq!(db.open().await, "missing_at_doku MISSING");
    })
    .await;
}

#[tokio::test]
async fn a_row_of_a_file_that_does_not_count_hides_no_missing_order() {
    on_a_database(|db| async move {
        for (invoice, days) in [("FIRST", 40), ("MISSING", 39), ("LATEST", 10)] {
            db.paid_before(invoice, days).await;
        }
        let today = db.today().await;
        let row = |invoice, batch, days| purchase(invoice, batch, today - Days::new(days));
        let held = keep(&db, 1, &[row("MISSING", "B-1", 39)]).await;
        db.settlement().hold_file(held).await.unwrap();
        import(&db, 2, &[row("FIRST", "B-2", 40), row("LATEST", "B-2", 10)]).await;
        assert_eq!(db.open().await, "missing_at_doku MISSING", "it is held");
        count(&db, held, FileEnd::default()).await;
        assert_eq!(db.open().await, "", "and closes when it counts");
    })
    .await;
}

#[tokio::test]
async fn a_search_that_was_broken_off_is_still_due() {
    on_a_database(|db| async move {
        db.paid_before("FIRST", 40).await;
        let day = db.today().await - Days::new(40);
        import(&db, 1, &[purchase("FIRST", "B-1", day)]).await;
        let is_due = async || db.settlement().accounts().await.unwrap()[0].search_due;
        db.execute("UPDATE settlement_accounts SET search_asked_at = jenius_now()").await.unwrap();
        db.execute("ALTER TABLE commands RENAME COLUMN kind TO other").await.unwrap();
        db.settlement().search(&merchant(), &judging()).await.unwrap_err();
        assert!(is_due().await);
        db.execute("ALTER TABLE commands RENAME COLUMN other TO kind").await.unwrap();
        db.settlement().search(&merchant(), &judging()).await.unwrap();
        assert!(!is_due().await);
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

/// A refund was declined a while after, so that the order is paid again since then.
#[tokio::test]
async fn an_order_that_was_paid_before_the_first_file_is_not_missed_though_its_state_is_younger() {
    on_a_database(|db| async move {
        for (invoice, days) in [("EARLIER", 45), ("FIRST", 40), ("MISSING", 39), ("LATEST", 10)] {
            db.paid_before(invoice, days).await;
        }
        db.execute("UPDATE orders SET state_since = jenius_now() - interval '30 days'").await.unwrap();
        let today = db.today().await;
        let row = |invoice, days| purchase(invoice, "B-1", today - Days::new(days));
        import(&db, 1, &[row("FIRST", 40), row("LATEST", 10)]).await;
        assert_eq!(db.open().await, "missing_at_doku MISSING");
    })
    .await;
}

/// A refund's row may bear the day of a payment long before the first file.
#[tokio::test]
async fn only_payments_say_when_the_first_file_begins() {
    on_a_database(|db| async move {
        for (invoice, days) in [("EARLIER", 80), ("FIRST", 40), ("LATEST", 10)] {
            db.paid_before(invoice, days).await;
        }
        let today = db.today().await;
        let row = |invoice, days| purchase(invoice, "B-1", today - Days::new(days));
        let refund = SettlementRow { kind: RowKind::Refund, fee: 0, net: -50_000, ..row("OLD", 90) };
        import(&db, 1, &[row("FIRST", 40), row("LATEST", 10), refund]).await;
        assert_eq!(db.open().await, "missing_here OLD");
    })
    .await;
}

/// A standby that takes over may lack the last commits. What it lacks is never the end of the file.
#[tokio::test]
async fn a_file_with_a_hole_is_broken_off_at_its_next_piece_group_or_slice() {
    on_a_database(|db| async move {
        let settlement = db.settlement();
        let file = settlement.begin_file(&merchant(), "a.csv", "doku").await.unwrap();
        for number in 0..2 {
            assert!(settlement.keep_piece(file, number, b"abc").await.unwrap());
        }
        let lost = "DELETE FROM settlement_pieces WHERE number = 1;
                    UPDATE settlement_files SET pieces = 1, bytes = 3";
        db.execute(lost).await.unwrap();
        assert!(settlement.received(file, received(1, 2, 6)).await.unwrap().is_none(), "the last piece is gone");
        assert!(!settlement.keep_piece(file, 2, b"abc").await.unwrap(), "one before it is gone");

        let file = settlement.begin_file(&merchant(), "a.csv", "doku").await.unwrap();
        settlement.keep_piece(file, 0, b"abc").await.unwrap();
        settlement.received(file, received(1, 1, 3)).await.unwrap().unwrap();
        let day = db.today().await;
        for (after_line, last_line, expected) in [
            (0, 10, GroupKept::Now),
            (0, 10, GroupKept::Before),
            (20, 30, GroupKept::AfterAHole),
            (5, 15, GroupKept::ReadOtherwise),
            (10, 20, GroupKept::Now),
        ] {
            let rows = vec![purchase(&format!("INV-{last_line}"), "B-1", day)];
            let group = RowGroup { rows, after_line, last_line };
            let kept = settlement.keep_rows(&merchant(), file, group).await.unwrap();
            assert_eq!(kept, expected, "{after_line} to {last_line}");
        }
        assert_eq!(db.number("SELECT count(*) FROM settlement_rows").await, 2);

        settlement.begin_matching(&merchant(), file, FileEnd::default()).await.unwrap();
        let slice = |after, judged_to| SettledSlice { file, after, to: after + 1, judged_to };
        let judge = async |slice| settlement.judge_group(&merchant(), vec![], &judging(), Some(slice)).await;
        judge(slice(0, 0)).await.unwrap();
        db.execute("UPDATE settlement_files SET judged_to = 0").await.unwrap();
        judge(slice(1, 1)).await.unwrap_err();
        assert_eq!(db.number("SELECT judged_to FROM settlement_files").await, 0);
    })
    .await;
}

#[tokio::test]
async fn one_import_of_a_merchant_runs_at_a_time_and_knows_when_its_session_is_gone() {
    on_a_database(|db| async move {
        let settlement = db.settlement();
        let mut lock = settlement.lock(&merchant()).await.unwrap().unwrap();
        assert!(settlement.lock(&merchant()).await.unwrap().is_none());
        let other = crate::domain::ids::MerchantName::parse("other").unwrap();
        settlement.lock(&other).await.unwrap().expect("another merchant's").end();
        assert!(lock.is_held().await);
        let holder = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
                      WHERE locktype = 'advisory' AND objsubid = 1 AND database = (
                          SELECT oid FROM pg_database WHERE datname = current_database())
                      AND objid = (hashtextextended('settlement default', 0) & 4294967295)::oid";
        db.execute(holder).await.unwrap();
        assert!(!lock.is_held().await);
        settlement.lock(&merchant()).await.unwrap().expect("it is free again").end();
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_comes_again_without_a_row_of_ours_has_changed() {
    on_a_database(|db| async move {
        db.paid_before("INV-1", 10).await;
        import(&db, 1, &[purchase("INV-1", "B-1", db.today().await - Days::new(10))]).await;
        assert_eq!(db.open().await, "");
        let file = keep(&db, 2, &[]).await;
        let mut end = FileEnd::default();
        end.stated.read("Batch ID_", "B-1", Profile::doku().marks);
        count(&db, file, end).await;
        assert_eq!(db.open().await, "batch_changed INV-1");
    })
    .await;
}

fn refund_of(invoice: &str, batch: &str, day: NaiveDate) -> SettlementRow {
    SettlementRow { kind: RowKind::Refund, fee: 0, net: -50_000, ..purchase(invoice, batch, day) }
}

/// It is looked at already, for another reason.
#[tokio::test]
async fn doku_is_asked_about_a_deduction_also_of_an_order_that_is_missed_already() {
    on_a_database(|db| async move {
        for (invoice, days) in [("FIRST", 40), ("INV-1", 39), ("LATEST", 10)] {
            db.paid_before(invoice, days).await;
        }
        let today = db.today().await;
        let row = |invoice, days| purchase(invoice, "B-1", today - Days::new(days));
        import(&db, 1, &[row("FIRST", 40), row("LATEST", 10)]).await;
        assert_eq!(db.open().await, "missing_at_doku INV-1");
        db.settlement().judge_group(&merchant(), vec!["INV-1".to_owned()], &judging(), None).await.unwrap();
        let asked = "SELECT count(*) FROM due JOIN orders USING (order_key)
                     WHERE invoice_number = 'INV-1' AND inquire_at <= jenius_now()";
        assert_eq!(db.number(asked).await, 0);
        import(&db, 2, &[refund_of("INV-1", "B-2", today - Days::new(9))]).await;
        assert_eq!(db.open().await, "missing_at_doku INV-1, refund_unexpected INV-1");
        assert_eq!(db.number(asked).await, 1);
    })
    .await;
}

/// The process dies between the judgement's commit and the inquiry.
#[tokio::test]
async fn an_inquiry_that_was_not_asked_for_is_asked_for_at_the_next_look() {
    on_a_database(|db| async move {
        db.paid_before("INV-1", 10).await;
        let row = refund_of("INV-1", "B-1", db.today().await - Days::new(10));
        let file = keep(&db, 1, &[row]).await;
        let settlement = db.settlement();
        settlement.begin_matching(&merchant(), file, FileEnd::default()).await.unwrap();
        db.execute("ALTER TABLE due RENAME COLUMN prompted_at TO other").await.unwrap();
        let judge = async || {
            settlement.judge_group(&merchant(), vec!["INV-1".to_owned()], &judging(), None).await
        };
        judge().await.unwrap_err();
        assert_eq!(db.open().await, "refund_unexpected INV-1", "it is judged");
        db.execute("ALTER TABLE due RENAME COLUMN other TO prompted_at").await.unwrap();
        assert_eq!(judge().await.unwrap().asked, 1);
        assert_eq!(judge().await.unwrap().asked, 0, "once");
    })
    .await;
}

/// A database that went back gives its numbers out again.
#[tokio::test]
async fn a_break_is_closed_by_its_number_only_if_it_is_the_one_that_was_looked_at() {
    on_a_database(|db| async move {
        import(&db, 1, &[purchase("NOBODYS", "B-1", db.today().await)]).await;
        let settlement = db.settlement();
        let open = &settlement.list_breaks(&BreakFilter { limit: 2, ..BreakFilter::default() }).await.unwrap()[0];
        let close = async |name: &str| {
            let (name, reason) = (Some(name.to_owned()), "r".to_owned());
            settlement.close(open.number, name, reason, "sari".to_owned(), None).await.unwrap()
        };
        assert_eq!(close("missing_here|OTHER").await, Closing::Another);
        assert_eq!(db.open().await, "missing_here NOBODYS");
        assert!(matches!(close(&open.name()).await, Closing::Closed { .. }));
        assert_eq!(db.open().await, "");
    })
    .await;
}

#[tokio::test]
async fn a_batch_shows_the_breaks_of_its_invoices_and_the_sums_of_its_last_form() {
    on_a_database(|db| async move {
        db.paid_before("INV-1", 10).await;
        db.paid_before("INV-2", 10).await;
        db.execute("UPDATE orders SET state = 'failed' WHERE invoice_number = 'INV-2'").await.unwrap();
        let day = db.today().await - Days::new(10);
        let rows = ["INV-1", "INV-2"].map(|invoice| purchase(invoice, "B-1", day));
        import(&db, 1, &rows).await;
        let settlement = db.settlement();
        let of_batch = BreakFilter { batch: Some("B-1".to_owned()), open: true, limit: 9, ..BreakFilter::default() };
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

/// It is taken away some thousand rows at a time, and what another file has of them stays that file's.
#[tokio::test]
async fn a_refused_file_goes_with_its_rows_and_no_other() {
    on_a_database(|db| async move {
        let day = db.today().await;
        let rows: Vec<SettlementRow> =
            (0..6_000).map(|n| purchase(&format!("INV-{n}"), "B-1", day)).collect();
        let settlement = db.settlement();
        let other = keep(&db, 1, &rows[..2]).await;
        let file = keep(&db, 2, &rows).await;
        // A process dies in the middle of it: the merchant's next import ends it.
        db.execute("UPDATE settlement_files SET state = 'receiving', sha256 = NULL WHERE sha256 = '\\x0202020202020202020202020202020202020202020202020202020202020202'").await.unwrap();
        let next = settlement.begin_file(&merchant(), "b.csv", "doku").await.unwrap();
        assert!(next > file);
        let kept = format!("SELECT count(*) FROM settlement_rows WHERE files = ARRAY[{other}::bigint]");
        assert_eq!((db.number(&kept).await, db.number("SELECT count(*) FROM settlement_rows").await), (2, 2));
        settlement.begin_matching(&merchant(), other, FileEnd::default()).await.unwrap();
        settlement.refuse_file(other).await.unwrap();
        assert_eq!(db.number(&kept).await, 2, "one that counts is never refused");
    })
    .await;
}

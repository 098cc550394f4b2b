//! What an import leaves that was broken off or refused, and who may go on with it.

use super::*;

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
        assert!(
            settlement.received(file, received(1, 2, 6)).await.unwrap().is_none(),
            "the last piece is gone"
        );
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

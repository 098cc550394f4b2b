//! What is missed, from when on, and what DOKU is asked about.

use super::*;

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
            let [first, second] =
                if february_first { [&february[..], &january] } else { [&january[..], &february] };
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
        let rows = [("FIRST", 200), ("LATEST", 100)]
            .map(|(invoice, days)| purchase(invoice, "B-2", today - Days::new(days)));
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

/// DOKU pays one out months late: that says nothing about when the files begin.
#[tokio::test]
async fn a_payment_that_was_paid_out_late_does_not_move_the_beginning_of_the_files() {
    for late_first in [false, true] {
        on_a_database(|db| async move {
            for (invoice, days) in
                [("LATE", 150), ("EARLIER", 100), ("FIRST", 40), ("MISSING", 39), ("LATEST", 10)]
            {
                db.paid_before(invoice, days).await;
            }
            let today = db.today().await;
            let row = |invoice, batch, days| purchase(invoice, batch, today - Days::new(days));
            let usual = [row("FIRST", "B-1", 40), row("LATEST", "B-1", 10)];
            let late = [SettlementRow { paid_out_on: today - Days::new(1), ..row("LATE", "B-2", 150) }];
            let [first, second] = if late_first { [&late[..], &usual] } else { [&usual[..], &late] };
            import(&db, 1, first).await;
            import(&db, 2, second).await;
            assert_eq!(db.open().await, "missing_at_doku MISSING", "late first: {late_first}");
        })
        .await;
    }
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

/// There may be thousands of them, and more every day.
#[tokio::test]
async fn what_a_person_closed_is_looked_at_once_a_day_and_not_at_all_without_an_order() {
    on_a_database(|db| async move {
        db.paid_before("INV-1", 10).await;
        let day = db.today().await - Days::new(10);
        let rows = [refund_of("INV-1", "B-1", day), purchase("INV-1", "B-1", day), purchase("NOBODYS", "B-1", day)];
        import(&db, 1, &rows).await;
        assert_eq!(db.open().await, "missing_here NOBODYS, refund_unexpected INV-1");
        let looks = "SELECT coalesce(string_agg(invoice_number || ' ' || (look_at > jenius_now() + interval '20 hours'), ', '
                                                ORDER BY invoice_number), '') FROM settlement_looks";
        assert_eq!(db.text(looks).await, "INV-1 false, NOBODYS false");
        db.execute("UPDATE settlement_breaks SET closed_at = jenius_now(), closed_by = 'person'").await.unwrap();
        let due = vec!["INV-1".to_owned(), "NOBODYS".to_owned()];
        let judging = Judging { by: By::Check, ..judging() };
        db.settlement().judge_group(&merchant(), due.clone(), &judging, None).await.unwrap();
        assert_eq!(db.text(looks).await, "INV-1 true");
        // What a person has not seen is looked at as before.
        db.execute("UPDATE settlement_breaks SET found = 'other'").await.unwrap();
        db.settlement().judge_group(&merchant(), due, &judging, None).await.unwrap();
        assert_eq!(db.text(looks).await, "INV-1 false, NOBODYS false");
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
        let judge =
            async || settlement.judge_group(&merchant(), vec!["INV-1".to_owned()], &judging(), None).await;
        judge().await.unwrap_err();
        assert_eq!(db.open().await, "refund_unexpected INV-1", "it is judged");
        db.execute("ALTER TABLE due RENAME COLUMN other TO prompted_at").await.unwrap();
        assert_eq!(judge().await.unwrap().asked, 1);
        assert_eq!(judge().await.unwrap().asked, 0, "once");
    })
    .await;
}

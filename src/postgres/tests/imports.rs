//! Imports of whole files: what is refused, held, and begun anew.

use super::*;
use crate::{
    app::settlement::{Begun, Consent, Import, ImportError, ImportOutcome, ImportRequest, lines::Place},
    config::{Config, RequiredSections, Source},
    domain::settlement::{
        amount::Marks,
        profile::{Column, Profile},
    },
};

/// With a profile `own` by which the order's number stands in a column of the merchant's own.
fn import(db: &Db, own: &str) -> Import {
    let mut config = Config::load(&Source::from_process(None), RequiredSections::NOTHING).unwrap().settlement;
    let columns = vec![(Column::Invoice, own.to_owned())];
    config.profiles.insert("own".to_owned(), Profile { name: "own".to_owned(), columns, ..Profile::doku() });
    Import { settlement: db.store.settlement(), config, merchants: vec![merchant()] }
}

fn request(profile: &str, consent: Consent) -> ImportRequest {
    let profile = profile.to_owned();
    ImportRequest { name: "a.csv".to_owned(), merchant: merchant(), profile, consent }
}

/// Of a paid order, which DOKU numbers in its own way.
async fn file(db: &Db) -> String {
    db.paid_order("INV-1").await;
    let day = db.text("SELECT to_char(jenius_now(), 'DD-MM-YYYY')").await;
    format!(
        "INVOICE NUMBER,NO ORDER,PAYMENT CHANNEL,TRANSACTION DATE,AMOUNT,FEE,PAY TO MERCHANT,PAY OUT DATE,TYPE\n\
         D-1,INV-1,Jenius,{day},50000,1500,48500,{day},Purchase\n"
    )
}

async fn run(
    import: &Import,
    profile: &str,
    consent: Consent,
    file: &str,
) -> Result<ImportOutcome, ImportError> {
    import.run(&request(profile, consent), file.as_bytes(), &Place::Database).await
}

fn is_held(outcome: &Result<ImportOutcome, ImportError>) -> bool {
    matches!(outcome, Ok(ImportOutcome::Held { rows: 1, without_order: 1, .. }))
}

fn is_done(outcome: &Result<ImportOutcome, ImportError>) -> bool {
    matches!(outcome, Ok(ImportOutcome::Done { rows: 1, counts, .. }) if counts.fits == 1)
}

#[tokio::test]
async fn a_held_file_is_read_anew_by_the_right_profile_or_by_a_mended_one() {
    for (first, second) in [(("doku", "NO ORDER"), "NO ORDER"), (("own", "INVOICE NUMBER"), "NO ORDER")] {
        on_a_database(|db| async move {
            let file = file(&db).await;
            let (profile, column) = first;
            let held = run(&import(&db, column), profile, Consent::Usual, &file).await;
            assert!(is_held(&held), "{held:?}");
            let again = run(&import(&db, column), profile, Consent::Usual, &file).await;
            assert!(is_held(&again), "nothing is mended yet: {again:?}");
            let done = run(&import(&db, second), "own", Consent::Usual, &file).await;
            assert!(is_done(&done), "{done:?}");
            assert_eq!(
                db.number("SELECT count(*) FROM settlement_rows").await,
                1,
                "nothing of the wrong reading"
            );
            assert_eq!(db.number("SELECT count(*) FROM settlement_files").await, 1);
        })
        .await;
    }
}

/// Of a row that cannot be read nothing is kept, neither an order nor that there is none.
#[tokio::test]
async fn a_file_whose_rows_cannot_be_read_is_held_and_read_anew_too() {
    on_a_database(|db| async move {
        let marked = ",\"50.000,00\",\"1.500,00\",\"48.500,00\",";
        let file = file(&db).await.replace(",50000,1500,48500,", marked);
        let mut import = import(&db, "NO ORDER");
        let held = run(&import, "own", Consent::Usual, &file).await;
        assert!(matches!(held, Ok(ImportOutcome::Held { rows: 0, .. })), "{held:?}");
        assert_eq!(db.number("SELECT count(*) FROM settlement_breaks").await, 0);
        let own = import.config.profiles.get_mut("own").unwrap();
        own.marks = Marks { decimal: ',', thousands: Some('.') };
        let done = run(&import, "own", Consent::Usual, &file).await;
        assert!(is_done(&done), "{done:?}");
    })
    .await;
}

#[tokio::test]
async fn all_rows_of_a_file_are_kept_whatever_ends_its_lines() {
    for (count, end) in [(2_500, "\r"), (1_500, "\r\n")] {
        on_a_database(|db| async move {
            let file = file(&db).await;
            let (header, row) = file.trim_end().split_once('\n').unwrap();
            let rows: String = (0..count).map(|n| row.replace("D-1", &format!("D-{n}")) + end).collect();
            let (import, file) = (import(&db, "NO ORDER"), format!("{header}{end}{rows}"));
            let done = run(&import, "doku", Consent::Anyway, &file).await;
            assert!(matches!(done, Ok(ImportOutcome::Done { rows, .. }) if rows == count), "{done:?}");
            assert_eq!(db.number("SELECT count(*) FROM settlement_rows").await, count);
        })
        .await;
    }
}

#[tokio::test]
async fn a_held_file_that_was_emptied_is_read_from_the_bytes_that_come_again() {
    on_a_database(|db| async move {
        let (file, import) = (file(&db).await, import(&db, "NO ORDER"));
        assert!(is_held(&run(&import, "doku", Consent::Usual, &file).await));
        super::super::settlement::empty_old_files(&db.pool, 0, false).await.unwrap();
        let number = db.number("SELECT key FROM settlement_files").await;
        let resumed = import.resume(merchant(), number).await;
        let Err(ImportError::Refused(why)) = resumed else { panic!("it has no bytes") };
        assert!(why.contains("bring the file in again"), "{why}");
        let done = run(&import, "doku", Consent::Anyway, &file).await;
        assert!(matches!(done, Ok(ImportOutcome::Done { rows: 1, .. })), "{done:?}");
    })
    .await;
}

/// A person who says so has seen the rows that are kept.
#[tokio::test]
async fn a_held_file_goes_on_where_it_is_when_a_person_says_anyway() {
    on_a_database(|db| async move {
        let (file, import) = (file(&db).await, import(&db, "NO ORDER"));
        assert!(is_held(&run(&import, "doku", Consent::Usual, &file).await));
        let key = db.number("SELECT key FROM settlement_files").await;
        let begun = import.begin(&request("doku", Consent::Anyway), file.as_bytes()).await.unwrap();
        let Begun::Kept(kept) = begun else { panic!("it goes on") };
        assert_eq!(kept.file(), key);
        import.finish(kept, Consent::Anyway, &Place::Database).await.unwrap();
    })
    .await;
}

/// Two invoices wait for a look, and one of them cannot be read any more.
#[tokio::test]
async fn a_look_judges_the_others_where_one_cannot_be_judged_and_waits_for_an_import() {
    on_a_database(|db| async move {
        let (file, import) = (file(&db).await, import(&db, "NO ORDER"));
        let second = file.lines().last().unwrap().replace("D-1", "D-2");
        let file = format!("{file}{second}\n");
        run(&import, "doku", Consent::Anyway, &file).await.unwrap();
        db.execute(
            "INSERT INTO settlement_looks (merchant, invoice_number, look_at)
             VALUES ('default', 'D-1', jenius_now()), ('default', 'D-2', jenius_now())
             ON CONFLICT (merchant, invoice_number) DO UPDATE SET look_at = excluded.look_at;
             ALTER TABLE settlement_rows DROP CONSTRAINT settlement_rows_kind_is_known;
             UPDATE settlement_rows SET kind = 'odd' WHERE invoice_number = 'D-1'",
        )
        .await
        .unwrap();
        let account = import.settlement.accounts().await.unwrap().remove(0);
        let due = async || import.settlement.due_looks(&merchant(), 9).await.unwrap();
        let lock = import.settlement.lock(&merchant()).await.unwrap().unwrap();
        import.look(&account).await.unwrap();
        assert_eq!(due().await.len(), 2, "an import has the merchant's lock");
        lock.end();
        for _ in 0..100 {
            import.look(&account).await.unwrap();
            if due().await.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?} are still due", due().await);
    })
    .await;
}

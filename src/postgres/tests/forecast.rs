//! What is said beforehand is what then happens, and saying it changes nothing.

use super::*;
use crate::{
    domain::{
        command::{ClaimForecast, Rejection},
        validate::{Code, Violation},
    },
    postgres::forecast,
};

/// What was foretold, in a word, and whether the claim then said the same.
async fn foretold(db: &Db, new: NewCommand) -> String {
    let before =
        db.number("SELECT count(*) FROM commands").await + db.number("SELECT count(*) FROM outbox").await;
    let prospect = forecast::forecast_claim(&db.pool, &new).await.unwrap();
    let after =
        db.number("SELECT count(*) FROM commands").await + db.number("SELECT count(*) FROM outbox").await;
    assert_eq!(before, after, "looking changes nothing");
    let outbox = db.number("SELECT count(*) FROM outbox").await;
    match (db.store.claim(new).await.unwrap(), prospect) {
        (Claimed::Granted(_), ClaimForecast::Claimed) => "claimed".to_owned(),
        (Claimed::Duplicate, ClaimForecast::Duplicate { published_again }) => {
            let told = db.number("SELECT count(*) FROM outbox").await - outbox;
            assert_eq!(told, i64::from(published_again));
            format!("duplicate, told again: {published_again}")
        }
        (Claimed::Rejected, ClaimForecast::Rejected(violations)) => {
            let [violation] = &violations[..] else { panic!("{violations:?}") };
            assert_eq!(db.rejection().await, violation.code.name());
            violation.code.name().to_owned()
        }
        (claimed, prospect) => panic!("foretold {prospect:?}, and it was {claimed:?}"),
    }
}

#[tokio::test]
async fn what_a_claim_would_find_is_what_it_finds() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let expired = |mut new: NewCommand| {
            new.command.expires_at = Some(chrono::DateTime::UNIX_EPOCH);
            new
        };
        let other_data = |mut new: NewCommand| {
            new.command.digest = [8; 32];
            new
        };
        let other_amount = new_command(CommandKind::Refund, "r2", "INV-1", 49_999);
        for (new, expected) in [
            (payment("p1", "INV-1"), "invoice_exists"),
            (payment("p2", "INV-2"), "claimed"),
            (payment("p2", "INV-2"), "duplicate, told again: false"),
            (expired(payment("p2", "INV-2")), "duplicate, told again: false"),
            (other_data(payment("p2", "INV-2")), "identity_conflict"),
            (expired(payment("p3", "INV-1")), "command_expired"),
            (payment("p1", "INV-1"), "duplicate, told again: true"),
            (refund("r0", "INV-0"), "order_unknown"),
            (refund("r1", "INV-2"), "order_not_paid"),
            (other_amount, "amount_mismatch"),
            (expired(refund("r3", "INV-1")), "command_expired"),
            (refund("r4", "INV-1"), "claimed"),
            (refund("r4", "INV-1"), "duplicate, told again: false"),
            (refund("r5", "INV-1"), "refund_in_progress"),
        ] {
            let id = new.command.identity.id.clone();
            assert_eq!(foretold(&db, new).await, expected, "{id:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_rejection_would_find_is_what_it_finds() {
    on_a_database(|db| async move {
        let broken = |id: &str, code: Code| {
            let violations = vec![Violation { code, field: "x".to_owned(), message: "y".to_owned() }];
            Rejection { command: payment(id, "INV-1").command, violations }
        };
        let late = |mut rejection: Rejection| {
            rejection.command.expires_at = Some(chrono::DateTime::UNIX_EPOCH);
            rejection
        };
        for (rejection, expected) in [
            (broken("1", Code::Missing), Code::Missing),
            (late(broken("2", Code::Missing)), Code::CommandExpired),
            (late(broken("3", Code::MerchantUnknown)), Code::MerchantUnknown),
        ] {
            let foretold = forecast::forecast_rejection(&db.pool, &rejection).await.unwrap();
            let ClaimForecast::Rejected(violations) = foretold else { panic!("{foretold:?}") };
            assert_eq!(violations.iter().map(|v| v.code).collect::<Vec<_>>(), [expected]);
            assert!(matches!(db.store.reject(rejection.clone()).await, Ok(Claimed::Rejected)));
            assert_eq!(db.rejection().await, expected.name());
            let again = forecast::forecast_rejection(&db.pool, &rejection).await.unwrap();
            assert_eq!(again, ClaimForecast::Duplicate { published_again: true });
        }
    })
    .await;
}

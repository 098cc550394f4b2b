//! Claims that the database does not know any more: it went back in time, and gave their keys to others, or to nobody.

use super::*;
use crate::{
    domain::{
        Time,
        action::{Action, ActionKind},
        finding::{AttemptKind, DokuError},
    },
    flow::ports::{ClaimError, OperatorStore},
};

/// As a restored backup from before the first claim: nothing is there, and the keys start again.
async fn go_back(db: &Db) {
    db.execute(
        "SET session_replication_role = replica;
         DELETE FROM attempts; DELETE FROM outbox; DELETE FROM events; DELETE FROM due; DELETE FROM orders;
         DELETE FROM commands;
         RESET session_replication_role;
         ALTER TABLE commands ALTER COLUMN key RESTART;
         ALTER TABLE orders ALTER COLUMN order_key RESTART",
    )
    .await
    .unwrap();
}

/// What stands under the keys afterwards: nothing, another's order, or the same one claimed again.
async fn and_then(db: &Db, invoice: Option<&str>) -> Option<Claim> {
    go_back(db).await;
    match invoice {
        Some(invoice) => Some(db.claim(payment("later", invoice)).await),
        None => None,
    }
}

const EVERYTHING: &str =
    "SELECT coalesce(string_agg(row(c.*)::text || row(o.*)::text || row(d.*)::text, ''), '')
                              || (SELECT count(*) FROM events)::text || (SELECT count(*) FROM attempts)::text
                              || (SELECT count(*) FROM outbox)::text
                          FROM commands c JOIN orders o ON o.payment = c.key JOIN due d USING (order_key)";

const AFTERWARDS: [Option<&str>; 3] = [None, Some("INV-2"), Some("INV-1")];

async fn writes_nothing(db: &Db, claim: &Claim, what: &str) {
    let before = db.text(EVERYTHING).await;
    for learned in [accepted("SUCCESS"), in_doubt(), not_acted(), reported("SUCCESS", 50_000)] {
        let recorded = db.store.record(claim, &learned, Duration::ZERO).await;
        assert!(matches!(recorded, Err(ClaimError::Forgotten)), "{what}: {recorded:?}");
    }
    let given_back = db.store.release_claim(claim).await;
    assert!(matches!(given_back, Err(ClaimError::Forgotten)), "{what}: {given_back:?}");
    assert_eq!(db.text(EVERYTHING).await, before, "{what}");
}

#[tokio::test]
async fn a_first_claims_answer_lands_on_no_other_order() {
    for invoice in AFTERWARDS {
        on_a_database(|db| async move {
            let claim = db.claim(payment("1", "INV-1")).await;
            let other = and_then(&db, invoice).await;
            if let Some(other) = &other {
                assert_eq!((other.order_key, other.command_key), (claim.order_key, claim.command_key));
            }
            writes_nothing(&db, &claim, &format!("{invoice:?}")).await;
            // Who claimed it last still holds it.
            if let Some(other) = other {
                db.store.record(&other, &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
                assert_eq!(db.state().await, "awaiting_payment");
            }
        })
        .await;
    }
}

/// Recorded together with others whose claims are known, it takes nothing from them.
#[tokio::test]
async fn one_forgotten_claim_among_others_is_told_apart() {
    on_a_database(|db| async move {
        let forgotten = db.claim(payment("1", "INV-1")).await;
        go_back(&db).await;
        let mut known = Vec::new();
        for n in 2..12 {
            known.push(db.claim(payment(&n.to_string(), &format!("INV-{n}"))).await);
        }
        let learned = accepted("PENDING");
        let record = |claim| db.store.record(claim, &learned, Duration::ZERO);
        let all = std::iter::once(&forgotten).chain(&known);
        let recorded = futures_util::future::join_all(all.map(record)).await;
        assert!(matches!(recorded[0], Err(ClaimError::Forgotten)), "{:?}", recorded[0]);
        for recorded in &recorded[1..] {
            assert!(recorded.is_ok(), "{recorded:?}");
        }
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'awaiting_payment'").await, 10);
        assert_eq!(db.number("SELECT count(*) FROM attempts").await, 10);
    })
    .await;
}

#[tokio::test]
async fn what_follow_up_took_on_is_forgotten_as_well() {
    for invoice in AFTERWARDS {
        on_a_database(|db| async move {
            let first = db.claim(payment("1", "INV-1")).await;
            db.store.record(&first, &accepted("PENDING"), Duration::ZERO).await.unwrap();
            db.jump(120).await;
            let claim = taken(&db.store).await;
            and_then(&db, invoice).await;
            writes_nothing(&db, &claim, &format!("{invoice:?}")).await;
        })
        .await;
    }
}

#[tokio::test]
async fn what_an_operator_asked_is_forgotten_as_well() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let asked = db
            .store
            .inquire_now(&merchant(), &InvoiceNumber::parse("INV-1").unwrap(), LEASE)
            .await
            .unwrap()
            .unwrap();
        and_then(&db, Some("INV-2")).await;
        writes_nothing(&db, &asked, "orders check").await;
    })
    .await;
}

/// The order is older than the backup, its refund is not.
#[tokio::test]
async fn a_refunds_answer_is_forgotten_with_its_claim() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let claim = db.claim(refund("2", "INV-1")).await;
        db.execute(
            "SET session_replication_role = replica;
             UPDATE orders SET state = 'paid', refund = NULL;
             DELETE FROM due; DELETE FROM commands WHERE kind = 'refund';
             RESET session_replication_role;
             ALTER TABLE commands ALTER COLUMN key RESTART WITH 2",
        )
        .await
        .unwrap();
        let other = db.claim(refund("3", "INV-1")).await;
        assert_eq!((other.order_key, other.command_key), (claim.order_key, claim.command_key));
        writes_nothing(&db, &claim, "a refund").await;
        assert_eq!(db.state().await, "refunding");
    })
    .await;
}

/// A look for what is parked decides nothing for a claim that is gone.
#[tokio::test]
async fn a_parked_notification_does_not_say_that_a_forgotten_claim_was_decided() {
    for invoice in AFTERWARDS {
        on_a_database(|db| async move {
            let claim = db.claim(payment("1", "INV-1")).await;
            db.store.release_claim(&claim).await.unwrap();
            let claim = taken(&db.store).await;
            and_then(&db, invoice).await;
            db.execute(
                "INSERT INTO notifications (merchant, invoice_number, request_id, status, amount, report_key)
                 VALUES ('default', 'INV-1', 'r', 'SUCCESS', '50000', 'said')",
            )
            .await
            .unwrap();
            let looked = db.store.apply_parked(&claim).await;
            assert!(matches!(looked, Err(ClaimError::Forgotten)), "{invoice:?}: {looked:?}");
        })
        .await;
    }
}

/// What time it is.
async fn restored_a_minute_ago(db: &Db) -> Time {
    db.execute("INSERT INTO restored (at) VALUES (jenius_now() - interval '60 s')").await.unwrap();
    sqlx::query_scalar("SELECT jenius_now()").fetch_one(&db.sql).await.unwrap()
}

/// By its `expirytime` alone, a command that the broker delivered before must not be called unsent: its claim may be
/// gone. It is not sent any more, and DOKU is asked.
#[tokio::test]
async fn what_expired_and_may_have_been_sent_is_asked_about_and_not_rejected() {
    for (kind, came_before, published, expected) in [
        (CommandKind::Payment, 0, None, "rejected"),
        (CommandKind::Payment, 1, None, "asked about"),
        (CommandKind::Payment, 0, Some(-100), "asked about"),
        (CommandKind::Payment, 0, Some(-10), "rejected"),
        (CommandKind::Refund, 0, None, "rejected"),
        (CommandKind::Refund, 1, None, "asked about"),
        (CommandKind::Refund, 0, Some(-100), "asked about"),
    ] {
        on_a_database(|db| async move {
            if kind == CommandKind::Refund {
                db.paid_order("INV-1").await;
            }
            let now = restored_a_minute_ago(&db).await;
            let before = |seconds| now + chrono::TimeDelta::seconds(seconds);
            let mut new = new_command(kind, "1", "INV-1", 50_000);
            new.command.expires_at = Some(before(-5));
            new.command.came_before = came_before;
            new.command.published_at = published.map(before);
            let claimed = db.store.claim(new).await.unwrap();
            let what = format!("{kind:?} {came_before} {published:?}");
            if expected == "rejected" {
                assert!(matches!(claimed, Claimed::Rejected), "{what}: {claimed:?}");
                return;
            }
            assert!(matches!(claimed, Claimed::Deferred), "{what}: {claimed:?}");
            let doubted =
                "SELECT count(*) FROM commands WHERE id = '1' AND maybe_acted_at IS NOT NULL AND sends = 0";
            assert_eq!(db.number(doubted).await, 1, "{what}");
            let inquiry = taken(&db.store).await;
            assert_eq!(inquiry.kind, AttemptKind::Inquiry, "{what}");
            let word = if kind == CommandKind::Payment { "SUCCESS" } else { "REFUNDED" };
            db.store.record(&inquiry, &reported(word, 50_000), Duration::ZERO).await.unwrap();
            let state = if kind == CommandKind::Payment { "paid" } else { "refunded" };
            assert_eq!(db.state().await, state, "{what}");
        })
        .await;
    }
}

/// Neither does what DOKU declines then: it may decline it because it did it before.
#[tokio::test]
async fn what_is_older_than_a_restore_is_asked_about_first_and_stays_in_doubt_when_it_is_declined() {
    for kind in [CommandKind::Payment, CommandKind::Refund] {
        on_a_database(|db| async move {
            if kind == CommandKind::Refund {
                db.paid_order("INV-1").await;
            }
            let now = restored_a_minute_ago(&db).await;
            let mut new = new_command(kind, "1", "INV-1", 50_000);
            new.command.published_at = Some(now - chrono::TimeDelta::seconds(100));
            assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)), "{kind:?}");
            let mut claim = taken(&db.store).await;
            assert_eq!(claim.kind, AttemptKind::Inquiry, "{kind:?}");
            let failed = InquiryFindingKind::Failed { why: "HTTP 500".to_owned() };
            let failed =
                Finding::Inquiry(InquiryFinding { kind: failed, http_status: None, retry_after: None });
            while claim.kind == AttemptKind::Inquiry {
                db.store.record(&claim, &failed, Duration::ZERO).await.unwrap();
                db.jump(5).await;
                claim = taken(&db.store).await;
            }
            let error = DokuError { code: "already_refunded".to_owned(), message: "no".to_owned() };
            db.store.record(&claim, &send(SendFindingKind::Declined(error)), Duration::ZERO).await.unwrap();
            let doubted = "SELECT count(*) FROM commands
                           WHERE id = '1' AND sends = 1 AND outcome IS NULL AND maybe_acted_at IS NOT NULL";
            assert_eq!(db.number(doubted).await, 1, "{kind:?}");
        })
        .await;
    }
}

/// The budget of a stranded command stands still, whatever else is written about its order.
#[tokio::test]
async fn a_restore_gives_stranded_commands_back_the_time_that_their_budgets_stood_still() {
    on_a_database(|db| async move {
        let now: Time = sqlx::query_scalar("SELECT jenius_now()").fetch_one(&db.sql).await.unwrap();
        for (id, expires_at) in [("1", None), ("2", Some(now + chrono::TimeDelta::seconds(1000)))] {
            let mut new = NewCommand { lease: None, ..payment(id, &format!("INV-{id}")) };
            new.command.expires_at = expires_at;
            assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)));
        }
        db.jump(60).await;
        db.store.look_for_stranded(&[]).await.unwrap();
        db.jump(5_000).await;
        let action = Action {
            kind: ActionKind::Restored,
            subject: "the database".to_owned(),
            merchant: None,
            reason: Some("restored".to_owned()),
            done_by: None,
            detail: None,
        };
        assert_eq!(db.store.went_back(action).await.unwrap(), 2);
        db.store.look_for_stranded(&[account()]).await.unwrap();
        for (of, least, most) in [("1", 5_800, 5_900), ("2", 990, 1_001)] {
            let left = format!(
                "SELECT extract(epoch FROM sends_end_at - claimed_at)::bigint FROM commands WHERE id = '{of}'"
            );
            let left = db.number(&left).await;
            assert!((least..=most).contains(&left), "{of}: {left} s");
        }
    })
    .await;
}

/// The claim was forgotten, and its order, which nothing was written about, was claimed anew under the same keys.
#[tokio::test]
async fn an_answer_to_a_first_send_that_was_claimed_anew_leaves_the_other_claim_as_it_is() {
    on_a_database(|db| async move {
        let forgotten = super::records::first_send(&db.store, payment("1", "INV-1")).await;
        db.execute("UPDATE due SET token = NULL, claimed_at = NULL, attempt = NULL, lease_ends_at = NULL")
            .await
            .unwrap();
        let other = taken(&db.store).await;
        db.store.record(&forgotten, &not_acted(), Duration::ZERO).await.unwrap();
        assert_eq!(db.text("SELECT token::text FROM due").await, other.token.to_string());
        db.store.record(&other, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        assert_eq!(db.types().await, ["jenius.payment.accepted.v1"]);
    })
    .await;
}

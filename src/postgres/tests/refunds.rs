//! Refunds: which may start, and that only one does.

use super::*;
use futures_util::future::join_all;

async fn refused(db: &Db, new: NewCommand) -> String {
    assert!(matches!(db.store.claim(new).await, Ok(Claimed::Rejected)));
    db.rejection().await
}

#[tokio::test]
async fn a_refund_is_refused_by_the_first_rule_it_breaks() {
    on_a_database(|db| async move {
        assert_eq!(refused(&db, refund("r0", "INV-1")).await, "order_unknown");
        let claim = db.claim(payment("1", "INV-1")).await;
        assert_eq!(refused(&db, refund("r1", "INV-1")).await, "order_not_paid");
        db.store.release_claim(&claim).await.unwrap();
        db.paid_order("INV-2").await;
        let other_amount = new_command(CommandKind::Refund, "r2", "INV-2", 49_999);
        assert_eq!(refused(&db, other_amount).await, "amount_mismatch");
        let mut expired = refund("r3", "INV-2");
        expired.command.expires_at = Some(chrono::DateTime::UNIX_EPOCH);
        assert_eq!(refused(&db, expired).await, "command_expired");
        let open = db.claim(refund("r4", "INV-2")).await;
        assert_eq!(refused(&db, refund("r5", "INV-2")).await, "refund_in_progress");
        db.store.record(&open, &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
        assert_eq!(refused(&db, refund("r6", "INV-2")).await, "already_refunded");
    })
    .await;
}

#[tokio::test]
async fn of_fifty_concurrent_refunds_one_starts() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let ids: Vec<_> = (0..50).map(|n| format!("r{n}")).collect();
        let claims = join_all(ids.iter().map(|id| db.store.claim(refund(id, "INV-1")))).await;
        let ours = claims.iter().filter(|c| matches!(c, Ok(Claimed::Granted(_)))).count();
        let rejected = claims.iter().filter(|c| matches!(c, Ok(Claimed::Rejected))).count();
        assert_eq!((ours, rejected), (1, 49), "{claims:?}");
        assert_eq!(db.state().await, "refunding");
    })
    .await;
}

#[tokio::test]
async fn a_refund_whose_commit_was_not_answered_is_recognised_by_its_token() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let new = refund("r1", "INV-1");
        let first = db.claim(new.clone()).await;
        let again = db.claim(new).await;
        assert_eq!(first.command_key, again.command_key);
        assert!(matches!(db.store.claim(refund("r1", "INV-1")).await, Ok(Claimed::Duplicate)));
    })
    .await;
}

#[tokio::test]
async fn a_refunds_events_speak_of_the_refund_and_follow_the_payments() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let claim = db.claim(refund("r1", "INV-1")).await;
        db.store.record(&claim, &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
        let told = db.outbox().await;
        let types: Vec<_> = told.iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert_eq!(
            types,
            [
                "jenius.payment.accepted.v1",
                "jenius.order.paid.v1",
                "jenius.refund.accepted.v1",
                "jenius.order.refunded.v1"
            ]
        );
        let versions: Vec<_> = told.iter().map(|e| e["sequence"].as_str().unwrap()).collect();
        assert_eq!(versions, ["1", "2", "3", "4"], "contiguous, as decimal strings");
        assert_eq!(told[1]["data"]["command_id"], "pay-INV-1");
        assert_eq!(told[2]["data"]["command_id"], "r1");
        assert_eq!(told[2]["data"]["request_id"], claim.request.request_id.as_str());
        assert_eq!(told[2]["data"]["state"], "refunding");
        assert_eq!(told[3]["data"]["previous_state"], "refunding");
        assert_eq!(db.number("SELECT count(*) FROM commands WHERE outcome = 'accepted'").await, 2);
        assert_eq!(db.number("SELECT count(*) FROM due").await, 0);
        assert_eq!(db.store.balance().await.unwrap(), Some(0));
    })
    .await;
}

/// No foreign key refuses them.
#[tokio::test]
async fn rows_that_point_to_nothing_are_counted() {
    on_a_database(|db| async move {
        let _claim = db.claim(payment("1", "INV-1")).await;
        assert_eq!(db.store.orphans().await.unwrap(), 0);
        for (orphans, damage) in (1..).zip([
            "INSERT INTO outbox (event_id) VALUES (gen_random_uuid())",
            "INSERT INTO due SELECT (jsonb_populate_record(due, '{\"order_key\": -1}')).* FROM due",
            "UPDATE orders SET payment = -1",
        ]) {
            db.execute(damage).await.unwrap();
            assert_eq!(db.store.orphans().await.unwrap(), orphans, "{damage}");
        }
    })
    .await;
}

//! Payments: first seen, seen before, and refused.

use super::*;
use crate::domain::{
    Time,
    command::Rejection,
    validate::{Code, Violation},
};
use crate::{
    flow::ports::{Outbox, RelayLeadership, StoreError},
    postgres::PostgresLeadership,
};
use chrono::TimeDelta;
use futures_util::future::join_all;
use tokio::time::Instant;

async fn database_now(db: &Db) -> Time {
    sqlx::query_scalar("SELECT jenius_now()").fetch_one(&db.sql).await.unwrap()
}

#[tokio::test]
async fn a_new_payment_is_ours_and_due_when_its_lease_runs_out() {
    on_a_database(|db| async move {
        let new = payment("1", "INV-1");
        let before = Instant::now();
        let claim = db.claim(new.clone()).await;
        assert_eq!(claim.request, new.request);
        assert_eq!((claim.token, claim.kind), (new.token, crate::domain::finding::AttemptKind::Send));
        assert!(claim.lease_ends <= Instant::now() + LEASE && claim.lease_ends >= before + LEASE);
        assert!(claim.sends_end <= Instant::now() + BUDGET && claim.sends_end >= before + BUDGET);
        assert_eq!(db.state().await, "submitting");
        let lease =
            "SELECT round(extract(epoch FROM lease_ends_at - claimed_at))::bigint FROM due WHERE token IS NOT NULL";
        assert_eq!(db.number(lease).await, 45);
        let budget = "SELECT round(extract(epoch FROM d.sends_end_at - c.claimed_at))::bigint
                      FROM due d, commands c WHERE d.sends_end_at = c.sends_end_at";
        assert_eq!(db.number(budget).await, 900);
        assert_eq!(db.number("SELECT count(*) FROM events").await, 0, "a claim is not announced");
    })
    .await;
}

#[tokio::test]
async fn a_payment_without_a_permit_is_due_at_once() {
    on_a_database(|db| async move {
        let new = NewCommand { lease: None, ..payment("1", "INV-1") };
        assert!(matches!(db.store.claim(new.clone()).await, Ok(Claimed::Deferred)));
        assert_eq!(db.store.due(&filter()).await.unwrap().len(), 1);
        assert!(
            matches!(db.store.claim(new).await, Ok(Claimed::Duplicate)),
            "a lost reply is no second claim"
        );
    })
    .await;
}

#[tokio::test]
async fn a_claim_whose_commit_was_not_answered_is_recognised_by_its_token() {
    on_a_database(|db| async move {
        // Connecting takes a while, which a lease would show.
        let _ = db.claim(payment("0", "INV-0")).await;
        let new = payment("1", "INV-1");
        let first = db.claim(new.clone()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let again = db.claim(new.clone()).await;
        assert_eq!((first.order_key, first.command_key), (again.order_key, again.command_key));
        assert!(again.lease_ends <= first.lease_ends + Duration::from_millis(500), "it began anew");
        let other_delivery = NewCommand { token: Uuid::new_v4(), ..new };
        assert!(matches!(db.store.claim(other_delivery).await, Ok(Claimed::Duplicate)));
        assert_eq!(db.number("SELECT count(*) FROM commands").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_duplicate_publishes_a_known_outcome_again_with_the_same_event_id() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        assert!(matches!(db.store.claim(payment("1", "INV-1")).await, Ok(Claimed::Duplicate)));
        assert!(db.outbox().await.is_empty(), "no outcome is known yet");
        db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        let expired = Command { expires_at: Some(database_now(&db).await), ..payment("1", "INV-1").command };
        let late = NewCommand { command: expired, ..payment("1", "INV-1") };
        assert!(matches!(db.store.claim(late).await, Ok(Claimed::Duplicate)), "a duplicate never expires");
        let told = db.outbox().await;
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], told[1]);
        let free = "SELECT count(*) FROM outbox WHERE order_key IS NULL";
        assert_eq!(db.number(free).await, 0, "the first publication is still to come: it keeps its turn");
        let mut outbox = PostgresLeadership::new(db.pool.clone()).acquire().await.unwrap().unwrap();
        let sequences: Vec<_> =
            outbox.unpublished(10, &LeftOut::default()).await.unwrap().iter().map(|e| e.sequence).collect();
        outbox.mark_published(&sequences).await.unwrap();
        assert!(matches!(db.store.claim(payment("1", "INV-1")).await, Ok(Claimed::Duplicate)));
        assert_eq!(db.number(free).await, 1, "a re-publication holds no order back");
        assert_eq!(db.outbox().await, told[..1]);
    })
    .await;
}

#[tokio::test]
async fn the_same_identity_with_other_data_is_a_conflict_and_leaves_the_first_alone() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        let mut other = payment("1", "INV-1");
        other.command.digest = [8; 32];
        let mut elsewhere = payment("1", "INV-1");
        elsewhere.command.merchant = "other".to_owned();
        for conflict in [other, elsewhere, refund("1", "INV-1")] {
            assert!(matches!(db.store.claim(conflict).await, Ok(Claimed::Rejected)));
            assert_eq!(db.rejection().await, "identity_conflict");
        }
        assert_eq!(db.number("SELECT count(*) FROM commands WHERE outcome IS NULL").await, 1);
        db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        assert_eq!(db.state().await, "awaiting_payment");
    })
    .await;
}

#[tokio::test]
async fn an_invoice_number_is_used_once() {
    on_a_database(|db| async move {
        let _first = db.claim(payment("1", "INV-1")).await;
        assert!(matches!(db.store.claim(payment("2", "INV-1")).await, Ok(Claimed::Rejected)));
        assert_eq!(db.rejection().await, "invoice_exists");
        assert!(matches!(db.store.claim(payment("2", "INV-1")).await, Ok(Claimed::Duplicate)));
        let told = db.outbox().await;
        assert_eq!((told.len(), &told[0]), (2, &told[1]), "a rejection too is published again");
        // Each merchant numbers by itself.
        let other = MerchantName::parse("other").unwrap();
        let mut others = payment("3", "INV-1");
        others.command.merchant = other.to_string();
        others.order.merchant = other.clone();
        Arc::get_mut(&mut others.request).unwrap().merchant = other;
        assert!(matches!(db.store.claim(others).await, Ok(Claimed::Granted(_))));
    })
    .await;
}

#[tokio::test]
async fn an_expired_payment_is_rejected_before_its_invoice_is_looked_at() {
    on_a_database(|db| async move {
        let _first = db.claim(payment("1", "INV-1")).await;
        for invoice in ["INV-1", "INV-2"] {
            let mut new = payment(invoice, invoice);
            new.command.expires_at = Some(database_now(&db).await - TimeDelta::seconds(1));
            assert!(matches!(db.store.claim(new).await, Ok(Claimed::Rejected)));
            assert_eq!(db.rejection().await, "command_expired");
        }
        assert_eq!(db.number("SELECT count(*) FROM orders").await, 1);
    })
    .await;
}

#[tokio::test]
async fn sends_end_with_the_expirytime_where_that_is_earlier() {
    on_a_database(|db| async move {
        let mut new = payment("1", "INV-1");
        new.command.expires_at = Some(database_now(&db).await + TimeDelta::seconds(60));
        let claim = db.claim(new).await;
        assert!(claim.sends_end <= Instant::now() + Duration::from_secs(60));
        assert_eq!(db.number("SELECT count(*) FROM due d JOIN commands c USING (sends_end_at)").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_hundred_concurrent_claims_of_one_command_make_one_send() {
    on_a_database(|db| async move {
        let claims = join_all((0..100).map(|_| db.store.claim(payment("1", "INV-1")))).await;
        let ours = claims.iter().filter(|c| matches!(c, Ok(Claimed::Granted(_)))).count();
        let duplicates = claims.iter().filter(|c| matches!(c, Ok(Claimed::Duplicate))).count();
        assert_eq!((ours, duplicates), (1, 99), "{claims:?}");
        assert_eq!(db.number("SELECT count(*) FROM commands").await, 1);
    })
    .await;
}

#[tokio::test]
async fn of_many_commands_for_one_invoice_one_is_claimed_and_the_others_are_told_why() {
    on_a_database(|db| async move {
        let ids: Vec<_> = (0..30).map(|n| format!("c{n}")).collect();
        let claims = join_all(ids.iter().map(|id| db.store.claim(payment(id, "INV-1")))).await;
        let ours = claims.iter().filter(|c| matches!(c, Ok(Claimed::Granted(_)))).count();
        let rejected = claims.iter().filter(|c| matches!(c, Ok(Claimed::Rejected))).count();
        assert_eq!((ours, rejected), (1, 29), "{claims:?}");
        assert_eq!(db.number("SELECT count(*) FROM commands WHERE outcome = 'rejected'").await, 29);
    })
    .await;
}

fn rejection(id: &str, code: Code, expires_at: Option<Time>) -> Rejection {
    let mut command = Command { expires_at, ..payment(id, "INV-1").command };
    if code == Code::MerchantUnknown {
        "nobody\0".clone_into(&mut command.merchant);
    }
    let violation = |field: &str| Violation { code, field: field.to_owned(), message: "allowed".to_owned() };
    Rejection { command, violations: vec![violation("order.amount"), violation("customer.name")] }
}

#[tokio::test]
async fn a_rejection_is_stored_and_tells_every_violation() {
    on_a_database(|db| async move {
        let new = || rejection("1", Code::TooLong, None);
        assert!(matches!(db.store.reject(new()).await, Ok(Claimed::Rejected)));
        let told = db.outbox().await.pop().unwrap();
        assert_eq!(told["source"], "/jenius-pay/default");
        assert_eq!(told["subject"], "INV-1");
        assert_eq!(told.get("sequence"), None);
        assert_eq!(
            told["data"],
            serde_json::json!({
                "merchant": "default", "command_id": "1", "command_source": "/shop", "invoice_number": "INV-1",
                "errors": [
                    {"code": "too_long", "field": "order.amount", "message": "allowed"},
                    {"code": "too_long", "field": "customer.name", "message": "allowed"},
                ]
            })
        );
        assert!(matches!(db.store.reject(new()).await, Ok(Claimed::Duplicate)));
        assert!(matches!(db.store.claim(payment("1", "INV-1")).await, Ok(Claimed::Duplicate)));
        let mut other = new();
        other.command.digest = [9; 32];
        assert!(matches!(db.store.reject(other).await, Ok(Claimed::Rejected)));
        assert_eq!(db.rejection().await, "identity_conflict");
        assert_eq!(db.number("SELECT count(*) FROM commands").await, 1);
    })
    .await;
}

#[tokio::test]
async fn an_expired_command_is_told_only_that_unless_its_merchant_is_unknown() {
    on_a_database(|db| async move {
        let passed = Some(database_now(&db).await - TimeDelta::seconds(1));
        assert!(matches!(
            db.store.reject(rejection("1", Code::TooLong, passed)).await,
            Ok(Claimed::Rejected)
        ));
        assert_eq!(db.rejection().await, "command_expired");
        let unknown = rejection("2", Code::MerchantUnknown, passed);
        assert!(matches!(db.store.reject(unknown).await, Ok(Claimed::Rejected)));
        let told = db.outbox().await.pop().unwrap();
        assert_eq!(told["source"], "/jenius-pay");
        assert_eq!(told["data"]["errors"][0]["code"], "merchant_unknown");
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_says_so() {
    let nowhere = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(1).username("x");
    let store = PostgresStore::with_jitter(pool(nowhere, 1), schedule(), Arc::new(|| 0.5));
    assert!(matches!(store.claim(payment("1", "INV-1")).await, Err(StoreError::Away(_))));
}

/// The property of a delivery is another clock's: a publisher may set it in milliseconds, or keep it when it republishes.
#[tokio::test]
async fn a_payment_without_a_time_has_its_whole_budget_whenever_it_was_published() {
    on_a_database(|db| async move {
        let long_ago = database_now(&db).await - chrono::TimeDelta::hours(1);
        for (id, dated_at) in [("1", None), ("2", Some(long_ago))] {
            let mut new = payment(id, &format!("INV-{id}"));
            new.command.budget_from_time = Some(BUDGET);
            (new.command.published_at, new.command.dated_at) = (Some(long_ago), dated_at);
            let claimed = db.store.claim(new).await.unwrap();
            assert_eq!(matches!(claimed, Claimed::Granted(_)), dated_at.is_none(), "{claimed:?}");
            assert_eq!(matches!(claimed, Claimed::Rejected), dated_at.is_some(), "{claimed:?}");
        }
        let left =
            "SELECT extract(epoch FROM sends_end_at - claimed_at)::bigint FROM commands WHERE id = '1'";
        assert_eq!(db.number(left).await, 900);
        assert_eq!(db.number("SELECT count(*) FROM commands WHERE expires_at IS NOT NULL").await, 0);
    })
    .await;
}

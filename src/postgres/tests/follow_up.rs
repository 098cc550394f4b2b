//! What is due, and taking it on: lost attempts, ended sends, strangers' accounts.

use super::*;
use crate::{
    domain::learned::AttemptKind,
    flow::ports::{DueOrder, OperatorStore, Taken},
};
use futures_util::future::join_all;

async fn only_due(db: &Db) -> DueOrder {
    let mut due = db.store.due(&filter()).await.unwrap();
    assert_eq!(due.len(), 1);
    due.pop().unwrap()
}

async fn take(db: &Db) -> Claim {
    match db.store.take(&only_due(db).await, LEASE).await.unwrap() {
        Taken::Attempt(claim) => *claim,
        other => panic!("not taken: {other:?}"),
    }
}

#[tokio::test]
async fn an_order_is_due_when_its_lease_runs_out_and_not_before() {
    on_a_database(|db| async move {
        let _claim = db.claim(payment("1", "INV-1")).await;
        assert!(db.store.due(&filter()).await.unwrap().is_empty());
        let wait = db.store.next_due_in().await.unwrap().unwrap();
        assert!(wait <= LEASE && wait > LEASE - Duration::from_secs(5), "{wait:?}");
        db.jump(46).await;
        assert_eq!(only_due(&db).await.kind, AttemptKind::Send);
        assert_eq!(db.store.next_due_in().await.unwrap(), None, "what is due already is not counted");
    })
    .await;
}

#[tokio::test]
async fn a_lost_send_may_have_acted_and_is_asked_about_when_its_time_has_come() {
    on_a_database(|db| async move {
        let first = db.claim(payment("1", "INV-1")).await;
        db.jump(46).await;
        let again = take(&db).await;
        assert_eq!(again.kind, AttemptKind::Send);
        assert_eq!(again.request, first.request, "the stored bytes, account and Request-Id");
        assert_ne!(again.token, first.token);
        assert_eq!(db.text("SELECT result FROM attempts").await, "lost");
        assert_eq!(
            db.number("SELECT count(*) FROM commands WHERE maybe_acted_at IS NOT NULL AND sends = 1").await,
            1
        );
        db.jump(1000).await;
        let inquiry = take(&db).await;
        assert_eq!(inquiry.kind, AttemptKind::Inquiry, "its sends have ended, and it is in doubt");
    })
    .await;
}

#[tokio::test]
async fn ended_sends_that_did_nothing_are_abandoned_without_asking() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.record(&claim, &not_acted(), Duration::ZERO).await.unwrap();
        db.jump(901).await;
        let due = only_due(&db).await;
        assert_eq!(due.kind, AttemptKind::Inquiry, "it needs no permit to send");
        assert!(matches!(db.store.take(&due, LEASE).await, Ok(Taken::Concluded)));
        assert_eq!(db.state().await, "abandoned");
        assert_eq!(db.types().await, ["jenius.payment.abandoned.v1"]);
        assert_eq!(db.number("SELECT count(*) FROM due").await, 0);
        assert!(matches!(db.store.take(&due, LEASE).await, Ok(Taken::Gone)));
    })
    .await;
}

#[tokio::test]
async fn of_many_that_take_one_order_one_has_it() {
    on_a_database(|db| async move {
        let new = NewCommand { lease: None, ..payment("1", "INV-1") };
        assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)));
        let due = only_due(&db).await;
        let taken = join_all((0..20).map(|_| db.store.take(&due, LEASE))).await;
        let attempts = taken.iter().filter(|t| matches!(t, Ok(Taken::Attempt(_)))).count();
        let gone = taken.iter().filter(|t| matches!(t, Ok(Taken::Gone))).count();
        assert_eq!((attempts, gone), (1, 19), "{taken:?}");
    })
    .await;
}

#[tokio::test]
async fn a_permit_for_an_inquiry_is_none_for_a_send() {
    on_a_database(|db| async move {
        let new = NewCommand { lease: None, ..payment("1", "INV-1") };
        assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)));
        let inquiry = DueOrder { kind: AttemptKind::Inquiry, ..only_due(&db).await };
        assert!(matches!(db.store.take(&inquiry, LEASE).await, Ok(Taken::Gone)));
        assert_eq!(take(&db).await.kind, AttemptKind::Send);
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_is_given_back_is_due_again_and_was_no_attempt() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.give_back(&claim).await.unwrap();
        let again = take(&db).await;
        assert_eq!(db.number("SELECT count(*) FROM attempts").await, 0);
        assert_eq!(db.number("SELECT count(*) FROM commands WHERE maybe_acted_at IS NOT NULL").await, 0);
        db.store.give_back(&claim).await.unwrap();
        assert!(db.store.due(&filter()).await.unwrap().is_empty(), "an old claim gives nothing back");
        drop(again);
    })
    .await;
}

#[tokio::test]
async fn stopped_sends_are_not_listed_but_inquiries_and_ended_sends_are() {
    on_a_database(|db| async move {
        let sending = db.claim(payment("1", "INV-1")).await;
        db.store.record(&sending, &in_doubt(), Duration::ZERO).await.unwrap();
        let waiting = db.claim(payment("2", "INV-2")).await;
        db.store.record(&waiting, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        let all_stopped = DueFilter { no_sends: true, ..filter() };
        let merchant_stopped = DueFilter { no_sends_for: vec![merchant()], ..filter() };
        for (seconds, listed) in [(0, 0), (120, 1), (1000, 2)] {
            db.jump(seconds).await;
            for stopped in [&all_stopped, &merchant_stopped] {
                let due = db.store.due(stopped).await.unwrap();
                assert_eq!(due.len(), listed, "after {seconds} s");
                assert!(due.iter().all(|d| d.kind == AttemptKind::Inquiry));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_goes_to_the_account_and_host_it_was_made_for_or_nowhere() {
    on_a_database(|db| async move {
        let new = NewCommand { lease: None, ..payment("1", "INV-1") };
        assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)));
        let others = [
            Account { client_id: "BRN-2".to_owned(), ..account() },
            Account { base_url: "https://elsewhere.example".to_owned(), ..account() },
            Account { merchant: MerchantName::parse("other").unwrap(), ..account() },
        ];
        for other in others {
            let accounts = vec![other];
            db.store.look_for_stranded(&accounts).await.unwrap();
            assert_eq!(db.store.gauges().await.unwrap().stranded_orders, 1);
            assert!(db.store.due(&filter()).await.unwrap().is_empty(), "not let go yet");
            let strangers = DueFilter { accounts, ..filter() };
            assert!(db.store.due(&strangers).await.unwrap().is_empty());
        }
        db.store.look_for_stranded(&[account()]).await.unwrap();
        assert_eq!(db.store.gauges().await.unwrap().stranded_orders, 0);
        assert_eq!(only_due(&db).await.merchant, merchant());
    })
    .await;
}

#[tokio::test]
async fn the_budget_of_a_stranded_order_stands_still_and_its_expirytime_does_not() {
    on_a_database(|db| async move {
        let new = NewCommand { lease: None, ..payment("1", "INV-1") };
        assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)));
        let mut expiring = NewCommand { lease: None, ..payment("2", "INV-2") };
        let end: crate::domain::Time = sqlx::query_scalar("SELECT jenius_now() + interval '600 seconds'")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        expiring.command.expires_at = Some(end);
        assert!(matches!(db.store.claim(expiring).await, Ok(Claimed::Deferred)));
        db.jump(60).await;
        db.store.look_for_stranded(&[]).await.unwrap();
        db.jump(10_000).await;
        db.store.look_for_stranded(&[account()]).await.unwrap();
        let due = db.store.due(&filter()).await.unwrap();
        let kinds: Vec<AttemptKind> = due.iter().map(|d| d.kind).collect();
        // The first has 840 s left to send; the second expired meanwhile, and is only concluded.
        assert_eq!(kinds, [AttemptKind::Send, AttemptKind::Inquiry]);
    })
    .await;
}

/// `orders check` asks about it beside its schedule, by whatever account it has itself.
#[tokio::test]
async fn a_question_about_a_stranded_order_does_not_forget_how_long_its_budget_stood_still() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.record(&claim, &in_doubt(), Duration::ZERO).await.unwrap();
        db.jump(120).await;
        db.store.look_for_stranded(&[]).await.unwrap();
        let stood_still = "SELECT round(extract(epoch FROM sends_end_at - claimed_at))::bigint FROM commands";
        assert_eq!(db.number(stood_still).await, 900);
        db.jump(620).await;
        let invoice = InvoiceNumber::parse("INV-1").unwrap();
        let asked = db.store.inquire_now(&merchant(), &invoice, LEASE).await.unwrap().unwrap();
        db.store.give_back(&asked).await.unwrap();
        let asked = db.store.inquire_now(&merchant(), &invoice, LEASE).await.unwrap().unwrap();
        let finding = InquiryFinding::Failed { why: "HTTP 500".to_owned() };
        let failed = InquiryLearned { finding, http_status: Some(500), retry_after: None };
        db.store.record(&asked, &Learned::Inquiry(failed), Duration::ZERO).await.unwrap();
        assert_eq!(db.store.gauges().await.unwrap().stranded_orders, 1);
        db.store.look_for_stranded(&[account()]).await.unwrap();
        assert_eq!(db.number(stood_still).await, 1400);
    })
    .await;
}

#[tokio::test]
async fn an_order_that_was_taken_is_locked_and_others_skip_it() {
    on_a_database(|db| async move {
        let new = NewCommand { lease: None, ..payment("1", "INV-1") };
        assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)));
        let due = only_due(&db).await;
        let mut other = db.pool.begin().await.unwrap();
        sqlx::query("SELECT 1 FROM orders FOR UPDATE").execute(&mut *other).await.unwrap();
        assert!(matches!(db.store.take(&due, LEASE).await, Ok(Taken::Gone)));
        other.rollback().await.unwrap();
        assert!(matches!(db.store.take(&due, LEASE).await, Ok(Taken::Attempt(_))));
    })
    .await;
}

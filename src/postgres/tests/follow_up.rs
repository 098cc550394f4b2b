//! What is due, and taking it on: lost attempts, ended sends, strangers' accounts.

use super::*;
use crate::{
    domain::{
        finding::AttemptKind,
        schedule::{InquiryRank, SendRank},
    },
    flow::ports::{OperatorStore, StoreError},
};
use futures_util::future::join_all;

async fn only_due(db: &Db) -> DueOrder {
    let mut due = db.store.due(&filter()).await.unwrap();
    assert_eq!(due.len(), 1, "{due:?}");
    due.pop().unwrap()
}

async fn take(db: &Db) -> Claim {
    taken(&db.store).await
}

async fn take_one(db: &Db, due: &DueOrder) -> Result<DueClaim, StoreError> {
    db.store.claim_due(due, for_it(due), LEASE).await
}

async fn defer(db: &Db, id: &str, invoice: &str) {
    let new = NewCommand { lease: None, ..payment(id, invoice) };
    assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)));
}

const FIRST: DueWhat = DueWhat::Send { rank: SendRank::First, asks_first: false };

#[tokio::test]
async fn an_order_is_due_when_its_lease_runs_out_and_not_before() {
    on_a_database(|db| async move {
        let _claim = db.claim(payment("1", "INV-1")).await;
        assert!(db.store.due(&filter()).await.unwrap().is_empty());
        let wait = db.store.next_due_in(&filter()).await.unwrap().unwrap();
        assert!(wait <= LEASE && wait > LEASE - Duration::from_secs(5), "{wait:?}");
        db.jump(46).await;
        assert_eq!(only_due(&db).await.what, DueWhat::Lost);
        assert_eq!(
            db.store.next_due_in(&filter()).await.unwrap(),
            None,
            "what is due already is not counted"
        );
    })
    .await;
}

#[tokio::test]
async fn a_lost_send_may_have_acted_and_is_asked_about_when_its_time_has_come() {
    on_a_database(|db| async move {
        let first = db.claim(payment("1", "INV-1")).await;
        db.jump(46).await;
        let lost = only_due(&db).await;
        assert!(matches!(take_one(&db, &lost).await, Ok(DueClaim::Gone)), "nobody is asked for it");
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
async fn ended_sends_that_did_nothing_are_abandoned_only_once_doku_was_asked() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.record(&claim, &not_acted(), Duration::ZERO).await.unwrap();
        db.jump(901).await;
        assert!(db.store.due(&filter()).await.unwrap().is_empty(), "the end is not long enough ago");
        db.jump(961).await;
        assert_eq!(only_due(&db).await.what, DueWhat::Inquiry(InquiryRank::Conclusion));
        let asked = take(&db).await;
        let finding = InquiryFindingKind::NotFound { proves: false };
        let nothing =
            Finding::Inquiry(InquiryFinding { kind: finding, http_status: Some(404), retry_after: None });
        db.store.record(&asked, &nothing, Duration::ZERO).await.unwrap();
        assert_eq!(db.state().await, "abandoned");
        assert_eq!(db.types().await, ["jenius.payment.abandoned.v1"]);
        assert_eq!(db.number("SELECT count(*) FROM due").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_payment_that_our_records_lost_is_found_before_it_is_abandoned() {
    on_a_database(|db| async move {
        defer(&db, "1", "INV-1").await;
        db.jump(961).await;
        let asked = take(&db).await;
        assert_eq!(asked.kind, AttemptKind::Inquiry);
        db.store.record(&asked, &reported("SUCCESS", 50_000), Duration::ZERO).await.unwrap();
        assert_eq!(db.types().await, ["jenius.payment.accepted.v1", "jenius.order.paid.v1"]);
    })
    .await;
}

/// Each merchant and each kind has a list of its own: whoever has most in it is in nobody's way.
#[tokio::test]
async fn nobodys_backlog_hides_what_is_due_for_another() {
    on_a_database(|db| async move {
        for n in 0..6 {
            defer(&db, &n.to_string(), &format!("INV-{n}")).await;
        }
        let other = MerchantName::parse("other").unwrap();
        db.execute(
            "UPDATE commands SET merchant = 'other' WHERE invoice_number = 'INV-5';
             UPDATE orders SET merchant = 'other' WHERE invoice_number = 'INV-5';
             UPDATE due SET merchant = 'other' WHERE order_key = (SELECT max(order_key) FROM due);
             UPDATE due SET inquire_rank = 0, inquire_at = jenius_now()
             WHERE order_key = (SELECT min(order_key) FROM due)",
        )
        .await
        .unwrap();
        let of = |merchant: MerchantName, sends, inquiries| DueOf {
            account: Account { merchant, ..account() },
            sends,
            inquiries,
        };
        let filter = DueFilter { merchants: vec![of(merchant(), 2, 1), of(other.clone(), 2, 1)], lost: 1 };
        let due = db.store.due(&filter).await.unwrap();
        let count = |merchant: &MerchantName, is_send: bool| {
            let counted =
                |d: &&DueOrder| d.merchant == *merchant && matches!(d.what, DueWhat::Send { .. }) == is_send;
            due.iter().filter(counted).count()
        };
        assert_eq!((count(&merchant(), true), count(&merchant(), false)), (2, 1), "{due:?}");
        assert_eq!((count(&other, true), count(&other, false)), (1, 0), "{due:?}");
    })
    .await;
}

#[tokio::test]
async fn payments_with_most_time_left_go_first() {
    on_a_database(|db| async move {
        for n in 0..3 {
            defer(&db, &n.to_string(), &format!("INV-{n}")).await;
        }
        let due = db.store.due(&filter()).await.unwrap();
        let keys: Vec<i64> = due.iter().map(|order| order.order_key).collect();
        let mut newest_first = keys.clone();
        newest_first.sort_unstable_by_key(|key| std::cmp::Reverse(*key));
        assert_eq!(keys, newest_first);
    })
    .await;
}

#[tokio::test]
async fn a_resend_waits_for_its_inquiry_unless_that_is_held_back() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.record(&claim, &in_doubt(), Duration::ZERO).await.unwrap();
        db.jump(61).await;
        let due = db.store.due(&filter()).await.unwrap();
        let asks_first = DueWhat::Send { rank: SendRank::Again, asks_first: true };
        assert_eq!(due[0].what, asks_first, "{due:?}");
        assert_eq!(due[1].what, DueWhat::Inquiry(InquiryRank::Doubt), "{due:?}");
        let held_back =
            |inquiry_held_back| db.store.claim_due(&due[0], DueNeed::Send { inquiry_held_back }, LEASE);
        assert!(matches!(held_back(false).await, Ok(DueClaim::Gone)));
        let Ok(DueClaim::Attempt(send)) = held_back(true).await else { panic!("not taken") };
        assert_eq!(send.kind, AttemptKind::Send);
    })
    .await;
}

#[tokio::test]
async fn of_many_that_take_one_order_one_has_it() {
    on_a_database(|db| async move {
        defer(&db, "1", "INV-1").await;
        let due = only_due(&db).await;
        let taken = join_all((0..20).map(|_| take_one(&db, &due))).await;
        let attempts = taken.iter().filter(|t| matches!(t, Ok(DueClaim::Attempt(_)))).count();
        let gone = taken.iter().filter(|t| matches!(t, Ok(DueClaim::Gone))).count();
        assert_eq!((attempts, gone), (1, 19), "{taken:?}");
    })
    .await;
}

/// They share a transaction: a request that lands on another's claim would be sent for the wrong order.
#[tokio::test]
async fn of_many_that_are_claimed_together_each_has_its_own_request_and_lease() {
    on_a_database(|db| async move {
        for n in [1, 4] {
            let _lost = db.claim(payment(&n.to_string(), &format!("INV-{n}"))).await;
        }
        db.jump(46).await;
        for n in [2, 3, 5, 6] {
            defer(&db, &n.to_string(), &format!("INV-{n}")).await;
        }
        let mut due = db.store.due(&filter()).await.unwrap();
        due.sort_by_key(|order| order.order_key);
        assert_eq!(due.len(), 6);
        let claimed = join_all(due.iter().map(|due| take_one(&db, due))).await;
        for (due, claim) in due.iter().zip(claimed) {
            let key = due.order_key;
            match claim.unwrap() {
                DueClaim::Gone => assert_eq!(due.what, DueWhat::Lost, "{key}"),
                DueClaim::Attempt(claim) => {
                    let invoice =
                        db.text(&format!("SELECT invoice_number FROM orders WHERE order_key = {key}")).await;
                    let token =
                        db.text(&format!("SELECT token::text FROM due WHERE order_key = {key}")).await;
                    assert_eq!((claim.order_key, due.what), (key, FIRST));
                    assert_eq!(claim.request.invoice_number.as_str(), invoice);
                    assert_eq!(claim.request.request_id.as_str(), invoice);
                    assert_eq!(claim.token.to_string(), token);
                }
            }
        }
        assert_eq!(db.number("SELECT count(*) FROM attempts WHERE result = 'lost'").await, 2);
        assert_eq!(db.number("SELECT count(*) FROM due WHERE token IS NOT NULL").await, 4);
    })
    .await;
}

#[tokio::test]
async fn a_permit_for_an_inquiry_is_none_for_a_send() {
    on_a_database(|db| async move {
        defer(&db, "1", "INV-1").await;
        let due = only_due(&db).await;
        assert!(matches!(db.store.claim_due(&due, DueNeed::Inquiry, LEASE).await, Ok(DueClaim::Gone)));
        assert_eq!(take(&db).await.kind, AttemptKind::Send);
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_is_given_back_is_due_again_and_was_no_attempt() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.release_claim(&claim).await.unwrap();
        let again = take(&db).await;
        assert_eq!(db.number("SELECT count(*) FROM attempts").await, 0);
        assert_eq!(db.number("SELECT count(*) FROM commands WHERE maybe_acted_at IS NOT NULL").await, 0);
        db.store.release_claim(&claim).await.unwrap();
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
        let stopped =
            DueFilter { merchants: vec![DueOf { account: account(), sends: 0, inquiries: 100 }], lost: 100 };
        for (seconds, listed) in [(0, 0), (120, 2), (1000, 2)] {
            db.jump(seconds).await;
            let due = db.store.due(&stopped).await.unwrap();
            assert_eq!(due.len(), listed, "after {seconds} s");
            assert!(due.iter().all(|d| matches!(d.what, DueWhat::Inquiry(_))));
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_goes_to_the_account_and_host_it_was_made_for_or_nowhere() {
    on_a_database(|db| async move {
        defer(&db, "1", "INV-1").await;
        let others = [
            Account { client_id: "BRN-2".to_owned(), ..account() },
            Account { base_url: "https://elsewhere.example".to_owned(), ..account() },
            Account { merchant: MerchantName::parse("other").unwrap(), ..account() },
        ];
        for other in others {
            let accounts = vec![other];
            db.store.look_for_stranded(&accounts).await.unwrap();
            assert_eq!(db.store.gauges(CountingPace::AtOnce).await.unwrap().stranded_orders, 1);
            assert!(db.store.due(&filter()).await.unwrap().is_empty(), "not let go yet");
            let of = |account| DueOf { account, sends: 100, inquiries: 100 };
            let strangers = DueFilter { merchants: accounts.into_iter().map(of).collect(), lost: 100 };
            assert!(db.store.due(&strangers).await.unwrap().is_empty());
        }
        db.store.look_for_stranded(&[account()]).await.unwrap();
        assert_eq!(db.store.gauges(CountingPace::AtOnce).await.unwrap().stranded_orders, 0);
        assert_eq!(only_due(&db).await.merchant, merchant());
    })
    .await;
}

#[tokio::test]
async fn the_budget_of_a_stranded_order_stands_still_and_its_expirytime_does_not() {
    on_a_database(|db| async move {
        defer(&db, "1", "INV-1").await;
        let mut expiring = NewCommand { lease: None, ..payment("2", "INV-2") };
        let end: crate::domain::Time = sqlx::query_scalar("SELECT jenius_now() + interval '600 seconds'")
            .fetch_one(&db.sql)
            .await
            .unwrap();
        expiring.command.expires_at = Some(end);
        assert!(matches!(db.store.claim(expiring).await, Ok(Claimed::Deferred)));
        db.jump(60).await;
        db.store.look_for_stranded(&[]).await.unwrap();
        db.jump(10_000).await;
        db.store.look_for_stranded(&[account()]).await.unwrap();
        let due = db.store.due(&filter()).await.unwrap();
        let what: Vec<DueWhat> = due.iter().map(|d| d.what).collect();
        // The first has 840 s left to send; the second expired meanwhile, and is only concluded.
        assert_eq!(what, [FIRST, DueWhat::Inquiry(InquiryRank::Conclusion)]);
    })
    .await;
}

/// Every process with follow-up looks for what is stranded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_stood_still_is_given_back_once_though_two_look_at_once() {
    on_a_database(|db| async move {
        defer(&db, "1", "INV-1").await;
        db.jump(60).await;
        db.store.look_for_stranded(&[]).await.unwrap();
        db.jump(1000).await;
        let (late, held) = db.overtaken("due", "SET stranded_at = NULL").await;
        let looking = tokio::spawn(async move { late.look_for_stranded(&[account()]).await });
        db.until_overtaken().await;
        db.store.look_for_stranded(&[account()]).await.unwrap();
        held.rollback().await.unwrap();
        looking.await.unwrap().unwrap();
        let budget = "SELECT round(extract(epoch FROM sends_end_at - claimed_at))::bigint FROM commands";
        assert_eq!(db.number(budget).await, 900 + 940);
        assert_eq!(db.number("SELECT count(*) FROM due WHERE stranded_at IS NULL").await, 1);
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
        db.store.release_claim(&asked).await.unwrap();
        let asked = db.store.inquire_now(&merchant(), &invoice, LEASE).await.unwrap().unwrap();
        let finding = InquiryFindingKind::Failed { why: "HTTP 500".to_owned() };
        let failed = InquiryFinding { kind: finding, http_status: Some(500), retry_after: None };
        db.store.record(&asked, &Finding::Inquiry(failed), Duration::ZERO).await.unwrap();
        assert_eq!(db.store.gauges(CountingPace::AtOnce).await.unwrap().stranded_orders, 1);
        db.store.look_for_stranded(&[account()]).await.unwrap();
        assert_eq!(db.number(stood_still).await, 1400);
    })
    .await;
}

#[tokio::test]
async fn an_order_that_was_taken_is_locked_and_others_skip_it() {
    on_a_database(|db| async move {
        defer(&db, "1", "INV-1").await;
        let due = only_due(&db).await;
        let mut other = db.sql.begin().await.unwrap();
        sqlx::query("SELECT 1 FROM orders FOR UPDATE").execute(&mut *other).await.unwrap();
        assert!(matches!(take_one(&db, &due).await, Ok(DueClaim::Gone)));
        other.rollback().await.unwrap();
        assert!(matches!(take_one(&db, &due).await, Ok(DueClaim::Attempt(_))));
    })
    .await;
}

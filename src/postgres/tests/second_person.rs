//! Decisions about much money need two people, whom somebody else names, and both see the same evidence.

use super::{evidence::notification, *};
use crate::{
    domain::{event::EventType, order::Verdict},
    flow::ports::{Decision, FormEnd, Mark, OperatorStore, Resolved, SecondPersonRule, SentForm},
    postgres::{open_proposal, order_view},
};
use uuid::Uuid;

fn proposed(by: &str, verified: bool, verdict: Verdict) -> Decision {
    Decision {
        merchant: merchant(),
        invoice_number: InvoiceNumber::parse("INV-1").unwrap(),
        verdict,
        reason: format!("seen by {by}"),
        decided_by: Some(by.to_owned()),
        checked_doku: false,
        seen: None,
        second: SecondPersonRule { above: Some(50_000), is_verified: verified, subject: None },
    }
}

#[tokio::test]
async fn about_much_money_a_second_and_verified_person_decides_the_same() {
    on_a_database(|db| async move {
        super::reviews::in_review(&db, "INV-1").await;
        let revision =
            || async { order_view(&db.pool, "default", "INV-1").await.unwrap().unwrap().order.revision };
        // Ours is not above the limit, DOKU's is.
        let send = async |by: &str, verified, verdict| {
            let mark = Mark { action_id: Uuid::new_v4(), from: "127.0.0.1".to_owned() };
            let form = SentForm { revision: revision().await, mark };
            db.store.resolve_by_form(proposed(by, verified, verdict), form).await.unwrap()
        };
        let is_proposal = |end: &FormEnd| matches!(end, FormEnd::Resolved(Resolved::Proposed(_)));
        let foreseen = db.store.foresee(proposed("oidc:budi", true, Verdict::Paid)).await.unwrap();
        assert!(matches!(foreseen, Resolved::Proposed(_)), "{foreseen:?}");
        assert!(is_proposal(&send("oidc:budi", true, Verdict::Paid).await));
        let key = order_view(&db.pool, "default", "INV-1").await.unwrap().unwrap().order.key;
        assert_eq!(open_proposal(&db.pool, key).await.unwrap().unwrap().proposed_by, "oidc:budi");
        // The same person by another way, a person who is not verified, and another decision.
        for (by, verified, verdict) in [
            ("oidc:budi", true, Verdict::Paid),
            ("budi (root@pay-1)", true, Verdict::Paid),
            ("local:sari (unverified)", false, Verdict::Paid),
        ] {
            assert!(is_proposal(&send(by, verified, verdict).await), "{by}");
            assert_eq!(db.number("SELECT count(*) FROM decisions").await, 0, "{by}");
        }
        assert!(
            is_proposal(&send("oidc:sari", true, Verdict::Failed).await),
            "another decision is a new proposal"
        );
        assert!(is_proposal(&send("oidc:budi", true, Verdict::Paid).await));
        db.jump(40 * 24 * 3600).await;
        assert!(open_proposal(&db.pool, key).await.unwrap().is_none(), "a day is over");
        assert!(is_proposal(&send("oidc:sari", true, Verdict::Paid).await));
        let done = send("proxy:budi", true, Verdict::Paid).await;
        assert!(matches!(done, FormEnd::Resolved(Resolved::Done(_))), "{done:?}");
        let kept = "SELECT reason || ' / ' || decided_by FROM decisions";
        let both = "seen by proxy:budi (proposed by oidc:sari: seen by oidc:sari) / proxy:budi";
        assert_eq!(db.text(kept).await, both);
        assert_eq!(db.number("SELECT count(*) FROM decision_proposals").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_proposal_is_kept_once_for_a_form_and_ends_when_the_order_moves() {
    on_a_database(|db| async move {
        super::reviews::in_review(&db, "INV-1").await;
        let view = order_view(&db.pool, "default", "INV-1").await.unwrap().unwrap().order;
        let mark = Mark { action_id: Uuid::new_v4(), from: "127.0.0.1".to_owned() };
        let form = SentForm { revision: view.revision, mark };
        let first =
            db.store.resolve_by_form(proposed("oidc:budi", true, Verdict::Paid), form.clone()).await.unwrap();
        assert!(matches!(first, FormEnd::Resolved(Resolved::Proposed(_))), "{first:?}");
        let again = db.store.resolve_by_form(proposed("oidc:budi", true, Verdict::Paid), form).await.unwrap();
        assert_eq!(again, FormEnd::Repeated { was_decided: false });
        assert_eq!(
            db.number("SELECT count(*) FROM operator_actions WHERE action = 'propose_decision'").await,
            1
        );
        db.execute("UPDATE orders SET revision = revision + 1").await.unwrap();
        assert!(open_proposal(&db.pool, view.key).await.unwrap().is_none());
        let second = db.store.resolve(proposed("oidc:sari", true, Verdict::Paid)).await.unwrap();
        assert!(matches!(second, Resolved::Proposed(_)), "the order is another one: {second:?}");
    })
    .await;
}

fn is_proposal(resolved: &Resolved) -> bool {
    matches!(resolved, Resolved::Proposed(_))
}

/// As the command line decides: its configuration has no limit.
fn without_a_limit(above: Option<u64>) -> Decision {
    let second = SecondPersonRule { above, ..SecondPersonRule::default() };
    Decision { second, ..proposed("budi (root@pay-1)", false, Verdict::Paid) }
}

#[tokio::test]
async fn the_limit_of_a_console_holds_for_who_has_none_and_the_lower_of_two_counts() {
    on_a_database(|db| async move {
        super::reviews::in_review(&db, "INV-1").await;
        let foreseen = async |above| db.store.foresee(without_a_limit(above)).await.unwrap();
        assert!(!is_proposal(&foreseen(None).await), "no console has kept a limit");
        assert!(db.store.keep_second_person_rule(Some(55_000)).await.unwrap());
        assert!(!db.store.keep_second_person_rule(Some(55_000)).await.unwrap(), "it is the same");
        assert!(is_proposal(&foreseen(None).await));
        assert!(is_proposal(&foreseen(Some(1_000_000)).await), "the kept one is lower");
        db.store.keep_second_person_rule(Some(1_000_000)).await.unwrap();
        assert!(!is_proposal(&foreseen(None).await), "60.000 is not more than that");
        assert!(is_proposal(&foreseen(Some(55_000)).await), "the configured one is lower");
        db.store.keep_second_person_rule(Some(55_000)).await.unwrap();
        assert!(is_proposal(&db.store.resolve(without_a_limit(None)).await.unwrap()));
        assert_eq!(db.state().await, "review");
        assert!(db.store.keep_second_person_rule(None).await.unwrap());
        assert!(matches!(db.store.resolve(without_a_limit(None)).await.unwrap(), Resolved::Done(_)));
    })
    .await;
}

fn known_as(name: &str, subject: Option<&str>) -> Decision {
    let mut decision = proposed(name, true, Verdict::Paid);
    decision.second.subject = subject.map(str::to_owned);
    decision
}

#[tokio::test]
async fn one_person_is_not_both_by_another_name_another_case_or_a_name_that_nobody_verified() {
    on_a_database(|db| async move {
        super::reviews::in_review(&db, "INV-1").await;
        let resolve = async |decision| db.store.resolve(decision).await.unwrap();
        // On the command line anybody is Sari.
        assert!(is_proposal(&resolve(proposed("sari (root@pay-1)", false, Verdict::Paid)).await));
        assert!(is_proposal(&resolve(known_as("oidc:budi", Some("1"))).await), "only one is verified");
        assert!(is_proposal(&resolve(known_as("oidc:budi.new", Some("1"))).await), "a new name");
        assert!(is_proposal(&resolve(known_as("oidc:Budi.New", Some("2"))).await), "another case");
        assert!(is_proposal(&resolve(known_as("proxy:BUDI.new", None)).await), "by another way");
        assert_eq!(db.number("SELECT count(*) FROM decisions").await, 0);
        // Who types a name takes no proposal away that counts.
        assert!(is_proposal(&resolve(proposed("x (root@pay-1)", false, Verdict::Paid)).await));
        let done = resolve(known_as("oidc:sari", Some("3"))).await;
        assert!(matches!(done, Resolved::Done(_)), "{done:?}");
    })
    .await;
}

#[tokio::test]
async fn the_largest_amount_that_an_inquiry_or_a_report_names_counts() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        // A report that names our own amount says nothing of what the inquiry finds.
        db.store.reconcile(&merchant(), &notification("INV-1", "PENDING", 50_000)).await.unwrap();
        db.jump(61).await;
        let inquiry = taken(&db.store).await;
        db.store.record(&inquiry, &reported("SUCCESS", 60_000_000), Duration::ZERO).await.unwrap();
        let needs_two = async |above| {
            let second = SecondPersonRule { above: Some(above), ..SecondPersonRule::default() };
            let decision = Decision { second, ..proposed("oidc:budi", true, Verdict::Paid) };
            is_proposal(&db.store.foresee(decision).await.unwrap())
        };
        assert!(needs_two(59_999_999).await && !needs_two(60_000_000).await);
        db.store.reconcile(&merchant(), &notification("INV-1", "SUCCESS", 50_001)).await.unwrap();
        assert!(needs_two(59_999_999).await, "a report of less takes nothing away");
        db.store.reconcile(&merchant(), &notification("INV-1", "SUCCESS", 70_000_000)).await.unwrap();
        assert!(needs_two(69_999_999).await && !needs_two(70_000_000).await);
        db.execute("DELETE FROM notifications; DELETE FROM attempts").await.unwrap();
        assert!(needs_two(u64::MAX).await, "which amount it was is not known any more");
    })
    .await;
}

#[tokio::test]
async fn a_look_at_doku_that_does_not_matter_parts_no_two_who_agree() {
    on_a_database(|db| async move {
        super::reviews::in_review(&db, "INV-1").await;
        let looked = Decision { checked_doku: true, ..proposed("oidc:budi", true, Verdict::Paid) };
        assert!(is_proposal(&db.store.resolve(looked).await.unwrap()));
        let done = db.store.resolve(proposed("oidc:sari", true, Verdict::Paid)).await.unwrap();
        assert_eq!(done, Resolved::Done(vec![EventType::OrderPaid]));
    })
    .await;
}

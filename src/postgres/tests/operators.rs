//! What operators do: questions beside the schedule, decisions with their reasons.

use super::{evidence::notification, *};
use crate::{
    domain::{
        event::EventType,
        finding::{InquiryFinding, InquiryFindingKind},
        order::{ReviewCause, Verdict},
    },
    flow::{
        ports::{Decision, Finding, OperatorStore, Resolved},
        view::OrderView,
    },
    postgres::order_view,
};

fn invoice() -> InvoiceNumber {
    InvoiceNumber::parse("INV-1").unwrap()
}

async fn inquire_now(db: &Db) -> Claim {
    db.store.inquire_now(&merchant(), &invoice(), LEASE).await.unwrap().unwrap()
}

async fn scheduled(db: &Db) -> String {
    db.text("SELECT inquire_at || ' ' || coalesce(send_at::text, '') || ' ' || coalesce(token::text, '') FROM due").await
}

pub(super) fn decide(verdict: Verdict) -> Decision {
    Decision {
        merchant: merchant(),
        invoice_number: invoice(),
        verdict,
        reason: "seen in the back office".to_owned(),
        decided_by: Some("ratna".to_owned()),
        checked_doku: false,
        seen: None,
        second: Default::default(),
    }
}

async fn resolve(db: &Db, decision: Decision) -> Resolved {
    db.store.resolve(decision).await.unwrap()
}

async fn view(db: &Db) -> OrderView {
    order_view(&db.pool, "default", "INV-1").await.unwrap().unwrap()
}

#[tokio::test]
async fn a_question_before_its_time_moves_no_schedule() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        let waiting = scheduled(&db).await;
        for _ in 0..3 {
            let asked = inquire_now(&db).await;
            db.store.record(&asked, &reported("PENDING", 50_000), Duration::ZERO).await.unwrap();
        }
        assert_eq!(scheduled(&db).await, waiting);
        assert_eq!(db.number("SELECT checks_made::bigint FROM orders").await, 0);
        assert_eq!(view(&db).await.attempts.len(), 4, "each is kept for the person on call");
    })
    .await;
}

#[tokio::test]
async fn a_question_whose_time_has_come_is_the_scheduled_one() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        db.jump(61).await;
        let asked = inquire_now(&db).await;
        assert!(db.store.due(&filter()).await.unwrap().is_empty(), "follow-up does not ask as well");
        db.store.record(&asked, &reported("PENDING", 50_000), Duration::ZERO).await.unwrap();
        assert_eq!(db.number("SELECT checks_made::bigint FROM orders").await, 1);
    })
    .await;
}

#[tokio::test]
async fn an_order_with_nothing_due_is_asked_about_and_an_unknown_one_is_not() {
    on_a_database(|db| async move {
        assert!(db.store.inquire_now(&merchant(), &invoice(), LEASE).await.unwrap().is_none());
        db.paid_order("INV-1").await;
        let asked = inquire_now(&db).await;
        db.store.record(&asked, &reported("REFUNDED", 50_000), Duration::ZERO).await.unwrap();
        assert_eq!(db.state().await, "refunded");
    })
    .await;
}

#[tokio::test]
async fn only_an_order_in_review_is_resolved() {
    on_a_database(|db| async move {
        assert_eq!(resolve(&db, decide(Verdict::Paid)).await, Resolved::UnknownOrder);
        db.paid_order("INV-1").await;
        let refused = resolve(&db, decide(Verdict::Failed)).await;
        assert_eq!(refused, Resolved::NotInReview(crate::domain::order::OrderState::Paid));
        assert_eq!(db.number("SELECT count(*) FROM decisions").await, 0);
        assert_eq!(db.types().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_decision_is_told_once_and_kept_with_its_reason() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let asked = inquire_now(&db).await;
        db.store.record(&asked, &reported("SUCCESS", 49_999), Duration::ZERO).await.unwrap();
        let summary = view(&db).await.order;
        assert_eq!(summary.review_cause.as_deref(), Some("amount_mismatch"));
        let done = resolve(&db, decide(Verdict::Paid)).await;
        assert_eq!(done, Resolved::Done(vec![EventType::OrderResolved]), "paid was announced before");
        let told = db.outbox().await.pop().unwrap();
        assert_eq!((&told["data"]["state"], &told["data"]["evidence"]), (&"paid".into(), &"operator".into()));
        let decisions = view(&db).await.decisions;
        assert_eq!(decisions.len(), 1);
        let decision = &decisions[0];
        assert_eq!(
            (decision.review_cause.as_str(), decision.state.as_str(), decision.reason.as_str()),
            ("amount_mismatch", "paid", "seen in the back office")
        );
        assert_eq!(decision.decided_by.as_deref(), Some("ratna"));
        let again = resolve(&db, decide(Verdict::Paid)).await;
        assert!(matches!(again, Resolved::NotInReview(_)), "{again:?}");
    })
    .await;
}

#[tokio::test]
async fn decisions_are_only_ever_added_to() {
    on_a_database(|db| async move {
        for sql in ["UPDATE decisions SET reason = 'x'", "DELETE FROM decisions", "TRUNCATE decisions"] {
            let refused = db.execute(sql).await;
            let constraint = refused.as_ref().err().and_then(|e| e.as_database_error()?.constraint());
            assert_eq!(constraint, Some("decisions_are_kept"), "{sql}");
        }
    })
    .await;
}

/// A refund whose sends have ended in doubt.
async fn unresolved_refund(db: &Db) {
    db.paid_order("INV-1").await;
    let claim = db.claim(refund("r1", "INV-1")).await;
    db.store.record(&claim, &in_doubt(), Duration::ZERO).await.unwrap();
    db.jump(1000).await;
    let asked = inquire_now(db).await;
    db.store.record(&asked, &reported("SUCCESS", 50_000), Duration::ZERO).await.unwrap();
    assert_eq!(db.text("SELECT state || review_cause FROM orders").await, "reviewrefund_unresolved");
}

#[tokio::test]
async fn an_unresolved_refund_becomes_paid_only_where_somebody_looked_and_then_takes_another() {
    on_a_database(|db| async move {
        unresolved_refund(&db).await;
        assert_eq!(resolve(&db, decide(Verdict::Paid)).await, Resolved::RefundUnresolved);
        assert_eq!(db.state().await, "review");
        let checked = Decision { checked_doku: true, ..decide(Verdict::Paid) };
        assert_eq!(resolve(&db, checked).await, Resolved::Done(vec![EventType::OrderResolved]));
        let second = db.claim(refund("r2", "INV-1")).await;
        db.store.record(&second, &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
        assert_eq!(db.state().await, "refunded");
    })
    .await;
}

#[tokio::test]
async fn an_order_that_was_paid_is_not_called_failed_because_of_its_refund() {
    on_a_database(|db| async move {
        unresolved_refund(&db).await;
        let refused = Resolved::NotOfCause(ReviewCause::RefundUnresolved);
        assert_eq!(db.store.foresee(decide(Verdict::Failed)).await.unwrap(), refused);
        assert_eq!(resolve(&db, decide(Verdict::Failed)).await, refused);
        assert_eq!(db.state().await, "review");
        assert!(!db.types().await.iter().any(|event| event.contains("failed")));
    })
    .await;
}

fn failed_inquiry() -> Finding {
    let kind = InquiryFindingKind::Failed { why: "HTTP 500".to_owned() };
    Finding::Inquiry(InquiryFinding { kind, http_status: Some(500), retry_after: None })
}

/// Whether a decision for the order as it was shown is refused after this.
async fn moves(db: &Db, evidence: impl AsyncFnOnce()) -> bool {
    let seen = Some(view(db).await.order.revision);
    evidence().await;
    db.store.foresee(Decision { seen, ..decide(Verdict::Paid) }).await.unwrap() == Resolved::Moved
}

#[tokio::test]
async fn who_has_not_seen_the_newest_evidence_decides_nothing() {
    on_a_database(|db| async move {
        super::reviews::in_review(&db, "INV-1").await;
        let notified = async |word: &str, amount: u64| {
            db.store.reconcile(&merchant(), &notification("INV-1", word, amount)).await.unwrap();
        };
        let asked = async |finding: Finding| {
            let claim = inquire_now(&db).await;
            db.store.record(&claim, &finding, Duration::ZERO).await.unwrap();
        };
        assert!(moves(&db, async || notified("REFUNDED", 50_000).await).await, "a report that came now");
        assert!(!moves(&db, async || notified("REFUNDED", 50_000).await).await, "it came before");
        assert!(
            !moves(&db, async || asked(reported("SUCCESS", 60_000)).await).await,
            "as it was found before"
        );
        assert!(
            moves(&db, async || asked(reported("REFUNDED", 60_000)).await).await,
            "something else was found"
        );
        assert!(!moves(&db, async || asked(failed_inquiry()).await).await, "nothing was found");
        assert!(
            !moves(&db, async || asked(reported("REFUNDED", 60_000)).await).await,
            "as before the failure"
        );
        assert!(moves(&db, async || asked(reported("REFUNDED", 60_001)).await).await, "another amount");
        let prompted = async || {
            let unbound = notification("INV-1", "EXPIRED", 50_000);
            db.store.ask_about(&merchant(), &unbound).await.unwrap();
        };
        assert!(moves(&db, async || prompted().await).await, "DOKU's own key signed it");
        assert!(!moves(&db, async || prompted().await).await, "it came before");
        assert_eq!(db.state().await, "review");
    })
    .await;
}

/// The refund's answer may be late, and the amount contradicted: the refund stays unresolved all the same.
#[tokio::test]
async fn an_unresolved_refund_holds_also_where_the_cause_is_another() {
    on_a_database(|db| async move {
        unresolved_refund(&db).await;
        let asked = inquire_now(&db).await;
        db.store.record(&asked, &reported("SUCCESS", 1), Duration::ZERO).await.unwrap();
        assert_eq!(db.text("SELECT review_cause FROM orders").await, "amount_mismatch");
        assert_eq!(resolve(&db, decide(Verdict::Paid)).await, Resolved::RefundUnresolved);
        assert_eq!(
            resolve(&db, decide(Verdict::Refunded)).await,
            Resolved::Done(vec![EventType::OrderRefunded])
        );
        assert!(matches!(db.store.claim(refund("r2", "INV-1")).await, Ok(Claimed::Rejected)));
        assert_eq!(db.rejection().await, "already_refunded");
    })
    .await;
}

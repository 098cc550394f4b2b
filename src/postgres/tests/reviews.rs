//! Orders that wait for a person are counted, until one has decided.

use super::*;
use crate::{
    domain::order::Verdict,
    flow::ports::{Decision, OperatorStore, Resolved},
};

/// DOKU names another amount.
pub(super) async fn in_review(db: &Db, invoice: &str) {
    let claim = db.claim(payment(invoice, invoice)).await;
    db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
    db.jump(61).await;
    let inquiry = taken(&db.store).await;
    db.store.record(&inquiry, &reported("SUCCESS", 60_000), Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_person_is_counted_until_one_has_decided() {
    on_a_database(|db| async move {
        assert_eq!(db.store.reviews().await.unwrap(), []);
        in_review(&db, "INV-1").await;
        db.jump(3661).await;
        let [found] = &db.store.reviews().await.unwrap()[..] else { panic!("none found") };
        assert_eq!((found.merchant.as_str(), found.count, found.rupiah), ("default", 1, 50_000));
        assert!((3599.0..3700.0).contains(&found.oldest_seconds), "{found:?}");
        let decision = Decision {
            merchant: merchant(),
            invoice_number: InvoiceNumber::parse("INV-1").unwrap(),
            verdict: Verdict::Paid,
            reason: "finance has it".to_owned(),
            decided_by: None,
            checked_doku: false,
            seen: None,
            second: Default::default(),
        };
        let resolved = db.store.resolve(decision).await.unwrap();
        assert!(matches!(resolved, Resolved::Done(_)), "{resolved:?}");
        assert_eq!(db.store.reviews().await.unwrap(), []);
    })
    .await;
}

//! Who is asked about an order, and who is not.

use super::*;
use crate::{
    domain::finding::AttemptKind,
    flow::fake::{claim, worker},
};

const LONG: Duration = Duration::from_secs(45);

/// What `orders check` did about an order that was made for this account and host.
async fn check(made_for: Option<(&str, &str)>) -> (Result<InquiryFinding, NotChecked>, Vec<&'static str>) {
    let held = made_for.map(|(client_id, base_url)| {
        let mut claim = claim(AttemptKind::Inquiry, LONG, LONG);
        let request = Arc::make_mut(&mut claim.request);
        request.client_id = client_id.to_owned();
        request.base_url = base_url.to_owned();
        claim
    });
    let (worker, steps, _) = worker(|store| store.inquired_now = held.into(), 1);
    let invoice = InvoiceNumber::parse("INV-1").unwrap();
    let attempts = &worker.attempts;
    let merchant = MerchantName::default_account();
    let checked = check_order(&*attempts.store, &*attempts.gateway, &merchant, &invoice, LONG).await;
    let steps = steps.lock().unwrap().clone();
    (checked, steps)
}

#[tokio::test]
async fn an_order_is_asked_about_once_and_the_answer_kept() {
    let (checked, steps) = check(Some(("C", "http://doku"))).await;
    assert!(checked.is_ok());
    assert_eq!(steps, ["inquire", "record"]);
}

#[tokio::test]
async fn an_order_made_for_another_account_or_host_is_not_asked_about() {
    for (client_id, base_url) in [("D", "http://doku"), ("C", "http://elsewhere"), ("D", "http://elsewhere")]
    {
        let (checked, steps) = check(Some((client_id, base_url))).await;
        assert!(matches!(checked, Err(NotChecked::Stranded { .. })), "{client_id} {base_url}");
        assert_eq!(steps, ["give back"], "{client_id} {base_url}");
    }
}

#[tokio::test]
async fn an_order_nobody_knows_is_not_asked_about() {
    let (checked, steps) = check(None).await;
    assert!(matches!(checked, Err(NotChecked::UnknownOrder(..))));
    assert_eq!(steps, Vec::<&str>::new());
}

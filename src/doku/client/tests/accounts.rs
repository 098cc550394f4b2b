//! What the client knows of its accounts, and what its errors say.

use super::*;

#[test]
fn an_account_is_known_by_its_merchant_with_the_host_that_is_configured() {
    let client = client("http://doku");
    let own = Account {
        merchant: MerchantName::default_account(),
        client_id: "MCH-1".to_owned(),
        base_url: "http://doku".to_owned(),
    };
    assert_eq!(client.account(&own.merchant), Some(own.clone()));
    assert_eq!(client.account(&MerchantName::parse("nobody").unwrap()), None);
    assert_eq!(client.accounts(), [own]);
}

#[tokio::test]
async fn a_host_that_cannot_be_called_is_a_fault_of_the_account() {
    for base_url in ["ftp://doku", "no url"] {
        let learned = client(base_url).send(&request(base_url)).await;
        assert!(matches!(learned.kind, SendFindingKind::NotActed { .. }), "{learned:?}");
        assert_eq!(learned.health, DokuHealth::KeyRefused, "{base_url}");
    }
}

#[tokio::test]
async fn an_error_never_tells_the_url() {
    let server = Server::start(Does::Drops).await;
    let InquiryFindingKind::Failed { why } = inquire(&server, "INV-1").await.kind else { panic!() };
    assert!(!why.contains("INV-1") && !why.contains("http://"), "{why}");
    assert!(why.contains(": "), "with its causes: {why}");
}

//! Who gets a token.

use super::*;
use crate::{
    config::{self, RsaKey},
    domain::ids::MerchantName,
};
use serde_json::Value;
use std::collections::BTreeMap;

struct At(Time);

impl Clock for At {
    fn now(&self) -> Time {
        self.0
    }
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../tests/vectors/snap.json")).unwrap()
}

fn public_keys(of: &str) -> Arc<[PublicKey]> {
    let pem = vectors()["keys"][of].as_str().unwrap().to_owned();
    [PublicKey::new(&RsaKey::read(&pem).unwrap())].into()
}

fn requests() -> Vec<TokenRequest> {
    let request = |vector: &Value| {
        let (client_id, timestamp) = vector["string_to_sign"].as_str().unwrap().split_once('|').unwrap();
        TokenRequest {
            client_id: client_id.to_owned(),
            timestamp: timestamp.to_owned(),
            signature: vector["signature_base64"].as_str().unwrap().to_owned(),
        }
    };
    vectors()["token_requests"].as_array().unwrap().iter().map(request).collect()
}

fn tokens(client_id: &str, public_keys: Arc<[PublicKey]>, now: Time) -> Tokens {
    let merchant = config::MerchantConfig {
        client_id: client_id.to_owned(),
        secret_key: "SK-1".into(),
        previous_secret_keys: vec![],
    };
    let accounts = Accounts::new(&BTreeMap::from([(MerchantName::default_account(), merchant)]));
    Tokens::new(accounts, public_keys, Arc::new(At(now)))
}

#[test]
fn only_a_request_that_doku_signed_lately_for_an_account_of_ours_gets_a_token() {
    let doku = || public_keys("doku_test_public_pem");
    for request in requests() {
        let at = DateTime::parse_from_rfc3339(&request.timestamp).unwrap().to_utc();
        let issued = |client_id: &str, keys: Arc<[PublicKey]>, now: Time, request: &TokenRequest| {
            tokens(client_id, keys, now).issue(request)
        };
        let own = request.client_id.as_str();
        let (token, life) = issued(own, doku(), at, &request).unwrap();
        assert_eq!((token.is_empty(), life), (false, 900));
        for minutes in [-5, 5] {
            assert!(issued(own, doku(), at + TimeDelta::minutes(minutes), &request).is_some(), "{minutes}");
        }
        for seconds in [-301, 301, 86_400] {
            assert_eq!(issued(own, doku(), at + TimeDelta::seconds(seconds), &request), None, "{seconds}");
        }
        assert_eq!(issued("MCH-9", doku(), at, &request), None, "an account of nobody's");
        assert_eq!(issued(own, public_keys("merchant_test_public_pem"), at, &request), None, "another key");
        let changes: [fn(&mut TokenRequest); 4] = [
            |request| request.client_id.push('x'),
            |request| request.timestamp = request.timestamp.replace('T', " "),
            |request| request.timestamp = "now".to_owned(),
            |request| request.signature = request.signature.to_ascii_uppercase(),
        ];
        for (nth, change) in changes.into_iter().enumerate() {
            let mut changed = request.clone();
            change(&mut changed);
            let own = changed.client_id.clone();
            assert_eq!(issued(&own, doku(), at, &changed), None, "{nth}");
        }
    }
}

#[test]
fn without_dokus_key_there_is_nowhere_to_ask() {
    let now = Time::UNIX_EPOCH;
    assert_eq!(tokens("MCH-1", Arc::default(), now).path(), None);
    assert_eq!(tokens("MCH-1", public_keys("doku_test_public_pem"), now).path(), Some(TOKEN_PATH));
}

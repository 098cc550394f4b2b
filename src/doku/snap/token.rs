//! The bearer tokens that the ingress gives DOKU before a SNAP notification: stateless, so that any replica can judge
//! what another one issued.
//!
//! A token says for whom it is and when it ends, and carries an HMAC of both by a key that is derived from the account's
//! secret key with a label of its own: it can never pass for a signature of a request, nor the other way round.

use super::{
    super::{account::KeyedAccount, signature::AccountKeys},
    signature::mac,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use sha2::Sha512;
use std::time::Duration;

/// How long a token counts.
pub const TOKEN_LIFE: Duration = Duration::from_secs(900);

/// What the token key is derived with.
const LABEL: &str = "jenius-pay SNAP access token v1";

/// Issues a token for an account, in seconds since 1970.
pub fn issue(account: &KeyedAccount, now: i64) -> String {
    let end = now.saturating_add(i64::try_from(TOKEN_LIFE.as_secs()).unwrap_or(i64::MAX));
    let claims = format!("{end}.{}", account.client_id);
    let made = token_mac(&account.keys.current, &claims).finalize().into_bytes();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(made))
}

/// Whether a token was issued here for the account of this Client-Id and these keys, and has not ended.
pub fn is_valid(token: &str, client_id: &str, keys: &AccountKeys, now: i64) -> bool {
    read(token).is_some_and(|(claims, made)| {
        let Some((end, issued_for)) = claims.split_once('.') else { return false };
        let counts = end.parse().is_ok_and(|end: i64| now < end);
        counts && issued_for == client_id && is_made_by(keys, &claims, &made)
    })
}

fn read(token: &str) -> Option<(String, Vec<u8>)> {
    let (claims, made) = token.split_once('.')?;
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some((claims, URL_SAFE_NO_PAD.decode(made).ok()?))
}

/// A token that was issued before the keys were rotated counts to its end.
fn is_made_by(keys: &AccountKeys, claims: &str, made: &[u8]) -> bool {
    std::iter::once(&keys.current)
        .chain(&keys.previous)
        .any(|key| token_mac(key, claims).verify_slice(made).is_ok())
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn token_mac(secret: &SecretString, claims: &str) -> Hmac<Sha512> {
    let key = mac(secret, LABEL).finalize().into_bytes();
    let mut mac = Hmac::<Sha512>::new_from_slice(&key).expect("any length");
    mac.update(claims.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::{is_valid as is_valid_for, *};
    use crate::domain::ids::MerchantName;

    fn account(client_id: &str, current: &str, previous: &[&str]) -> KeyedAccount {
        let secret = |text: &str| SecretString::from(text.to_owned());
        KeyedAccount {
            merchant: MerchantName::parse("default").unwrap(),
            client_id: client_id.to_owned(),
            keys: AccountKeys {
                current: secret(current),
                previous: previous.iter().map(|p| secret(p)).collect(),
            },
        }
    }

    fn is_valid(token: &str, account: &KeyedAccount, now: i64) -> bool {
        is_valid_for(token, &account.client_id, &account.keys, now)
    }

    const NOW: i64 = 1_767_323_045;

    #[test]
    fn a_token_counts_for_its_account_until_its_end() {
        let own = account("MCH-1", "SK-1", &[]);
        let token = issue(&own, NOW);
        assert!(is_valid(&token, &own, NOW));
        assert!(is_valid(&token, &own, NOW + 899));
        assert!(!is_valid(&token, &own, NOW + 900), "it has ended");
        assert!(!is_valid(&token, &account("MCH-2", "SK-1", &[]), NOW), "another Client-Id");
        assert!(!is_valid(&token, &account("MCH-1", "SK-2", &[]), NOW), "another key");
        assert!(is_valid(&token, &account("MCH-1", "SK-2", &["SK-1"]), NOW), "rotated");
    }

    #[test]
    fn nothing_of_a_token_can_be_changed() {
        let own = account("MCH-1", "SK-1", &[]);
        let token = issue(&own, NOW);
        let (claims, made) = token.split_once('.').unwrap();
        let later = URL_SAFE_NO_PAD.encode(format!("{}.MCH-1", NOW + 100_000));
        for changed in [
            format!("{later}.{made}"),
            format!("{claims}."),
            claims.to_owned(),
            format!("{claims}.{made}.{made}"),
            String::new(),
            ".".to_owned(),
            format!("{claims}.{}", made.to_lowercase()),
        ] {
            assert!(!is_valid(&changed, &own, NOW), "{changed}");
        }
    }

    #[test]
    fn a_token_of_another_making_does_not_count() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/snap.json")).unwrap();
        let own = account("BRN-0201-1735689600000", "SK-TestOnly4Vectors0001", &[]);
        for jwt in vectors["jwt_must_be_refused"].as_array().unwrap() {
            assert!(!is_valid(jwt.as_str().unwrap(), &own, NOW));
        }
    }
}

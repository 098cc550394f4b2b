//! Takes the customer's data and our keys out of DOKU's own words: an error message may repeat what it
//! complains about, and it travels on into events and logs.

use super::{
    signature::Keys,
    wire::{object, text},
};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::value::RawValue;

const MASK: &str = "***";

/// Anything shorter is found in ordinary words too, and tells nothing by itself.
const CHARS_MIN: usize = 3;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    customer: Option<Customer<'a>>,
    #[serde(borrow)]
    jenius_info: Option<JeniusInfo<'a>>,
}

#[derive(Deserialize)]
struct Customer<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    phone: Option<&'a RawValue>,
    #[serde(borrow)]
    email: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct JeniusInfo<'a> {
    #[serde(borrow)]
    cash_tag: Option<&'a RawValue>,
}

/// `said` without the customer data of the request it answers, as it is written, in capital or in small letters.
pub fn mask(said: &str, request_body: &[u8]) -> String {
    private(request_body).iter().fold(said.to_owned(), |said, private| without(&said, private))
}

/// The same for an error code. A code is a word of DOKU's own, so that a name which is an ordinary word
/// ("Amount") spoils none: such a one is masked only where it is the whole code.
pub fn mask_code(code: &str, request_body: &[u8]) -> String {
    let is_word = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    let spoils = |private: &String| {
        is_word && private.chars().all(char::is_alphabetic) && code.to_lowercase() != private.to_lowercase()
    };
    let private = private(request_body).into_iter().filter(|private| !spoils(private));
    private.fold(code.to_owned(), |code, private| without(&code, &private))
}

/// `said` without an account's keys.
pub fn without_keys(said: &str, keys: &Keys) -> String {
    let all = std::iter::once(&keys.current).chain(&keys.previous);
    all.fold(said.to_owned(), |said, key| without(&said, key.expose_secret()))
}

/// The customer's data in a request, the longest first: an e-mail address may hold the name.
fn private(request_body: &[u8]) -> Vec<String> {
    let body = std::str::from_utf8(request_body).ok();
    let Some(request) = body.and_then(object::<Request<'_>>) else { return Vec::new() };
    let customer = request.customer.map(|customer| [customer.email, customer.name, customer.phone]);
    let cash_tag = request.jenius_info.and_then(|info| info.cash_tag);
    let mut private: Vec<String> =
        customer.into_iter().flatten().chain([cash_tag]).flatten().filter_map(text).collect();
    private.retain(|private| private.chars().count() >= CHARS_MIN);
    private.sort_by_key(|private| std::cmp::Reverse(private.len()));
    private
}

/// As it is written, and in capital or small letters: DOKU may write it either way.
fn without(said: &str, private: &str) -> String {
    [private.to_owned(), private.to_uppercase(), private.to_lowercase()]
        .iter()
        .filter(|private| !private.is_empty())
        .fold(said.to_owned(), |said, private| said.replace(private, MASK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_doku_repeats_of_the_customer_is_masked() {
        let request = br#"{"customer":{"name":"Astari","email":"Astari@doku.com","phone":"0812"},
                           "jenius_info":{"cash_tag":"$admin"}}"#;
        let said = "Astari <Astari@doku.com>, 0812: cash tag $admin is unknown";
        assert_eq!(mask(said, request), "*** <***>, ***: cash tag *** is unknown");
        assert_eq!(mask("ASTARI@DOKU.COM of astari", request), "*** of ***");
        assert_eq!(mask("amount is wrong", request), "amount is wrong");
    }

    #[test]
    fn a_code_keeps_its_words_and_loses_what_is_private() {
        let request = br#"{"customer":{"name":"Amount","phone":"0812345"},"jenius_info":{"cash_tag":"$me"}}"#;
        for (code, masked) in [
            ("invalid_amount", "invalid_amount"),
            ("AMOUNT", "***"),
            ("unknown_0812345", "unknown_***"),
            ("Amount was not paid", "*** was not paid"),
            ("no such tag: $ME", "no such tag: ***"),
        ] {
            assert_eq!(mask_code(code, request), masked);
        }
    }

    #[test]
    fn no_key_is_repeated() {
        let keys = Keys { current: "SK-new".into(), previous: vec!["SK-old".into()] };
        assert_eq!(without_keys("neither SK-NEW nor SK-old, ä", &keys), "neither *** nor ***, ä");
        let empty = Keys { current: "".into(), previous: vec![] };
        assert_eq!(without_keys("x", &empty), "x");
    }

    #[test]
    fn a_request_without_a_customer_masks_nothing() {
        for request in [&br#"{"order":{"reason":"x"}}"#[..], b"", br#"{"customer":{"name":"a"}}"#] {
            assert_eq!(mask("a refund was made", request), "a refund was made");
        }
    }
}

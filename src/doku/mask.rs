//! Takes the customer's data out of DOKU's own words: an error message may repeat what it complains about,
//! and it travels on into events and logs.

use super::wire::{object, text};
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

/// `said` without the customer data of the request it answers.
pub fn mask(said: &str, request_body: &[u8]) -> String {
    let body = std::str::from_utf8(request_body).ok();
    let Some(request) = body.and_then(object::<Request<'_>>) else { return said.to_owned() };
    let customer = request.customer.map(|customer| [customer.email, customer.name, customer.phone]);
    let cash_tag = request.jenius_info.and_then(|info| info.cash_tag);
    let private = customer.into_iter().flatten().chain([cash_tag]).flatten().filter_map(text);
    private
        .filter(|private| private.chars().count() >= CHARS_MIN)
        .fold(said.to_owned(), |said, private| said.replace(&private, MASK))
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
        assert_eq!(mask("amount is wrong", request), "amount is wrong");
    }

    #[test]
    fn a_request_without_a_customer_masks_nothing() {
        for request in [&br#"{"order":{"reason":"x"}}"#[..], b"", br#"{"customer":{"name":"a"}}"#] {
            assert_eq!(mask("a refund was made", request), "a refund was made");
        }
    }
}

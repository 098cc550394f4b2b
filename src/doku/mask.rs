//! Takes the customer's data and our keys out of DOKU's own words: an error message may repeat what it
//! complains about, and it travels on into events and logs.

use super::{
    body::{object, text},
    signature::AccountKeys,
};
use crate::domain::command::StoredRequest;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::{Range, RangeInclusive};

const MASK: &str = "***";

/// Anything shorter is found in ordinary words too, and tells nothing by itself.
const CHARS_MIN: usize = 3;

/// What is as long is masked within other words too.
const LONG_CHARS: usize = 5;

/// These digits of a phone number give the whole number away.
const PHONE_END: usize = 7;

/// Spaces, dashes, brackets between two digits of a number.
const SEPARATORS_MAX: usize = 2;

const PHONE_DIGITS: RangeInclusive<usize> = 9..=15;

#[derive(Deserialize)]
struct PrivateRequest<'a> {
    #[serde(borrow)]
    customer: Option<PrivateCustomer<'a>>,
    #[serde(borrow)]
    jenius_info: Option<PrivateJeniusInfo<'a>>,
}

#[derive(Deserialize)]
struct PrivateCustomer<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    phone: Option<&'a RawValue>,
    #[serde(borrow)]
    email: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PrivateJeniusInfo<'a> {
    #[serde(borrow)]
    cash_tag: Option<&'a RawValue>,
}

/// `input` without the customer data of the request it answers, whole or in parts, in whatever letters.
pub fn mask(input: &str, request: &StoredRequest) -> String {
    Private::from_request(request).mask(input, |_| true)
}

/// The same for an error code. A code is a word of DOKU's own, so that a name which is an ordinary word
/// ("Amount") spoils none: such a one is masked only where it is the whole code.
pub fn mask_code(code: &str, request: &StoredRequest) -> String {
    let is_word = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    let is_whole = |part: &str| code.to_lowercase() == part.to_lowercase();
    let masks = |part: &str| !is_word || !part.chars().all(char::is_alphabetic) || is_whole(part);
    Private::from_request(request).mask(code, masks)
}

/// `input` without an account's keys.
pub fn without_keys(input: &str, keys: &AccountKeys) -> String {
    let all = std::iter::once(&keys.current).chain(&keys.previous);
    all.fold(input.to_owned(), |input, key| without(&input, key.expose_secret()))
}

/// What is private in a request.
#[derive(Default)]
struct Private {
    /// Values, words of them, and the parts of them that identify a person by themselves.
    parts: Vec<String>,
    /// The end of the phone number: what comes before it is written in many ways.
    phone_end: Option<String>,
    /// A refund's request has no customer, and DOKU knows the payment's: what looks like anybody's is masked.
    is_without_customer: bool,
}

impl Private {
    fn from_request(request: &StoredRequest) -> Self {
        if request.payment_body.is_empty() {
            return Self::in_body(&request.body);
        }
        Self { is_without_customer: true, ..Self::in_body(&request.payment_body) }
    }

    fn in_body(request_body: &[u8]) -> Self {
        let body = std::str::from_utf8(request_body).ok();
        let Some(request) = body.and_then(object::<PrivateRequest<'_>>) else { return Self::default() };
        let Some(customer) = request.customer else {
            return Self { is_without_customer: true, ..Self::default() };
        };
        let [name, phone, email] =
            [customer.name, customer.phone, customer.email].map(|raw| raw.and_then(text));
        let tag = request.jenius_info.and_then(|info| info.cash_tag).and_then(text);
        let local =
            email.as_deref().and_then(|email| email.rsplit_once('@')).map(|(local, _)| local.to_owned());
        let bare = tag.as_deref().map(|tag| tag.trim_matches(|c: char| !c.is_alphanumeric()).to_owned());
        let words = [&name, &local].into_iter().flatten().flat_map(|text| words(text)).collect::<Vec<_>>();
        let digits: String =
            phone.iter().flat_map(|phone| phone.chars()).filter(char::is_ascii_digit).collect();
        let phone_end = digits.len().checked_sub(PHONE_END).map(|at| digits[at..].to_owned());
        let mut parts: Vec<String> =
            [name, phone, email, tag, local, bare].into_iter().flatten().chain(words).collect();
        parts.retain(|part| part.chars().count() >= CHARS_MIN);
        Self { parts, phone_end, is_without_customer: false }
    }

    /// `masks` says of a part whether it is masked here.
    fn mask(&self, input: &str, masks: impl Fn(&str) -> bool) -> String {
        let folded = folded(input);
        let mut found: Vec<Range<usize>> = Vec::new();
        for part in self.parts.iter().filter(|part| masks(part)) {
            found.extend(places(&folded, part));
        }
        let is_the_customers = |digits: &str| {
            let end = self.phone_end.as_deref();
            end.is_some_and(|end| digits.contains(end))
        };
        let is_private =
            |digits: &str| is_the_customers(digits) || self.is_without_customer && is_like_a_phone(digits);
        found.extend(numbers(input).into_iter().filter(|(_, digits)| is_private(digits)).map(|(at, _)| at));
        if self.is_without_customer {
            found.extend(addresses(input));
        }
        masked(input, found)
    }
}

/// Words of three letters and more.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphabetic())
        .filter(|w| w.chars().count() >= CHARS_MIN)
        .map(str::to_owned)
        .collect()
}

/// Each character in small letters, with the place of what it was written as.
fn folded(text: &str) -> Vec<(Range<usize>, char)> {
    let small = |(at, c): (usize, char)| c.to_lowercase().map(move |small| (at..at + c.len_utf8(), small));
    text.char_indices().flat_map(small).collect()
}

/// Where a part stands. A short one is found in ordinary words too, and counts only where it is a word by itself.
fn places(input: &[(Range<usize>, char)], part: &str) -> Vec<Range<usize>> {
    let part: Vec<char> = part.chars().flat_map(char::to_lowercase).collect();
    let is_letter =
        |at: Option<usize>| at.and_then(|at| input.get(at)).is_some_and(|(_, c)| c.is_alphanumeric());
    let starts = 0..(input.len() + 1).saturating_sub(part.len());
    starts
        .filter(|start| input[*start..*start + part.len()].iter().map(|(_, c)| c).eq(&part))
        .filter(|start| {
            let alone = !is_letter(start.checked_sub(1)) && !is_letter(Some(start + part.len()));
            alone || part.len() >= LONG_CHARS
        })
        .map(|start| input[start].0.start..input[start + part.len() - 1].0.end)
        .collect()
}

/// Runs of digits with what may stand between them in a phone number, each with its digits alone.
fn numbers(input: &str) -> Vec<(Range<usize>, String)> {
    let mut all: Vec<(Range<usize>, String)> = Vec::new();
    let mut between = usize::MAX;
    for (at, c) in input.char_indices() {
        if !c.is_ascii_digit() {
            let separates = !c.is_alphanumeric();
            between = if separates { between.saturating_add(1) } else { usize::MAX };
            continue;
        }
        match all.last_mut().filter(|_| between <= SEPARATORS_MAX) {
            Some((place, digits)) => {
                place.end = at + 1;
                digits.push(c);
            }
            None => all.push((at..at + 1, c.to_string())),
        }
        between = 0;
    }
    all
}

/// As mobile numbers are written in Indonesia.
fn is_like_a_phone(digits: &str) -> bool {
    (PHONE_DIGITS).contains(&digits.len()) && ["08", "62", "8"].iter().any(|start| digits.starts_with(start))
}

/// E-mail addresses and cash tags of whomever.
fn addresses(input: &str) -> Vec<Range<usize>> {
    let mut all = Vec::new();
    let mut at = 0;
    for word in input.split_inclusive(char::is_whitespace) {
        let end = at + word.trim_end().len();
        if word.contains('@') || word.contains('$') {
            all.push(at..end);
        }
        at += word.len();
    }
    all
}

fn masked(input: &str, mut found: Vec<Range<usize>>) -> String {
    found.sort_by_key(|place| place.start);
    let (mut text, mut at) = (String::with_capacity(input.len()), 0);
    for place in found {
        if place.start >= at && (place.start > at || at == 0) {
            text.push_str(&input[at..place.start]);
            text.push_str(MASK);
        }
        at = at.max(place.end);
    }
    text + &input[at..]
}

/// As it is written, and in capital or small letters: DOKU may write it either way.
fn without(input: &str, private: &str) -> String {
    [private.to_owned(), private.to_uppercase(), private.to_lowercase()]
        .iter()
        .filter(|private| !private.is_empty())
        .fold(input.to_owned(), |input, private| input.replace(private, MASK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        command::CommandKind,
        ids::{InvoiceNumber, MerchantName, RequestId},
        money::Rupiah,
    };

    fn request(body: &[u8], payment_body: &[u8]) -> StoredRequest {
        StoredRequest {
            merchant: MerchantName::default_account(),
            kind: CommandKind::Refund,
            invoice_number: InvoiceNumber::parse("INV-1").unwrap(),
            amount: Rupiah::new(50_000).unwrap(),
            request_id: RequestId::parse("INV-1").unwrap(),
            client_id: String::new(),
            base_url: String::new(),
            body: body.to_vec(),
            payment_body: payment_body.to_vec(),
        }
    }

    fn mask(input: &str, body: &[u8]) -> String {
        super::mask(input, &request(body, b""))
    }

    fn mask_code(code: &str, body: &[u8]) -> String {
        super::mask_code(code, &request(body, b""))
    }

    #[test]
    fn what_doku_repeats_of_the_customer_is_masked() {
        let request = br#"{"customer":{"name":"Astari","email":"Astari@doku.com","phone":"0812"},
                           "jenius_info":{"cash_tag":"$admin"}}"#;
        let input = "Astari <Astari@doku.com>, 0812: cash tag $admin is unknown";
        assert_eq!(mask(input, request), "*** <***>, ***: cash tag *** is unknown");
        assert_eq!(mask("ASTARI@DOKU.COM of astari", request), "*** of ***");
        assert_eq!(mask("amount is wrong", request), "amount is wrong");
    }

    #[test]
    fn the_same_data_written_in_another_way_is_masked_too() {
        let request = r#"{"customer":{"name":"Dewi Ayu Lestari-Käthe","email":"dewi.lestari@doku.com","phone":"081288910205"},
                          "jenius_info":{"cash_tag":"$wita"}}"#;
        for (input, expected) in [
            ("phone 6281288910205 is wrong", "phone *** is wrong"),
            ("phone +62 812-8891-0205 is wrong", "phone +*** is wrong"),
            ("phone 0812 8891 0205.", "phone ***."),
            ("phone (0812) 8891.0205", "phone (***"),
            ("ends in 8910205", "ends in ***"),
            ("0205 alone, or 1288910206", "0205 alone, or 1288910206"),
            ("amount 50000 of INV-2026-000123456", "amount 50000 of INV-2026-000123456"),
            ("Ms DEWI is blocked", "Ms *** is blocked"),
            ("ayu, lestari; kÄTHE", "***, ***; ***"),
            ("dewi_lestari and DewiLestari", "***_*** and Dewi***"),
            ("layup and layuan", "layup and layuan"),
            ("mail dewi.lestari at x", "mail *** at x"),
            ("mail DEWI.LESTARI@DOKU.COM", "mail ***"),
            ("tag wita, $WITA", "tag ***, ***"),
            ("İ dewi ß", "İ *** ß"),
            ("", ""),
        ] {
            assert_eq!(mask(input, request.as_bytes()), expected, "{input}");
        }
    }

    /// A refund's request has no customer in it: what looks like a phone number or an address is masked.
    #[test]
    fn what_looks_private_in_an_answer_to_a_refund_is_masked() {
        let refund = br#"{"order":{"invoice_number":"INV-1","amount":"50000","reason":"x"}}"#;
        for (input, expected) in [
            ("refund to +62 812-8891-0205 failed", "refund to +*** failed"),
            ("refund to 081288910205 failed", "refund to *** failed"),
            ("astari@doku.com has $admin ", "*** has *** "),
            ("refund of 50000 for INV-20260102-17", "refund of 50000 for INV-20260102-17"),
            ("already refunded", "already refunded"),
        ] {
            assert_eq!(mask(input, refund), expected, "{input}");
        }
    }

    #[test]
    fn the_customer_of_its_payment_is_masked_in_an_answer_to_a_refund() {
        let payment = br#"{"customer":{"name":"Astari","phone":"0812345"},"jenius_info":{"cash_tag":"$me"}}"#;
        let refund = request(br#"{"order":{"reason":"x"}}"#, payment);
        let input = "Astari ($me, 0812345) took it back; so did 081288910205 and other@doku.com";
        assert_eq!(super::mask(input, &refund), "*** *** ***) took it back; so did *** and ***");
        assert_eq!(super::mask_code("no_such_tag: ASTARI", &refund), "no_such_tag: ***");
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
        let keys = AccountKeys { current: "SK-new".into(), previous: vec!["SK-old".into()] };
        assert_eq!(without_keys("neither SK-NEW nor SK-old, ä", &keys), "neither *** nor ***, ä");
        let empty = AccountKeys { current: "".into(), previous: vec![] };
        assert_eq!(without_keys("x", &empty), "x");
    }

    #[test]
    fn a_request_without_a_customer_masks_nothing() {
        for request in [&br#"{"order":{"reason":"x"}}"#[..], b"", br#"{"customer":{"name":"a"}}"#] {
            assert_eq!(mask("a refund was made", request), "a refund was made");
        }
    }
}

//! The rule of each field, with the words that say what it allows. A field without a maximal
//! length may be as long as a body can be. The AsyncAPI document is made from these rules.

use super::{
    Code, Rules,
    reader::{Fields, Violations},
};
use crate::domain::{ids::InvoiceNumber, money::Rupiah};
use std::ops::RangeInclusive;
use url::Url;

/// A text of one character or more.
#[derive(Debug)]
pub struct Text {
    /// Counts characters, not bytes; `usize::MAX` is no limit.
    pub length_max: usize,
    pub allowed: &'static str,
    /// The rule as a regular expression, as far as it is one, for the JSON Schema that describes it.
    pub pattern: &'static str,
    /// Whether a message may repeat the text: it is no customer's.
    pub is_shown: bool,
    /// What is wrong with a text of an allowed length.
    fault: fn(&str) -> Option<Code>,
}

impl Text {
    const fn new(length_max: usize, allowed: &'static str) -> Self {
        Self { length_max, allowed, pattern: "^[^\\u0000]*$", is_shown: false, fault: |_| None }
    }

    /// The first rule that a text breaks: empty, too long, U+0000, then the field's own.
    pub(super) fn broken_by(&self, text: &str) -> Option<Code> {
        if text.is_empty() {
            Some(Code::TooShort)
        } else if text.chars().nth(self.length_max).is_some() {
            Some(Code::TooLong)
        } else if text.contains('\0') {
            Some(Code::InvalidCharacters)
        } else {
            (self.fault)(text)
        }
    }
}

/// A whole number.
#[derive(Debug)]
pub struct Whole {
    pub range: RangeInclusive<u64>,
    pub allowed: &'static str,
}

pub const INVOICE_NUMBER: Text = Text {
    length_max: InvoiceNumber::CHARS_MAX,
    allowed: InvoiceNumber::ALLOWED,
    pattern: InvoiceNumber::PATTERN,
    is_shown: true,
    fault: |text| {
        if InvoiceNumber::REFUSED.contains(&text) {
            return Some(Code::NotAllowed);
        }
        (!text.bytes().all(|b| b.is_ascii_graphic())).then_some(Code::InvalidCharacters)
    },
};

pub const AMOUNT: Text = Text {
    length_max: 12,
    allowed: "a string of 1–12 digits without a leading zero, at least 1 (whole rupiah)",
    pattern: "^[1-9][0-9]*$",
    is_shown: true,
    fault: |text| {
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            Some(Code::InvalidCharacters)
        } else if text == "0" {
            Some(Code::OutOfRange)
        } else {
            text.starts_with('0').then_some(Code::InvalidFormat)
        }
    },
};

pub const ITEM_NAME: Text = Text::new(255, "a text of 1–255 characters");
pub const ITEM_PRICE: Whole = Whole {
    range: 0..=999_999_999_999,
    allowed: "a whole number from 0 to 999999999999, written without point or exponent",
};
pub const ITEM_QUANTITY: Whole =
    Whole { range: 1..=9999, allowed: "a whole number from 1 to 9999, written without point or exponent" };

pub const SETTLEMENT_ACCOUNT: Text = Text::new(64, "a text of 1–64 characters");
pub const SETTLEMENT_FIX: Whole =
    Whole { range: 1..=u64::MAX, allowed: "a whole number above 0, written without point or exponent" };
pub const PERCENTAGE: &str = "PERCENTAGE";
pub const FIX: &str = "FIX";
pub const SETTLEMENT_TYPE: Text = Text {
    length_max: usize::MAX,
    allowed: "PERCENTAGE or FIX",
    pattern: "^(PERCENTAGE|FIX)$",
    is_shown: true,
    fault: |text| (![PERCENTAGE, FIX].contains(&text)).then_some(Code::NotAllowed),
};

pub const CUSTOMER_NAME: Text = Text::new(64, "a text of 1–64 characters");
pub const CUSTOMER_PHONE: Text = Text {
    length_max: 16,
    allowed: "a string of 1–16 digits",
    pattern: "^[0-9]+$",
    is_shown: false,
    fault: |text| (!text.bytes().all(|b| b.is_ascii_digit())).then_some(Code::InvalidCharacters),
};
pub const CUSTOMER_EMAIL: Text = Text {
    length_max: 400,
    allowed: "a text of at most 400 characters with one @ and something on both sides of it",
    pattern: "^[^@\\u0000]+@[^@\\u0000]+$",
    is_shown: false,
    fault: |text| {
        let sides = text.split_once('@');
        let good = sides.is_some_and(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains('@'));
        (!good).then_some(Code::InvalidFormat)
    },
};
pub const REDIRECT_URL: Text = Text {
    length_max: 512,
    allowed: "an absolute http or https URL of 1–512 characters",
    pattern: HTTP_URL,
    is_shown: false,
    fault: |text| http_url(text).is_none().then_some(Code::InvalidFormat),
};
pub const CASH_TAG: Text = Text::new(30, "a text of 1–30 characters");
pub const REASON: Text = Text::new(255, "a text of 1–255 characters");

/// Any text: the rule of an override depends on the configuration, see `override_fault`.
pub const OVERRIDE_URL: Text = Text {
    length_max: usize::MAX,
    allowed: "an absolute URL with the configured path of notifications; https in production",
    pattern: HTTP_URL,
    is_shown: true,
    fault: |_| None,
};

/// What is wrong with an override of the notification URL, and what is allowed. Only its host may differ
/// from the registered one: the path is signed, and compared as it was written.
pub(super) fn override_fault(text: &str, rules: &Rules) -> Option<(Code, String)> {
    let scheme = if rules.production { "https" } else { "http or https" };
    let code = match http_url(text) {
        None => Code::InvalidFormat,
        Some(parts) if rules.production && !parts.https => Code::InvalidFormat,
        Some(parts) if parts.path != rules.notification_path => Code::NotAllowed,
        Some(_) => return None,
    };
    Some((code, format!("an absolute {scheme} URL with the path {}", rules.notification_path)))
}

/// What a regular expression can say of `http_url`.
const HTTP_URL: &str = concat!(
    r"^[Hh][Tt][Tt][Pp][Ss]?://",
    r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\\/?#]",
    r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\\]*$",
);

struct HttpUrl<'t> {
    https: bool,
    /// As it was written: neither decoded nor with `..` resolved.
    path: &'t str,
}

/// Reads an absolute http(s) URL. A browser's leniency (which the parser has) is not for us: it drops
/// spaces and tabs, and takes `https:host` and backslashes.
fn http_url(text: &str) -> Option<HttpUrl<'_>> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return None;
    }
    let (_, rest) = text.split_once("://")?;
    let https = match Url::parse(text).ok()?.scheme() {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    // `https:/host://x` and `https:////host` parse, with another host than the eye sees.
    if rest.starts_with('/') || !text.get(..if https { 8 } else { 7 })?.ends_with("://") {
        return None;
    }
    let before_query = rest.split(['?', '#']).next()?;
    let path = before_query.find('/').map_or("", |start| &before_query[start..]);
    Some(HttpUrl { https, path })
}

pub(super) fn invoice_number(
    order: &mut Fields<'_, '_>,
    violations: &mut Violations,
) -> Option<InvoiceNumber> {
    InvoiceNumber::parse(order.text("invoice_number", &INVOICE_NUMBER, violations)?).ok()
}

pub(super) fn amount(order: &mut Fields<'_, '_>, violations: &mut Violations) -> Option<Rupiah> {
    Rupiah::new(order.text("amount", &AMOUNT, violations)?.parse().ok()?)
}

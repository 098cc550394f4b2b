//! Names that outsiders gave to things, each with the characters and lengths that are allowed.
//! A value of these types has been checked; there is no other way to make one.

use std::fmt;

/// Why a name was refused: what is allowed instead, for the person who reads the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {allowed}")]
pub struct NameError {
    pub what: &'static str,
    pub allowed: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            pub const CHARS_MAX: usize = $max;
            /// What is allowed, in words.
            pub const ALLOWED: &'static str = $allowed;
            /// Its characters as a regular expression, for the JSON Schema that describes the rule.
            pub const PATTERN: &'static str = $pattern;

            pub fn parse(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                let fits = !text.is_empty() && text.chars().nth(Self::CHARS_MAX).is_none();
                if fits && check(&text) { Ok(Self(text)) } else { Err(NameError { what: $what, allowed: $allowed }) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The configured name of one DOKU account. Not DOKU's Client-Id.
    MerchantName,
    "merchant",
    32,
    "1–32 of a-z, 0-9 and _",
    "^[a-z0-9_]+$",
    |t| t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
);

impl MerchantName {
    /// The account that `doku.client_id` configures; it acts where a command names none.
    pub fn default_account() -> Self {
        Self("default".to_owned())
    }
}

name!(
    /// An order's number, unique within a merchant; a payment's Request-Id too (specification, step 1).
    InvoiceNumber,
    "invoice number",
    64,
    "1–64 visible ASCII characters without a space, not `.` or `..`",
    "^[!-~]+$",
    |t| t.bytes().all(|b| b.is_ascii_graphic()) && !InvoiceNumber::REFUSED.contains(&t)
);

impl InvoiceNumber {
    /// In a path they are folders.
    pub const REFUSED: [&'static str; 2] = [".", ".."];
    /// The pattern that refuses these two as well, for programs that know no other way to say so. Two
    /// hyphens in a row would be an operator in some of them.
    pub const PATTERN_WHOLE: &'static str = r"^([!-,\-/-~][!-~]*|[.]([!-,\-/-~][!-~]*|[.][!-~]+))$";

    /// Whether the number needs no percent-encoding in a path. What DOKU makes of an encoded one is
    /// documented nowhere, so its "not found" for such a number proves nothing.
    pub fn is_plain(&self) -> bool {
        self.0.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
    }
}

name!(
    /// DOKU's idempotency key: the same id with the same body gets the same answer.
    RequestId,
    "Request-Id",
    128,
    "1–128 visible ASCII characters",
    "^[!-~]+$",
    |t| t.bytes().all(|b| b.is_ascii_graphic())
);

name!(
    /// The `id` an upstream service gave to its command.
    CommandId,
    "id",
    128,
    "1–128 visible ASCII characters",
    "^[!-~]+$",
    |t| t.bytes().all(|b| b.is_ascii_graphic())
);

name!(
    /// The `source` of a command: a URI reference that names the upstream service.
    CommandSource,
    "source",
    255,
    "1–255 characters, a URI reference",
    // White space and control characters as Rust knows them: `\s` is not the same everywhere.
    r#"^[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000<>"{}|\\^`]+$"#,
    |t| !t.chars().any(|c| c.is_control() || c.is_whitespace() || "<>\"{}|\\^`".contains(c))
);

/// What makes two commands the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub source: CommandSource,
    pub id: CommandId,
}

/// The same refund command makes the same Request-Id, even if its claim was lost with the database:
/// DOKU then answers with the refund it made already.
pub fn refund_request_id(merchant: &MerchantName, identity: &Identity) -> RequestId {
    // Length-prefixed, so that no two triples make the same name.
    let name = [merchant.as_str(), identity.source.as_str(), identity.id.as_str()]
        .map(|part| format!("{}:{part}", part.len()))
        .concat();
    const NAMESPACE: uuid::Uuid = uuid::uuid!("3f0c2a52-6a0e-5d53-9a35-6c4b2f1d7e10");
    RequestId(uuid::Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string())
}

/// A payment's Request-Id is its invoice number (specification, table of step 1).
pub fn payment_request_id(invoice: &InvoiceNumber) -> RequestId {
    RequestId(invoice.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_their_rules_are_refused() {
        for bad in ["", "a b", ".", "..", "ä", &"x".repeat(65)] {
            assert!(InvoiceNumber::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "Default", "a-b", &"x".repeat(33)] {
            assert!(MerchantName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(CommandSource::parse("two words").is_err());
        for good in ["INV/2026/001", "...", "$x"] {
            assert!(InvoiceNumber::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn what_is_allowed_names_the_length() {
        for (allowed, max) in [
            (MerchantName::ALLOWED, MerchantName::CHARS_MAX),
            (InvoiceNumber::ALLOWED, InvoiceNumber::CHARS_MAX),
            (RequestId::ALLOWED, RequestId::CHARS_MAX),
            (CommandId::ALLOWED, CommandId::CHARS_MAX),
            (CommandSource::ALLOWED, CommandSource::CHARS_MAX),
        ] {
            assert!(allowed.starts_with(&format!("1–{max} ")), "{allowed}");
        }
    }

    #[test]
    fn a_refunds_request_id_is_a_function_of_merchant_source_and_id() {
        let of = |m: &str, s: &str, i: &str| {
            let identity =
                Identity { source: CommandSource::parse(s).unwrap(), id: CommandId::parse(i).unwrap() };
            refund_request_id(&MerchantName::parse(m).unwrap(), &identity)
        };
        assert_eq!(of("default", "/shop", "1"), of("default", "/shop", "1"));
        assert_ne!(of("default", "/shop", "11"), of("default", "/shop1", "1"));
        assert_ne!(of("default", "/shop", "1"), of("other", "/shop", "1"));
    }
}

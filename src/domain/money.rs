//! Money is whole rupiah in an integer. No float comes near it.

use std::fmt;

/// An amount of whole rupiah: 1 to 999,999,999,999 (specification: at most 12 digits, no decimals).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rupiah(u64);

impl Rupiah {
    /// The largest amount DOKU's field of 12 digits holds.
    pub const MAX: u64 = 999_999_999_999;

    pub fn new(amount: u64) -> Option<Self> {
        (1..=Self::MAX).contains(&amount).then_some(Self(amount))
    }

    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Rupiah {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `Rp50.000` or `-Rp50.000`, as Indonesia writes it; what is no whole number stays as it is.
pub fn group_digits(digits: &str) -> String {
    if let Some(owed) = digits.strip_prefix('-').filter(|owed| owed.starts_with(|c: char| c.is_ascii_digit()))
    {
        return format!("-{}", group_digits(owed));
    }
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return digits.to_owned();
    }
    let mut grouped = String::from("Rp");
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('.');
        }
        grouped.push(digit);
    }
    grouped
}

/// An amount as DOKU reported it. DOKU writes `"50000"`, `50000`, `50000.00` and `5E+4`, all of which are the same;
/// anything that is not exactly a possible amount is `Other`, which no order's amount ever equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedAmount {
    Whole(Rupiah),
    Other,
}

impl ReportedAmount {
    /// Reads a JSON number, or a string, as it was written.
    pub fn read(text: &str) -> Self {
        Decimal::read(text).and_then(|number| number.rupiah()).map_or(Self::Other, Self::Whole)
    }

    pub fn is(self, amount: Rupiah) -> bool {
        self == Self::Whole(amount)
    }

    /// The amount at the end of an attempt's detail, as `Display` wrote it; `None`: it names none.
    pub fn in_detail(detail: &str) -> Option<Self> {
        if detail.ends_with(NO_ORDERS) {
            return Some(Self::Other);
        }
        let (_, digits) = detail.rsplit_once("amount ")?;
        digits.parse().ok().and_then(Rupiah::new).map(Self::Whole)
    }
}

const NO_ORDERS: &str = "an amount that no order has";

/// For a person: `amount 50000`.
impl fmt::Display for ReportedAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(amount) => write!(f, "amount {amount}"),
            Self::Other => f.write_str(NO_ORDERS),
        }
    }
}

/// An amount in the one way of writing that all texts of the same value share; a text that is no number stays as it
/// is.
pub fn by_value(text: &str) -> String {
    match Decimal::read(text) {
        None => text.to_owned(),
        Some(number) => number.rupiah().map_or_else(|| number.to_string(), |amount| amount.to_string()),
    }
}

/// A decimal number: its digits without the zeros at either end, times ten to the `exponent`. No number is ever
/// written out, so that an exponent of any size costs nothing.
struct Decimal<'a> {
    negative: bool,
    /// As they were written, without the point between them.
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

/// Longer exponents are those of no amount, whatever their sign.
const EXPONENT_DIGITS_MAX: usize = 12;

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (negative, number) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match number.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (number, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        (are_digits(whole) && are_digits(fraction))
            .then(|| Self::trimmed(negative, whole, fraction, exponent))
    }

    fn trimmed(negative: bool, whole: &'a str, fraction: &'a str, exponent: i64) -> Self {
        let fraction = fraction.trim_end_matches('0');
        let whole = whole.trim_start_matches('0');
        if !fraction.is_empty() {
            return Self { negative, whole, fraction, exponent };
        }
        let kept = whole.trim_end_matches('0');
        let exponent = exponent.saturating_add(length(whole) - length(kept));
        Self { negative, whole: kept, fraction, exponent }
    }

    /// The whole rupiah that it is.
    fn rupiah(&self) -> Option<Rupiah> {
        let fraction =
            if self.whole.is_empty() { self.fraction.trim_start_matches('0') } else { self.fraction };
        let power = u32::try_from(self.exponent.saturating_sub(length(self.fraction))).ok()?;
        let digits = self.whole.len().saturating_add(fraction.len());
        if self.negative || digits.saturating_add(usize::try_from(power).ok()?) > AMOUNT_DIGITS_MAX {
            return None;
        }
        let digits: u64 = format!("{}{fraction}", self.whole).parse().ok()?;
        digits.checked_mul(10_u64.checked_pow(power)?).and_then(Rupiah::new)
    }
}

/// `Rupiah::MAX` has as many.
const AMOUNT_DIGITS_MAX: usize = 12;

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{}{}", self.whole, self.fraction);
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return f.write_str("0");
        }
        let sign = if self.negative { "-" } else { "" };
        write!(f, "{sign}{digits}e{}", self.exponent.saturating_sub(length(self.fraction)))
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !are_digits(digits) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let size = match digits {
        "" => 0,
        _ if digits.len() > EXPONENT_DIGITS_MAX => i64::MAX / 2,
        _ => digits.parse().ok()?,
    };
    Some(if negative { -size } else { size })
}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// No text that is read here is longer than an answer of DOKU's.
fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_found_again_at_the_end_of_a_detail() {
        let sixty = ReportedAmount::Whole(Rupiah::new(60_000).unwrap());
        for amount in [sixty, ReportedAmount::Other] {
            assert_eq!(ReportedAmount::in_detail(&amount.to_string()), Some(amount));
            let about = format!("about another request (amount 7), which it calls SUCCESS, {amount}");
            assert_eq!(ReportedAmount::in_detail(&about), Some(amount));
        }
        for none in ["", "HTTP 500", "amount ", "amount 0", "amount -1"] {
            assert_eq!(ReportedAmount::in_detail(none), None, "{none}");
        }
    }

    #[test]
    fn reported_amounts_are_read_to_the_rupiah_however_they_are_written() {
        let fifty = Rupiah::new(50_000).unwrap();
        for same in [
            "50000",
            "50000.00",
            "50000.0",
            "050000",
            "5E+4",
            "5e4",
            "5e04",
            "5.0e4",
            "0.5e5",
            "0.05E6",
            "500000e-1",
            "50000.0e-0",
            "50000000.000e-3",
            "000000000000000050000",
            &format!("50000.{}", "0".repeat(100_000)),
            &format!("5{}e-99996", "0".repeat(100_000)),
            "5e0000000000000000000000004",
        ] {
            assert!(ReportedAmount::read(same).is(fifty), "{same:.60}");
            assert_eq!(by_value(same), "50000");
        }
        for other in [
            "",
            "0",
            "0e4",
            "-0",
            "-50000",
            "-5e4",
            "50000.01",
            "50000.",
            ".5e5",
            "5e",
            "5e+",
            "e4",
            "5e4.0",
            "5e-4",
            "50001",
            "49999",
            "9223372036854775808",
            " 50000",
            "50000,00",
            "1000000000000",
            "+50000",
            "5e4e0",
            "5e+-4",
            "1e12",
            "1e999999999",
            "1e99999999999999999999",
            "5e-99999999999999999999",
            "0e999999999",
            "0x50000",
            "NaN",
            "١",
            &format!("50000.{}1", "0".repeat(100_000)),
        ] {
            assert!(!ReportedAmount::read(other).is(fifty), "{other:.60}");
        }
        assert_eq!(ReportedAmount::read("999999999999"), ReportedAmount::Whole(Rupiah(Rupiah::MAX)));
        assert_eq!(ReportedAmount::read("999999999999e0"), ReportedAmount::Whole(Rupiah(Rupiah::MAX)));
        assert_eq!(ReportedAmount::read("9999999999990e-1"), ReportedAmount::Whole(Rupiah(Rupiah::MAX)));
    }

    #[test]
    fn what_has_the_same_value_is_written_alike() {
        for (text, alike) in [
            ("50000.010", "5000001e-2"),
            ("5000001e-2", "5000001e-2"),
            ("0.0", "0"),
            ("-0e7", "0"),
            ("-50000.0", "-5e4"),
            ("1e999999999", "1e999999999"),
            ("10e999999998", "1e999999999"),
            ("0.001", "1e-3"),
            ("many", "many"),
            ("no number", "no number"),
        ] {
            assert_eq!(by_value(text), alike, "{text}");
        }
    }
}

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

/// An amount as DOKU reported it. DOKU writes `"50000"`, `50000` and `50000.00`; anything that is not
/// exactly a possible amount is `Other`, which no order's amount ever equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedAmount {
    Whole(Rupiah),
    Other,
}

impl ReportedAmount {
    /// Reads the digits of a JSON number or string as they were written.
    pub fn read(text: &str) -> Self {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let zero_fraction = fraction.bytes().all(|b| b == b'0') && !text.ends_with('.');
        let digits = !whole.is_empty() && whole.len() <= 20 && whole.bytes().all(|b| b.is_ascii_digit());
        match (digits && zero_fraction).then(|| whole.parse::<u64>().ok().and_then(Rupiah::new)).flatten() {
            Some(amount) => Self::Whole(amount),
            None => Self::Other,
        }
    }

    pub fn is(self, amount: Rupiah) -> bool {
        self == Self::Whole(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_amounts_are_read_to_the_rupiah() {
        let fifty = Rupiah::new(50_000).unwrap();
        for same in ["50000", "50000.00", "50000.0", "050000"] {
            assert!(ReportedAmount::read(same).is(fifty), "{same}");
        }
        for other in [
            "",
            "0",
            "-50000",
            "50000.01",
            "50000.",
            "5e4",
            "50001",
            "49999",
            "9223372036854775808",
            " 50000",
            "50000,00",
            "1000000000000",
            "+50000",
            "000000000000000050000",
        ] {
            assert!(!ReportedAmount::read(other).is(fifty), "{other}");
        }
    }
}

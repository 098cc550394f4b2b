//! Amounts of a settlement file, read to the rupiah exactly. A text that could be read two ways is an error: which
//! character marks decimals and which one thousands comes from the profile, never from the text.

/// The largest amount of one row, either sign: 12 digits, as for an order.
pub const ROW_MAX: i64 = 999_999_999_999;
/// The largest sum that a file may state: more would be no sum of rows that are read.
const SUM_MAX: i64 = 999_999_999_999_999;

/// How a profile's files write numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Stands before the fraction of a rupiah, which must be zero.
    pub decimal: char,
    /// Stands between groups of three digits, all of them or none; `None`: nothing may stand there.
    pub thousands: Option<char>,
}

/// Why a text is no amount; what is allowed instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("is empty: allowed are whole rupiah")]
    Empty,
    #[error("is no number: allowed are whole rupiah with the profile's decimal and thousands marks")]
    NotANumber,
    #[error("has a fraction of a rupiah: allowed are whole rupiah")]
    Fraction,
    #[error("can be read two ways, with three zeros behind the decimal mark: name the marks in a profile")]
    TwoWays,
    #[error("has thousands marks that do not stand before three digits each")]
    Groups,
    #[error("is too large: allowed are 12 digits in a row, 15 in a sum")]
    TooLarge,
}

impl Marks {
    /// The amount of a row in whole rupiah. A minus or parentheses make it negative; `Rp` or `IDR` may stand before it.
    ///
    /// # Errors
    /// The text is no such amount.
    pub fn row(self, text: &str) -> Result<i64, AmountError> {
        let amount = self.read(text)?;
        if amount.abs() <= ROW_MAX { Ok(amount) } else { Err(AmountError::TooLarge) }
    }

    /// A sum that the file states about its rows.
    ///
    /// # Errors
    /// The text is no such amount.
    pub fn sum(self, text: &str) -> Result<i64, AmountError> {
        let amount = self.read(text)?;
        if amount.abs() <= SUM_MAX { Ok(amount) } else { Err(AmountError::TooLarge) }
    }

    fn read(self, text: &str) -> Result<i64, AmountError> {
        let text = without_currency(text.trim());
        let (negative, text) = sign(text);
        if text.is_empty() {
            return Err(if negative { AmountError::NotANumber } else { AmountError::Empty });
        }
        let (whole, fraction) = match text.split_once(self.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        if let Some(fraction) = fraction {
            if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return Err(AmountError::NotANumber);
            }
            if !fraction.bytes().all(|b| b == b'0') {
                return Err(AmountError::Fraction);
            }
            // `50.000`: fifty, or fifty thousand where the profile names the wrong marks.
            if fraction.len() == 3 {
                return Err(AmountError::TwoWays);
            }
        }
        let digits = self.digits(whole)?;
        let digits = digits.trim_start_matches('0');
        // 18 digits fit an i64; what is too large by meaning the callers judge.
        if digits.len() > 18 {
            return Err(AmountError::TooLarge);
        }
        let amount: i64 =
            if digits.is_empty() { 0 } else { digits.parse().map_err(|_| AmountError::TooLarge)? };
        Ok(if negative { -amount } else { amount })
    }

    /// The digits without thousands marks, which stand in all places or in none.
    fn digits(self, whole: &str) -> Result<String, AmountError> {
        let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let Some(mark) = self.thousands.filter(|mark| whole.contains(*mark)) else {
            return if are_digits(whole) { Ok(whole.to_owned()) } else { Err(AmountError::NotANumber) };
        };
        let groups: Vec<&str> = whole.split(mark).collect();
        if !groups.iter().all(|group| are_digits(group)) {
            return Err(AmountError::NotANumber);
        }
        let is_first_well = groups.first().is_some_and(|first| first.len() <= 3);
        if !is_first_well || groups.iter().skip(1).any(|group| group.len() != 3) {
            return Err(AmountError::Groups);
        }
        Ok(groups.concat())
    }
}

fn without_currency(text: &str) -> &str {
    for currency in ["IDR", "Rp.", "Rp"] {
        let Some((head, rest)) = text.split_at_checked(currency.len()) else { continue };
        if head.eq_ignore_ascii_case(currency) {
            return rest.trim_start();
        }
    }
    text
}

/// Whether the number is negative, and the rest without its sign.
fn sign(text: &str) -> (bool, &str) {
    if let Some(inside) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return (true, inside.trim());
    }
    let signed = text.strip_prefix('-').or_else(|| text.strip_suffix('-'));
    signed.map_or((false, text), |rest| (true, without_currency(rest.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Marks = Marks { decimal: '.', thousands: Some(',') };
    const INDONESIAN: Marks = Marks { decimal: ',', thousands: Some('.') };

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        use AmountError::{Empty, Fraction, Groups, NotANumber, TooLarge, TwoWays};
        let rows: &[(Marks, &str, Result<i64, AmountError>)] = &[
            (PLAIN, "", Err(Empty)),
            (PLAIN, "  ", Err(Empty)),
            (PLAIN, "-", Err(NotANumber)),
            (PLAIN, "abc", Err(NotANumber)),
            (PLAIN, "5e4", Err(NotANumber)),
            (PLAIN, "1.2.3", Err(NotANumber)),
            (PLAIN, "50000.", Err(NotANumber)),
            (PLAIN, "--5", Err(NotANumber)),
            (PLAIN, "٥٠", Err(NotANumber)),
            (PLAIN, "=1+1", Err(NotANumber)),
            (PLAIN, "50000.5", Err(Fraction)),
            // Fifty thousand as Indonesia writes it, or fifty: no guess.
            (PLAIN, "50.000", Err(TwoWays)),
            (PLAIN, "50.440", Err(Fraction)),
            (PLAIN, "5,00", Err(Groups)),
            (PLAIN, "5000,000", Err(Groups)),
            (PLAIN, "1000000000000", Err(TooLarge)),
            (PLAIN, "99999999999999999999999", Err(TooLarge)),
            (PLAIN, "0", Ok(0)),
            (PLAIN, "000050000", Ok(50_000)),
            (PLAIN, " 50000 ", Ok(50_000)),
            (PLAIN, "50000.00", Ok(50_000)),
            (PLAIN, "504,440", Ok(504_440)),
            (PLAIN, "1,504,440.0", Ok(1_504_440)),
            (PLAIN, "Rp 50,000", Ok(50_000)),
            (PLAIN, "IDR50000", Ok(50_000)),
            (PLAIN, "-50000", Ok(-50_000)),
            (PLAIN, "-Rp 50000", Ok(-50_000)),
            (PLAIN, "50000-", Ok(-50_000)),
            (PLAIN, "(50,000)", Ok(-50_000)),
            (PLAIN, "999999999999", Ok(ROW_MAX)),
            (INDONESIAN, "Rp50.000,00", Ok(50_000)),
            (INDONESIAN, "50,5", Err(Fraction)),
            (INDONESIAN, "50.00", Err(Groups)),
        ];
        for (marks, text, expected) in rows {
            assert_eq!(marks.row(text), *expected, "{text:?}");
        }
        assert_eq!(PLAIN.sum("1000000000000"), Ok(1_000_000_000_000));
        assert_eq!(PLAIN.sum("1000000000000000"), Err(TooLarge));
    }
}

//! What DOKU may keep of a payment: fee rules, each valid from a day until the next one begins.

use chrono::NaiveDate;

/// A fee differs from the rule's by no more, since DOKU's rounding is not documented.
pub const TOLERANCE: i64 = 1;
/// Rates are in parts of a million: `0.7` percent is 7,000.
const MILLION: i128 = 1_000_000;

/// One rule, as configured: `2026-01-01;fixed=1500;percent=0.7;vat=11;round=nearest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeRule {
    /// The first day of transactions that it holds for.
    pub valid_from: NaiveDate,
    /// Whole rupiah.
    fixed: i64,
    /// Of the amount, in millionths.
    rate: i64,
    /// Of the fee, in millionths.
    vat: i64,
    rounding: Rounding,
}

/// What happens to a fraction of a rupiah.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    Nearest,
    Up,
    Down,
}

/// What is allowed, for the person who wrote another.
const ALLOWED: &str = "allowed: `YYYY-MM-DD`, then `fixed=` in rupiah, `percent=`, `vat=` (percent, at most 4 decimals), \
                       `round=nearest|up|down`, with `;` between";

impl FeeRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// What is allowed, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = |what: &str| format!("{what}; {ALLOWED}");
        let mut parts = text.split(';').map(str::trim);
        let valid_from =
            parts.next().and_then(|day| day.parse().ok()).ok_or_else(|| fault("no first day"))?;
        let mut rule = Self { valid_from, fixed: 0, rate: 0, vat: 0, rounding: Rounding::Nearest };
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| fault("a part without `=`"))?;
            let (name, value) = (name.trim(), value.trim());
            let rate = || millionths(value).ok_or_else(|| fault("no rate from 0 to 100 percent"));
            match name {
                "fixed" => {
                    let fixed = value.parse().ok().filter(|fixed| (0..=1_000_000_000).contains(fixed));
                    rule.fixed = fixed.ok_or_else(|| fault("no whole rupiah"))?;
                }
                "percent" => rule.rate = rate()?,
                "vat" => rule.vat = rate()?,
                "round" => {
                    rule.rounding = match value {
                        "nearest" => Rounding::Nearest,
                        "up" => Rounding::Up,
                        "down" => Rounding::Down,
                        _ => return Err(fault("an unknown rounding")),
                    }
                }
                _ => return Err(fault("an unknown part")),
            }
        }
        Ok(rule)
    }

    /// The fee of a payment, in whole rupiah.
    pub fn fee(&self, gross: i64) -> i64 {
        // Millionths of millionths of a rupiah, so that nothing is rounded twice.
        let net = i128::from(self.fixed) * MILLION + i128::from(gross) * i128::from(self.rate);
        let exact = net * (MILLION + i128::from(self.vat));
        let unit = MILLION * MILLION;
        let whole = match self.rounding {
            Rounding::Down => exact.div_euclid(unit),
            Rounding::Up => (exact + unit - 1).div_euclid(unit),
            Rounding::Nearest => (exact + unit / 2).div_euclid(unit),
        };
        i64::try_from(whole).unwrap_or(i64::MAX)
    }
}

/// A percentage with at most four decimals, in millionths.
fn millionths(percent: &str) -> Option<i64> {
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) || whole.len() > 3 || fraction.len() > 4 {
        return None;
    }
    let value: i64 = format!("{whole}{fraction:0<4}").parse().ok()?;
    (value <= 1_000_000).then_some(value)
}

/// The rule for transactions of a day: the latest that is valid then.
pub fn rule_on(rules: &[FeeRule], day: NaiveDate) -> Option<&FeeRule> {
    rules.iter().filter(|rule| rule.valid_from <= day).max_by_key(|rule| rule.valid_from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_computed_without_rounding_twice() {
        for (rule, gross, fee) in [
            ("2026-01-01", 50_000, 0),
            ("2026-01-01;fixed=1500", 50_000, 1_500),
            ("2026-01-01;percent=0.7", 50_000, 350),
            ("2026-01-01;fixed=1500;percent=0.7;vat=11", 50_000, 2_054), // 2053.5
            ("2026-01-01;fixed=1500;percent=0.7;vat=11;round=down", 50_000, 2_053),
            ("2026-01-01;percent=0.7;round=up", 50_001, 351),
            ("2026-01-01;percent=100", 999_999_999_999, 999_999_999_999),
        ] {
            assert_eq!(FeeRule::parse(rule).unwrap().fee(gross), fee, "{rule}");
        }
    }

    #[test]
    fn a_rule_that_says_something_else_is_refused() {
        for bad in [
            "",
            "fixed=1",
            "01-01-2026;fixed=1",
            "2026-01-01;fixed=-1",
            "2026-01-01;fixed=1.5",
            "2026-01-01;percent=101",
            "2026-01-01;percent=0.00001",
            "2026-01-01;percent=1e1",
            "2026-01-01;fee=1",
            "2026-01-01;round=half",
            "2026-01-01;x",
        ] {
            assert!(FeeRule::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_latest_rule_that_is_valid_counts() {
        let rules = ["2026-01-01;fixed=1", "2026-03-01;fixed=3", "2026-02-01;fixed=2"];
        let rules: Vec<FeeRule> = rules.iter().map(|rule| FeeRule::parse(rule).unwrap()).collect();
        for (day, fixed) in
            [("2025-12-31", None), ("2026-01-31", Some(1)), ("2026-02-01", Some(2)), ("2026-09-01", Some(3))]
        {
            assert_eq!(rule_on(&rules, day.parse().unwrap()).map(|rule| rule.fixed), fixed, "{day}");
        }
    }
}

//! Durations as operators write them: `90s`, `15m`, `2h`, `7d`.

use crate::{doku::clock::SystemClock, domain::Time, flow::ports::Clock};
use std::time::Duration;

/// A hundred years: more is a slip of the pen.
const SECONDS_MAX: u64 = 100 * 365 * 86_400;

/// A time in RFC 3339, or how long ago.
pub fn since(text: &str) -> Result<Time, String> {
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(time.into());
    }
    let ago = parse(text).ok().and_then(|ago| chrono::TimeDelta::from_std(ago).ok());
    let at = ago.and_then(|ago| SystemClock.now().checked_sub_signed(ago));
    at.ok_or_else(|| "allowed: RFC 3339, as 2026-11-25T08:00:00Z, or how long ago, as 2h or 7d".to_owned())
}

pub fn parse(text: &str) -> Result<Duration, String> {
    let allowed = || "allowed: a number with s, m, h or d, as 15m".to_owned();
    let unit = text.chars().next_back().ok_or_else(allowed)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(allowed()),
    };
    let digits = text.strip_suffix(unit).unwrap_or_default();
    let number: u64 = digits.parse().map_err(|_| allowed())?;
    let total = number.checked_mul(seconds).filter(|total| *total <= SECONDS_MAX);
    total.map(Duration::from_secs).ok_or_else(|| "allowed: up to 36500d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_unit_and_nothing_else() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "m", "1.5h", "-1h", "1h30m", "5w", "5µ", "99999999999999999999d", "36501d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

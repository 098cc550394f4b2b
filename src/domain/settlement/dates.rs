//! Dates of a settlement file. A profile names the forms that its files use; a text that two of them read as two days is
//! an error, never a guess.

use chrono::{DateTime, FixedOffset, NaiveDate};

/// One way of writing a date, as a profile names it: `DD-MM-YYYY`, `YYYY/MM/DD`, `DD MMM YYYY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateForm {
    parts: Vec<DatePart>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DatePart {
    Day,
    Month,
    /// Three letters, English.
    MonthName,
    Year,
    Literal(char),
}

/// Years outside of these are no dates of payments.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2199;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// What separates a date from a time of the day, which is left out.
const BEFORE_TIME: [char; 2] = [' ', 'T'];

/// Why a text is no date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    #[error("is empty: allowed is a date in one of the profile's forms")]
    Empty,
    #[error("is in none of the profile's date forms")]
    NoForm,
    #[error("can be read as two days: name one date form in the profile")]
    TwoWays,
}

impl DateForm {
    /// Reads the name of a form; `None` where it does not name day, month and year once each.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (part, length) = if rest.starts_with("YYYY") {
                (DatePart::Year, 4)
            } else if rest.starts_with("MMM") {
                (DatePart::MonthName, 3)
            } else if rest.starts_with("MM") {
                (DatePart::Month, 2)
            } else if rest.starts_with("DD") {
                (DatePart::Day, 2)
            } else if matches!(first, '-' | '/' | '.' | ' ') {
                (DatePart::Literal(first), 1)
            } else {
                return None;
            };
            parts.push(part);
            rest = &rest[length..];
        }
        let count = |wanted: &[DatePart]| parts.iter().filter(|part| wanted.contains(part)).count();
        let is_whole = count(&[DatePart::Day]) == 1
            && count(&[DatePart::Year]) == 1
            && count(&[DatePart::Month, DatePart::MonthName]) == 1;
        is_whole.then_some(Self { parts })
    }

    /// The day, where the whole text, or all before a time of the day, has this form.
    fn read(&self, text: &str) -> Option<NaiveDate> {
        let (mut day, mut month, mut year) = (None, None, None);
        let mut rest = text;
        for part in &self.parts {
            match part {
                DatePart::Day => day = Some(digits(&mut rest, 2)?),
                DatePart::Month => month = Some(digits(&mut rest, 2)?),
                DatePart::Year => year = Some(digits(&mut rest, 4)?),
                DatePart::MonthName => {
                    let (name, after) = rest.split_at_checked(3)?;
                    let at = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
                    month = u32::try_from(at + 1).ok();
                    rest = after;
                }
                DatePart::Literal(wanted) => rest = rest.strip_prefix(*wanted)?,
            }
        }
        if !(rest.is_empty() || (rest.starts_with(BEFORE_TIME) && is_time(&rest[1..]))) {
            return None;
        }
        let year = i32::try_from(year?).ok().filter(|year| YEARS.contains(year))?;
        NaiveDate::from_ymd_opt(year, month?, day?)
    }
}

fn digits(rest: &mut &str, count: usize) -> Option<u32> {
    let (head, after) = rest.split_at_checked(count)?;
    if !head.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    *rest = after;
    head.parse().ok()
}

/// `13:45`, `13:45:10`, `1:45 PM`, with a fraction or without.
fn is_time(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.contains(':')
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | ' ' | 'A' | 'M' | 'P' | 'a' | 'm' | 'p'))
}

/// Reads a date. One with an offset from UTC (RFC 3339) becomes the day of the profile's zone; others are that day already.
///
/// # Errors
/// No form fits, or two that differ.
pub fn read(text: &str, forms: &[DateForm], zone: FixedOffset) -> Result<NaiveDate, DateError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(DateError::Empty);
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        let day = at.with_timezone(&zone).date_naive();
        return Ok(day);
    }
    let mut days = forms.iter().filter_map(|form| form.read(text));
    let first = days.next().ok_or(DateError::NoForm)?;
    if days.all(|day| day == first) { Ok(first) } else { Err(DateError::TwoWays) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(names: &[&str]) -> Vec<DateForm> {
        names.iter().map(|name| DateForm::parse(name).unwrap()).collect()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_form_names_day_month_and_year_once() {
        for bad in ["", "DD-MM", "DD-MM-YY", "DD-MM-YYYY-DD", "DD_MM_YYYY", "YYYY-DDD", "%d"] {
            assert_eq!(DateForm::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_read_exactly_or_not_at_all() {
        let wib = FixedOffset::east_opt(7 * 3600).unwrap();
        let doku = forms(&["DD-MM-YYYY", "YYYY-MM-DD", "DD MMM YYYY"]);
        for (text, expected) in [
            ("", Err(DateError::Empty)),
            ("02-01-26", Err(DateError::NoForm)),
            ("31-02-2026", Err(DateError::NoForm)),
            ("2-1-2026", Err(DateError::NoForm)),
            ("02/01/2026", Err(DateError::NoForm)),
            ("02-01-2026x", Err(DateError::NoForm)),
            ("02-01-2026 x", Err(DateError::NoForm)),
            ("01-01-1970", Err(DateError::NoForm)),
            ("46024", Err(DateError::NoForm)),
            (" 02-01-2026 ", Ok(day("2026-01-02"))),
            ("2026-01-02", Ok(day("2026-01-02"))),
            ("02 JAN 2026", Ok(day("2026-01-02"))),
            ("02-01-2026 23:59:59", Ok(day("2026-01-02"))),
            ("2026-01-02T23:59", Ok(day("2026-01-02"))),
            ("2026-01-02T18:00:00Z", Ok(day("2026-01-03"))),
        ] {
            assert_eq!(read(text, &doku, wib), expected, "{text:?}");
        }
        let both = forms(&["DD-MM-YYYY", "MM-DD-YYYY"]);
        assert_eq!(read("02-01-2026", &both, wib), Err(DateError::TwoWays));
        assert_eq!(read("13-01-2026", &both, wib), Ok(day("2026-01-13")));
        assert_eq!(read("03-03-2026", &both, wib), Ok(day("2026-03-03")));
    }
}

//! Working days: when DOKU owes the money of a payment, and when the next batch is late.

use chrono::{Datelike, Days, NaiveDate, Weekday};
use std::collections::BTreeSet;

/// Holidays and the number of working days after which money is due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calendar {
    /// Days on which no bank works, beside Saturday and Sunday.
    pub holidays: BTreeSet<NaiveDate>,
    /// Working days from a payment to the last day on which its pay-out is not late.
    pub due_days: u32,
}

/// How often a merchant's batches come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rhythm {
    /// Not known: no batch is expected.
    #[default]
    Unknown,
    /// Each working day.
    Daily,
    /// On the first and the sixteenth, or the working day after it.
    TwiceAMonth,
    /// On the first, or the working day after it.
    Monthly,
}

impl Rhythm {
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Daily, Self::TwiceAMonth, Self::Monthly];

    /// The word in a profile.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Daily => "daily",
            Self::TwiceAMonth => "twice_a_month",
            Self::Monthly => "monthly",
        }
    }
}

impl Calendar {
    pub fn is_working_day(&self, day: NaiveDate) -> bool {
        !matches!(day.weekday(), Weekday::Sat | Weekday::Sun) && !self.holidays.contains(&day)
    }

    /// The day so many working days after another.
    pub fn working_days_after(&self, day: NaiveDate, count: u32) -> NaiveDate {
        let mut reached = day;
        let mut left = count;
        while left > 0 {
            let Some(next) = reached.checked_add_days(Days::new(1)) else { return reached };
            reached = next;
            if self.is_working_day(reached) {
                left -= 1;
            }
        }
        reached
    }

    /// The last day on which the pay-out of something that happened on `day` is not late.
    pub fn due_on(&self, day: NaiveDate) -> NaiveDate {
        self.working_days_after(day, self.due_days)
    }

    /// The day by which the batch after that of `paid_out_on` is here, with the same patience as for a payment.
    pub fn next_batch_by(&self, rhythm: Rhythm, paid_out_on: NaiveDate) -> Option<NaiveDate> {
        let expected = match rhythm {
            Rhythm::Unknown => return None,
            Rhythm::Daily => self.working_days_after(paid_out_on, 1),
            Rhythm::TwiceAMonth => next_of(paid_out_on, &[1, 16])?,
            Rhythm::Monthly => next_of(paid_out_on, &[1])?,
        };
        Some(self.due_on(expected))
    }
}

/// The first day after `day` that is one of these days of a month.
fn next_of(day: NaiveDate, days_of_month: &[u32]) -> Option<NaiveDate> {
    day.iter_days().skip(1).take(62).find(|next| days_of_month.contains(&next.day()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn calendar() -> Calendar {
        Calendar { holidays: [day("2026-01-16")].into(), due_days: 3 }
    }

    #[test]
    fn weekends_and_holidays_are_no_working_days() {
        for (from, due) in [
            ("2026-01-05", "2026-01-08"), // Monday
            ("2026-01-08", "2026-01-13"), // Thursday, over a weekend
            ("2026-01-10", "2026-01-14"), // Saturday
            ("2026-01-14", "2026-01-20"), // over the holiday and a weekend
        ] {
            assert_eq!(calendar().due_on(day(from)), day(due), "{from}");
        }
    }

    #[test]
    fn a_batch_is_late_by_its_rhythm_and_the_same_patience() {
        for (rhythm, last, by) in [
            (Rhythm::Unknown, "2026-01-05", None),
            (Rhythm::Daily, "2026-01-05", Some("2026-01-09")),
            (Rhythm::TwiceAMonth, "2026-01-02", Some("2026-01-21")),
            (Rhythm::TwiceAMonth, "2026-01-20", Some("2026-02-04")),
            (Rhythm::Monthly, "2026-01-02", Some("2026-02-04")),
        ] {
            assert_eq!(calendar().next_batch_by(rhythm, day(last)), by.map(day), "{rhythm:?} {last}");
        }
    }
}

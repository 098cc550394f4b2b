//! Times for people: in the zone that is configured, without fractions of a second; and how long ago something was.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use chrono_tz::Tz;

/// How times are shown, and when that is.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    zone: Tz,
    now: DateTime<Utc>,
}

impl Times {
    pub fn new(zone: Tz, now: DateTime<Utc>) -> Self {
        Self { zone, now }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The name of the zone now, for the head of a column: `WIB`.
    pub fn zone(&self) -> String {
        self.now.with_timezone(&self.zone).format("%Z").to_string()
    }

    /// `2026-11-26 22:03:34`, for a column whose head names the zone.
    pub fn short_time(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.zone).format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `2026-11-26`.
    pub fn day(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.zone).date_naive().to_string()
    }

    /// `2026-11-26 22:03:34 WIB`.
    pub fn full(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// What a browser's field for date and time gives, which knows no zone: in the one that is configured.
    pub fn typed(&self, text: &str) -> Option<DateTime<Utc>> {
        let formats = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
        let naive = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
        naive.and_local_timezone(self.zone).earliest().map(|at| at.to_utc())
    }

    /// The same, written.
    pub fn for_field(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.zone).format("%Y-%m-%dT%H:%M:%S").to_string()
    }

    /// `3 min ago`, `in 3 min`.
    pub fn away(&self, at: DateTime<Utc>) -> String {
        if at > self.now { format!("in {}", span(at - self.now)) } else { format!("{} ago", self.age(at)) }
    }

    /// `3 min`.
    pub fn age(&self, at: DateTime<Utc>) -> String {
        span(self.now - at)
    }
}

/// For programs, and to be typed again.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// In the largest unit of which there are two or more, rounded down.
fn span(span: chrono::TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
pub mod sample {
    use super::*;

    /// A minute after the sample order was claimed, in Jakarta.
    pub fn times() -> Times {
        Times::new(chrono_tz::Asia::Jakarta, super::tests::at(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of the year 2026 in UTC.
    pub fn at(second: i64) -> DateTime<Utc> {
        DateTime::<Utc>::from_timestamp(1_767_225_600 + second, 0).unwrap_or_default()
    }

    #[test]
    fn a_time_is_shown_in_its_zone_without_fractions() {
        let times = sample::times();
        let time = at(0) + chrono::TimeDelta::milliseconds(999);
        assert_eq!(times.full(time), "2026-01-01 07:00:00 WIB");
        assert_eq!((times.short_time(time).as_str(), times.zone().as_str()), ("2026-01-01 07:00:00", "WIB"));
    }

    #[test]
    fn what_a_field_gives_is_a_time_of_the_zone() {
        let times = sample::times();
        assert_eq!(times.typed("2026-01-01T07:00"), Some(at(0)));
        assert_eq!(times.typed(&times.for_field(at(61))), Some(at(61)));
        assert_eq!((times.typed("2026-13-01T07:00"), times.typed("")), (None, None));
    }

    #[test]
    fn an_age_is_in_the_largest_unit_of_which_there_are_two() {
        let times = sample::times();
        let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|seconds| times.age(at(60 - seconds)));
        assert_eq!(ages, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
        assert_eq!([times.away(at(0)), times.away(at(65))], ["60 s ago", "in 5 s"]);
        assert_eq!(times.age(at(70)), "0 s", "clocks differ");
    }
}

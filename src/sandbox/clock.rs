//! DOKU's clock. The one place of the sandbox that reads the time; no decision outside of it may use it.

use chrono::{DateTime, NaiveDateTime, Utc};

const STAMP: &str = "%Y-%m-%dT%H:%M:%SZ";
const STAMP_LENGTH: usize = "2021-07-07T08:45:42Z".len();

#[expect(clippy::disallowed_methods, reason = "the sandbox is another party, and its clock is its own")]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The form of `Request-Timestamp` and `Response-Timestamp`: UTC, whole seconds, `Z`.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.format(STAMP).to_string()
}

/// Reads [`stamp`]'s form and no other: neither a fraction of a second nor an offset.
pub(super) fn read_stamp(text: &str) -> Option<DateTime<Utc>> {
    if text.len() != STAMP_LENGTH {
        return None;
    }
    NaiveDateTime::parse_from_str(text, STAMP).ok().map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_form_of_a_timestamp_is_read() {
        let read = read_stamp("2021-07-07T08:45:42Z").unwrap();
        assert_eq!(stamp(read), "2021-07-07T08:45:42Z");
        for wrong in ["2021-07-07T08:45:42", "2021-07-07T08:45:42.1Z", "2021-07-07T08:45:42+00:00", "", "now"]
        {
            assert_eq!(read_stamp(wrong), None, "{wrong}");
        }
    }
}

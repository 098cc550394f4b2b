//! How a message died: by one of our consumers, which says so in headers, or by the broker, which keeps a
//! table of it. The headers may be anybody's: what is taken from them is bounded, and never trusted.

use crate::domain::Time;
use crate::rabbit::{
    deliveries::count_in,
    message::{AT_HEADER, DETAIL_HEADER, QUEUE_HEADER, REASON_HEADER},
};
use chrono::DateTime;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

/// Characters of a text from a header.
const TEXT_CHARS_MAX: usize = 500;
/// At most this many deaths of one message are shown.
const DEATHS_MAX: usize = 20;

/// One end of a message in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeathRecord {
    pub reason: String,
    pub detail: Option<String>,
    pub at: Option<Time>,
    /// Where it died.
    pub queue: Option<String>,
    /// How often, as the broker counts.
    pub times: u64,
}

/// All that is shown of a message's deaths, the latest first.
pub(super) fn deaths(properties: &BasicProperties) -> Vec<DeathRecord> {
    let Some(headers) = properties.headers() else { return Vec::new() };
    let ours = text(headers, REASON_HEADER).map(|reason| DeathRecord {
        reason,
        detail: text(headers, DETAIL_HEADER).filter(|detail| !detail.is_empty()),
        at: text(headers, AT_HEADER)
            .and_then(|at| DateTime::parse_from_rfc3339(&at).ok())
            .map(|at| at.to_utc()),
        queue: text(headers, QUEUE_HEADER),
        times: 1,
    });
    let brokers = match headers.inner().get("x-death") {
        Some(AMQPValue::FieldArray(tables)) => tables.as_slice(),
        _ => &[],
    };
    let mut deaths: Vec<DeathRecord> =
        ours.into_iter().chain(brokers.iter().filter_map(by_the_broker)).take(DEATHS_MAX).collect();
    // Ours comes first where the times say nothing else. One without a time was written before ours had one.
    deaths.sort_by_key(|death| std::cmp::Reverse(death.at.unwrap_or(DateTime::<chrono::Utc>::MAX_UTC)));
    deaths
}

fn by_the_broker(table: &AMQPValue) -> Option<DeathRecord> {
    let AMQPValue::FieldTable(table) = table else { return None };
    let at = match table.inner().get("time") {
        Some(AMQPValue::Timestamp(seconds)) => seconds_since_1970(*seconds),
        _ => None,
    };
    Some(DeathRecord {
        reason: text(table, "reason")?,
        detail: None,
        at,
        queue: text(table, "queue"),
        times: count_in(table, "count").max(1),
    })
}

/// When a message was published, where its sender or the broker says so.
pub(super) fn published_at(properties: &BasicProperties) -> Option<Time> {
    let by_broker = properties.headers().as_ref().map(|headers| count_in(headers, "timestamp_in_ms"));
    by_broker
        .filter(|millis| *millis > 0)
        .and_then(|millis| DateTime::from_timestamp_millis(i64::try_from(millis).ok()?))
        .or_else(|| properties.timestamp().as_ref().and_then(|seconds| seconds_since_1970(*seconds)))
}

fn seconds_since_1970(seconds: u64) -> Option<Time> {
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)
}

/// A header that is a text, as much of it as is shown.
pub(super) fn text(headers: &FieldTable, name: &str) -> Option<String> {
    let text = match headers.inner().get(name)? {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::ShortString(text) => text.to_string(),
        _ => return None,
    };
    Some(text.chars().take(TEXT_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::FieldArray;

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn table<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in fields {
            table.insert(name.into(), value);
        }
        table
    }

    fn by_broker(reason: &str, seconds: u64) -> AMQPValue {
        AMQPValue::FieldTable(table([
            ("reason", long(reason)),
            ("queue", long("p.payments")),
            ("time", AMQPValue::Timestamp(seconds)),
            ("count", AMQPValue::LongLongInt(2)),
        ]))
    }

    fn read_deaths(headers: FieldTable) -> Vec<(String, Option<i64>)> {
        deaths(&BasicProperties::default().with_headers(headers))
            .into_iter()
            .map(|death| (death.reason, death.at.map(|at| at.timestamp())))
            .collect()
    }

    #[test]
    fn the_latest_death_comes_first() {
        let both = |at: &str| {
            let deaths = FieldArray::from(vec![by_broker("delivery_limit", 100), by_broker("expired", 50)]);
            table([
                (REASON_HEADER, long("malformed")),
                (AT_HEADER, long(at)),
                ("x-death", AMQPValue::FieldArray(deaths)),
            ])
        };
        let expect = |all: [(&str, Option<i64>); 3]| all.map(|(reason, at)| (reason.to_owned(), at)).to_vec();
        let (broker, older) = (("delivery_limit", Some(100)), ("expired", Some(50)));
        let late = read_deaths(both("1970-01-01T00:02:00Z"));
        assert_eq!(late, expect([("malformed", Some(120)), broker, older]));
        let early = read_deaths(both("1970-01-01T00:01:00Z"));
        assert_eq!(early, expect([broker, ("malformed", Some(60)), older]));
        assert_eq!(read_deaths(both("long ago")), expect([("malformed", None), broker, older]));
    }

    #[test]
    fn headers_of_any_shape_are_read_as_far_as_they_make_sense() {
        assert_eq!(read_deaths(FieldTable::default()), []);
        assert_eq!(
            read_deaths(table([("x-death", long("yes")), (REASON_HEADER, AMQPValue::Boolean(true))])),
            []
        );
        let odd = FieldArray::from(vec![long("x"), AMQPValue::FieldTable(FieldTable::default())]);
        assert_eq!(read_deaths(table([("x-death", AMQPValue::FieldArray(odd))])), []);
        let many: Vec<_> = (0..100).map(|n| by_broker("expired", n)).collect();
        assert_eq!(read_deaths(table([("x-death", AMQPValue::FieldArray(many.into()))])).len(), DEATHS_MAX);
        let wide = read_deaths(table([(REASON_HEADER, long(&"ä".repeat(9_000)))]));
        assert_eq!(wide[0].0.chars().count(), TEXT_CHARS_MAX);
    }

    #[test]
    fn when_it_was_published_is_told_by_the_broker_or_else_by_its_sender() {
        let sent = BasicProperties::default().with_timestamp(7);
        assert_eq!(published_at(&sent).unwrap().timestamp(), 7);
        let taken = sent.with_headers(table([("timestamp_in_ms", AMQPValue::LongLongInt(9_000))]));
        assert_eq!(published_at(&taken).unwrap().timestamp(), 9);
        assert_eq!(published_at(&BasicProperties::default()), None);
    }
}

//! The configured limits, held against each other and against what DOKU says of itself.

use super::check::{
    Check, CheckName, DESCRIPTORS, DRAIN, FIRST_INQUIRY, GIVE_UP, LEASE, NOT_FOUND_GRACE, PAYMENT_BUDGET,
    PREFETCH, RATE, RESENDS,
};
use crate::{
    config::{Config, ConfigFaults},
    flow::attempt,
    startup,
};
use std::time::Duration;

/// DOKU's page of Check Status: not before.
const FIRST_INQUIRY_MIN: Duration = Duration::from_secs(60);
/// A request that DOKU gets so late is still taken.
const SIGNED_REQUEST_LASTS: Duration = Duration::from_secs(3600);

/// Each limit is in bounds by itself: that is the configuration's business.
///
/// # Errors
/// No database or no broker is configured.
pub fn limits(config: &Config) -> Result<Vec<Check>, ConfigFaults> {
    Ok(vec![
        lease(config.doku.timeout),
        at_least(
            RESENDS,
            ("retry.max_interval_ms", config.retry.max_interval),
            ("check.first_after_ms", config.check.first_after),
            "raise retry.max_interval_ms: a request in doubt is sent again without asking Check Status before",
        ),
        at_least(
            FIRST_INQUIRY,
            ("check.first_after_ms", config.check.first_after),
            ("what DOKU asks for", FIRST_INQUIRY_MIN),
            "raise check.first_after_ms: earlier, DOKU may not know an order that it has taken",
        ),
        at_least(
            NOT_FOUND_GRACE,
            ("check.not_found_grace_ms", config.check.not_found_grace),
            ("what a signed request lasts + doku.timeout_ms", SIGNED_REQUEST_LASTS + config.doku.timeout),
            "raise check.not_found_grace_ms: an order that DOKU takes late would have been given up",
        ),
        at_least(
            GIVE_UP,
            ("check.give_up_after_ms", config.check.give_up_after),
            ("check.not_found_grace_ms", config.check.not_found_grace),
            "raise check.give_up_after_ms: a person is asked while time may still answer",
        ),
        at_least(
            PAYMENT_BUDGET,
            ("retry.payment_max_elapsed_ms", config.payment_budget),
            ("doku.timeout_ms + retry.initial_ms", config.doku.timeout + config.retry.initial),
            "raise retry.payment_max_elapsed_ms: a payment with a lost answer is not sent again",
        ),
        at_least(
            DRAIN,
            ("shutdown.drain_ms", config.shutdown_drain),
            ("doku.timeout_ms", config.doku.timeout),
            "raise shutdown.drain_ms, and what stops the process after it: requests in hand are cut off, in doubt",
        ),
        rate(config.doku.requests_per_second, config.doku.concurrency),
        prefetch(config.need_amqp()?.prefetch, config.doku.concurrency, config.merchants.len()),
        descriptors(config, config.need_database()?.max_connections, startup::descriptors()),
    ])
}

/// It holds by construction; a person who wonders reads it here.
fn lease(timeout: Duration) -> Check {
    let lease = attempt::lease(timeout);
    Check::ok(LEASE, format!("a claim lasts {}, a request at most {}", time(lease), time(timeout)))
}

fn at_least(name: CheckName, what: (&str, Duration), least: (&str, Duration), hint: &str) -> Check {
    let is_enough = what.1 >= least.1;
    let compared = if is_enough { "at least" } else { "less than" };
    let detail = format!("{} is {}, {compared} {}: {}", what.0, time(what.1), least.0, time(least.1));
    if is_enough { Check::ok(name, detail) } else { Check::warn(name, detail, hint) }
}

/// At a second for each request, which is slow.
fn rate(requests_per_second: u32, concurrency: u32) -> Check {
    let detail = format!("doku.requests_per_second {requests_per_second}, doku.concurrency {concurrency}");
    if requests_per_second == 0 {
        Check::ok(RATE, format!("no limit on requests a second, doku.concurrency {concurrency}"))
    } else if concurrency < requests_per_second {
        Check::warn(RATE, detail, "raise doku.concurrency: a slow DOKU keeps the rate from being reached")
    } else {
        Check::ok(RATE, detail)
    }
}

/// Of several merchants each may hold as many deliveries as are free: one by itself half of the prefetch.
fn prefetch(prefetch: u16, concurrency: u32, merchants: usize) -> Check {
    let several = merchants > 1;
    let least = if several { concurrency.saturating_mul(2) } else { concurrency };
    let detail = format!("amqp.prefetch {prefetch}, doku.concurrency {concurrency}, {merchants} merchants");
    if u32::from(prefetch) >= least {
        Check::ok(PREFETCH, detail)
    } else if several {
        let hint = "raise amqp.prefetch to twice doku.concurrency: one of several merchants holds no more than half of it";
        Check::warn(PREFETCH, detail, hint)
    } else {
        let hint = "raise amqp.prefetch: a consumer never holds as many commands as may be under way";
        Check::warn(PREFETCH, detail, hint)
    }
}

/// Links to the broker, listeners, probes, logs and files, with room.
const OTHER_DESCRIPTORS: u64 = 256;

/// Half of what the process may open is left to strangers at the ingress; the rest must be enough for the work.
fn descriptors(config: &Config, connections: u32, limit: u64) -> Check {
    let merchants = u64::try_from(config.merchants.len()).unwrap_or(u64::MAX);
    let work = u64::from(config.doku.concurrency)
        .saturating_mul(merchants)
        .saturating_add(u64::from(connections))
        .saturating_add(OTHER_DESCRIPTORS);
    let least = work.saturating_mul(2);
    let detail = format!("{limit} files and connections, {least} may be needed");
    if limit < least {
        let hint = "raise `ulimit -Hn`, LimitNOFILE= of systemd, or nofile of the container: DOKU, the database and the \
                    ingress share them";
        Check::warn(DESCRIPTORS, detail, hint)
    } else {
        Check::ok(DESCRIPTORS, detail)
    }
}

/// In the largest unit that says it exactly.
fn time(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0 s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{} h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        _ => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::doctor::check::Status,
        config::{RequiredSections, Source},
    };

    fn config(changes: &[(&str, &str)]) -> Config {
        let needed = [
            ("DATABASE_URL", "postgres://x"),
            ("AMQP_URL", "amqp://x"),
            ("DOKU_CLIENT_ID", "x"),
            ("DOKU_SECRET_KEY", "x"),
        ];
        let all: Vec<(String, String)> =
            needed.iter().chain(changes).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let source = Source::new(None, all, |_| Err(std::io::ErrorKind::NotFound.into()));
        Config::load(&source, RequiredSections::EVERYTHING).unwrap()
    }

    const OTHER: [(&str, &str); 2] =
        [("MERCHANTS__OTHER__CLIENT_ID", "y"), ("MERCHANTS__OTHER__SECRET_KEY", "y")];

    #[test]
    fn each_limit_that_spoils_another_is_named_alone_and_the_defaults_spoil_none() {
        for (warned, changes) in [
            (Some("limits.resends"), vec![("RETRY__MAX_INTERVAL_MS", "59999")]),
            (Some("limits.first_inquiry"), vec![("CHECK__FIRST_AFTER_MS", "59999")]),
            (Some("limits.not_found_grace"), vec![("CHECK__NOT_FOUND_GRACE_MS", "3629999")]),
            (Some("limits.give_up"), vec![("CHECK__GIVE_UP_AFTER_MS", "3899999")]),
            (Some("limits.payment_budget"), vec![("RETRY__PAYMENT_MAX_ELAPSED_MS", "30499")]),
            (Some("limits.drain"), vec![("SHUTDOWN__DRAIN_MS", "29999")]),
            (Some("limits.rate"), vec![("DOKU__REQUESTS_PER_SECOND", "129")]),
            (Some("limits.prefetch"), vec![("AMQP__PREFETCH", "127")]),
            (Some("limits.prefetch"), [&[("AMQP__PREFETCH", "255")], &OTHER[..]].concat()),
            (None, OTHER.to_vec()),
            (None, vec![]),
            (None, vec![("RETRY__MAX_INTERVAL_MS", "60000"), ("AMQP__PREFETCH", "128")]),
            (None, vec![("CHECK__NOT_FOUND_GRACE_MS", "3630000"), ("DOKU__REQUESTS_PER_SECOND", "128")]),
            (None, vec![("RETRY__PAYMENT_MAX_ELAPSED_MS", "30500"), ("SHUTDOWN__DRAIN_MS", "30000")]),
        ] {
            let names: Vec<String> = changes.iter().map(|(name, _)| format!("JENIUS_PAY__{name}")).collect();
            let changes: Vec<(&str, &str)> =
                names.iter().zip(&changes).map(|(name, (_, value))| (name.as_str(), *value)).collect();
            let checks = limits(&config(&changes)).unwrap();
            let not_ok: Vec<&str> =
                checks.iter().filter(|c| c.status != Status::Ok).map(|c| c.name.as_str()).collect();
            assert_eq!(not_ok, warned.into_iter().collect::<Vec<_>>(), "{changes:?}");
            assert!(checks.iter().all(|check| check.hint.is_some() == (check.status != Status::Ok)));
        }
    }

    #[test]
    fn a_limit_of_descriptors_that_is_too_low_is_named() {
        let config = config(&[]);
        for (limit, status) in
            [(256, Status::Warn), (799, Status::Warn), (800, Status::Ok), (1 << 20, Status::Ok)]
        {
            assert_eq!(descriptors(&config, 16, limit).status, status, "{limit}");
        }
    }

    #[test]
    fn a_time_is_told_in_its_largest_exact_unit() {
        let told = [0, 500, 1500, 45_000, 90_000, 60_000, 3_900_000, 259_200_000]
            .map(|ms| time(Duration::from_millis(ms)));
        assert_eq!(told, ["0 s", "500 ms", "1500 ms", "45 s", "90 s", "1 min", "65 min", "72 h"]);
    }
}

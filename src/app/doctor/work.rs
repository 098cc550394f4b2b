//! What the orders in the database say: does the sum come out, does anything wait that should not.

use super::check::{
    Check, WORK_BALANCE, WORK_BREAKERS, WORK_ORPHANS, WORK_OUTBOX, WORK_PAUSED, WORK_READABLE, WORK_REQUESTS,
    WORK_SENDS, WORK_STRANDED,
};
use crate::{
    domain::ids::MerchantName,
    flow::ports::StoreError,
    postgres::{CountingPace, DueSends, NEVER_MATCHED_MAX, PostgresStore},
};

/// Events leave in milliseconds.
const OUTBOX_SECONDS_WARN: f64 = 60.0;
const OUTBOX_SECONDS_FAIL: f64 = 900.0;
/// A send whose time has come goes within a second, unless something keeps it. The alert comes after five minutes.
const SENDS_SECONDS_WARN: f64 = 60.0;

pub struct WorkFacts {
    /// `None`: not counted to the end.
    balance: Option<i64>,
    orphans: i64,
    stranded: i64,
    events: i64,
    oldest_seconds: f64,
    due_sends: Vec<DueSends>,
    never_matched: Vec<(MerchantName, i64)>,
    /// Merchants with a breaker that stops their sends.
    breakers: Vec<String>,
}

/// Counts, as the service does. The schema is there.
pub async fn count(store: &PostgresStore) -> Result<WorkFacts, StoreError> {
    let gauges = store.gauges(CountingPace::AtOnce).await?;
    Ok(WorkFacts {
        balance: store.balance().await?,
        orphans: store.orphans().await?,
        stranded: gauges.stranded_orders,
        events: gauges.outbox_events,
        oldest_seconds: gauges.outbox_oldest_seconds,
        due_sends: gauges.due_sends,
        never_matched: store.never_matched().await?,
        breakers: store.open_breakers().await?.into_iter().map(|stop| stop.merchant).collect(),
    })
}

pub fn judge(paused: &[String], work: &Result<WorkFacts, StoreError>) -> Vec<Check> {
    match work {
        Ok(work) => vec![
            balance(work.balance),
            orphans(work.orphans),
            stranded(work.stranded),
            outbox(work.events, work.oldest_seconds),
            sends(&work.due_sends),
            pauses(paused),
            breakers(&work.breakers),
            requests(&work.never_matched),
        ],
        Err(StoreError::Away(why) | StoreError::Contended(why) | StoreError::Refused(why)) => {
            vec![Check::fail(WORK_READABLE, why, "mend the checks of postgres first, then run it again")]
        }
    }
}

fn balance(balance: Option<i64>) -> Check {
    let Some(balance) = balance else {
        let hint = "ask again: each look goes on where the one before ended";
        return Check::warn(WORK_BALANCE, "there are more settled commands than one look passes", hint);
    };
    let detail = format!("claimed + rejected - settled - open = {balance}");
    if balance == 0 {
        Check::ok(WORK_BALANCE, detail)
    } else {
        let hint = "a fault of ours, or tables changed by hand: keep a dump and report it; pause nothing, \
                    the others go on";
        Check::fail(WORK_BALANCE, detail, hint)
    }
}

fn orphans(rows: i64) -> Check {
    if rows == 0 {
        Check::ok(WORK_ORPHANS, "no row points to one that is not there")
    } else {
        let hint = "a fault of ours, or tables changed by hand: keep a dump and report it";
        Check::fail(WORK_ORPHANS, format!("rows that point to nothing: {rows}"), hint)
    }
}

fn stranded(orders: i64) -> Check {
    if orders == 0 {
        Check::ok(WORK_STRANDED, "no order waits for an account or host that is not configured")
    } else {
        let hint = "configure the account or host they were made for again: they are sent nowhere else";
        Check::warn(WORK_STRANDED, format!("{orders} orders, their budgets standing still"), hint)
    }
}

fn outbox(events: i64, oldest_seconds: f64) -> Check {
    let detail = format!("{events} events wait, the oldest for {oldest_seconds:.0} s");
    let hint = "is a relay running, and the broker well? A subscriber's queue that is full refuses events";
    if oldest_seconds >= OUTBOX_SECONDS_FAIL {
        Check::fail(WORK_OUTBOX, detail, hint)
    } else if oldest_seconds >= OUTBOX_SECONDS_WARN {
        Check::warn(WORK_OUTBOX, detail, hint)
    } else {
        Check::ok(WORK_OUTBOX, detail)
    }
}

/// What is stranded has a check of its own.
fn sends(due: &[DueSends]) -> Check {
    let long: Vec<String> = due
        .iter()
        .filter(|due| !due.is_stranded && due.oldest_seconds >= SENDS_SECONDS_WARN)
        .map(|due| {
            format!("{}: {} sends, the oldest for {:.0} s", due.merchant, due.count, due.oldest_seconds)
        })
        .collect();
    if long.is_empty() {
        return Check::ok(WORK_SENDS, "no send waits for longer than a minute after its time");
    }
    Check::warn(
        WORK_SENDS,
        format!("sends are due and do not go: {}", long.join("; ")),
        "`jenius-pay orders show INVOICE` says what blocks one: a pause, a breaker, the rate limit; if it says \
         nothing, is a process with the role follow-up running?",
    )
}

fn requests(never_matched: &[(MerchantName, i64)]) -> Check {
    let many: Vec<String> = never_matched
        .iter()
        .filter(|(_, others)| *others >= NEVER_MATCHED_MAX)
        .map(|(merchant, others)| format!("{merchant}: {others} about others'"))
        .collect();
    if many.is_empty() {
        return Check::ok(WORK_REQUESTS, "no merchant's reports are all about requests that are not ours");
    }
    Check::fail(
        WORK_REQUESTS,
        format!("DOKU's reports never named a request of ours: {}", many.join(", ")),
        "look at one in DOKU's back office: if it is about our own payment, DOKU names requests otherwise than we \
         believe, and `doku.match_request_id = false` makes reports count again",
    )
}

fn pauses(paused: &[String]) -> Check {
    if paused.is_empty() {
        return Check::ok(WORK_PAUSED, "sends are not paused");
    }
    let all = paused.iter().any(|scope| scope == "*");
    let of = if all { "all merchants".to_owned() } else { paused.join(", ") };
    Check::fail(
        WORK_PAUSED,
        format!("an operator paused the sends of {of}"),
        "`jenius-pay orders list` says since when, by whom and why; once the reason is gone, `jenius-pay resume` \
         with the same --merchant",
    )
}

fn breakers(merchants: &[String]) -> Check {
    if merchants.is_empty() {
        return Check::ok(WORK_BREAKERS, "no breaker stops sends");
    }
    Check::fail(
        WORK_BREAKERS,
        format!("a breaker stops the sends of {}", merchants.join(", ")),
        "DOKU fails, or refuses the merchant's key, clock or route: see the checks of doku; sends go on by themselves once \
         it answers",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::check::Status;

    fn well() -> WorkFacts {
        WorkFacts {
            balance: Some(0),
            orphans: 0,
            stranded: 0,
            events: 0,
            oldest_seconds: 0.0,
            due_sends: vec![],
            never_matched: vec![],
            breakers: vec![],
        }
    }

    #[test]
    fn what_waits_too_long_or_does_not_come_out_is_named_alone() {
        let work = |balance, stranded, oldest_seconds| {
            Ok(WorkFacts { balance: Some(balance), stranded, events: 1, oldest_seconds, ..well() })
        };
        let waiting = |is_stranded, oldest_seconds| {
            let merchant = MerchantName::default_account();
            Ok(WorkFacts {
                due_sends: vec![DueSends { merchant, is_stranded, count: 3, oldest_seconds }],
                ..well()
            })
        };
        let unmatched = |others| {
            let never_matched = vec![(MerchantName::default_account(), others)];
            Ok(WorkFacts { never_matched, ..well() })
        };
        let away = || Err(StoreError::Away("42P01".to_owned()));
        for (work, paused, expected) in [
            (away(), vec![], vec![("work.readable", Status::Fail)]),
            (work(1, 0, 0.0), vec![], vec![("work.balance", Status::Fail)]),
            (work(-1, 0, 0.0), vec![], vec![("work.balance", Status::Fail)]),
            (Ok(WorkFacts { orphans: 1, ..well() }), vec![], vec![("work.orphans", Status::Fail)]),
            (work(0, 1, 0.0), vec![], vec![("work.stranded", Status::Warn)]),
            (work(0, 0, 900.0), vec![], vec![("work.outbox", Status::Fail)]),
            (work(0, 0, 60.0), vec![], vec![("work.outbox", Status::Warn)]),
            (work(0, 0, 59.9), vec!["*".to_owned()], vec![("work.paused", Status::Fail)]),
            (work(0, 0, 59.9), vec![], vec![]),
            (waiting(false, 59.9), vec![], vec![]),
            (waiting(false, 60.0), vec![], vec![("work.sends", Status::Warn)]),
            (waiting(true, 600.0), vec![], vec![]),
            (
                Ok(WorkFacts { breakers: vec!["shop".to_owned()], ..well() }),
                vec![],
                vec![("work.breakers", Status::Fail)],
            ),
            (unmatched(2), vec![], vec![]),
            (unmatched(3), vec![], vec![("work.requests", Status::Fail)]),
        ] {
            let checks = judge(&paused, &work);
            let not_ok: Vec<(&str, Status)> = checks
                .iter()
                .filter(|c| c.status != Status::Ok)
                .map(|c| (c.name.as_str(), c.status))
                .collect();
            assert_eq!(not_ok, expected);
        }
    }
}

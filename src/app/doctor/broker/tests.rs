//! Each thing at the broker that is not well is named alone.

use super::*;
use crate::{app::doctor::check::Status, rabbit::ExchangeSeen};

fn greeting(version: &str) -> Greeting {
    Greeting { product: "RabbitMQ".to_owned(), version: version.to_owned(), tls: false }
}

fn node(version: &str) -> [Node; 1] {
    [("host:5672".to_owned(), Ok(greeting(version)))]
}

fn seen(names: &TopologyNames) -> Inspection {
    let exchange = |it: &crate::rabbit::topology::Exchange<'_>| ExchangeSeen {
        name: it.name.to_owned(),
        found: Inspected::AsExpected,
    };
    let queue = |it: &crate::rabbit::topology::QueueSpec<'_>| QueueSeen {
        name: it.name.to_owned(),
        found: Inspected::AsExpected,
        messages: 0,
        consumers: 0,
    };
    Inspection {
        exchanges: names.exchanges().iter().map(exchange).collect(),
        queues: names.queues().iter().map(queue).collect(),
        dead_route: ProbeResult::Through,
        unrouted_route: ProbeResult::Occupied,
    }
}

fn not_ok(checks: &[Check]) -> Vec<(&str, Status)> {
    checks.iter().filter(|c| c.status != Status::Ok).map(|c| (c.name.as_str(), c.status)).collect()
}

#[test]
fn each_thing_that_is_not_well_is_named_alone() {
    type Change = fn(&mut Inspection);
    const DEAD: usize = 0;
    const UNROUTED: usize = 1;
    const PAYMENTS: usize = 2;
    let table: &[(&str, Status, Change)] = &[
        ("broker.exchanges", Status::Fail, |s| s.exchanges[0].found = Inspected::Missing),
        ("broker.exchanges", Status::Fail, |s| s.exchanges[4].found = Inspected::Differs("x".to_owned())),
        ("broker.queues", Status::Fail, |s| s.queues[PAYMENTS].found = Inspected::Missing),
        ("broker.queues", Status::Fail, |s| s.queues[PAYMENTS].found = Inspected::Differs("x".to_owned())),
        ("broker.queues", Status::Fail, |s| s.queues[PAYMENTS].found = Inspected::Hidden("x".to_owned())),
        ("broker.dead_route", Status::Fail, |s| s.dead_route = ProbeResult::Returned),
        ("broker.dead_route", Status::Fail, |s| s.dead_route = ProbeResult::Refused),
        ("broker.dead_route", Status::Fail, |s| s.dead_route = ProbeResult::Unknown("x".to_owned())),
        ("broker.dead_route", Status::Warn, |s| s.dead_route = ProbeResult::Dropped),
        ("broker.unrouted_route", Status::Warn, |s| s.unrouted_route = ProbeResult::Elsewhere),
        ("broker.dead_letters", Status::Warn, |s| s.queues[DEAD].messages = 1),
        ("broker.unrouted", Status::Warn, |s| s.queues[UNROUTED].messages = 1),
        ("broker.consumers", Status::Warn, |s| s.queues[PAYMENTS].messages = 1),
    ];
    let names = TopologyNames::new("jenius").unwrap();
    let ours = Ours { place: "host".to_owned(), is_remote: false, names: &names };
    for (row, (name, status, change)) in table.iter().enumerate() {
        let mut seen = seen(&names);
        change(&mut seen);
        let checks = judge(&ours, &node("3.10.8"), &Ok(seen));
        assert_eq!(not_ok(&checks), [(*name, *status)], "row {row}");
    }
    let mut busy = seen(&names);
    (busy.queues[PAYMENTS].messages, busy.queues[PAYMENTS].consumers) = (1000, 1);
    assert_eq!(not_ok(&judge(&ours, &node("4.1.0"), &Ok(busy))), []);
}

#[test]
fn what_is_missing_is_said_once() {
    let names = TopologyNames::new("jenius").unwrap();
    let ours = Ours { place: "host".to_owned(), is_remote: false, names: &names };
    let mut nothing = seen(&names);
    nothing.exchanges.iter_mut().for_each(|exchange| exchange.found = Inspected::Missing);
    nothing.queues.iter_mut().for_each(|queue| queue.found = Inspected::Missing);
    (nothing.dead_route, nothing.unrouted_route) = (ProbeResult::NoQueue, ProbeResult::NoQueue);
    let checks = judge(&ours, &node("3.10.8"), &Ok(nothing));
    assert_eq!(not_ok(&checks), [("broker.exchanges", Status::Fail), ("broker.queues", Status::Fail)]);
    assert_eq!(checks.last().unwrap().detail, "none of the 5 queues is there");
}

#[test]
fn versions_that_are_not_tested_are_told_from_those_that_cannot_work() {
    for (said, expected) in [
        ("3.9.29", Status::Fail),
        ("2.8", Status::Fail),
        ("5.0.0", Status::Warn),
        ("unknown", Status::Warn),
        ("3.10.8", Status::Ok),
        ("3.13.0-rc.1", Status::Ok),
        ("4.2.0+1", Status::Ok),
    ] {
        assert_eq!(version(&greeting(said)).status, expected, "{said}");
    }
}

#[test]
fn over_the_network_it_should_be_tls() {
    let status = |is_remote, tls| transport(is_remote, tls).status;
    assert_eq!(
        [status(true, false), status(true, true), status(false, false)],
        [Status::Warn, Status::Ok, Status::Ok]
    );
}

#[test]
fn who_does_not_answer_and_who_does_not_let_us_in_are_told_apart() {
    let names = TopologyNames::new("jenius").unwrap();
    let ours = Ours { place: "host:5672".to_owned(), is_remote: false, names: &names };
    let error = || BrokerError::Failed { doing: "connecting", cause: "x".to_owned() };
    let away = judge(&ours, &[("host:5672".to_owned(), Err(error()))], &Err(error()));
    assert_eq!(not_ok(&away), [("broker.reachable", Status::Fail)]);
    assert_eq!(away[0].detail, "host:5672: connecting: x");
    let refused = judge(&ours, &node("3.10.8"), &Err(error()));
    assert_eq!(not_ok(&refused), [("broker.login", Status::Fail)]);
}

#[test]
fn a_node_that_is_away_beside_others_is_named_and_a_certificate_has_its_own_hint() {
    let names = TopologyNames::new("jenius").unwrap();
    let ours = Ours { place: "one:5671 or two:5671".to_owned(), is_remote: false, names: &names };
    let failed = |cause: &str| BrokerError::Failed { doing: "greeting", cause: cause.to_owned() };
    let nodes =
        [("one:5671".to_owned(), Err(failed("refused"))), ("two:5671".to_owned(), Ok(greeting("4.1.0")))];
    let checks = judge(&ours, &nodes, &Ok(seen(&names)));
    assert_eq!(not_ok(&checks), [("broker.reachable", Status::Warn)]);
    assert_eq!(checks[0].detail, "one:5671: greeting: refused");
    let unknown = Err(failed("invalid peer certificate: UnknownIssuer"));
    let checks = judge(&ours, &[("one:5671".to_owned(), unknown)], &Err(failed("x")));
    assert_eq!(not_ok(&checks), [("broker.reachable", Status::Fail)]);
    assert!(checks[0].hint.as_deref().is_some_and(|hint| hint.contains("amqp.ca_file")));
}

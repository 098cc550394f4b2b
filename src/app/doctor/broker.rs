//! What was seen at the broker, judged.

use super::check::{
    BROKER_CONSUMERS, BROKER_DEAD_LETTERS, BROKER_DEAD_ROUTE, BROKER_EXCHANGES, BROKER_LOGIN, BROKER_QUEUES,
    BROKER_REACHABLE, BROKER_TRANSPORT, BROKER_UNROUTED, BROKER_UNROUTED_ROUTE, BROKER_VERSION, Check,
    CheckName,
};
use crate::rabbit::{BrokerError, Greeting, Inspected, Inspection, ProbeResult, QueueSeen, TopologyNames};

/// The oldest that has all arguments of our queues.
const VERSION_MIN: (u32, u32) = (3, 10);
/// The newest major version that is tested.
const MAJOR_MAX: u32 = 4;

/// What is configured, and matters here.
pub struct Ours<'a> {
    pub place: String,
    pub is_remote: bool,
    pub names: &'a TopologyNames,
}

/// A node of `amqp.url`, and who answers there.
type Node = (String, Result<Greeting, BrokerError>);

pub fn judge(ours: &Ours<'_>, nodes: &[Node], inspection: &Result<Inspection, BrokerError>) -> Vec<Check> {
    let mut checks = vec![reachable(ours, nodes)];
    let answers: Vec<&Greeting> = nodes.iter().filter_map(|(_, greeting)| greeting.as_ref().ok()).collect();
    let Some(greeting) = answers.first() else { return checks };
    checks.push(version(greeting));
    checks.push(transport(ours.is_remote, answers.iter().all(|greeting| greeting.tls)));
    match inspection {
        Ok(seen) => checks.extend(inside(ours.names, seen)),
        Err(error) => checks.push(Check::fail(
            BROKER_LOGIN,
            error.to_string(),
            "correct user, password and virtual host of amqp.url, and see the broker's own log",
        )),
    }
    checks
}

fn reachable(ours: &Ours<'_>, nodes: &[Node]) -> Check {
    let fault = |(node, greeting): &Node| greeting.as_ref().err().map(|error| format!("{node}: {error}"));
    let faults: Vec<String> = nodes.iter().filter_map(fault).collect();
    if faults.is_empty() {
        return Check::ok(BROKER_REACHABLE, ours.place.clone());
    }
    let detail = faults.join("; ");
    let hint = if detail.contains("certificate") {
        "the broker is there, and its certificate is not believed: set amqp.ca_file to the authority that signed \
         it, or correct the host in amqp.url"
    } else {
        "start RabbitMQ, or correct amqp.url; until then nothing is taken, and events wait"
    };
    if faults.len() < nodes.len() {
        return Check::warn(BROKER_REACHABLE, detail, "the other nodes of amqp.url are used meanwhile");
    }
    Check::fail(BROKER_REACHABLE, detail, hint)
}

fn version(greeting: &Greeting) -> Check {
    let found = format!("{} {}", greeting.product, greeting.version);
    let mut numbers = greeting.version.split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) < VERSION_MIN => {
            let hint = "upgrade the broker: 3.10 and 4 are supported";
            Check::fail(BROKER_VERSION, found, hint)
        }
        (Some(major), Some(_)) if major <= MAJOR_MAX => Check::ok(BROKER_VERSION, found),
        _ => Check::warn(BROKER_VERSION, found, "not tested: 3.10 and 4 are"),
    }
}

fn transport(is_remote: bool, tls: bool) -> Check {
    match (tls, is_remote) {
        (true, _) => Check::ok(BROKER_TRANSPORT, "TLS"),
        (false, false) => Check::ok(BROKER_TRANSPORT, "no TLS, on this machine"),
        (false, true) => Check::warn(
            BROKER_TRANSPORT,
            "no TLS, over the network",
            "use amqps:// in amqp.url: customers' data and the password pass there",
        ),
    }
}

fn inside(names: &TopologyNames, seen: &Inspection) -> Vec<Check> {
    let is_there = |queue: &&QueueSeen| queue.found != Inspected::Missing;
    let queue = |name: &str| seen.queues.iter().filter(is_there).find(|queue| queue.name == name);
    let exchanges: Vec<_> = seen.exchanges.iter().map(|e| (e.name.as_str(), &e.found)).collect();
    let queues: Vec<_> = seen.queues.iter().map(|q| (q.name.as_str(), &q.found)).collect();
    let mut checks = vec![
        Check::ok(BROKER_LOGIN, "the user may come in"),
        declared(BROKER_EXCHANGES, "exchanges", &exchanges),
        declared(BROKER_QUEUES, "queues", &queues),
    ];
    let (dead, spilled) = (&names.dead_queue, &names.unrouted_queue);
    checks.extend(route(BROKER_DEAD_ROUTE, dead, &seen.dead_route));
    checks.extend(route(BROKER_UNROUTED_ROUTE, spilled, &seen.unrouted_route));
    checks.extend(queue(dead).map(dead_letters));
    checks.extend(queue(spilled).map(unrouted));
    let work: Vec<&QueueSeen> = names.work_queues().into_iter().filter_map(queue).collect();
    if !work.is_empty() {
        checks.push(consumers(&work));
    }
    checks
}

/// All of one kind in one line; each that is wrong is named.
fn declared(name: CheckName, what: &str, all: &[(&str, &Inspected)]) -> Check {
    let mut wrong = Vec::new();
    let (mut missing, mut differs, mut unseen) = (false, false, 0);
    for (name, found) in all {
        match found {
            Inspected::AsExpected => {}
            Inspected::There => unseen += 1,
            Inspected::Missing => {
                missing = true;
                wrong.push(format!("{name} is missing"));
            }
            Inspected::Differs(how) => {
                differs = true;
                wrong.push(format!("{name}: {how}"));
            }
            Inspected::Hidden(why) => wrong.push(format!("{name}: {why}")),
        }
    }
    if wrong.is_empty() {
        let seen = if unseen == 0 {
            "as they are declared"
        } else {
            "there; this user may not see how they were declared"
        };
        return Check::ok(name, format!("{} {what}, {seen}", all.len()));
    }
    if all.iter().all(|(_, found)| **found == Inspected::Missing) {
        wrong = vec![format!("none of the {} {what} is there", all.len())];
    }
    let hint = match (differs, missing) {
        (true, _) => {
            "no role starts work while this is so: empty and delete it, then a role declares it anew; a policy \
             changes limits without that"
        }
        (false, true) => "start any role: it declares what is missing",
        (false, false) => "give the user of amqp.url the permission to configure them",
    };
    Check::fail(name, wrong.join("; "), hint)
}

/// `None` if the queue's own check says all. Bindings cannot be seen: a role makes them when it
/// starts.
fn route(name: CheckName, queue: &str, route: &ProbeResult) -> Option<Check> {
    let check = match route {
        ProbeResult::NoQueue => return None,
        ProbeResult::Through => Check::ok(name, format!("{queue}: a probe came through")),
        ProbeResult::Occupied => Check::ok(name, format!("{queue}: not probed, messages wait there")),
        ProbeResult::NotAllowed => {
            Check::ok(name, format!("{queue}: not probed, this user may not publish there"))
        }
        ProbeResult::Returned => Check::fail(
            name,
            format!("{queue}: it is gone"),
            "start any role that may declare: it makes it again; then run doctor again",
        ),
        ProbeResult::Dropped => Check::warn(
            name,
            format!("{queue}: what is put back a few times is dropped"),
            format!(
                "a policy keeps it: rabbitmqctl set_policy --priority 100 --apply-to queues {queue} '^{}$' \
                 '{{\"delivery-limit\": 1000000}}'",
                queue.replace('.', "\\.")
            ),
        ),
        ProbeResult::Refused => Check::fail(
            name,
            format!("{queue}: it refuses"),
            "is it full, or without a majority of its nodes? See the broker's own log",
        ),
        ProbeResult::Elsewhere => Check::warn(
            name,
            format!("{queue}: a probe was taken, and is not there"),
            "who else consumes there, and does a policy make messages expire (message-ttl)? Dead letters wait for a person, \
             with `jenius-pay dead`",
        ),
        ProbeResult::Unknown(why) => Check::fail(
            name,
            format!("{queue}: {why}"),
            "see the broker's own log: an alarm of memory or disk stops every publisher",
        ),
    };
    Some(check)
}

fn dead_letters(queue: &QueueSeen) -> Check {
    let detail = format!("{} in {}", queue.messages, queue.name);
    if queue.messages == 0 {
        Check::ok(BROKER_DEAD_LETTERS, detail)
    } else {
        Check::warn(BROKER_DEAD_LETTERS, detail, "`jenius-pay dead list` says why; then replay or drop them")
    }
}

fn unrouted(queue: &QueueSeen) -> Check {
    let detail = format!("{} in {}", queue.messages, queue.name);
    if queue.messages == 0 {
        Check::ok(BROKER_UNROUTED, detail)
    } else {
        let hint = "an upstream's routing key is wrong: no process has judged these. `jenius-pay dead list` shows them";
        Check::warn(BROKER_UNROUTED, detail, hint)
    }
}

fn consumers(work: &[&QueueSeen]) -> Check {
    let shown = |queue: &&QueueSeen| {
        format!("{} {} waiting, {} consumers", queue.name, queue.messages, queue.consumers)
    };
    let detail = work.iter().map(shown).collect::<Vec<_>>().join("; ");
    if work.iter().any(|queue| queue.messages > 0 && queue.consumers == 0) {
        let hint = "run the roles worker and reconciler; /readyz says why they take nothing, and a pause is one reason";
        Check::warn(BROKER_CONSUMERS, detail, hint)
    } else {
        Check::ok(BROKER_CONSUMERS, detail)
    }
}

#[cfg(test)]
mod tests;

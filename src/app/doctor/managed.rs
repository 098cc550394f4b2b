//! What the broker's management plugin tells, judged: AMQP alone tells neither members nor policies.

use super::check::{BROKER_MEMBERS, BROKER_POLICIES, Check};
use crate::rabbit::{Managed, ManagedQueue};

/// A quorum queue gets this many members by itself, if there are as many nodes.
const MEMBERS: usize = 3;

pub fn judge(managed: &Result<Managed, String>) -> Vec<Check> {
    match managed {
        Ok(managed) => vec![stopped(managed).unwrap_or_else(|| members(managed)), policies(managed)],
        Err(why) => vec![
            Check::ok(
                BROKER_MEMBERS,
                format!(
                    "not seen, the management plugin tells them: {why}. rabbitmq-queues quorum_status QUEUE does too"
                ),
            ),
            Check::ok(
                BROKER_POLICIES,
                "not seen, the management plugin tells them: rabbitmqctl list_policies does too",
            ),
        ],
    }
}

fn stopped(managed: &Managed) -> Option<Check> {
    let queues = managed.queues.iter().filter(|queue| !queue.stopped.is_empty());
    let stopped: Vec<String> =
        queues.map(|queue| format!("{} on {}", queue.name, queue.stopped.join(", "))).collect();
    (!stopped.is_empty()).then(|| {
        Check::warn(
            BROKER_MEMBERS,
            format!("members are stopped: {}", stopped.join("; ")),
            "a link to such a node gets nothing of what the broker hands it, and one node less may be lost: \
             rabbitmq-upgrade revive on that node, or restart it",
        )
    })
}

fn members(managed: &Managed) -> Check {
    let Some(nodes) = managed.nodes else {
        let queues = managed.queues.iter().map(|queue| format!("{} {}", queue.name, queue.members));
        let queues = queues.collect::<Vec<_>>().join(", ");
        return Check::ok(
            BROKER_MEMBERS,
            format!("{queues}; the number of nodes is for users with the tag monitoring"),
        );
    };
    let wanted = nodes.min(MEMBERS);
    let few: Vec<String> = managed
        .queues
        .iter()
        .filter(|queue| queue.members < wanted)
        .map(|queue| format!("{} has {} of {wanted}", queue.name, queue.members))
        .collect();
    if few.is_empty() {
        return Check::ok(BROKER_MEMBERS, format!("each queue has {wanted}, the cluster {nodes} nodes"));
    }
    Check::warn(
        BROKER_MEMBERS,
        format!("{}, the cluster {nodes} nodes", few.join("; ")),
        "the loss of one node stops such a queue, and may lose it: rabbitmq-queues grow NODE all --queue-pattern \
         PATTERN, once for each node that is not a member",
    )
}

fn policies(managed: &Managed) -> Check {
    let short_lived: Vec<&str> = managed
        .queues
        .iter()
        .filter(|queue: &&ManagedQueue| queue.has_message_ttl)
        .map(|queue| queue.name.as_str())
        .collect();
    if short_lived.is_empty() {
        return Check::ok(BROKER_POLICIES, "no policy makes messages expire early");
    }
    Check::warn(
        BROKER_POLICIES,
        format!("a policy with message-ttl makes messages expire in {}", short_lived.join(", ")),
        "dead letters would vanish before a person has seen them: narrow its pattern, or set RUNBOOK's policy with a \
         higher priority; only one policy applies to a queue",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::check::Status;

    fn managed(nodes: Option<usize>, members: usize, has_message_ttl: bool) -> Result<Managed, String> {
        let (name, stopped) = ("jenius.dead".to_owned(), Vec::new());
        Ok(Managed { nodes, queues: vec![ManagedQueue { name, members, stopped, has_message_ttl }] })
    }

    fn stopped_on(node: &str) -> Result<Managed, String> {
        let mut managed = managed(Some(3), 3, false)?;
        managed.queues[0].stopped.push(node.to_owned());
        Ok(managed)
    }

    #[test]
    fn too_few_or_stopped_members_and_a_short_life_are_warned_of_and_what_is_not_seen_is_not() {
        use Status::{Ok as Well, Warn};
        for (managed, expected) in [
            (managed(Some(1), 1, false), [Well, Well]),
            (managed(Some(3), 1, false), [Warn, Well]),
            (managed(Some(3), 2, false), [Warn, Well]),
            (managed(Some(5), 3, false), [Well, Well]),
            (stopped_on("rabbit@b"), [Warn, Well]),
            (managed(None, 1, false), [Well, Well]),
            (managed(Some(1), 1, true), [Well, Warn]),
            (Err("refused".to_owned()), [Well, Well]),
        ] {
            let checks = judge(&managed);
            assert_eq!([checks[0].status, checks[1].status], expected, "{managed:?}");
        }
    }
}

//! Which exchanges and queues of the broker each role uses. A role needs no permission for the others.

use crate::{
    config::{Amqp, Config, Role},
    rabbit::{Broker, Part, TopologyNames},
};
use std::collections::BTreeSet;

pub fn broker(config: &Config) -> anyhow::Result<Broker> {
    connect(config.need_amqp()?)
}

/// For what an operator asks for, apart from the links of the roles.
///
/// # Errors
/// A URL that cannot be read.
pub fn broker_of(amqp: &Amqp) -> anyhow::Result<Broker> {
    Ok(connect(amqp)?.for_operators())
}

fn connect(amqp: &Amqp) -> anyhow::Result<Broker> {
    Ok(Broker::new(&amqp.urls, amqp.authorities.as_deref(), TopologyNames::new(&amqp.prefix)?)?)
}

/// What these roles consume from and publish to.
pub fn used_by(roles: &BTreeSet<Role>) -> BTreeSet<Part> {
    let used = |role: &Role| match role {
        Role::Worker => Some(Part::Commands),
        Role::Reconciler | Role::Ingress => Some(Part::Notifications),
        Role::Relay => Some(Part::Events),
        Role::FollowUp | Role::Console => None,
    };
    roles.iter().filter_map(used).chain(published_by(roles)).collect()
}

/// What they publish to on the link that they share. The ingress has one of its own.
pub fn published_by(roles: &BTreeSet<Role>) -> Vec<Part> {
    let published = |role: &Role| match role {
        Role::Worker | Role::Reconciler => Some(Part::Dead),
        Role::Relay => Some(Part::Events),
        Role::FollowUp | Role::Ingress | Role::Console => None,
    };
    roles.iter().filter_map(published).collect::<BTreeSet<_>>().into_iter().collect()
}

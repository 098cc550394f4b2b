//! One check: its name, what was found, and what to do if that is not well.

use serde::Serialize;

/// A check's name. There are none but those of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckName(&'static str);

macro_rules! names {
    ($($name:ident = $text:literal,)*) => {
        $(pub const $name: CheckName = CheckName($text);)*
        /// In the order in which they are shown.
        #[cfg(test)]
        pub const ALL: &[CheckName] = &[$($name),*];
    };
}

names! {
    LEASE = "limits.lease",
    RESENDS = "limits.resends",
    FIRST_INQUIRY = "limits.first_inquiry",
    NOT_FOUND_GRACE = "limits.not_found_grace",
    GIVE_UP = "limits.give_up",
    PAYMENT_BUDGET = "limits.payment_budget",
    DRAIN = "limits.drain",
    RATE = "limits.rate",
    PREFETCH = "limits.prefetch",
    DESCRIPTORS = "limits.descriptors",
    POSTGRES_REACHABLE = "postgres.reachable",
    POSTGRES_VERSION = "postgres.version",
    POSTGRES_TRANSPORT = "postgres.transport",
    POSTGRES_WRITABLE = "postgres.writable",
    POSTGRES_ENCODING = "postgres.encoding",
    POSTGRES_MIGRATIONS = "postgres.migrations",
    POSTGRES_RIGHTS = "postgres.rights",
    POSTGRES_ENVIRONMENT = "postgres.environment",
    POSTGRES_DURABILITY = "postgres.durability",
    POSTGRES_STANDBY = "postgres.standby",
    POSTGRES_AUTOVACUUM = "postgres.autovacuum",
    POSTGRES_MEMORY = "postgres.memory",
    POSTGRES_CONNECTIONS = "postgres.connections",
    POSTGRES_SESSION = "postgres.session",
    POSTGRES_CLOCK = "postgres.clock",
    WORK_READABLE = "work.readable",
    WORK_BALANCE = "work.balance",
    WORK_ORPHANS = "work.orphans",
    WORK_STRANDED = "work.stranded",
    WORK_OUTBOX = "work.outbox",
    WORK_SENDS = "work.sends",
    WORK_PAUSED = "work.paused",
    WORK_BREAKERS = "work.breakers",
    WORK_REQUESTS = "work.requests",
    BROKER_REACHABLE = "broker.reachable",
    BROKER_LOGIN = "broker.login",
    BROKER_VERSION = "broker.version",
    BROKER_TRANSPORT = "broker.transport",
    BROKER_EXCHANGES = "broker.exchanges",
    BROKER_QUEUES = "broker.queues",
    BROKER_DEAD_ROUTE = "broker.dead_route",
    BROKER_UNROUTED_ROUTE = "broker.unrouted_route",
    BROKER_DEAD_LETTERS = "broker.dead_letters",
    BROKER_UNROUTED = "broker.unrouted",
    BROKER_CONSUMERS = "broker.consumers",
    BROKER_MEMBERS = "broker.members",
    BROKER_POLICIES = "broker.policies",
    DOKU_ENVIRONMENT = "doku.environment",
    DOKU_REACHABLE = "doku.reachable",
    DOKU_CLOCK = "doku.clock",
    DOKU_KEY = "doku.key",
    DOKU_SIGNATURE = "doku.signature",
    SERVICE_READY = "service.ready",
    SERVICE_INGRESS = "service.ingress",
    SERVICE_KEYS = "service.keys",
    WATCH_DIR = "settlement.watch_dir",
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// It works, and a person should look at it.
    Warn,
    /// It does not work, or money is at risk.
    Fail,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// As `doctor --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub status: Status,
    pub detail: String,
    /// What to do; `None` where all is well.
    pub hint: Option<String>,
}

impl Check {
    pub fn ok(name: CheckName, detail: impl Into<String>) -> Self {
        Self { name: name.0.to_owned(), status: Status::Ok, detail: detail.into(), hint: None }
    }

    pub fn warn(name: CheckName, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: Status::Warn, hint: Some(hint.into()), ..Self::ok(name, detail) }
    }

    pub fn fail(name: CheckName, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: Status::Fail, hint: Some(hint.into()), ..Self::ok(name, detail) }
    }

    /// Of one of several: `doku.key.shop`.
    pub fn about(mut self, which: &str) -> Self {
        self.name = format!("{}.{which}", self.name);
        self
    }

    /// Everything before the first point.
    pub fn group(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_there_once_and_its_group_stands_together() {
        let names: Vec<&str> = ALL.iter().map(|name| name.0).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let mut groups: Vec<&str> = names.iter().map(|name| name.split('.').next().unwrap()).collect();
        groups.dedup();
        assert_eq!(groups, ["limits", "postgres", "work", "broker", "doku", "service", "settlement"]);
    }
}

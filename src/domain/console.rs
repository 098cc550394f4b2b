//! Who uses the console, and what a person may do there. A role is given to people; a permission is asked for by a page or
//! an action.

use std::collections::BTreeSet;

/// What a person is trusted with. Every role may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsoleRole {
    /// Looks; customers' data is masked.
    Viewer,
    /// Shows the customer of one order at a time, which is kept.
    Support,
    /// Brings settlement files in, has them matched, and closes breaks.
    Finance,
    /// Asks DOKU, publishes events again, pauses and resumes.
    Operator,
    /// Decides about orders in review.
    Decider,
}

/// What a page or an action needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    Look,
    Unmask,
    Settle,
    Operate,
    Decide,
}

impl Permission {
    pub const ALL: [Self; 5] = [Self::Look, Self::Unmask, Self::Settle, Self::Operate, Self::Decide];
}

impl ConsoleRole {
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Support, Self::Finance, Self::Operator, Self::Decider];

    /// As in the configuration, on the command line and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Support => "support",
            Self::Finance => "finance",
            Self::Operator => "operator",
            Self::Decider => "decider",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    pub fn allows(self, permission: Permission) -> bool {
        match permission {
            Permission::Look => true,
            Permission::Unmask => self == Self::Support,
            Permission::Settle => self == Self::Finance,
            Permission::Operate => self == Self::Operator,
            Permission::Decide => self == Self::Decider,
        }
    }

    /// The role that a person needs for it.
    pub fn needed_for(permission: Permission) -> Self {
        match permission {
            Permission::Look => Self::Viewer,
            Permission::Unmask => Self::Support,
            Permission::Settle => Self::Finance,
            Permission::Operate => Self::Operator,
            Permission::Decide => Self::Decider,
        }
    }
}

/// Who says that a person is who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identified {
    /// By `console login`: the name is what a person typed.
    Local,
    /// By the proxy that authenticates.
    Proxy,
    /// By the provider that the console asks.
    Oidc,
}

/// What stands before a name that one of these gave.
const PREFIXES: [&str; 3] = ["local:", "proxy:", "oidc:"];

/// Whether a name that a person typed would read as one that a proxy or a provider gave.
pub fn looks_identified(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The name alone of who is audited: `budi` of `local:budi (unverified)`, `oidc:budi` and `budi (root@pay-1)`.
pub fn bare_name(audited: &str) -> &str {
    let name = audited.split(" (").next().unwrap_or_default();
    PREFIXES.iter().find_map(|by| name.strip_prefix(by)).unwrap_or(name).trim()
}

/// A person who uses the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub identified: Identified,
    /// By which the provider knows the person, whatever the name.
    pub subject: Option<String>,
    pub roles: BTreeSet<ConsoleRole>,
}

impl Person {
    pub fn may(&self, permission: Permission) -> bool {
        self.roles.iter().any(|role| role.allows(permission))
    }

    /// As the audit keeps it: `local:budi (unverified)`.
    pub fn audited(&self) -> String {
        match self.identified {
            Identified::Local => format!("local:{} (unverified)", self.name),
            Identified::Proxy => format!("proxy:{}", self.name),
            Identified::Oidc => format!("oidc:{}", self.name),
        }
    }

    /// Whether another than the person says who it is.
    pub fn is_verified(&self) -> bool {
        match self.identified {
            Identified::Local => false,
            Identified::Proxy | Identified::Oidc => true,
        }
    }

    pub fn role_names(&self) -> String {
        self.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_looks_and_each_permission_beyond_that_is_one_roles() {
        for permission in Permission::ALL {
            let with: Vec<_> = ConsoleRole::ALL.into_iter().filter(|role| role.allows(permission)).collect();
            if permission == Permission::Look {
                assert_eq!(with, ConsoleRole::ALL);
            } else {
                assert_eq!(with, [ConsoleRole::needed_for(permission)]);
            }
        }
        for role in ConsoleRole::ALL {
            assert_eq!(ConsoleRole::from_name(role.name()), Some(role));
        }
    }

    #[test]
    fn a_person_has_the_permissions_of_all_their_roles_and_without_a_role_none() {
        let mut person = Person {
            name: "budi".to_owned(),
            identified: Identified::Local,
            subject: None,
            roles: BTreeSet::new(),
        };
        assert!(Permission::ALL.into_iter().all(|permission| !person.may(permission)));
        person.roles = [ConsoleRole::Support, ConsoleRole::Operator].into();
        let may: Vec<_> = Permission::ALL.into_iter().filter(|permission| person.may(*permission)).collect();
        assert_eq!(may, [Permission::Look, Permission::Unmask, Permission::Operate]);
        assert_eq!(person.audited(), "local:budi (unverified)");
        person.identified = Identified::Proxy;
        assert_eq!(person.audited(), "proxy:budi");
        for audited in ["budi", "proxy:budi", "oidc:budi", "local:budi (unverified)", "budi (root@pay-1)"] {
            assert_eq!(bare_name(audited), "budi");
        }
    }

    #[test]
    fn only_a_name_with_the_word_of_who_gave_it_reads_as_given() {
        for name in ["local:budi", "proxy:budi", "oidc:budi", " OIDC: budi"] {
            assert!(looks_identified(name), "{name}");
        }
        assert!(!looks_identified("budi") && !looks_identified("oidc budi"));
    }
}

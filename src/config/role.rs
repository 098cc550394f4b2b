//! The roles a process may have. Several processes may share one.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Takes commands and makes their first attempt.
    Worker,
    /// Makes the attempts that have become due.
    FollowUp,
    /// Brings orders in line with notifications.
    Reconciler,
    /// Publishes events.
    Relay,
    /// Receives DOKU's notifications.
    Ingress,
    /// Serves the operators' pages. It runs only where it is named.
    Console,
}

impl Role {
    pub const ALL: [Self; 6] =
        [Self::Worker, Self::FollowUp, Self::Reconciler, Self::Relay, Self::Ingress, Self::Console];
    /// What `run` runs if no role is named.
    pub const UNNAMED: [Self; 5] =
        [Self::Worker, Self::FollowUp, Self::Reconciler, Self::Relay, Self::Ingress];

    /// As on the command line, and in `/readyz`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::FollowUp => "follow-up",
            Self::Reconciler => "reconciler",
            Self::Relay => "relay",
            Self::Ingress => "ingress",
            Self::Console => "console",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

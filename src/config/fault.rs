//! What is wrong with the configuration, in words for the person who has to repair it. A value is never
//! repeated here: it may be a secret that was written under the wrong key.

use std::fmt;

/// No list of faults is printed longer.
const SHOWN_MAX: usize = 100;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key (`doku.timeout_ms`), or what stands where a key should.
    pub key: String,
    /// Where the value came from: the file, or the variable.
    pub origin: Option<String>,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl ConfigFault {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), origin: None, problem: problem.into() }
    }

    pub(super) fn from(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{} (from {origin}): {}", self.key, self.problem),
            None => write!(f, "{}: {}", self.key, self.problem),
        }
    }
}

/// Everything that is wrong; never empty if it is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFaults(pub Vec<ConfigFault>);

impl ConfigFaults {
    /// For a log: one line, however many there are.
    pub fn in_a_line(&self) -> String {
        let shown: Vec<String> = self.0.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
        shown.join("; ")
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not usable:")?;
        for fault in self.0.iter().take(SHOWN_MAX) {
            write!(f, "\n  {fault}")?;
        }
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for ConfigFaults {}

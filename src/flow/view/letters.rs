//! Dead letters as people are shown them, one by one and in groups that died alike.

use crate::domain::Time;
use std::{cmp::Reverse, collections::BTreeMap};

/// A letter of the queues `dead` and `unrouted`, without its body. Its texts may be anything: senders wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterView {
    pub id: String,
    pub queue: &'static str,
    pub reason: String,
    pub detail: Option<String>,
    pub at: Option<Time>,
    pub event_type: Option<String>,
    pub source: Option<String>,
    pub command_id: Option<String>,
    pub bytes: usize,
    /// How often it was worked on again before it died anew.
    pub replays: u64,
}

/// Letters that died alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterGroup<'l> {
    pub reason: &'l str,
    pub event_type: Option<&'l str>,
    pub source: Option<&'l str>,
    pub detail: Option<&'l str>,
    pub letters: Vec<&'l LetterView>,
}

impl LetterGroup<'_> {
    pub fn oldest(&self) -> Option<Time> {
        self.letters.iter().filter_map(|letter| letter.at).min()
    }

    /// How many were worked on again before, and died again.
    pub fn replayed(&self) -> usize {
        self.letters.iter().filter(|letter| letter.replays > 0).count()
    }
}

/// What is there, the largest group first.
pub fn groups(letters: &[LetterView]) -> Vec<LetterGroup<'_>> {
    let mut groups: BTreeMap<_, Vec<&LetterView>> = BTreeMap::new();
    for letter in letters {
        let alike = (
            letter.reason.as_str(),
            letter.event_type.as_deref(),
            letter.source.as_deref(),
            letter.detail.as_deref(),
        );
        groups.entry(alike).or_default().push(letter);
    }
    let group = |((reason, event_type, source, detail), letters)| LetterGroup {
        reason,
        event_type,
        source,
        detail,
        letters,
    };
    let mut groups: Vec<_> = groups.into_iter().map(group).collect();
    groups.sort_by_key(|group| Reverse(group.letters.len()));
    groups
}

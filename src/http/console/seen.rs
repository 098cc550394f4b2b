//! Sessions that the database confirmed a moment ago: with the database away their people may read on.

use crate::{domain::console::Person, flow::ports::KeyHash};
use parking_lot::Mutex;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

const SEEN_LASTS: Duration = Duration::from_secs(300);
/// People, each with a few browsers.
const SESSIONS_MAX: usize = 1000;

#[derive(Default)]
pub struct SeenSessions(Mutex<HashMap<KeyHash, (Person, Instant)>>);

impl SeenSessions {
    pub fn saw(&self, key: KeyHash, person: &Person, now: Instant) {
        let mut seen = self.0.lock();
        seen.retain(|_, (_, at)| now.duration_since(*at) < SEEN_LASTS);
        if seen.len() < SESSIONS_MAX || seen.contains_key(&key) {
            seen.insert(key, (person.clone(), now));
        }
    }

    pub fn forget(&self, key: KeyHash) {
        self.0.lock().remove(&key);
    }

    pub fn lately(&self, key: KeyHash, now: Instant) -> Option<Person> {
        let seen = self.0.lock();
        seen.get(&key)
            .filter(|(_, at)| now.duration_since(*at) < SEEN_LASTS)
            .map(|(person, _)| person.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::console::Identified;

    #[test]
    fn a_session_is_known_for_five_minutes_after_the_database_knew_it() {
        let seen = SeenSessions::default();
        let person = Person {
            name: "budi".to_owned(),
            identified: Identified::Local,
            subject: None,
            roles: Default::default(),
        };
        let at = Instant::now();
        let before = SEEN_LASTS - Duration::from_secs(1);
        seen.saw([1; 32], &person, at);
        assert_eq!(seen.lately([1; 32], at + before), Some(person.clone()));
        assert_eq!((seen.lately([2; 32], at), seen.lately([1; 32], at + SEEN_LASTS)), (None, None));
        seen.forget([1; 32]);
        assert_eq!(seen.lately([1; 32], at), None);
    }
}

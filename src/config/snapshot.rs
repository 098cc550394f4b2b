//! The configuration as it was read, key by key, so that a second reading can be compared with the first.

use super::reader::key;
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, BTreeSet};

/// Every value that was read, by the full name of its key. All of them are held as secrets: some are.
#[derive(Debug, Clone, Default)]
pub struct ConfigSnapshot(BTreeMap<String, SecretString>);

/// The keys with different values in two readings, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigDiff {
    pub secrets: Vec<String>,
    pub others: Vec<String>,
}

impl ConfigSnapshot {
    pub(super) fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(values.into_iter().map(|(name, text)| (name, text.into())).collect())
    }

    pub fn difference(&self, later: &Self) -> ConfigDiff {
        let names: BTreeSet<&String> = self.0.keys().chain(later.0.keys()).collect();
        let differs = |name: &&String| self.text(name) != later.text(name);
        let (secrets, others) = names.into_iter().filter(differs).cloned().partition(|name| is_secret(name));
        ConfigDiff { secrets, others }
    }

    /// Takes on the secrets of a later reading; the rest stays what the process was started with.
    pub fn take_secrets(&mut self, later: &Self) {
        self.0.retain(|name, _| !is_secret(name));
        let secrets = later.0.iter().filter(|(name, _)| is_secret(name));
        self.0.extend(secrets.map(|(name, text)| (name.clone(), text.clone())));
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(SecretString::expose_secret)
    }
}

fn is_secret(name: &str) -> bool {
    key(name).is_some_and(|key| key.secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(values: &[(&str, &str)]) -> ConfigSnapshot {
        ConfigSnapshot::new(values.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
    }

    #[test]
    fn what_differs_is_named_and_secrets_apart() {
        let before = snapshot(&[
            ("doku.secret_key", "old"),
            ("merchants.shop.previous_secret_keys", "a"),
            ("amqp.url", "amqp://same"),
            ("amqp.prefetch", "1"),
            ("doku.client_id", "MCH-1"),
        ]);
        let later = snapshot(&[
            ("doku.secret_key", "new"),
            ("doku.previous_secret_keys", "old"),
            ("amqp.url", "amqp://same"),
            ("amqp.prefetch", "2"),
            ("merchants.late.client_id", "MCH-2"),
            ("doku.client_id", "MCH-1"),
        ]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let difference = before.difference(&later);
        assert_eq!(
            difference.secrets,
            names(&["doku.previous_secret_keys", "doku.secret_key", "merchants.shop.previous_secret_keys"])
        );
        assert_eq!(difference.others, names(&["amqp.prefetch", "merchants.late.client_id"]));

        let mut now = before.clone();
        now.take_secrets(&later);
        let left = now.difference(&later);
        assert_eq!((left.secrets, left.others), (vec![], difference.others), "the rest waits for a restart");
        assert!(!format!("{now:?}").contains("new"), "{now:?}");
    }
}

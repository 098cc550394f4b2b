//! What was given, key by key, and where each value comes from: for a person who asks why the service does what it does, and
//! to compare a second reading with. Never shown: a secret's text.

use super::keys::{ConfigKey, key, keys, split_name};
use crate::domain::ids::MerchantName;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const HIDDEN: &str = "(hidden)";
/// The origin of a value that is not set.
pub const BY_DEFAULT: &str = "default";

/// Every value that was given, by the full name of its key.
#[derive(Debug, Clone, Default)]
pub struct ConfigSnapshot {
    pub(super) values: BTreeMap<String, GivenValue>,
    /// Every merchant and every profile that is named, with its section.
    pub(super) names: BTreeSet<(&'static str, MerchantName)>,
}

/// One value. All of them are held as secrets: some are.
#[derive(Debug, Clone)]
pub struct GivenValue {
    pub rank: Rank,
    /// The file, or the variable.
    pub origin: String,
    /// One for a scalar; a list's entries.
    pub texts: Vec<SecretString>,
}

/// Where a value stands; a later one beats an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    File,
    Short,
    Long,
}

/// One key and its value, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce {
    pub key: String,
    /// As the environment would write it; `None`: there is none.
    pub value: Option<String>,
    /// The file, the variable, or `default`; `None` where there is no value.
    pub origin: Option<String>,
}

/// The keys with different values in two readings, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigDiff {
    pub secrets: Vec<String>,
    pub others: Vec<String>,
}

impl ConfigSnapshot {
    pub(super) fn get(&self, name: &str) -> Option<&GivenValue> {
        self.values.get(name)
    }

    /// The merchants of `merchants`, or the profiles of `settlement.profile`.
    pub(super) fn names(&self, section: &str) -> Vec<MerchantName> {
        self.names.iter().filter(|(of, _)| *of == section).map(|(_, name)| name.clone()).collect()
    }

    /// Every key, in the order of the table; a merchant's key for each merchant, a profile's for each profile.
    pub fn in_force(&self) -> Vec<InForce> {
        let rows = |key: &'static ConfigKey| match split_name(key.name) {
            None => vec![self.row(key, key.name.to_owned())],
            Some((section, _, member)) => {
                let names = self.names(section).into_iter();
                names.map(|own| self.row(key, format!("{section}.{own}.{member}"))).collect()
            }
        };
        keys().iter().flat_map(rows).collect()
    }

    fn row(&self, key: &ConfigKey, name: String) -> InForce {
        let given = |texts: Vec<&str>| if key.secret { HIDDEN.to_owned() } else { texts.join(",") };
        let value = self.texts(&name).map(given).or(key.default.map(str::to_owned));
        let by_default = key.default.map(|_| BY_DEFAULT.to_owned());
        let origin = self.get(&name).map(|value| value.origin.clone()).or(by_default);
        InForce { key: name, value, origin }
    }

    pub fn difference(&self, later: &Self) -> ConfigDiff {
        let names: BTreeSet<&String> = self.values.keys().chain(later.values.keys()).collect();
        let differs = |name: &&String| self.texts(name) != later.texts(name);
        let (secrets, others) = names.into_iter().filter(differs).cloned().partition(|name| is_secret(name));
        ConfigDiff { secrets, others }
    }

    /// Takes on the secrets of a later reading; the rest stays what the process was started with.
    pub fn take_secrets(&mut self, later: &Self) {
        self.values.retain(|name, _| !is_secret(name));
        let secrets = later.values.iter().filter(|(name, _)| is_secret(name));
        self.values.extend(secrets.map(|(name, value)| (name.clone(), value.clone())));
    }

    fn texts(&self, name: &str) -> Option<Vec<&str>> {
        Some(self.get(name)?.texts.iter().map(SecretString::expose_secret).collect())
    }
}

fn is_secret(name: &str) -> bool {
    key(name).is_some_and(|key| key.secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RequiredSections, Source};

    fn snapshot(values: &[(&str, &str)]) -> ConfigSnapshot {
        let given =
            |text: &str| GivenValue { rank: Rank::File, origin: String::new(), texts: vec![text.into()] };
        let values = values.iter().map(|(name, text)| ((*name).to_owned(), given(text)));
        ConfigSnapshot { values: values.collect(), names: BTreeSet::new() }
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

    #[test]
    fn each_value_is_told_with_its_origin_and_no_secret_is() {
        let variables = [
            ("DATABASE_URL", "postgres://u:topsecret@db/x"),
            ("JENIUS_PAY__AMQP__PREFETCH", "7"),
            ("JENIUS_PAY__MERCHANTS__SHOP__CLIENT_ID", "MCH-1"),
            ("JENIUS_PAY__MERCHANTS__SHOP__SECRET_KEY", "topsecret"),
            ("JENIUS_PAY__SETTLEMENT__PROFILE__TOKO__RHYTHM", "daily"),
        ];
        let source = Source::new(None, variables, |_| Err(std::io::ErrorKind::NotFound.into()));
        let all = Config::load(&source, RequiredSections::NOTHING).unwrap().snapshot.in_force();
        let of = |name: &str| {
            let row = all.iter().find(|row| row.key == name).unwrap();
            (row.value.as_deref().unwrap_or("-"), row.origin.as_deref().unwrap_or("-"))
        };
        assert_eq!(of("database.url"), ("(hidden)", "DATABASE_URL"));
        assert_eq!(of("amqp.prefetch"), ("7", "JENIUS_PAY__AMQP__PREFETCH"));
        assert_eq!(of("amqp.prefix"), ("jenius", "default"));
        assert_eq!(of("doku.client_id"), ("-", "-"));
        assert_eq!(of("merchants.shop.client_id"), ("MCH-1", "JENIUS_PAY__MERCHANTS__SHOP__CLIENT_ID"));
        let rhythm = ("daily", "JENIUS_PAY__SETTLEMENT__PROFILE__TOKO__RHYTHM");
        assert_eq!(of("settlement.profile.toko.rhythm"), rhythm);
        assert!(!all.iter().any(|row| row.key.starts_with("settlement.profile.shop.")), "no such profile");
        assert_eq!(of("time_zone"), ("Asia/Jakarta", "default"));
        assert!(!format!("{all:?}").contains("topsecret"));
    }
}

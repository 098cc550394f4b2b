//! What is in force, and where each value comes from: for a person who asks why the service does what it does. Never: a
//! secret's text.

use super::{
    Config, ConfigFaults, RequiredSections, Source,
    keys::{ConfigKey, keys},
    values::{ConfigValue, Values},
};
use serde::Serialize;

const HIDDEN: &str = "(hidden)";
/// The origin of a value that is not set.
pub const BY_DEFAULT: &str = "default";

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce {
    pub key: String,
    /// As the environment would write it; `None`: there is none.
    pub value: Option<String>,
    /// The file, the variable, or `default`; `None` where there is no value.
    pub origin: Option<String>,
}

/// Every key, in the order of the table.
///
/// # Errors
/// Every fault of every key, at once.
pub fn in_force(source: &Source<'_>) -> Result<Vec<InForce>, ConfigFaults> {
    Ok(Config::load(source, RequiredSections::NOTHING)?.in_force.to_vec())
}

impl InForce {
    /// Every key, in the order of the table.
    pub(super) fn all(values: &Values) -> Vec<Self> {
        keys().iter().flat_map(|key| rows(key, values)).collect()
    }
}

/// A merchant's key has a row for each merchant, a profile's for each profile.
fn rows(key: &'static ConfigKey, values: &Values) -> Vec<InForce> {
    if !key.name.contains('<') {
        return vec![row(key, key.name.to_owned(), values)];
    }
    let all = if key.name.starts_with("merchants.") { &values.merchants } else { &values.profiles };
    let names = all.iter().map(|own| key.name.replace("<name>", own.as_str()));
    names.map(|name| row(key, name, values)).collect()
}

fn row(key: &ConfigKey, name: String, values: &Values) -> InForce {
    let text = |value: &ConfigValue| if key.secret { HIDDEN.to_owned() } else { value.texts.join(",") };
    let (value, origin) = match (values.get(&name), key.default) {
        (Some(value), _) => (Some(text(value)), Some(value.origin.clone())),
        (None, Some(default)) => (Some(default.to_owned()), Some(BY_DEFAULT.to_owned())),
        (None, None) => (None, None),
    };
    InForce { key: name, value, origin }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let all = in_force(&source).unwrap();
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

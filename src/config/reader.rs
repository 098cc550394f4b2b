//! Reads one key after another, and keeps every fault instead of stopping at the first.

use super::{
    ConfigFault, ConfigFaults, ConfigSnapshot, InForce, Source,
    keys::{ConfigKey, PREFIX, keys},
    parse::Parsed,
    values::Values,
};
use crate::domain::ids::MerchantName;
use secrecy::SecretString;
use std::{collections::BTreeSet, path::Path};

pub fn missing(name: &str) -> ConfigFaults {
    ConfigFaults(vec![missing_fault(name)])
}

fn missing_fault(name: &str) -> ConfigFault {
    let template = key(name);
    let file = template.is_some_and(|key| key.secret).then_some(", or in a file that …_FILE names");
    let mut places = vec!["the file".to_owned()];
    places.extend(template.and_then(|key| key.short).map(str::to_owned));
    places.push(variable_of(name));
    ConfigFault::new(name, format!("missing; set it in {}{}", places.join(" or "), file.unwrap_or_default()))
}

fn variable_of(name: &str) -> String {
    format!("{}{}", PREFIX, name.replace('.', "__").to_ascii_uppercase())
}

/// Sections whose members have names of their own.
const NAMED: [&str; 2] = ["merchants", "settlement.profile"];

/// The row of the table for a full name; a merchant's or a profile's key is found by its template.
pub fn key(name: &str) -> Option<&'static ConfigKey> {
    let named = NAMED.into_iter().find_map(|section| {
        let (_, member) = name.strip_prefix(section)?.strip_prefix('.')?.split_once('.')?;
        Some(format!("{section}.<name>.{member}"))
    });
    let wanted = named.unwrap_or_else(|| name.to_owned());
    keys().iter().find(|key| key.name == wanted)
}

/// The values, and the faults found so far.
pub struct Reader<'s> {
    source: &'s Source<'s>,
    values: Values,
    faults: ConfigFaults,
}

impl<'s> Reader<'s> {
    pub fn new(source: &'s Source<'_>) -> Self {
        let mut faults = ConfigFaults::default();
        let values = Values::gather(source, &mut faults);
        Self { source, values, faults }
    }

    /// What was read, unless anything is wrong.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, ConfigFaults> {
        match read {
            Some(read) if self.faults.0.is_empty() => Ok(read),
            Some(_) | None => Err(self.faults),
        }
    }

    pub fn snapshot(&self) -> ConfigSnapshot {
        ConfigSnapshot::new(self.values.texts())
    }

    /// Every key with its value, secrets hidden.
    pub fn in_force(&self) -> Vec<InForce> {
        InForce::all(&self.values)
    }

    /// Merchants of `merchants.<name>`.
    pub fn merchants(&self) -> BTreeSet<MerchantName> {
        self.values.merchants.clone()
    }

    /// Profiles of `settlement.profile.<name>`.
    pub fn profiles(&self) -> BTreeSet<MerchantName> {
        self.values.profiles.clone()
    }

    /// The value, or its default; `None` if there is neither, or (then it is a fault) it is bad.
    pub fn get<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let (text, origin) = match self.values.get(name) {
            Some(value) => (value.texts.first().map_or("", String::as_str), Some(value.origin.clone())),
            None => (key(name)?.default?, None),
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.faults.add(ConfigFault { key: name.to_owned(), origin, problem });
                None
            }
        }
    }

    pub fn list<T>(&mut self, name: &str, max: usize, parse: impl Fn(&str) -> Parsed<T>) -> Option<Vec<T>> {
        let (texts, origin) = match self.values.get(name) {
            Some(value) => (value.texts.clone(), Some(value.origin.clone())),
            None => {
                let default = key(name).and_then(|key| key.default).unwrap_or_default();
                (default.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect(), None)
            }
        };
        let entries: Parsed<Vec<T>> = if texts.len() <= max {
            texts.iter().map(|text| parse(text)).collect()
        } else {
            Err(format!("too many entries; allowed: at most {max}"))
        };
        match entries {
            Ok(entries) => Some(entries),
            Err(problem) => {
                self.faults.add(ConfigFault { key: name.to_owned(), origin, problem });
                None
            }
        }
    }

    pub fn says(&self, name: &str) -> bool {
        self.values.get(name).is_some()
    }

    pub fn missing(&mut self, name: &str) {
        self.faults.add(missing_fault(name));
    }

    pub fn fault(&mut self, name: &str, problem: impl Into<String>) {
        let origin = self.values.get(name).map(|value| value.origin.clone());
        self.faults.add(ConfigFault { key: name.to_owned(), origin, problem: problem.into() });
    }

    /// A secret that is a fault where it is needed and missing.
    pub fn secret(
        &mut self,
        name: &str,
        needed: bool,
        parse: impl Fn(&str) -> Parsed<String>,
    ) -> Option<SecretString> {
        if needed && !self.says(name) {
            self.missing(name);
        }
        self.get(name, parse).map(SecretString::from)
    }

    /// A list of secrets. An empty one that was given, or a missing one that is needed, is a fault.
    pub fn secrets(
        &mut self,
        name: &str,
        needed: bool,
        max: usize,
        parse: impl Fn(&str) -> Parsed<String>,
    ) -> Option<Vec<SecretString>> {
        match (self.says(name), needed) {
            (false, true) => self.missing(name),
            (true, _) if self.values.get(name).is_some_and(|value| value.texts.is_empty()) => {
                let nothing = parse("").err().unwrap_or_default();
                self.fault(name, nothing);
            }
            (_, _) => {}
        }
        let texts = self.list(name, max, parse)?;
        (!texts.is_empty()).then(|| texts.into_iter().map(SecretString::from).collect())
    }

    /// The text of the file that a key names, if it names one.
    pub fn file(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<String>) -> Option<String> {
        let path = self.values.get(name)?.texts.first()?.clone();
        self.read_files(name, &[path], parse)?.pop()
    }

    /// What the files hold that a key names; none is no fault.
    pub fn files<T>(&mut self, name: &str, max: usize, parse: impl Fn(&str) -> Parsed<T>) -> Option<Vec<T>> {
        let paths = self.list(name, max, |path| Ok(path.to_owned()))?;
        self.read_files(name, &paths, parse)
    }

    fn read_files<T>(
        &mut self,
        name: &str,
        paths: &[String],
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<Vec<T>> {
        let read = |path: &String| {
            let text = self.source.read(Path::new(path));
            text.map_err(|e| format!("{} cannot be read: {e}", path.escape_debug()))
                .and_then(|text| parse(&text))
        };
        match paths.iter().map(read).collect() {
            Ok(all) => Some(all),
            Err(problem) => {
                self.fault(name, problem);
                None
            }
        }
    }
}

//! Gathers what the file and the environment say, key by key: the environment beats the file, a long
//! name beats a short one. Nothing is judged here but names, forms, and what cannot be read.

use super::{
    fault::{ConfigFault, ConfigFaults},
    file,
    keys::{ConfigKey, FILE_SUFFIX, PREFIX, keys},
    source::Source,
};
use crate::domain::ids::MerchantName;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
};

/// Where a value stands; a later one beats an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    File,
    Short,
    Long,
}

/// A value as text. No `Debug`: it may be a secret.
pub struct ConfigValue {
    pub rank: Rank,
    /// The file, or the variable.
    pub origin: String,
    /// One for a scalar; a list's entries.
    pub texts: Vec<String>,
}

/// All values that were given, by the full name of the key.
#[derive(Default)]
pub struct Values {
    by_key: BTreeMap<String, ConfigValue>,
    /// Every merchant of `merchants.<name>` with at least one value.
    pub merchants: BTreeSet<MerchantName>,
    /// The same for `settlement.profile.<name>`.
    pub profiles: BTreeSet<MerchantName>,
}

impl Values {
    pub fn gather(source: &Source<'_>, faults: &mut ConfigFaults) -> Self {
        let mut values = Self::default();
        file::gather(source, &mut values, faults);
        values.gather_environment(source, faults);
        values
    }

    pub fn get(&self, name: &str) -> Option<&ConfigValue> {
        self.by_key.get(name)
    }

    /// Each value as one text.
    pub fn texts(&self) -> impl Iterator<Item = (String, String)> {
        self.by_key.iter().map(|(name, value)| (name.clone(), value.texts.join("\n")))
    }

    fn gather_environment(&mut self, source: &Source<'_>, faults: &mut ConfigFaults) {
        for (variable, value) in source.variables() {
            let Some((key, name, rank, from_file)) = target(variable, faults) else { continue };
            let text = if from_file {
                read_secret(source, value)
            } else {
                value.to_str().map(str::to_owned).ok_or_else(|| "not UTF-8".to_owned())
            };
            match text {
                Ok(text) => {
                    let texts = if key.form.is_list() { split(&text) } else { vec![text] };
                    self.put(name, ConfigValue { rank, origin: variable.to_owned(), texts }, faults);
                }
                Err(problem) => faults.add(ConfigFault::new(name, problem).from(variable)),
            }
        }
    }

    pub fn put(&mut self, name: String, value: ConfigValue, faults: &mut ConfigFaults) {
        if let Some(merchant) = name.strip_prefix("merchants.").and_then(|rest| rest.split('.').next()) {
            self.merchants.extend(MerchantName::parse(merchant));
        }
        if let Some(profile) =
            name.strip_prefix("settlement.profile.").and_then(|rest| rest.split('.').next())
        {
            self.profiles.extend(MerchantName::parse(profile));
        }
        match self.by_key.get(&name) {
            Some(old) if old.rank == value.rank => {
                let problem = format!("given twice, in {} too; allowed: one of them", old.origin);
                faults.add(ConfigFault::new(name, problem).from(value.origin));
            }
            Some(old) if old.rank > value.rank => {}
            Some(_) | None => {
                self.by_key.insert(name, value);
            }
        }
    }
}

/// The key a variable speaks of, its full name, and whether the variable names a file. `None` if it is
/// not ours, or (then it is a fault) not known.
fn target(variable: &str, faults: &mut ConfigFaults) -> Option<(&'static ConfigKey, String, Rank, bool)> {
    let is_named = |name: &str| keys().iter().any(|key| key.variable() == name);
    let (stem, from_file) = match variable.strip_suffix(FILE_SUFFIX) {
        // Some keys' own names end so.
        Some(stem) if !is_named(variable) => (stem, true),
        Some(_) | None => (variable, false),
    };
    let usable = |key: &ConfigKey| key.secret || !from_file;
    if let Some(key) = keys().iter().find(|key| key.short == Some(stem)) {
        return usable(key).then(|| (key, key.name.to_owned(), Rank::Short, from_file));
    }
    let rest = stem.strip_prefix(PREFIX)?;
    let named = [("MERCHANTS__", "merchants."), ("SETTLEMENT__PROFILE__", "settlement.profile.")];
    let named = named.into_iter().find_map(|(prefix, section)| Some((rest.strip_prefix(prefix)?, section)));
    let found = match named {
        Some((rest, section)) => named_key(rest, section),
        None => keys()
            .iter()
            .find(|key| !key.name.contains('<') && key.variable() == stem)
            .map(|key| (key, key.name.to_owned())),
    };
    match found {
        Some((key, name)) if usable(key) => Some((key, name, Rank::Long, from_file)),
        Some((key, _)) => {
            let problem = format!("no secret, so it is not read from a file; allowed: {}", key.variable());
            faults.add(ConfigFault::new(variable, problem));
            None
        }
        None => {
            let problem = "unknown variable; allowed: JENIUS_PAY__<SECTION>__<KEY> with a key of deploy/REFERENCE.md, \
                           merchants as JENIUS_PAY__MERCHANTS__<NAME>__CLIENT_ID (name: A-Z, 0-9, _)";
            faults.add(ConfigFault::new(variable, problem));
            None
        }
    }
}

/// `SHOP__CLIENT_ID`. A name may hold `__` itself, so the key is looked for at the end.
fn named_key(rest: &str, section: &str) -> Option<(&'static ConfigKey, String)> {
    keys().iter().find_map(|key| {
        let last = key.name.strip_prefix(section)?.strip_prefix("<name>.")?;
        let name = rest.strip_suffix(&format!("__{}", last.to_ascii_uppercase()))?;
        let name = MerchantName::parse(name.to_ascii_lowercase()).ok()?;
        Some((key, format!("{section}{name}.{last}")))
    })
}

fn read_secret(source: &Source<'_>, path: &OsStr) -> Result<String, String> {
    let mut text = source.read(Path::new(path)).map_err(|e| format!("its file cannot be read: {e}"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn split(list: &str) -> Vec<String> {
    if list.trim().is_empty() {
        return Vec::new();
    }
    list.split(',').map(|entry| entry.trim().to_owned()).collect()
}

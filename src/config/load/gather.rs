//! What the file and the environment say, key by key: the environment beats the file, a long name beats a short one. Nothing
//! is judged here but names, forms, and what cannot be read. The file is TOML, a table for each section; its form is judged
//! because only here a number and a text differ.

use super::{Reader, Source};
use crate::{
    config::{
        fault::ConfigFault,
        keys::{ConfigKey, FILE_SUFFIX, KeyForm, NAMED, PREFIX, keys, split_name, variable_of},
        snapshot::{GivenValue, Rank},
    },
    domain::ids::MerchantName,
};
use secrecy::SecretString;
use std::{ffi::OsStr, path::Path};
use toml::{Table, Value as Toml};

impl Reader<'_> {
    pub(super) fn gather_file(&mut self) {
        let Some((path, named_by)) = self.source.file() else { return };
        let origin = path.display().to_string();
        match (self.source.read)(path) {
            Err(e) => {
                let problem = format!("the file {origin} cannot be read: {e}");
                self.faults.0.push(ConfigFault::new(named_by, problem));
            }
            Ok(text) => match text.parse::<Table>() {
                Ok(table) => self.gather_table(&origin, "", "", table),
                Err(e) => {
                    self.faults.0.push(ConfigFault::new(named_by, syntax_problem(&e, &text)).from(origin));
                }
            },
        }
    }

    /// `path` is the section as written, `template` as the table of keys has it; both are empty for the whole file.
    fn gather_table(&mut self, origin: &str, path: &str, template: &str, members: Table) {
        let point = if path.is_empty() { "" } else { "." };
        let named = NAMED.into_iter().find(|(section, _)| *section == template);
        for (member, value) in members {
            let name = format!("{path}{point}{member}");
            let gathered = match named {
                Some((section, what)) => self.gather_named(origin, section, what, &member, value),
                None => {
                    let wanted = format!("{template}{point}{member}");
                    self.gather_member(origin, &name, (template, &wanted), value)
                }
            };
            if let Err(problem) = gathered {
                self.faults.0.push(ConfigFault::new(name, problem).from(origin));
            }
        }
    }

    /// A member of a section, known to the table of keys as `wanted`.
    fn gather_member(
        &mut self,
        origin: &str,
        name: &str,
        (template, wanted): (&str, &str),
        value: Toml,
    ) -> Result<(), String> {
        match (keys().iter().find(|key| key.name == wanted), value) {
            (Some(key), value) => {
                let allowed = key.form.allowed();
                let texts =
                    texts(key.form, &value).ok_or_else(|| format!("wrong type; allowed: {allowed}"))?;
                self.put(name, Rank::File, origin, texts);
            }
            (None, Toml::Table(inner)) if is_section(wanted) => {
                self.gather_table(origin, name, wanted, inner)
            }
            (None, _) if is_section(wanted) => return Err("not a section; allowed: a table".to_owned()),
            (None, _) => return Err(unknown(template)),
        }
        Ok(())
    }

    /// A merchant, or a profile: it is there even if nothing stands in it.
    fn gather_named(
        &mut self,
        origin: &str,
        section: &'static str,
        what: &str,
        own: &str,
        value: Toml,
    ) -> Result<(), String> {
        let own =
            MerchantName::parse(own).map_err(|e| format!("not a {what}'s name; allowed: {}", e.allowed))?;
        let Toml::Table(inner) = value else { return Err(format!("not a {what}; allowed: a table")) };
        self.gather_table(origin, &format!("{section}.{own}"), &format!("{section}.<name>"), inner);
        self.given.names.insert((section, own));
        Ok(())
    }

    pub(super) fn gather_environment(&mut self) {
        let source = self.source;
        for (variable, value) in source.variables() {
            let target = match target(variable) {
                Ok(Some(target)) => target,
                Ok(None) => continue,
                Err(problem) => {
                    self.faults.0.push(ConfigFault::new(variable, problem));
                    continue;
                }
            };
            let text = if target.from_file {
                read_secret(source, value)
            } else {
                value.to_str().map(str::to_owned).ok_or_else(|| "not UTF-8".to_owned())
            };
            match text {
                Ok(text) if target.is_list => self.put(&target.name, target.rank, variable, split(&text)),
                Ok(text) => self.put(&target.name, target.rank, variable, vec![text]),
                Err(problem) => self.faults.0.push(ConfigFault::new(target.name, problem).from(variable)),
            }
        }
    }

    fn put(&mut self, name: &str, rank: Rank, origin: &str, texts: Vec<String>) {
        if let Some((section, own, _)) = split_name(name) {
            self.given.names.extend(MerchantName::parse(own).map(|own| (section, own)));
        }
        match self.given.get(name) {
            Some(old) if old.rank == rank => {
                let problem = format!("given twice, in {} too; allowed: one of them", old.origin);
                self.faults.0.push(ConfigFault::new(name, problem).from(origin));
            }
            Some(old) if old.rank > rank => {}
            Some(_) | None => {
                let texts = texts.into_iter().map(SecretString::from).collect();
                let value = GivenValue { rank, origin: origin.to_owned(), texts };
                self.given.values.insert(name.to_owned(), value);
            }
        }
    }
}

/// `toml` prints the line that is wrong, and that line may hold a secret.
fn syntax_problem(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("not TOML, line {}", before.matches('\n').count() + 1),
        None => "not TOML".to_owned(),
    }
}

/// Whether keys stand within it: a section may hold another.
fn is_section(wanted: &str) -> bool {
    keys().iter().any(|key| key.name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.')))
}

/// Why a member is refused that a section does not have; the whole file has no name.
fn unknown(section: &str) -> String {
    let (what, mut allowed): (_, Vec<&str>) = if section.is_empty() {
        ("section", keys().iter().filter_map(|key| Some(key.name.split_once('.')?.0)).collect())
    } else {
        let member = |key: &'static ConfigKey| key.name.strip_prefix(section)?.strip_prefix('.');
        ("key", keys().iter().filter_map(member).collect())
    };
    allowed.dedup();
    format!("unknown {what}; allowed: {}", allowed.join(", "))
}

/// The value as the environment would write it; `None` if it has another form.
fn texts(form: KeyForm, value: &Toml) -> Option<Vec<String>> {
    match (form, value) {
        (KeyForm::Text | KeyForm::Texts, Toml::String(text)) => Some(vec![text.clone()]),
        (KeyForm::Integer | KeyForm::Number, Toml::Integer(number)) => Some(vec![number.to_string()]),
        (KeyForm::Number, Toml::Float(number)) => Some(vec![number.to_string()]),
        (KeyForm::Flag, Toml::Boolean(flag)) => Some(vec![flag.to_string()]),
        (KeyForm::Texts, Toml::Array(entries)) => list(KeyForm::Text, entries),
        (KeyForm::Integers, Toml::Array(entries)) => list(KeyForm::Integer, entries),
        (
            KeyForm::Text
            | KeyForm::Integer
            | KeyForm::Number
            | KeyForm::Flag
            | KeyForm::Texts
            | KeyForm::Integers,
            _,
        ) => None,
    }
}

fn list(form: KeyForm, entries: &[Toml]) -> Option<Vec<String>> {
    entries.iter().map(|entry| texts(form, entry)?.pop()).collect()
}

/// What a variable speaks of.
struct Target {
    name: String,
    is_list: bool,
    rank: Rank,
    /// The variable names a file.
    from_file: bool,
}

/// `None` if the variable is not ours.
fn target(variable: &str) -> Result<Option<Target>, String> {
    let is_named = keys().iter().any(|key| key.variable() == variable);
    let (stem, from_file) = match variable.strip_suffix(FILE_SUFFIX) {
        // Some keys' own names end so.
        Some(stem) if !is_named => (stem, true),
        Some(_) | None => (variable, false),
    };
    let usable = |key: &ConfigKey| key.secret || !from_file;
    let found =
        |key: &ConfigKey, name: String, rank| Target { name, is_list: key.form.is_list(), rank, from_file };
    if let Some(key) = keys().iter().find(|key| key.short == Some(stem)) {
        return Ok(usable(key).then(|| found(key, key.name.to_owned(), Rank::Short)));
    }
    if !stem.starts_with(PREFIX) {
        return Ok(None);
    }
    match keys().iter().find_map(|key| Some((key, long_name(key, stem)?))) {
        Some((key, name)) if usable(key) => Ok(Some(found(key, name, Rank::Long))),
        Some((key, _)) => {
            Err(format!("no secret, so it is not read from a file; allowed: {}", key.variable()))
        }
        None => {
            Err("unknown variable; allowed: JENIUS_PAY__<SECTION>__<KEY> with a key of deploy/REFERENCE.md, \
             merchants as JENIUS_PAY__MERCHANTS__<NAME>__CLIENT_ID (name: A-Z, 0-9, _)"
                .to_owned())
        }
    }
}

/// The full name of the key, if the variable is its own. The name of a merchant may hold `__` itself.
fn long_name(key: &ConfigKey, variable: &str) -> Option<String> {
    let Some((section, _, member)) = split_name(key.name) else {
        return (key.variable() == variable).then(|| key.name.to_owned());
    };
    let own = variable
        .strip_prefix(&variable_of(section))?
        .strip_prefix("__")?
        .strip_suffix(&member.to_ascii_uppercase())?
        .strip_suffix("__")?;
    let own = MerchantName::parse(own.to_ascii_lowercase()).ok()?;
    Some(format!("{section}.{own}.{member}"))
}

fn read_secret(source: &Source<'_>, path: &OsStr) -> Result<String, String> {
    let mut text = (source.read)(Path::new(path)).map_err(|e| format!("its file cannot be read: {e}"))?;
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

//! The file: TOML, a table for each section. Its form is judged here, because only here a number and a
//! text differ.

use super::{
    fault::{ConfigFault, ConfigFaults},
    keys::{ConfigKey, KeyForm, keys},
    source::Source,
    values::{ConfigValue, Rank, Values},
};
use crate::domain::ids::MerchantName;
use toml::{Table, Value as Toml};

pub fn gather(source: &Source<'_>, values: &mut Values, faults: &mut ConfigFaults) {
    let Some((path, named_by)) = source.file() else { return };
    let origin = path.display().to_string();
    let text = match source.read(path) {
        Ok(text) => text,
        Err(e) => {
            return faults.add(ConfigFault::new(named_by, format!("the file {origin} cannot be read: {e}")));
        }
    };
    match text.parse::<Table>() {
        Ok(table) => File { origin, values, faults }.sections(table),
        Err(e) => faults.add(ConfigFault::new(named_by, syntax_problem(&e, &text)).from(origin)),
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

struct File<'a> {
    origin: String,
    values: &'a mut Values,
    faults: &'a mut ConfigFaults,
}

impl File<'_> {
    fn sections(&mut self, table: Table) {
        for (section, value) in table {
            let known = keys().iter().any(|key| section_of(key) == section);
            match value {
                Toml::Table(merchants) if section == "merchants" => self.merchants(merchants),
                Toml::Table(members) if known && !is_alone(&section) => {
                    self.members(&section, &section, members)
                }
                value if is_alone(&section) => self.put(section.clone(), &section, &value),
                _ if known => self.fault(&section, "not a section; allowed: a table"),
                _ => self.fault(&section, &format!("unknown section; allowed: {}", sections())),
            }
        }
    }

    fn merchants(&mut self, merchants: Table) {
        for (name, value) in merchants {
            let path = format!("merchants.{name}");
            match (MerchantName::parse(name.as_str()), value) {
                (Ok(merchant), Toml::Table(members)) => {
                    self.values.merchants.insert(merchant);
                    self.members(&path, "merchants.<name>", members);
                }
                (Ok(_), _) => self.fault(&path, "not a merchant; allowed: a table"),
                (Err(e), _) => self.fault(&path, &format!("not a merchant's name; allowed: {}", e.allowed)),
            }
        }
    }

    /// `path` is the section as written, `template` as the table of keys has it.
    fn members(&mut self, path: &str, template: &str, members: Table) {
        for (member, value) in members {
            let name = format!("{path}.{member}");
            let wanted = format!("{template}.{member}");
            let value = match value {
                Toml::Table(inner) if is_section(&wanted) => {
                    self.members(&name, &wanted, inner);
                    continue;
                }
                // A member with a name of its own.
                Toml::Table(inner) if is_section(&format!("{template}.<name>")) => {
                    match MerchantName::parse(member.as_str()) {
                        Ok(_) => self.members(&name, &format!("{template}.<name>"), inner),
                        Err(e) => self.fault(&name, &format!("not a name; allowed: {}", e.allowed)),
                    }
                    continue;
                }
                value => value,
            };
            if keys().iter().any(|key| key.name == wanted) {
                self.put(name, &wanted, &value);
            } else {
                self.fault(&name, &format!("unknown key; allowed: {}", members_of(template)));
            }
        }
    }

    /// The value of a key that there is.
    fn put(&mut self, name: String, wanted: &str, value: &Toml) {
        let Some(key) = keys().iter().find(|key| key.name == wanted) else { return };
        match texts(key.form, value) {
            Some(texts) => {
                let value = ConfigValue { rank: Rank::File, origin: self.origin.clone(), texts };
                self.values.put(name, value, self.faults);
            }
            None => self.fault(&name, &format!("wrong type; allowed: {}", key.form.allowed())),
        }
    }

    fn fault(&mut self, key: &str, problem: &str) {
        self.faults.add(ConfigFault::new(key, problem).from(self.origin.clone()));
    }
}

fn section_of(key: &ConfigKey) -> &'static str {
    key.name.split('.').next().unwrap_or_default()
}

/// Whether keys stand within it: a section may hold another.
fn is_section(wanted: &str) -> bool {
    keys().iter().any(|key| key.name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.')))
}

/// A key of no section.
fn is_alone(name: &str) -> bool {
    keys().iter().any(|key| key.name == name)
}

fn sections() -> String {
    let in_sections = keys().iter().filter(|key| key.name.contains('.'));
    let mut sections: Vec<_> = in_sections.map(section_of).collect();
    sections.dedup();
    sections.join(", ")
}

fn members_of(template: &str) -> String {
    let members: Vec<_> =
        keys().iter().filter_map(|key| key.name.strip_prefix(template)?.strip_prefix('.')).collect();
    members.join(", ")
}

/// The value as the environment would write it; `None` if it has another form.
fn texts(form: KeyForm, value: &Toml) -> Option<Vec<String>> {
    match (form, value) {
        (KeyForm::Text, Toml::String(text)) => Some(vec![text.clone()]),
        (KeyForm::Integer, Toml::Integer(number)) => Some(vec![number.to_string()]),
        (KeyForm::Number, Toml::Integer(number)) => Some(vec![number.to_string()]),
        (KeyForm::Number, Toml::Float(number)) => Some(vec![number.to_string()]),
        (KeyForm::Flag, Toml::Boolean(flag)) => Some(vec![flag.to_string()]),
        (KeyForm::Texts, Toml::Array(entries)) => list(KeyForm::Text, entries),
        // One is a list too.
        (KeyForm::Texts, Toml::String(text)) => Some(vec![text.clone()]),
        (KeyForm::Integers, Toml::Array(entries)) => list(KeyForm::Integer, entries),
        (
            KeyForm::Text
            | KeyForm::Integer
            | KeyForm::Number
            | KeyForm::Flag
            | KeyForm::Texts
            | KeyForm::Integers,
            Toml::String(_)
            | Toml::Integer(_)
            | Toml::Float(_)
            | Toml::Boolean(_)
            | Toml::Datetime(_)
            | Toml::Array(_)
            | Toml::Table(_),
        ) => None,
    }
}

fn list(form: KeyForm, entries: &[Toml]) -> Option<Vec<String>> {
    entries.iter().map(|entry| texts(form, entry)?.pop()).collect()
}

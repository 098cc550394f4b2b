//! The example of a configuration file: every key with its default and what it means, made from the table of keys.

use super::keys::{ConfigKey, KeyForm, keys};

/// The file, in TOML. What has a default is a comment: the file says what differs from it.
pub fn example() -> String {
    let mut text = "\
# An example of the file that --config or JENIUS_PAY_CONFIG names. The environment wins over it. A line with a # before its key
# shows the default. Put secrets into files that variables name (DOKU_SECRET_KEY_FILE, for example), not in here.
"
    .to_owned();
    let (alone, in_sections): (Vec<&ConfigKey>, Vec<&ConfigKey>) =
        keys().iter().partition(|key| !key.name.contains('.'));
    for key in alone {
        text.push_str(&format!("\n{}", entry(key, key.name)));
    }
    let mut sections: Vec<(&str, Vec<&ConfigKey>)> = Vec::new();
    for key in in_sections {
        let (section, _) = split(key);
        match sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, members)) => members.push(key),
            None => sections.push((section, vec![key])),
        }
    }
    for (section, members) in sections {
        let mark = if section.contains('<') { "# " } else { "" };
        text.push_str(&format!("\n{mark}[{}]\n", section.replace("<name>", "shop")));
        members.into_iter().for_each(|key| text.push_str(&entry(key, split(key).1)));
    }
    text
}

/// The section, and the name within it.
fn split(key: &ConfigKey) -> (&'static str, &'static str) {
    key.name.rsplit_once('.').unwrap_or(("", key.name))
}

fn entry(key: &ConfigKey, name: &str) -> String {
    format!("# {}\n# {name} = {}\n", key.doc, value(key))
}

/// The default, or an example where there is none, as TOML writes it.
fn value(key: &ConfigKey) -> String {
    let quoted = |text: &str| format!("{text:?}");
    let text = key.default.unwrap_or(if key.secret { "…" } else { "" });
    match key.form {
        KeyForm::Text => quoted(text),
        KeyForm::Integer | KeyForm::Number | KeyForm::Flag => text.to_owned(),
        KeyForm::Texts => list(text, quoted),
        KeyForm::Integers => list(text, str::to_owned),
    }
}

fn list(text: &str, written: impl Fn(&str) -> String) -> String {
    let entries: Vec<String> = text.split(',').filter(|entry| !entry.is_empty()).map(written).collect();
    format!("[{}]", entries.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RequiredSections, Source};
    use std::path::PathBuf;

    fn load(text: &str) -> Result<Config, crate::config::ConfigFaults> {
        let text = text.to_owned();
        let none: [(&str, &str); 0] = [];
        let source = Source::new(Some(PathBuf::from("x.toml")), none, move |_| Ok(text.clone()));
        Config::load(&source, RequiredSections::NOTHING)
    }

    #[test]
    fn the_example_can_be_read_and_so_can_every_default_in_it() {
        assert!(load(&example()).is_ok());
        let without_default =
            |line: &str| line.ends_with("= \"\"") || line.ends_with("= ") || line.contains('…');
        let mut text = String::new();
        for line in example().lines().filter(|line| !line.starts_with("# [merchants.")) {
            match line.strip_prefix("# ") {
                Some(section) if section.starts_with('[') => text.push_str(section),
                Some(entry) if entry.contains(" = ") && !without_default(entry) && !entry.contains('`') => {
                    text.push_str(entry)
                }
                Some(_) => continue,
                None => text.push_str(line),
            }
            text.push('\n');
        }
        let read = load(&text);
        assert!(read.is_ok(), "{}\n{text}", read.unwrap_err());
        assert!(text.contains("afterwards_ms = [3600000, 21600000, 86400000]"), "{text}");
    }
}

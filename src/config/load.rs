//! Reads the configuration, one key after another, and keeps every fault instead of stopping at the first. What it is read
//! from is a parameter, so that a test needs no variable and no file of its process.

mod gather;

use super::{
    ConfigFault, ConfigFaults, ConfigSnapshot,
    keys::{FILE_SUFFIX, PREFIX, key, keys, variable_of},
    parse::Parsed,
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// No file of configuration, and none with a secret, is longer.
const FILE_MAX: u64 = 1024 * 1024;
/// Names the file where `--config` does not.
const FILE_VARIABLE: &str = "JENIUS_PAY_CONFIG";

/// Reads a text file.
pub type ReadFile<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;

/// A file, variables, and how to read what they name.
pub struct Source<'a> {
    /// `--config`.
    file: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    read: Box<ReadFile<'a>>,
}

impl Source<'static> {
    /// The environment and the files of this process.
    pub fn from_process(file: Option<PathBuf>) -> Self {
        Self::new(file, std::env::vars_os(), read_bounded)
    }
}

impl<'a> Source<'a> {
    pub fn new<K: Into<OsString>, V: Into<OsString>>(
        file: Option<PathBuf>,
        environment: impl IntoIterator<Item = (K, V)>,
        read: impl Fn(&Path) -> io::Result<String> + 'a,
    ) -> Self {
        let environment = environment.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self { file, environment, read: Box::new(read) }
    }

    /// The file to read, and who named it.
    fn file(&self) -> Option<(&Path, &'static str)> {
        let named = || self.variables().find(|(name, value)| *name == FILE_VARIABLE && !value.is_empty());
        match &self.file {
            Some(path) => Some((path, "--config")),
            None => named().map(|(_, path)| (Path::new(path), FILE_VARIABLE)),
        }
    }

    /// Variables with a name that is text; no other can be ours.
    fn variables(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        self.environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value.as_os_str())))
    }

    /// The files that variables of ours name, which hold secrets.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let is_ours = |name: &str| {
            let stem = name.strip_suffix(FILE_SUFFIX);
            stem.is_some_and(|stem| {
                stem.starts_with(PREFIX) || keys().iter().any(|key| key.secret && key.short == Some(stem))
            })
        };
        self.variables().filter(|(name, _)| is_ours(name)).map(|(_, path)| PathBuf::from(path)).collect()
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= FILE_MAX) {
        Ok(text)
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {FILE_MAX} bytes")))
    }
}

/// The fault of a required key that is not there.
pub fn missing(name: &str) -> ConfigFault {
    let key = key(name);
    let file = key.filter(|key| key.secret).map_or("", |_| ", or in a file that …_FILE names");
    let short = key.and_then(|key| key.short).map(|short| format!(" or {short}")).unwrap_or_default();
    let variable = variable_of(name);
    ConfigFault::new(name, format!("missing; set it in the file{short} or {variable}{file}"))
}

/// What is given, and the faults found so far.
pub struct Reader<'s> {
    source: &'s Source<'s>,
    pub given: ConfigSnapshot,
    faults: ConfigFaults,
}

impl<'s> Reader<'s> {
    pub fn new(source: &'s Source<'_>) -> Self {
        let mut reader = Self { source, given: ConfigSnapshot::default(), faults: ConfigFaults::default() };
        reader.gather_file();
        reader.gather_environment();
        reader
    }

    /// What was read, unless anything is wrong.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, ConfigFaults> {
        match read {
            Some(read) if self.faults.0.is_empty() => Ok(read),
            Some(_) | None => Err(self.faults),
        }
    }

    pub fn is_given(&self, name: &str) -> bool {
        self.given.get(name).is_some()
    }

    /// What is there and cannot be used has its own fault: it is not missing.
    pub fn missing(&mut self, name: &str) {
        if !self.is_at_fault(&[name]) {
            self.faults.0.push(missing(name));
        }
    }

    pub fn fault(&mut self, name: &str, problem: impl Into<String>) {
        let origin = self.given.get(name).map(|value| value.origin.clone());
        self.faults.0.push(ConfigFault { origin, ..ConfigFault::new(name, problem) });
    }

    /// A fault where nothing is given.
    pub fn need(&mut self, name: &str, by: &str) {
        let nothing = self.given.get(name).is_none_or(|value| value.texts.is_empty());
        if nothing && !self.is_at_fault(&[name]) {
            self.fault(name, format!("missing; {by} needs it"));
        }
    }

    /// A fault of the first key that only follows from the values together; each is good by itself, or has its own fault.
    pub fn clash<const N: usize>(&mut self, names: [&str; N], problem: &str) {
        if !self.is_at_fault(&names) {
            self.fault(names[0], problem);
        }
    }

    fn is_at_fault(&self, names: &[&str]) -> bool {
        self.faults.0.iter().any(|fault| names.contains(&fault.key.as_str()))
    }

    /// The value, or its default; `None` if there is neither. The default stands in for a bad value too, which is a fault: a
    /// section is read to its end.
    pub fn get<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let given = self.given.get(name);
        let parsed = given.map(|value| parse(value.texts.first().map_or("", SecretString::expose_secret)));
        let good = parsed.and_then(|parsed| self.good(name, parsed));
        good.or_else(|| parse(key(name)?.default?).ok())
    }

    /// The same for a list; without a default it is empty.
    pub fn list<T>(&mut self, name: &str, max: usize, parse: impl Fn(&str) -> Parsed<T>) -> Vec<T> {
        let parsed = self.given.get(name).map(|value| match value.texts.len() {
            length if length > max => Err(format!("too many entries; allowed: at most {max}")),
            _ => value.texts.iter().map(|text| parse(text.expose_secret())).collect(),
        });
        let good = parsed.and_then(|parsed| self.good(name, parsed));
        good.unwrap_or_else(|| {
            let default = key(name).and_then(|key| key.default).unwrap_or_default();
            default.split(',').filter(|text| !text.is_empty()).filter_map(|text| parse(text).ok()).collect()
        })
    }

    /// A secret that is a fault where it is needed and missing.
    pub fn secret(
        &mut self,
        name: &str,
        needed: bool,
        parse: impl Fn(&str) -> Parsed<String>,
    ) -> Option<SecretString> {
        if needed && !self.is_given(name) {
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
        match self.given.get(name).map(|value| value.texts.is_empty()) {
            None if needed => self.missing(name),
            Some(true) => self.fault(name, parse("").err().unwrap_or_default()),
            None | Some(false) => {}
        }
        let texts = self.list(name, max, parse);
        (!texts.is_empty()).then(|| texts.into_iter().map(SecretString::from).collect())
    }

    /// The text of the file that a key names, if it names one.
    pub fn file(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<String>) -> Option<String> {
        let path = self.given.get(name)?.texts.first()?.expose_secret().to_owned();
        let parsed = self.read_file(&path, parse);
        self.good(name, parsed)
    }

    /// What the files hold that a key names; none is no fault.
    pub fn files<T>(&mut self, name: &str, max: usize, parse: impl Fn(&str) -> Parsed<T>) -> Vec<T> {
        let paths = self.list(name, max, |path| Ok(path.to_owned()));
        let parsed = paths.iter().map(|path| self.read_file(path, &parse)).collect();
        self.good(name, parsed).unwrap_or_default()
    }

    fn read_file<T>(&self, path: &str, parse: impl Fn(&str) -> Parsed<T>) -> Parsed<T> {
        let text = (self.source.read)(Path::new(path));
        parse(&text.map_err(|e| format!("{} cannot be read: {e}", path.escape_debug()))?)
    }

    fn good<T>(&mut self, name: &str, parsed: Parsed<T>) -> Option<T> {
        parsed.map_err(|problem| self.fault(name, problem)).ok()
    }
}

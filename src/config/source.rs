//! Where configuration comes from. What is read is a parameter, so that a test needs no variable and no
//! file of its process.

use super::keys::{FILE_SUFFIX, PREFIX, keys};
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
    pub(super) fn file(&self) -> Option<(&Path, &'static str)> {
        let named = || self.variables().find(|(name, value)| *name == FILE_VARIABLE && !value.is_empty());
        match &self.file {
            Some(path) => Some((path, "--config")),
            None => named().map(|(_, path)| (Path::new(path), FILE_VARIABLE)),
        }
    }

    /// Variables with a name that is text; no other can be ours.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &OsStr)> {
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

    pub(super) fn read(&self, path: &Path) -> io::Result<String> {
        (self.read)(path)
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

//! The directory that settlement files are put into: what follow-up does there is done once, with a file of doctor's own.

use super::check::{Check, WATCH_DIR};
use crate::config::Config;
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

/// Where a file goes on its way; follow-up makes them.
const PLACES: [&str; 3] = ["taken", "done", "refused"];
/// Hidden, so that follow-up leaves it alone.
const PROBE: &str = ".jenius-pay-doctor";

/// None where no directory is watched. Each merchant's folder is one of its own.
pub fn checks(config: &Config) -> Vec<Check> {
    let Some(directory) = &config.settlement.watch_dir else { return Vec::new() };
    let merchants = config.merchants.keys().map(|name| directory.join(name.as_str()));
    let folders = merchants.filter(|folder| folder.is_dir());
    let faults: Vec<Check> =
        std::iter::once(directory.clone()).chain(folders).filter_map(|folder| fault(&folder)).collect();
    if faults.is_empty() { vec![Check::ok(WATCH_DIR, directory.display().to_string())] } else { faults }
}

fn fault(folder: &Path) -> Option<Check> {
    let fail = |detail: &str, hint: &str| {
        Some(Check::fail(WATCH_DIR, format!("{} {detail}", folder.display()), hint.to_owned()))
    };
    let error = tried(folder).err()?;
    match error.kind() {
        ErrorKind::NotFound => {
            fail("does not exist", "make it, for the user that runs follow-up, or unset settlement.watch_dir")
        }
        ErrorKind::NotADirectory => fail("is no directory", "name a directory in settlement.watch_dir"),
        ErrorKind::PermissionDenied => fail(
            "cannot be read and written by this user",
            "give it to the user that runs follow-up, and run doctor as that user",
        ),
        ErrorKind::CrossesDevices => fail(
            "has a taken/, done/ or refused/ on another filesystem",
            "a file is claimed by renaming it: keep all of the directory on one filesystem",
        ),
        _ => {
            fail(&format!("cannot be used: {error}"), "follow-up takes no file from it before that is mended")
        }
    }
}

/// Reads the folder, and has a probe go the way of a file.
fn tried(folder: &Path) -> io::Result<()> {
    fs::read_dir(folder)?.next().transpose()?;
    let probe = folder.join(format!("{PROBE}-{}", std::process::id()));
    for place in PLACES.map(|name| folder.join(name)) {
        fs::write(&probe, b"")?;
        if !place.exists() {
            fs::remove_file(&probe)?;
            continue;
        }
        let there = place.join(probe.file_name().unwrap_or_default());
        match fs::rename(&probe, &there) {
            Ok(()) => fs::remove_file(there)?,
            Err(error) => {
                // It stays nowhere, whatever is wrong.
                let _ = fs::remove_file(&probe);
                return Err(error);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("jenius-doctor-{}", uuid::Uuid::new_v4()));
            fs::create_dir_all(path.join("taken")).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_directory_is_tried_and_left_as_it_was() {
        let scratch = Scratch::new();
        assert_eq!(fault(&scratch.0), None);
        let left: Vec<_> =
            fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["taken"]);
        assert!(fs::read_dir(scratch.0.join("taken")).unwrap().next().is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let scratch = Scratch::new();
        let said = |folder: &Path| fault(folder).unwrap().detail;
        assert!(said(&scratch.0.join("none")).ends_with("does not exist"));
        fs::write(scratch.0.join("file"), "").unwrap();
        assert!(said(&scratch.0.join("file")).ends_with("is no directory"));
        // Memory has a filesystem of its own.
        let elsewhere = Path::new("/dev/shm").join(scratch.0.file_name().unwrap());
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, scratch.0.join("done")).unwrap();
        let found = said(&scratch.0);
        fs::remove_dir_all(elsewhere).unwrap();
        assert!(found.contains("another filesystem"), "{found}");
        let probes = fs::read_dir(&scratch.0).unwrap().filter_map(Result::ok);
        assert!(!probes.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with(PROBE)));
    }
}

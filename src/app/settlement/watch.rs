//! The directory that files are put into. A file that has not changed for a minute is claimed by renaming it into `taken/`,
//! imported, and put into `done/`, or into `refused/` with the reason beside it. A folder with a merchant's name holds that
//! merchant's files.
//!
//! Never: a link, a folder, or anything that is no regular file; a file that is still being written; one file over another.

use super::{
    Import,
    import::{Consent, ImportError, ImportOutcome, ImportRequest},
    lines::Place,
};
use crate::domain::ids::MerchantName;
use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};
use tokio::time::sleep;

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two tries of an import that is broken off again and again.
const AGAIN_MAX: Duration = Duration::from_secs(600);
/// By our own observation: a copy may keep the time of its original.
const UNCHANGED_FOR: Duration = Duration::from_secs(60);
/// Files that are looked at at a time.
const FILES_MAX: usize = 1_000;
const TAKEN: &str = "taken";
const DONE: &str = "done";
const REFUSED: &str = "refused";

/// Imports what is put there. Runs for ever.
pub async fn watch(import: &Import, directory: &Path) {
    let mut known = WatchMemory::default();
    let mut reported = FileFaults::new();
    loop {
        let faults = look(import, directory, &mut known, UNCHANGED_FOR).await;
        for (folder, error) in faults.iter().filter(|(folder, error)| reported.get(*folder) != Some(*error)) {
            tracing::warn!(error, directory = %folder.display(), "settlement.watch_dir cannot be used");
        }
        for folder in reported.keys().filter(|folder| !faults.contains_key(*folder)) {
            tracing::info!(directory = %folder.display(), "settlement.watch_dir is watched again");
        }
        reported = faults;
        sleep(LOOK_EVERY).await;
    }
}

/// Folders that cannot be used, each with the reason.
type FileFaults = BTreeMap<PathBuf, String>;

/// What a file was, and since when it is that.
type Seen = HashMap<PathBuf, (u64, Option<SystemTime>, Instant)>;

/// What is known from the looks before.
#[derive(Default)]
pub(super) struct WatchMemory {
    seen: Seen,
    /// Imports that were broken off: how often, and when the next may begin.
    broken_off: HashMap<PathBuf, (u32, Instant)>,
}

impl WatchMemory {
    fn may_try(&self, path: &Path) -> bool {
        self.broken_off.get(path).is_none_or(|(_, next)| *next <= Instant::now())
    }

    /// What fails every time, as a database that is away, is not tried with every look.
    fn failed(&mut self, path: &Path) {
        let (times, next) = self.broken_off.entry(path.to_path_buf()).or_insert((0, Instant::now()));
        *times = times.saturating_add(1);
        *next = Instant::now() + AGAIN_MAX.min(LOOK_EVERY.saturating_mul(1 << (*times).min(10)));
    }
}

/// One look: claims what is whole, and imports what is claimed, by whomever: an import that a crash broke off goes on. A
/// folder that cannot be used holds no other up.
pub(super) async fn look(
    import: &Import,
    directory: &Path,
    known: &mut WatchMemory,
    patience: Duration,
) -> FileFaults {
    let mut folders = vec![(directory.to_path_buf(), None)];
    let of_merchants =
        import.merchants.iter().map(|name| (directory.join(name.as_str()), Some(name.clone())));
    folders.extend(
        of_merchants.filter(|(folder, _)| folder.symlink_metadata().is_ok_and(|found| found.is_dir())),
    );
    let before = std::mem::take(&mut known.seen);
    let mut faults = FileFaults::new();
    for (folder, merchant) in folders {
        let claimed = claim_whole(&folder, &before, known, patience);
        let outcome = bring_all_in(import, &folder, merchant, known).await;
        if let Err(error) = claimed.and(outcome) {
            faults.insert(folder, error.to_string());
        }
    }
    faults
}

/// Claims what has not changed for long enough. A file that cannot be claimed holds no other up.
fn claim_whole(folder: &Path, before: &Seen, known: &mut WatchMemory, patience: Duration) -> io::Result<()> {
    for name in [TAKEN, DONE, REFUSED] {
        fs::create_dir_all(folder.join(name))?;
    }
    let mut claimed = Ok(());
    for (path, found) in regular_files(folder)? {
        let now = (found.len(), found.modified().ok());
        let since = before.get(&path).filter(|(length, modified, _)| (*length, *modified) == now);
        let since = since.map_or_else(Instant::now, |(_, _, since)| *since);
        if since.elapsed() >= patience {
            claimed = claimed.and(claim(folder, &path));
        }
        // One that is claimed is not seen again, and one that could not be needs no new minute.
        known.seen.insert(path, (now.0, now.1, since));
    }
    claimed
}

async fn bring_all_in(
    import: &Import,
    folder: &Path,
    merchant: Option<MerchantName>,
    known: &mut WatchMemory,
) -> io::Result<()> {
    let mut outcome = Ok(());
    for (path, _) in regular_files(&folder.join(TAKEN))? {
        if known.may_try(&path) {
            match bring_in(import, folder, &path, merchant.clone()).await {
                Ok(true) => {
                    known.broken_off.remove(&path);
                }
                Ok(false) => known.failed(&path),
                Err(error) => {
                    known.failed(&path);
                    outcome = outcome.and(Err(error));
                }
            }
        }
    }
    outcome
}

/// Files of a folder, hidden ones and links left out, in the order of their names.
fn regular_files(folder: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(FILES_MAX) {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        // A file may go between two looks at it.
        if let Some(found) = path.symlink_metadata().ok().filter(|found| found.is_file() && !is_hidden) {
            files.push((path, found));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

/// Of two processes that see it one has it. One of the same name that is still being imported goes first.
fn claim(folder: &Path, path: &Path) -> io::Result<()> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let taken = folder.join(TAKEN).join(name);
    if taken.symlink_metadata().is_ok() {
        return Ok(());
    }
    match fs::rename(path, taken) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

/// `false`: it was broken off, and stays where it is.
async fn bring_in(
    import: &Import,
    folder: &Path,
    path: &Path,
    merchant: Option<MerchantName>,
) -> io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let put = match imported(import, path, &name, merchant).await {
        // Another import of the merchant runs: that is soon over.
        Ok(ImportOutcome::Busy) => return Ok(true),
        Ok(ImportOutcome::Done { counts, rows, .. }) => {
            tracing::info!(
                file = name,
                rows,
                fits = counts.fits,
                breaks = counts.opened,
                "a settlement file is imported"
            );
            put(path, &folder.join(DONE), None)
        }
        Ok(ImportOutcome::Known(_)) => put(path, &folder.join(DONE), None),
        Ok(ImportOutcome::Held { rows, without_order, unreadable }) => {
            let why = format!(
                "{without_order} of {rows} rows have no order, and {unreadable} more cannot be read: nothing is matched. If \
                 that is right, run `jenius-pay settlement import --anyway` with this file"
            );
            refuse(path, folder, &name, &why)
        }
        Err(ImportError::Refused(why)) => refuse(path, folder, &name, &why),
        Err(error @ (ImportError::BrokenOff(_) | ImportError::Store(_))) => {
            tracing::warn!(file = name, %error, "a settlement file stays in taken/, and is tried again");
            return Ok(false);
        }
    };
    put.map(|()| true)
}

async fn imported(
    import: &Import,
    path: &Path,
    name: &str,
    merchant: Option<MerchantName>,
) -> Result<ImportOutcome, ImportError> {
    let profile = import.profile_of(None, merchant.as_ref()).cloned();
    let profile = profile.ok_or_else(|| ImportError::Refused("no profile reads it".to_owned()))?;
    let merchant = import.merchant_of(merchant, &profile).ok_or_else(|| {
        let why = "there are several merchants: put it into a folder with the merchant's name";
        ImportError::Refused(why.to_owned())
    })?;
    let request =
        ImportRequest { name: name.to_owned(), merchant, profile: profile.name, consent: Consent::Usual };
    let file =
        tokio::fs::File::open(path).await.map_err(|error| ImportError::BrokenOff(error.to_string()))?;
    import.run(&request, file, &Place::File(path.to_path_buf())).await
}

fn refuse(path: &Path, folder: &Path, name: &str, why: &str) -> io::Result<()> {
    tracing::warn!(file = name, why, "a settlement file is refused");
    put(path, &folder.join(REFUSED), Some(why))
}

/// Under its own name, or with a number where that is taken.
fn put(path: &Path, folder: &Path, reason: Option<&str>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut to = folder.join(&name);
    let mut number = 1;
    while to.symlink_metadata().is_ok() {
        to = folder.join(format!("{name}.{number}"));
        number += 1;
    }
    if let Some(reason) = reason {
        let beside =
            to.with_file_name(format!("{}.reason.txt", to.file_name().unwrap_or_default().to_string_lossy()));
        fs::write(beside, format!("{reason}\n"))?;
    }
    fs::rename(path, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::settlement::profile::Profile;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("jenius-settlement-{}", uuid::Uuid::new_v4()));
        for name in [TAKEN, DONE, REFUSED] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        folder
    }

    #[test]
    fn links_folders_and_hidden_files_are_left_alone() {
        let folder = folder();
        fs::write(folder.join("b.csv"), "x").unwrap();
        fs::write(folder.join("a.csv"), "x").unwrap();
        fs::write(folder.join(".part"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.join("link.csv")).unwrap();
        let names: Vec<_> = regular_files(&folder).unwrap().into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, [folder.join("a.csv"), folder.join("b.csv")]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn no_file_is_put_over_another_and_a_reason_stands_beside() {
        let folder = folder();
        for expected in ["a.csv", "a.csv.1", "a.csv.2"] {
            let path = folder.join("a.csv");
            fs::write(&path, expected).unwrap();
            claim(&folder, &path).unwrap();
            // A second one of the same name waits.
            fs::write(&path, "later").unwrap();
            claim(&folder, &path).unwrap();
            assert!(path.exists());
            put(&folder.join(TAKEN).join("a.csv"), &folder.join(REFUSED), Some("why")).unwrap();
            assert_eq!(fs::read_to_string(folder.join(REFUSED).join(expected)).unwrap(), expected);
            assert_eq!(
                fs::read_to_string(folder.join(REFUSED).join(format!("{expected}.reason.txt"))).unwrap(),
                "why\n"
            );
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_only_merchants_own_profile_is_used_though_no_merchant_is_named() {
        let only = MerchantName::parse("toko").unwrap();
        let mut import = away(std::slice::from_ref(&only));
        let own = Profile { name: "own".to_owned(), merchant: Some(only.clone()), ..Profile::doku() };
        import.config.profiles.insert("own".to_owned(), own);
        let profile = import.profile_of(None, None).unwrap();
        assert_eq!((profile.name.as_str(), import.merchant_of(None, profile)), ("own", Some(only)));
        assert_eq!(import.profile_of(Some("doku"), None).unwrap().name, "doku");
        import.merchants.push(MerchantName::parse("other").unwrap());
        assert_eq!(import.profile_of(None, None).unwrap().name, "doku", "whose file it is is not known");
    }

    /// A folder belongs to whoever puts files into it: what is wrong with one is its own.
    #[tokio::test]
    async fn a_folder_that_cannot_be_used_holds_no_other_up() {
        let directory = std::env::temp_dir().join(format!("jenius-settlement-{}", uuid::Uuid::new_v4()));
        let merchants = ["bad", "good"].map(|name| MerchantName::parse(name).unwrap());
        for name in ["bad", "good"] {
            fs::create_dir_all(directory.join(name)).unwrap();
            fs::write(directory.join(name).join("a.csv"), "x").unwrap();
        }
        // A file in the place of its folder.
        fs::write(directory.join("bad").join(TAKEN), "x").unwrap();
        let mut known = WatchMemory::default();
        let faults = look(&away(&merchants), &directory, &mut known, Duration::ZERO).await;
        assert_eq!(faults.keys().collect::<Vec<_>>(), [&directory.join("bad")]);
        let taken = directory.join("good").join(TAKEN).join("a.csv");
        assert!(taken.exists(), "it is claimed, and stays until the database is there");
        assert!(!known.may_try(&taken), "not with every look");
        fs::remove_dir_all(directory).unwrap();
    }

    /// Nothing listens there.
    fn away(merchants: &[MerchantName]) -> Import {
        let nowhere = "postgres://nobody@127.0.0.1:1/none".parse().unwrap();
        let source = crate::config::Source::from_process(None);
        let nothing = crate::config::RequiredSections::NOTHING;
        let config = crate::config::Config::load(&source, nothing).unwrap();
        let pool = crate::postgres::pool(nowhere, 1);
        let store = crate::postgres::PostgresStore::new(pool, config.schedule());
        Import { settlement: store.settlement(), config: config.settlement, merchants: merchants.to_vec() }
    }
}

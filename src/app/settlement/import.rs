//! The import of one file, step by step. A crash between two steps loses nothing: the same bytes, imported again, go on
//! where the first import ended, and change nothing where it had ended well.

use super::{Import, judging, lines::Place};
use crate::{
    domain::{
        ids::MerchantName,
        settlement::{is_doubtful, profile::Profile},
    },
    flow::ports::StoreError,
    postgres::{self, By, FileKey, FileState, GroupCounts, KeptFile, MerchantLock, ReceivedBytes},
    sheet::{Probe, Shape, SheetError},
};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::sleep,
};

const PIECE_BYTES: usize = 1024 * 1024;
const LOCK_TRIES: u32 = 10;
const LOCK_AGAIN: Duration = Duration::from_millis(300);
const EMPTIED: &str = "`prune` took its bytes away: bring the file in again";
const PIECES_GONE: &str = "another database server took over meanwhile, and lacks a part of the file";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// As the file is called, for people.
    pub name: String,
    pub merchant: MerchantName,
    pub profile: String,
    pub consent: Consent,
}

/// Whether a file whose rows are kept is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Unless more than one in ten rows has no order, or cannot be read.
    Usual,
    /// A person says so, whatever its rows are.
    Anyway,
    /// Not before a person has seen what its rows come to.
    AfterALook,
}

/// How an import begins.
pub enum Begun {
    /// Its bytes are kept; `finish` does the rest.
    Kept(KeptImport),
    Ended(ImportOutcome),
}

/// A file whose bytes are kept, and its merchant's lock.
pub struct KeptImport {
    lock: MerchantLock,
    merchant: MerchantName,
    kept: KeptFile,
}

impl KeptImport {
    pub fn file(&self) -> FileKey {
        self.kept.key
    }
}

/// How an import ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportOutcome {
    Done {
        file: FileKey,
        counts: GroupCounts,
        rows: i64,
    },
    /// The same bytes were imported before.
    Known(FileKey),
    /// Too many rows have no order, or cannot be read: nothing is matched until a person says so.
    Held {
        rows: i64,
        without_order: i64,
        unreadable: i64,
    },
    /// Another import of this merchant runs.
    Busy,
}

/// Why an import did not end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is none: bringing it in again ends the same.
    #[error("the file is refused: {0}")]
    Refused(String),
    /// What can be read later was not: bringing it in again goes on.
    #[error("the import was broken off, and goes on when the same file is imported again: {0}")]
    BrokenOff(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SheetError> for ImportError {
    fn from(error: SheetError) -> Self {
        match error {
            SheetError::Refused(why) => Self::Refused(why),
            SheetError::Source(why) => Self::BrokenOff(why.to_string()),
            SheetError::Stopped => Self::BrokenOff("its reader stopped".to_owned()),
        }
    }
}

impl Import {
    /// By which profile a file is read: the one that is named, else the merchant's own. `None`: there is no such profile.
    pub fn profile_of(&self, name: Option<&str>, merchant: Option<&MerchantName>) -> Option<&Profile> {
        self.config.profile(name, merchant.or_else(|| self.only_merchant()))
    }

    /// Whose file it is: the one that is named, else the profile's, else the only one.
    pub fn merchant_of(&self, named: Option<MerchantName>, profile: &Profile) -> Option<MerchantName> {
        named.or_else(|| profile.merchant.clone()).or_else(|| self.only_merchant().cloned())
    }

    fn only_merchant(&self) -> Option<&MerchantName> {
        if let [only] = self.merchants.as_slice() { Some(only) } else { None }
    }

    /// Brings a file in.
    ///
    /// # Errors
    /// The file is refused, or the database is away.
    pub async fn run(
        &self,
        request: &ImportRequest,
        bytes: impl AsyncRead + Unpin,
        place: &Place,
    ) -> Result<ImportOutcome, ImportError> {
        match self.begin(request, bytes).await? {
            Begun::Kept(begun) => self.finish(begun, request.consent, place).await,
            Begun::Ended(outcome) => Ok(outcome),
        }
    }

    /// Keeps the bytes as they come. A crash leaves pieces that the next import takes away.
    ///
    /// # Errors
    /// The file is refused, or the database is away.
    pub async fn begin(
        &self,
        request: &ImportRequest,
        bytes: impl AsyncRead + Unpin,
    ) -> Result<Begun, ImportError> {
        let Some(lock) = self.lock(&request.merchant).await? else {
            return Ok(Begun::Ended(ImportOutcome::Busy));
        };
        let received = self.receive(request, bytes).await;
        self.under_lock(lock, request.merchant.clone(), received)
    }

    /// Goes on with a file whose bytes are kept.
    ///
    /// # Errors
    /// The database is away.
    pub async fn resume(&self, merchant: MerchantName, file: FileKey) -> Result<Begun, ImportError> {
        let Some(lock) = self.lock(&merchant).await? else {
            return Ok(Begun::Ended(ImportOutcome::Busy));
        };
        let kept = self.settlement.file(file).await.map_err(ImportError::from).and_then(|kept| {
            if kept.is_emptied && is_unread(&kept) {
                Err(ImportError::Refused(EMPTIED.to_owned()))
            } else {
                Ok(kept)
            }
        });
        self.under_lock(lock, merchant, kept)
    }

    /// Follow-up has the lock for a moment when it judges something again: that is waited for.
    async fn lock(&self, merchant: &MerchantName) -> Result<Option<MerchantLock>, StoreError> {
        for _ in 1..LOCK_TRIES {
            if let Some(lock) = self.settlement.lock(merchant).await? {
                return Ok(Some(lock));
            }
            sleep(LOCK_AGAIN).await;
        }
        self.settlement.lock(merchant).await
    }

    fn under_lock(
        &self,
        lock: MerchantLock,
        merchant: MerchantName,
        kept: Result<KeptFile, ImportError>,
    ) -> Result<Begun, ImportError> {
        match kept {
            Ok(kept) if kept.state != FileState::Done => Ok(Begun::Kept(KeptImport { lock, merchant, kept })),
            Ok(known) => {
                lock.end();
                Ok(Begun::Ended(ImportOutcome::Known(known.key)))
            }
            Err(error) => {
                lock.end();
                Err(error)
            }
        }
    }

    /// Reads a file whose bytes are kept, and matches it.
    ///
    /// # Errors
    /// The file is refused, or the database is away.
    pub async fn finish(
        &self,
        begun: KeptImport,
        consent: Consent,
        place: &Place,
    ) -> Result<ImportOutcome, ImportError> {
        let KeptImport { mut lock, merchant, kept } = begun;
        let outcome = self.read_and_match(&mut lock, &merchant, &kept, consent, place).await;
        lock.end();
        outcome
    }

    async fn read_and_match(
        &self,
        lock: &mut MerchantLock,
        merchant: &MerchantName,
        kept: &KeptFile,
        consent: Consent,
        place: &Place,
    ) -> Result<ImportOutcome, ImportError> {
        // An import that goes on reads as it began.
        let profile = self.config.profile(Some(&kept.profile), None).ok_or_else(|| {
            let name = &kept.profile;
            ImportError::BrokenOff(format!(
                "it began with the profile {name}, which is not configured any more"
            ))
        })?;
        // 1 Keep the rows, group by group; they count for nothing yet.
        if matches!(kept.state, FileState::Reading | FileState::Held) {
            let end = self.keep_rows(lock, merchant, kept, place, profile).await?;
            let now = self.settlement.file(kept.key).await?;
            if is_held(consent, &now) {
                self.settlement.hold_file(kept.key).await?;
                let KeptFile { own_rows: rows, without_order, unreadable, .. } = now;
                return Ok(ImportOutcome::Held { rows, without_order, unreadable });
            }
            // 2 From here on all of them count.
            self.settlement.begin_matching(merchant, kept.key, end).await?;
        }
        // 3 Judge their invoices, group by group, then what the file is silent about.
        let now = self.settlement.file(kept.key).await?;
        let counts = self.judge(lock, merchant, &now, profile).await?;
        // 4 The file is done.
        self.settlement.end_file(kept.key).await?;
        Ok(ImportOutcome::Done { file: kept.key, counts, rows: now.own_rows })
    }

    async fn receive(
        &self,
        request: &ImportRequest,
        mut bytes: impl AsyncRead + Unpin,
    ) -> Result<KeptFile, ImportError> {
        let file = self.settlement.begin_file(&request.merchant, &request.name, &request.profile).await?;
        let received = self.keep_bytes(request, file, &mut bytes).await;
        if matches!(received, Err(ImportError::Refused(_))) {
            self.settlement.refuse_file(file).await?;
        }
        received
    }

    async fn keep_bytes(
        &self,
        request: &ImportRequest,
        file: FileKey,
        bytes: &mut (impl AsyncRead + Unpin),
    ) -> Result<KeptFile, ImportError> {
        let (mut probe, mut hash, mut number) = (Probe::default(), Sha256::new(), 0);
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        loop {
            piece.clear();
            let limit = PIECE_BYTES as u64;
            let mut limited = (&mut *bytes).take(limit);
            limited.read_to_end(&mut piece).await.map_err(SheetError::Source)?;
            if piece.is_empty() {
                break;
            }
            probe.take(&piece)?;
            hash.update(&piece);
            if !self.settlement.keep_piece(file, number, &piece).await? {
                return Err(ImportError::BrokenOff(PIECES_GONE.to_owned()));
            }
            number += 1;
        }
        let Shape { form, encoding } = probe.shape()?;
        let received = ReceivedBytes {
            sha256: hash.finalize().into(),
            pieces: number,
            count: i64::try_from(probe.bytes()).unwrap_or(i64::MAX),
            form: form.name(),
            encoding: encoding.name(),
        };
        if let Some(known) = self.settlement.same_file(file, received.sha256).await?
            && begins_anew(&known, request)
        {
            self.settlement.refuse_file(known.key).await?;
        }
        let kept = self.settlement.received(file, received).await?;
        kept.ok_or_else(|| ImportError::BrokenOff(PIECES_GONE.to_owned()))
    }

    /// By what a merchant's invoices are judged when no file is at hand.
    pub fn judging(&self, profile: &str) -> Option<postgres::Judging> {
        judging(&self.config, profile, By::Check)
    }
}

/// Its rows are still to be read: none of them counts.
fn is_unread(kept: &KeptFile) -> bool {
    matches!(kept.state, FileState::Reading | FileState::Held)
}

/// Whether a file that came before, and of which nothing counts, is read again from its beginning: by the profile that is
/// right, by one that was mended, or from the bytes that `prune` took away. A person who says `--anyway` has seen its rows.
fn begins_anew(known: &KeptFile, request: &ImportRequest) -> bool {
    let was_seen = known.state == FileState::Held && request.consent != Consent::Anyway;
    is_unread(known) && (known.profile != request.profile || known.is_emptied || was_seen)
}

fn is_held(consent: Consent, kept: &KeptFile) -> bool {
    match consent {
        Consent::Usual => is_doubtful(kept.own_rows, kept.without_order, kept.unreadable),
        Consent::Anyway => false,
        Consent::AfterALook => true,
    }
}

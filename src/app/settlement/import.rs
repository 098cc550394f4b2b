//! The import of one file, step by step. A crash between two steps loses nothing: the same bytes, imported again, go on
//! where the first import ended, and change nothing where it had ended well.

use super::{judging, lines, lines::Place};
use crate::{
    config,
    domain::{ids::MerchantName, settlement::profile::Profile},
    flow::ports::StoreError,
    postgres::{self, By, FileEnd, FileKey, FileState, GroupCounts, Judging, KeptFile, SettlementStore},
    sheet::{Encoding, FileForm, Probe, Shape, SheetError},
};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use tokio::io::{AsyncRead, AsyncReadExt};

const PIECE_BYTES: usize = 1024 * 1024;
/// One row in so many may be without an order before a person is asked.
const WITHOUT_ORDER_SHARE: i64 = 10;

/// What an import needs besides its file.
pub struct Import {
    pub settlement: SettlementStore,
    pub config: config::SettlementConfig,
    /// Every merchant that is configured here.
    pub merchants: Vec<MerchantName>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// As the file is called, for people.
    pub name: String,
    pub merchant: MerchantName,
    pub profile: String,
    /// Match though more than one in ten rows has no order.
    pub anyway: bool,
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
    Known,
    /// Too many rows have no order: nothing is matched until a person says so.
    Held {
        rows: i64,
        without_order: i64,
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
    /// Whose file it is: the one that is named, else the profile's, else the only one.
    pub fn merchant_of(&self, named: Option<MerchantName>, profile: &Profile) -> Option<MerchantName> {
        let only = || if let [only] = self.merchants.as_slice() { Some(only.clone()) } else { None };
        named.or_else(|| profile.merchant.clone()).or_else(only)
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
        let Some(lock) = self.settlement.lock(&request.merchant).await? else {
            return Ok(ImportOutcome::Busy);
        };
        let outcome = self.under_lock(request, bytes, place).await;
        lock.end();
        outcome
    }

    async fn under_lock(
        &self,
        request: &ImportRequest,
        bytes: impl AsyncRead + Unpin,
        place: &Place,
    ) -> Result<ImportOutcome, ImportError> {
        // 1 Keep the bytes as they come. A crash leaves pieces that the next import takes away.
        let kept = self.receive(request, bytes).await?;
        if kept.state == FileState::Done {
            return Ok(ImportOutcome::Known);
        }
        // An import that goes on reads as it began.
        let profile = self.config.profile(Some(&kept.profile), None).ok_or_else(|| {
            let name = &kept.profile;
            ImportError::BrokenOff(format!(
                "it began with the profile {name}, which is not configured any more"
            ))
        })?;
        let shape = shape_of(&kept)?;
        // 2 Keep the rows, group by group; they count for nothing yet.
        if matches!(kept.state, FileState::Reading | FileState::Held) {
            let end = self.keep_rows(request, &kept, place, shape, profile).await?;
            let now = self.settlement.file(kept.key).await?;
            if !request.anyway && now.without_order * WITHOUT_ORDER_SHARE > now.own_rows {
                self.settlement.hold_file(kept.key).await?;
                return Ok(ImportOutcome::Held { rows: now.own_rows, without_order: now.without_order });
            }
            // 3 From here on all of them count.
            self.settlement.begin_matching(&request.merchant, kept.key, end).await?;
        }
        // 4 Judge their invoices, group by group, then what the file is silent about.
        let now = self.settlement.file(kept.key).await?;
        let counts = self.judge(request, &now, place, shape, profile).await?;
        // 5 The file is done.
        self.settlement.end_file(kept.key).await?;
        Ok(ImportOutcome::Done { file: kept.key, counts, rows: now.own_rows })
    }

    async fn receive(
        &self,
        request: &ImportRequest,
        mut bytes: impl AsyncRead + Unpin,
    ) -> Result<KeptFile, ImportError> {
        let file = self.settlement.begin_file(&request.merchant, &request.name, &request.profile).await?;
        let received = self.keep_bytes(file, &mut bytes).await;
        if matches!(received, Err(ImportError::Refused(_))) {
            self.settlement.refuse_file(file).await?;
        }
        received
    }

    async fn keep_bytes(
        &self,
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
            self.settlement.keep_piece(file, number, &piece).await?;
            number += 1;
        }
        let Shape { form, encoding } = probe.shape()?;
        let bytes = i64::try_from(probe.bytes()).unwrap_or(i64::MAX);
        Ok(self
            .settlement
            .received(file, hash.finalize().into(), bytes, form.name(), encoding.name())
            .await?)
    }

    async fn keep_rows(
        &self,
        request: &ImportRequest,
        kept: &KeptFile,
        place: &Place,
        shape: Shape,
        profile: &Profile,
    ) -> Result<FileEnd, ImportError> {
        let (mut groups, reading) = lines::read(&self.settlement, kept.key, place, shape, profile);
        while let Some(group) = groups.recv().await {
            self.settlement.keep_rows(&request.merchant, kept.key, group).await?;
        }
        let end = reading.await.map_err(|died| ImportError::BrokenOff(died.to_string()))?;
        match end.map_err(ImportError::from) {
            Ok(end) => {
                self.settlement.end_rows(kept.key, end.clone()).await?;
                Ok(end)
            }
            Err(ImportError::Refused(why)) => {
                self.settlement.refuse_file(kept.key).await?;
                Err(ImportError::Refused(why))
            }
            Err(other) => Err(other),
        }
    }

    async fn judge(
        &self,
        request: &ImportRequest,
        kept: &KeptFile,
        place: &Place,
        shape: Shape,
        profile: &Profile,
    ) -> Result<GroupCounts, ImportError> {
        let merchant = &request.merchant;
        let judging = Judging { rules: self.config.rules(profile), zone: profile.zone, by: By::File };
        let mut counts = GroupCounts::default();
        let (mut groups, reading) = lines::read(&self.settlement, kept.key, place, shape, profile);
        while let Some(group) = groups.recv().await {
            if i64::try_from(group.last_line).is_ok_and(|line| line <= kept.lines_matched) {
                continue;
            }
            let invoices: BTreeSet<String> = group.rows.into_iter().map(|row| row.invoice_number).collect();
            let of_file = Some((kept.key, group.last_line));
            let invoices = invoices.into_iter().collect();
            counts.add(self.settlement.judge_group(merchant, invoices, &judging, of_file).await?);
        }
        reading.await.map_err(|died| ImportError::BrokenOff(died.to_string()))??;
        let mut after = String::new();
        loop {
            let others = self.settlement.in_other_forms(merchant, kept.key, &after).await?;
            let Some(last) = others.last().cloned() else { break };
            counts.add(self.settlement.judge_group(merchant, others, &judging, None).await?);
            after = last;
        }
        counts.add(self.settlement.search(merchant, &judging).await?);
        Ok(counts)
    }

    /// By what a merchant's invoices are judged when no file is at hand.
    pub fn judging(&self, profile: &str) -> Option<postgres::Judging> {
        judging(&self.config, profile, By::Check)
    }
}

fn shape_of(kept: &KeptFile) -> Result<Shape, ImportError> {
    let form = FileForm::ALL.into_iter().find(|form| form.name() == kept.form);
    let encoding = Encoding::ALL.into_iter().find(|encoding| encoding.name() == kept.encoding);
    let shape = form.zip(encoding).map(|(form, encoding)| Shape { form, encoding });
    shape.ok_or_else(|| ImportError::BrokenOff("another version of this program kept it".to_owned()))
}

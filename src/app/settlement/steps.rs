//! The two long steps of an import: its rows are kept, and its invoices are judged. Each goes group by group, and looks at the
//! merchant's lock before each.

use super::{Import, ImportError, lines, lines::Place};
use crate::{
    domain::{ids::MerchantName, settlement::profile::Profile},
    postgres::{By, FileEnd, GroupCounts, GroupKept, Judging, KeptFile, MerchantLock, SettledSlice},
    sheet::{Encoding, FileForm, Shape},
};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Rows of one slice: they are judged in one transaction.
const SLICE_KEYS: i64 = 1_000;
/// What a group and a slice take at least: payments go on meanwhile, and find the processors free.
const GROUP_LASTS: Duration = Duration::from_millis(50);
const SLICE_LASTS: Duration = Duration::from_millis(20);
const ROWS_GONE: &str = "another database server took over meanwhile, and lacks the rows that were kept last";
const READ_OTHERWISE: &str = "its profile, or this program, is another since it began: it begins anew";

impl Import {
    /// Keeps all rows of a file, of which none counts yet.
    pub(super) async fn keep_rows(
        &self,
        lock: &mut MerchantLock,
        merchant: &MerchantName,
        kept: &KeptFile,
        place: &Place,
        profile: &Profile,
    ) -> Result<FileEnd, ImportError> {
        let shape = shape_of(kept)?;
        let received_on = kept.received_at.with_timezone(&profile.zone).date_naive();
        let (mut groups, reading) =
            lines::read(&self.settlement, kept.key, place, shape, profile, received_on);
        while let Some(group) = groups.recv().await {
            let next = Instant::now() + GROUP_LASTS;
            must_hold(lock).await?;
            match self.settlement.keep_rows(merchant, kept.key, group).await? {
                GroupKept::Now => sleep_until(next).await,
                GroupKept::Before => {}
                GroupKept::AfterAHole | GroupKept::NotReading => {
                    return Err(ImportError::BrokenOff(ROWS_GONE.to_owned()));
                }
                GroupKept::ReadOtherwise => {
                    self.settlement.refuse_file(kept.key).await?;
                    return Err(ImportError::BrokenOff(READ_OTHERWISE.to_owned()));
                }
            }
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

    /// Judges the invoices of a file, group by group, then what the file is silent about.
    pub(super) async fn judge(
        &self,
        lock: &mut MerchantLock,
        merchant: &MerchantName,
        kept: &KeptFile,
        profile: &Profile,
    ) -> Result<GroupCounts, ImportError> {
        let judging = Judging { rules: self.config.rules(profile), zone: profile.zone, by: By::File };
        let mut counts = GroupCounts::default();
        let (first, last) = self.settlement.keys_of_batches(merchant, kept.key).await?;
        let (mut after, mut judged_to) = (kept.judged_to.max(first - 1), kept.judged_to);
        while after < last {
            let next = Instant::now() + SLICE_LASTS;
            let to = last.min(after + SLICE_KEYS);
            let slice = SettledSlice { file: kept.key, after, to, judged_to };
            let invoices = self.settlement.invoices_between(merchant, &slice).await?;
            if !invoices.is_empty() {
                must_hold(lock).await?;
                counts.add(self.settlement.judge_group(merchant, invoices, &judging, Some(slice)).await?);
                judged_to = to;
                sleep_until(next).await;
            }
            after = slice.to;
        }
        counts.add(self.settlement.search(merchant, &judging).await?);
        Ok(counts)
    }
}

/// Another import may begin when the session that has the lock is gone.
async fn must_hold(lock: &mut MerchantLock) -> Result<(), ImportError> {
    if lock.is_held().await {
        return Ok(());
    }
    Err(ImportError::BrokenOff("its connection to the database was lost".to_owned()))
}

fn shape_of(kept: &KeptFile) -> Result<Shape, ImportError> {
    let form = FileForm::ALL.into_iter().find(|form| form.name() == kept.form);
    let encoding = Encoding::ALL.into_iter().find(|encoding| encoding.name() == kept.encoding);
    let shape = form.zip(encoding).map(|(form, encoding)| Shape { form, encoding });
    shape.ok_or_else(|| ImportError::BrokenOff("another version of this program kept it".to_owned()))
}

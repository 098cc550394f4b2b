//! Files as they came: their bytes in pieces, their hash, and how far each import is.

use super::SettlementStore;
use crate::{
    domain::{Time, ids::MerchantName},
    flow::ports::StoreError,
    postgres::{
        error::{TxResult, store_error, unknown_value},
        pool::{Beside, PgPool},
        rows::{self, storable},
        tx::{STATEMENT_MAX, answered},
    },
};
use sqlx::{Connection, FromRow, PgConnection};
use tokio::time::timeout;

pub type FileKey = i64;

/// How far the import of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    Receiving,
    /// Its rows are being kept.
    Reading,
    /// More than one in ten of its rows has no order, or cannot be read: a person must say `--anyway`.
    Held,
    /// All its rows count, and its invoices are being judged.
    Matching,
    Done,
}

impl FileState {
    const ALL: [Self; 5] = [Self::Receiving, Self::Reading, Self::Held, Self::Matching, Self::Done];

    pub fn name(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Reading => "reading",
            Self::Held => "held",
            Self::Matching => "matching",
            Self::Done => "done",
        }
    }

    fn read(name: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| unknown_value("state of a file"))
    }
}

/// A file that is kept.
#[derive(Debug, Clone)]
pub struct KeptFile {
    pub key: FileKey,
    pub state: FileState,
    /// The profile that its import began with.
    pub profile: String,
    pub received_at: Time,
    /// `csv` or `xlsx`, and the encoding of its text.
    pub form: String,
    pub encoding: String,
    pub lines_read: i64,
    /// The key of the row up to which invoices are judged.
    pub judged_to: i64,
    pub own_rows: i64,
    pub without_order: i64,
    pub unreadable: i64,
    /// `prune` took its bytes away.
    pub is_emptied: bool,
}

/// What came in, as its reader counted it.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedBytes {
    pub sha256: [u8; 32],
    pub pieces: i32,
    pub count: i64,
    pub form: &'static str,
    pub encoding: &'static str,
}

#[derive(FromRow)]
struct KeptRow {
    key: i64,
    state: String,
    profile: String,
    received_at: Time,
    form: Option<String>,
    encoding: Option<String>,
    lines_read: i64,
    judged_to: i64,
    own_rows: i64,
    without_order: i64,
    unreadable: i64,
    is_emptied: bool,
}

const NAME_CHARS_MAX: usize = 255;
/// Rows that one transaction takes away.
const REFUSED_KEYS: i64 = 5_000;

/// One import a merchant at a time: while this is held, in whatever process.
pub struct MerchantLock {
    session: Beside,
}

impl MerchantLock {
    /// Whether it is still held: the session lives, and no other primary was found since it began.
    pub async fn is_held(&mut self) -> bool {
        let asked = timeout(STATEMENT_MAX, self.session.connection.ping()).await;
        matches!(asked, Ok(Ok(()))) && self.session.judged.is_current()
    }

    pub fn end(self) {
        self.session.end();
    }
}

impl SettlementStore {
    /// `None`: another import of this merchant runs.
    pub async fn lock(&self, merchant: &MerchantName) -> Result<Option<MerchantLock>, StoreError> {
        let mut session = self.context.pool.beside(&[]).await?;
        let is_free: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('settlement ' || $1, 0))")
                .bind(merchant.as_str())
                .fetch_one(&mut session.connection)
                .await
                .map_err(|e| store_error(&e))?;
        if is_free {
            return Ok(Some(MerchantLock { session }));
        }
        session.end();
        Ok(None)
    }

    /// Begins a file. What an import left that was broken off while its bytes came in is taken away.
    pub async fn begin_file(
        &self,
        merchant: &MerchantName,
        name: &str,
        profile: &str,
    ) -> Result<FileKey, StoreError> {
        let left: Vec<FileKey> = answered!(self.context.pool, |c| sqlx::query_scalar(
            "SELECT key FROM settlement_files WHERE merchant = $1 AND state = 'receiving'"
        )
        .bind(merchant.as_str())
        .fetch_all(c))?;
        for file in left {
            self.refuse_file(file).await?;
        }
        answered!(self.context.pool, |c| sqlx::query_scalar(
            "INSERT INTO settlement_files (merchant, name, profile) VALUES ($1, $2, $3) RETURNING key"
        )
        .bind(merchant.as_str())
        .bind(storable(name, NAME_CHARS_MAX))
        .bind(profile)
        .fetch_one(c))
    }

    /// Keeps the next piece of a file's bytes, at most 1 MiB. `false`: one before it is gone, since a standby without it took
    /// over.
    pub async fn keep_piece(&self, file: FileKey, number: i32, bytes: &[u8]) -> Result<bool, StoreError> {
        let counted = answered!(self.context.pool, |c| sqlx::query(
            "WITH kept AS (INSERT INTO settlement_pieces (file, number, bytes) VALUES ($1, $2, $3))
             UPDATE settlement_files SET pieces = pieces + 1, bytes = bytes + octet_length($3)
             WHERE key = $1 AND state = 'receiving' AND pieces = $2"
        )
        .bind(file)
        .bind(number)
        .bind(bytes)
        .execute(c))?;
        Ok(counted.rows_affected() == 1)
    }

    /// A piece of a file's bytes; `None` after the last.
    pub async fn piece(&self, file: FileKey, number: i32) -> Result<Option<Vec<u8>>, StoreError> {
        answered!(self.context.pool, |c| sqlx::query_scalar(
            "SELECT bytes FROM settlement_pieces WHERE file = $1 AND number = $2"
        )
        .bind(file)
        .bind(number)
        .fetch_optional(c))
    }

    /// The file with the same bytes that came before.
    pub async fn same_file(&self, file: FileKey, sha256: [u8; 32]) -> Result<Option<KeptFile>, StoreError> {
        let same = self.context.transaction(move |c| {
            Box::pin(async move {
                match same_bytes(c, file, &sha256).await? {
                    Some(known) => Ok(Some(lock_kept(c, known).await?)),
                    None => Ok(None),
                }
            })
        });
        Ok(same.await?)
    }

    /// All bytes are kept. Where the same came before, that file is the one, and the new one goes. `None`: not all of them are
    /// there, since a standby without them took over.
    pub async fn received(
        &self,
        file: FileKey,
        bytes: ReceivedBytes,
    ) -> Result<Option<KeptFile>, StoreError> {
        let kept = self.context.transaction(move |c| {
            Box::pin(async move {
                if let Some(known) = same_bytes(c, file, &bytes.sha256).await? {
                    sqlx::query("DELETE FROM settlement_files WHERE key = $1")
                        .bind(file)
                        .execute(&mut *c)
                        .await?;
                    return Ok(Some(lock_kept(c, known).await?));
                }
                let whole = sqlx::query(
                    "UPDATE settlement_files SET sha256 = $2, form = $5, encoding = $6, state = 'reading'
                     WHERE key = $1 AND state = 'receiving' AND pieces = $3 AND bytes = $4",
                )
                .bind(file)
                .bind(bytes.sha256.as_slice())
                .bind(bytes.pieces)
                .bind(bytes.count)
                .bind(bytes.form)
                .bind(bytes.encoding)
                .execute(&mut *c)
                .await?;
                if whole.rows_affected() == 0 { Ok(None) } else { Ok(Some(lock_kept(c, file).await?)) }
            })
        });
        Ok(kept.await?)
    }

    /// A file of which nothing counts is taken away, with what was kept of its rows: some thousand of them at a time.
    pub async fn refuse_file(&self, file: FileKey) -> Result<(), StoreError> {
        // From here on it is as one whose bytes did not come in: the next import of its merchant ends what is begun here.
        let merchant: Option<String> = answered!(self.context.pool, |c| sqlx::query_scalar(
            "UPDATE settlement_files SET state = 'receiving', sha256 = NULL
             WHERE key = $1 AND state IN ('receiving', 'reading', 'held') RETURNING merchant"
        )
        .bind(file)
        .fetch_optional(c))?;
        let Some(merchant) = merchant else { return Ok(()) };
        let (first, last) = self.keys_of_batches(&rows::merchant(&merchant)?, file).await?;
        let mut after = first - 1;
        while after < last {
            let to = last.min(after + REFUSED_KEYS);
            let gone = self
                .context
                .transaction(move |c| Box::pin(async move { refuse_rows(c, file, after, to).await }));
            gone.await?;
            after = to;
        }
        answered!(self.context.pool, |c| sqlx::query("DELETE FROM settlement_files WHERE key = $1")
            .bind(file)
            .execute(c))?;
        Ok(())
    }

    /// Where a file is now.
    pub async fn file(&self, file: FileKey) -> Result<KeptFile, StoreError> {
        let kept = self.context.transaction(move |c| Box::pin(async move { lock_kept(c, file).await }));
        Ok(kept.await?)
    }
}

/// A row that another file has too stays that file's.
async fn refuse_rows(c: &mut PgConnection, file: FileKey, after: i64, to: i64) -> TxResult<()> {
    sqlx::query("DELETE FROM settlement_rows WHERE key > $2 AND key <= $3 AND files = ARRAY[$1::bigint]")
        .bind(file)
        .bind(after)
        .bind(to)
        .execute(&mut *c)
        .await?;
    sqlx::query(
        "UPDATE settlement_rows SET files = array_remove(files, $1)
         WHERE key > $2 AND key <= $3 AND files @> ARRAY[$1::bigint]",
    )
    .bind(file)
    .bind(after)
    .bind(to)
    .execute(c)
    .await?;
    Ok(())
}

async fn same_bytes(c: &mut PgConnection, file: FileKey, sha256: &[u8; 32]) -> TxResult<Option<FileKey>> {
    let same = sqlx::query_scalar(
        "SELECT o.key FROM settlement_files f JOIN settlement_files o ON o.merchant = f.merchant AND o.sha256 = $2
         WHERE f.key = $1",
    );
    Ok(same.bind(file).bind(sha256.as_slice()).fetch_optional(c).await?)
}

async fn lock_kept(c: &mut PgConnection, file: FileKey) -> TxResult<KeptFile> {
    let row: KeptRow = sqlx::query_as(
        "SELECT key, state, profile, received_at, form, encoding, lines_read, judged_to, own_rows, without_order,
                unreadable, emptied_at IS NOT NULL AS is_emptied
         FROM settlement_files WHERE key = $1",
    )
    .bind(file)
    .fetch_one(c)
    .await?;
    Ok(KeptFile {
        key: row.key,
        state: FileState::read(&row.state)?,
        profile: row.profile,
        received_at: row.received_at,
        form: row.form.unwrap_or_default(),
        encoding: row.encoding.unwrap_or_default(),
        lines_read: row.lines_read,
        judged_to: row.judged_to,
        own_rows: row.own_rows,
        without_order: row.without_order,
        unreadable: row.unreadable,
        is_emptied: row.is_emptied,
    })
}

/// Empties files that were done, or given up, more than so many days ago: the customers' names in them are gone, hash, name and
/// sums stay. Says how many.
///
/// # Errors
/// The database is away, or refuses.
pub(in crate::postgres) async fn empty_old_files(
    pool: &PgPool,
    days: u32,
    dry_run: bool,
) -> Result<i64, StoreError> {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    if dry_run {
        return answered!(pool, |c| sqlx::query_scalar(
            "SELECT count(*) FROM settlement_files
             WHERE emptied_at IS NULL AND received_at < (SELECT jenius_now()) - make_interval(days => $1)"
        )
        .bind(days)
        .fetch_one(c));
    }
    let mut emptied = 0;
    loop {
        // One file a statement: each holds up to 512 MiB.
        let done = answered!(pool, |c| sqlx::query(
            "WITH old AS (
                 SELECT key FROM settlement_files
                 WHERE emptied_at IS NULL AND received_at < (SELECT jenius_now()) - make_interval(days => $1)
                 ORDER BY key LIMIT 1 FOR UPDATE SKIP LOCKED),
                  gone AS (DELETE FROM settlement_pieces WHERE file IN (SELECT key FROM old))
             UPDATE settlement_files SET emptied_at = jenius_now() WHERE key IN (SELECT key FROM old)"
        )
        .bind(days)
        .execute(c))?;
        if done.rows_affected() == 0 {
            return Ok(emptied);
        }
        emptied += 1;
    }
}

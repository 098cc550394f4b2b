//! Settlement files that a person sends by the browser. The bytes are kept while they come; the rest goes on by itself, and
//! a person who looks at the file sees how far it is.

use super::Desk;
use crate::{
    app::{
        role_context::RoleContext,
        settlement::{
            Begun, Consent, Import, ImportError, ImportOutcome, ImportRequest, KeptImport, lines::Place,
        },
    },
    domain::{
        action::{Action, ActionKind},
        ids::MerchantName,
    },
    flow::ports::{Act, BreakEnd, BroughtIn, NewFile, SeenFile, StoreError},
    postgres::{self, Closing, PgPool, PostgresStore},
};
use std::{sync::Arc, time::Duration};
use tokio::{io::AsyncRead, time::timeout};

/// One import's: what is kept and what is read go side by side.
const CONNECTIONS: u32 = 3;
/// So long a person waits to hear that a file cannot be read.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// An import on connections of its own: no page waits for it, and no page's statement limit ends it.
pub(super) fn importer(shared: &RoleContext) -> anyhow::Result<(Arc<Import>, PgPool)> {
    let config = &shared.config;
    let pool = shared.pool.separate_pool(postgres::connect_options(config.need_database()?)?, CONNECTIONS);
    let store = PostgresStore::new(pool.clone(), config.schedule());
    let import = Import {
        settlement: store.settlement(),
        config: config.settlement.clone(),
        merchants: config.merchants.keys().cloned().collect(),
    };
    Ok((Arc::new(import), pool))
}

impl Desk {
    pub(super) async fn keep_and_read(
        &self,
        file: NewFile,
        bytes: impl AsyncRead + Send + Unpin,
        act: Act,
    ) -> Result<BroughtIn, StoreError> {
        let NewFile { name, merchant, profile } = file;
        let Some(profile) = self.import.config.profile(profile.as_deref(), Some(&merchant)) else {
            return Ok(BroughtIn::Refused("there is no such profile".to_owned()));
        };
        if profile.merchant.as_ref().is_some_and(|own| *own != merchant) {
            let why = format!("the profile {} is another merchant's", profile.name);
            return Ok(BroughtIn::Refused(why));
        }
        let action = action(&name, &merchant, &act, "sent");
        if !postgres::record_form(&self.pool, &action, &act.mark).await? {
            return Ok(BroughtIn::Repeated);
        }
        let profile = profile.name.clone();
        let request = ImportRequest { name, merchant, profile, consent: Consent::AfterALook };
        let begun = self.import.begin(&request, bytes).await;
        self.go_on(begun, Consent::AfterALook, action).await
    }

    pub(super) async fn close_named(
        &self,
        number: i64,
        name: &str,
        act: Act,
    ) -> Result<BreakEnd, StoreError> {
        let (settlement, name) = (self.store.settlement(), Some(name.to_owned()));
        Ok(match settlement.close(number, name, act.reason, act.by, Some(act.mark)).await? {
            Closing::Closed { .. } => BreakEnd::Closed,
            Closing::AlreadyClosed => BreakEnd::AlreadyClosed,
            Closing::Another => BreakEnd::Another,
            Closing::Unknown => BreakEnd::Unknown,
        })
    }

    pub(super) async fn match_kept(
        &self,
        number: i64,
        seen: SeenFile,
        act: Act,
    ) -> Result<BroughtIn, StoreError> {
        let Some(file) = self.store.settlement().view_file(number).await? else {
            return Ok(BroughtIn::Unknown);
        };
        if file.sha256.as_deref().unwrap_or_default() != seen.sha256 {
            return Ok(BroughtIn::Another);
        }
        // What a person has not seen whole is only read.
        let is_held = file.state == "held";
        if is_held && !seen.is_held {
            return Ok(BroughtIn::ReadMeanwhile);
        }
        let Ok(merchant) = MerchantName::parse(&*file.merchant) else { return Ok(BroughtIn::Unknown) };
        let action = action(&file.name, &merchant, &act, "to be matched");
        if !postgres::record_form(&self.pool, &action, &act.mark).await? {
            return Ok(BroughtIn::Begun(number));
        }
        let consent = if is_held { Consent::Anyway } else { Consent::AfterALook };
        let begun = self.import.resume(merchant, number).await;
        self.go_on(begun, consent, action).await
    }

    /// Goes on in a task of its own, whether the browser waits or not.
    async fn go_on(
        &self,
        begun: Result<Begun, ImportError>,
        consent: Consent,
        action: Action,
    ) -> Result<BroughtIn, StoreError> {
        let kept = match begun {
            Ok(Begun::Kept(kept)) => kept,
            Ok(Begun::Ended(ImportOutcome::Known(number))) => return Ok(BroughtIn::Known(number)),
            Ok(Begun::Ended(_)) => return Ok(BroughtIn::Busy),
            Err(error) => return self.note_failure(error, &action).await,
        };
        let number = kept.file();
        let (import, pool) = (Arc::clone(&self.import), self.pool.clone());
        let going = tokio::spawn(async move { finish(&import, &pool, kept, consent, action).await });
        match timeout(WAIT_MAX, going).await {
            Ok(Ok(Some(why))) => Ok(BroughtIn::Refused(why)),
            Ok(Ok(None) | Err(_)) | Err(_) => Ok(BroughtIn::Begun(number)),
        }
    }

    async fn note_failure(&self, error: ImportError, action: &Action) -> Result<BroughtIn, StoreError> {
        match error {
            ImportError::Store(error) => Err(error),
            ImportError::Refused(why) => {
                record(&self.pool, action, &format!("refused: {why}")).await;
                Ok(BroughtIn::Refused(why))
            }
            ImportError::BrokenOff(why) => {
                record(&self.pool, action, &format!("did not come whole: {why}")).await;
                Ok(BroughtIn::NotWhole)
            }
        }
    }
}

/// The reason where the file is refused. What came of it is kept either way.
async fn finish(
    import: &Import,
    pool: &PgPool,
    kept: KeptImport,
    consent: Consent,
    action: Action,
) -> Option<String> {
    let outcome = import.finish(kept, consent, &Place::Database).await;
    let (words, refused) = match outcome {
        Ok(ImportOutcome::Done { counts, rows, .. }) => {
            let words = format!(
                "{rows} rows of our channel, {} fit; breaks opened {}, closed {}; DOKU is asked about {} orders",
                counts.fits, counts.opened, counts.closed, counts.asked
            );
            (words, None)
        }
        Ok(ImportOutcome::Held { rows, without_order, unreadable }) => {
            let words = format!(
                "{rows} rows of our channel are read, {without_order} of them without an order; {unreadable} cannot be read"
            );
            (words, None)
        }
        Ok(ImportOutcome::Known(_) | ImportOutcome::Busy) => return None,
        Err(ImportError::Refused(why)) => (format!("refused: {why}"), Some(why)),
        Err(error @ (ImportError::BrokenOff(_) | ImportError::Store(_))) => {
            tracing::warn!(%error, "the import of a settlement file was broken off");
            (error.to_string(), None)
        }
    };
    record(pool, &action, &words).await;
    refused
}

fn action(name: &str, merchant: &MerchantName, act: &Act, detail: &str) -> Action {
    Action {
        kind: ActionKind::ImportSettlement,
        subject: name.to_owned(),
        merchant: Some(merchant.to_string()),
        reason: Some(act.reason.clone()),
        done_by: Some(act.by.clone()),
        detail: Some(detail.to_owned()),
    }
}

/// Beside what was asked for. The file has it too: an audit that cannot be written now changes nothing about it.
async fn record(pool: &PgPool, action: &Action, detail: &str) {
    let action = Action { detail: Some(detail.to_owned()), ..action.clone() };
    if let Err(error) = postgres::record_action(pool, &action).await {
        tracing::warn!(%error, "what came of a settlement file is not in the audit");
    }
}

//! The amount above which two people decide, for those whose configuration does not have it.

use super::{App, RoleContext};
use crate::{config::ConsoleAuth, flow::ports::StoreError, postgres::PostgresStore};
use std::time::Duration;
use tokio::time::sleep;

/// While the database is away.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

impl App {
    /// The command line has no `console.second_person_above`, and holds to what this console keeps. One that knows people by
    /// `console login` alone cannot have the key: it keeps what another kept.
    pub(super) fn keep_second_person_rule(&self, shared: &RoleContext) {
        let (store, above) = (shared.store.clone(), shared.config.console.second_person_above);
        if matches!(shared.config.console.auth, ConsoleAuth::Local) {
            return;
        }
        self.watch("second_person_rule", async move {
            while let Err(error) = keep(&store, above).await {
                tracing::warn!(%error, "console.second_person_above is not kept for the command line yet");
                sleep(KEEP_AGAIN).await;
            }
            std::future::pending().await
        });
    }
}

async fn keep(store: &PostgresStore, above: Option<u64>) -> Result<(), StoreError> {
    if store.keep_second_person_rule(above).await? {
        let rupiah = above.map_or_else(|| "none".to_owned(), |above| above.to_string());
        tracing::warn!(rupiah, "the amount above which two people decide is another one now");
    }
    Ok(())
}

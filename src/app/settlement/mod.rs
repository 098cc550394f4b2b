//! Brings settlement files in, from either hand: the command line, or follow-up from a directory.

mod import;
pub mod lines;
mod steps;
mod tend;
mod watch;

pub use import::{Begun, Consent, ImportError, ImportOutcome, ImportRequest, KeptImport};

use super::{App, role_context::RoleContext};
use crate::{
    config,
    domain::ids::MerchantName,
    postgres::{self, SettlementStore},
};
use std::sync::Arc;

/// What an import needs besides its file.
pub struct Import {
    pub settlement: SettlementStore,
    pub config: config::SettlementConfig,
    /// Every merchant that is configured here.
    pub merchants: Vec<MerchantName>,
}

impl App {
    /// What follow-up does for settlement: it judges again what waits, publishes what fits, and imports what is put into the
    /// directory.
    pub(super) fn start_settlement(&self, shared: &RoleContext) {
        let import = Arc::new(Import {
            settlement: shared.store.settlement(),
            config: shared.config.settlement.clone(),
            merchants: shared.config.merchants.keys().cloned().collect(),
        });
        let status = Arc::clone(&shared.status);
        let of_tend = Arc::clone(&import);
        self.restart("settlement", move || {
            let (ready, import) = (status.database_ready(), Arc::clone(&of_tend));
            async move {
                ready.await;
                tend::tend(&import).await;
            }
        });
        let Some(directory) = shared.config.settlement.watch_dir.clone() else { return };
        let status = Arc::clone(&shared.status);
        self.restart("settlement_files", move || {
            let (ready, import, directory) =
                (status.database_ready(), Arc::clone(&import), directory.clone());
            async move {
                ready.await;
                watch::watch(&import, &directory).await;
            }
        });
    }
}

/// By what a profile's invoices are judged.
fn judging(config: &config::SettlementConfig, profile: &str, by: postgres::By) -> Option<postgres::Judging> {
    let profile = config.profile(Some(profile), None)?;
    Some(postgres::Judging { rules: config.rules(profile), zone: profile.zone, by })
}

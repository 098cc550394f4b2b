//! The service itself for the console: the checks of `doctor`, what runs, and the last hour.

use super::{Desk, now_here};
use crate::{
    app::doctor::{Check, examine},
    flow::ports::{
        AboutView, CheckView, DoctorView, LastHour, ProcessView, SchemaView, ServiceOperations, ServiceView,
        StoreError,
    },
    postgres,
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// A person waits no longer; the look goes on, and its page shows it.
const WAIT_MAX: Duration = Duration::from_secs(10);

impl Desk {
    /// A database that is known to be away is not waited for by every page.
    pub(super) fn reach(&self) -> Result<(), StoreError> {
        let dependencies = self.status.dependencies(&self.broker);
        match dependencies.into_iter().find(|(name, ok, _)| *name == "postgres" && !ok) {
            Some((.., why)) => Err(StoreError::Away(why)),
            None => Ok(()),
        }
    }

    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let dependencies = self.status.dependencies(&self.broker);
        dependencies.into_iter().filter(|(_, ok, _)| !ok).map(|(name, _, why)| (name, why)).collect()
    }

    pub(super) async fn stops(&self) -> Result<ServiceView, StoreError> {
        self.reach()?;
        let pauses = postgres::pauses(&self.pool).await?;
        let breakers = postgres::open_breakers(&self.pool).await?;
        Ok(ServiceView { pauses, breakers, faults: Vec::new() })
    }
}

impl ServiceOperations for Desk {
    async fn examine(&self, by: &str) -> bool {
        let Ok(alone) = Arc::clone(&self.doctor_lock).try_lock_owned() else { return false };
        let (config, kept, by) = (self.secrets.config(), Arc::clone(&self.doctor), by.to_owned());
        let looking = tokio::spawn(async move {
            let _alone = alone;
            let checks = Box::pin(examine(&config, &[])).await.map_or_else(
                |error| vec![failed(&format!("{error:#}"))],
                |checks| checks.into_iter().map(view).collect(),
            );
            *kept.lock().await = Some(DoctorView { at: now_here(), by, checks });
        });
        let _ = timeout(WAIT_MAX, looking).await;
        true
    }

    async fn examined(&self) -> (Option<DoctorView>, bool) {
        (self.doctor.lock().await.clone(), self.doctor_lock.try_lock().is_err())
    }

    async fn about(&self) -> AboutView {
        let migrations = match self.reach() {
            Ok(()) => postgres::applied_migrations(&self.pool).await,
            Err(away) => Err(away),
        };
        AboutView {
            migrations: migrations
                .map(|(known, applied)| SchemaView { known, applied })
                .map_err(|error| error.to_string()),
            processes: self.processes().await.map_err(|error| error.to_string()),
            config: self
                .config
                .snapshot
                .in_force()
                .into_iter()
                .map(|row| (row.key, row.value, row.origin))
                .collect(),
        }
    }

    async fn last_hour(&self) -> Result<LastHour, StoreError> {
        self.reach()?;
        postgres::last_hour(&self.pool).await
    }

    async fn processes(&self) -> Result<Vec<ProcessView>, StoreError> {
        self.reach()?;
        postgres::processes(&self.pool).await
    }
}

fn view(check: Check) -> CheckView {
    CheckView { name: check.name, status: check.status.word(), detail: check.detail, hint: check.hint }
}

fn failed(why: &str) -> CheckView {
    CheckView { name: "doctor".to_owned(), status: "fail", detail: why.to_owned(), hint: None }
}

//! Time and truth: the only SQL. Every method of the store is one committed transaction, or nothing.
//!
//! Never: a change of an order that the domain did not decide; a due time, lease or event time by any
//! clock but the database's (`jenius_now()`); a write to an order, its commands or its due row without
//! that order's row lock, but for first answers, which write nothing unless the order is as its claim left it.

mod accepted;
mod attempts;
mod batch;
mod claim_identity;
mod claims;
mod connect;
mod due;
mod due_claims;
mod error;
pub mod event_body;
mod event_log;
mod events;
mod gauges;
mod migrate;
mod moment;
mod notifications;
mod operators;
mod orders;
mod outbox;
mod parked;
mod pool;
mod processes;
mod prompts;
mod rate;
mod records;
mod rejections;
mod reported;
mod requests;
mod rights;
mod rows;
mod schema;
mod server;
mod settlement;
mod slices;
mod stops;
mod stranded;
mod tx;
mod wake;
mod write_statement;

pub use connect::{connect_options, console_connect_options};
pub use gauges::{DueSends, Gauges, InDoubt, OpenOrders, Reviews};
pub use migrate::migrate;
pub use operators::actions::{actions, record_action, record_form};
pub use operators::forecast;
pub use operators::health::{ServerFacts, Transport, examine};
pub use operators::import::{IMPORTED_MAX, ImportConflict, OrderImport, OrdersImported, PaidOrder};
pub use operators::latest_events::latest_events;
pub use operators::listing::list_orders;
pub use operators::pauses::{PauseChange, WaitingSends, pauses};
pub use operators::proposals::open_proposal;
pub use operators::prune::{PruneRun, Pruned};
pub use operators::replay::{PutBack, Replayed};
pub use operators::views::order_view;
pub use operators::walk::walk_orders;
pub use outbox::{ActiveOutbox, PostgresLeadership};
pub use pool::{PgPool, Pooled, pool};
pub use processes::{ReportingProcess, last_hour, processes};
pub use reported::NEVER_MATCHED_MAX;
pub use rights::{GROUPS, RIGHTS, TableRights, check_rights, grant, privilege};
pub use schema::{Migrations, applied_migrations, bind_environment, is_migrated};
pub use settlement::{
    By, Closing, FileEnd, FileKey, FileState, GroupCounts, GroupKept, ImportingAccount, Judging, KeptFile,
    MerchantLock, OpenBreaks, ReceivedBytes, RowGroup, SettledSlice, SettlementStore,
};
pub use slices::CountingPace;
pub use sqlx::postgres::PgConnectOptions;
pub use stops::{ReportedStop, open_breakers};

use crate::{
    chance,
    domain::{
        command::{Command, Outcome, Rejection},
        finding::AttemptClass,
        ids::{InvoiceNumber, MerchantName},
        notification::Notification,
        schedule::AttemptSchedule,
    },
    flow::ports::{
        Claim, ClaimError, Claimed, Decision, DueClaim, DueFilter, DueNeed, DueOrder, Finding, NewCommand,
        OperatorStore, Reconciled, Resolved, Store, StoreError,
    },
    metric,
    telemetry::span::Span,
};
use claims::Claims;
use due_claims::DueClaims;
use notifications::Notifications;
use parked::Parked;
use records::Records;
use reported::Reported;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// Numbers in [0, 1), for jitter.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// What every transaction needs.
struct StoreContext {
    pool: PgPool,
    schedule: AttemptSchedule,
    jitter: Jitter,
    outbox_changed: Arc<Notify>,
    due_changed: Arc<Notify>,
    pauses_changed: Arc<Notify>,
    /// An event was committed, and the active relay may be another process.
    notify_relays: Arc<Notify>,
    reported: Reported,
}

impl StoreContext {
    /// Wakes the tasks that wait for the effects of a commit, and counts them.
    fn committed(&self, effects: &orders::CommitEffects) {
        if !effects.events.is_empty() {
            self.event_committed();
            effects.events.iter().for_each(event_log::LoggedEvent::tell);
        }
        if effects.due {
            self.due_changed.notify_one();
        }
        if let Some((merchant, of)) = &effects.reported {
            self.reported.note(merchant, *of);
        }
        if let Some(settled) = &effects.settled {
            let (kind, outcome) = (settled.kind, settled.outcome);
            metric::command_settled(kind, outcome, Some(settled.since_claim), settled.since_publication);
        }
        for (kind, class) in &effects.attempts {
            metric::attempt_made(*kind, *class);
            if *class == AttemptClass::Lost {
                metric::claims_lost(1);
            }
        }
    }

    /// The same for a command that made no attempt.
    fn event_committed(&self) {
        self.outbox_changed.notify_one();
        self.notify_relays.notify_one();
    }

    /// A claim that is not there any more: this connection, or the one that made the claim, may lead to a server that
    /// is not the one any more. Whatever is asked from now on is asked on new ones.
    fn forgotten(&self) -> ClaimError {
        self.pool.renew();
        ClaimError::Forgotten
    }

    fn answered(&self, command: &Command, claimed: &Claimed) {
        match claimed {
            Claimed::Granted(_) => {}
            Claimed::Deferred => self.due_changed.notify_one(),
            Claimed::Duplicate => self.event_committed(),
            Claimed::Rejected => {
                self.event_committed();
                metric::command_settled(command.kind, Outcome::Rejected, None, None);
                event_log::rejected(command);
            }
        }
    }
}

/// The store, over one pool.
#[derive(Clone)]
pub struct PostgresStore {
    context: Arc<StoreContext>,
    claims: Claims,
    due_claims: DueClaims,
    parked: Parked,
    records: Records,
    notifications: Notifications,
}

impl PostgresStore {
    pub fn new(pool: PgPool, schedule: AttemptSchedule) -> Self {
        Self::with_jitter(pool, schedule, Arc::new(chance::draw))
    }

    pub fn with_jitter(pool: PgPool, schedule: AttemptSchedule, jitter: Jitter) -> Self {
        let context = Arc::new(StoreContext {
            pool,
            schedule,
            jitter,
            outbox_changed: Arc::default(),
            due_changed: Arc::default(),
            pauses_changed: Arc::default(),
            notify_relays: Arc::default(),
            reported: Reported::default(),
        });
        Self {
            claims: Claims::new(Arc::clone(&context)),
            due_claims: DueClaims::new(Arc::clone(&context)),
            parked: Parked::new(Arc::clone(&context)),
            records: Records::new(Arc::clone(&context)),
            notifications: Notifications::new(Arc::clone(&context)),
            context,
        }
    }

    /// Woken when this process has committed an event.
    pub fn outbox_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.context.outbox_changed)
    }

    /// Woken when this process has committed a due time.
    pub fn due_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.context.due_changed)
    }

    /// Woken when an operator has paused or resumed sends, in whatever process.
    pub fn pauses_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.context.pauses_changed)
    }
}

impl Store for PostgresStore {
    async fn claim(&self, new: NewCommand) -> Result<Claimed, StoreError> {
        Span::step("claim").around(self.claims.claim(new)).await
    }

    async fn reject(&self, rejection: Rejection) -> Result<Claimed, StoreError> {
        rejections::reject(&self.context, rejection).await
    }

    async fn apply_parked(&self, claim: &Claim) -> Result<bool, ClaimError> {
        self.parked.apply(claim).await
    }

    async fn record(&self, claim: &Claim, finding: &Finding, took: Duration) -> Result<(), ClaimError> {
        Span::step("record").around(self.records.record(claim, finding, took)).await
    }

    async fn reconcile(
        &self,
        merchant: &MerchantName,
        notification: &Notification,
    ) -> Result<Reconciled, StoreError> {
        Span::step("reconcile").around(self.notifications.reconcile(merchant, notification)).await
    }

    async fn ask_about(
        &self,
        merchant: &MerchantName,
        notification: &Notification,
    ) -> Result<Reconciled, StoreError> {
        prompts::ask_about(&self.context, merchant, notification).await
    }

    async fn sweep_parked(&self) -> Result<(), StoreError> {
        parked::tend(&self.parked).await
    }

    async fn release_claim(&self, claim: &Claim) -> Result<(), ClaimError> {
        due::release_claim(&self.context, claim).await
    }

    async fn due(&self, filter: &DueFilter) -> Result<Vec<DueOrder>, StoreError> {
        due::list(&self.context.pool, filter).await
    }

    async fn claim_due(
        &self,
        due: &DueOrder,
        what: DueNeed,
        lease: Duration,
    ) -> Result<DueClaim, StoreError> {
        self.due_claims.claim(due, what, lease).await
    }

    async fn next_due_in(&self, filter: &DueFilter) -> Result<Option<Duration>, StoreError> {
        due::next_in(&self.context.pool, filter).await
    }
}

impl OperatorStore for PostgresStore {
    async fn inquire_now(
        &self,
        merchant: &MerchantName,
        invoice_number: &InvoiceNumber,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        due_claims::inquire_now(&self.context, merchant, invoice_number, lease).await
    }

    async fn resolve(&self, decision: Decision) -> Result<Resolved, StoreError> {
        operators::decisions::resolve(&self.context, decision).await
    }
}

#[cfg(test)]
mod tests;
